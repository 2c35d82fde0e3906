//! Postgres types: how each is asked for, and the Arrow type it becomes.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use connector_spi::{Column, Error, Result};
use serde::{Deserialize, Serialize};

/// What a column's values are: on the wire, in Arrow, and in comparisons.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric {
        precision: u8,
        scale: i8,
    },
    /// text and varchar.
    Text(Collation),
    /// char(n), whose padding is no part of the value.
    Char(Collation),
    Bytea,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    Uuid,
    Interval,
    /// A numeric without a precision that fits here, as the nearest double.
    Rounded,
    /// money as a decimal; Postgres compares it with money alone.
    Money,
    /// A date, timestamp or timestamptz whose infinities are NULL here.
    Finite(Box<Kind>),
    /// An array of one of the plain types.
    Array(Box<Kind>),
    /// Everything else, as the text that Postgres shows.
    Other,
}

/// How the texts of a column compare in Postgres.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Collation {
    /// Equal texts are equal bytes, and the bytes are UTF-8.
    Bytes,
    /// Different bytes may be equal texts; the bytes are UTF-8.
    Loose,
    /// The database has another encoding.
    Foreign,
}

/// What becomes of the types that have no one counterpart here, as the options of the catalog say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Choices {
    /// For a numeric whose own precision and scale make no decimal here.
    pub(crate) numeric: NumericAs,
    pub(crate) money_is_decimal: bool,
    pub(crate) infinity_is_null: bool,
}

/// What a numeric becomes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum NumericAs {
    #[default]
    Text,
    Double,
    Decimal {
        precision: u8,
        scale: i8,
    },
}

/// Precision and scale of [`Kind::Money`]: 64 bits of the smallest unit, two digits of which are after the point.
pub(crate) const MONEY: (u8, i8) = (19, 2);

/// What the catalog of Postgres says of a type, domains resolved.
#[derive(Debug)]
pub(crate) struct Described<'a> {
    /// The name of a type of `pg_catalog`; empty for any other type.
    pub(crate) name: &'a str,
    pub(crate) modifier: i32,
    /// The name of an array's element, likewise.
    pub(crate) element: Option<&'a str>,
    pub(crate) collation: Collation,
}

impl Kind {
    /// The kind of a column; every type has one.
    pub(crate) fn of(described: &Described<'_>, choices: &Choices) -> Self {
        match described.element {
            None => Self::named(described.name, described.modifier, described.collation, choices),
            Some(element) => match Self::named(element, -1, described.collation, choices) {
                plain @ (Self::Bool
                | Self::Int2
                | Self::Int4
                | Self::Int8
                | Self::Float4
                | Self::Float8
                | Self::Text(_)) => Self::Array(Box::new(plain)),
                _ => Self::Other,
            },
        }
    }

    fn named(name: &str, modifier: i32, collation: Collation, choices: &Choices) -> Self {
        let moment = |kind| match choices.infinity_is_null {
            true => Self::Finite(Box::new(kind)),
            false => kind,
        };
        match name {
            "bool" => Self::Bool,
            "int2" => Self::Int2,
            "int4" => Self::Int4,
            "int8" => Self::Int8,
            "oid" => Self::Oid,
            "float4" => Self::Float4,
            "float8" => Self::Float8,
            "numeric" => numeric(modifier).unwrap_or(match choices.numeric {
                NumericAs::Text => Self::Other,
                NumericAs::Double => Self::Rounded,
                NumericAs::Decimal { precision, scale } => Self::Numeric { precision, scale },
            }),
            "money" if choices.money_is_decimal => Self::Money,
            "text" | "varchar" => Self::Text(collation),
            "bpchar" => Self::Char(collation),
            "bytea" => Self::Bytea,
            "date" => moment(Self::Date),
            "time" => Self::Time,
            "timestamp" => moment(Self::Timestamp),
            "timestamptz" => moment(Self::Timestamptz),
            "uuid" => Self::Uuid,
            "interval" => Self::Interval,
            _ => Self::Other,
        }
    }

