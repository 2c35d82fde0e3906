//! The stream under a connection: while much comes, it is woken for much at a time.
//!
//! Postgres sends 8 KB at a time, and each would wake the reader and put the server's process aside: a tenth and more of the
//! time of a large read, on both sides. So the system is asked to wake for [`MUCH`] alone while bytes come fast. What comes
//! when they no longer do waits for [`REST`] at most.

use std::io::{self, ErrorKind, Read};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// How many bytes wake a reader while they come fast.
const MUCH: usize = 256 << 10;
/// So many bytes within [`FAST`] come fast.
const FLOW: usize = 1 << 20;
const FAST: Duration = Duration::from_millis(20);
/// How long bytes may wait for more of them.
const REST: Duration = Duration::from_millis(5);

/// A TCP connection to a server.
pub(crate) struct Socket {
    stream: TcpStream,
    /// The bytes since the time beside.
    flow: (usize, Instant),
    /// Whether fewer than [`MUCH`] bytes wake nobody.
    patient: bool,
    /// When waiting for so many ends; only while `waits`.
    rest: Pin<Box<Sleep>>,
    waits: bool,
    /// There may be bytes of which no one was told.
    untold: bool,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> Self {
        let rest = Box::pin(sleep(REST));
        Self { stream, flow: (0, Instant::now()), patient: false, rest, waits: false, untold: false }
    }

    fn came(&mut self, bytes: usize) {
        self.waits = false;
        if self.patient {
            return;
        }
        if self.flow.0 == 0 {
            self.flow.1 = Instant::now();
        }
        self.flow.0 += bytes;
        if self.flow.0 >= FLOW {
            self.patient = self.flow.1.elapsed() < FAST && wake_at(&self.stream, MUCH);
            self.flow.0 = 0;
        }
    }

    /// Reads without asking whether there is something.
    fn read_now(&mut self, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            return match (&*SockRef::from(&self.stream)).read(buffer.initialize_unfilled()) {
                Ok(bytes) => {
                    buffer.advance(bytes);
                    Poll::Ready(Ok(()))
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            };
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.untold {
                if let Poll::Ready(read) = this.read_now(buffer) {
                    return Poll::Ready(read);
                }
                this.untold = false;
            }
            let before = buffer.filled().len();
            match Pin::new(&mut this.stream).poll_read(cx, buffer) {
                Poll::Ready(read) => {
                    this.came(buffer.filled().len() - before);
                    return Poll::Ready(read);
                }
                Poll::Pending if !this.patient => return Poll::Pending,
                Poll::Pending => {}
            }
            if !this.waits {
                this.rest.as_mut().reset(Instant::now() + REST);
                this.waits = true;
            }
            ready!(this.rest.as_mut().poll(cx));
            // Not all systems tell of what is there when they are asked to tell of fewer bytes.
            (this.waits, this.patient, this.untold) = (false, !wake_at(&this.stream, 1), true);
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// Asks the system to wake a reader for so many bytes; whether it will.
#[cfg(target_os = "linux")]
fn wake_at(stream: &TcpStream, bytes: usize) -> bool {
    i32::try_from(bytes).is_ok_and(|bytes| nix::sys::socket::setsockopt(stream, low::Mark, &bytes).is_ok())
}

#[cfg(not(target_os = "linux"))]
fn wake_at(_: &TcpStream, _: usize) -> bool {
    false
}

#[cfg(target_os = "linux")]
mod low {
    use nix::libc::{self, SO_RCVLOWAT, SOL_SOCKET, c_int};
    use nix::{setsockopt_impl, sockopt_impl};

    sockopt_impl!(
        /// How many bytes wake a reader.
        Mark,
        SetOnly,
        SOL_SOCKET,
        SO_RCVLOWAT,
        c_int
    );
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::*;

    /// Bytes of which each follows from its place.
    fn pattern(at: usize, length: usize) -> Vec<u8> {
        let once: Vec<u8> = (0..251).collect();
        once.repeat(length / 251 + 2)[at % 251..][..length].to_vec()
    }

    /// Sends each length of bytes when it is asked for, one after the other of the pattern.
    async fn server() -> (TcpStream, mpsc::Sender<usize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let stream = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("connected");
        let (mut other, _) = listener.accept().await.expect("accepted");
        let (asked, mut lengths) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut at = 0_usize;
            while let Some(length) = lengths.recv().await {
                if other.write_all(&pattern(at, length)).await.is_err() {
                    return;
                }
                at += length;
            }
        });
        (stream, asked)
    }

    #[tokio::test]
    async fn every_byte_comes_and_none_waits_for_more_that_never_come() {
        let (stream, asked) = server().await;
        let mut socket = Socket::new(stream);
        let mut at = 0_usize;
        let mut buffer = vec![0; 8192];
        let wanted = pattern(0, 8192 + 251);
        let mut patient = 0;
        for length in [1, 5000, 40 << 20, 7, 300_000, 64 << 20, 1, MUCH, 20 << 20, MUCH - 1, 3] {
            asked.send(length).await.expect("sent");
            let end = at + length;
            while at < end {
                let read = socket.read(&mut buffer);
                let read = timeout(Duration::from_secs(30), read).await.expect("bytes wait for ever").expect("read");
                assert!(read > 0 && buffer[..read] == wanted[at % 251..][..read], "at {at}");
                at += read;
                patient += usize::from(socket.patient);
            }
            assert_eq!(at, end);
        }
        // How fast bytes come is the machine's; that it is never fast would leave the test without meaning.
        assert!(patient > 0 || cfg!(not(target_os = "linux")), "no bytes came fast");
        asked.send(2 << 20).await.expect("sent");
        drop(asked);
        let mut rest = Vec::new();
        timeout(Duration::from_secs(30), socket.read_to_end(&mut rest)).await.expect("the end is told").expect("read");
        assert_eq!(rest.len(), 2 << 20);
    }
}
