//! What a source says of its tables: names, columns, statistics.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use serde::{Deserialize, Serialize};

/// A table's name inside its catalog.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TableName {
    /// The schema.
    pub schema: String,
    /// The table.
    pub table: String,
}

impl TableName {
    /// `schema.table`.
    pub fn new(schema: impl Into<String>, table: impl Into<String>) -> Self {
        Self { schema: schema.into(), table: table.into() }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

/// A schema and the names of its tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaEntry {
    /// The schema's name.
    pub name: String,
    /// Its tables, in the order of their names.
    pub tables: Vec<TableEntry>,
}

/// A table as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableEntry {
    /// The table's name.
    pub name: String,
    /// Whether it is a table or a view of the source.
    pub kind: TableKind,
}

/// What information_schema calls `table_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableKind {
    /// `BASE TABLE`.
    Table,
    /// `VIEW`.
    View,
}

/// One column of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// The name, exactly as in the source.
    pub name: String,
    /// The Arrow type of the batches.
    pub data_type: DataType,
    /// Whether NULL can occur.
    pub nullable: bool,
    /// The source's own facts about the column (type, collation, …) in a form private to the connector.
    pub native: String,
    /// What the source says of the column, for people; it does not travel.
    #[serde(skip)]
    pub comment: String,
}

impl Column {
    /// A column without facts of its own.
    pub fn new(name: impl Into<String>, data_type: DataType, nullable: bool) -> Self {
        Self { name: name.into(), data_type, nullable, native: String::new(), comment: String::new() }
    }

    /// The same column with a comment.
    #[must_use]
    pub fn with_comment(mut self, comment: impl Into<String>) -> Self {
        self.comment = comment.into();
        self
    }

    /// The same column with the source's own facts.
    #[must_use]
    pub fn with_native(mut self, native: impl Into<String>) -> Self {
        self.native = native.into();
        self
    }

    /// The Arrow field.
    pub fn field(&self) -> Field {
        Field::new(&self.name, self.data_type.clone(), self.nullable)
    }
}

/// Estimates; all of them may be absent and none is taken as exact.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TableStatistics {
    /// Rows.
    pub rows: Option<u64>,
    /// Bytes in the source.
    pub bytes: Option<u64>,
    /// One entry a column, or none at all.
    pub columns: Vec<ColumnStatistics>,
}

/// Estimates about one column.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ColumnStatistics {
    /// Different values, without NULL.
    pub distinct: Option<u64>,
    /// Share of NULL, 0 to 1.
    pub null_fraction: Option<f64>,
}

/// One table as planning sees it.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its columns.
    pub columns: Vec<Column>,
    /// Estimates.
    pub statistics: TableStatistics,
    /// Facts private to the connector that travel with every scan of the table.
    pub native: String,
    /// The escape hatch: a table of files hands out DataFusion's own scan instead of being read
    /// through [`crate::Source::read`]; it must use the object store `catalog://<catalog>`.
    pub files: Option<Arc<dyn TableProvider>>,
}

impl Table {
    /// A table of these columns, read through the contract.
    pub fn new(columns: Vec<Column>) -> Self {
        Self { columns, statistics: TableStatistics::default(), native: String::new(), files: None }
    }

    /// A table of files.
    pub fn files(provider: Arc<dyn TableProvider>) -> Self {
        let columns = provider
            .schema()
            .fields()
            .iter()
            .map(|field| Column::new(field.name(), field.data_type().clone(), field.is_nullable()))
            .collect();
        Self { files: Some(provider), ..Self::new(columns) }
    }

    /// The Arrow schema of the whole table.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(Column::field).collect::<Vec<_>>()))
    }
}
