//! The connector against a real server, whose address is in `TRIBUTARY_TEST_POSTGRES_URL`.
//!
//! The user of the address must be a superuser. Every test works in a schema of its own.
#![allow(clippy::panic, clippy::type_complexity, reason = "a test says what went wrong by a panic")]

mod broken;
mod choice;
mod fault;
mod fixture;
mod grid;
mod passthrough;
mod pooler;
mod split;
mod standby;
mod suite;
mod table;
mod value;
mod write;
