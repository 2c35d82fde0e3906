//! The binary form of COPY, decoded as it comes in.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, SchemaRef};
use connector_spi::{Error, ErrorKind, Result, Scan};

use crate::aggregate;
use crate::cell::{Cells, Misfit, Place, Values};
use crate::types::Kind;

/// A batch ends at this many bytes of values, whatever its rows: offsets of a column are 32 bits.
const BATCH_BYTES: usize = 16 << 20;

const ELSEWHERE: &str = "Leave the column or the row out of the query, read it by a view that casts it to text, or choose another type by the catalog's options numeric_as, money_as and on_infinity.";

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// What begins at a place in the bytes.
enum Walk {
    /// A row, up to here.
    Row(usize),
    /// The mark of the end.
    End,
    /// A row that is not whole yet.
    Cut,
}

/// Bytes of COPY in, batches out.
pub(crate) struct Decoder {
    schema: SchemaRef,
    table: String,
    columns: Vec<Cells>,
    /// Where the values of rows are that the columns do not have yet, row after row.
    places: Vec<Place>,
    rows: usize,
    bytes: usize,
    batch_rows: usize,
    /// Bytes of a row that is not whole yet.
    left: Vec<u8>,
    started: bool,
    ended: bool,
}

impl Decoder {
    /// Errors: `INTERNAL` for a scan that this connector did not make.
    pub(crate) fn new(scan: &Scan, batch_rows: usize) -> Result<Self> {
        let kinds = match &scan.aggregation {
            Some(aggregation) => aggregate::kinds(scan, aggregation)?,
            None => scan.projection.iter().map(|at| Kind::of_column(&scan.columns[*at])).collect::<Result<Vec<_>>>()?,
        };
        Ok(Self {
            schema: scan.schema(),
            table: format!("{}.{}", scan.catalog, scan.table),
            columns: kinds.iter().map(Cells::new).collect(),
            places: Vec::new(),
            rows: 0,
            bytes: 0,
            batch_rows: batch_rows.max(1),
            left: Vec::new(),
            started: false,
            ended: false,
        })
    }

