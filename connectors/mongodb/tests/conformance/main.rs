//! The connector against a server, whose address is in `TRIBUTARY_TEST_MONGODB_URL`.
//!
//! Every test works in a database of its own.
#![allow(clippy::panic, reason = "a test says what went wrong by a panic")]

mod document;
mod fault;
mod fixture;
mod suite;
mod write;
