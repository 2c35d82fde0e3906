//! Rules of our own, beside DataFusion's.

pub(crate) mod comparable;
pub(crate) mod filter_guard;
pub(crate) mod first_rows;
pub(crate) mod join_order;
mod pattern;
pub(crate) mod precision;
pub(crate) mod unique_name;
pub(crate) mod zero;
mod zone;
