//! What every source must hold to, as plain functions that take any source; for the tests of connectors.
//!
//! Each reads a table with and without what the source takes over and compares. The table's first column numbers its
//! rows. [`rows`] gives rows that are hard to get right and [`store`] writes them, where the source can be written.
//!
//! Errors: text that names the operation and the difference. A random choice prints its seed.

mod filter;
mod group;
mod join;
mod order;
mod rows;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{SortOptions, cast, concat_batches};
use arrow::datatypes::{DataType, Int64Type};
use arrow::row::{RowConverter, SortField};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::{StreamExt, TryStreamExt};

use crate::{Absorbed, Op, ReadContext, Scan, Source, Split, TableName};

pub use filter::{combinations, filter, filters, trees};
pub use group::groups;
pub use join::{joined, joins};
pub use order::{limits, tops};
pub use rows::{hostile, rows};

/// Nothing, or the first difference.
pub type Outcome<T> = Result<T, String>;

/// What a source answered to an offer, found to be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// *Exact*, and so it was.
    Exact,
    /// *Inexact*, and nothing was lost.
    Inexact,
    /// *No*, with a reason.
    Refused,
}

/// How the offers of one function were answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// [`Answer::Exact`].
    pub exact: usize,
    /// [`Answer::Inexact`].
    pub inexact: usize,
    /// [`Answer::Refused`].
    pub refused: usize,
    /// Of those that were not refused: no row was left, so that little is proven.
    pub empty: usize,
}

impl Tally {
    fn count(&mut self, answer: Answer) {
        *match answer {
            Answer::Exact => &mut self.exact,
            Answer::Inexact => &mut self.inexact,
            Answer::Refused => &mut self.refused,
        } += 1;
    }
}

/// A table to be tested, and all its rows.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The source.
    pub source: &'a dyn Source,
    /// Everything of the table.
    pub scan: Scan,
    /// The rows, as they are read by one split.
    pub rows: RecordBatch,
    /// The numbers of the rows, in order.
    numbers: Vec<i64>,
}

impl<'a> Subject<'a> {
    /// Reads the table. Errors: there is no such table, it cannot be read, or its first column does not number the rows.
    pub async fn of(source: &'a dyn Source, catalog: &str, name: &TableName) -> Outcome<Self> {
        Self::over(source, everything(source, catalog, name).await?).await
    }

    /// Reads the table with the fields of its structs as columns behind its own. Errors: those of [`Subject::of`]; the
    /// source does not know one of the fields by itself.
    pub async fn with_fields(source: &'a dyn Source, catalog: &str, name: &TableName) -> Outcome<Self> {
        let mut scan = everything(source, catalog, name).await?;
        let mut fields = Vec::new();
        for column in &scan.columns {
            let DataType::Struct(inside) = &column.data_type else { continue };
            for field in inside {
                let found = source.field(column, &[field.name()]);
                fields.push(found.ok_or_else(|| format!("no field {} of {}", field.name(), column.name))?);
            }
        }
        scan.columns.extend(fields);
        scan.projection = (0..scan.columns.len()).collect();
        Self::over(source, scan).await
    }

    async fn over(source: &'a dyn Source, scan: Scan) -> Outcome<Self> {
        let nothing = RecordBatch::new_empty(scan.schema());
        let mut subject = Self { source, scan, rows: nothing, numbers: Vec::new() };
        subject.rows = subject.read(&subject.scan, 1).await?;
        subject.numbers = numbers(&subject.rows)?;
        match !repeats(&subject.numbers) && !subject.numbers.is_empty() {
            true => Ok(subject),
            false => Err(format!("the first column of {} does not number its rows", subject.scan.table)),
        }
    }

    /// All rows of a scan in `wanted` splits.
    async fn read(&self, scan: &Scan, wanted: usize) -> Outcome<RecordBatch> {
        let failed = |error: crate::Error| format!("{error}; sent: {:?}", self.source.remote_text(scan));
        let plain = Scan { order: Vec::new(), aggregation: None, ..scan.clone() };
        let later = plain != *scan;
        let cut = self.source.splits(if later { &plain } else { scan }, wanted).await.map_err(failed)?;
        let splits = if later { self.source.recut(scan, cut.splits.clone()) } else { cut.splits.clone() };
        let mut all = Vec::new();
        for split in &splits {
            let read = self.read_split(scan, split).await.map_err(failed)?;
            let rows: usize = read.iter().map(RecordBatch::num_rows).sum();
            if scan.limit.is_some_and(|limit| rows as u64 > limit) {
                return Err(format!("a split gave {rows} rows for a limit of {:?}", scan.limit));
            }
            all.extend(read);
        }
        drop(cut.guard);
        whole(scan, &all)
    }

