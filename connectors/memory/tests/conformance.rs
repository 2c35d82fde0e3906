//! The connector against the contract: snapshots, splits, reading, all-or-nothing inserts. Filters are in predicate.rs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use connector_memory::Memory;
use connector_spi::{
    Absorbed, BatchStream, Comparison, Connector, Error, ErrorKind, Literal, Op, Options, Predicate, ReadContext,
    Retry, Scan, Source, Split, Splits, TableName, Write,
};
use futures::{StreamExt, TryStreamExt};

fn name() -> TableName {
    TableName::new("main", "t")
}

fn open() -> Arc<dyn Source> {
    Memory.open("memory", &Options::check(&[], BTreeMap::new()).expect("options")).expect("opens")
}

fn writer(source: &dyn Source) -> &dyn Write {
    source.writer().expect("writer")
}

fn schema() -> SchemaRef {
    let fields = vec![Field::new("n", DataType::Int64, true), Field::new("s", DataType::Utf8, false)];
    Arc::new(Schema::new(fields))
}

/// Rows whose text says their number.
fn batch(numbers: impl IntoIterator<Item = i64>) -> RecordBatch {
    let numbers: Int64Array = numbers.into_iter().map(Some).collect();
    let texts: StringArray = numbers.iter().map(|n| n.map(|n| format!("row {n}"))).collect();
    RecordBatch::try_new(schema(), vec![Arc::new(numbers), Arc::new(texts)]).expect("batch")
}

fn stream(batches: Vec<Result<RecordBatch, Error>>) -> BatchStream {
    futures::stream::iter(batches).boxed()
}

async fn insert(source: &dyn Source, batches: Vec<Result<RecordBatch, Error>>) -> Result<u64, Error> {
    writer(source).insert(&name(), stream(batches)).await
}

/// A table of these rows, inserted in batches of `size`.
async fn filled(rows: i64, size: usize) -> Arc<dyn Source> {
    let source = open();
    writer(source.as_ref()).create_table(&name(), schema()).await.expect("created");
    for start in (0..rows).step_by(size) {
        let rows = batch(start..rows.min(start + size as i64));
        insert(source.as_ref(), vec![Ok(rows)]).await.expect("inserted");
    }
    source
}

async fn scan(source: &dyn Source) -> Scan {
    Scan::new("memory", name(), &source.table(&name()).await.expect("asked").expect("there"))
}

async fn splits(source: &dyn Source, scan: &Scan, wanted: usize) -> Splits {
    source.splits(scan, wanted).await.expect("splits")
}

fn context() -> ReadContext {
    ReadContext { batch_rows: 8192, counters: Arc::default() }
}

async fn read_split(source: &dyn Source, scan: &Scan, split: &Split) -> Vec<RecordBatch> {
    let rows = source.read(scan, split, context()).await.expect("opens");
    let rows: Vec<_> = rows.try_collect().await.expect("reads");
    assert_eq!(source.resident(scan, split).expect("resident").expect("rows"), rows);
    assert!(rows.iter().all(|batch| batch.schema() == scan.schema() && batch.num_rows() > 0));
    rows
}

async fn read(source: &dyn Source, scan: &Scan, splits: &Splits) -> Vec<RecordBatch> {
    let mut all = Vec::new();
    for split in &splits.splits {
        all.extend(read_split(source, scan, split).await);
    }
    all
}

