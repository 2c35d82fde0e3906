//! Makes connections over streams of our own.

use std::io;
use std::net::SocketAddr;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_postgres::config::{Host, LoadBalanceHosts, SslMode, SslNegotiation, TargetSessionAttrs};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config};

use crate::socket::Socket;
use crate::tls::Tls;
use crate::wire::Joined;

/// Why there is no connection.
pub(crate) enum Failure {
    /// The server could not be reached.
    Unreached(io::Error),
    /// What the driver says of it.
    Driver(tokio_postgres::Error),
}

/// A connection to the first server that gives one, and the task that moves its bytes.
pub(crate) async fn connect(config: &Config, tls: &Tls) -> Result<(Client, AbortHandle), Failure> {
    // The driver alone knows sockets of this machine, and how to choose among servers.
    let plain = config.get_hosts().iter().all(|host| matches!(host, Host::Tcp(_)))
        && config.get_target_session_attrs() == TargetSessionAttrs::Any
        && config.get_load_balance_hosts() == LoadBalanceHosts::Disable;
    let servers = if plain { servers(config).await } else { Vec::new() };
    let mut failure = None;
    for (name, address) in servers {
        match connect_to(config, &name, address, tls.clone()).await {
            Ok(made) => return Ok(made),
            Err(cause) => failure = Some(cause),
        }
    }
    if let Some(failure) = failure {
        return Err(failure);
    }
    let (client, connection) = config.connect(tls.clone()).await.map_err(Failure::Driver)?;
    Ok((client, drive(connection)))
}

async fn connect_to(
    config: &Config,
    name: &str,
    address: SocketAddr,
    mut tls: Tls,
) -> Result<(Client, AbortHandle), Failure> {
    let stream = reach(config, address).await.map_err(Failure::Unreached)?;
    let tls = MakeTlsConnect::<Joined<Socket>>::make_tls_connect(&mut tls, name)
        .map_err(|cause| Failure::Unreached(io::Error::other(cause)))?;
    let secret = config.get_ssl_negotiation() == SslNegotiation::Direct && config.get_ssl_mode() != SslMode::Disable;
    let (client, connection) =
        config.connect_raw(Joined::new(Socket::new(stream), secret), tls).await.map_err(Failure::Driver)?;
    Ok((client, drive(connection)))
}

/// A stream as the driver would have it.
async fn reach(config: &Config, address: SocketAddr) -> io::Result<TcpStream> {
    let connect = TcpStream::connect(address);
    let stream = match config.get_connect_timeout() {
        Some(limit) => timeout(*limit, connect).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??,
        None => connect.await?,
    };
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(config.get_tcp_user_timeout().copied())?;
    if config.get_keepalives() {
        let mut keepalive = TcpKeepalive::new().with_time(config.get_keepalives_idle());
        if let Some(interval) = config.get_keepalives_interval() {
            keepalive = keepalive.with_interval(interval);
        }
        if let Some(retries) = config.get_keepalives_retries() {
            keepalive = keepalive.with_retries(retries);
        }
        socket.set_tcp_keepalive(&keepalive)?;
    }
    Ok(stream)
}

fn drive(connection: impl Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static) -> AbortHandle {
    let driver = tokio::spawn(async move {
        // Whoever uses the connection sees its end as an error.
        if let Err(cause) = connection.await {
            tracing::debug!("a connection to Postgres ended: {cause}");
        }
    });
    driver.abort_handle()
}

/// The names and addresses of the servers that are no sockets of this machine.
pub(crate) async fn servers(config: &Config) -> Vec<(String, SocketAddr)> {
    let (hosts, known, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let mut servers = Vec::new();
    for at in 0..hosts.len().max(known.len()) {
        let port = ports.get(at).or(ports.first()).copied().unwrap_or(5432);
        match (hosts.get(at), known.get(at)) {
            (Some(Host::Tcp(name)), Some(address)) => servers.push((name.clone(), (*address, port).into())),
            (None, Some(address)) => servers.push((address.to_string(), (*address, port).into())),
            (Some(Host::Tcp(name)), None) => {
                let found = lookup_host((name.as_str(), port)).await.into_iter().flatten();
                servers.extend(found.map(|address| (name.clone(), address)));
            }
            _ => {}
        }
    }
    servers
}