    async fn read_split(&self, scan: &Scan, split: &Split) -> crate::Result<Vec<RecordBatch>> {
        let context = ReadContext { batch_rows: 128, counters: Arc::default() };
        self.source.read(scan, split, context).await?.try_collect().await
    }

    /// The numbers of the rows that a scan returns, in order.
    async fn numbers(&self, scan: &Scan, wanted: usize) -> Outcome<Vec<i64>> {
        numbers(&self.read(&scan.with_projection(vec![0]), wanted).await?)
    }

    /// The source's answer, which must be the same twice and give a reason, and the scan as it is then.
    fn offer(&self, op: &Op) -> Outcome<(Answer, Scan)> {
        let answer = self.source.absorb(&self.scan, op);
        if answer != self.source.absorb(&self.scan, op) {
            return Err(format!("{op:?} was answered in two ways"));
        }
        match answer {
            Absorbed::Exact(with) => Ok((Answer::Exact, with)),
            Absorbed::Inexact(with) => Ok((Answer::Inexact, with)),
            Absorbed::No(reason) if reason.text.trim().is_empty() => {
                Err(format!("{op:?} was refused without a reason"))
            }
            Absorbed::No(_) => Ok((Answer::Refused, self.scan.clone())),
        }
    }

    /// Whether these are rows of the table, each at most once.
    fn are_rows(&self, numbers: &[i64]) -> bool {
        !repeats(numbers) && numbers.iter().all(|number| self.numbers.binary_search(number).is_ok())
    }
}

/// The scan of a whole table.
async fn everything(source: &dyn Source, catalog: &str, name: &TableName) -> Outcome<Scan> {
    let table = source.table(name).await.map_err(|error| error.to_string())?;
    let table = table.ok_or_else(|| format!("there is no table {name}"))?;
    Ok(Scan::new(catalog, name.clone(), &table))
}

/// All batches that a scan returned as one. Errors: one has another schema than the scan.
pub fn whole(scan: &Scan, batches: &[RecordBatch]) -> Outcome<RecordBatch> {
    let wanted = scan.schema();
    if let Some(other) = batches.iter().find(|batch| batch.schema() != wanted) {
        return Err(format!("a batch has the schema {} and not {wanted}", other.schema()));
    }
    if wanted.fields().is_empty() {
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        return RecordBatch::try_new_with_options(wanted, Vec::new(), &options).map_err(|error| error.to_string());
    }
    concat_batches(&wanted, batches).map_err(|error| error.to_string())
}

/// Creates the table and writes the rows. Errors: the source cannot be written, or says why not.
pub async fn store(source: &dyn Source, name: &TableName, rows: &RecordBatch) -> Outcome<()> {
    let writer = source.writer().ok_or("the source cannot be written")?;
    writer.create_table(name, rows.schema()).await.map_err(|error| error.to_string())?;
    let batches = futures::stream::iter([Ok(rows.clone())]).boxed();
    let stored = writer.insert(name, batches).await.map_err(|error| error.to_string())?;
    match stored == rows.num_rows() as u64 {
        true => Ok(()),
        false => Err(format!("{stored} of {} rows were stored", rows.num_rows())),
    }
}

