//! Errors of stores and readers in the words of the boundary.

use std::error::Error as StdError;
use std::io;

use connector_spi::{Error, ErrorKind, Retry};

use crate::store::Place;

/// Finds an error of ours inside one that wraps it.
pub(crate) fn ours(error: &(dyn StdError + 'static)) -> Option<Error> {
    causes(error).find_map(|cause| cause.downcast_ref::<Error>().cloned())
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |cause: &&'a (dyn StdError + 'static)| (**cause).source())
}

/// What a store answered, about `subject` (such as `file "a.csv"`) of a catalog.
pub(crate) fn of_store(catalog: &str, place: &Place, subject: &str, error: &object_store::Error) -> Error {
    if let Some(ours) = ours(error) {
        return ours;
    }
    match place {
        Place::Folder(_) => of_disk(catalog, subject, error),
        Place::Bucket { name, endpoint } => of_s3(catalog, name, endpoint, subject, error),
    }
    .with("catalog", catalog)
}

fn of_disk(catalog: &str, subject: &str, error: &object_store::Error) -> Error {
    let cause = causes(error).find_map(|cause| cause.downcast_ref::<io::Error>());
    match (error, cause.map(io::Error::kind)) {
        (object_store::Error::NotFound { .. }, _) | (_, Some(io::ErrorKind::NotFound)) => missing(catalog, subject),
        (_, Some(kind)) => of_io(catalog, subject, kind, &cause.map(ToString::to_string).unwrap_or_default()),
        _ => Error::new(ErrorKind::Source, format!("cannot read {subject} of catalog \"{catalog}\": {error}")),
    }
}

/// What the operating system answered.
pub(crate) fn of_io(catalog: &str, subject: &str, kind: io::ErrorKind, text: &str) -> Error {
    match kind {
        io::ErrorKind::NotFound => missing(catalog, subject),
        io::ErrorKind::PermissionDenied => Error::new(
            ErrorKind::PermissionDenied,
            format!("cannot read {subject} of catalog \"{catalog}\": permission denied"),
        )
        .hint("The account that runs the server needs permission to read it."),
        _ => Error::new(ErrorKind::Source, format!("cannot read {subject} of catalog \"{catalog}\": {text}")),
    }
}

fn missing(catalog: &str, subject: &str) -> Error {
    Error::not_found(format!("{subject} of catalog \"{catalog}\" does not exist"))
}

/// A file that is not what it was when the query was planned.
pub(crate) fn changed(catalog: &str, path: &str) -> Error {
    Error::new(ErrorKind::Source, format!("file \"{path}\" of catalog \"{catalog}\" changed while it was read"))
        .hint("Run the query again.")
        .retry(Retry::Now)
}

