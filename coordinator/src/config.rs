//! What an operator sets: flags, `tributary.toml` and the environment end here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use connector_spi::Secret;

/// The configuration of one coordinator.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder of `<name>.toml` catalog files; none: only the built-in catalogs.
    pub catalogs: Option<PathBuf>,
    /// Where to serve Flight SQL; none: only in process.
    pub listen: Option<SocketAddr>,
    /// Where to serve health and metrics; none: not at all.
    pub http: Option<SocketAddr>,
    /// File of `name:password` lines; none: no login is asked for.
    pub users: Option<PathBuf>,
    /// The secret that every internal call carries; none: no workers.
    pub cluster_secret: Option<Secret>,
    /// A query's longest life.
    pub timeout: Duration,
    /// Memory that queries may use together on this node, in bytes.
    pub memory_bytes: usize,
    /// Queries that run at once; others wait.
    pub concurrent_queries: usize,
    /// Bytes of source data that make one more worker worth while; 0 spreads everything that has splits.
    pub bytes_per_task: usize,
}

/// The text of a users file. Errors: `INVALID` where it cannot be read or everyone may read it.
pub(crate) fn read_users(path: &std::path::Path) -> connector_spi::Result<String> {
    let failed =
        |cause| connector_spi::Error::invalid(format!("could not read the users file {}: {cause}", path.display()));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode();
        if mode & 0o007 != 0 {
            let text = format!("the users file {} can be read by everyone", path.display());
            return Err(connector_spi::Error::invalid(text).hint("chmod 640 takes that away."));
        }
    }
    std::fs::read_to_string(path).map_err(failed)
}
