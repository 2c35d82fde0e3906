//! The columns of a collection: what is declared, what its validator says, and what a sample shows, in this order.

use arrow::datatypes::{DataType, Field, Schema};
use bson::{Bson, Document, doc};
use connector_spi::{Error, Result};

use crate::evidence::Seen;
use crate::types::{DEEPEST, Kind};

/// The title of a validator that CREATE TABLE made: its collection has just these columns.
const TITLE: &str = "columns of a table";

/// A column: its name, its kind, and where that comes from.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) comment: String,
}

/// The columns. `validator` is the collection's `$jsonSchema`, where it has one.
pub(crate) fn columns(declared: Option<&Vec<(String, Kind)>>, validator: Option<&Document>, seen: &Seen) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for (name, kind) in declared.into_iter().flatten() {
        let comment = format!("declared; {}", seen.evidence(name));
        found.push(Found { name: name.clone(), kind: kind.clone(), comment });
    }
    let is_there = |found: &[Found], name: &str| found.iter().any(|column| column.name == name);
    let whole = validator.and_then(|schema| schema.get_str("title").ok()) == Some(TITLE);
    let properties = validator.and_then(|schema| schema.get_document("properties").ok());
    for (name, property) in properties.into_iter().flatten() {
        if is_there(&found, name) {
            continue;
        }
        let kind = kind_of(property.as_document(), seen.field(name), 0);
        found.push(Found { name: name.clone(), kind, comment: format!("validator; {}", seen.evidence(name)) });
    }
    if whole {
        return found;
    }
    for (name, field) in &seen.fields {
        if !is_there(&found, name) {
            found.push(Found { name: name.clone(), kind: field.kind(0), comment: seen.evidence(name) });
        }
    }
    if !is_there(&found, "_id") {
        let comment = seen.evidence("_id");
        found.insert(0, Found { name: "_id".to_owned(), kind: Kind::ObjectId, comment });
    }
    found
}

/// The kind that a validator and a sample agree on; where they do not, the sample's, since validators may come late or only warn.
fn kind_of(schema: Option<&Document>, seen: Option<&Seen>, depth: usize) -> Kind {
    let shown = || seen.map_or(Kind::Json, |seen| seen.kind(depth));
    let Some(schema) = schema else { return shown() };
    let types = types(schema);
    let known = schema.get_str("description").ok().and_then(Kind::named);
    let kind = match types.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        types if known.as_ref().is_some_and(|known| types.iter().all(|name| known.aliases().contains(name))) => known,
        ["bool"] => Some(Kind::Bool),
        ["int"] => Some(Kind::Int),
        ["long"] | ["int", "long"] => Some(Kind::Long),
        ["double"] => Some(Kind::Double),
        ["string"] => Some(Kind::Text),
        ["objectId"] => Some(Kind::ObjectId),
        ["date"] => Some(Kind::Instant),
        ["array"] if depth < DEEPEST => {
            let items = schema.get_document("items").ok();
            let item = kind_of(items, seen.and_then(|seen| seen.items.as_deref()), depth + 1);
            Some(Kind::List(Box::new(item)))
        }
        ["object"] if depth < DEEPEST && seen.is_none_or(Seen::is_struct) => structure(schema, seen, depth),
        _ => None,
    };
    match kind {
        Some(kind) if seen.is_none_or(|seen| agrees(seen, &types)) => kind,
        _ => shown(),
    }
}

fn structure(schema: &Document, seen: Option<&Seen>, depth: usize) -> Option<Kind> {
    let mut fields: Vec<(String, Kind)> = Vec::new();
    for (name, property) in schema.get_document("properties").into_iter().flatten() {
        let field = seen.and_then(|seen| seen.field(name));
        fields.push((name.clone(), kind_of(property.as_document(), field, depth + 1)));
    }
    for (name, field) in seen.iter().flat_map(|seen| &seen.fields) {
        if !fields.iter().any(|(other, _)| other == name) {
            fields.push((name.clone(), field.kind(depth + 1)));
        }
    }
    (!fields.is_empty()).then_some(Kind::Struct(fields))
}

