//! The command line: an interface that scripts rely on.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

/// One SQL query over tables in many systems.
#[derive(Debug, Parser)]
#[command(name = "tributary", version, about)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run statements or an interactive shell; the engine inside the process, or a server's.
    Sql(Sql),
    /// Serve Flight SQL, and plan for workers.
    Server(Server),
    /// Run parts of queries for a server.
    Worker(Worker),
    /// Ask a server's HTTP address whether it is healthy.
    Health(Health),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Sql {
    /// Folder of catalog files.
    #[arg(long, value_name = "DIR", conflicts_with = "server")]
    pub(crate) catalogs: Option<PathBuf>,
    /// Start this many local worker processes.
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "server")]
    pub(crate) workers: usize,
    /// A server to connect to: grpc://HOST:PORT or grpc+tls://HOST:PORT.
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// The user to log in as; the password is in TRIBUTARY_PASSWORD.
    #[arg(long, value_name = "NAME", requires = "server")]
    pub(crate) user: Option<String>,
    /// A statement to run; may be given more than once.
    #[arg(short = 'e', value_name = "SQL")]
    pub(crate) execute: Vec<String>,
    /// A file of statements to run; - is standard input.
    #[arg(short = 'f', value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// How results are written.
    #[arg(long, value_enum, default_value_t = Format::Box)]
    pub(crate) format: Format,
    /// Where results are written; standard output by default.
    #[arg(short = 'o', value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Box,
    Csv,
    Tsv,
    Json,
    Jsonl,
    Markdown,
    Vertical,
    Parquet,
    Arrow,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Server {
    /// A tributary.toml; flags win over it.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Folder of catalog files.
    #[arg(long, value_name = "DIR")]
    pub(crate) catalogs: Option<PathBuf>,
    /// Where to serve Flight SQL; port 0 is any free port. Default 127.0.0.1:32010.
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where to serve health and metrics. Default 127.0.0.1:8047.
    #[arg(long, value_name = "ADDR")]
    pub(crate) http: Option<SocketAddr>,
    /// File of name:password lines; without it no login is asked for.
    #[arg(long, value_name = "FILE")]
    pub(crate) users: Option<PathBuf>,
    /// Serve addresses beyond this machine without a users file.
    #[arg(long)]
    pub(crate) insecure: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Worker {
    /// A tributary.toml; flags win over it.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The server's Flight address.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) coordinator: String,
    /// Where to serve; port 0 is any free port.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// End when standard input ends; set by `sql --workers`.
    #[arg(long, hide = true)]
    pub(crate) stop_with_stdin: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Health {
    /// The server's HTTP address.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8047")]
    pub(crate) http: String,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn statements_may_be_given_more_than_once() {
        let args = Args::parse_from(["tributary", "sql", "-e", "SELECT 1", "-e", "SELECT 2", "--format", "csv"]);
        let Command::Sql(sql) = args.command else { unreachable!("another command") };
        assert_eq!((sql.execute.len(), sql.format), (2, Format::Csv));
    }
}
