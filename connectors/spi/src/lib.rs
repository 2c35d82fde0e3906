//! The contract between the engine and a connector; a connector author reads only this crate.
//!
//! A [`Connector`] is a kind of source ("postgres"). It opens a [`Source`], which serves one
//! catalog. A [`Scan`] and a [`Split`] are plain values that travel between processes; every
//! process of a cluster opens its own `Source` from the same catalog definition, so neither
//! carries connections or credentials.
//!
//! Each method's documentation has five fixed lines: *Runs on*, *Must*, *May*, *Errors*, *On drop*.

#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod evaluate;
mod option;
mod refusal;
mod scan;
mod split;
mod table;
mod take;

use std::fmt::Debug;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::ObjectStore;

pub use error::{Blame, Error, ErrorKind, Result, Retry, nearest};
pub use evaluate::{evaluate, scalar};
pub use option::{OptionKind, OptionSpec, Options, Secret};
pub use refusal::{Refusal, RefusalCode};
pub use scan::{
    Absorbed, Aggregation, Assignment, Call, Comparison, Function, Join, JoinKind, Literal, Op, Predicate, Scan,
    SortKey,
};
pub use split::{Guard, ReadContext, ReadCounters, Split, Splits};
pub use table::{Column, ColumnStatistics, SchemaEntry, Table, TableEntry, TableKind, TableName, TableStatistics};
pub use take::{Connective, Taken, inwards, take};

/// How many tables a source is asked for at once where it takes one request each.
const TABLES_AT_ONCE: usize = 8;

/// Rows on their way out of a source. Dropping the stream cancels the work in the source.
pub type BatchStream = BoxStream<'static, Result<RecordBatch>>;

/// Batches of so many rows in all, without columns: what a scan returns where only the number matters. Errors: the scan
/// has columns.
pub fn rows_alone(
    scan: &Scan,
    mut rows: u64,
    batch_rows: usize,
) -> impl Iterator<Item = Result<RecordBatch>> + Send + use<> {
    let (schema, most) = (scan.schema(), batch_rows.max(1));
    std::iter::from_fn(move || {
        let next = usize::try_from(rows).unwrap_or(usize::MAX).min(most);
        rows -= next as u64;
        let options = RecordBatchOptions::new().with_row_count(Some(next));
        (next > 0).then(|| {
            RecordBatch::try_new_with_options(Arc::clone(&schema), Vec::new(), &options)
                .map_err(|cause| Error::internal(format!("a batch without columns is not whole: {cause}")))
        })
    })
}

/// A kind of source, such as "postgres".
pub trait Connector: Debug + Send + Sync {
    /// The word after `USING` and the value of `connector` in a catalog file.
    fn kind(&self) -> &'static str;

    /// Every option the connector knows. An option outside this list is refused by the engine.
    fn options(&self) -> &'static [OptionSpec];

    /// Opens the source of one catalog.
    ///
    /// - Runs on: coordinator and every worker, each time a definition is new to the process.
    /// - Must: return at once, without I/O; connections are made when first needed.
    /// - May: check the options against each other.
    /// - Errors: `INVALID` for options that contradict each other or do not parse.
    /// - On drop: closes what it opened.
    fn open(&self, catalog: &str, options: &Options) -> Result<Arc<dyn Source>>;
}

/// One opened catalog: five verbs for reading, and a writer where the source can be written.
#[async_trait]
pub trait Source: Debug + Send + Sync {
    /// Names every schema and table.
    ///
    /// - Runs on: coordinator, for SHOW, information_schema, metadata calls and "did you mean".
    /// - Must: use as few requests as the source allows, and bound each by a timeout of 10 s or less.
    /// - May: leave out tables that the source's own account cannot see.
    /// - Errors: `UNAVAILABLE`, `UNAUTHENTICATED` and others of the source family; the text names host and cause.
    /// - On drop: gives the request up.
    async fn list(&self) -> Result<Vec<SchemaEntry>>;

