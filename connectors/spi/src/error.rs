//! The one error type of the boundary: what went wrong, whose it is to mend, and whether to try again.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. The list is closed; the names are shown to users and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorKind {
    /// The text is not SQL that the engine can parse.
    Syntax,
    /// A named thing does not exist.
    NotFound,
    /// A thing of that name exists already.
    AlreadyExists,
    /// A value, type, option or argument does not fit.
    Invalid,
    /// Valid, but the engine or the source cannot do it.
    Unsupported,
    /// Login failed: at Tributary, or Tributary's login at a source.
    Unauthenticated,
    /// Logged in, but not allowed.
    PermissionDenied,
    /// A limit on memory, length, connections or concurrency was reached.
    ResourceExhausted,
    /// A source cannot be reached.
    Unavailable,
    /// A source answered with an error of its own.
    Source,
    /// A source's data cannot be read as what it claims to be.
    BadData,
    /// A worker went away while it worked for the query.
    WorkerLost,
    /// The query was cancelled.
    Cancelled,
    /// A deadline passed.
    Timeout,
    /// A defect in Tributary.
    Internal,
}

/// Who can mend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// Whoever wrote the statement.
    User,
    /// Whoever runs the cluster.
    Operator,
    /// Whoever runs the source.
    Source,
    /// The makers of Tributary.
    Us,
}

impl ErrorKind {
    /// The code that users see, such as `NOT_FOUND`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Syntax => "SYNTAX",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::Invalid => "INVALID",
            Self::Unsupported => "UNSUPPORTED",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Source => "SOURCE",
            Self::BadData => "BAD_DATA",
            Self::WorkerLost => "WORKER_LOST",
            Self::Cancelled => "CANCELLED",
            Self::Timeout => "TIMEOUT",
            Self::Internal => "INTERNAL",
        }
    }

    /// The family of the kind.
    pub fn blame(self) -> Blame {
        match self {
            Self::Syntax
            | Self::NotFound
            | Self::AlreadyExists
            | Self::Invalid
            | Self::Unsupported
            | Self::Cancelled => Blame::User,
            Self::Unauthenticated
            | Self::PermissionDenied
            | Self::ResourceExhausted
            | Self::Timeout
            | Self::WorkerLost => Blame::Operator,
            Self::Unavailable | Self::Source | Self::BadData => Blame::Source,
            Self::Internal => Blame::Us,
        }
    }
}

/// Whether the same call may succeed another time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// It will fail again.
    Never,
    /// It may succeed after a while, or after someone mends the cause.
    Later,
    /// It may succeed at once.
    Now,
}

/// What went wrong, in a form that survives the wire. One pointer wide.
#[derive(Clone, Serialize, Deserialize)]
pub struct Error(Box<Inner>);

#[derive(Clone, Serialize, Deserialize)]
struct Inner {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    detail: Option<String>,
    retry: Retry,
    context: Vec<(String, String)>,
}

impl Error {
    /// An error of `kind`. `message` starts in lower case, has no full stop, and says what and where.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let retry = match kind {
            ErrorKind::WorkerLost => Retry::Now,
            ErrorKind::Unavailable | ErrorKind::ResourceExhausted | ErrorKind::Timeout => Retry::Later,
            _ => Retry::Never,
        };
        Self(Box::new(Inner { kind, message: message.into(), hint: None, detail: None, retry, context: Vec::new() }))
    }

    /// `NOT_FOUND`.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// `INVALID`.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// `UNSUPPORTED`.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// `UNAVAILABLE`.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// `INTERNAL`: a defect of ours.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Adds a sentence that says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds a sentence with more about the cause.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Replaces the kind's usual answer to "try again?".
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// Adds a fact for logs, such as `("catalog", "shop")`. An earlier value of the key stays.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl fmt::Display) -> Self {
        if self.context(key).is_none() {
            self.0.context.push((key.to_owned(), value.to_string()));
        }
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The first line, without its code.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do, if known.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// More about the cause, if known.
    pub fn detail_text(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// Whether to try again.
    pub fn retryable(&self) -> Retry {
        self.0.retry
    }

    /// A fact added by [`Error::with`].
    pub fn context(&self, key: &str) -> Option<&str> {
        self.0.context.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind.code(), self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        if let Some(detail) = &self.0.detail {
            write!(f, " [{detail}]")?;
        }
        self.0.context.iter().try_for_each(|(key, value)| write!(f, " {key}={value}"))
    }
}

impl std::error::Error for Error {}

/// The candidate most like `word`, if one is like it at all; for "Did you mean …?".
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::normalized_damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness >= 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_json() {
        let error = Error::not_found("table \"a\" does not exist").hint("Did you mean \"b\"?").with("catalog", "shop");
        let text = serde_json::to_string(&error).expect("serializes");
        let back: Error = serde_json::from_str(&text).expect("parses");
        assert_eq!(back.to_string(), "NOT_FOUND: table \"a\" does not exist");
        assert_eq!(back.hint_text(), Some("Did you mean \"b\"?"));
        assert_eq!(back.context("catalog"), Some("shop"));
    }

    #[test]
    fn the_nearest_word_is_found_and_a_far_one_is_not() {
        assert_eq!(nearest("ordrs", ["customer", "orders"]), Some("orders"));
        assert_eq!(nearest("zzz", ["customer", "orders"]), None);
    }
}
