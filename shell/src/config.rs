//! Settings from `tributary.toml` and the environment; nothing else reads either.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use connector_spi::{Error, Result, Secret};
use coordinator::Config;
use serde::Deserialize;
use tracing_subscriber::EnvFilter;

use crate::args;

/// `tributary.toml`: what the flags say, and limits.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct File {
    /// Folder of catalog files.
    catalogs: Option<PathBuf>,
    /// Where to serve Flight SQL.
    listen: Option<SocketAddr>,
    /// Where to serve health and metrics.
    http: Option<SocketAddr>,
    /// File of name:password lines.
    users: Option<PathBuf>,
    /// Limits of this node.
    limits: Limits,
}

/// Limits of one node.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Limits {
    /// The longest life of a query, in seconds; 1 or more.
    timeout_s: u64,
    /// Memory that queries may use together, in bytes.
    memory_bytes: usize,
    /// Queries that run at once; others wait. 1 or more.
    concurrent_queries: usize,
    /// Bytes of source data that make one more worker worth while; 0 spreads everything that can be.
    bytes_per_task: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { timeout_s: 3600, memory_bytes: 4 << 30, concurrent_queries: 100, bytes_per_task: 32 << 20 }
    }
}

impl File {
    /// Reads the file. Errors: `INVALID`, naming file, line and key.
    pub(crate) fn read(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        let wrong = |cause: &dyn std::fmt::Display| Error::invalid(format!("config file {}: {cause}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|cause| wrong(&cause))?;
        toml::from_str(&text).map_err(|cause| {
            let error = wrong(&cause.to_string().trim_end());
            let known = [
                "catalogs",
                "listen",
                "http",
                "users",
                "limits",
                "timeout_s",
                "memory_bytes",
                "concurrent_queries",
                "bytes_per_task",
            ];
            let unknown = cause.message().strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
            match unknown.and_then(|unknown| connector_spi::nearest(unknown, known)) {
                Some(near) => error.hint(format!("Did you mean \"{near}\"?")),
                None => error,
            }
        })
    }

    /// The coordinator's configuration of `server`; flags win.
    pub(crate) fn server(self, args: &args::Server) -> Result<Config> {
        let fixed = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let config = Config {
            catalogs: args.catalogs.clone().or(self.catalogs),
            listen: Some(args.listen.or(self.listen).unwrap_or(fixed(32010))),
            http: Some(args.http.or(self.http).unwrap_or(fixed(8047))),
            users: args.users.clone().or(self.users),
            cluster_secret: secret(),
            timeout: Duration::from_secs(self.limits.timeout_s.max(1)),
            memory_bytes: self.limits.memory_bytes,
            concurrent_queries: self.limits.concurrent_queries,
            bytes_per_task: self.limits.bytes_per_task,
        };
        let open = config.listen.is_some_and(|address| !address.ip().is_loopback());
        if open && config.users.is_none() && !args.insecure {
            return Err(Error::invalid("the server would serve other machines without asking for a login")
                .hint("Give --users FILE, listen on 127.0.0.1, or say --insecure."));
        }
        Ok(config)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.limits.memory_bytes
    }
}

/// The configuration of the engine inside `sql`.
pub(crate) fn embedded(catalogs: Option<PathBuf>, cluster_secret: Option<Secret>) -> Config {
    let limits = Limits::default();
    Config {
        catalogs,
        listen: cluster_secret.is_some().then(|| SocketAddr::from(([127, 0, 0, 1], 0))),
        http: None,
        users: None,
        cluster_secret,
        timeout: Duration::from_secs(limits.timeout_s),
        memory_bytes: limits.memory_bytes,
        concurrent_queries: limits.concurrent_queries,
        bytes_per_task: limits.bytes_per_task,
    }
}

/// The variable that holds the cluster's secret.
pub(crate) const SECRET: &str = "TRIBUTARY_CLUSTER_SECRET";

/// The cluster's secret, if it is set and not empty.
pub(crate) fn secret() -> Option<Secret> {
    std::env::var(SECRET).ok().filter(|secret| !secret.is_empty()).map(Secret::new)
}

/// The client's password, empty if it is not set.
pub(crate) fn password() -> Secret {
    Secret::new(std::env::var("TRIBUTARY_PASSWORD").unwrap_or_default())
}

/// This binary, to start workers from.
pub(crate) fn binary() -> std::io::Result<PathBuf> {
    std::env::current_exe()
}

/// Where the shell keeps its history.
pub(crate) fn history() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    Some(state.or_else(home)?.join("tributary/history"))
}

/// Logs to standard error as TRIBUTARY_LOG says, or else as `default` does.
pub(crate) fn start_log(default: &str) {
    let filter = EnvFilter::try_from_env("TRIBUTARY_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        writeln!(file, "[limits]\ntimeout = 5").expect("written");
        let error = File::read(Some(file.path())).expect_err("refused");
        assert!(error.message().contains("unknown field `timeout`"), "{error}");
        assert_eq!(error.hint_text(), Some("Did you mean \"timeout_s\"?"));
    }
}
