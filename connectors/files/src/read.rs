//! The bytes of a file: fetched in windows, cut to whole lines where a part is read, and unpacked.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use bytes::Bytes;
use connector_spi::{ReadCounters, Result};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectMeta;
use tokio::io::AsyncRead;
use tokio_util::io::{ReaderStream, StreamReader};

use crate::error::{bad_file, lower, ours};
use crate::listing::{Format, Packing};
use crate::store::Root;

const FIRST_WINDOW: u64 = 1 << 20;
const WINDOW: u64 = 8 << 20;
/// Windows fetched ahead of the one that is being read.
const AHEAD: usize = 2;
const UNPACKED: usize = 256 << 10;

/// A file that is being read, and for which table.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    pub(crate) root: Root,
    pub(crate) file: ObjectMeta,
    pub(crate) packing: Packing,
    pub(crate) format: Format,
}

impl Input {
    pub(crate) fn path(&self) -> &str {
        self.root.relative(&self.file.location)
    }

    /// An error about the content of the file.
    pub(crate) fn bad(&self, cause: &str) -> connector_spi::Error {
        bad_file(self.root.catalog(), self.format.name(), self.path(), cause)
    }

    /// The file's bytes, unpacked. Of a part, the lines that begin in it.
    pub(crate) fn bytes(
        &self,
        part: Option<Range<u64>>,
        counters: Option<Arc<ReadCounters>>,
    ) -> BoxStream<'static, Result<Bytes>> {
        let size = self.file.size;
        match part {
            Some(part) if part.start > 0 || part.end < size => {
                // The byte before tells whether a line begins at the start.
                let from = part.start.saturating_sub(1);
                lines(self.windows(from..size, counters), from, part)
            }
            _ => self.unpacked(self.windows(0..size, counters)),
        }
    }

    fn windows(&self, range: Range<u64>, counters: Option<Arc<ReadCounters>>) -> BoxStream<'static, Result<Bytes>> {
        let (root, file) = (self.root.clone(), Arc::new(self.file.clone()));
        futures::stream::iter(cut(range))
            .map(move |window| {
                let (root, file, counters) = (root.clone(), file.clone(), counters.clone());
                async move {
                    let bytes = root.bytes(&file, window).await?;
                    if let Some(counters) = counters {
                        counters.add_request();
                        counters.add_bytes(bytes.len());
                    }
                    Ok(bytes)
                }
            })
            .buffered(AHEAD)
            .boxed()
    }

    fn unpacked(&self, packed: BoxStream<'static, Result<Bytes>>) -> BoxStream<'static, Result<Bytes>> {
        if self.packing == Packing::Plain {
            return packed;
        }
        let reader = StreamReader::new(packed.map_err(io::Error::other));
        let unpacked: Box<dyn AsyncRead + Send + Unpin> = match self.packing {
            Packing::Gzip => {
                let mut decoder = GzipDecoder::new(reader);
                decoder.multiple_members(true);
                Box::new(decoder)
            }
            _ => {
                let mut decoder = ZstdDecoder::new(reader);
                decoder.multiple_members(true);
                Box::new(decoder)
            }
        };
        let input = self.clone();
        ReaderStream::with_capacity(unpacked, UNPACKED)
            .map_err(move |error| {
                ours(&error)
                    .or_else(|| error.get_ref().and_then(|inner| ours(inner)))
                    .unwrap_or_else(|| input.bad(&format!("it cannot be unpacked: {}", lower(&error.to_string()))))
            })
            .boxed()
    }
}

fn cut(range: Range<u64>) -> impl Iterator<Item = Range<u64>> + Send {
    let mut at = range.start;
    std::iter::from_fn(move || {
        let size = if at == range.start { FIRST_WINDOW } else { WINDOW };
        let window = at..range.end.min(at + size);
        at = window.end;
        (!window.is_empty()).then_some(window)
    })
}

/// Of bytes that begin at `from`, the lines whose first byte is in `part`.
fn lines(bytes: BoxStream<'static, Result<Bytes>>, from: u64, part: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
    struct State {
        bytes: BoxStream<'static, Result<Bytes>>,
        at: u64,
        started: bool,
        ended: bool,
    }
    let state = State { bytes, at: from, started: part.start == 0, ended: part.is_empty() };
    futures::stream::try_unfold(state, move |mut state| async move {
        while !state.ended {
            let Some(mut chunk) = state.bytes.try_next().await? else { break };
            let chunk_start = state.at;
            state.at += chunk.len() as u64;
            let mut first = chunk_start;
            if !state.started {
                let Some(newline) = memchr::memchr(b'\n', &chunk) else { continue };
                first += newline as u64 + 1;
                chunk = chunk.slice(newline + 1..);
                state.started = true;
                if first >= part.end {
                    // The part lies inside one line that began before it.
                    break;
                }
            }
            if state.at >= part.end {
                // The last line is the one that holds the part's last byte.
                let last = (part.end - 1).saturating_sub(first).min(chunk.len() as u64) as usize;
                if let Some(newline) = memchr::memchr(b'\n', &chunk[last..]) {
                    chunk = chunk.slice(..=last + newline);
                    state.ended = true;
                }
            }
            if !chunk.is_empty() {
                return Ok(Some((chunk, state)));
            }
        }
        Ok(None)
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part_of(text: &'static str, part: Range<u64>, chunk: usize) -> String {
        let from = part.start.saturating_sub(1);
        let chunks =
            text.as_bytes()[from as usize..].chunks(chunk).map(|c| Ok(Bytes::from_static(c))).collect::<Vec<_>>();
        let stream = lines(futures::stream::iter(chunks).boxed(), from, part);
        let pieces = futures::executor::block_on(stream.try_collect::<Vec<_>>()).expect("reads");
        String::from_utf8(pieces.concat()).expect("text")
    }

    #[test]
    fn every_line_is_in_exactly_one_part_however_the_file_is_cut() {
        for text in ["one\ntwo\nthree\n", "one\ntwo\nthree", "\n\na\n\n", "x", "long line without an end"] {
            let size = text.len() as u64;
            for chunk in 1..=text.len() {
                for a in 0..=size {
                    for b in a..=size {
                        let parts = [0..a, a..b, b..size]
                            .map(|part| if part.is_empty() { String::new() } else { part_of(text, part, chunk) });
                        assert_eq!(parts.concat(), text, "cut at {a} and {b}, chunks of {chunk}");
                    }
                }
            }
        }
    }

    #[test]
    fn windows_cover_a_range_once() {
        let windows = cut(5..30_000_000).collect::<Vec<_>>();
        assert_eq!(windows.first().map(|w| w.start), Some(5));
        assert_eq!(windows.last().map(|w| w.end), Some(30_000_000));
        assert!(windows.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert_eq!(cut(0..0).count(), 0);
    }
}