    /// The Arrow type of the values.
    pub(crate) fn data_type(&self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int2 => DataType::Int16,
            Self::Int4 => DataType::Int32,
            Self::Int8 | Self::Oid => DataType::Int64,
            Self::Float4 => DataType::Float32,
            Self::Float8 | Self::Rounded => DataType::Float64,
            Self::Numeric { precision, scale } => DataType::Decimal128(*precision, *scale),
            Self::Money => DataType::Decimal128(MONEY.0, MONEY.1),
            Self::Finite(kind) => kind.data_type(),
            Self::Text(_) | Self::Char(_) | Self::Uuid | Self::Other => DataType::Utf8,
            Self::Bytea => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            Self::Array(item) => DataType::List(Arc::new(Field::new("item", item.data_type(), true))),
        }
    }

    /// The type that is asked for. A cast to a column's own type costs nothing; where the column was
    /// changed after planning it gives the planned type or an error, never bytes taken for another type's.
    pub(crate) fn asked(&self) -> String {
        match self {
            Self::Bool => "bool",
            Self::Int2 => "int2",
            Self::Int4 => "int4",
            Self::Int8 => "int8",
            Self::Oid => "oid",
            Self::Float4 => "float4",
            Self::Float8 => "float8",
            Self::Numeric { .. } | Self::Rounded | Self::Money => "numeric",
            Self::Text(_) | Self::Char(_) | Self::Other => "text",
            Self::Bytea => "bytea",
            Self::Date => "date",
            Self::Time => "time",
            Self::Timestamp => "timestamp",
            Self::Timestamptz => "timestamptz",
            Self::Uuid => "uuid",
            Self::Interval => "interval",
            Self::Finite(kind) => return kind.asked(),
            Self::Array(item) => return format!("{}[]", item.asked()),
        }
        .to_owned()
    }

    /// As it is kept in [`Column::native`].
    pub(crate) fn native(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|cause| Error::internal(format!("a type of Postgres cannot be kept: {cause}")))
    }

    /// The kind of a column of this connector. Errors: `INTERNAL` for any other column.
    pub(crate) fn of_column(column: &Column) -> Result<Self> {
        serde_json::from_str(&column.native)
            .map_err(|_| Error::internal(format!("column \"{}\" was not described by Postgres", column.name)))
    }
}

/// `numeric(p, s)` where a 128-bit decimal holds it.
fn numeric(modifier: i32) -> Option<Kind> {
    let bits = modifier.checked_sub(4).filter(|bits| *bits >= 0)?;
    let precision = u8::try_from((bits >> 16) & 0xffff).ok().filter(|precision| *precision <= 38)?;
    // Eleven bits with a sign, since Postgres 15.
    let scale = i8::try_from(((bits & 0x7ff) ^ 1024) - 1024).ok()?;
    u8::try_from(scale).is_ok_and(|scale| scale <= precision).then_some(Kind::Numeric { precision, scale })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numeric_is_decimal_only_where_it_fits() {
        let modifier = |p: i32, s: i32| ((p << 16) | (s & 0x7ff)) + 4;
        let decimal = |precision, scale| Some(Kind::Numeric { precision, scale });
        assert_eq!(numeric(modifier(15, 2)), decimal(15, 2));
        assert_eq!(numeric(modifier(38, 38)), decimal(38, 38));
        assert_eq!(numeric(modifier(1, 0)), decimal(1, 0));
        for none in [modifier(39, 2), modifier(5, -2), modifier(3, 5), modifier(1000, 0), -1, 3] {
            assert_eq!(numeric(none), None);
        }
    }

    #[test]
    fn every_type_has_a_kind() {
        let described = |name, element| Described { name, modifier: -1, element, collation: Collation::Bytes };
        let kind = |name, element| Kind::of(&described(name, element), &Choices::default());
        for name in ["money", "", "jsonb", "name", "xml", "numeric"] {
            assert_eq!(kind(name, None), Kind::Other, "{name}");
        }
        assert_eq!(kind("_int4", Some("int4")), Kind::Array(Box::new(Kind::Int4)));
        assert_eq!(kind("_inet", Some("inet")), Kind::Other);
        assert_eq!(kind("_bpchar", Some("bpchar")), Kind::Other);
        assert_eq!(kind("_text", Some("text")).asked(), "text[]");
        let numeric = NumericAs::Decimal { precision: 38, scale: 10 };
        let chosen = Choices { numeric, money_is_decimal: true, infinity_is_null: true };
        let kind = |name, element| Kind::of(&described(name, element), &chosen);
        assert_eq!(kind("numeric", None), Kind::Numeric { precision: 38, scale: 10 });
        assert_eq!(kind("money", None).data_type(), DataType::Decimal128(19, 2));
        assert_eq!(kind("date", None), Kind::Finite(Box::new(Kind::Date)));
        assert_eq!(kind("timestamptz", None).asked(), "timestamptz");
        for element in ["numeric", "money", "date"] {
            assert_eq!(kind("", Some(element)), Kind::Other, "{element}");
        }
    }

    #[test]
    fn a_kind_survives_its_column() {
        let kinds = [
            Kind::Numeric { precision: 4, scale: 1 },
            Kind::Array(Box::new(Kind::Text(Collation::Foreign))),
            Kind::Char(Collation::Loose),
        ];
        for kind in kinds {
            let column = Column::new("c", kind.data_type(), true).with_native(kind.native().expect("kept"));
            assert_eq!(Kind::of_column(&column).expect("read"), kind);
        }
        assert!(Kind::of_column(&Column::new("c", DataType::Utf8, true)).is_err());
    }
}
