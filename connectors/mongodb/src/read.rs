//! A split as rows: the cursor's raw batches are decoded where the rows are taken, while the next batch is on its way.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use bson::{RawBsonRef, RawDocument};
use connector_spi::{BatchStream, Error, ErrorKind, ReadContext, ReadCounters, Result, Scan, Split, rows_alone};
use futures::{StreamExt, stream};
use mongodb::raw_batch_cursor::RawBatch;
use tokio::sync::mpsc::{Receiver, channel};

use crate::aggregate;
use crate::cell::Row;
use crate::client::Deployment;
use crate::decode::Decoder;
use crate::element::Elements;
use crate::fetch::{Fetch, Fetched};
use crate::metadata::Facts;
use crate::request::Request;
use crate::shape::Shape;
use crate::split::Token;

/// Raw batches that wait to be decoded; one more is on its way.
const AHEAD: usize = 1;

/// Reads a split. Dropping the stream ends its session, and with it what the server does for it.
pub(crate) async fn read(
    deployment: &Arc<Deployment>,
    scan: &Scan,
    split: &Split,
    context: ReadContext,
) -> Result<BatchStream> {
    // No limit at all would be LIMIT 0 there.
    if scan.limit == Some(0) {
        return Ok(stream::empty().boxed());
    }
    let Token { part, at } = Token::read(&split.token)?;
    let facts = Facts::read(&scan.native);
    let request = Request::of(scan, &part)?;
    let decoding = Decoding::of(scan, &facts, &context)?;
    let client = deployment.client().await?.clone();
    let (stored, collation) = (facts.stored, facts.collation());
    let (database, name) = facts.of.unwrap_or_else(|| (scan.table.schema.clone(), scan.table.table.clone()));
    let collection = client.database(&database).collection(&name);
    let place = deployment.place(Some(&scan.table));
    let (sender, fetched) = channel(AHEAD);
    let counters = context.counters;
    let fetch = Fetch { client, collection, collation, place, counters: Arc::clone(&counters), sender };
    tokio::spawn(fetch.run(request, at, stored));
    let table = scan.table.to_string();
    let rows = Rows { fetched, decoding, counters, table, batch: None, ready: VecDeque::new(), ended: false };
    Ok(stream::try_unfold(rows, |mut rows| async move { Ok(rows.next().await?.map(|batch| (batch, rows))) }).boxed())
}

/// The rows of what is fetched.
struct Rows {
    fetched: Receiver<Result<Fetched>>,
    decoding: Decoding,
    counters: Arc<ReadCounters>,
    /// For errors.
    table: String,
    /// What is decoded now, and how many bytes of its documents are.
    batch: Option<(RawBatch, usize)>,
    ready: VecDeque<RecordBatch>,
    ended: bool,
}

impl Rows {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(Some(batch));
            }
            if let Some((batch, passed)) = self.batch.take() {
                self.decode(batch, passed)?;
                continue;
            }
            if self.ended {
                return Ok(None);
            }
            match self.fetched.recv().await {
                Some(fetched) => match fetched? {
                    Fetched::Batch(batch) => self.batch = Some((batch, 0)),
                    Fetched::End => {
                        self.ready.extend(self.decoding.finish()?);
                        self.ended = true;
                    }
                },
                // Else rows would be missing without a word.
                None => return Err(Error::internal("a reader of MongoDB ended before its documents did")),
            }
        }
    }

    /// Decodes until rows are ready, or to the end of the batch.
    fn decode(&mut self, batch: RawBatch, passed: usize) -> Result<()> {
        let odd = |cause: &str| {
            let text = format!("MongoDB sent what is no batch of table \"{}\": {cause}", self.table);
            Error::new(ErrorKind::BadData, text)
        };
        let documents = batch.doc_slices().map_err(|cause| odd(&cause.to_string()))?.as_bytes();
        let mut elements = Elements::of(documents, passed);
        let left = elements.left();
        let more = loop {
            let element = elements.next(b"").map_err(|_| odd("an item does not end within it"))?;
            let Some(element) = element else { break false };
            let Some(RawBsonRef::Document(document)) = element.plain() else {
                return Err(odd("an item is no document"));
            };
            self.decoding.push(document, &mut self.ready)?;
            if !self.ready.is_empty() {
                break true;
            }
        };
        self.counters.add_misfits(self.decoding.take_misfits());
        let passed = passed + left - elements.left();
        self.batch = more.then_some((batch, passed));
        Ok(())
    }
}

