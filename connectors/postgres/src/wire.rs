//! The bytes of a connection as the driver reads them: the rows of a COPY that came together are one message.
//!
//! Postgres sends each row as a message of its own, and the driver makes an object of each message. The protocol lets
//! the rows lie in messages as one likes, so that they are put together before the driver sees them; all else passes as
//! it is.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// At most so much is read at once.
const MOST: usize = 256 << 10;
/// The room for what is read at first; more where it is filled.
const LEAST: usize = 8 << 10;
/// A message of rows holds at most this many bytes; a message of more than this passes in pieces, as it comes.
const MESSAGE: usize = 60 << 10;
/// A message begins with its kind and its length, which counts itself.
const HEADER: usize = 5;
/// Rows of a COPY.
const COPY_DATA: u8 = b'd';
/// What asks for TLS: a length and a number in place of a version.
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// What comes next from the server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    Messages,
    /// One byte: whether TLS follows.
    Answer,
    /// Nothing that can be read here.
    Tls,
}

/// A connection whose rows come in large messages.
pub(crate) struct Joined<S> {
    inner: S,
    expected: Expected,
    /// `taken..whole` is for the driver, `whole..read` the beginning of a message.
    buffer: Vec<u8>,
    taken: usize,
    whole: usize,
    read: usize,
    /// Bytes to come of a message that passes in pieces.
    passing: usize,
}

impl<S> Joined<S> {
    /// `secret` where TLS comes at once, and not after it was asked for.
    pub(crate) fn new(inner: S, secret: bool) -> Self {
        let expected = if secret { Expected::Tls } else { Expected::Messages };
        Self { inner, expected, buffer: Vec::new(), taken: 0, whole: 0, read: 0, passing: 0 }
    }

    /// Puts rows together in what was read.
    fn join(&mut self) {
        if self.expected == Expected::Answer && self.read > 0 {
            self.expected = if self.buffer[0] == b'S' { Expected::Tls } else { Expected::Messages };
            self.whole = 1;
            return;
        }
        if self.expected == Expected::Tls {
            self.whole = self.read;
            return;
        }
        let Self { buffer, whole, read, passing, .. } = self;
        let mut at = 0;
        // Where the message of rows begins that more may be put to.
        let mut open = None;
        loop {
            let passed = (*passing).min(*read - at);
            if passed > 0 {
                buffer.copy_within(at..at + passed, *whole);
                (at, *whole, *passing, open) = (at + passed, *whole + passed, *passing - passed, None);
            }
            let Some((kind, length)) = header(&buffer[at..*read]) else { break };
            let end = at + 1 + length;
            if !(HEADER - 1..=MESSAGE).contains(&length) {
                // A length that cannot be is for the driver to find, and nothing after it is a message.
                *passing = if length > MESSAGE { 1 + length } else { usize::MAX };
                continue;
            }
            if end > *read {
                break;
            }
            match open {
                Some(start) if kind == COPY_DATA && *whole - start + length <= MESSAGE => {
                    buffer.copy_within(at + HEADER..end, *whole);
                    *whole += end - at - HEADER;
                    let joined = u32::try_from(*whole - start - 1).unwrap_or(u32::MAX);
                    buffer[start + 1..start + HEADER].copy_from_slice(&joined.to_be_bytes());
                }
                _ => {
                    open = (kind == COPY_DATA).then_some(*whole);
                    buffer.copy_within(at..end, *whole);
                    *whole += end - at;
                }
            }
            at = end;
        }
        buffer.copy_within(at..*read, *whole);
        *read = *whole + *read - at;
    }
}

/// The kind of the next message and the length after it, which counts itself.
fn header(bytes: &[u8]) -> Option<(u8, usize)> {
    let (kind, rest) = bytes.split_first()?;
    let length = u32::from_be_bytes(*rest.first_chunk()?);
    Some((*kind, usize::try_from(length).unwrap_or(usize::MAX)))
}

