//! How a value is written in a case: one text for each, the same in every shape.

use anyhow::Result;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use sqllogictest::ColumnType;

/// The letter of a column in `query <letters>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `B`
    Boolean,
    /// `D`: dates and times without a point in time.
    Date,
    /// `I`: whole numbers.
    Integer,
    /// `P`: timestamps.
    Timestamp,
    /// `R`: floats and decimals.
    Real,
    /// `T`
    Text,
    /// `?`: anything else; in a case it matches every type.
    Any,
}

impl ColumnType for Kind {
    fn from_char(letter: char) -> Option<Self> {
        Some(match letter {
            'B' => Self::Boolean,
            'D' => Self::Date,
            'I' => Self::Integer,
            'P' => Self::Timestamp,
            'R' => Self::Real,
            'T' => Self::Text,
            '?' => Self::Any,
            _ => return None,
        })
    }

    fn to_char(&self) -> char {
        match self {
            Self::Boolean => 'B',
            Self::Date => 'D',
            Self::Integer => 'I',
            Self::Timestamp => 'P',
            Self::Real => 'R',
            Self::Text => 'T',
            Self::Any => '?',
        }
    }
}

/// Whether the columns of a result are those that the case names.
#[expect(clippy::ptr_arg, reason = "the runner's signature")]
pub fn kinds_match(actual: &Vec<Kind>, expected: &Vec<Kind>) -> bool {
    let fits = |(actual, expected): (&Kind, &Kind)| actual == expected || [actual, expected].contains(&&Kind::Any);
    actual.len() == expected.len() && actual.iter().zip(expected).all(fits)
}

/// The letters of a result's columns.
pub fn kinds(schema: &Schema) -> Vec<Kind> {
    let kind = |data_type: &DataType| match data_type {
        DataType::Boolean => Kind::Boolean,
        data_type if data_type.is_integer() => Kind::Integer,
        data_type if data_type.is_floating() || data_type.is_decimal() => Kind::Real,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Kind::Text,
        DataType::Date32 | DataType::Date64 | DataType::Time32(_) | DataType::Time64(_) => Kind::Date,
        DataType::Timestamp(..) => Kind::Timestamp,
        _ => Kind::Any,
    };
    schema.fields().iter().map(|field| kind(field.data_type())).collect()
}

/// The rows of a batch as text.
pub fn rows(batch: &RecordBatch) -> Result<Vec<Vec<String>>> {
    let options = FormatOptions::default().with_display_error(false).with_null("NULL");
    let formatters = batch.columns().iter().map(|column| Ok(ArrayFormatter::try_new(column.as_ref(), &options)?));
    let formatters = formatters.collect::<Result<Vec<_>>>()?;
    let value = |row: usize, at: usize| -> Result<String> {
        let column = batch.column(at);
        Ok(match column.data_type() {
            _ if column.is_null(row) => "NULL".to_owned(),
            DataType::Float64 => float(column.as_primitive::<Float64Type>().value(row), |v| format!("{v}")),
            DataType::Float32 => {
                let value = column.as_primitive::<Float32Type>().value(row);
                float(f64::from(value), |_| format!("{value}"))
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                text(&formatters[at].value(row).try_to_string()?)
            }
            _ => formatters[at].value(row).try_to_string()?,
        })
    };
    (0..batch.num_rows()).map(|row| (0..batch.num_columns()).map(|at| value(row, at)).collect()).collect()
}

/// The shortest digits that give the same number back; very large and very small ones with an exponent.
fn float(value: f64, plain: impl Fn(f64) -> String) -> String {
    match value {
        value if value.is_nan() => "NaN".to_owned(),
        value if value.is_infinite() => if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        0.0 => "0".to_owned(),
        value if (1e-5..1e16).contains(&value.abs()) => plain(value),
        value => format!("{value:e}"),
    }
}

fn text(value: &str) -> String {
    if value.is_empty() { "(empty)".to_owned() } else { value.replace('\n', "\\n") }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Decimal128Array, Float64Array, StringArray};

    use super::*;

    #[test]
    fn null_and_the_empty_text_differ() -> Result<()> {
        let column: ArrayRef = Arc::new(StringArray::from(vec![None, Some(""), Some("a\nb")]));
        let batch = RecordBatch::try_from_iter([("c", column)])?;
        assert_eq!(rows(&batch)?, [["NULL"], ["(empty)"], ["a\\nb"]]);
        Ok(())
    }

    #[test]
    fn decimals_keep_their_scale_and_floats_are_short() -> Result<()> {
        let decimal: ArrayRef = Arc::new(Decimal128Array::from(vec![150, -5]).with_precision_and_scale(10, 2)?);
        let float: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 1e300]));
        let batch = RecordBatch::try_from_iter([("d", decimal), ("f", float)])?;
        assert_eq!(rows(&batch)?, [["1.50", "1"], ["-0.05", "1e300"]]);
        Ok(())
    }
}
