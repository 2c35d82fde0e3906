//! Postgres types: how each is asked for, and the Arrow type it becomes.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use serde::{Deserialize, Serialize};

/// What a column's values are on the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric { precision: u8, scale: i8 },
    /// text and varchar; whether equality is equality of bytes.
    Text { deterministic: bool },
    /// Text whose comparison is not that of its bytes, or that is asked for by `::text` where `cast`.
    Opaque { cast: bool },
    Bytea,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    Uuid,
    Interval,
    Oid,
    Array(Box<Kind>),
}

/// What the catalog of Postgres says of a type.
#[derive(Debug)]
pub(crate) struct Described<'a> {
    pub(crate) name: &'a str,
    /// `b` base, `e` enum, `c` composite, `d` domain over a domain, `r` range, …
    pub(crate) class: &'a str,
    pub(crate) modifier: i32,
    pub(crate) element: Option<&'a str>,
    pub(crate) deterministic: bool,
}

impl Kind {
    /// The kind of a column; every type has one.
    pub(crate) fn of(described: &Described<'_>) -> Self {
        if let Some(element) = described.element {
            let inner = Self::named(element, -1, described.deterministic);
            let plain = matches!(
                inner,
                Self::Bool | Self::Int2 | Self::Int4 | Self::Int8 | Self::Float4 | Self::Float8 | Self::Text { .. }
            );
            return if plain { Self::Array(Box::new(inner)) } else { Self::Opaque { cast: true } };
        }
        match described.class {
            "b" => Self::named(described.name, described.modifier, described.deterministic),
            // An enum's binary form is its label.
            "e" => Self::Opaque { cast: false },
            _ => Self::Opaque { cast: true },
        }
    }

    fn named(name: &str, modifier: i32, deterministic: bool) -> Self {
        match name {
            "bool" => Self::Bool,
            "int2" => Self::Int2,
            "int4" => Self::Int4,
            "int8" => Self::Int8,
            "float4" => Self::Float4,
            "float8" => Self::Float8,
            "numeric" => match numeric(modifier) {
                Some((precision, scale)) => Self::Numeric { precision, scale },
                None => Self::Opaque { cast: true },
            },
            "text" | "varchar" => Self::Text { deterministic },
            "bpchar" | "name" | "json" => Self::Opaque { cast: false },
            "bytea" => Self::Bytea,
            "date" => Self::Date,
            "time" => Self::Time,
            "timestamp" => Self::Timestamp,
            "timestamptz" => Self::Timestamptz,
            "uuid" => Self::Uuid,
            "interval" => Self::Interval,
            "oid" => Self::Oid,
            _ => Self::Opaque { cast: true },
        }
    }

    pub(crate) fn data_type(&self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int2 => DataType::Int16,
            Self::Int4 => DataType::Int32,
            Self::Int8 | Self::Oid => DataType::Int64,
            Self::Float4 => DataType::Float32,
            Self::Float8 => DataType::Float64,
            Self::Numeric { precision, scale } => DataType::Decimal128(*precision, *scale),
            Self::Text { .. } | Self::Opaque { .. } | Self::Uuid => DataType::Utf8,
            Self::Bytea => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            Self::Array(item) => DataType::List(Arc::new(Field::new("item", item.data_type(), true))),
        }
    }

    /// As it is kept in [`connector_spi::Column::native`].
    pub(crate) fn native(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// From [`connector_spi::Column::native`].
    pub(crate) fn parse(native: &str) -> Option<Self> {
        serde_json::from_str(native).ok()
    }
}

/// Precision and scale of `numeric(p, s)` where a 128-bit decimal holds it.
fn numeric(modifier: i32) -> Option<(u8, i8)> {
    let bits = modifier.checked_sub(4).filter(|bits| *bits >= 0)?;
    let precision = u8::try_from((bits >> 16) & 0xffff).ok()?;
    // Eleven bits with a sign, since Postgres 15.
    let scale = ((bits & 0x7ff) ^ 1024) - 1024;
    let scale = i8::try_from(scale).ok()?;
    (precision <= 38 && scale >= 0 && scale <= precision as i8).then_some((precision, scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numeric_is_decimal_only_where_it_fits() {
        let modifier = |p: i32, s: i32| ((p << 16) | (s & 0x7ff)) + 4;
        assert_eq!(numeric(modifier(15, 2)), Some((15, 2)));
        assert_eq!(numeric(modifier(38, 38)), Some((38, 38)));
        for none in [modifier(39, 2), modifier(5, -2), modifier(3, 5), -1] {
            assert_eq!(numeric(none), None);
        }
    }

    #[test]
    fn every_type_has_a_kind() {
        let described = |name, class, element| Described { name, class, modifier: -1, element, deterministic: true };
        assert_eq!(Kind::of(&described("money", "b", None)), Kind::Opaque { cast: true });
        assert_eq!(Kind::of(&described("mood", "e", None)), Kind::Opaque { cast: false });
        assert_eq!(Kind::of(&described("_int4", "b", Some("int4"))), Kind::Array(Box::new(Kind::Int4)));
        assert_eq!(Kind::of(&described("_inet", "b", Some("inet"))), Kind::Opaque { cast: true });
        assert_eq!(Kind::parse(&Kind::Numeric { precision: 4, scale: 1 }.native()), Some(Kind::Numeric { precision: 4, scale: 1 }));
    }
}
