//! Tributary: the one binary. `sql` is the shell, `server` and `worker` are the cluster.

mod args;
mod client;
mod config;
mod format;
mod local;
mod prompt;
mod script;
mod serve;
mod shell;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};

/// Address space of each thread's stack; plans and expressions may be deep.
const STACK_BYTES: usize = 64 << 20;

fn main() -> ExitCode {
    let args = Args::parse();
    config::start_log(match &args.command {
        Command::Server(_) | Command::Worker(_) => "warn,coordinator=info,worker=info",
        Command::Sql(_) | Command::Health(_) => "warn",
    });
    // One provider for the whole process; a second call would mean it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK_BYTES).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(cause) => {
            eprintln!("ERROR INTERNAL: could not start: {cause}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        match args.command {
            Command::Sql(sql) => shell::run(sql).await,
            Command::Server(server) => serve::server(server).await,
            Command::Worker(worker) => serve::worker(worker).await,
            Command::Health(health) => serve::health(&health.http).await,
        }
    });
    // A source that does not answer must not hold the exit up.
    runtime.shutdown_background();
    ExitCode::from(code)
}
