//! The columns of a batch while it is built.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Builder, Decimal128Builder, Int32Builder, Int64Builder, StringBuilder};
use arrow::datatypes::DataType;
use tpchgen::dates::TPCHDate;
use tpchgen::decimal::TPCHDecimal;

/// The type of money and of other numbers with two decimals.
pub(crate) const MONEY: DataType = DataType::Decimal128(15, 2);

/// One column that grows.
pub(crate) enum Cells {
    Key(Int64Builder),
    Number(Int32Builder),
    Money(Decimal128Builder),
    Date(Date32Builder),
    Text(StringBuilder),
}

impl Cells {
    /// A column for values of this type; text for any type that is none of the generator's.
    pub(crate) fn new(data_type: &DataType, rows: usize) -> Self {
        match data_type {
            DataType::Int64 => Self::Key(Int64Builder::with_capacity(rows)),
            DataType::Int32 => Self::Number(Int32Builder::with_capacity(rows)),
            DataType::Decimal128(..) => Self::Money(Decimal128Builder::with_capacity(rows).with_data_type(MONEY)),
            DataType::Date32 => Self::Date(Date32Builder::with_capacity(rows)),
            _ => Self::Text(StringBuilder::with_capacity(rows, rows * 16)),
        }
    }

    pub(crate) fn key(&mut self, value: i64) {
        if let Self::Key(cells) = self {
            cells.append_value(value);
        }
    }

    pub(crate) fn number(&mut self, value: i32) {
        if let Self::Number(cells) = self {
            cells.append_value(value);
        }
    }

    pub(crate) fn money(&mut self, value: TPCHDecimal) {
        if let Self::Money(cells) = self {
            cells.append_value(i128::from(value.0));
        }
    }

    /// A whole number in a column of money, such as a quantity.
    pub(crate) fn whole(&mut self, value: i64) {
        self.money(TPCHDecimal(value * 100));
    }

    pub(crate) fn date(&mut self, value: TPCHDate) {
        if let Self::Date(cells) = self {
            cells.append_value(value.to_unix_epoch());
        }
    }

    pub(crate) fn text(&mut self, value: &str) {
        if let Self::Text(cells) = self {
            cells.append_value(value);
        }
    }

    pub(crate) fn shown(&mut self, value: &impl std::fmt::Display) {
        if let Self::Text(cells) = self {
            // Writing into a string cannot fail.
            let _ = write!(cells, "{value}");
            cells.append_value("");
        }
    }

    pub(crate) fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Key(cells) => Arc::new(cells.finish()),
            Self::Number(cells) => Arc::new(cells.finish()),
            Self::Money(cells) => Arc::new(cells.finish()),
            Self::Date(cells) => Arc::new(cells.finish()),
            Self::Text(cells) => Arc::new(cells.finish()),
        }
    }
}
