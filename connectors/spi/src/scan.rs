//! A scan: what is wanted of one table, as a plain value that travels.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};

use crate::{Column, Table, TableName};

/// What is wanted of one table. It starts as "everything" and grows by [`crate::Source::absorb`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scan {
    /// The catalog's name.
    pub catalog: String,
    /// The table.
    pub table: TableName,
    /// All columns of the table; predicates name columns by their place here.
    pub columns: Vec<Column>,
    /// The table's private facts ([`Table::native`]).
    pub native: String,
    /// The columns to return, in this order; may be empty (only the number of rows matters) and may repeat.
    pub projection: Vec<usize>,
    /// Filters to apply in the source, joined by AND.
    pub filters: Vec<Predicate>,
    /// Return at most this many rows, any of them, from each split.
    pub limit: Option<u64>,
}

impl Scan {
    /// Everything of a table.
    pub fn new(catalog: impl Into<String>, name: TableName, table: &Table) -> Self {
        Self {
            catalog: catalog.into(),
            table: name,
            columns: table.columns.clone(),
            native: table.native.clone(),
            projection: (0..table.columns.len()).collect(),
            filters: Vec::new(),
            limit: None,
        }
    }

    /// The Arrow schema of what the scan returns.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.projection.iter().map(|at| self.columns[*at].field()).collect::<Vec<_>>()))
    }

    /// The same scan with one more filter; for use in `absorb`.
    #[must_use]
    pub fn with_filter(&self, filter: Predicate) -> Self {
        let mut scan = self.clone();
        scan.filters.push(filter);
        scan
    }

    /// The same scan with other columns; for use in `absorb`.
    #[must_use]
    pub fn with_projection(&self, projection: Vec<usize>) -> Self {
        Self { projection, ..self.clone() }
    }

    /// The same scan with a limit, if it is lower than the one it has; for use in `absorb`.
    #[must_use]
    pub fn with_limit(&self, limit: u64) -> Self {
        Self { limit: Some(self.limit.map_or(limit, |now| now.min(limit))), ..self.clone() }
    }
}

/// An operation offered to a scan.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Op {
    /// Keep only rows for which the predicate is true.
    Filter(Predicate),
    /// Return only these columns, by their place in the table.
    Columns(Vec<usize>),
    /// Return at most so many rows from each split. The engine applies the limit again over all
    /// splits unless the answer is exact and there is one split.
    Limit(u64),
}

/// The answer to an offered operation.
#[derive(Debug, Clone, PartialEq)]
pub enum Absorbed {
    /// Nothing changed; the reason is shown by EXPLAIN.
    No(&'static str),
    /// The scan now returns a superset of what the operation leaves; the engine applies it again.
    Inexact(Scan),
    /// The scan now returns exactly what the operation leaves.
    Exact(Scan),
}

/// A condition on columns, with SQL's three-valued logic; a row passes when it is true.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Predicate {
    /// `column op value`; the value is never NULL.
    Compare {
        /// The column's place in the table.
        column: usize,
        /// The operator.
        op: Comparison,
        /// The value, of the column's type.
        value: Literal,
    },
    /// `column [NOT] IN (values)`; no value is NULL.
    In {
        /// The column's place in the table.
        column: usize,
        /// The values, of the column's type.
        values: Vec<Literal>,
        /// `NOT IN`.
        negated: bool,
    },
    /// `column IS [NOT] NULL`.
    Null {
        /// The column's place in the table.
        column: usize,
        /// `IS NOT NULL`.
        negated: bool,
    },
    /// `column [NOT] [I]LIKE pattern`; `%` and `_` are wild.
    Like {
        /// The column's place in the table.
        column: usize,
        /// The pattern, in which `escape` makes the next character literal.
        pattern: String,
        /// The escape character: the one named, else a backslash.
        escape: char,
        /// `NOT LIKE`.
        negated: bool,
        /// `ILIKE`.
        case_insensitive: bool,
    },
    /// All of them.
    And(Vec<Predicate>),
    /// Any of them.
    Or(Vec<Predicate>),
    /// The opposite; NULL stays NULL.
    Not(Box<Predicate>),
}

/// A comparison operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// `=`
    Eq,
    /// `<>`
    NotEq,
    /// `<`
    Lt,
    /// `<=`
    LtEq,
    /// `>`
    Gt,
    /// `>=`
    GtEq,
}

/// A typed value, never NULL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Literal {
    /// A boolean.
    Boolean(bool),
    /// Any signed integer type.
    Integer(i64),
    /// Any unsigned integer type.
    Unsigned(u64),
    /// `value / 10^scale`.
    Decimal {
        /// The unscaled value.
        value: i128,
        /// Digits after the point; may be negative.
        scale: i8,
    },
    /// A floating-point number.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
    /// Days since 1970-01-01, proleptic Gregorian.
    Date(i32),
    /// Time of day.
    Time {
        /// Units since midnight.
        value: i64,
        /// The unit.
        unit: TimeUnit,
    },
    /// A point in time (with a zone) or a wall-clock time (without).
    Timestamp {
        /// Units since 1970-01-01 00:00:00, in UTC if there is a zone.
        value: i64,
        /// The unit.
        unit: TimeUnit,
        /// The zone.
        zone: Option<String>,
    },
}
