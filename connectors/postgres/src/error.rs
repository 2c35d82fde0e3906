//! The driver's errors as the contract's; never with a password.

use std::time::Duration;

use connector_spi::{Error, ErrorKind, Retry};
use tokio_postgres::error::{DbError, SqlState};

/// Where an error happened, for its text.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) catalog: String,
    pub(crate) address: String,
    pub(crate) user: String,
    /// `catalog.schema.table`, where one is concerned.
    pub(crate) table: Option<String>,
}

/// No server could be reached.
pub(crate) fn unreached(cause: &std::io::Error, place: &Place) -> Error {
    Error::unavailable(format!("could not connect to Postgres at {}: {cause}", place.address))
}

/// An error while a connection is made.
pub(crate) fn connecting(error: &tokio_postgres::Error, place: &Place) -> Error {
    if let Some(answer) = error.as_db_error() {
        return answered(answer, place);
    }
    let address = &place.address;
    let cause = root(error);
    // The driver finds a login without a password out by itself.
    if error.to_string() == "authentication error" {
        return refused(place)
            .detail(format!("{}.", sentence(&cause)))
            .hint(format!("Check the user and the password of catalog \"{}\".", place.catalog));
    }
    let made = Error::unavailable(format!("could not connect to Postgres at {address}: {cause}"));
    match error.to_string().contains("TLS") {
        true => made.hint("Check ssl_mode and ssl_root_cert of the catalog."),
        false => made,
    }
}

/// An error of a statement.
pub(crate) fn running(error: &tokio_postgres::Error, place: &Place) -> Error {
    match error.as_db_error() {
        Some(answer) => answered(answer, place),
        None => {
            let (address, reading) = (&place.address, reading(place));
            Error::unavailable(format!("the connection to Postgres at {address} was lost{reading}: {}", root(error)))
        }
    }
}

fn reading(place: &Place) -> String {
    place.table.as_ref().map(|table| format!(" while table \"{table}\" was read")).unwrap_or_default()
}

/// Whether the connection is gone, and not the statement wrong.
pub(crate) fn lost(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_none_or(|answer| gone(answer.code()) && !is_crowded(answer.message()))
}

/// What PgBouncer says to who waited too long for one of its connections, or may not even wait. It has no SQLSTATE of
/// its own for it.
pub(crate) fn is_crowded(message: &str) -> bool {
    message == "query_wait_timeout" || message.starts_with("no more connections allowed")
}

/// The error of a transaction that did not begin within `wait`.
pub(crate) fn crowded(place: &Place, wait: Duration) -> Error {
    full(place, &format!("none within {} s", wait.as_secs()))
}

fn full(place: &Place, message: &str) -> Error {
    let Place { catalog, address, table, .. } = place;
    let what = table.as_ref().map_or_else(|| format!("catalog \"{catalog}\""), |table| format!("table \"{table}\""));
    let text = format!("could not read {what}: the pooler at {address} had no connection to Postgres left ({message})");
    Error::new(ErrorKind::ResourceExhausted, text).hint(format!(
        "Lower max_connections of catalog \"{catalog}\" to the size of the pooler's pool or less, or raise that."
    ))
}

fn gone(code: &SqlState) -> bool {
    [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN, SqlState::CANNOT_CONNECT_NOW].contains(code)
        || code.code().starts_with("08")
}

fn refused(place: &Place) -> Error {
    let text = format!("Postgres at {} refused the login of user \"{}\"", place.address, place.user);
    Error::new(ErrorKind::Unauthenticated, text)
}

