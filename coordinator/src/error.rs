//! What the user sees of an error: message, LINE and carets, DETAIL, HINT.

use connector_spi::{Error, ErrorKind, nearest};
use datafusion::arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;

use crate::lexer::Tokens;

/// The whole text of an error: `CODE: message`, then LINE with carets, DETAIL and HINT where known.
/// The shell puts `ERROR ` in front.
pub fn render(error: &Error) -> String {
    let mut text = error.to_string();
    if let (Some(line), Some(source)) = (error.context("line"), error.context("source")) {
        let column = error.context("column").and_then(|c| c.parse::<usize>().ok()).unwrap_or(1).max(1);
        let width = error.context("width").and_then(|w| w.parse::<usize>().ok()).unwrap_or(1).max(1);
        let (source, column) = clip(source, column);
        let head = format!("LINE {line}: ");
        text.push_str(&format!("\n{head}{source}\n{}{}", " ".repeat(head.len() + column - 1), "^".repeat(width)));
    }
    if let Some(detail) = error.detail_text() {
        text.push_str(&format!("\nDETAIL: {detail}"));
    }
    if let Some(hint) = error.hint_text() {
        text.push_str(&format!("\nHINT: {hint}"));
    }
    if error.kind() == ErrorKind::Internal
        && let Some(id) = error.context("query")
    {
        text.push_str(&format!("\nDETAIL: This is a defect in Tributary; the query's id is {id}."));
    }
    text
}

/// The part of a long line around the place.
fn clip(line: &str, column: usize) -> (String, usize) {
    const WIDTH: usize = 100;
    if line.chars().count() <= WIDTH {
        return (line.to_owned(), column);
    }
    let start = column.saturating_sub(WIDTH / 2);
    let part: String = line.chars().skip(start).take(WIDTH).collect();
    if start == 0 { (format!("{part}…"), column) } else { (format!("…{part}…"), column - start + 1) }
}

/// Adds the place in the statement to an error that names something in it.
pub(crate) fn locate(error: Error, sql: &str) -> Error {
    let mut error = error;
    if error.context("line").is_none()
        && let Some(name) = error.context("name").map(str::to_owned)
        && let Ok(tokens) = Tokens::read(sql)
        && let Some((line, column, width)) = tokens.find(&name)
    {
        error = error.with("line", line).with("column", column).with("width", width);
    }
    match error.context("line").and_then(|line| line.parse::<usize>().ok()) {
        Some(line) => {
            let source = sql.lines().nth(line.saturating_sub(1)).unwrap_or_default().to_owned();
            error.with("source", source)
        }
        None => error,
    }
}

/// An error of parsing, planning or running, for users.
pub(crate) fn explain(error: &DataFusionError, sql: &str) -> Error {
    locate(known(error).unwrap_or_else(|| connectors::error::from_datafusion(error)), sql)
}

fn known(error: &DataFusionError) -> Option<Error> {
    if connectors::error::restored(error).is_some() {
        return None;
    }
    match error.find_root() {
        DataFusionError::SchemaError(inner, _) => Some(column_error(inner)),
        DataFusionError::SQL(inner, _) => Some(syntax(&inner.to_string())),
        DataFusionError::Plan(text) if text.contains("does not satisfy") => {
            Some(Error::new(ErrorKind::Internal, "the optimizer made a plan that is not valid").detail(clipped(text)))
        }
        DataFusionError::Plan(text) => function_error(text).or_else(|| table_error(text)),
        DataFusionError::ArrowError(inner, _) if matches!(**inner, ArrowError::DivideByZero) => {
            Some(Error::invalid("division by zero"))
        }
        DataFusionError::ArrowError(inner, _) => cast_error(&inner.to_string()),
        DataFusionError::External(inner) if inner.to_string().contains("RecursionLimitExceeded") => Some(nested()),
        _ => None,
    }
}

fn column_error(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let error =
                Error::not_found(format!("column \"{}\" does not exist", field.flat_name())).with("name", &field.name);
            let near = nearest(&field.name, valid_fields.iter().map(|valid| valid.name.as_str()));
            match near {
                Some(near) if near == field.name => match valid_fields.iter().find(|valid| valid.name == near) {
                    Some(valid) => error.hint(format!("Did you mean \"{}\"?", valid.flat_name())),
                    None => error,
                },
                Some(near) => error.hint(format!("Did you mean \"{near}\"?")),
                None if valid_fields.is_empty() => error,
                None => {
                    let names: Vec<&str> = valid_fields.iter().take(8).map(|valid| valid.name.as_str()).collect();
                    let more = if valid_fields.len() > names.len() { ", …" } else { "" };
                    error.hint(format!("Columns here: {}{more}.", names.join(", ")))
                }
            }
        }
        SchemaError::AmbiguousReference { field } => Error::invalid(format!("column \"{}\" is ambiguous", field.name))
            .with("name", &field.name)
            .hint("Put the table's name or alias in front of it."),
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            Error::invalid(format!("column \"{name}\" appears twice"))
                .with("name", name)
                .hint("Give one of them another name with AS.")
        }
    }
}

