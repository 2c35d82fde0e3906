//! Cutting the text of a file into blocks of whole records.

use bytes::{Bytes, BytesMut};
use connector_spi::{Error, ErrorKind, Result};
use futures::TryStreamExt;
use futures::stream::BoxStream;

use crate::listing::Format;
use crate::read::Input;

/// A block is closed when it is so long, however few its records are.
const BLOCK: usize = 16 << 20;
/// A longer record is refused: a file without line ends must not fill the memory.
const LONGEST: usize = 64 << 20;

/// Whole records, as they stand in the file.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) bytes: Bytes,
    /// The number of the line in which the block begins, from 1.
    pub(crate) line: u64,
    /// How many records; of NDJSON, lines, some of which may be blank.
    pub(crate) records: usize,
}

/// Finds where records end.
#[derive(Debug, Clone, Copy)]
enum Splitter {
    Lines,
    Csv(State),
}

/// Where in a CSV record a byte stands. The rules are those of the parser (csv-core): a quote opens
/// a field only as its first byte, a doubled quote is a quote, and both line ends end a record.
#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    RecordStart,
    FieldStart,
    Plain,
    Quoted,
    QuoteInQuoted,
}

impl Splitter {
    fn of(format: Format) -> Self {
        if format == Format::Csv { Self::Csv(State::RecordStart) } else { Self::Lines }
    }

    /// The place behind the next record that ends in `data[from..]`.
    fn next(&mut self, data: &[u8], from: usize) -> Option<usize> {
        let state = match self {
            Self::Lines => return memchr::memchr(b'\n', &data[from..]).map(|at| from + at + 1),
            Self::Csv(state) => state,
        };
        let mut at = from;
        while at < data.len() {
            if *state == State::Quoted {
                match memchr::memchr(b'"', &data[at..]) {
                    Some(quote) => at += quote,
                    None => return None,
                }
            }
            let byte = data[at];
            at += 1;
            *state = match (*state, byte) {
                (State::Quoted, b'"') => State::QuoteInQuoted,
                (State::Quoted, _) | (State::QuoteInQuoted | State::RecordStart | State::FieldStart, b'"') => {
                    State::Quoted
                }
                (State::RecordStart, b'\n' | b'\r') => State::RecordStart,
                (_, b'\n' | b'\r') => {
                    *state = State::RecordStart;
                    return Some(at);
                }
                (_, b',') => State::FieldStart,
                _ => State::Plain,
            };
        }
        None
    }

    fn in_quotes(self) -> bool {
        matches!(self, Self::Csv(State::Quoted))
    }
}

/// The records of a block one by one, each with the number of its first line.
pub(crate) fn records(format: Format, block: &Block) -> Vec<(u64, Bytes)> {
    let mut splitter = Splitter::of(format);
    let (mut at, mut line, mut records) = (0, block.line, Vec::new());
    while at < block.bytes.len() {
        let end = splitter.next(&block.bytes, at).unwrap_or(block.bytes.len());
        let record = block.bytes.slice(at..end);
        let blank = record.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
        let before = newlines(&record[..blank]);
        if blank < record.len() {
            records.push((line + before, record.slice(blank..)));
        }
        line += newlines(&record);
        at = end;
    }
    records
}

fn newlines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

/// Reads a file block by block.
pub(crate) struct Records {
    input: Input,
    bytes: BoxStream<'static, Result<Bytes>>,
    splitter: Splitter,
    buffer: BytesMut,
    /// The buffer's bytes that the splitter has seen.
    seen: usize,
    line: u64,
    ended: bool,
    /// What lies before the first line, for messages about parts of files.
    first_byte: u64,
}

impl Records {
    pub(crate) fn new(input: Input, bytes: BoxStream<'static, Result<Bytes>>, first_byte: u64) -> Self {
        let splitter = Splitter::of(input.format);
        Self { input, bytes, splitter, buffer: BytesMut::new(), seen: 0, line: 1, ended: false, first_byte }
    }

    pub(crate) fn input(&self) -> &Input {
        &self.input
    }

