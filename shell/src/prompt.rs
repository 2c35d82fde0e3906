//! The interactive prompt: lines until a semicolon, history, Ctrl-C for the query and not the shell.

use std::borrow::Cow;
use std::io::Write;

use clap::ValueEnum;
use reedline::{
    FileBackedHistory, Prompt, PromptEditMode, PromptHistorySearch, Reedline, Signal, ValidationResult, Validator,
};

use crate::args::Format;
use crate::client::{Client, Failure};
use crate::config;
use crate::script::split;
use crate::shell::{Ended, print};

const HELP: &str = "\
\\d            tables of the current schema
\\d NAME       columns of a table
\\format NAME  box, csv, tsv, json, jsonl, markdown or vertical
\\timing       time after each statement, on or off
\\?            this help
\\q            leave; so do quit, exit and Ctrl-D
A statement ends with a semicolon. Ctrl-C cancels the running query.";

/// Lines that the shell keeps.
const HISTORY: usize = 10_000;

struct Plain;

impl Prompt for Plain {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        "tributary".into()
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        "".into()
    }

    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        "> ".into()
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        "      ...> ".into()
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        format!("(search: {}) ", search.term).into()
    }
}

struct Complete;

impl Validator for Complete {
    fn validate(&self, line: &str) -> ValidationResult {
        if is_command(line) || split(line).rest.is_empty() {
            ValidationResult::Complete
        } else {
            ValidationResult::Incomplete
        }
    }
}

fn is_command(line: &str) -> bool {
    let line = line.trim();
    line.starts_with('\\') || matches!(line.to_lowercase().as_str(), "quit" | "exit" | "")
}

/// What the user chose so far.
struct Choice {
    format: Format,
    timing: bool,
}

/// Reads and runs statements until the user leaves; the exit code.
pub(crate) async fn run(client: &Client, format: Format, out: &mut (dyn Write + Send)) -> u8 {
    let mut editor = Reedline::create().with_validator(Box::new(Complete));
    if let Some(history) = config::history().and_then(|path| FileBackedHistory::with_file(HISTORY, path).ok()) {
        editor = editor.with_history(Box::new(history));
    }
    let mut choice = Choice { format, timing: true };
    loop {
        // The editor blocks; the engine's own threads go on meanwhile.
        let line = tokio::task::block_in_place(|| editor.read_line(&Plain));
        match line {
            Ok(Signal::Success(line)) if is_command(&line) => match command(line.trim(), &mut choice) {
                Step::Leave => return 0,
                Step::Stay => {}
                Step::Run(sql) => one(client, &sql, &choice, out).await,
            },
            Ok(Signal::Success(text)) => {
                for sql in split(&text).statements {
                    one(client, &sql, &choice, out).await;
                }
            }
            Ok(Signal::CtrlC) => {}
            Ok(Signal::CtrlD) => return 0,
            Ok(_) => {}
            Err(cause) => {
                eprintln!("ERROR INTERNAL: the terminal cannot be read: {cause}");
                return 2;
            }
        }
    }
}

enum Step {
    Leave,
    Stay,
    Run(String),
}

fn command(line: &str, choice: &mut Choice) -> Step {
    let line = line.trim_end_matches(';').trim();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    match (word.to_lowercase().as_str(), rest.trim()) {
        ("", _) => {}
        ("\\q" | "quit" | "exit", _) => return Step::Leave,
        ("\\d", "") => return Step::Run("SHOW TABLES".to_owned()),
        ("\\d", table) => return Step::Run(format!("DESCRIBE {table}")),
        ("\\timing", _) => {
            choice.timing = !choice.timing;
            println!("timing is {}", if choice.timing { "on" } else { "off" });
        }
        ("\\format", name) => match Format::from_str(name, true) {
            Ok(Format::Parquet | Format::Arrow) | Err(_) => {
                eprintln!("ERROR INVALID: \"{name}\" is not a format of the prompt\nHINT: \\? lists them.")
            }
            Ok(format) => choice.format = format,
        },
        ("\\?", _) => println!("{HELP}"),
        (other, _) => eprintln!("ERROR INVALID: \"{other}\" is not a command\nHINT: \\? lists them."),
    }
    Step::Stay
}

async fn one(client: &Client, sql: &str, choice: &Choice, out: &mut (dyn Write + Send)) {
    let ended = tokio::select! {
        ended = print(client, sql, choice.format, out) => ended,
        _ = tokio::signal::ctrl_c() => Err(Ended::Failed(Failure::Sql("CANCELLED: the query was cancelled".to_owned()))),
    };
    // What was written before an error belongs before it.
    let _ = out.flush();
    match ended {
        Ok(printed) => {
            let rows = match printed.rows {
                None => "OK".to_owned(),
                Some(1) => "1 row".to_owned(),
                Some(rows) => format!("{rows} rows"),
            };
            match choice.timing {
                true => eprintln!("{rows} in {:.3} s\n", printed.since.elapsed().as_secs_f64()),
                false => eprintln!("{rows}\n"),
            }
        }
        Err(Ended::Failed(failure)) => eprintln!("ERROR {}\n", failure.text()),
        Err(Ended::Output(cause)) => eprintln!("ERROR INVALID: could not write the result: {cause}\n"),
    }
}
