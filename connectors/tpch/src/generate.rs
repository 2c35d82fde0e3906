//! Rows of the generator as Arrow batches, only the columns that are wanted.

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use connector_spi::{Error, Result, Scan};
use tpchgen::generators::{
    Customer, CustomerGenerator, LineItem, LineItemGenerator, Nation, NationGenerator, Order, OrderGenerator, Part,
    PartGenerator, PartSupp, PartSuppGenerator, Region, RegionGenerator, Supplier, SupplierGenerator,
};

use crate::cell::Cells;
use crate::share::Share;
use crate::table::TpchTable;

/// Batches that are generated when they are asked for.
pub(crate) type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// The batches of a share, each of at most `rows` rows.
pub(crate) fn batches(share: Share, scan: &Scan, rows: usize) -> Batches {
    if scan.projection.is_empty() {
        return counted(share.rows(), scan, rows);
    }
    let Share { scale, part, parts, .. } = share;
    match share.table {
        TpchTable::Customer => filled(CustomerGenerator::new(scale, part, parts).iter(), CUSTOMER, scan, rows),
        TpchTable::Lineitem => filled(LineItemGenerator::new(scale, part, parts).iter(), LINEITEM, scan, rows),
        TpchTable::Nation => filled(NationGenerator::new(scale, part, parts).iter(), NATION, scan, rows),
        TpchTable::Orders => filled(OrderGenerator::new(scale, part, parts).iter(), ORDERS, scan, rows),
        TpchTable::Part => filled(PartGenerator::new(scale, part, parts).iter(), PART, scan, rows),
        TpchTable::Partsupp => filled(PartSuppGenerator::new(scale, part, parts).iter(), PARTSUPP, scan, rows),
        TpchTable::Region => filled(RegionGenerator::new(scale, part, parts).iter(), REGION, scan, rows),
        TpchTable::Supplier => filled(SupplierGenerator::new(scale, part, parts).iter(), SUPPLIER, scan, rows),
    }
}

/// Puts one value of a row into its column; one entry a column, in the order of the table's columns.
type Put<R> = fn(&R, &mut Cells);

fn filled<R: 'static>(
    generator: impl Iterator<Item = R> + Send + 'static,
    puts: &'static [Put<R>],
    scan: &Scan,
    rows: usize,
) -> Batches {
    let limit = scan.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let (schema, projection) = (scan.schema(), scan.projection.clone());
    let mut source = generator.take(limit);
    Box::new(std::iter::from_fn(move || {
        let cells = |field: &arrow::datatypes::FieldRef| Cells::new(field.data_type(), rows.min(limit));
        let mut columns: Vec<Cells> = schema.fields().iter().map(cells).collect();
        let mut count = 0;
        for row in source.by_ref().take(rows) {
            for (cells, at) in columns.iter_mut().zip(&projection) {
                puts[*at](&row, cells);
            }
            count += 1;
        }
        (count > 0).then(|| batch(&schema, columns, count))
    }))
}

/// As many rows without columns.
fn counted(all: u64, scan: &Scan, rows: usize) -> Batches {
    let schema = scan.schema();
    let mut left = scan.limit.map_or(all, |limit| limit.min(all));
    Box::new(std::iter::from_fn(move || {
        let count = usize::try_from(left).map_or(rows, |left| left.min(rows));
        left -= count as u64;
        (count > 0).then(|| batch(&schema, Vec::new(), count))
    }))
}

fn batch(schema: &SchemaRef, mut columns: Vec<Cells>, count: usize) -> Result<RecordBatch> {
    let arrays = columns.iter_mut().map(Cells::finish).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    RecordBatch::try_new_with_options(SchemaRef::clone(schema), arrays, &options)
        .map_err(|cause| Error::internal(format!("a generated batch is not whole: {cause}")))
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
