//! The connector against the contract: snapshots, splits, filters, all-or-nothing inserts.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use connector_memory::Memory;
use connector_spi::{
    Absorbed, Comparison, Connector, Error, Literal, Op, Options, Predicate, ReadContext, Scan, Source, Splits,
    TableName,
};
use futures::{StreamExt, TryStreamExt};

fn name() -> TableName {
    TableName::new("main", "t")
}

fn batch(values: &[(Option<i64>, Option<&str>)]) -> RecordBatch {
    let numbers: Int64Array = values.iter().map(|(n, _)| *n).collect();
    let texts: StringArray = values.iter().map(|(_, t)| *t).collect();
    RecordBatch::try_from_iter_with_nullable([
        ("n", Arc::new(numbers) as _, true),
        ("s", Arc::new(texts) as Arc<dyn Array>, true),
    ])
    .expect("batch")
}

async fn insert(source: &dyn Source, batches: Vec<Result<RecordBatch, Error>>) -> Result<u64, Error> {
    source.writer().expect("writer").insert(&name(), futures::stream::iter(batches).boxed()).await
}

async fn filled(rows: i64) -> Arc<dyn Source> {
    let source = Memory.open("memory", &Options::check(&[], BTreeMap::new()).expect("options")).expect("opens");
    let schema = Schema::new(vec![Field::new("n", DataType::Int64, true), Field::new("s", DataType::Utf8, true)]);
    source.writer().expect("writer").create_table(&name(), Arc::new(schema)).await.expect("created");
    let texts = ["a", "b%", "", "ä\n"];
    for start in (0..rows).step_by(7) {
        let values: Vec<_> = (start..rows.min(start + 7))
            .map(|n| ((n % 5 != 0).then_some(n), (n % 3 != 0).then(|| texts[(n % 4) as usize])))
            .collect();
        insert(source.as_ref(), vec![Ok(batch(&values))]).await.expect("inserted");
    }
    source
}

async fn scan(source: &dyn Source) -> Scan {
    Scan::new("memory", name(), &source.table(&name()).await.expect("asked").expect("there"))
}

async fn read(source: &dyn Source, scan: &Scan, splits: &Splits) -> Vec<RecordBatch> {
    let mut all = Vec::new();
    for split in &splits.splits {
        let context = ReadContext { batch_rows: 8192, counters: Arc::default() };
        let rows: Vec<_> = source.read(scan, split, context).await.expect("opens").try_collect().await.expect("reads");
        assert_eq!(source.resident(scan, split).expect("resident").expect("rows"), rows);
        all.extend(rows);
    }
    all
}

fn numbers(batches: &[RecordBatch]) -> Vec<Option<i64>> {
    let column = |batch: &RecordBatch| {
        batch.column(0).as_any().downcast_ref::<Int64Array>().expect("numbers").iter().collect::<Vec<_>>()
    };
    batches.iter().flat_map(column).collect()
}

#[tokio::test]
async fn splits_cover_every_row_once_for_any_number_wanted() {
    let source = filled(53).await;
    let scan = scan(source.as_ref()).await;
    let whole = numbers(&read(source.as_ref(), &scan, &source.splits(&scan, 1).await.expect("splits")).await);
    assert_eq!(whole.len(), 53);
    for wanted in 0..60 {
        let splits = source.splits(&scan, wanted).await.expect("splits");
        assert!(splits.splits.len() <= wanted.max(1));
        assert_eq!(numbers(&read(source.as_ref(), &scan, &splits).await), whole, "{wanted} splits");
    }
}

#[tokio::test]
async fn a_query_does_not_see_rows_inserted_after_it_was_planned() {
    let source = filled(10).await;
    let scan = scan(source.as_ref()).await;
    let splits = source.splits(&scan, 3).await.expect("splits");
    insert(source.as_ref(), vec![Ok(batch(&[(Some(99), None)]))]).await.expect("inserted");
    assert_eq!(numbers(&read(source.as_ref(), &scan, &splits).await).len(), 10);
    source.writer().expect("writer").drop_table(&name()).await.expect("dropped");
    assert_eq!(numbers(&read(source.as_ref(), &scan, &splits).await).len(), 10);
}