    /// Describes one table; `None` where there is no such table.
    ///
    /// - Runs on: coordinator, where one table is asked for by itself, and by [`Source::tables`] unless that is its own.
    /// - Must: give the columns in the source's order, exact Arrow types, and statistics if they are cheap.
    /// - May: answer a table that [`Source::list`] leaves out.
    /// - Errors: as [`Source::list`].
    /// - On drop: gives the request up.
    async fn table(&self, name: &TableName) -> Result<Option<Table>>;

    /// Describes the tables of one query, an answer for each in the order of the names, which are all different.
    ///
    /// - Runs on: coordinator, once per query that names tables of the catalog; there is at least one name.
    /// - Must: answer for each table as [`Source::table`] does.
    /// - May: ask the source for all of them with one request (the default: one each, several at once).
    /// - Errors: as [`Source::table`], each at its table's place.
    /// - On drop: gives the requests up.
    async fn tables(&self, names: &[TableName]) -> Vec<Result<Option<Table>>> {
        let asked = names.iter().map(|name| self.table(name)).collect::<Vec<_>>();
        futures::stream::iter(asked).buffered(TABLES_AT_ONCE).collect().await
    }

    /// Describes what a query in the source's own language returns (`TABLE(catalog.system.query('…'))`), so that a scan of
    /// it can be read like one of a table.
    ///
    /// - Runs on: coordinator, once per use and query.
    /// - Must: refuse where the catalog does not allow it; see to it that such a query changes nothing in the source.
    /// - May: run nothing of it yet.
    /// - Errors: `UNSUPPORTED` (the default), `INVALID` for other arguments than it takes, and what the source says of it.
    /// - On drop: gives the request up.
    async fn query(&self, _arguments: &[String]) -> Result<Table> {
        Err(Error::unsupported("the connector takes no queries in the source's own language"))
    }

    /// The field of a struct as a column of its own, which may stand behind the table's columns in a scan.
    ///
    /// - Runs on: coordinator, while planning; `column` is of the table, or was made here; `path` names a field of the
    ///   struct, then a field of that one, and so on.
    /// - Must: be pure; give the field the type that the struct gives it; its values are NULL where the struct is.
    /// - May: be `None` (the default): the field is then taken out of the whole struct by the engine.
    /// - Errors: none.
    /// - On drop: nothing.
    fn field(&self, _column: &Column, _path: &[&str]) -> Option<Column> {
        None
    }

    /// Offers one operation to the scan.
    ///
    /// - Runs on: coordinator, while planning, possibly several times for the same operation.
    /// - Must: be pure: no I/O, the same answer for the same arguments. *Exact* needs a proof that
    ///   the source's result equals the engine's; *inexact* a proof that it is a superset of it.
    /// - May: answer [`Absorbed::No`] to everything (the default).
    /// - Errors: none; what cannot be absorbed is refused.
    /// - On drop: nothing.
    fn absorb(&self, _scan: &Scan, _op: &Op) -> Absorbed {
        Absorbed::No(Refusal::new(RefusalCode::Source, "the connector absorbs nothing"))
    }

    /// Cuts a scan into pieces that can be read independently; together they are the scan, once.
    ///
    /// - Runs on: coordinator, after filters, columns and limit were absorbed ([`Source::recut`] follows where an
    ///   order or groups are absorbed later); `wanted` is how many pieces could run at once.
    /// - Must: return at least one split; read no rows.
    /// - May: return more or fewer than wanted, and a guard that holds a snapshot open.
    /// - Errors: as [`Source::list`].
    /// - On drop: the guard, when the query ends.
    async fn splits(&self, _scan: &Scan, _wanted: usize) -> Result<Splits> {
        Ok(Splits::whole())
    }

    /// Chooses the pieces again for a scan that absorbed more after it was cut.
    ///
    /// - Runs on: coordinator, while planning.
    /// - Must: be pure; the pieces that it returns are together the scan, once.
    /// - May: leave them as they are (the default), or return fewer, such as one that an index serves.
    /// - Errors: none.
    /// - On drop: nothing.
    fn recut(&self, _scan: &Scan, splits: Vec<Split>) -> Vec<Split> {
        splits
    }

