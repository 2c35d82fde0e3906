//! What of the documents is read: fields, and of documents inside of them just the fields that are wanted.

use bson::{Bson, Document, doc};
use connector_spi::{Result, Scan};

use crate::address::Address;
use crate::types::Kind;

/// The fields to be read, each once, and where among them each column of the scan is.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Shape {
    fields: Vec<(String, Part)>,
    /// For each column the place of its field, then of the field in that one, and so on.
    pub(crate) places: Vec<Vec<usize>>,
}

#[derive(Debug, PartialEq)]
enum Part {
    Whole(Kind),
    Fields(Vec<(String, Part)>),
}

impl Shape {
    /// What a scan's columns need. Errors: `INTERNAL`.
    pub(crate) fn of(scan: &Scan) -> Result<Self> {
        let columns = scan.projection.iter().map(|at| Address::of(&scan.columns[*at])).collect::<Result<Vec<_>>>()?;
        let mut shape = Self::default();
        let mut order: Vec<&Address> = columns.iter().collect();
        // A field that is wanted whole comes before those in it, which are then in it already.
        order.sort_by_key(|address| address.names.len());
        for address in order {
            add(&mut shape.fields, &address.names, &address.kind);
        }
        shape.places = columns.iter().map(|address| place(&shape.fields, &address.names)).collect();
        Ok(shape)
    }

    /// The fields and their kinds.
    pub(crate) fn kinds(&self) -> Vec<(String, Kind)> {
        kinds(&self.fields)
    }

    /// The projection; none where a name would be a path there.
    pub(crate) fn projection(&self) -> Option<Document> {
        let mut shown = Document::new();
        for (name, part) in &self.fields {
            Address::top(name, Kind::Json).path().ok()?;
            match part {
                // An `_id` cannot be made of its fields everywhere.
                Part::Fields(fields) if name != "_id" => shown.insert(name, chosen(name, fields)),
                _ => shown.insert(name, 1),
            };
        }
        if !shown.contains_key("_id") {
            shown.insert("_id", 0);
        }
        Some(shown)
    }
}

fn add(fields: &mut Vec<(String, Part)>, names: &[String], kind: &Kind) {
    let Some((name, rest)) = names.split_first() else { return };
    let at = fields.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
        let part = if rest.is_empty() { Part::Whole(kind.clone()) } else { Part::Fields(Vec::new()) };
        fields.push((name.clone(), part));
        fields.len() - 1
    });
    if let Part::Fields(inner) = &mut fields[at].1 {
        add(inner, rest, kind);
    }
}

fn place(fields: &[(String, Part)], names: &[String]) -> Vec<usize> {
    let Some((name, rest)) = names.split_first() else { return Vec::new() };
    let at = fields.iter().position(|(known, _)| known == name).unwrap_or_default();
    let below = match fields.get(at) {
        Some((_, Part::Fields(inner))) => place(inner, rest),
        Some((_, Part::Whole(kind))) => within(kind, rest),
        None => Vec::new(),
    };
    [vec![at], below].concat()
}

fn within(kind: &Kind, names: &[String]) -> Vec<usize> {
    let (Kind::Struct(fields), Some((name, rest))) = (kind, names.split_first()) else { return Vec::new() };
    let at = fields.iter().position(|(known, _)| known == name).unwrap_or_default();
    [vec![at], fields.get(at).map(|(_, kind)| within(kind, rest)).unwrap_or_default()].concat()
}

fn kinds(fields: &[(String, Part)]) -> Vec<(String, Kind)> {
    let kind = |part: &Part| match part {
        Part::Whole(kind) => kind.clone(),
        Part::Fields(inner) => Kind::Struct(kinds(inner)),
    };
    fields.iter().map(|(name, part)| (name.clone(), kind(part))).collect()
}

/// A document with just these fields; what is no document is left as it is, since it is a misfit that must be seen, and
/// a plain path would leave it out.
fn chosen(path: &str, fields: &[(String, Part)]) -> Document {
    let mut shown = Document::new();
    for (name, part) in fields {
        let below = format!("{path}.{name}");
        match part {
            Part::Whole(_) => shown.insert(name, format!("${below}")),
            Part::Fields(inner) => shown.insert(name, chosen(&below, inner)),
        };
    }
    let whole = format!("${path}");
    let is_document = doc! { "$eq": [{ "$type": &whole }, "object"] };
    doc! { "$cond": [is_document, shown, Bson::String(whole)] }
}

#[cfg(test)]
mod tests {
    use connector_spi::{Table, TableName};

    use super::*;

    #[test]
    fn a_field_is_read_once_however_often_it_is_wanted() {
        let kind = |name: &str, kind| (name.to_owned(), kind);
        let b = Kind::Struct(vec![kind("c", Kind::Long), kind("d", Kind::Text)]);
        let a = Address::top("a", Kind::Struct(vec![kind("b", b.clone()), kind("e", Kind::Bool)]));
        let mut addresses = vec![Address::top("x", Kind::Long), a.clone()];
        for path in [&["b", "d"][..], &["e"], &["b", "c"], &["b"]] {
            addresses.push(a.clone().below(path).expect("a field"));
        }
        let columns = addresses.iter().map(|address| address.column().expect("kept")).collect();
        let scan = Scan::new("m", TableName::new("s", "t"), &Table::new(columns));
        let shape = |projection: &[usize]| Shape::of(&scan.with_projection(projection.to_vec())).expect("a shape");

        let parts = shape(&[4, 0, 2, 4]);
        let pruned = Kind::Struct(vec![kind("b", b.clone())]);
        assert_eq!(parts.kinds(), [kind("x", Kind::Long), kind("a", pruned)]);
        assert_eq!(parts.places, [vec![1, 0, 0], vec![0], vec![1, 0, 1], vec![1, 0, 0]]);
        let sent = parts.projection().expect("paths").to_string();
        assert!(sent.contains(r#""c": "$a.b.c""#) && sent.contains(r#""_id": 0"#), "{sent}");

        let covered = shape(&[2, 5, 3]);
        assert_eq!(covered.kinds(), [kind("a", Kind::Struct(vec![kind("b", b), kind("e", Kind::Bool)]))]);
        assert_eq!(covered.places, [vec![0, 0, 1], vec![0, 0], vec![0, 1]]);
        let whole = shape(&[2, 1]);
        assert_eq!((whole.places, whole.fields.len()), (vec![vec![0, 0, 1], vec![0]], 1));
        assert_eq!(whole.fields, [("a".to_owned(), Part::Whole(a.kind))]);
    }
}
