//! Errors as gRPC statuses.

use connector_spi::{Error, ErrorKind};
use tonic::{Code, Status};

/// The longest text of a status, in bytes; it travels in a header.
const MAX_TEXT: usize = 5_000;

/// The status whose text is what the user sees, and whose details are the error as JSON.
pub(super) fn status(error: &Error) -> Status {
    let code = match error.kind() {
        ErrorKind::Syntax | ErrorKind::Invalid => Code::InvalidArgument,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::Unsupported => Code::Unimplemented,
        ErrorKind::Unauthenticated => Code::Unauthenticated,
        ErrorKind::PermissionDenied => Code::PermissionDenied,
        ErrorKind::ResourceExhausted => Code::ResourceExhausted,
        ErrorKind::Unavailable | ErrorKind::WorkerLost => Code::Unavailable,
        ErrorKind::Source | ErrorKind::BadData | ErrorKind::Internal => Code::Internal,
        ErrorKind::Cancelled => Code::Cancelled,
        ErrorKind::Timeout => Code::DeadlineExceeded,
    };
    let mut text = crate::render(error);
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    // Only what a program needs: the whole error could be longer than a header may be.
    let details = format!("{{\"kind\":\"{}\"}}", error.kind().code());
    Status::with_details(code, text, details.into_bytes().into())
}
