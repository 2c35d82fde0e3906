//! The house proves itself from outside: real processes, real sockets, the public protocol.

pub mod case;
pub mod client;
pub mod cluster;
pub mod value;
