//! Writing: rows, tables, changes; and what fails.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use bson::doc;
use connector_spi::{
    Absorbed, Assignment, Comparison, ErrorKind, Literal, Op, Predicate, Result, Source, TableName, Write,
};
use futures::StreamExt;

use crate::fixture::{Fixture, all, fixture, open, read, scan};

async fn insert(source: &dyn Source, name: &TableName, columns: Vec<(&str, ArrayRef)>) -> Result<u64> {
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
            .expect("a batch");
    let rows = futures::stream::iter([Ok(batch)]).boxed();
    writer(source).insert(name, rows).await
}

fn writer(source: &dyn Source) -> &dyn Write {
    source.writer().expect("a writer")
}

fn numbers(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn writable(fixture: &Fixture) -> Arc<dyn Source> {
    open(&fixture.url, &[("writable", true.into())])
}

#[tokio::test]
async fn a_failed_row_ends_the_insert_and_says_what_is_stored() {
    let Some(fixture) = fixture("insert").await else { return };
    let source = writable(&fixture);
    fixture.fill("t", vec![doc! { "_id": 3_i64, "a": "x" }]).await;
    let name = fixture.name("t");
    let error =
        insert(&*source, &name, vec![("_id", numbers(&[1, 2, 3, 4])), ("a", texts(&["a", "b", "c", "d"]))]).await;
    let error = error.expect_err("a duplicate");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.detail_text().is_some_and(|detail| detail.contains("2 rows before it were stored")), "{error:?}");
    let rows = read(&*source, &scan(&*source, name.clone()).await).await.expect("read");
    assert_eq!(all(&rows, "_id").len(), 3);
    let read_only = insert(&*fixture.source, &name, vec![("_id", numbers(&[9])), ("a", texts(&["z"]))]).await;
    assert_eq!(read_only.expect_err("read only").kind(), ErrorKind::PermissionDenied);
    let missing = insert(&*source, &fixture.name("none"), vec![("_id", numbers(&[9]))]).await;
    assert_eq!(missing.expect_err("no table").kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn what_milliseconds_do_not_hold_is_refused_and_nothing_is_rounded() {
    let Some(fixture) = fixture("micros").await else { return };
    let source = writable(&fixture);
    let name = fixture.name("t");
    let stamps = |values: Vec<i64>| Arc::new(TimestampMicrosecondArray::from(values)) as ArrayRef;
    let batch = RecordBatch::try_from_iter([("at", stamps(vec![1_000]))]).expect("a batch");
    writer(&*source).create_table(&name, batch.schema()).await.expect("created");
    assert_eq!(insert(&*source, &name, vec![("at", stamps(vec![-1_000, 2_000]))]).await.expect("stored"), 2);
    let error = insert(&*source, &name, vec![("at", stamps(vec![1_500]))]).await.expect_err("too fine");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let rows = read(&*source, &scan(&*source, name).await).await.expect("read");
    assert_eq!(all(&rows, "at"), ["1969-12-31T23:59:59.999", "1970-01-01T00:00:00.002"]);
}

#[tokio::test]
async fn tables_are_created_once_and_dropped_once() {
    let Some(fixture) = fixture("tables").await else { return };
    let source = writable(&fixture);
    let name = fixture.name("t");
    let batch = RecordBatch::try_from_iter([("a", numbers(&[1])), ("b", texts(&["x"]))]).expect("a batch");
    writer(&*source).create_table(&name, batch.schema()).await.expect("created");
    let again = writer(&*source).create_table(&name, batch.schema()).await.expect_err("there already");
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    let columns: Vec<String> =
        scan(&*source, name.clone()).await.columns.into_iter().map(|column| column.name).collect();
    assert_eq!(columns, ["a", "b"]);
    // Its validator keeps others from storing what the columns do not hold.
    let wrong = fixture.database.collection::<bson::Document>("t").insert_one(doc! { "a": "text" }).await;
    assert!(wrong.is_err());
    writer(&*source).drop_table(&name).await.expect("dropped");
    assert_eq!(writer(&*source).drop_table(&name).await.expect_err("gone").kind(), ErrorKind::NotFound);
    assert!(source.table(&name).await.expect("asked").is_none());
}

#[tokio::test]
async fn all_rows_are_changed_or_none() {
    let Some(fixture) = fixture("change").await else { return };
    let source = writable(&fixture);
    fixture.fill("t", (0..20_i64).map(|n| doc! { "_id": n, "a": n % 5, "s": "x" }).collect()).await;
    let everything = scan(&*source, fixture.name("t")).await;
    let place = |name: &str| everything.columns.iter().position(|column| column.name == name).expect("a column");
    let is = |value| Predicate::Compare { column: place("a"), op: Comparison::Eq, value: Literal::Integer(value) };
    let only = |value| match source.absorb(&everything, &Op::Filter(is(value))) {
        Absorbed::Exact(scan) => scan,
        other => panic!("{other:?}"),
    };
    let writer = writer(&*source);
    assert_eq!(writer.delete(&only(1)).await.expect("deleted"), 4);
    let set = [Assignment { column: place("s"), value: Some(Literal::Text("y".into())) }];
    assert_eq!(writer.update(&only(2), &set).await.expect("updated"), 4);
    assert_eq!(writer.update(&only(9), &set).await.expect("none"), 0);
    let rows = read(&*source, &everything).await.expect("read");
    assert_eq!((rows.num_rows(), all(&rows, "s").iter().filter(|text| *text == "y").count()), (16, 4));
    // A collection that compares texts by the rules of a language is asked by bytes, for changes too.
    let options = bson::doc! { "create": "c", "collation": { "locale": "en", "strength": 2 } };
    fixture.database.run_command(options).await.expect("created");
    fixture.fill("c", vec![doc! { "_id": 1_i64, "s": "a" }, doc! { "_id": 2_i64, "s": "A" }]).await;
    let letters = scan(&*source, fixture.name("c")).await;
    let s = letters.columns.iter().position(|column| column.name == "s").expect("a column");
    let small = Predicate::Compare { column: s, op: Comparison::Eq, value: Literal::Text("a".into()) };
    let Absorbed::Exact(small) = source.absorb(&letters, &Op::Filter(small)) else { panic!("refused") };
    assert_eq!(read(&*source, &small).await.expect("read").num_rows(), 1);
    assert_eq!(writer.delete(&small).await.expect("deleted"), 1);
    assert_eq!(all(&read(&*source, &letters).await.expect("read"), "s"), ["A"]);
    // An _id cannot be changed: none of the rows is.
    let id = [Assignment { column: place("_id"), value: Some(Literal::Integer(77)) }];
    assert!(writer.update(&only(3), &id).await.is_err());
    assert_eq!(read(&*source, &everything).await.expect("read").num_rows(), 16);
    let read_only = fixture.source.writer().expect("a writer").delete(&only(3)).await;
    assert_eq!(read_only.expect_err("read only").kind(), ErrorKind::PermissionDenied);
}