/// What becomes of the documents.
enum Decoding {
    Rows(Decoder),
    /// Groups, of which one counts values that do not fit.
    Groups {
        decoder: Decoder,
        alone: Option<RecordBatch>,
    },
    /// One document that says how many.
    Number {
        scan: Box<Scan>,
        batch_rows: usize,
    },
}

impl Decoding {
    fn of(scan: &Scan, facts: &Facts, context: &ReadContext) -> Result<Self> {
        let (table, rows) = (scan.table.to_string(), context.batch_rows);
        if let Some(aggregation) = &scan.aggregation {
            let (named, cells) = aggregate::cells(scan, aggregation)?;
            let alone = aggregation.group.is_empty().then(|| nothing(scan)).transpose()?;
            let decoder = Decoder::new(Row::of(named, cells), scan.schema(), false, table, rows);
            return Ok(Self::Groups { decoder, alone });
        }
        if scan.projection.is_empty() {
            return Ok(Self::Number { scan: Box::new(scan.clone()), batch_rows: rows });
        }
        let shape = Shape::of(scan)?;
        let kinds = shape.kinds();
        let whole = facts.whole.as_ref().and_then(|whole| kinds.iter().position(|(name, _)| name == whole));
        let row = Row::new(kinds).with_whole(whole);
        Ok(Self::Rows(Decoder::new(row, scan.schema(), facts.lenient, table, rows).with_places(shape.places)))
    }

    /// Takes a document; what is ready with it goes to `ready`. Errors: a value that does not fit.
    fn push(&mut self, document: &RawDocument, ready: &mut VecDeque<RecordBatch>) -> Result<()> {
        match self {
            Self::Rows(decoder) => ready.extend(decoder.push(document)?),
            Self::Groups { decoder, alone } => {
                *alone = None;
                if let Ok(Some(RawBsonRef::Int32(1..) | RawBsonRef::Int64(1..))) = document.get(aggregate::MISFIT) {
                    let text = format!("a column of table \"{}\" holds values of another type", decoder.table());
                    return Err(Error::new(ErrorKind::BadData, text).hint(
                        "Read the column to see which, declare its type in the catalog's option \"tables\", or set on_misfit = 'null'.",
                    ));
                }
                ready.extend(decoder.push(document)?);
            }
            Self::Number { scan, batch_rows } => {
                let rows = match document.get("rows") {
                    Ok(Some(RawBsonRef::Int32(rows))) => u64::try_from(rows).ok(),
                    Ok(Some(RawBsonRef::Int64(rows))) => u64::try_from(rows).ok(),
                    _ => None,
                };
                let rows = rows.ok_or_else(|| Error::internal("MongoDB counted documents without a number"))?;
                for batch in rows_alone(scan, rows, *batch_rows) {
                    ready.push_back(batch?);
                }
            }
        }
        Ok(())
    }

    /// What is left at the end.
    fn finish(&mut self) -> Result<Option<RecordBatch>> {
        match self {
            Self::Rows(decoder) => decoder.finish(),
            Self::Groups { decoder, alone } => Ok(alone.take().or(decoder.finish()?)),
            Self::Number { .. } => Ok(None),
        }
    }

    fn take_misfits(&mut self) -> u64 {
        match self {
            Self::Rows(decoder) => decoder.take_misfits(),
            _ => 0,
        }
    }
}

/// The one group of no documents at all: counts are 0, everything else is NULL.
fn nothing(scan: &Scan) -> Result<RecordBatch> {
    let schema = scan.schema();
    let column = |field: &Arc<arrow::datatypes::Field>| match field.is_nullable() {
        true => new_null_array(field.data_type(), 1),
        false => Arc::new(arrow::array::Int64Array::from(vec![0])) as ArrayRef,
    };
    let columns = schema.fields().iter().map(column).collect();
    RecordBatch::try_new(schema, columns).map_err(|cause| Error::internal(format!("a batch is not whole: {cause}")))
}