/// The BSON types that a schema allows, but for null, in order.
fn types(schema: &Document) -> Vec<String> {
    let mut types: Vec<String> = match schema.get("bsonType") {
        Some(Bson::String(one)) => vec![one.clone()],
        Some(Bson::Array(many)) => many.iter().filter_map(Bson::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    types.retain(|name| name != "null");
    types.sort_unstable();
    types
}

fn agrees(seen: &Seen, types: &[String]) -> bool {
    let fits = |name: &&str| match *name {
        "null" => true,
        "uuid" => types.iter().any(|allowed| allowed == "binData"),
        name => types.iter().any(|allowed| allowed == name),
    };
    seen.types.keys().all(fits)
}

/// The validator of a table with these columns. Errors: `UNSUPPORTED` for a type that documents do not have.
pub(crate) fn validator(schema: &Schema) -> Result<Document> {
    let mut properties = Document::new();
    let mut required = Vec::new();
    for field in schema.fields() {
        properties.insert(field.name(), property(field.name(), field)?);
        if !field.is_nullable() {
            required.push(Bson::String(field.name().clone()));
        }
    }
    let mut schema = doc! { "title": TITLE, "bsonType": "object", "properties": properties };
    if !required.is_empty() {
        schema.insert("required", required);
    }
    Ok(doc! { "$jsonSchema": schema })
}

fn property(column: &str, field: &Field) -> Result<Document> {
    let nullable = |types: &[&str]| {
        let null = field.is_nullable().then_some("null");
        Bson::Array(types.iter().copied().chain(null).map(Bson::from).collect())
    };
    match field.data_type() {
        DataType::List(item) | DataType::LargeList(item) => {
            Ok(doc! { "bsonType": nullable(&["array"]), "items": property(column, item)? })
        }
        DataType::Struct(fields) => {
            let mut properties = Document::new();
            for field in fields {
                properties.insert(field.name(), property(column, field)?);
            }
            Ok(doc! { "bsonType": nullable(&["object"]), "properties": properties })
        }
        data_type => {
            let kind = stored(data_type).ok_or_else(|| {
                Error::unsupported(format!("column \"{column}\" is {data_type}, which cannot be a field of a document"))
            })?;
            let name = kind.name().unwrap_or_default();
            Ok(doc! { "bsonType": nullable(written(&kind)), "description": name })
        }
    }
}

/// The kind that a new column of an Arrow type gets.
fn stored(data_type: &DataType) -> Option<Kind> {
    Some(match data_type {
        DataType::Boolean => Kind::Bool,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => Kind::Int,
        DataType::Int64 | DataType::UInt32 => Kind::Long,
        DataType::UInt64 => Kind::Decimal { precision: 20, scale: 0 },
        DataType::Float32 => Kind::Real,
        DataType::Float64 => Kind::Double,
        DataType::Decimal128(precision, scale) if (0..=*precision as i8).contains(scale) => {
            Kind::Decimal { precision: *precision, scale: *scale }
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => Kind::Text,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Kind::Binary,
        DataType::Date32 => Kind::Date,
        DataType::Time32(_) | DataType::Time64(_) => Kind::Time,
        DataType::Timestamp(_, None) => Kind::Wall,
        DataType::Timestamp(_, Some(_)) => Kind::Instant,
        _ => return None,
    })
}

/// The BSON types that a new table takes for a kind: just what is written.
fn written(kind: &Kind) -> &'static [&'static str] {
    match kind {
        Kind::Real | Kind::Double => &["double"],
        Kind::Decimal { .. } => &["decimal"],
        Kind::Time => &["long"],
        other => other.aliases(),
    }
}

/// The Arrow schema of the columns that a validator of ours describes.
#[cfg(test)]
fn described(validator: &Document) -> Schema {
    let schema = validator.get_document("$jsonSchema").expect("a schema");
    let field = |found: Found| Field::new(found.name, found.kind.data_type(), true);
    Schema::new(columns(None, Some(schema), &Seen::default()).into_iter().map(field).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::TimeUnit;

    use super::*;
    use crate::evidence::tests::seen;

    fn kinds(found: &[Found]) -> Vec<(&str, &Kind)> {
        found.iter().map(|column| (column.name.as_str(), &column.kind)).collect()
    }

    #[test]
    fn a_created_table_has_the_columns_it_was_created_with() {
        let item = Arc::new(Field::new("item", DataType::Int64, true));
        let inner = vec![Field::new("x", DataType::Date32, true), Field::new("y", DataType::Utf8, true)];
        let fields = vec![
            Field::new("n", DataType::Int32, true),
            Field::new("d", DataType::Decimal128(12, 2), true),
            Field::new("day", DataType::Date32, true),
            Field::new("f", DataType::Float32, true),
            Field::new("at", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), true),
            Field::new("l", DataType::List(item), true),
            Field::new("s", DataType::Struct(inner.into()), true),
            Field::new("a.b", DataType::Time64(TimeUnit::Microsecond), true),
        ];
        let schema = Schema::new(fields);
        assert_eq!(described(&validator(&schema).expect("made")), schema);
        let odd = Schema::new(vec![Field::new("i", DataType::Interval(arrow::datatypes::IntervalUnit::DayTime), true)]);
        assert!(validator(&odd).is_err());
    }

    #[test]
    fn what_is_declared_comes_first_then_the_validator_then_the_sample() {
        let sample = seen(&[doc! { "_id": 1, "a": "x", "b": 2, "c": 1.5 }, doc! { "_id": 2, "z": true }]);
        let validator = doc! { "properties": { "b": { "bsonType": ["int", "null"] }, "c": { "bsonType": "int" } } };
        let declared = vec![("a".to_owned(), Kind::Json), ("gone".to_owned(), Kind::Date)];
        let found = columns(Some(&declared), Some(&validator), &sample);
        let wanted = [
            ("a", &Kind::Json),
            ("gone", &Kind::Date),
            ("b", &Kind::Int),
            // The documents say otherwise.
            ("c", &Kind::Double),
            ("_id", &Kind::Long),
            ("z", &Kind::Bool),
        ];
        assert_eq!(kinds(&found), wanted);
        assert_eq!(found[0].comment, "declared; 50.0 % of 2 documents: string 1");
        assert_eq!(found[1].comment, "declared; 0 % of 2 documents");
        assert_eq!(kinds(&columns(None, None, &Seen::default())), [("_id", &Kind::ObjectId)]);
    }
}
