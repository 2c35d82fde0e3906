//! The driver's errors as the contract's; never with a password.

use connector_spi::{Error, ErrorKind};
use tokio_postgres::error::SqlState;

/// Where an error happened, for its text.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) address: String,
    pub(crate) user: String,
    /// `schema.table`, where one is concerned.
    pub(crate) table: Option<String>,
}

/// An error of a connection attempt.
pub(crate) fn connecting(error: &tokio_postgres::Error, place: &Place) -> Error {
    if error.as_db_error().is_some() {
        return running(error, place);
    }
    Error::unavailable(format!("could not connect to Postgres at {}: {}", place.address, root(error)))
}

/// An error of a statement.
pub(crate) fn running(error: &tokio_postgres::Error, place: &Place) -> Error {
    let Some(db) = error.as_db_error() else {
        return Error::unavailable(format!("the connection to Postgres at {} was lost: {}", place.address, root(error)));
    };
    let (address, code) = (&place.address, db.code());
    let of_table = || place.table.as_ref().map(|table| format!(" of table \"{table}\"")).unwrap_or_default();
    let made = if [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION].contains(code) {
        Error::new(ErrorKind::Unauthenticated, format!("Postgres at {address} refused the login of user \"{}\"", place.user))
    } else if *code == SqlState::INVALID_CATALOG_NAME {
        Error::not_found(format!("Postgres at {address}: {}", db.message()))
    } else if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        Error::new(ErrorKind::PermissionDenied, format!("Postgres at {address}: {}", db.message()))
            .hint(format!("The user \"{}\" of the catalog needs SELECT.", place.user))
    } else if *code == SqlState::TOO_MANY_CONNECTIONS {
        Error::new(ErrorKind::ResourceExhausted, format!("Postgres at {address} has no connection left: {}", db.message()))
            .hint("Lower max_connections of the catalog, or raise the server's.")
    } else if *code == SqlState::QUERY_CANCELED {
        Error::new(ErrorKind::Timeout, format!("Postgres at {address} gave the read{} up: {}", of_table(), db.message()))
    } else if [SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_COLUMN].contains(code) {
        Error::not_found(format!("the definition{} in Postgres changed since it was planned: {}", of_table(), db.message()))
            .hint("Run the query again.")
    } else if [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN, SqlState::CANNOT_CONNECT_NOW].contains(code) {
        Error::unavailable(format!("Postgres at {address} is not available: {}", db.message()))
    } else {
        Error::new(ErrorKind::Source, format!("Postgres at {address}: {}", db.message()))
    };
    made.detail(format!("SQLSTATE {}.", code.code()))
}

fn root(error: &dyn std::error::Error) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}