fn of_s3(catalog: &str, bucket: &str, endpoint: &str, subject: &str, error: &object_store::Error) -> Error {
    let text = causes(error).map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let code = between(&text, "<Code>", "</Code>");
    let login = |code: &str| {
        Error::new(ErrorKind::Unauthenticated, format!("S3 refused the access key of catalog \"{catalog}\": {code}"))
            .hint("Check the catalog's access_key_id, secret_access_key and session_token.")
    };
    let forbidden = |code: &str| {
        let message = format!("S3 refused access to {subject} of catalog \"{catalog}\": {code}");
        Error::new(ErrorKind::PermissionDenied, message)
            .hint(format!("The catalog's access key needs permission to list and read bucket \"{bucket}\"."))
    };
    match code {
        Some("NoSuchBucket") => {
            return Error::not_found(format!("bucket \"{bucket}\" of catalog \"{catalog}\" does not exist"))
                .hint("Check the catalog's location and endpoint.");
        }
        Some(
            code @ ("InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "ExpiredToken"
            | "InvalidToken"
            | "InvalidSecurity"
            | "TokenRefreshRequired"
            | "RequestTimeTooSkewed"),
        ) => return login(code),
        Some(code @ ("AccessDenied" | "AllAccessDisabled" | "AccountProblem")) => return forbidden(code),
        Some(code @ ("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException")) => {
            return Error::invalid(format!(
                "S3 does not have bucket \"{bucket}\" of catalog \"{catalog}\" here: {code}"
            ))
            .hint("Check the catalog's region and endpoint.");
        }
        _ => {}
    }
    match error {
        object_store::Error::NotFound { .. } => return missing(catalog, subject),
        object_store::Error::PermissionDenied { .. } => return forbidden("403 Forbidden"),
        object_store::Error::Unauthenticated { .. } => return login("401 Unauthorized"),
        object_store::Error::Precondition { .. } => {
            return Error::new(
                ErrorKind::Source,
                format!("{subject} of catalog \"{catalog}\" changed while it was read"),
            )
            .hint("Run the query again.")
            .retry(Retry::Now);
        }
        _ => {}
    }
    if let Some(code) = code {
        let kind = match code {
            "SlowDown" | "ServiceUnavailable" | "InternalError" | "RequestTimeout" => ErrorKind::Unavailable,
            _ => ErrorKind::Source,
        };
        let message = between(&text, "<Message>", "</Message>").unwrap_or("no message");
        return Error::new(
            kind,
            format!("S3 at {endpoint} answered {code} for {subject} of catalog \"{catalog}\": {message}"),
        );
    }
    if let Some(status) = between(&text, "status code: ", "\n").or_else(|| between(&text, "status code: ", ":")) {
        let kind = if status.starts_with('5') { ErrorKind::Unavailable } else { ErrorKind::Source };
        let status = status.split(':').next().unwrap_or_default();
        return Error::new(kind, format!("S3 at {endpoint} answered {status} for {subject} of catalog \"{catalog}\""));
    }
    // The innermost cause is the operating system's word, such as "Connection refused".
    let cause = causes(error).last().map(ToString::to_string).unwrap_or_default();
    Error::unavailable(format!("could not reach S3 at {endpoint} for catalog \"{catalog}\": {}", lower(&cause)))
        .hint("Check the catalog's endpoint and the network.")
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let rest = &text[text.find(start)? + start.len()..];
    Some(&rest[..rest.find(end)?])
}

/// The text with a small first letter, as it stands after a colon.
pub(crate) fn lower(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        // "EOF" and "CSV" stay as they are.
        Some(first) if !letters.clone().next().is_some_and(char::is_uppercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}

/// A file that cannot be read as what its name says.
pub(crate) fn bad_file(catalog: &str, format: &str, path: &str, cause: &str) -> Error {
    let message = format!("cannot read {format} file \"{path}\" of catalog \"{catalog}\": {cause}");
    Error::new(ErrorKind::BadData, message).with("catalog", catalog).with("file", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(text: &str) -> Error {
        let error = object_store::Error::Generic { store: "S3", source: text.to_owned().into() };
        let place = Place::Bucket { name: "lake".into(), endpoint: "http://h".into() };
        of_store("shop", &place, "file \"a.csv\"", &error)
    }

    #[test]
    fn the_codes_of_s3_become_kinds() {
        let answer =
            |code: &str| s3(&format!("403 Forbidden: <Error><Code>{code}</Code><Message>No.</Message></Error>"));
        for (code, message) in [
            ("NoSuchBucket", "NOT_FOUND: bucket \"lake\" of catalog \"shop\" does not exist"),
            (
                "InvalidAccessKeyId",
                "UNAUTHENTICATED: S3 refused the access key of catalog \"shop\": InvalidAccessKeyId",
            ),
            (
                "AccessDenied",
                "PERMISSION_DENIED: S3 refused access to file \"a.csv\" of catalog \"shop\": AccessDenied",
            ),
            ("SlowDown", "UNAVAILABLE: S3 at http://h answered SlowDown for file \"a.csv\" of catalog \"shop\": No."),
            ("Odd", "SOURCE: S3 at http://h answered Odd for file \"a.csv\" of catalog \"shop\": No."),
        ] {
            assert_eq!(answer(code).to_string(), message);
        }
    }

    #[test]
    fn a_server_that_does_not_answer_is_unavailable() {
        assert_eq!(
            s3("Connection refused (os error 111)").to_string(),
            "UNAVAILABLE: could not reach S3 at http://h for catalog \"shop\": connection refused (os error 111)"
        );
    }

    #[test]
    fn an_error_of_ours_is_kept() {
        let inner = changed("shop", "a.csv");
        let error = object_store::Error::Generic { store: "files", source: Box::new(inner) };
        let place = Place::Folder("/x".into());
        let message = of_store("shop", &place, "file \"a.csv\"", &error).to_string();
        assert_eq!(message, "SOURCE: file \"a.csv\" of catalog \"shop\" changed while it was read");
    }
}
