//! `tributary sql`: statements from the command line, a file or standard input, or the prompt.

use std::io::{self, IsTerminal, Read, Write};
use std::time::Instant;

use crate::args::{Format, Sql};
use crate::client::{Client, Failure};
use crate::config;
use crate::format::writer;
use crate::local::Local;
use crate::prompt;
use crate::script::split;

/// Exit codes.
const OK: u8 = 0;
const SQL_ERROR: u8 = 1;
const USAGE: u8 = 2;
const CONNECTION: u8 = 3;
const INTERRUPTED: u8 = 130;

/// Runs the command; its exit code.
pub(crate) async fn run(args: Sql) -> u8 {
    let interactive = args.execute.is_empty() && args.file.is_none() && io::stdin().is_terminal();
    let binary = matches!(args.format, Format::Parquet | Format::Arrow);
    if binary && args.output.is_none() && io::stdout().is_terminal() {
        return usage("parquet and arrow are not for a terminal; give -o FILE");
    }
    let script = match if interactive { Ok(String::new()) } else { script(&args) } {
        Ok(script) => script,
        Err(text) => return usage(&text),
    };
    let mut out: Box<dyn Write + Send> = match &args.output {
        None => Box::new(io::BufWriter::new(io::stdout())),
        Some(path) => match std::fs::File::create(path) {
            Ok(file) => Box::new(io::BufWriter::new(file)),
            Err(cause) => return usage(&format!("could not write {}: {cause}", path.display())),
        },
    };
    let (local, client) = match connect(&args).await {
        Ok(connected) => connected,
        Err(failure) => return told(&failure),
    };
    let code = if interactive {
        prompt::run(&client, args.format, out.as_mut()).await
    } else {
        tokio::select! {
            code = statements(&client, &script, args.format, out.as_mut()) => code,
            _ = tokio::signal::ctrl_c() => INTERRUPTED,
        }
    };
    if let Some(local) = local {
        local.stop().await;
    }
    code
}

fn usage(text: &str) -> u8 {
    eprintln!("ERROR INVALID: {text}");
    USAGE
}

fn told(failure: &Failure) -> u8 {
    eprintln!("ERROR {}", failure.text());
    match failure {
        Failure::Sql(_) => SQL_ERROR,
        Failure::Connection(_) => CONNECTION,
    }
}

async fn connect(args: &Sql) -> Result<(Option<Local>, Client), Failure> {
    match &args.server {
        Some(server) => Ok((None, Client::connect(server, args.user.as_deref(), &config::password()).await?)),
        None => {
            let (local, client) = Local::start(args.catalogs.clone(), args.workers).await?;
            Ok((Some(local), client))
        }
    }
}

/// The statements to run: `-e` first, then the file, else standard input.
fn script(args: &Sql) -> Result<String, String> {
    let mut text: String = args.execute.iter().map(|sql| format!("{sql}\n;\n")).collect();
    let from_stdin = |text: &mut String| {
        io::stdin().read_to_string(text).map(drop).map_err(|cause| format!("could not read standard input: {cause}"))
    };
    match &args.file {
        Some(path) if path.as_os_str() == "-" => from_stdin(&mut text)?,
        Some(path) => {
            let file =
                std::fs::read_to_string(path).map_err(|cause| format!("could not read {}: {cause}", path.display()))?;
            text.push_str(&file);
        }
        None if args.execute.is_empty() => from_stdin(&mut text)?,
        None => {}
    }
    Ok(text)
}

async fn statements(client: &Client, script: &str, format: Format, out: &mut (dyn Write + Send)) -> u8 {
    let script = split(script);
    for sql in script.statements.iter().chain(Some(&script.rest).filter(|rest| !rest.is_empty())) {
        match print(client, sql, format, out).await {
            Ok(_) => {}
            Err(Ended::Failed(failure)) => {
                // What was written so far comes before the error.
                let _ = out.flush();
                return told(&failure);
            }
            Err(Ended::Output(cause)) if cause.kind() == io::ErrorKind::BrokenPipe => return OK,
            Err(Ended::Output(cause)) => return usage(&format!("could not write the result: {cause}")),
        }
    }
    OK
}

/// Why a statement was not printed to its end.
pub(crate) enum Ended {
    /// It failed.
    Failed(Failure),
    /// Its rows could not be written.
    Output(io::Error),
}

/// What was printed.
pub(crate) struct Printed {
    /// Rows; `None` for a statement that gives none.
    pub(crate) rows: Option<u64>,
    pub(crate) since: Instant,
}

/// Runs one statement and writes its rows as they come.
pub(crate) async fn print(
    client: &Client,
    sql: &str,
    format: Format,
    out: &mut (dyn Write + Send),
) -> Result<Printed, Ended> {
    let since = Instant::now();
    let mut rows = client.run(sql).await.map_err(Ended::Failed)?;
    if rows.schema.fields().is_empty() {
        while rows.next().await.map_err(Ended::Failed)?.is_some() {}
        return Ok(Printed { rows: None, since });
    }
    let schema = rows.schema.clone();
    // The first batch, or the error in its place, comes before anything is written.
    let mut next = rows.next().await.map_err(Ended::Failed)?;
    let mut count = 0;
    let mut writer = writer(format, &schema, out).map_err(Ended::Output)?;
    while let Some(batch) = next {
        count += batch.num_rows() as u64;
        writer.batch(&batch).map_err(Ended::Output)?;
        next = rows.next().await.map_err(Ended::Failed)?;
    }
    writer.end().map_err(Ended::Output)?;
    drop(writer);
    out.flush().map_err(Ended::Output)?;
    Ok(Printed { rows: Some(count), since })
}