#[tokio::test]
async fn an_insert_that_fails_half_way_leaves_nothing() {
    let source = filled(10).await;
    let failed = insert(source.as_ref(), vec![Ok(batch(&[(Some(1), None)])), Err(Error::unavailable("gone"))]).await;
    assert_eq!(failed.expect_err("fails").message(), "gone");
    let table = source.table(&name()).await.expect("asked").expect("there");
    assert_eq!(table.statistics.rows, Some(10));
}

#[tokio::test]
async fn filters_keep_sqls_rules_of_null() {
    let source = filled(40).await;
    let scan = scan(source.as_ref()).await;
    let value = |n| Literal::Integer(n);
    let compare = |op, n| Predicate::Compare { column: 0, op, value: value(n) };
    let is_in = |values: Vec<i64>, negated| Predicate::In {
        column: 0,
        values: values.into_iter().map(value).collect(),
        negated,
    };
    type Rule = Box<dyn Fn(Option<i64>) -> Option<bool>>;
    let cases: Vec<(Predicate, Rule)> = vec![
        (compare(Comparison::NotEq, 7), Box::new(|n| n.map(|n| n != 7))),
        (compare(Comparison::GtEq, 20), Box::new(|n| n.map(|n| n >= 20))),
        (is_in(vec![1, 2, 38], false), Box::new(|n| n.map(|n| [1, 2, 38].contains(&n)))),
        (is_in(vec![1, 2, 38], true), Box::new(|n| n.map(|n| ![1, 2, 38].contains(&n)))),
        (Predicate::Not(Box::new(compare(Comparison::Lt, 9))), Box::new(|n| n.map(|n| n >= 9))),
        (Predicate::Null { column: 0, negated: false }, Box::new(|n| Some(n.is_none()))),
        (
            Predicate::Or(vec![compare(Comparison::Eq, 3), Predicate::Null { column: 0, negated: false }]),
            Box::new(|n| Some(n.is_none_or(|n| n == 3))),
        ),
    ];
    let all = numbers(&read(source.as_ref(), &scan, &source.splits(&scan, 1).await.expect("splits")).await);
    for (predicate, rule) in cases {
        let Absorbed::Exact(with) = source.absorb(&scan, &Op::Filter(predicate.clone())) else {
            panic!("refused {predicate:?}")
        };
        let found = numbers(&read(source.as_ref(), &with, &source.splits(&with, 4).await.expect("splits")).await);
        let expected: Vec<_> = all.iter().copied().filter(|n| rule(*n) == Some(true)).collect();
        assert_eq!(found, expected, "{predicate:?}");
        assert!(!expected.is_empty());
    }
}

#[tokio::test]
async fn what_cannot_be_proven_is_refused() {
    let source = filled(3).await;
    let scan = scan(source.as_ref()).await;
    let other_type = Predicate::Compare { column: 0, op: Comparison::Eq, value: Literal::Text("1".into()) };
    let folded =
        Predicate::Like { column: 1, pattern: "A%".into(), escape: '\\', negated: false, case_insensitive: true };
    for predicate in [other_type, folded] {
        assert!(matches!(source.absorb(&scan, &Op::Filter(predicate)), Absorbed::No(_)));
    }
}

#[tokio::test]
async fn an_empty_projection_keeps_the_number_of_rows_and_a_limit_holds_per_split() {
    let source = filled(20).await;
    let scan = scan(source.as_ref()).await.with_projection(Vec::new());
    let rows = read(source.as_ref(), &scan, &source.splits(&scan, 3).await.expect("splits")).await;
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 20);
    let scan = scan.with_limit(2);
    let rows = read(source.as_ref(), &scan, &source.splits(&scan, 3).await.expect("splits")).await;
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 6);
}
