//! The eight tables: names, columns, sizes.

use arrow::datatypes::DataType;
use connector_spi::{Column, Error, Result};

use crate::cell::MONEY;
use crate::share::Share;

/// The smallest scale factor: below it there is no supplier for parts and lines to name.
const SMALLEST: f64 = 0.0001;
/// The largest scale factor.
const LARGEST: f64 = 1000.0;

/// One of the eight tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TpchTable {
    Customer,
    Lineitem,
    Nation,
    Orders,
    Part,
    Partsupp,
    Region,
    Supplier,
}

/// All of them in the order of their names.
pub(crate) const ALL: [TpchTable; 8] = [
    TpchTable::Customer,
    TpchTable::Lineitem,
    TpchTable::Nation,
    TpchTable::Orders,
    TpchTable::Part,
    TpchTable::Partsupp,
    TpchTable::Region,
    TpchTable::Supplier,
];

impl TpchTable {
    pub(crate) fn named(name: &str) -> Option<Self> {
        ALL.into_iter().find(|table| table.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Lineitem => "lineitem",
            Self::Nation => "nation",
            Self::Orders => "orders",
            Self::Part => "part",
            Self::Partsupp => "partsupp",
            Self::Region => "region",
            Self::Supplier => "supplier",
        }
    }

    /// Rows at a scale factor; lineitem's number is the usual estimate, the others are exact.
    pub(crate) fn rows(self, scale: f64) -> u64 {
        match self {
            Self::Lineitem => (6_001_215.0 * scale) as u64,
            table => Share::whole(table, scale).rows(),
        }
    }

    /// About how many bytes a row has as Arrow.
    pub(crate) fn row_bytes(self) -> u64 {
        match self {
            Self::Customer => 180,
            Self::Lineitem => 180,
            Self::Orders => 140,
            Self::Part => 150,
            Self::Partsupp => 160,
            Self::Nation | Self::Region | Self::Supplier => 170,
        }
    }

    pub(crate) fn columns(self) -> Vec<Column> {
        use DataType::{Date32, Int32, Int64, Utf8};
        let list: &[(&str, DataType)] = match self {
            Self::Customer => &[
                ("c_custkey", Int64),
                ("c_name", Utf8),
                ("c_address", Utf8),
                ("c_nationkey", Int64),
                ("c_phone", Utf8),
                ("c_acctbal", MONEY),
                ("c_mktsegment", Utf8),
                ("c_comment", Utf8),
            ],
            Self::Lineitem => &[
                ("l_orderkey", Int64),
                ("l_partkey", Int64),
                ("l_suppkey", Int64),
                ("l_linenumber", Int32),
                ("l_quantity", MONEY),
                ("l_extendedprice", MONEY),
                ("l_discount", MONEY),
                ("l_tax", MONEY),
                ("l_returnflag", Utf8),
                ("l_linestatus", Utf8),
                ("l_shipdate", Date32),
                ("l_commitdate", Date32),
                ("l_receiptdate", Date32),
                ("l_shipinstruct", Utf8),
                ("l_shipmode", Utf8),
                ("l_comment", Utf8),
            ],
            Self::Nation => &[("n_nationkey", Int64), ("n_name", Utf8), ("n_regionkey", Int64), ("n_comment", Utf8)],
            Self::Orders => &[
                ("o_orderkey", Int64),
                ("o_custkey", Int64),
                ("o_orderstatus", Utf8),
                ("o_totalprice", MONEY),
                ("o_orderdate", Date32),
                ("o_orderpriority", Utf8),
                ("o_clerk", Utf8),
                ("o_shippriority", Int32),
                ("o_comment", Utf8),
            ],
            Self::Part => &[
                ("p_partkey", Int64),
                ("p_name", Utf8),
                ("p_mfgr", Utf8),
                ("p_brand", Utf8),
                ("p_type", Utf8),
                ("p_size", Int32),
                ("p_container", Utf8),
                ("p_retailprice", MONEY),
                ("p_comment", Utf8),
            ],
            Self::Partsupp => &[
                ("ps_partkey", Int64),
                ("ps_suppkey", Int64),
                ("ps_availqty", Int32),
                ("ps_supplycost", MONEY),
                ("ps_comment", Utf8),
            ],
            Self::Region => &[("r_regionkey", Int64), ("r_name", Utf8), ("r_comment", Utf8)],
            Self::Supplier => &[
                ("s_suppkey", Int64),
                ("s_name", Utf8),
                ("s_address", Utf8),
                ("s_nationkey", Int64),
                ("s_phone", Utf8),
                ("s_acctbal", MONEY),
                ("s_comment", Utf8),
            ],
        };
        list.iter().map(|(name, data_type)| Column::new(*name, data_type.clone(), false)).collect()
    }
}

/// The scale factor of a schema: `tiny` is 0.01, `sf1` is 1, `sf0_1` is 0.1; from 0.0001 to 1000.
pub(crate) fn scale(schema: &str) -> Option<f64> {
    if schema == "tiny" {
        return Some(0.01);
    }
    let number = schema.strip_prefix("sf")?;
    let (whole, decimals) = number.split_once('_').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) {
        return None;
    }
    let scale: f64 = format!("{whole}.{decimals}").parse().ok()?;
    (SMALLEST..=LARGEST).contains(&scale).then_some(scale)
}

/// The scale factor of a scan's schema. Errors: `NOT_FOUND`.
pub(crate) fn scale_of(schema: &str) -> Result<f64> {
    scale(schema).ok_or_else(|| Error::not_found(format!("schema \"{schema}\" does not exist")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_name_scale_factors() {
        assert_eq!(scale("tiny"), Some(0.01));
        assert_eq!(scale("sf0_1"), Some(0.1));
        assert_eq!(scale("sf100"), Some(100.0));
        assert_eq!(scale("sf0_0001"), Some(0.0001));
        assert_eq!(scale("sf1000"), Some(1000.0));
        for wrong in ["sf", "sf0", "sf_1", "sf1_", "sf1_2_3", "sf-1", "sf1e3", "sf1000_1", "sf0_00009", "main"] {
            assert_eq!(scale(wrong), None, "{wrong}");
        }
    }
}
