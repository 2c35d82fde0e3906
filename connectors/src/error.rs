//! [`connector_spi::Error`] and `DataFusionError`, each from the other, in a form that survives the wire.
//!
//! datafusion-distributed keeps only the text of an external error, but the text of a `Context`
//! header whole; so the error travels as JSON in a marked header.

use connector_spi::{Error, ErrorKind};
use datafusion::error::DataFusionError;

const MARK: &str = "tributary-error:";

/// The error in a form that any node turns back with [`from_datafusion`].
pub fn to_datafusion(error: Error) -> DataFusionError {
    let text = error.to_string();
    match serde_json::to_string(&error) {
        Ok(json) => DataFusionError::Context(format!("{MARK}{json}"), Box::new(DataFusionError::Execution(text))),
        Err(_) => DataFusionError::Execution(text),
    }
}

/// The error that a node of ours put in, if there is one inside.
pub fn restored(error: &DataFusionError) -> Option<Error> {
    match error {
        DataFusionError::Context(header, inner) => parse(header).or_else(|| restored(inner)),
        DataFusionError::Shared(inner) => restored(inner),
        DataFusionError::Diagnostic(_, inner) => restored(inner),
        DataFusionError::Collection(errors) => errors.iter().find_map(restored),
        DataFusionError::External(inner) => match inner.downcast_ref::<Error>() {
            Some(error) => Some(error.clone()),
            None => match inner.downcast_ref::<DataFusionError>() {
                Some(inner) => restored(inner),
                None => parse(&inner.to_string()),
            },
        },
        DataFusionError::ArrowError(inner, _) => parse(&inner.to_string()),
        DataFusionError::Execution(text) | DataFusionError::Internal(text) | DataFusionError::Plan(text) => parse(text),
        other => parse(&other.to_string()),
    }
}

/// The error for users: the one that a node of ours put in, else one made from DataFusion's own.
pub fn from_datafusion(error: &DataFusionError) -> Error {
    restored(error).unwrap_or_else(|| classified(error))
}

fn parse(text: &str) -> Option<Error> {
    let json = &text[text.find(MARK)? + MARK.len()..];
    serde_json::Deserializer::from_str(json).into_iter::<Error>().next()?.ok()
}

/// An error of ours that a library carried as a cause, or whose text a node passed on.
fn carried(error: &DataFusionError) -> Option<Error> {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(error) = inner.downcast_ref::<Error>() {
            return Some(error.clone());
        }
        cause = inner.source();
    }
    // "Generic files error: NOT_FOUND: the text".
    let text = error.to_string();
    let (_, rest) = text.split_once("Generic files error: ")?;
    let (code, message) = rest.split_once(": ")?;
    let kind = serde_json::from_value::<ErrorKind>(code.into()).ok()?;
    Some(Error::new(kind, message.lines().next().unwrap_or_default()))
}

fn classified(error: &DataFusionError) -> Error {
    if let Some(error) = carried(error) {
        return error;
    }
    let root = error.find_root();
    let text = clean(root);
    match root {
        DataFusionError::SQL(..) => Error::new(ErrorKind::Syntax, text),
        DataFusionError::Plan(_) | DataFusionError::SchemaError(..) | DataFusionError::Configuration(_) => {
            Error::invalid(text)
        }
        DataFusionError::NotImplemented(_) => Error::unsupported(text),
        DataFusionError::ResourcesExhausted(_) => Error::new(ErrorKind::ResourceExhausted, text),
        DataFusionError::ObjectStore(inner) => match &**inner {
            object_store::Error::NotFound { .. } => Error::not_found(text),
            object_store::Error::PermissionDenied { .. } => Error::new(ErrorKind::PermissionDenied, text),
            object_store::Error::Unauthenticated { .. } => Error::new(ErrorKind::Unauthenticated, text),
            _ => Error::unavailable(text),
        },
        DataFusionError::ParquetError(_) => Error::new(ErrorKind::BadData, text),
        DataFusionError::ArrowError(inner, _) => arrow(inner, text),
        DataFusionError::Execution(_) => Error::invalid(text),
        DataFusionError::External(inner) => external(&inner.to_string(), text),
        _ => Error::internal(text),
    }
}

fn arrow(error: &datafusion::arrow::error::ArrowError, text: String) -> Error {
    use datafusion::arrow::error::ArrowError;
    match error {
        ArrowError::CsvError(_) | ArrowError::JsonError(_) | ArrowError::ParquetError(_) | ArrowError::IpcError(_) => {
            Error::new(ErrorKind::BadData, text)
        }
        ArrowError::ExternalError(inner) => external(&inner.to_string(), text),
        _ => Error::invalid(text),
    }
}

/// A failure of the channel to a worker reaches us as text.
fn external(cause: &str, text: String) -> Error {
    let channel = [
        "transport error",
        "h2 protocol error",
        "tcp connect error",
        "connection error",
        "error reading a body",
        "Service was not ready",
        "KeepAliveTimedOut",
    ];
    if channel.iter().any(|word| cause.contains(word)) {
        return worker_lost("").detail(text);
    }
    if cause.contains("Parquet") || cause.contains("EOF") {
        return Error::new(ErrorKind::BadData, text);
    }
    Error::internal(text)
}

/// `WORKER_LOST`, for a worker that stopped answering.
pub fn worker_lost(worker: &str) -> Error {
    let message = match worker {
        "" => "a worker stopped answering while it ran a part of the query".to_owned(),
        worker => format!("worker {worker} stopped answering while it ran a part of the query"),
    };
    Error::new(ErrorKind::WorkerLost, message).hint("Run the query again; it will use the workers that are left.")
}

/// DataFusion's text without its own prefixes, in our style: lower case start, no full stop.
fn clean(error: &DataFusionError) -> String {
    let text = match error {
        DataFusionError::SQL(inner, _) => inner.to_string(),
        DataFusionError::ObjectStore(inner) => inner.to_string(),
        DataFusionError::ParquetError(inner) => inner.to_string(),
        DataFusionError::ArrowError(inner, _) => inner.to_string(),
        DataFusionError::External(inner) => inner.to_string(),
        other => other.message().into_owned(),
    };
    let mut text = text.trim();
    for prefix in [
        "sql parser error: ",
        "ParserError(\"",
        "Error during planning: ",
        "Execution error: ",
        "External error: ",
        "Arrow error: ",
        "Parquet error: ",
        "Csv error: ",
        "Json error: ",
    ] {
        text = text.strip_prefix(prefix).unwrap_or(text);
    }
    let text = text.trim_end_matches('.');
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(text.chars().skip(1)).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_restored_from_any_depth_and_from_text() {
        let error =
            Error::unavailable("could not connect to Postgres at h:1: refused").with("catalog", "pg").hint("Is it up?");
        let deep = DataFusionError::Context(
            "outer".into(),
            Box::new(DataFusionError::Shared(std::sync::Arc::new(to_datafusion(error)))),
        );
        for form in [DataFusionError::External(deep.to_string().into()), deep] {
            let back = from_datafusion(&form);
            assert_eq!(back.kind(), ErrorKind::Unavailable);
            assert_eq!(back.context("catalog"), Some("pg"));
            assert_eq!(back.hint_text(), Some("Is it up?"));
        }
    }

    #[test]
    fn our_style_starts_in_lower_case_without_a_full_stop() {
        let error = from_datafusion(&DataFusionError::Plan("Invalid thing.".into()));
        assert_eq!(error.to_string(), "INVALID: invalid thing");
    }
}