fn answered(answer: &DbError, place: &Place) -> Error {
    let Place { address, user, table, .. } = place;
    let (code, message) = (answer.code(), answer.message());
    let at = || table.as_ref().map_or_else(|| format!("Postgres at {address}"), |table| format!("table \"{table}\""));
    let made = if [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION].contains(code) {
        refused(place).hint(format!(
            "Check the user and the password of catalog \"{}\", and the server's pg_hba.conf.",
            place.catalog
        ))
    } else if *code == SqlState::INVALID_CATALOG_NAME {
        Error::not_found(format!("Postgres at {address} does not have the database of the catalog: {message}"))
    } else if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        Error::new(ErrorKind::PermissionDenied, format!("user \"{user}\" may not read {}: {message}", at()))
            .hint(format!("Ask for SELECT on the table and USAGE on its schema for \"{user}\"."))
    } else if is_crowded(message) {
        full(place, message)
    } else if *code == SqlState::TOO_MANY_CONNECTIONS {
        Error::new(ErrorKind::ResourceExhausted, format!("Postgres at {address} has no connection left: {message}"))
            .hint("Lower max_connections of the catalog, or raise max_connections of the server.")
    } else if *code == SqlState::QUERY_CANCELED {
        Error::new(ErrorKind::Timeout, format!("Postgres gave the read of {} up: {message}", at()))
    } else if *code == SqlState::LOCK_NOT_AVAILABLE {
        Error::new(ErrorKind::Timeout, format!("could not read {} because it is locked: {message}", at()))
    } else if snapshot_gone(code, message) {
        // The connection that held it was ended, or the coordinator.
        Error::unavailable(format!("the snapshot of {} is gone: {message}", at()))
            .hint("Run the query again.")
            .retry(Retry::Now)
    } else if *code == SqlState::T_R_SERIALIZATION_FAILURE && message.contains("recovery") {
        Error::unavailable(format!("the standby gave the read of {} up: {message}", at()))
            .hint("Run the query again, or raise max_standby_streaming_delay of the standby.")
    } else if changed(code) && table.is_some() {
        Error::not_found(format!("{} changed since it was planned: {message}", at())).hint("Run the query again.")
    } else if gone(code) {
        let reading = reading(place);
        Error::unavailable(format!(
            "the connection to Postgres at {address} was ended by the server{reading}: {message}"
        ))
    } else {
        let made = Error::new(ErrorKind::Source, format!("Postgres could not read {}: {message}", at()));
        // Serialization failures: a standby that replays a conflicting change, among others.
        if code.code().starts_with("40") { made.retry(Retry::Later) } else { made }
    };
    let more = answer.detail().map(|detail| format!(" {}.", sentence(detail))).unwrap_or_default();
    made.detail(format!("SQLSTATE {}.{more}", code.code()))
}

/// Postgres tells an unknown snapshot from one whose transaction ended, by version.
fn snapshot_gone(code: &SqlState, message: &str) -> bool {
    message.contains("snapshot")
        && [SqlState::INVALID_PARAMETER_VALUE, SqlState::UNDEFINED_OBJECT, SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE]
            .contains(code)
}

/// What only another definition of the table explains: the statement is ours.
fn changed(code: &SqlState) -> bool {
    [
        SqlState::UNDEFINED_TABLE,
        SqlState::UNDEFINED_COLUMN,
        SqlState::INVALID_SCHEMA_NAME,
        SqlState::UNDEFINED_FUNCTION,
        SqlState::CANNOT_COERCE,
        SqlState::DATATYPE_MISMATCH,
        SqlState::WRONG_OBJECT_TYPE,
    ]
    .contains(code)
}

fn root(error: &dyn std::error::Error) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}

fn sentence(text: &str) -> String {
    let text = text.trim().trim_end_matches('.');
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_pooler_says_of_its_connections_is_crowded() {
        assert!(is_crowded("query_wait_timeout") && is_crowded("no more connections allowed (max_client_conn)"));
        for other in ["server login failed: wrong password type", "sorry, too many clients already", ""] {
            assert!(!is_crowded(other), "{other}");
        }
    }

    #[test]
    fn a_transaction_that_does_not_begin_names_the_catalog_and_what_to_do() {
        let place = Place { catalog: "pg".into(), address: "h:1".into(), user: "u".into(), table: None };
        let error = crowded(&place, Duration::from_secs(30));
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
        let text =
            "could not read catalog \"pg\": the pooler at h:1 had no connection to Postgres left (none within 30 s)";
        assert_eq!(error.message(), text);
        assert!(error.hint_text().is_some_and(|hint| hint.starts_with("Lower max_connections of catalog \"pg\" ")));
    }
}
