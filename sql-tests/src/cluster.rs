//! Starts the built binary as a server with any number of workers, and ends it when dropped.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use tempfile::TempDir;

use crate::client::Client;

/// How long a process may take until it can serve.
const READY: Duration = Duration::from_secs(30);

/// The folder of the repository; catalogs of the tests name places relative to it.
pub fn root() -> PathBuf {
    // Cargo names it to what it runs; what was built may have been built in another clone.
    let own = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&own).parent().unwrap_or(Path::new(".")).to_owned()
}

/// The binary under test: beside the folder of the test executable, built by `cargo build --workspace`.
pub fn binary() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let target = test.parent().and_then(Path::parent).context("the test executable lies in no target folder")?;
    let binary = target.join("tributary");
    if !binary.is_file() {
        bail!("{} does not exist; run `cargo build --workspace` first", binary.display());
    }
    Ok(binary)
}

/// A running process of ours; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    ready: String,
    log: PathBuf,
}

impl Process {
    fn start(mut command: Command, log: PathBuf, place: &str) -> Result<Self> {
        let file = std::fs::File::create(&log)?;
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file).spawn()?;
        let output = child.stdout.take().context("no standard output")?;
        let mut process = Self { child, ready: String::new(), log };
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            // Read to the end, so that the process never waits for a reader.
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        match lines.recv_timeout(READY) {
            Ok(line) if line.starts_with("ready ") => process.ready = line,
            Ok(line) => bail!("{place} printed {line:?} instead of its ready line\n{}", process.tail()),
            Err(_) => bail!("{place} was not ready within {} s\n{}", READY.as_secs(), process.tail()),
        }
        Ok(process)
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The address that the ready line gives for `key`, such as `flight`.
    pub fn address(&self, key: &str) -> Result<SocketAddr> {
        let part = self.ready.split_whitespace().find_map(|part| part.strip_prefix(key)?.strip_prefix('='));
        let part = part.ok_or_else(|| anyhow!("the ready line {:?} has no {key}=", self.ready))?;
        part.parse().with_context(|| format!("the ready line gives {key}={part}"))
    }

    /// The end of what it logged.
    pub fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Sends a signal by its name, such as `KILL`.
    pub fn signal(&self, name: &str) -> Result<()> {
        let status = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status()?;
        if status.success() { Ok(()) } else { bail!("could not send {name} to process {}", self.id()) }
    }

    /// Waits until it has ended by itself. Errors: it has not within `limit`.
    pub fn ended(&mut self, limit: Duration) -> Result<std::process::ExitStatus> {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > end {
                bail!("the process did not end within {limit:?}\n{}", self.tail());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What to start.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Worker processes.
    pub workers: usize,
    /// Folder of catalog files; none: the built-in catalogs alone.
    pub catalogs: Option<PathBuf>,
    /// Spread even tiny data over all workers.
    pub spread: bool,
}

/// A server and its workers.
#[derive(Debug)]
pub struct Cluster {
    /// The workers, in the order of their start.
    pub workers: Vec<Process>,
    /// The server.
    pub server: Process,
    folder: TempDir,
    secret: String,
    started: usize,
}

impl Cluster {
    /// Starts a server and its workers and waits until all of them are in use.
    pub async fn start(plan: &Plan) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("tributary.toml");
        let limits = if plan.spread { "[limits]\nbytes_per_task = 0\n" } else { "" };
        std::fs::write(&config, limits)?;
        let secret = uuid::Uuid::new_v4().to_string();
        let mut command = Command::new(binary()?);
        command.current_dir(root()).arg("server").arg("--config").arg(&config);
        if let Some(catalogs) = &plan.catalogs {
            command.arg("--catalogs").arg(catalogs);
        }
        command.args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]).env("TRIBUTARY_CLUSTER_SECRET", &secret);
        let server = Process::start(command, folder.path().join("server.log"), "the server")?;
        let mut cluster = Self { workers: Vec::new(), server, folder, secret, started: 0 };
        for _ in 0..plan.workers {
            cluster.add_worker()?;
        }
        cluster.wait_for_workers(plan.workers).await?;
        Ok(cluster)
    }

    /// `HOST:PORT` of the server's Flight SQL service.
    pub fn address(&self) -> Result<String> {
        Ok(self.server.address("flight")?.to_string())
    }

    /// A session of its own.
    pub async fn client(&self) -> Result<Client> {
        Ok(Client::connect(&self.address()?).await?)
    }

    /// Starts one more worker.
    pub fn add_worker(&mut self) -> Result<()> {
        let mut command = Command::new(binary()?);
        command.current_dir(root()).args(["worker", "--coordinator", &self.address()?, "--listen", "127.0.0.1:0"]);
        command.env("TRIBUTARY_CLUSTER_SECRET", &self.secret);
        let log = self.folder.path().join(format!("worker-{}.log", self.started));
        self.started += 1;
        self.workers.push(Process::start(command, log, "a worker")?);
        Ok(())
    }

    /// Waits until the server uses exactly this many workers.
    pub async fn wait_for_workers(&self, wanted: usize) -> Result<()> {
        let mut client = self.client().await?;
        let end = Instant::now() + READY;
        loop {
            let answer = client.query("SELECT count(*) FROM system.runtime.workers WHERE state = 'alive'").await?;
            let found = answer.rows()?;
            if found == [[wanted.to_string()]] {
                return Ok(());
            }
            if Instant::now() > end {
                bail!("the server uses {found:?} workers instead of {wanted}\n{}", self.server.tail());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
