//! Rules of our own, beside DataFusion's.

pub(crate) mod filter_guard;
pub(crate) mod float_compare;
pub(crate) mod unique_name;
