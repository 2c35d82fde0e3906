//! BSON types: the kind of a column, its Arrow type, and what of BSON its values may be.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use bson::spec::ElementType;
use serde::{Deserialize, Serialize};

/// Structs are nested no deeper than this; what is below is JSON.
pub(crate) const DEEPEST: usize = 8;

/// What a column's values are: in BSON, in Arrow, and in comparisons.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Bool,
    /// 32-bit integers alone; only where it is declared.
    Int,
    /// 32-bit and 64-bit integers.
    Long,
    /// Doubles, of which 32 bits are kept; only where it is declared.
    Real,
    /// Doubles, and integers that a double holds.
    Double,
    /// Decimals and integers.
    Decimal {
        precision: u8,
        scale: i8,
    },
    Text,
    ObjectId,
    /// Binary of subtype 4.
    Uuid,
    /// Binary of subtype 0.
    Binary,
    /// BSON dates: milliseconds since 1970 in UTC.
    Instant,
    /// BSON dates, declared to be times of the wall clock.
    Wall,
    /// BSON dates at midnight; only where it is declared.
    Date,
    /// Microseconds since midnight as an integer; only where it is declared.
    Time,
    /// Anything, as extended JSON.
    Json,
    List(Box<Kind>),
    Struct(Vec<(String, Kind)>),
}

impl Kind {
    /// The Arrow type of the values.
    pub(crate) fn data_type(&self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int => DataType::Int32,
            Self::Long => DataType::Int64,
            Self::Real => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale),
            Self::Text | Self::ObjectId | Self::Uuid | Self::Json => DataType::Utf8,
            Self::Binary => DataType::Binary,
            Self::Instant => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
            Self::Wall => DataType::Timestamp(TimeUnit::Millisecond, None),
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::List(item) => DataType::List(Arc::new(Field::new("item", item.data_type(), true))),
            Self::Struct(fields) => {
                let field = |(name, kind): &(String, Self)| Field::new(name, kind.data_type(), true);
                DataType::Struct(fields.iter().map(field).collect())
            }
        }
    }

    /// The BSON types of the values, as `$type` names them; none for JSON, which takes all.
    pub(crate) fn aliases(&self) -> &'static [&'static str] {
        match self {
            Self::Bool => &["bool"],
            Self::Int => &["int"],
            Self::Long | Self::Time => &["int", "long"],
            Self::Real | Self::Double => &["double", "int", "long"],
            Self::Decimal { .. } => &["decimal", "int", "long"],
            Self::Text => &["string"],
            Self::ObjectId => &["objectId"],
            Self::Uuid | Self::Binary => &["binData"],
            Self::Instant | Self::Wall | Self::Date => &["date"],
            Self::Json => &[],
            Self::List(_) => &["array"],
            Self::Struct(_) => &["object"],
        }
    }

    /// The name by which a schema declares the kind; none for structs.
    pub(crate) fn name(&self) -> Option<String> {
        Some(match self {
            Self::Bool => "boolean".to_owned(),
            Self::Int => "integer".to_owned(),
            Self::Long => "bigint".to_owned(),
            Self::Real => "real".to_owned(),
            Self::Double => "double".to_owned(),
            Self::Decimal { precision, scale } => format!("decimal({precision},{scale})"),
            Self::Text => "varchar".to_owned(),
            Self::ObjectId => "objectid".to_owned(),
            Self::Uuid => "uuid".to_owned(),
            Self::Binary => "varbinary".to_owned(),
            Self::Instant => "timestamp with time zone".to_owned(),
            Self::Wall => "timestamp".to_owned(),
            Self::Date => "date".to_owned(),
            Self::Time => "time".to_owned(),
            Self::Json => "json".to_owned(),
            Self::List(item) => format!("{}[]", item.name()?),
            Self::Struct(_) => return None,
        })
    }

    /// The kind of a declared name; none for any other name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let name = name.trim().to_ascii_lowercase();
        if let Some(item) = name.strip_suffix("[]") {
            return Some(Self::List(Box::new(Self::named(item)?)));
        }
        if let Some(inner) = name.strip_prefix("decimal(").and_then(|rest| rest.strip_suffix(')')) {
            let (precision, scale) = inner.split_once(',').unwrap_or((inner, "0"));
            let (precision, scale): (u8, i8) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
            let fits = (1..=38).contains(&precision) && u8::try_from(scale).is_ok_and(|scale| scale <= precision);
            return fits.then_some(Self::Decimal { precision, scale });
        }
        Some(match name.as_str() {
            "boolean" | "bool" => Self::Bool,
            "integer" | "int" => Self::Int,
            "bigint" | "long" => Self::Long,
            "real" => Self::Real,
            "double" => Self::Double,
            "varchar" | "text" | "string" => Self::Text,
            "objectid" => Self::ObjectId,
            "uuid" => Self::Uuid,
            "varbinary" | "binary" => Self::Binary,
            "timestamp with time zone" | "timestamptz" => Self::Instant,
            "timestamp" => Self::Wall,
            "date" => Self::Date,
            "time" => Self::Time,
            "json" => Self::Json,
            _ => return None,
        })
    }
}

/// What MongoDB calls a type.
pub(crate) fn alias(of: ElementType) -> &'static str {
    match of {
        ElementType::Double => "double",
        ElementType::String => "string",
        ElementType::EmbeddedDocument => "object",
        ElementType::Array => "array",
        ElementType::Binary => "binData",
        ElementType::Undefined => "undefined",
        ElementType::ObjectId => "objectId",
        ElementType::Boolean => "bool",
        ElementType::DateTime => "date",
        ElementType::Null => "null",
        ElementType::RegularExpression => "regex",
        ElementType::DbPointer => "dbPointer",
        ElementType::JavaScriptCode => "javascript",
        ElementType::Symbol => "symbol",
        ElementType::JavaScriptCodeWithScope => "javascriptWithScope",
        ElementType::Int32 => "int",
        ElementType::Timestamp => "timestamp",
        ElementType::Int64 => "long",
        ElementType::Decimal128 => "decimal",
        ElementType::MaxKey => "maxKey",
        ElementType::MinKey => "minKey",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declared_name_is_the_name_of_its_kind() {
        let names = [
            "boolean",
            "integer",
            "bigint",
            "real",
            "double",
            "decimal(12,2)",
            "varchar",
            "objectid",
            "uuid",
            "varbinary",
            "timestamp with time zone",
            "timestamp",
            "date",
            "time",
            "json",
            "varchar[]",
            "decimal(3,0)[][]",
        ];
        for name in names {
            assert_eq!(Kind::named(name).and_then(|kind| kind.name()).as_deref(), Some(name));
        }
        for none in ["decimal(39,2)", "decimal(3,5)", "decimal", "", "[]", "numbers", "decimal(3,-1)"] {
            assert_eq!(Kind::named(none), None, "{none}");
        }
    }
}
