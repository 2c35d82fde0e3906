//! A scan: what is wanted of one table, as a plain value that travels.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};

use crate::{Column, Refusal, Table, TableName};

/// What is wanted of one table. It starts as "everything" and grows by [`crate::Source::absorb`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scan {
    /// The catalog's name.
    pub catalog: String,
    /// The table.
    pub table: TableName,
    /// All columns of the table, then fields of its structs that are wanted by themselves ([`crate::Source::field`]); "place
    /// in the table" is a place here.
    pub columns: Vec<Column>,
    /// The table's private facts ([`Table::native`]).
    pub native: String,
    /// The columns to return, in this order; may be empty (only the number of rows matters) and may repeat.
    pub projection: Vec<usize>,
    /// Filters to apply in the source, joined by AND.
    pub filters: Vec<Predicate>,
    /// Return at most this many rows from each split: the first ones in `order`, or any where that is empty.
    pub limit: Option<u64>,
    /// The order that decides which rows a limit leaves; the rows themselves may come in any order.
    pub order: Vec<SortKey>,
    /// Return groups in place of rows, one row for each group of a split; `projection` then means nothing.
    pub aggregation: Option<Aggregation>,
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
            order: Vec::new(),
            aggregation: None,
        }
    }

    /// The Arrow schema of what the scan returns: the projection, or groups and then results.
    pub fn schema(&self) -> SchemaRef {
        let field = |at: &usize| self.columns[*at].field();
        let fields: Vec<Field> = match &self.aggregation {
            None => self.projection.iter().map(field).collect(),
            Some(Aggregation { group, calls }) => {
                let result = |(at, call): (usize, &Call)| {
                    Field::new(format!("result_{at}"), call.data_type.clone(), call.function != Function::Count)
                };
                group.iter().map(field).chain(calls.iter().enumerate().map(result)).collect()
            }
        };
        Arc::new(Schema::new(fields))
    }

    /// Whether a filter, an order, groups or a join would come too late: a limit would then count what passes, and a group
    /// is no row.
    pub fn is_taken(&self) -> bool {
        self.limit.is_some() || self.aggregation.is_some()
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

    /// The same scan with only its first rows in an order; for use in `absorb`.
    #[must_use]
    pub fn with_top(&self, order: Vec<SortKey>, limit: u64) -> Self {
        Self { order, limit: Some(limit), ..self.clone() }
    }

    /// The same scan with groups in place of rows; for use in `absorb`.
    #[must_use]
    pub fn with_aggregation(&self, aggregation: Aggregation) -> Self {
        Self { aggregation: Some(aggregation), ..self.clone() }
    }
}

/// One key of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SortKey {
    /// The column's place in the table.
    pub column: usize,
    /// Largest first.
    pub descending: bool,
    /// NULL comes before every value; else after.
    pub nulls_first: bool,
}

/// Groups and what is calculated of each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Aggregation {
    /// The columns whose values make a group, by their place in the table; NULL is a value. Without any, all rows are
    /// one group, which is there even without rows.
    pub group: Vec<usize>,
    /// What is calculated; without any, the groups alone are wanted.
    pub calls: Vec<Call>,
}

/// One aggregate function over the rows of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The function.
    pub function: Function,
    /// Its argument, by its place in the table, of which NULL is left out; none: the rows themselves (`count(*)`).
    pub column: Option<usize>,
    /// The type of the result: `Int64` for a count, the column's type for `min` and `max`, `Int64` or a wider decimal
    /// for a sum, which wraps around where it does not fit an `Int64`.
    pub data_type: DataType,
}

/// An aggregate function whose results over parts can be put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Function {
    /// How many; never NULL.
    Count,
    /// The sum; NULL of nothing.
    Sum,
    /// The smallest; NULL of nothing.
    Min,
    /// The largest; NULL of nothing.
    Max,
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
    /// Return the first rows in an order from each split; the engine sorts them, and applies the limit again.
    /// Which of equal rows are returned is open.
    Top {
        /// The order.
        order: Vec<SortKey>,
        /// How many rows.
        limit: u64,
    },
    /// Return the rows of a join. Only *exact* is of use: a scan whose columns are those that this one returns, then those
    /// that the other one does, all of them projected, each under a name of its own.
    Join(Join),
    /// Return groups in place of rows; the engine puts the groups of all splits together. Only *exact* is of use.
    Aggregate(Aggregation),
}

/// A column and the value that it is set to.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// The column's place in the table.
    pub column: usize,
    /// The value, of the column's type; none: NULL.
    pub value: Option<Literal>,
}

/// A join with another scan of the same catalog, by columns that are equal; NULL equals nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Join {
    /// The other scan.
    pub right: Box<Scan>,
    /// Which rows are returned.
    pub kind: JoinKind,
    /// Columns that must be equal, of each scan by their place in its table; both return them. At least one pair.
    pub on: Vec<(usize, usize)>,
}

/// Which rows a join returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinKind {
    /// Those with a match.
    Inner,
    /// All of the first scan; without a match, the other one's columns are NULL.
    Left,
}

/// The answer to an offered operation.
#[derive(Debug, Clone, PartialEq)]
pub enum Absorbed {
    /// Nothing changed; the reason is shown by EXPLAIN.
    No(Refusal),
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