    /// Where a line is, for messages.
    pub(crate) fn place(&self, line: u64) -> String {
        match self.first_byte {
            0 => format!("line {line}"),
            first => format!("line {line} after byte {first}"),
        }
    }

    /// The next block of at most `most` records; `None` at the end of the file.
    pub(crate) async fn block(&mut self, most: usize) -> Result<Option<Block>> {
        let (mut end, mut records) = (0, 0);
        loop {
            while records < most && end < BLOCK {
                match self.splitter.next(&self.buffer, self.seen) {
                    Some(at) => {
                        (end, self.seen) = (at, at);
                        records += 1;
                    }
                    None => {
                        self.seen = self.buffer.len();
                        break;
                    }
                }
            }
            if records == most || end >= BLOCK {
                return Ok(Some(self.take(end, records)));
            }
            if self.ended {
                return self.rest(records);
            }
            if self.buffer.len() - end > LONGEST {
                let cause = format!(
                    "the record that begins in {} is longer than 64 MiB",
                    self.place(self.line + newlines(&self.buffer[..end]))
                );
                let error =
                    Error::new(ErrorKind::BadData, self.input.bad(&cause).message()).with("file", self.input.path());
                return Err(match self.splitter.in_quotes() {
                    true => error.hint("A quote in it is probably not closed."),
                    false => error.hint("The file is probably not what its name says."),
                });
            }
            match self.bytes.try_next().await? {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None => self.ended = true,
            }
        }
    }

    fn rest(&mut self, records: usize) -> Result<Option<Block>> {
        let rest = &self.buffer[..];
        if self.splitter.in_quotes() {
            let block = Block { bytes: Bytes::copy_from_slice(rest), line: self.line, records };
            let begins = crate::record::records(self.input.format, &block).last().map_or(self.line, |(line, _)| *line);
            let cause = format!("a quote in the record that begins in {} is not closed", self.place(begins));
            return Err(self.input.bad(&cause));
        }
        if rest.iter().all(|byte| matches!(byte, b'\n' | b'\r')) && matches!(self.splitter, Splitter::Csv(_))
            || rest.is_empty()
        {
            self.buffer.clear();
            return Ok(None);
        }
        let unfinished = match self.splitter {
            Splitter::Lines => !rest.ends_with(b"\n"),
            Splitter::Csv(state) => state != State::RecordStart,
        };
        let all = self.buffer.len();
        self.splitter = Splitter::of(self.input.format);
        Ok(Some(self.take(all, records + usize::from(unfinished))))
    }

    fn take(&mut self, end: usize, records: usize) -> Block {
        let bytes = self.buffer.split_to(end).freeze();
        self.seen = self.seen.saturating_sub(end);
        let line = self.line;
        self.line += newlines(&bytes);
        Block { bytes, line, records }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(text: &str) -> Vec<usize> {
        let mut splitter = Splitter::of(Format::Csv);
        let mut at = 0;
        std::iter::from_fn(|| {
            at = splitter.next(text.as_bytes(), at)?;
            Some(at)
        })
        .collect()
    }

    #[test]
    fn csv_records_end_at_line_ends_outside_of_quotes() {
        assert_eq!(ends("a,b\n1,2\n"), [4, 8]);
        assert_eq!(ends("a,\"x\ny\"\nz,1\n"), [8, 12]);
        assert_eq!(ends("a\r\nb\r\n"), [2, 5]);
        assert_eq!(ends("a,\"he said \"\"no\"\"\n\"\n"), [20]);
        assert_eq!(ends("5\" pipe,1\nb,2\n"), [10, 14]);
        assert_eq!(ends("\n\na\n"), [4]);
        assert!(ends("no end").is_empty());
    }

    #[test]
    fn records_know_their_lines() {
        let block = Block { bytes: Bytes::from_static(b"\n\n\"a\nb\",1\r\nc,2\n"), line: 10, records: 2 };
        let found = records(Format::Csv, &block);
        assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [12, 14]);
    }
}
