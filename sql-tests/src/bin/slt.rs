//! Runs any folder of sqllogictest files against any server over Flight SQL.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail, ensure};
use sql_tests::case;
use sql_tests::client::Client;
use sql_tests::cluster::{Cluster, Plan};
use sql_tests::value::kinds_match;
use sqllogictest::{Control, Record, RecordOutput, ResultMode, Runner};

const USAGE: &str = "\
usage: slt [OPTIONS] FOLDER_OR_FILE...

  --server grpc://HOST:PORT  the server; without it one is started (and ended), with the folder --catalogs
  --workers N                workers of the server that is started; they share even tiny data (default 0)
  --catalogs DIR             catalogs of the server that is started
  --user NAME                user to log in as (default test); the password is in TRIBUTARY_PASSWORD
  --plain                    do not give each file a schema of its own in catalog memory
  --label NAME               a name for skipif and onlyif beside `tributary`; may be given more than once
  --types                    compare column types too, not only rows
  --valuewise                expected rows have one value a line, as in the files of SQLite
  --known FILE               failures that are known: FILE.slt:LINE, then a reason; or `sql TEXT` of the record
  --write-known FILE         write the failures of this run in that form, keeping reasons that are known
  --jobs N                   files that run at once (default 2)
";

struct Options {
    paths: Vec<PathBuf>,
    server: Option<String>,
    workers: usize,
    catalogs: Option<PathBuf>,
    user: String,
    password: String,
    plain: bool,
    labels: Vec<String>,
    types: bool,
    valuewise: bool,
    known: Known,
    write_known: Option<PathBuf>,
    jobs: usize,
}

impl Options {
    fn read(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            paths: Vec::new(),
            server: None,
            workers: 0,
            catalogs: None,
            user: "test".to_owned(),
            password: std::env::var("TRIBUTARY_PASSWORD").unwrap_or_default(),
            plain: false,
            labels: vec!["tributary".to_owned()],
            types: false,
            valuewise: false,
            known: Known::default(),
            write_known: None,
            jobs: 2,
        };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| anyhow!("{arg} needs a value"));
            match arg.as_str() {
                "--server" => options.server = Some(value()?),
                "--workers" => options.workers = value()?.parse().context("--workers")?,
                "--catalogs" => options.catalogs = Some(std::path::absolute(value()?)?),
                "--user" => options.user = value()?,
                "--plain" => options.plain = true,
                "--label" => options.labels.push(value()?),
                "--types" => options.types = true,
                "--valuewise" => options.valuewise = true,
                "--known" => options.known = Known::read(Path::new(&value()?))?,
                "--write-known" => options.write_known = Some(value()?.into()),
                "--jobs" => options.jobs = value()?.parse::<usize>().context("--jobs")?.max(1),
                _ if arg.starts_with('-') => bail!("unknown option {arg}"),
                _ => options.paths.push(arg.into()),
            }
        }
        ensure!(!options.paths.is_empty(), "give a folder or a file");
        Ok(options)
    }
}

/// Failures that are expected: by place or by the text of the statement, each with a reason.
#[derive(Default)]
struct Known {
    places: BTreeMap<String, String>,
    statements: BTreeMap<String, String>,
}

impl Known {
    fn read(path: &Path) -> Result<Self> {
        let mut known = Self::default();
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(sql) = line.strip_prefix("sql ") {
                known.statements.insert(one_line(sql), String::new());
            } else {
                let (place, reason) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
                known.places.insert(place.to_owned(), reason.trim().to_owned());
            }
        }
        Ok(known)
    }

    fn has(&self, place: &str, sql: &str) -> bool {
        self.places.contains_key(place) || self.statements.contains_key(&one_line(sql))
    }
}

fn one_line(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What came of the records of one or more files.
#[derive(Default)]
struct Tally {
    passed: usize,
    skipped: usize,
    /// Place and message.
    failed: Vec<(String, String)>,
    /// Place and message of failures that were expected.
    known: Vec<(String, String)>,
    /// Places that were expected to fail and did not.
    surprises: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.skipped += other.skipped;
        self.failed.extend(other.failed);
        self.known.extend(other.known);
        self.surprises.extend(other.surprises);
    }
}

/// The text, place and connection-independent facts of a record that is a check.
fn check<T: sqllogictest::ColumnType>(record: &Record<T>) -> Option<(&str, u32)> {
    match record {
        Record::Query { sql, loc, .. } | Record::Statement { sql, loc, .. } => Some((sql, loc.line())),
        _ => None,
    }
}

