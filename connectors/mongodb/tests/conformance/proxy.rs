//! A server between the connector and the real one, which loses, keeps or changes what they say.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use crate::fixture::address;

/// Looks at what is asked, and says whether it is passed on.
type Asked = dyn Fn(&[u8]) -> bool + Send + Sync;
/// Changes what is answered; what it makes shorter ends the connection.
type Answered = dyn Fn(&mut Vec<u8>) + Send + Sync;

/// The url of a proxy before the server of a url. Each connection has a thread of its own, so either side may wait in it.
pub async fn between(
    url: &str,
    asked: impl Fn(&[u8]) -> bool + Send + Sync + 'static,
    answered: impl Fn(&mut Vec<u8>) + Send + Sync + 'static,
) -> String {
    let server = address(url).await;
    let (asked, answered): (Arc<Asked>, Arc<Answered>) = (Arc::new(asked), Arc::new(answered));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let (asked, answered) = (Arc::clone(&asked), Arc::clone(&answered));
            std::thread::spawn(move || serve(client, server, &*asked, &*answered).ok());
        }
    });
    format!("mongodb://{address}/?directConnection=true")
}

fn serve(mut client: TcpStream, server: SocketAddr, asked: &Asked, answered: &Answered) -> Result<()> {
    let mut server = TcpStream::connect(server)?;
    loop {
        let question = message(&mut client)?;
        if !asked(&question) {
            continue;
        }
        server.write_all(&question)?;
        let mut answer = message(&mut server)?;
        let whole = answer.len();
        answered(&mut answer);
        client.write_all(&answer)?;
        if answer.len() < whole {
            return Ok(());
        }
    }
}

fn message(from: &mut TcpStream) -> Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut message = length.to_vec();
    message.resize(usize::try_from(i32::from_le_bytes(length)).map_err(|_| Error::from(ErrorKind::InvalidData))?, 0);
    from.read_exact(&mut message[4..])?;
    Ok(message)
}

/// Where a text begins in a message.
pub fn place(message: &[u8], text: &[u8]) -> Option<usize> {
    message.windows(text.len()).position(|bytes| bytes == text)
}

pub fn holds(message: &[u8], text: &[u8]) -> bool {
    place(message, text).is_some()
}

/// What of a message stands after a text.
pub fn after<'a>(message: &'a [u8], text: &[u8]) -> Option<&'a [u8]> {
    place(message, text).map(|at| &message[at + text.len()..])
}

/// Writes a text of the same length over each of its occurrences.
pub fn replace(message: &mut [u8], from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len(), "{from:?}");
    let mut at = 0;
    while let Some(found) = place(&message[at..], from) {
        at += found;
        message[at..at + to.len()].copy_from_slice(to);
        at += to.len();
    }
}
