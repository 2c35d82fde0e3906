//! The engine inside the process, with worker processes of its own if they are wanted.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use connector_spi::Secret;
use coordinator::{Coordinator, Running};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use crate::client::{Client, Failure};
use crate::config;

/// How long workers may take to be ready.
const READY: Duration = Duration::from_secs(20);

/// An engine that lives as long as this value.
pub(crate) struct Local {
    running: Running,
    workers: Vec<Worker>,
}

struct Worker {
    process: Child,
    /// The worker ends when this closes, whatever happens to us.
    _stdin: Option<ChildStdin>,
}

impl Local {
    /// Starts the engine and `workers` worker processes, and connects to it.
    pub(crate) async fn start(catalogs: Option<PathBuf>, workers: usize) -> Result<(Self, Client), Failure> {
        let secret = (workers > 0).then(|| Secret::new(uuid::Uuid::new_v4().simple().to_string()));
        let config = config::embedded(catalogs, secret.clone());
        let running = Coordinator::start(config).await.map_err(|error| Failure::Sql(coordinator::render(&error)))?;
        let mut local = Self { running, workers: Vec::new() };
        if let (Some(secret), Some(address)) = (secret, local.running.flight) {
            for _ in 0..workers {
                local.workers.push(spawn(&address.to_string(), &secret).await?);
            }
            let deadline = Instant::now() + READY;
            while local.running.coordinator.workers_alive() < workers {
                if Instant::now() > deadline {
                    return Err(Failure::Connection(format!(
                        "UNAVAILABLE: the {workers} workers were not ready within {} s",
                        READY.as_secs()
                    )));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        let channel = local.running.in_process().await.map_err(|error| Failure::Sql(coordinator::render(&error)))?;
        let client = Client::open(channel, None, &Secret::new("")).await?;
        Ok((local, client))
    }

    /// Ends the workers and the engine.
    pub(crate) async fn stop(mut self) {
        for worker in &mut self.workers {
            // A worker that ended already is what we want.
            let _ = worker.process.kill().await;
        }
        self.running.stop(Duration::ZERO).await;
    }
}

async fn spawn(coordinator: &str, secret: &Secret) -> Result<Worker, Failure> {
    let failed = |cause: String| Failure::Connection(format!("UNAVAILABLE: could not start a worker process: {cause}"));
    let binary = config::binary().map_err(|cause| failed(cause.to_string()))?;
    let mut process = Command::new(binary)
        .args(["worker", "--coordinator", coordinator, "--stop-with-stdin"])
        .env(config::SECRET, secret.expose())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|cause| failed(cause.to_string()))?;
    let stdin = process.stdin.take();
    let out = process.stdout.take().ok_or_else(|| failed("it has no output".to_owned()))?;
    let mut line = String::new();
    let read = tokio::time::timeout(READY, BufReader::new(out).read_line(&mut line)).await;
    match read {
        Ok(Ok(_)) if line.starts_with("ready worker=") => Ok(Worker { process, _stdin: stdin }),
        _ => Err(failed("it did not say that it is ready".to_owned())),
    }
}