async fn run(options: &Options, address: &str, path: &Path, name: &str) -> Result<Tally> {
    let schema = case::schema(name.strip_suffix(".slt").unwrap_or(name));
    let login = || Client::login(address, &options.user, &options.password);
    if !options.plain {
        login().await?.update(&format!("CREATE SCHEMA IF NOT EXISTS memory.{schema}")).await?;
    }
    let mut runner = Runner::new(|| async {
        let mut client = login().await?;
        if !options.plain {
            client.update(&format!("USE memory.{schema}")).await?;
        }
        Ok(client)
    });
    if options.types {
        runner.with_column_validator(kinds_match);
    }
    options.labels.iter().for_each(|label| runner.add_label(label));
    let mut tally = Tally::default();
    if options.valuewise {
        runner.run_async(Record::Control(Control::ResultMode(ResultMode::ValueWise))).await?;
    }
    for record in sqllogictest::parse_file(path).map_err(|error| anyhow!("{error}"))? {
        if matches!(record, Record::Halt { .. }) {
            break;
        }
        let subject = check(&record).map(|(sql, line)| (sql.to_owned(), format!("{name}:{line}")));
        let result = runner.run_async(record).await;
        let Some((sql, place)) = subject else {
            // A record that is no check, such as `system ok`, must not fail.
            result.map_err(|error| anyhow!("{}", error.display(false)))?;
            continue;
        };
        let expected = options.known.has(&place, &sql);
        match result {
            Ok(RecordOutput::Nothing) => tally.skipped += 1,
            Ok(_) if expected => tally.surprises.push(place),
            Ok(_) => tally.passed += 1,
            Err(error) if expected => tally.known.push((place, error.display(false).to_string())),
            Err(error) => tally.failed.push((place, error.display(false).to_string())),
        }
    }
    runner.shutdown_async().await;
    Ok(tally)
}

/// Every file with the name that places use: relative to the folder that was given.
fn files(paths: &[PathBuf]) -> Result<VecDeque<(PathBuf, String)>> {
    let mut files = VecDeque::new();
    for path in paths {
        if path.is_file() {
            let name = path.file_name().context("a file name")?.to_string_lossy().into_owned();
            files.push_back((path.clone(), name));
        } else {
            for found in case::find(path)? {
                let name = found.strip_prefix(path)?.display().to_string();
                files.push_back((found, name));
            }
        }
    }
    ensure!(!files.is_empty(), "no .slt file there");
    Ok(files)
}

/// Runs all files, some at once, each in a runtime of its own.
fn run_all(options: &Options, address: &str) -> Result<Tally> {
    let queue = Mutex::new(files(&options.paths)?);
    let total = Mutex::new(Tally::default());
    let lock = |what: &str| anyhow!("another thread ended while it held the {what}");
    let work = || -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        while let Some((path, name)) = { queue.lock().map_err(|_| lock("queue"))?.pop_front() } {
            let tally = match runtime.block_on(run(options, address, &path, &name)) {
                Ok(tally) => tally,
                Err(error) => Tally { failed: vec![(name.clone(), format!("{error:#}"))], ..Tally::default() },
            };
            let word = if tally.failed.is_empty() && tally.surprises.is_empty() { "ok" } else { "FAILED" };
            println!("{name}: {word}, {} passed, {} failed", tally.passed, tally.failed.len());
            total.lock().map_err(|_| lock("result"))?.add(tally);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..options.jobs).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| lock("work"))?)
    })?;
    total.into_inner().map_err(|_| lock("result"))
}

fn write_known(path: &Path, known: &Known, tally: &Tally) -> Result<()> {
    let mut text = String::from("# Failures that are known: the list must shrink.\n");
    for (place, message) in tally.known.iter().chain(&tally.failed) {
        let reason = known.places.get(place).filter(|reason| !reason.is_empty());
        let first = || message.lines().next().unwrap_or_default().to_owned();
        text.push_str(&format!("{place} {}\n", reason.cloned().unwrap_or_else(first)));
    }
    std::fs::write(path, text).with_context(|| path.display().to_string())
}

fn work(options: &Options) -> Result<Tally> {
    let runtime = tokio::runtime::Runtime::new()?;
    let plan = Plan { workers: options.workers, catalogs: options.catalogs.clone(), spread: options.workers > 0 };
    let started = match &options.server {
        Some(_) => None,
        None => Some(runtime.block_on(Cluster::start(&plan))?),
    };
    let address = match (&options.server, &started) {
        (Some(server), _) => {
            let address = server.strip_prefix("grpc://").unwrap_or(server);
            ensure!(!address.contains("://"), "--server is grpc://HOST:PORT");
            address.to_owned()
        }
        (None, Some(cluster)) => cluster.address()?,
        (None, None) => bail!("no server"),
    };
    run_all(options, &address)
}

fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error:#}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let start = Instant::now();
    let result = work(&options).and_then(|tally| {
        if let Some(path) = &options.write_known {
            write_known(path, &options.known, &tally)?;
        }
        Ok(tally)
    });
    let tally = match result {
        Ok(tally) => tally,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::from(2);
        }
    };
    for (place, message) in &tally.failed {
        println!("\n---- {place}\n{message}");
    }
    for place in &tally.surprises {
        println!("\n---- {place}\npasses although it is listed as known to fail: take it off the list");
    }
    let bad = tally.failed.len() + tally.surprises.len();
    println!(
        "\n{} passed, {bad} failed, {} skipped, {} known to fail; {:.1} s",
        tally.passed,
        tally.skipped,
        tally.known.len(),
        start.elapsed().as_secs_f64()
    );
    if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
