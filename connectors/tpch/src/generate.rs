//! Rows of the generator as Arrow batches, only the columns that are wanted.

use arrow::array::{RecordBatch, RecordBatchOptions};
use connector_spi::{Error, Result, Scan};
use tpchgen::generators::{
    Customer, CustomerGenerator, LineItem, LineItemGenerator, Nation, NationGenerator, Order, OrderGenerator, Part,
    PartGenerator, PartSupp, PartSuppGenerator, Region, RegionGenerator, Supplier, SupplierGenerator,
};

use crate::cell::Cells;
use crate::table::TpchTable;

/// Which share of a table: part `part` of `parts`, counted from 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    pub(crate) table: TpchTable,
    pub(crate) scale: f64,
    pub(crate) part: i32,
    pub(crate) parts: i32,
}

/// Makes batches until the share, the limit or the receiver ends; `send` answers false to stop.
pub(crate) fn generate(share: Share, scan: &Scan, rows: usize, send: &mut dyn FnMut(Result<RecordBatch>) -> bool) {
    let Share { scale, part, parts, .. } = share;
    match share.table {
        TpchTable::Customer => fill(CustomerGenerator::new(scale, part, parts).iter(), CUSTOMER, scan, rows, send),
        TpchTable::Lineitem => fill(LineItemGenerator::new(scale, part, parts).iter(), LINEITEM, scan, rows, send),
        TpchTable::Nation => fill(NationGenerator::new(scale, part, parts).iter(), NATION, scan, rows, send),
        TpchTable::Orders => fill(OrderGenerator::new(scale, part, parts).iter(), ORDERS, scan, rows, send),
        TpchTable::Part => fill(PartGenerator::new(scale, part, parts).iter(), PART, scan, rows, send),
        TpchTable::Partsupp => fill(PartSuppGenerator::new(scale, part, parts).iter(), PARTSUPP, scan, rows, send),
        TpchTable::Region => fill(RegionGenerator::new(scale, part, parts).iter(), REGION, scan, rows, send),
        TpchTable::Supplier => fill(SupplierGenerator::new(scale, part, parts).iter(), SUPPLIER, scan, rows, send),
    }
}

/// Puts one value of a row into its column; one entry a column, in the order of the table's columns.
type Put<R> = fn(&R, &mut Cells);

fn fill<R>(
    generator: impl Iterator<Item = R>,
    puts: &[Put<R>],
    scan: &Scan,
    rows: usize,
    send: &mut dyn FnMut(Result<RecordBatch>) -> bool,
) {
    let mut source =
        generator.take(scan.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))).peekable();
    let schema = scan.schema();
    while source.peek().is_some() {
        let mut columns: Vec<Cells> = schema.fields().iter().map(|field| Cells::new(field.data_type(), rows)).collect();
        let mut count = 0;
        for row in source.by_ref().take(rows) {
            for (cells, at) in columns.iter_mut().zip(&scan.projection) {
                puts[*at](&row, cells);
            }
            count += 1;
        }
        let arrays = columns.iter_mut().map(Cells::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let batch = RecordBatch::try_new_with_options(schema.clone(), arrays, &options);
        if !send(batch.map_err(|cause| Error::internal(format!("a generated batch is not whole: {cause}")))) {
            return;
        }
    }
}

const CUSTOMER: &[Put<Customer<'static>>] = &[
    |row, cells| cells.key(row.c_custkey),
    |row, cells| cells.shown(&row.c_name),
    |row, cells| cells.shown(&row.c_address),
    |row, cells| cells.key(row.c_nationkey),
    |row, cells| cells.shown(&row.c_phone),
    |row, cells| cells.money(row.c_acctbal),
    |row, cells| cells.text(row.c_mktsegment),
    |row, cells| cells.text(row.c_comment),
];

const LINEITEM: &[Put<LineItem<'static>>] = &[
    |row, cells| cells.key(row.l_orderkey),
    |row, cells| cells.key(row.l_partkey),
    |row, cells| cells.key(row.l_suppkey),
    |row, cells| cells.number(row.l_linenumber),
    |row, cells| cells.whole(row.l_quantity),
    |row, cells| cells.money(row.l_extendedprice),
    |row, cells| cells.money(row.l_discount),
    |row, cells| cells.money(row.l_tax),
    |row, cells| cells.text(row.l_returnflag),
    |row, cells| cells.text(row.l_linestatus),
    |row, cells| cells.date(row.l_shipdate),
    |row, cells| cells.date(row.l_commitdate),
    |row, cells| cells.date(row.l_receiptdate),
    |row, cells| cells.text(row.l_shipinstruct),
    |row, cells| cells.text(row.l_shipmode),
    |row, cells| cells.text(row.l_comment),
];

const NATION: &[Put<Nation<'static>>] = &[
    |row, cells| cells.key(row.n_nationkey),
    |row, cells| cells.text(row.n_name),
    |row, cells| cells.key(row.n_regionkey),
    |row, cells| cells.text(row.n_comment),
];

const ORDERS: &[Put<Order<'static>>] = &[
    |row, cells| cells.key(row.o_orderkey),
    |row, cells| cells.key(row.o_custkey),
    |row, cells| cells.shown(&row.o_orderstatus),
    |row, cells| cells.money(row.o_totalprice),
    |row, cells| cells.date(row.o_orderdate),
    |row, cells| cells.text(row.o_orderpriority),
    |row, cells| cells.shown(&row.o_clerk),
    |row, cells| cells.number(row.o_shippriority),
    |row, cells| cells.text(row.o_comment),
];

const PART: &[Put<Part<'static>>] = &[
    |row, cells| cells.key(row.p_partkey),
    |row, cells| cells.shown(&row.p_name),
    |row, cells| cells.shown(&row.p_mfgr),
    |row, cells| cells.shown(&row.p_brand),
    |row, cells| cells.text(row.p_type),
    |row, cells| cells.number(row.p_size),
    |row, cells| cells.text(row.p_container),
    |row, cells| cells.money(row.p_retailprice),
    |row, cells| cells.text(row.p_comment),
];

const PARTSUPP: &[Put<PartSupp<'static>>] = &[
    |row, cells| cells.key(row.ps_partkey),
    |row, cells| cells.key(row.ps_suppkey),
    |row, cells| cells.number(row.ps_availqty),
    |row, cells| cells.money(row.ps_supplycost),
    |row, cells| cells.text(row.ps_comment),
];

const REGION: &[Put<Region<'static>>] = &[
    |row, cells| cells.key(row.r_regionkey),
    |row, cells| cells.text(row.r_name),
    |row, cells| cells.text(row.r_comment),
];

const SUPPLIER: &[Put<Supplier>] = &[
    |row, cells| cells.key(row.s_suppkey),
    |row, cells| cells.shown(&row.s_name),
    |row, cells| cells.shown(&row.s_address),
    |row, cells| cells.key(row.s_nationkey),
    |row, cells| cells.shown(&row.s_phone),
    |row, cells| cells.money(row.s_acctbal),
    |row, cells| cells.shown(&row.s_comment),
];
