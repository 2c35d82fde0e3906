//! `server`, `worker` and `health`.

use std::time::Duration;

use connector_spi::{Error, Result};
use coordinator::Coordinator;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};

use crate::args;
use crate::config::{self, File};

/// How long running work may take to end.
const GRACE: Duration = Duration::from_secs(20);

/// Serves until told to stop. Exit codes: 0, or 2 where it could not start.
pub(crate) async fn server(args: args::Server) -> u8 {
    exit(serve(args).await)
}

/// Works until told to stop. Exit codes: 0, or 2 where it could not start.
pub(crate) async fn worker(args: args::Worker) -> u8 {
    exit(work(args).await)
}

fn exit(result: Result<()>) -> u8 {
    match result {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("ERROR {}", coordinator::render(&error));
            2
        }
    }
}

async fn serve(args: args::Server) -> Result<()> {
    let config = File::read(args.config.as_deref())?.server(&args)?;
    let running = Coordinator::start(config).await?;
    let address =
        |address: Option<std::net::SocketAddr>| address.map(|address| address.to_string()).unwrap_or_default();
    println!("ready flight={} http={}", address(running.flight), address(running.http));
    told_to_stop(false).await?;
    running.stop(GRACE).await;
    Ok(())
}

async fn work(args: args::Worker) -> Result<()> {
    let file = File::read(args.config.as_deref())?;
    let secret = config::secret().ok_or_else(|| {
        Error::invalid(format!("{} is not set", config::SECRET)).hint("A worker and its server need the same secret.")
    })?;
    let config = worker::Config {
        coordinator: args.coordinator,
        listen: args.listen,
        secret,
        memory_bytes: file.memory_bytes(),
    };
    let running = worker::start(config).await?;
    println!("ready worker={}", running.address);
    told_to_stop(args.stop_with_stdin).await?;
    running.stop(GRACE).await;
    Ok(())
}

/// Ends at SIGTERM, SIGINT or, if wanted, the end of standard input.
async fn told_to_stop(with_stdin: bool) -> Result<()> {
    let failed = |cause: std::io::Error| Error::internal(format!("could not listen for signals: {cause}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let stdin = async {
        if !with_stdin {
            std::future::pending::<()>().await;
        }
        let mut rest = Vec::new();
        // An error ends it as the end does.
        let _ = tokio::io::stdin().read_to_end(&mut rest).await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        // Ctrl-C in a shell reaches its workers as well; they end with the shell.
        _ = interrupt.recv(), if !with_stdin => {}
        () = stdin => {}
    }
    Ok(())
}

/// Asks `/health`. Exit codes: 0 healthy, 1 not.
pub(crate) async fn health(address: &str) -> u8 {
    let ask = async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream
            .write_all(format!("GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    match tokio::time::timeout(Duration::from_secs(3), ask).await {
        Ok(Ok(answer)) if answer.starts_with("HTTP/1.1 200") => 0,
        Ok(Ok(answer)) => unhealthy(address, answer.lines().next().unwrap_or("an empty answer")),
        Ok(Err(cause)) => unhealthy(address, &cause.to_string()),
        Err(_) => unhealthy(address, "no answer within 3 s"),
    }
}

fn unhealthy(address: &str, why: &str) -> u8 {
    eprintln!("ERROR UNAVAILABLE: {address} is not healthy: {why}");
    1
}
