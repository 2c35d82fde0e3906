//! Tables of CSV and NDJSON files, read through the contract.
//!
//! DataFusion's own scans of these formats are not used: the way a plan takes to a worker loses
//! that a file is packed, headers are skipped instead of matched by name, a file is cut in the
//! middle of quoted lines, and errors do not say in which file and line they are.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use connector_spi::{BatchStream, Column, Error, ReadContext, Result, Scan, Split, Table, TableStatistics};
use futures::StreamExt;
use object_store::ObjectMeta;
use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::listing::{Dataset, Format, Packing};
use crate::read::Input;
use crate::record::{Block, Records};
use crate::store::Root;
use crate::types::{Shape, merge_fields};
use crate::{csv, error, ndjson};

/// The types of columns are taken from so many records of a table, and from some of each file.
const SAMPLE: usize = 10_000;
const SAMPLE_OF_FILE: usize = 200;
const FILES_AT_ONCE: usize = 8;
/// A larger NDJSON file is read in parts.
const PART: u64 = 16 << 20;
/// How much longer text is than its packed form, when nothing better is known.
const UNPACKED: u64 = 4;

/// What the beginning of one file says.
#[derive(Debug, Clone, Default)]
pub(crate) struct TextFacts {
    pub(crate) fields: Vec<(String, Shape)>,
    /// Records looked at, and their length in bytes.
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// Whether that was all of the file.
    pub(crate) whole: bool,
}

impl TextFacts {
    fn rows(&self, size: u64, packing: Packing) -> Option<u64> {
        let text = if packing == Packing::Plain { size } else { size.saturating_mul(UNPACKED) };
        match (self.whole, self.bytes) {
            (true, _) => Some(self.rows),
            (false, 0) => None,
            (false, bytes) => Some((u128::from(text) * u128::from(self.rows) / u128::from(bytes)) as u64),
        }
    }
}

/// What travels in [`Table::native`].
#[derive(Debug, Serialize, Deserialize)]
struct Native {
    format: Format,
}

/// What travels in [`Split::token`]: a file or a part of one.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    path: String,
    size: u64,
    modified: (i64, u32),
    tag: Option<String>,
    packing: Packing,
    part: Option<Range<u64>>,
}

/// Describes a table of text files.
pub(crate) async fn table(root: &Root, dataset: &Dataset, cache: &Cache<Arc<TextFacts>>) -> Result<Table> {
    let each = (SAMPLE / dataset.files.len()).max(SAMPLE_OF_FILE);
    let mut facts = futures::stream::iter(dataset.files.iter().cloned())
        .map(|(file, packing)| learn(root, dataset.format, file, packing, each, cache))
        .boxed()
        .buffered(FILES_AT_ONCE);
    let (mut all, mut fields) = (Vec::<Arc<TextFacts>>::new(), Vec::new());
    while let Some(found) = facts.next().await {
        let found = found?;
        fields =
            merge_fields(fields, found.fields.clone()).map_err(|path| conflict(root, dataset, &all, &found, &path))?;
        all.push(found);
    }
    if fields.is_empty() {
        let path = root.relative(&dataset.files[0].0.location);
        let cause = match dataset.format {
            Format::Csv => "it is empty, not even a header line is there",
            _ => "it has no JSON object, so that its columns are not known",
        };
        return Err(error::bad_file(root.catalog(), dataset.format.name(), path, cause));
    }
    let rows = all.iter().zip(&dataset.files).map(|(facts, (file, packing))| facts.rows(file.size, *packing)).sum();
    let bytes = dataset.files.iter().map(|(file, _)| file.size).sum();
    let columns = fields.iter().map(|(name, shape)| Column::new(name, shape.data_type(), true)).collect();
    let mut table = Table::new(columns);
    table.statistics = TableStatistics { rows, bytes: Some(bytes), columns: Vec::new() };
    table.native = encode(&Native { format: dataset.format })?;
    Ok(table)
}

async fn learn(
    root: &Root,
    format: Format,
    file: ObjectMeta,
    packing: Packing,
    most: usize,
    cache: &Cache<Arc<TextFacts>>,
) -> Result<Arc<TextFacts>> {
    if let Some(facts) = cache.get(&file) {
        return Ok(facts);
    }
    let input = Input { root: root.clone(), file: file.clone(), packing, format };
    let bytes = input.bytes(None, None);
    let mut records = Records::new(input, bytes, 0);
    let facts = match format {
        Format::Csv => csv::learn(&mut records, most).await?,
        _ => ndjson::learn(&mut records, most).await?,
    };
    let facts = Arc::new(facts);
    cache.put(&file, facts.clone());
    Ok(facts)
}

/// Names the two files whose columns do not fit together.
fn conflict(root: &Root, dataset: &Dataset, before: &[Arc<TextFacts>], found: &TextFacts, path: &str) -> Error {
    let clashes = |facts: &Arc<TextFacts>| merge_fields(facts.fields.clone(), found.fields.clone()).is_err();
    let first = before.iter().position(clashes).unwrap_or_default();
    let name = |at: usize| dataset.files.get(at).map_or("", |(file, _)| root.relative(&file.location));
    let cause = format!("column \"{path}\" does not fit the one of \"{}\"", name(first));
    error::bad_file(root.catalog(), dataset.format.name(), name(before.len()), &cause)
}