fn numbers(batches: &[RecordBatch]) -> Vec<i64> {
    batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

fn rows(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

#[tokio::test]
async fn splits_cover_every_row_once_for_any_number_wanted() {
    for (size, batch_rows) in [(0, 1), (1, 1), (3, 3), (53, 7), (53, 53), (20_000, 8192)] {
        let source = filled(size, batch_rows).await;
        let scan = scan(source.as_ref()).await;
        for wanted in 0..=50 {
            let splits = splits(source.as_ref(), &scan, wanted).await;
            assert_eq!(splits.splits.len(), wanted.clamp(1, (size as usize).max(1)), "{size} rows, {wanted} wanted");
            let mut found = Vec::new();
            let mut sizes = Vec::new();
            for split in &splits.splits {
                let batches = read_split(source.as_ref(), &scan, split).await;
                assert_eq!(split.rows, Some(rows(&batches) as u64));
                sizes.push(rows(&batches));
                found.extend(numbers(&batches));
            }
            assert_eq!(found, (0..size).collect::<Vec<_>>(), "{wanted} wanted");
            let spread = sizes.iter().max().expect("splits") - sizes.iter().min().expect("splits");
            assert!(spread <= 1, "{sizes:?}");
        }
    }
}

#[tokio::test]
async fn a_query_reads_the_table_as_it_was_when_it_was_planned() {
    let source = filled(10, 3).await;
    let scan = scan(source.as_ref()).await;
    let splits = splits(source.as_ref(), &scan, 3).await;
    insert(source.as_ref(), vec![Ok(batch([99]))]).await.expect("inserted");
    assert_eq!(numbers(&read(source.as_ref(), &scan, &splits).await), (0..10).collect::<Vec<_>>());
    writer(source.as_ref()).drop_table(&name()).await.expect("dropped");
    assert_eq!(numbers(&read(source.as_ref(), &scan, &splits).await), (0..10).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_beside_a_writer_see_whole_inserts_only() {
    let source = filled(0, 1).await;
    let done = Arc::new(AtomicBool::new(false));
    let (writing, flag) = (Arc::clone(&source), Arc::clone(&done));
    let task = tokio::spawn(async move {
        for n in 1..=500 {
            insert(writing.as_ref(), vec![Ok(batch([n])), Ok(batch([-n]))]).await.expect("inserted");
            tokio::task::yield_now().await;
        }
        flag.store(true, Ordering::SeqCst);
    });
    let (mut seen, mut reads) = (0, 0);
    while !done.load(Ordering::SeqCst) || reads == 0 {
        let scan = scan(source.as_ref()).await;
        let splits = splits(source.as_ref(), &scan, 3).await;
        let found = numbers(&read(source.as_ref(), &scan, &splits).await);
        assert_eq!(found.iter().sum::<i64>(), 0, "half an insert was seen");
        assert!(found.len().is_multiple_of(2) && found.len() >= seen, "rows went away");
        (seen, reads) = (found.len(), reads + 1);
        tokio::task::yield_now().await;
    }
    task.await.expect("wrote");
    assert_eq!(scan(source.as_ref()).await.columns.len(), 2);
    assert_eq!(source.table(&name()).await.expect("asked").expect("there").statistics.rows, Some(1000));
}

#[tokio::test]
async fn a_split_outlives_neither_its_guard_nor_its_process() {
    let source = filled(10, 3).await;
    let scan = scan(source.as_ref()).await;
    let Splits { splits: kept, guard, .. } = splits(source.as_ref(), &scan, 2).await;
    let guard = guard.expect("guard");
    assert_eq!(rows(&read_split(source.as_ref(), &scan, &kept[0]).await), 5);

    // A source of the same name: another process, or the catalog dropped and made anew.
    let other = filled(10, 3).await;
    let _snapshot = splits(other.as_ref(), &scan, 2).await;
    let error = other.resident(&scan, &kept[0]).expect_err("not its snapshot");
    assert_eq!(error.to_string(), "INTERNAL: the rows of table \"memory.main.t\" are not in this process");

    // A stream that was opened holds its rows by itself.
    let open = source.read(&scan, &kept[1], context()).await.expect("opens");
    drop(guard);
    assert_eq!(rows(&open.try_collect::<Vec<_>>().await.expect("reads")), 5);
    let error = source.read(&scan, &kept[0], context()).await.err().expect("gone");
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(source.resident(&scan, &kept[0]).is_err());

    for token in [vec![], vec![0; 23], vec![0; 25]] {
        assert!(source.resident(&scan, &Split { token, ..Split::default() }).is_err());
    }
}

#[tokio::test]
async fn a_table_made_anew_with_other_columns_is_not_read_by_an_old_plan() {
    let source = filled(3, 3).await;
    let scan = scan(source.as_ref()).await;
    writer(source.as_ref()).drop_table(&name()).await.expect("dropped");
    let other = Arc::new(Schema::new(vec![Field::new("n", DataType::Utf8, true)]));
    writer(source.as_ref()).create_table(&name(), other).await.expect("created");
    let error = source.splits(&scan, 1).await.expect_err("changed");
    assert_eq!(error.to_string(), "NOT_FOUND: table \"memory.main.t\" changed while the query was planned");
    assert_eq!(error.retryable(), Retry::Now);
    writer(source.as_ref()).drop_table(&name()).await.expect("dropped");
    let error = source.splits(&scan, 1).await.expect_err("dropped");
    assert_eq!(error.to_string(), "NOT_FOUND: table \"memory.main.t\" does not exist");
}

#[tokio::test]
async fn columns_may_be_reordered_repeated_or_none() {
    let source = filled(20, 7).await;
    let whole = scan(source.as_ref()).await;
    let Absorbed::Exact(with) = source.absorb(&whole, &Op::Columns(vec![1, 0, 1])) else { panic!("refused") };
    let found = read(source.as_ref(), &with, &splits(source.as_ref(), &with, 3).await).await;
    let texts: Vec<_> = found.iter().flat_map(|batch| batch.column(2).as_string::<i32>().iter().flatten()).collect();
    assert_eq!(texts, (0..20).map(|n| format!("row {n}")).collect::<Vec<_>>());
    let none = whole.with_projection(Vec::new());
    let found = read(source.as_ref(), &none, &splits(source.as_ref(), &none, 3).await).await;
    assert_eq!((rows(&found), found[0].num_columns()), (20, 0));
    let filter = Predicate::Compare { column: 0, op: Comparison::Lt, value: Literal::Integer(6) };
    let Absorbed::Exact(filtered) = source.absorb(&none, &Op::Filter(filter)) else { panic!("refused") };
    let found = read(source.as_ref(), &filtered, &splits(source.as_ref(), &filtered, 3).await).await;
    assert_eq!(rows(&found), 6);
}

#[tokio::test]
async fn a_limit_holds_in_each_split_and_after_the_filters() {
    let source = filled(60, 7).await;
    let whole = scan(source.as_ref()).await;
    let odd = Predicate::Compare { column: 0, op: Comparison::GtEq, value: Literal::Integer(15) };
    let Absorbed::Exact(filtered) = source.absorb(&whole, &Op::Filter(odd)) else { panic!("refused") };
    for (limit, expected) in [(0, 0), (1, 3), (10, 25), (u64::MAX, 45)] {
        let Absorbed::Exact(limited) = source.absorb(&filtered, &Op::Limit(limit)) else { panic!("refused") };
        let found = read(source.as_ref(), &limited, &splits(source.as_ref(), &limited, 3).await).await;
        assert_eq!(rows(&found), expected, "limit {limit}");
        assert!(numbers(&found).iter().all(|n| *n >= 15));
    }
}

#[tokio::test]
async fn what_is_counted_is_what_was_read() {
    let source = filled(40_000, 8000).await;
    let whole = scan(source.as_ref()).await;
    let table = source.table(&name()).await.expect("asked").expect("there");
    let bytes = table.statistics.bytes.expect("bytes");
    // Eight bytes a number, four an offset, nine or ten and some a text.
    assert!((40_000 * 20..40_000 * 25).contains(&bytes), "{bytes}");
    let context = context();
    let splits = splits(source.as_ref(), &whole, 16).await;
    assert!(splits.splits.iter().filter_map(|split| split.bytes).sum::<u64>().abs_diff(bytes) < 16);
    for split in &splits.splits {
        let rows = source.read(&whole, split, context.clone()).await.expect("opens");
        rows.try_collect::<Vec<_>>().await.expect("reads");
    }
    assert!(context.counters.bytes().abs_diff(bytes) < bytes / 100, "{} of {bytes}", context.counters.bytes());

    let limited = whole.with_limit(1);
    let context = self::context();
    let rows = source.read(&limited, &splits.splits[0], context.clone()).await.expect("opens");
    assert_eq!(rows.try_collect::<Vec<_>>().await.expect("reads").len(), 1);
    assert!(context.counters.bytes() < 100);
}

#[tokio::test]
async fn a_reader_that_finds_nothing_gives_way_to_other_tasks() {
    let source = filled(300 * 8192, 8192).await;
    let whole = scan(source.as_ref()).await;
    let none = whole.with_filter(Predicate::Compare { column: 0, op: Comparison::Lt, value: Literal::Integer(0) });
    let splits = splits(source.as_ref(), &none, 1).await;
    let mut rows = source.read(&none, &splits.splits[0], context()).await.expect("opens");
    let task = tokio::spawn(async move { futures::poll!(rows.next()).is_pending() });
    assert!(task.await.expect("polled"), "300 batches were filtered without a pause");
}

#[tokio::test]
async fn many_small_inserts_leave_few_batches() {
    let source = filled(5000, 1).await;
    let scan = scan(source.as_ref()).await;
    let splits = splits(source.as_ref(), &scan, 1).await;
    let found = read(source.as_ref(), &scan, &splits).await;
    assert_eq!(numbers(&found), (0..5000).collect::<Vec<_>>());
    assert!(found.len() < 20, "{} batches", found.len());
}

#[tokio::test]
async fn an_insert_that_fails_half_way_leaves_nothing() {
    let source = filled(10, 3).await;
    let null = |column: usize| {
        let mut columns: Vec<Arc<dyn Array>> = batch([1, 2]).columns().to_vec();
        columns[column] = arrow::array::new_null_array(columns[column].data_type(), 2);
        let fields = vec![Field::new("n", DataType::Int64, true), Field::new("s", DataType::Utf8, true)];
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("batch")
    };
    let other = RecordBatch::try_from_iter([
        ("n", Arc::new(StringArray::from(vec!["1"])) as Arc<dyn Array>),
        ("s", Arc::new(StringArray::from(vec!["1"])) as _),
    ])
    .expect("batch");
    let narrow = batch([1]).project(&[0]).expect("batch");
    let failures = [
        (Err(Error::unavailable("gone")), "UNAVAILABLE: gone"),
        (Ok(null(1)), "INVALID: column \"s\" of table \"memory.main.t\" cannot be NULL"),
        (Ok(other), "INVALID: column \"n\" of table \"memory.main.t\" is Int64, the value is Utf8"),
        (Ok(narrow), "INVALID: table \"memory.main.t\" has 2 columns, 1 were given"),
    ];
    for (failure, text) in failures {
        let error = insert(source.as_ref(), vec![Ok(batch([1, 2])), failure]).await.expect_err("fails");
        assert_eq!(error.to_string(), text);
        assert_eq!(source.table(&name()).await.expect("asked").expect("there").statistics.rows, Some(10));
    }
    assert_eq!(insert(source.as_ref(), vec![Ok(batch([5])), Ok(null(0))]).await.expect("NULL may be there"), 3);
    assert_eq!(insert(source.as_ref(), vec![]).await.expect("nothing"), 0);
    assert_eq!(insert(source.as_ref(), vec![Ok(batch([]))]).await.expect("nothing"), 0);
    assert_eq!(source.table(&name()).await.expect("asked").expect("there").statistics.rows, Some(13));
}

#[tokio::test]
async fn rows_on_their_way_into_a_dropped_table_do_not_land_in_its_successor() {
    let source = filled(3, 3).await;
    let anew = Arc::clone(&source);
    let rows = futures::stream::once(async move {
        writer(anew.as_ref()).drop_table(&name()).await?;
        writer(anew.as_ref()).create_table(&name(), schema()).await?;
        Ok(batch([1]))
    });
    let error = writer(source.as_ref()).insert(&name(), rows.boxed()).await.expect_err("dropped");
    assert_eq!(error.to_string(), "NOT_FOUND: table \"memory.main.t\" does not exist");
    assert!(error.detail_text().is_some_and(|text| text.contains("none of them is stored")));
    assert_eq!(source.table(&name()).await.expect("asked").expect("there").statistics.rows, Some(0));
}

#[tokio::test]
async fn a_table_may_be_filled_from_itself() {
    let source = filled(10, 3).await;
    let scan = scan(source.as_ref()).await;
    let splits = splits(source.as_ref(), &scan, 1).await;
    let rows = source.read(&scan, &splits.splits[0], context()).await.expect("opens");
    assert_eq!(writer(source.as_ref()).insert(&name(), rows).await.expect("inserted"), 10);
    assert_eq!(source.table(&name()).await.expect("asked").expect("there").statistics.rows, Some(20));
}

#[tokio::test]
async fn a_table_without_columns_counts_its_rows() {
    let source = open();
    let empty = Arc::new(Schema::empty());
    writer(source.as_ref()).create_table(&name(), Arc::clone(&empty)).await.expect("created");
    let options = RecordBatchOptions::new().with_row_count(Some(7));
    let rows = RecordBatch::try_new_with_options(empty, vec![], &options).expect("batch");
    assert_eq!(insert(source.as_ref(), vec![Ok(rows)]).await.expect("inserted"), 7);
    let scan = scan(source.as_ref()).await;
    let found = read(source.as_ref(), &scan, &splits(source.as_ref(), &scan, 2).await).await;
    assert_eq!(self::rows(&found), 7);
}

#[tokio::test]
async fn schemas_and_tables_come_and_go() {
    let source = open();
    let writer = writer(source.as_ref());
    let error = |result: Result<(), Error>| result.expect_err("refused").to_string();
    let missing = TableName::new("shop", "t");
    assert_eq!(
        error(writer.create_table(&missing, schema()).await),
        "NOT_FOUND: schema \"memory.shop\" does not exist"
    );
    writer.create_schema("shop").await.expect("created");
    assert_eq!(error(writer.create_schema("shop").await), "ALREADY_EXISTS: schema \"memory.shop\" already exists");
    writer.create_table(&missing, schema()).await.expect("created");
    assert_eq!(
        error(writer.create_table(&missing, schema()).await),
        "ALREADY_EXISTS: table \"memory.shop.t\" already exists"
    );
    let names: Vec<_> = source.list().await.expect("lists").into_iter().map(|s| (s.name, s.tables.len())).collect();
    assert_eq!(names, [("main".to_owned(), 0), ("shop".to_owned(), 1)]);
    assert_eq!(error(writer.drop_schema("shop").await), "INVALID: schema \"memory.shop\" is not empty");
    writer.drop_table(&missing).await.expect("dropped");
    assert_eq!(error(writer.drop_table(&missing).await), "NOT_FOUND: table \"memory.shop.t\" does not exist");
    writer.drop_schema("shop").await.expect("dropped");
    assert_eq!(error(writer.drop_schema("shop").await), "NOT_FOUND: schema \"memory.shop\" does not exist");
    assert_eq!(error(writer.drop_schema("main").await), "INVALID: schema \"memory.main\" cannot be dropped");
    assert!(source.table(&missing).await.expect("asked").is_none());
    let twice = Schema::new(vec![Field::new("a", DataType::Int64, true), Field::new("a", DataType::Utf8, true)]);
    assert_eq!(
        error(writer.create_table(&name(), Arc::new(twice)).await),
        "INVALID: table \"memory.main.t\" cannot have two columns \"a\""
    );
    assert!(writer.insert(&missing, stream(vec![])).await.is_err());
}

#[tokio::test]
async fn the_suite_of_all_connectors_passes() {
    use connector_spi::conformance::{self, Subject};
    let source = open();
    let rows = conformance::rows(|_| true).expect("rows");
    conformance::store(source.as_ref(), &name(), &rows).await.expect("stored");
    let subject = Subject::of(source.as_ref(), "memory", &name()).await.expect("read");
    conformance::stored(&subject, &rows).expect("the rows that were written");
    assert!(conformance::splits(&subject).await.expect("splits") >= 50);
    let filters = conformance::filters(&subject).await.expect("filters");
    let trees = conformance::combinations(&subject, 42, 500).await.expect("combinations");
    let limits = conformance::limits(&subject).await.expect("limits");
    assert!(filters.exact > 2500 && filters.empty < filters.exact / 3, "{filters:?}");
    assert!(trees.exact + trees.inexact > 400, "{trees:?}");
    assert_eq!((limits.exact, limits.refused), (12, 0));
    // The engine is as near to these rows as the source is.
    assert_eq!(conformance::tops(&subject).await.expect("tops").exact, 0);
    assert_eq!(conformance::groups(&subject).await.expect("groups").exact, 0);
}

/// A source that says more than it does.
#[derive(Debug)]
struct Liar {
    honest: Arc<dyn Source>,
    lie: &'static str,
}

#[async_trait::async_trait]
impl Source for Liar {
    async fn list(&self) -> Result<Vec<connector_spi::SchemaEntry>, Error> {
        self.honest.list().await
    }

    async fn table(&self, name: &TableName) -> Result<Option<connector_spi::Table>, Error> {
        self.honest.table(name).await
    }

    fn absorb(&self, scan: &Scan, op: &Op) -> Absorbed {
        match op {
            Op::Top { order, limit } => Absorbed::Exact(scan.with_top(order.clone(), *limit)),
            Op::Filter(_) if self.lie == "silence" => {
                Absorbed::No(connector_spi::Refusal::new(connector_spi::RefusalCode::Source, ""))
            }
            other => self.honest.absorb(scan, other),
        }
    }

    async fn splits(&self, scan: &Scan, wanted: usize) -> Result<Splits, Error> {
        let mut splits = self.honest.splits(scan, wanted).await?;
        if self.lie == "split" && splits.splits.len() > 7 {
            splits.splits.pop();
        }
        Ok(splits)
    }

    async fn read(&self, scan: &Scan, split: &Split, context: ReadContext) -> Result<BatchStream, Error> {
        let scan = match self.lie {
            "filter" => Scan { filters: Vec::new(), ..scan.clone() },
            "limit" => Scan { limit: scan.limit.map(|limit| limit.saturating_sub(1)), ..scan.clone() },
            _ => scan.clone(),
        };
        self.honest.read(&scan, split, context).await
    }
}

#[tokio::test]
async fn the_suite_finds_whoever_says_more_than_it_does() {
    use connector_spi::conformance::{self, Subject};
    let honest = filled(200, 50).await;
    for lie in ["filter", "limit", "split", "silence", "order"] {
        let liar = Liar { honest: Arc::clone(&honest), lie };
        let subject = Subject::of(&liar, "memory", &name()).await.expect("read");
        let found = [
            conformance::filters(&subject).await.err(),
            conformance::limits(&subject).await.err(),
            conformance::splits(&subject).await.err(),
            conformance::tops(&subject).await.err(),
        ];
        let at = found.iter().position(Option::is_some);
        let wanted = match lie {
            "filter" | "silence" => 0,
            "limit" => 1,
            "split" => 2,
            _ => 3,
        };
        assert_eq!(at, Some(wanted), "{lie}: {found:?}");
    }
}
