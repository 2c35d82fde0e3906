//! What documents of a sample hold: for each field how often it is there and which types it has, and the kind that follows.

use std::collections::{BTreeMap, HashMap, HashSet};

use bson::spec::BinarySubtype;
use bson::{RawBsonRef, RawDocument};

use crate::decimal;
use crate::element::{Elements, Malformed};
use crate::types::{DEEPEST, Kind, alias};

/// A struct has no more fields; a document with more names is a map, and stays JSON.
const MOST_FIELDS: usize = 200;
/// What a value is called whose type cannot be used.
const UNREADABLE: &str = "not UTF-8";

/// What is known of a field, of an array's items, or of whole documents.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    /// How often it was there, as anything.
    pub(crate) times: u64,
    /// How often as which type.
    pub(crate) types: BTreeMap<&'static str, u64>,
    /// An integer that a double does not hold.
    beyond_double: bool,
    /// Digits before and after the point of decimals; none where one is not a number.
    digits: Option<(u32, u32)>,
    not_a_number: bool,
    /// A name twice in one document.
    repeated: bool,
    /// Of whole documents: which alone were seen, and why, where others took too long to find.
    pub(crate) alone: Option<&'static str>,
    pub(crate) fields: Vec<(String, Seen)>,
    places: HashMap<String, usize>,
    pub(crate) items: Option<Box<Seen>>,
}

impl Seen {
    /// Adds a document. Errors: it is not BSON.
    pub(crate) fn document(&mut self, document: &RawDocument) -> Result<(), Malformed> {
        self.times += 1;
        let mut names = HashSet::new();
        let mut elements = Elements::of(document.as_bytes(), 0);
        while let Some(element) = elements.next(b"")? {
            // Nobody can ask for a name that is not UTF-8; it hides no other field.
            let Ok(name) = str::from_utf8(element.name) else { continue };
            self.repeated |= !names.insert(name);
            let at = match self.places.get(name) {
                Some(at) => *at,
                None => {
                    self.places.insert(name.to_owned(), self.fields.len());
                    self.fields.push((name.to_owned(), Self::default()));
                    self.fields.len() - 1
                }
            };
            let seen = &mut self.fields[at].1;
            match element.value(&mut None)? {
                Ok(value) => seen.value(value)?,
                Err(_) => seen.count(UNREADABLE),
            }
        }
        Ok(())
    }

    fn count(&mut self, name: &'static str) {
        self.times += 1;
        *self.types.entry(name).or_default() += 1;
    }

    fn value(&mut self, value: RawBsonRef<'_>) -> Result<(), Malformed> {
        match value {
            RawBsonRef::Document(document) => {
                *self.types.entry("object").or_default() += 1;
                return self.document(document);
            }
            RawBsonRef::Array(array) => {
                self.count("array");
                let items = self.items.get_or_insert_default();
                let mut elements = Elements::of(array.as_bytes(), 0);
                while let Some(item) = elements.next(b"")? {
                    match item.value(&mut None)? {
                        Ok(item) => items.value(item)?,
                        Err(_) => items.count(UNREADABLE),
                    }
                }
                return Ok(());
            }
            _ => {}
        }
        self.count(match value {
            RawBsonRef::Binary(binary) => match binary.subtype {
                BinarySubtype::Generic => "binData",
                BinarySubtype::Uuid if binary.bytes.len() == 16 => "uuid",
                _ => "binData of another subtype",
            },
            other => alias(other.element_type()),
        });
        match value {
            RawBsonRef::Int64(number) => self.beyond_double |= number.unsigned_abs() > 1 << 53,
            RawBsonRef::Decimal128(number) => match decimal::extent(number) {
                Some((before, after)) => {
                    let (most_before, most_after) = self.digits.unwrap_or_default();
                    self.digits = Some((before.max(most_before), after.max(most_after)));
                }
                None => self.not_a_number = true,
            },
            _ => {}
        }
        Ok(())
    }

    /// Puts the fields from a place on in the order of their names.
    pub(crate) fn order_from(&mut self, from: usize) {
        self.fields[from..].sort_by(|(a, _), (b, _)| a.cmp(b));
        self.places = self.fields.iter().enumerate().map(|(at, (name, _))| (name.clone(), at)).collect();
    }