impl<S: AsyncRead + Unpin> AsyncRead for Joined<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.taken == this.whole {
            this.buffer.copy_within(this.whole..this.read, 0);
            (this.read, this.taken, this.whole) = (this.read - this.whole, 0, 0);
            if this.buffer.is_empty() {
                this.buffer.resize(LEAST, 0);
            }
            let mut room = ReadBuf::new(&mut this.buffer[this.read..]);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut room))?;
            let (found, left) = (room.filled().len(), room.remaining());
            if found == 0 {
                return Poll::Ready(Ok(()));
            }
            this.read += found;
            this.join();
            if left == 0 && this.buffer.len() < MOST {
                this.buffer.resize(this.buffer.len() * 2, 0);
            }
        }
        let taken = out.remaining().min(this.whole - this.taken);
        out.put_slice(&this.buffer[this.taken..this.taken + taken]);
        this.taken += taken;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Joined<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes == TLS_REQUEST {
            self.expected = Expected::Answer;
        }
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Gives pieces as they are, and takes all that is written.
    struct Pieces(VecDeque<Vec<u8>>);

    impl Pieces {
        fn of(bytes: &[u8], lengths: &[usize]) -> Self {
            let (mut pieces, mut rest, mut lengths) = (VecDeque::new(), bytes, lengths.iter().cycle());
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rest.len().min(*lengths.next().expect("a length")));
                pieces.push_back(piece.to_vec());
                rest = after;
            }
            Self(pieces)
        }
    }

    impl AsyncRead for Pieces {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            if let Some(mut piece) = self.0.pop_front() {
                let rest = piece.split_off(piece.len().min(out.remaining()));
                out.put_slice(&piece);
                if !rest.is_empty() {
                    self.0.push_front(rest);
                }
            }
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Pieces {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).expect("short").to_be_bytes();
        [&[kind][..], &length, body].concat()
    }

    fn messages(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut found = Vec::new();
        while let Some((kind, length)) = header(bytes) {
            found.push((kind, bytes[HEADER..=length].to_vec()));
            bytes = &bytes[1 + length..];
        }
        assert!(bytes.is_empty());
        found
    }

    /// What rows say, in one piece between other messages.
    fn said(messages: &[(u8, Vec<u8>)]) -> Vec<(u8, Vec<u8>)> {
        let mut said: Vec<(u8, Vec<u8>)> = Vec::new();
        for (kind, body) in messages {
            match said.last_mut() {
                Some((COPY_DATA, whole)) if *kind == COPY_DATA => whole.extend(body),
                _ => said.push((*kind, body.clone())),
            }
        }
        said
    }

    #[tokio::test]
    async fn rows_are_put_together_and_all_else_stays() {
        let mut bytes = Vec::new();
        for at in 0..4000_usize {
            // Short rows and empty ones, a few of more than a message may have and of more than is read at once.
            let length = match at % 1000 {
                500 => MESSAGE - 4,
                501 => MESSAGE - 3,
                700 => MOST + 12345,
                other => other * 7919 % 300,
            };
            let body: Vec<u8> = (0..length).map(|byte| ((byte + at) % 251) as u8).collect();
            bytes.extend(message(if at % 97 == 0 { b'N' } else { COPY_DATA }, &body));
        }
        bytes.extend(message(b'c', b""));
        bytes.extend(message(b'Z', b"I"));
        let sent = messages(&bytes);
        for lengths in [&[1_usize][..], &[3, 8192, 5], &[8192], &[100_000, 1, 4, 70_000], &[usize::MAX]] {
            let mut joined = Joined::new(Pieces::of(&bytes, lengths), false);
            let mut read = Vec::new();
            joined.read_to_end(&mut read).await.expect("read");
            let came = messages(&read);
            assert_eq!(said(&came), said(&sent), "{lengths:?}");
            assert!(came.iter().all(|(_, body)| body.len() + 4 <= MESSAGE || sent.iter().any(|(_, own)| own == body)));
            assert!(lengths[0] < 10 || came.len() * 10 < sent.len(), "{lengths:?}: {} of {}", came.len(), sent.len());
        }
    }

    #[tokio::test]
    async fn what_is_secret_passes_as_it_is() {
        let rows: Vec<u8> = (0..100).flat_map(|_| message(COPY_DATA, b"row")).collect();
        let answered = |answer: u8| [&[answer][..], &rows].concat();
        for (answer, joins) in [(b'S', false), (b'N', true)] {
            let mut joined = Joined::new(Pieces::of(&answered(answer), &[1, 50]), false);
            joined.write_all(&TLS_REQUEST).await.expect("written");
            let mut read = Vec::new();
            joined.read_to_end(&mut read).await.expect("read");
            assert_eq!(read[0], answer);
            assert_eq!(read.len() < rows.len(), joins);
            assert!(joins || read[1..] == rows);
        }
        let mut read = Vec::new();
        Joined::new(Pieces::of(&rows, &[50]), true).read_to_end(&mut read).await.expect("read");
        assert_eq!(read, rows);
    }

    #[tokio::test]
    async fn a_length_that_cannot_be_passes_to_who_finds_it() {
        let mut bytes = message(COPY_DATA, b"row");
        bytes.extend([COPY_DATA, 0, 0, 0, 3, 9, 9, 9]);
        bytes.extend(message(COPY_DATA, b"row"));
        let mut read = Vec::new();
        Joined::new(Pieces::of(&bytes, &[4]), false).read_to_end(&mut read).await.expect("read");
        assert_eq!(read, bytes);
    }
}