/// Whatever the number of splits, each row is read once; and so are any columns in any order. Gives the most splits.
pub async fn splits(subject: &Subject<'_>) -> Outcome<usize> {
    let all = &subject.numbers;
    let mut most = 0;
    for wanted in [0, 1, 2, 3, 8, 50] {
        let cut = subject.source.splits(&subject.scan, wanted).await.map_err(|error| error.to_string())?;
        if cut.splits.is_empty() {
            return Err(format!("no split where {wanted} were wanted"));
        }
        most = most.max(cut.splits.len());
        let found = subject.numbers(&subject.scan, wanted).await?;
        if found != *all {
            return Err(format!("{wanted} splits wanted, {}: {}", cut.splits.len(), difference(all, &found)));
        }
    }
    let places: Vec<usize> = (0..subject.scan.columns.len()).collect();
    let mut choices: Vec<Vec<usize>> = places.iter().map(|at| vec![*at, 0]).collect();
    choices.extend([Vec::new(), places.iter().rev().copied().collect(), vec![0, 0, 0]]);
    for columns in choices {
        let (Answer::Exact, with) = subject.offer(&Op::Columns(columns.clone()))? else { continue };
        let read = subject.read(&with, 3).await?;
        if read.num_rows() != all.len() {
            return Err(format!("{} rows and not {} for columns {columns:?}", read.num_rows(), all.len()));
        }
        let wanted = subject.rows.project(&columns).map_err(|error| error.to_string())?;
        if lines(&read)? != lines(&wanted)? {
            return Err(format!("other values for columns {columns:?}"));
        }
    }
    Ok(most)
}

/// The rows that are read are those that were written. Errors: the first that is not.
pub fn stored(subject: &Subject<'_>, rows: &RecordBatch) -> Outcome<()> {
    let (read, written) = (lines(&subject.rows)?, lines(rows)?);
    match read.iter().zip(&written).find(|(read, written)| read != written) {
        Some((read, written)) => Err(format!("written {written}, read {read}")),
        None if read.len() != written.len() => Err(format!("{} rows of {}", read.len(), written.len())),
        None => Ok(()),
    }
}

/// Rows as text, in order of the text.
fn lines(rows: &RecordBatch) -> Outcome<Vec<String>> {
    let text = |error: arrow::error::ArrowError| error.to_string();
    let options = FormatOptions::new().with_null("NULL");
    // Whose zone a point in time is shown in does not matter.
    let without_zone = |column: &ArrayRef| match column.data_type() {
        DataType::Timestamp(unit, Some(_)) => cast(column, &DataType::Timestamp(*unit, None)).map_err(text),
        _ => Ok(Arc::clone(column)),
    };
    let columns = rows.columns().iter().map(without_zone).collect::<Outcome<Vec<_>>>()?;
    let formatter = |column| ArrayFormatter::try_new(column, &options).map_err(text);
    let columns = columns.iter().map(|column| formatter(column.as_ref())).collect::<Outcome<Vec<_>>>()?;
    let line = |row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|");
    let mut lines: Vec<String> = (0..rows.num_rows()).map(line).collect();
    lines.sort_unstable();
    Ok(lines)
}

/// The first column, in order.
fn numbers(rows: &RecordBatch) -> Outcome<Vec<i64>> {
    let first = rows.columns().first().ok_or("there is no column")?;
    let first = cast(first, &DataType::Int64).map_err(|error| error.to_string())?;
    if first.null_count() > 0 {
        return Err("a row has no number".to_owned());
    }
    let mut numbers = first.as_primitive::<Int64Type>().values().to_vec();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Whether a number follows itself.
fn repeats(numbers: &[i64]) -> bool {
    numbers.windows(2).any(|two| two[0] == two[1])
}

/// Each row's values in these columns as bytes that compare as the engine sorts.
fn sortable(columns: &[(ArrayRef, SortOptions)]) -> Outcome<Vec<Vec<u8>>> {
    let text = |error: arrow::error::ArrowError| error.to_string();
    let field =
        |(column, options): &(ArrayRef, SortOptions)| SortField::new_with_options(column.data_type().clone(), *options);
    let converter = RowConverter::new(columns.iter().map(field).collect()).map_err(text)?;
    let columns: Vec<ArrayRef> = columns.iter().map(|(column, _)| Arc::clone(column)).collect();
    let rows = converter.convert_columns(&columns).map_err(text)?;
    Ok(rows.iter().map(|row| row.as_ref().to_vec()).collect())
}

/// Which rows are missing and which are there without reason or twice; a few of each.
fn difference(wanted: &[i64], found: &[i64]) -> String {
    let few = |from: &[i64], not: &[i64]| -> Vec<i64> {
        let mut left = not.to_vec();
        let only = from.iter().filter(|number| match left.iter().position(|other| other == *number) {
            Some(at) => {
                left.swap_remove(at);
                false
            }
            None => true,
        });
        only.take(10).copied().collect()
    };
    format!("missing rows {:?}, rows too many {:?}", few(wanted, found), few(found, wanted))
}

/// Numbers that look random and are the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit.max(1)
    }
}