    /// Takes bytes in; whole batches come out.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<RecordBatch>> {
        let mut full = Vec::new();
        if self.left.is_empty() {
            let used = self.rows_of(bytes, &mut full)?;
            self.left.extend_from_slice(&bytes[used..]);
        } else {
            let mut whole = std::mem::take(&mut self.left);
            whole.extend_from_slice(bytes);
            let used = self.rows_of(&whole, &mut full)?;
            whole.drain(..used);
            self.left = whole;
        }
        Ok(full)
    }

    /// How many values became NULL since the last time, because the catalog says so.
    pub(crate) fn take_misfits(&mut self) -> u64 {
        self.columns.iter_mut().map(Cells::take_misfits).sum()
    }

    /// The last batch. Errors: `UNAVAILABLE` where the end of the data never came.
    pub(crate) fn end(&mut self) -> Result<Option<RecordBatch>> {
        if !self.ended {
            let text = format!("Postgres sent only a part of the rows of table \"{}\"", self.table);
            return Err(Error::unavailable(text));
        }
        if self.rows > 0 { self.batch().map(Some) } else { Ok(None) }
    }

    fn rows_of(&mut self, bytes: &[u8], full: &mut Vec<RecordBatch>) -> Result<usize> {
        let mut at = 0;
        if !self.started {
            let Some(length) = header(bytes)? else { return Ok(0) };
            self.started = true;
            at = length;
        }
        while !self.ended {
            match self.walk(bytes, at)? {
                Walk::Cut => break,
                Walk::End => (self.ended, at) = (true, at + 2),
                Walk::Row(after) => {
                    self.rows += 1;
                    self.bytes += after - at;
                    at = after;
                    if self.rows >= self.batch_rows || self.bytes >= BATCH_BYTES {
                        self.take_in(bytes)?;
                        full.push(self.batch()?);
                    }
                }
            }
        }
        self.take_in(bytes)?;
        if self.ended && at < bytes.len() {
            return Err(broken("there is more after its end"));
        }
        Ok(at)
    }

    /// Notes where the values of the row are that begins at `start`.
    fn walk(&mut self, bytes: &[u8], start: usize) -> Result<Walk> {
        let Some(count) = bytes.get(start..start + 2) else { return Ok(Walk::Cut) };
        if count == [0xff, 0xff] {
            return Ok(Walk::End);
        }
        if count != u16::try_from(self.columns.len()).unwrap_or(u16::MAX).to_be_bytes() {
            return Err(broken("a row has another number of columns than were asked for"));
        }
        let known = self.places.len();
        let mut at = start + 2;
        for _ in 0..self.columns.len() {
            let length = length_at(bytes, at);
            at += 4;
            match length {
                Some(-1) => self.places.push(Place::NULL),
                Some(length) => {
                    let length = usize::try_from(length).map_err(|_| broken("a field has a negative length"))?;
                    self.places.push(Place::new(at, length).ok_or_else(|| broken("a row is longer than any can be"))?);
                    at += length;
                }
                None => at = usize::MAX,
            }
            if at > bytes.len() {
                self.places.truncate(known);
                return Ok(Walk::Cut);
            }
        }
        Ok(Walk::Row(at))
    }

    /// Gives each column its values of the rows that were walked: one column after the other is much quicker than one row
    /// after the other.
    fn take_in(&mut self, bytes: &[u8]) -> Result<()> {
        let width = self.columns.len();
        let nulls = self.places.contains(&Place::NULL);
        for (at, cells) in self.columns.iter_mut().enumerate() {
            let values = Values::new(bytes, &self.places[at.min(self.places.len())..], width);
            let field = self.schema.field(at);
            let taken = match nulls && !field.is_nullable() && values.clone().any(|value| value.is_none()) {
                true => Err("is NULL, which it could not be when the query was planned"),
                false => cells.extend(values),
            };
            taken.map_err(|misfit| unfit(field, &self.table, misfit))?;
        }
        self.places.clear();
        Ok(())
    }

    fn batch(&mut self) -> Result<RecordBatch> {
        self.bytes = 0;
        let columns = self.columns.iter_mut().zip(self.schema.fields());
        let arrays = columns.map(|(cells, field)| cells.finish().map_err(|misfit| unfit(field, &self.table, misfit)));
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(std::mem::take(&mut self.rows)));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options);
        batch.map_err(|cause| Error::internal(format!("a batch of table \"{}\" is not whole: {cause}", self.table)))
    }
}

fn unfit(field: &Field, table: &str, misfit: Misfit) -> Error {
    let text = format!("a value of column \"{}\" of table \"{table}\" {misfit}", field.name());
    Error::new(ErrorKind::BadData, text).with("column", field.name()).hint(ELSEWHERE)
}

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::Source, format!("Postgres sent data that is no binary COPY: {what}"))
}

fn length_at(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_be_bytes)
}

/// The length of the header, once it is all there.
fn header(bytes: &[u8]) -> Result<Option<usize>> {
    let known = bytes.len().min(SIGNATURE.len());
    if bytes[..known] != SIGNATURE[..known] {
        return Err(broken("the signature is another"));
    }
    let Some(extension) = length_at(bytes, 15) else { return Ok(None) };
    let length = 19 + usize::try_from(extension).map_err(|_| broken("the header is another"))?;
    Ok((bytes.len() >= length).then_some(length))
}

#[cfg(test)]
mod tests {
    use connector_spi::{Column, Table, TableName};

    use super::*;
    use crate::types::Collation;

    fn decoder(batch_rows: usize) -> Decoder {
        let column = |name: &str, kind: Kind| {
            Column::new(name, kind.data_type(), true).with_native(kind.native().expect("kept"))
        };
        let list = Kind::Array(Box::new(Kind::Int4));
        let table =
            Table::new(vec![column("n", Kind::Int4), column("t", Kind::Text(Collation::Bytes)), column("l", list)]);
        Decoder::new(&Scan::new("pg", TableName::new("s", "t"), &table), batch_rows).expect("decoder")
    }