    /// What is known of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        self.places.get(name).map(|at| &self.fields[*at].1)
    }

    /// The kind that holds every value that was seen.
    pub(crate) fn kind(&self, depth: usize) -> Kind {
        let types: Vec<&str> = self.types.keys().copied().filter(|name| *name != "null").collect();
        match types.as_slice() {
            ["bool"] => Kind::Bool,
            ["int"] | ["long"] | ["int", "long"] => Kind::Long,
            ["double"] | ["double", "int"] => Kind::Double,
            ["double", "long"] | ["double", "int", "long"] if !self.beyond_double => Kind::Double,
            ["decimal"] | ["decimal", "int"] | ["decimal", "int", "long"] | ["decimal", "long"]
                if !self.not_a_number =>
            {
                let (before, after) = self.digits.unwrap_or_default();
                let before = if types.contains(&"long") { before.max(19) } else { before.max(10) };
                match i8::try_from(after) {
                    Ok(scale) if before + after <= 38 => Kind::Decimal { precision: 38, scale },
                    _ => Kind::Json,
                }
            }
            ["string"] => Kind::Text,
            ["objectId"] => Kind::ObjectId,
            ["uuid"] => Kind::Uuid,
            ["binData"] => Kind::Binary,
            ["date"] => Kind::Instant,
            ["array"] if depth < DEEPEST => {
                Kind::List(Box::new(self.items.as_ref().map_or(Kind::Json, |items| items.kind(depth + 1))))
            }
            ["object"] if depth < DEEPEST && self.is_struct() => {
                let field = |(name, seen): &(String, Self)| (name.clone(), seen.kind(depth + 1));
                Kind::Struct(self.fields.iter().map(field).collect())
            }
            _ => Kind::Json,
        }
    }

    /// Whether documents have few names, and each once.
    pub(crate) fn is_struct(&self) -> bool {
        !self.repeated && (1..=MOST_FIELDS).contains(&self.fields.len())
    }

    /// What whole documents show of a field: `98.5 % of 1000 documents: string 980, int 5`.
    pub(crate) fn evidence(&self, name: &str) -> String {
        let which = self.alone.unwrap_or_default();
        match self.field(name) {
            Some(field) => format!("{which}{}", field.text(self.times)),
            None if self.times == 0 => "the collection is empty".to_owned(),
            None => format!("{which}0 % of {} documents", self.times),
        }
    }

    fn text(&self, documents: u64) -> String {
        let share = self.times as f64 * 100.0 / documents.max(1) as f64;
        // Only what is there everywhere is 100 %.
        let share = if self.times < documents { share.min(99.9) } else { share.min(100.0) };
        let types: Vec<String> = self.types.iter().map(|(name, times)| format!("{name} {times}")).collect();
        let repeated = if self.repeated { "; a name is there twice in one document" } else { "" };
        format!("{share:.1} % of {documents} documents: {}{repeated}", types.join(", "))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use bson::{Binary, Bson, DateTime, Decimal128, Document, RawDocumentBuf, doc};

    use super::*;

    pub(crate) fn seen(documents: &[Document]) -> Seen {
        let mut seen = Seen::default();
        for document in documents {
            seen.document(&RawDocumentBuf::try_from(document).expect("bson")).expect("read");
        }
        seen
    }

    fn kind(values: Vec<Bson>) -> Kind {
        let documents: Vec<Document> = values.into_iter().map(|value| doc! { "a": value }).collect();
        seen(&documents).field("a").expect("seen").kind(0)
    }

    #[test]
    fn a_kind_holds_all_that_was_seen_and_a_conflict_is_json() {
        let decimal = |text: &str| Bson::Decimal128(text.parse::<Decimal128>().expect("decimal"));
        let uuid = |length| Bson::Binary(Binary { subtype: BinarySubtype::Uuid, bytes: vec![1; length] });
        assert_eq!(kind(vec![Bson::Int32(1), Bson::Int64(2), Bson::Null]), Kind::Long);
        assert_eq!(kind(vec![Bson::Int32(1), Bson::Double(2.5)]), Kind::Double);
        assert_eq!(kind(vec![Bson::Int64((1 << 53) + 1), Bson::Double(2.5)]), Kind::Json);
        assert_eq!(kind(vec![decimal("1.25"), Bson::Int32(7)]), Kind::Decimal { precision: 38, scale: 2 });
        assert_eq!(kind(vec![decimal("1E-30"), Bson::Int64(7)]), Kind::Json);
        assert_eq!(kind(vec![decimal("NaN")]), Kind::Json);
        assert_eq!(kind(vec![decimal("1"), Bson::Double(7.0)]), Kind::Json);
        assert_eq!(kind(vec![Bson::String("a".into()), Bson::Int32(1)]), Kind::Json);
        assert_eq!(kind(vec![Bson::DateTime(DateTime::from_millis(0))]), Kind::Instant);
        assert_eq!(kind(vec![uuid(16)]), Kind::Uuid);
        assert_eq!(kind(vec![uuid(15)]), Kind::Json);
        assert_eq!(kind(vec![Bson::Null]), Kind::Json);
        assert_eq!(kind(vec![Bson::Undefined, Bson::Int32(1)]), Kind::Json);
        let list = Bson::Array(vec![Bson::Int32(1), Bson::Null]);
        assert_eq!(kind(vec![list.clone(), Bson::Array(vec![])]), Kind::List(Box::new(Kind::Long)));
        assert_eq!(kind(vec![list, Bson::Int32(1)]), Kind::Json);
        let inner = Bson::Document(doc! { "x": 1, "y.z": { "q": "s" } });
        let wanted =
            Kind::Struct(vec![("x".into(), Kind::Long), ("y.z".into(), Kind::Struct(vec![("q".into(), Kind::Text)]))]);
        assert_eq!(kind(vec![inner, Bson::Null]), wanted);
        assert_eq!(kind(vec![Bson::Document(doc! {})]), Kind::Json);
    }

    #[test]
    fn what_is_deep_or_has_many_names_is_json() {
        let deep = (0..100).fold(Bson::Int32(1), |inner, _| Bson::Document(doc! { "d": inner }));
        let mut kind_of = kind(vec![deep]);
        for _ in 0..DEEPEST {
            let Kind::Struct(mut fields) = kind_of else { panic!("{kind_of:?}") };
            kind_of = fields.remove(0).1;
        }
        assert_eq!(kind_of, Kind::Json);
        let map: Document = (0..500).map(|at| (format!("k{at}"), Bson::Int32(at))).collect();
        assert_eq!(kind(vec![Bson::Document(map)]), Kind::Json);
    }

    #[test]
    fn evidence_says_how_often_and_as_what() {
        let seen = seen(&[doc! { "a": 1 }, doc! { "a": "x" }, doc! {}, doc! { "a": Bson::Null }]);
        assert_eq!(seen.evidence("b"), "0 % of 4 documents");
        assert_eq!(seen.evidence("a"), "75.0 % of 4 documents: int 1, null 1, string 1");
    }
}
