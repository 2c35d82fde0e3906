//! Asks Postgres, or the pooler before it, to end a statement.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::future;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{CancelToken, Config};

use crate::connect::servers;
use crate::tls::Tls;

/// Sends the request to every server that the connection may lead to; the others do not know the statement. Whether one
/// took it.
///
/// The driver closes its connection as soon as the request is sent. Some poolers then forget the request, and PgBouncer
/// 1.18 may even end, so that here, as in libpq, the other side closes it.
pub(crate) async fn cancel(token: &CancelToken, config: &Config, tls: &Tls) -> bool {
    let servers = servers(config).await;
    if servers.is_empty() {
        return token.cancel_query(tls.clone()).await.is_ok();
    }
    let sent = servers.iter().map(|(name, address)| send(token, name, *address, tls.clone()));
    future::join_all(sent).await.contains(&true)
}

async fn send(token: &CancelToken, name: &str, address: SocketAddr, mut tls: Tls) -> bool {
    let Ok(stream) = TcpStream::connect(address).await else { return false };
    match MakeTlsConnect::<Patient>::make_tls_connect(&mut tls, name) {
        Ok(tls) => token.cancel_query_raw(Patient(stream), tls).await.is_ok(),
        Err(_) => false,
    }
}

/// A connection that is closed by the other side.
struct Patient(TcpStream);

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut rest = [0; 64];
            let mut rest = ReadBuf::new(&mut rest);
            // Nothing is answered; an error is an end as well.
            let read = ready!(Pin::new(&mut self.0).poll_read(cx, &mut rest));
            if read.is_err() || rest.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