    fn data(rows: i32) -> Vec<u8> {
        let mut bytes = [SIGNATURE.as_slice(), &[0; 8]].concat();
        let field = |bytes: &mut Vec<u8>, value: Option<&[u8]>| match value {
            None => bytes.extend((-1_i32).to_be_bytes()),
            Some(value) => {
                bytes.extend((value.len() as i32).to_be_bytes());
                bytes.extend(value);
            }
        };
        for n in 0..rows {
            bytes.extend(3_i16.to_be_bytes());
            field(&mut bytes, (n % 2 == 0).then_some(&n.to_be_bytes()));
            field(&mut bytes, Some("ä".repeat(n as usize % 3).as_bytes()));
            let list = [1, 1, 23, 2, 1].iter().flat_map(|n: &i32| n.to_be_bytes()).collect::<Vec<_>>();
            field(
                &mut bytes,
                Some(&[list.as_slice(), &4_i32.to_be_bytes(), &n.to_be_bytes(), &(-1_i32).to_be_bytes()].concat()),
            );
        }
        bytes.extend((-1_i16).to_be_bytes());
        bytes
    }

    fn decoded(chunk: usize) -> Vec<RecordBatch> {
        let mut decoder = decoder(4);
        let mut batches = Vec::new();
        for bytes in data(10).chunks(chunk) {
            batches.extend(decoder.push(bytes).expect("good"));
        }
        batches.extend(decoder.end().expect("ended"));
        batches
    }

    #[test]
    fn any_cut_of_the_bytes_gives_the_same_batches() {
        let whole = decoded(100_000);
        assert_eq!(whole.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [4, 4, 2]);
        assert!(whole[0].column(0).is_null(1) && whole[0].column(2).is_valid(0));
        for chunk in [1, 2, 3, 7, 64] {
            assert_eq!(decoded(chunk), whole, "{chunk}");
        }
    }

    #[test]
    fn data_without_its_end_is_an_error() {
        let mut decoder = decoder(100);
        let bytes = data(10);
        decoder.push(&bytes[..bytes.len() - 2]).expect("good so far");
        assert!(decoder.end().is_err());
    }

    #[test]
    fn other_bytes_are_refused() {
        assert!(decoder(10).push(b"not a copy at all").is_err());
    }

    #[test]
    fn a_row_of_other_columns_or_after_the_end_is_refused() {
        let head = [SIGNATURE.as_slice(), &[0; 8]].concat();
        for wrong in [&2_i16.to_be_bytes()[..], &4_i16.to_be_bytes()] {
            let fields = [&head, wrong, &[0xff; 16]].concat();
            assert!(decoder(10).push(&fields).is_err());
        }
        assert!(decoder(10).push(&[data(1), vec![0]].concat()).is_err());
        let negative = [&head[..], &3_i16.to_be_bytes(), &(-2_i32).to_be_bytes()].concat();
        assert!(decoder(10).push(&negative).is_err());
    }

    #[test]
    fn null_in_a_column_without_null_is_named() {
        let column = Column::new("n", Kind::Int4.data_type(), false).with_native(Kind::Int4.native().expect("kept"));
        let scan = Scan::new("pg", TableName::new("s", "t"), &Table::new(vec![column]));
        let bytes = [SIGNATURE.as_slice(), &[0; 8], &1_i16.to_be_bytes(), &(-1_i32).to_be_bytes()].concat();
        let error = Decoder::new(&scan, 10).expect("decoder").push(&bytes).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::BadData);
        assert!(error.message().starts_with("a value of column \"n\" of table \"pg.s.t\" is NULL"), "{error}");
    }

    #[test]
    fn a_batch_ends_before_its_offsets_overflow() {
        let column = Column::new("t", Kind::Other.data_type(), true).with_native(Kind::Other.native().expect("kept"));
        let scan = Scan::new("pg", TableName::new("s", "t"), &Table::new(vec![column]));
        let mut decoder = Decoder::new(&scan, 1_000_000).expect("decoder");
        decoder.push(&[SIGNATURE.as_slice(), &[0; 8]].concat()).expect("header");
        let length = BATCH_BYTES / 2;
        let row = [&1_i16.to_be_bytes()[..], &(length as i32).to_be_bytes(), &vec![b'a'; length]].concat();
        assert!(decoder.push(&row).expect("a row").is_empty());
        assert_eq!(decoder.push(&row).expect("a row").len(), 1);
    }
}