    /// Waits until so many readers may read at once, on all nodes together.
    ///
    /// - Runs on: coordinator, once per query and catalog, after the plan is made and before it runs.
    /// - Must: give a query all that it gets at once, so that two queries never wait for each other; let each query
    ///   through in the end. The caller bounds the wait.
    /// - May: let fewer readers in than asked for, where there are not more; let all in (the default).
    /// - Errors: none of its own.
    /// - On drop: the guard, when the query ends; the wait, when the query is given up.
    async fn admit(&self, _readers: usize) -> Result<Option<Guard>> {
        Ok(None)
    }

    /// Reads one split: batches with exactly the scan's output schema ([`Scan::schema`]).
    ///
    /// - Runs on: whichever process the split was dealt to.
    /// - Must: apply everything the scan absorbed; list no metadata; keep few batches in flight.
    /// - May: return smaller or larger batches than asked for.
    /// - Errors: an error ends the stream; the text names table and, where it applies, column.
    /// - On drop: cancels the work in the source and gives connections back.
    async fn read(&self, scan: &Scan, split: &Split, context: ReadContext) -> Result<BatchStream>;

    /// The rows of a split that exist only in the coordinator's memory, to travel with the plan.
    ///
    /// - Runs on: coordinator, when a plan is sent to a worker.
    /// - Must: return at once. `None` (the default): any process can read the split itself.
    /// - May: return slices that share memory with the table.
    /// - Errors: as [`Source::read`].
    /// - On drop: nothing.
    fn resident(&self, _scan: &Scan, _split: &Split) -> Result<Option<Vec<RecordBatch>>> {
        Ok(None)
    }

    /// What the source will be asked, in its own language, for EXPLAIN; never with credentials.
    ///
    /// - Runs on: coordinator. - Must: be pure. - May: be `None`. - Errors: none. - On drop: nothing.
    fn remote_text(&self, _scan: &Scan) -> Option<String> {
        None
    }

    /// The store behind tables of [`Table::files`], rooted at the catalog's location.
    ///
    /// - Runs on: coordinator and workers. - Must: do no I/O. - May: be `None` (no file tables).
    /// - Errors: `INVALID` for options that do not make a store. - On drop: nothing.
    fn object_store(&self) -> Result<Option<Arc<dyn ObjectStore>>> {
        Ok(None)
    }

    /// The writing half, where the source can be written.
    fn writer(&self) -> Option<&dyn Write> {
        None
    }
}

/// Changing a source. All of it runs on the coordinator, each statement once.
#[async_trait]
pub trait Write: Send + Sync {
    /// Creates a schema. Errors: `ALREADY_EXISTS`.
    async fn create_schema(&self, schema: &str) -> Result<()>;
    /// Drops an empty schema. Errors: `NOT_FOUND`; `INVALID` while it holds tables.
    async fn drop_schema(&self, schema: &str) -> Result<()>;
    /// Creates an empty table. Errors: `ALREADY_EXISTS`, `NOT_FOUND` for the schema.
    async fn create_table(&self, name: &TableName, schema: SchemaRef) -> Result<()>;
    /// Drops a table. Errors: `NOT_FOUND`.
    async fn drop_table(&self, name: &TableName) -> Result<()>;
    /// Appends rows and returns how many; all of them or, after an error, none. A source that cannot take rows back
    /// says in the error's detail how many it keeps.
    async fn insert(&self, name: &TableName, rows: BatchStream) -> Result<u64>;
    /// Removes the rows that pass the filters of a scan, which absorbed them *exactly* and nothing else, and returns how
    /// many; all of them or, after an error, none. Errors: `UNSUPPORTED` (the default).
    async fn delete(&self, rows: &Scan) -> Result<u64> {
        Err(Error::unsupported(format!(
            "rows of catalog \"{}\" cannot be deleted; its connector only adds",
            rows.catalog
        )))
    }
    /// Gives columns of these rows new values, and returns how many rows they were; all of them or, after an error, none.
    /// Errors: `UNSUPPORTED` (the default).
    async fn update(&self, rows: &Scan, _set: &[Assignment]) -> Result<u64> {
        Err(Error::unsupported(format!(
            "rows of catalog \"{}\" cannot be changed; its connector only adds",
            rows.catalog
        )))
    }
}
