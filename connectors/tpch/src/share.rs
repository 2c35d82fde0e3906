//! Shares of a table: what a split names, and how many rows it has.

use connector_spi::{Error, Result};
use tpchgen::dates::GenerateUtils;
use tpchgen::generators::{CustomerGenerator, OrderGenerator, PartGenerator, PartSuppGenerator, SupplierGenerator};

use crate::table::TpchTable;

/// Suppliers of each part.
const SUPPLIERS_PER_PART: u64 = 4;

/// Which share of a table: part `part` of `parts`, counted from 1. All parts together are the table, once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    pub(crate) table: TpchTable,
    pub(crate) scale: f64,
    pub(crate) part: i32,
    pub(crate) parts: i32,
}

impl Share {
    /// All of a table.
    pub(crate) fn whole(table: TpchTable, scale: f64) -> Self {
        Self { table, scale, part: 1, parts: 1 }
    }

    /// The most shares that leave none empty: lines stay with their order, suppliers with their part.
    pub(crate) fn most(table: TpchTable, scale: f64) -> u64 {
        let pieces = match table {
            TpchTable::Nation | TpchTable::Region => return 1,
            TpchTable::Lineitem => TpchTable::Orders,
            TpchTable::Partsupp => TpchTable::Part,
            table => table,
        };
        Self::whole(pieces, scale).rows()
    }

    /// The share that a split's token names. Errors: `INTERNAL` for a token of anything else.
    pub(crate) fn of(table: TpchTable, scale: f64, token: &[u8]) -> Result<Self> {
        let broken = || Error::internal("a split of generated rows is not readable");
        let [a, b, c, d, e, f, g, h] = token else { return Err(broken()) };
        let part = i32::from_le_bytes([*a, *b, *c, *d]);
        let parts = i32::from_le_bytes([*e, *f, *g, *h]);
        if !(1..=parts).contains(&part) {
            return Err(broken());
        }
        Ok(Self { table, scale, part, parts })
    }

    /// The token of a split that is this share.
    pub(crate) fn token(&self) -> Vec<u8> {
        [self.part, self.parts].iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    /// How many rows it has, without generating them; exact.
    pub(crate) fn rows(&self) -> u64 {
        let Self { scale, part, parts, .. } = *self;
        let rows = match self.table {
            TpchTable::Nation => 25,
            TpchTable::Region => 5,
            TpchTable::Customer => CustomerGenerator::calculate_row_count(scale, part, parts),
            TpchTable::Orders => OrderGenerator::calculate_row_count(scale, part, parts),
            TpchTable::Part => PartGenerator::calculate_row_count(scale, part, parts),
            TpchTable::Supplier => SupplierGenerator::calculate_row_count(scale, part, parts),
            // The generator counts parts here.
            TpchTable::Partsupp => {
                return PartSuppGenerator::calculate_row_count(scale, part, parts).unsigned_abs() * SUPPLIERS_PER_PART;
            }
            TpchTable::Lineitem => return self.lines(),
        };
        rows.unsigned_abs()
    }

    /// The lines of the share's orders: each order draws its number of lines.
    fn lines(&self) -> u64 {
        let Self { scale, part, parts, .. } = *self;
        let orders = OrderGenerator::calculate_row_count(scale, part, parts);
        let mut lines = OrderGenerator::create_line_count_random();
        lines.advance_rows(GenerateUtils::calculate_start_index(OrderGenerator::SCALE_BASE, scale, part, parts));
        let draw = |_| {
            let count = lines.next_value();
            lines.row_finished();
            u64::from(count.unsigned_abs())
        };
        (0..orders).map(draw).sum()
    }
}
