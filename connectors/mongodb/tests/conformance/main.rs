//! The connector against a server, whose address is in `TRIBUTARY_TEST_MONGODB_URL`; for logins, one whose address is in
//! `TRIBUTARY_TEST_MONGODB_LOGIN_URL`.
//!
//! Every test works in a database of its own.
#![allow(clippy::panic, reason = "a test says what went wrong by a panic")]

mod document;
mod fault;
mod fixture;
mod large;
mod login;
mod lost;
mod proxy;
mod spoilt;
mod suite;
mod write;
