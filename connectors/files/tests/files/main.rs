//! The files connector from outside: what is written to a folder or a bucket is what a query sees.
#![allow(clippy::panic)]

mod csv;
mod fixture;
mod layout;
mod ndjson;
mod parquet;
mod s3;