fn syntax(text: &str) -> Error {
    if text.contains("recursion limit") {
        return nested();
    }
    let text =
        text.trim_start_matches("sql parser error: ").trim_start_matches("ParserError(\"").trim_end_matches("\")");
    let (message, place) = match text.rfind(" at Line: ") {
        Some(at) => (&text[..at], Some(&text[at + " at Line: ".len()..])),
        None => (text, None),
    };
    let error = Error::new(ErrorKind::Syntax, crate::lexer::lower(message));
    let numbers = place.and_then(|place| {
        let (line, column) = place.split_once(", Column: ")?;
        Some((line.trim().parse().ok()?, column.trim().parse().ok()?))
    });
    match numbers {
        Some((line, column)) => crate::lexer::place(error, line, column),
        None => error,
    }
}

/// The end of a long text says what is wrong with it.
fn clipped(text: &str) -> String {
    let skip = text.chars().count().saturating_sub(300);
    text.chars().skip(skip).collect()
}

/// The statement is nested deeper than the parser goes.
fn nested() -> Error {
    Error::new(ErrorKind::ResourceExhausted, "the statement is nested too deep; at most 50 levels are accepted")
        .hint("Put inner parts into a WITH clause.")
}

/// "Cast error: Cannot cast string 'abc' to value of Int32 type", in the words of SQL.
fn cast_error(text: &str) -> Option<Error> {
    let (value, rest) = text.split_once("Cannot cast string '")?.1.rsplit_once("' to value of ")?;
    let name = rest.split(' ').next()?;
    let data_type = name
        .parse::<datafusion::arrow::datatypes::DataType>()
        .map_or_else(|_| name.to_lowercase(), |t| connectors::sql_type(&t));
    Some(Error::invalid(format!("cannot cast '{value}' to {data_type}")))
}

fn function_error(text: &str) -> Option<Error> {
    if let Some((_, rest)) = text.split_once("No function matches the given name and argument types '") {
        let (name, types) = rest.split_once("'.")?.0.trim_end_matches(')').split_once('(')?;
        let shown = |of: &str| {
            of.trim()
                .parse::<datafusion::arrow::datatypes::DataType>()
                .map_or_else(|_| of.trim().to_lowercase(), |of| connectors::sql_type(&of))
        };
        let types: Vec<String> = types.split(", ").map(shown).collect();
        let text = format!("function \"{name}\" does not take ({})", types.join(", "));
        return Some(Error::invalid(text).with("name", name).hint("CAST the argument to a type that it takes."));
    }
    let rest = text.strip_prefix("Invalid function '")?;
    let (name, rest) = rest.split_once('\'')?;
    let error = Error::not_found(format!("function \"{name}\" does not exist")).with("name", name);
    let near = rest.split_once("Did you mean '").and_then(|(_, near)| near.split_once('\''));
    Some(match near {
        Some((near, _)) => error.hint(format!("Did you mean \"{near}\"?")),
        None => error,
    })
}

fn table_error(text: &str) -> Option<Error> {
    let name = text.strip_prefix("table '")?.split_once("' not found")?.0;
    let last = name.rsplit('.').next().unwrap_or(name);
    Some(Error::not_found(format!("table \"{name}\" does not exist")).with("name", last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_shown_with_carets() {
        let error = Error::not_found("table \"shop.sales.ordrs\" does not exist")
            .hint("Did you mean \"orders\"?")
            .with("name", "ordrs");
        let text = render(&locate(error, "SELECT 1\n\nFROM shop.sales.ordrs o"));
        assert_eq!(
            text,
            "NOT_FOUND: table \"shop.sales.ordrs\" does not exist\nLINE 3: FROM shop.sales.ordrs o\n             ^^^^^^^^^^^^^^^^\nHINT: Did you mean \"orders\"?"
        );
    }

    #[test]
    fn the_parsers_place_becomes_ours() {
        let error = syntax("sql parser error: Expected: an expression, found: FROM at Line: 1, Column: 8");
        assert_eq!(error.to_string(), "SYNTAX: expected: an expression, found: FROM");
        assert_eq!(error.context("column"), Some("8"));
    }

    #[test]
    fn a_long_line_is_clipped_around_the_place() {
        let (line, column) = clip(&"x".repeat(1000), 500);
        assert!(line.chars().count() < 110 && column < 60);
    }
}