/// About how many rows the files have, as far as they have been looked at.
pub(crate) fn rows(dataset: &Dataset, cache: &Cache<Arc<TextFacts>>) -> Option<u64> {
    dataset.files.iter().map(|(file, packing)| cache.get(file)?.rows(file.size, *packing)).sum()
}

/// One split a file; large plain NDJSON files in parts.
pub(crate) fn splits(root: &Root, dataset: &Dataset, table_rows: Option<u64>, wanted: usize) -> Result<Vec<Split>> {
    let total = dataset.files.iter().map(|(file, _)| file.size).sum::<u64>().max(1);
    let part_bytes = total.div_ceil(wanted.max(1) as u64).max(PART);
    let mut splits = Vec::new();
    for (file, packing) in &dataset.files {
        let parted = dataset.format == Format::Ndjson && *packing == Packing::Plain && file.size > part_bytes;
        let parts = if parted { file.size.div_ceil(part_bytes) } else { 1 };
        for at in 0..parts {
            let part = at * file.size / parts..(at + 1) * file.size / parts;
            let bytes = part.end - part.start;
            let token = Token {
                path: root.relative(&file.location).to_owned(),
                size: file.size,
                modified: (file.last_modified.timestamp(), file.last_modified.timestamp_subsec_nanos()),
                tag: file.e_tag.clone(),
                packing: *packing,
                part: parted.then_some(part),
            };
            let rows = table_rows.map(|rows| (u128::from(rows) * u128::from(bytes) / u128::from(total)) as u64);
            splits.push(Split { token: encode(&token)?.into_bytes(), rows, bytes: Some(bytes) });
        }
    }
    Ok(splits)
}

/// Reads a file or a part of one.
pub(crate) fn read(root: &Root, scan: &Scan, split: &Split, context: ReadContext) -> Result<BatchStream> {
    let wrong = |_| Error::internal(format!("the split of table \"{}\" is not one of the files connector", scan.table));
    if scan.native.is_empty() {
        // Parquet tables are DataFusion's own scans.
        return Err(Error::internal(format!("table \"{}\" cannot be read through the files connector", scan.table)));
    }
    let native = serde_json::from_str::<Native>(&scan.native).map_err(wrong)?;
    let token = serde_json::from_slice::<Token>(&split.token).map_err(wrong)?;
    let file = ObjectMeta {
        location: root.path(&token.path)?,
        last_modified: time(token.modified).into(),
        size: token.size,
        e_tag: token.tag,
        version: None,
    };
    let first_byte = token.part.as_ref().map_or(0, |part| part.start);
    let input = Input { root: root.clone(), file, packing: token.packing, format: native.format };
    let bytes = input.bytes(token.part, Some(context.counters.clone()));
    let reader = Reader {
        records: Records::new(input, bytes, first_byte),
        scan: scan.clone(),
        schema: scan.schema(),
        decoder: None,
        rows: context.batch_rows.max(1),
        left: scan.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX)),
    };
    Ok(futures::stream::try_unfold(reader, |mut reader| async move {
        Ok(reader.next().await?.map(|batch| (batch, reader)))
    })
    .boxed())
}

fn time((seconds, nanos): (i64, u32)) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 { SystemTime::UNIX_EPOCH - whole } else { SystemTime::UNIX_EPOCH + whole };
    time + Duration::from_nanos(u64::from(nanos))
}

fn encode(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::internal(format!("the plan of a files table cannot be encoded: {error}")))
}

enum Decoder {
    Csv(csv::Decoder),
    Ndjson(ndjson::Decoder),
}

impl Decoder {
    fn decode(&self, records: &Records, block: &Block) -> Result<(Vec<ArrayRef>, usize)> {
        match self {
            Self::Csv(decoder) => decoder.decode(records, block),
            Self::Ndjson(decoder) => decoder.decode(records, block),
        }
    }
}

struct Reader {
    records: Records,
    scan: Scan,
    schema: SchemaRef,
    decoder: Option<Decoder>,
    /// Rows a batch.
    rows: usize,
    /// Rows that are still wanted.
    left: usize,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<arrow::array::RecordBatch>> {
        if self.left == 0 {
            return Ok(None);
        }
        if self.decoder.is_none() {
            let (columns, wanted) = (&self.scan.columns, &self.scan.projection);
            self.decoder = Some(match self.records.input().format {
                Format::Csv => match csv::Decoder::open(&mut self.records, columns, wanted).await? {
                    Some(decoder) => Decoder::Csv(decoder),
                    None => return Ok(None),
                },
                _ => Decoder::Ndjson(ndjson::Decoder::new(columns, wanted)),
            });
        }
        let Some(decoder) = &self.decoder else { return Ok(None) };
        while let Some(block) = self.records.block(self.rows.min(self.left)).await? {
            let (columns, rows) = decoder.decode(&self.records, &block)?;
            if rows > 0 {
                let batch = csv::batch(self.schema.clone(), columns, rows)?;
                let batch = batch.slice(0, rows.min(self.left));
                self.left -= batch.num_rows();
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }
}
