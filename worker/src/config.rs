//! What an operator sets of a worker.

use std::net::SocketAddr;

use connector_spi::Secret;

/// The configuration of one worker.
#[derive(Debug, Clone)]
pub struct Config {
    /// The coordinator's Flight address, `HOST:PORT`.
    pub coordinator: String,
    /// Where to serve; port 0 is any free port.
    pub listen: SocketAddr,
    /// The secret that every internal call carries.
    pub secret: Secret,
    /// Memory that fragments may use together, in bytes.
    pub memory_bytes: usize,
}
