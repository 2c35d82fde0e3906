//! The driver's errors as the contract's; never with a password.

use connector_spi::{Error, ErrorKind, Retry};
use mongodb::error::{Error as Cause, ErrorKind as CauseKind, WriteFailure};

use crate::element::Malformed;

/// Where an error happened, for its text.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) address: String,
    /// `database.collection`, where one is concerned.
    pub(crate) table: Option<String>,
}

/// The code and the message of the server's answer, where the server answered.
pub(crate) fn answer(cause: &Cause) -> Option<(i32, &str, &str)> {
    match cause.kind.as_ref() {
        CauseKind::Command(command) => Some((command.code, &command.code_name, &command.message)),
        CauseKind::Write(WriteFailure::WriteError(error)) => {
            Some((error.code, error.code_name.as_deref().unwrap_or_default(), &error.message))
        }
        CauseKind::Write(WriteFailure::WriteConcernError(error)) => {
            Some((error.code, &error.code_name, &error.message))
        }
        _ => None,
    }
}

/// An error of the driver's.
pub(crate) fn failed(cause: &Cause, place: &Place) -> Error {
    let Place { address, table } = place;
    let at = || table.as_ref().map_or_else(|| format!("MongoDB at {address}"), |table| format!("table \"{table}\""));
    let Some((code, name, message)) = answer(cause) else {
        return unanswered(cause, place);
    };
    let made = match code {
        18 | 11 => refused(address),
        13 if message.ends_with("requires authentication") => {
            Error::new(ErrorKind::Unauthenticated, format!("MongoDB at {address} asks for a login"))
                .hint("Give the catalog a user and a password.")
        }
        13 => Error::new(ErrorKind::PermissionDenied, format!("the catalog's user may not use {}: {message}", at()))
            .hint("Ask for the role \"read\" on the database (\"readWrite\" to write)."),
        50 | 262 => Error::new(ErrorKind::Timeout, format!("MongoDB gave the read of {} up: {message}", at())),
        239 | 246 => Error::unavailable(format!("the snapshot of {} is gone: {message}", at()))
            .hint("Run the query again; minSnapshotHistoryWindowInSeconds of the server says how long snapshots are kept.")
            .retry(Retry::Now),
        43 | 175 | 237 | 26 if table.is_some() => {
            Error::unavailable(format!("the read of {} was ended by the server: {message}", at()))
                .hint("The collection may have been dropped, or the cursor waited too long. Run the query again.")
        }
        292 | 146 => Error::new(ErrorKind::ResourceExhausted, format!("MongoDB has no memory to read {}: {message}", at())),
        11600 | 11602 | 91 | 189 | 10107 | 13435 | 13436 => {
            Error::unavailable(format!("MongoDB at {address} is shutting down or choosing a primary: {message}"))
        }
        _ => Error::new(ErrorKind::Source, format!("MongoDB could not answer for {}: {message}", at())),
    };
    made.detail(format!("Code {code}{}{name}.", if name.is_empty() { "" } else { ", " }))
}

fn refused(address: &str) -> Error {
    Error::new(ErrorKind::Unauthenticated, format!("MongoDB at {address} refused the login"))
        .hint("Check user, password and authSource of the catalog.")
}

fn unanswered(cause: &Cause, place: &Place) -> Error {
    let Place { address, table } = place;
    let reading = table.as_ref().map(|table| format!(" while table \"{table}\" was read")).unwrap_or_default();
    match cause.kind.as_ref() {
        CauseKind::Authentication { .. } => refused(address),
        CauseKind::ServerSelection { message, .. } => {
            let hints = [
                ("eplicaSet", "Check replicaSet and directConnection in the url."),
                ("replica set", "Check replicaSet and directConnection in the url."),
                ("certificate", "Check tlsCAFile and tlsCertificateKeyFile in the url, and the host's name."),
                ("UnknownCA", "The server does not know who made the certificate of tlsCertificateKeyFile."),
                ("reset by peer", "Where the server speaks TLS, the url needs tls=true."),
                ("end of file", "Where the server speaks TLS, the url needs tls=true."),
            ];
            let made = Error::unavailable(format!("could not connect to MongoDB at {address}: {}", why(message)));
            match hints.iter().find(|(sign, _)| message.contains(sign)) {
                Some((_, hint)) => made.hint(*hint),
                None => made,
            }
        }
        CauseKind::DnsResolve { message, .. } => {
            Error::unavailable(format!("could not find MongoDB at {address}: {message}"))
        }
        CauseKind::InvalidTlsConfig { message, .. } => {
            Error::invalid(format!("the TLS options of the url are wrong: {message}"))
        }
        CauseKind::Io(cause) => {
            Error::unavailable(format!("the connection to MongoDB at {address} was lost{reading}: {cause}"))
        }
        CauseKind::ConnectionPoolCleared { .. } | CauseKind::Shutdown => {
            Error::unavailable(format!("the connection to MongoDB at {address} was lost{reading}"))
        }
        CauseKind::IncompatibleServer { message, .. } => {
            Error::unsupported(format!("MongoDB at {address} is too old: {message}"))
        }
        CauseKind::InvalidArgument { message, .. } => Error::invalid(format!("MongoDB's driver refuses: {message}")),
        CauseKind::Bson(cause) => {
            let cause = cause.to_string();
            let text = format!("MongoDB at {address} sent what is not BSON{reading}: {}", cause.trim_end_matches('.'));
            Error::new(ErrorKind::BadData, text)
        }
        CauseKind::Custom(_) if cause.get_custom::<Malformed>().is_some() => {
            let table = table.as_deref().unwrap_or("system.query");
            let text = format!("a document of table \"{table}\" is not BSON: a field does not end within it");
            Error::new(ErrorKind::BadData, text)
        }
        other => Error::new(
            ErrorKind::Source,
            format!("MongoDB at {address} answered with what its driver cannot read{reading}: {other}"),
        ),
    }
}

/// Why no server was found, of what the driver says of all of them.
fn why(message: &str) -> &str {
    match message.rsplit_once("Error: ") {
        Some((_, why)) => {
            let why = why.split_once(", labels: ").map_or(why, |(why, _)| why);
            let why = why.trim_start_matches("Kind: ").trim_start_matches("I/O error: ");
            why.trim_end_matches([' ', ']', '}', ',', '\n'])
        }
        None => message.split_once(". Topology: ").map_or(message, |(why, _)| why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_all_that_the_driver_says_of_its_servers_the_cause_is_left() {
        let said = "Server selection timeout: No available servers. Topology: { Type: Single, Servers: [ { Address: h:1, Type: Unknown";
        assert_eq!(why(said), "Server selection timeout: No available servers");
        let reset = "I/O error: Connection reset by peer (os error 104), labels: {\"RetryableError\"}, source: None";
        assert_eq!(why(&format!("{said}, Error: Kind: {reset} }} ] }}")), "Connection reset by peer (os error 104)");
        assert_eq!(why(&format!("{said}, Error: something else }} ] }}")), "something else");
    }
}
