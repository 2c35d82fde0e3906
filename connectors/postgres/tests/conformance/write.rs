//! Writing: what is read from one table arrives unchanged in another, whole or not at all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Int32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use connector_spi::{Assignment, Comparison, Error, ErrorKind, Literal, Predicate, Source, TableName};
use futures::{StreamExt, stream};

use crate::fixture::{Fixture, fixture, open, scan};

fn writable(fixture: &Fixture) -> Arc<dyn Source> {
    open(&fixture.url, &[("writable", "true")])
}

async fn number(fixture: &Fixture, sql: &str) -> i64 {
    fixture.admin.query_typed_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

#[tokio::test]
async fn every_type_that_is_read_is_written_as_it_was() {
    let Some(fixture) = fixture("written").await else { return };
    fixture
        .run(
            "CREATE TYPE conformance_written.mood AS ENUM ('sad', 'ok');
             CREATE TABLE t (id int4, a bool, b int2, c int8, d oid, e float4, f float8, g numeric(38,10), h numeric(5,0), i text, j varchar(9),
               k char(4), l bytea, m date, n time, o timestamp, p timestamptz, q uuid, r jsonb, s mood, u numeric, v inet, w int4range);
             INSERT INTO t VALUES
               (1, true, -32768, -9223372036854775808, 4294967295, 'NaN', '-0', 9999999999999999999999999999.9999999999, -99999, E'\\'\\\\ \\n é 😀', 'abc', 'ab',
                '\\x00ff27', '0001-01-01', '23:59:59.999999', '9999-12-31 23:59:59.999999', '1969-12-31 23:59:59.999999+00',
                '123e4567-e89b-12d3-a456-426614174000', '{\"a\": [1, null]}', 'ok', 1e50, '10.0.0.1', '[1,5)'),
               (2, false, 0, 0, 0, '-Infinity', 1e300, -0.0000000001, 0, '', '', '', '', '9999-12-31', '00:00:00', '0001-01-01', '2024-02-29 12:00:00+02',
                '00000000-0000-0000-0000-000000000000', 'null', 'sad', 'NaN', '::1', 'empty'),
               (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
             CREATE TABLE copied (LIKE t)",
        )
        .await;
    let source = writable(&fixture);
    let rows = crate::fixture::read(&*source, &scan(&*source, fixture.name("t")).await).await.expect("rows");
    let writer = source.writer().expect("a writer");
    let written = writer.insert(&fixture.name("copied"), stream::iter([Ok(rows)]).boxed()).await.expect("written");
    assert_eq!(written, 3);
    let differences = "SELECT count(*) FROM (SELECT x::text FROM t x EXCEPT ALL SELECT x::text FROM copied x) d";
    assert_eq!(number(&fixture, differences).await, 0);
    assert_eq!(number(&fixture, "SELECT count(*) FROM copied").await, 3);
}

fn numbers(values: Vec<Option<i32>>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([("id", Arc::new(Int32Array::from(values)) as _, true)]).expect("a batch")
}

#[tokio::test]
async fn a_write_that_fails_or_is_given_up_leaves_nothing() {
    let Some(fixture) = fixture("nothing").await else { return };
    fixture.run("CREATE TABLE t (id int4 NOT NULL CHECK (id < 1000))").await;
    let source = writable(&fixture);
    let writer = source.writer().expect("a writer");
    let good = || Ok(numbers((0..1000).map(Some).collect()));
    let failing = [
        (Err(Error::invalid("the query failed")), ErrorKind::Invalid),
        (Ok(numbers(vec![None])), ErrorKind::Invalid),
        (Ok(numbers(vec![Some(1000)])), ErrorKind::Invalid),
    ];
    for (last, kind) in failing {
        let rows = stream::iter([good(), good(), last]).boxed();
        let error = writer.insert(&fixture.name("t"), rows).await.expect_err("refused");
        assert_eq!(error.kind(), kind, "{error:?}");
    }
    let endless = stream::iter((0..3).map(move |_| good())).chain(stream::pending()).boxed();
    let name = fixture.name("t");
    assert!(tokio::time::timeout(Duration::from_millis(500), writer.insert(&name, endless)).await.is_err());
    let start = Instant::now();
    let open = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY %conformance_nothing%' AND pid <> pg_backend_pid()";
    while number(&fixture, open).await > 0 {
        assert!(start.elapsed() < Duration::from_secs(5), "the write goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(number(&fixture, "SELECT count(*) FROM t").await, 0);
    assert_eq!(writer.insert(&fixture.name("t"), stream::iter([good()]).boxed()).await.expect("written"), 1000);
}

#[tokio::test]
async fn tables_and_schemas_come_and_go() {
    let Some(fixture) = fixture("made").await else { return };
    fixture.run("DROP SCHEMA IF EXISTS conformance_made_more CASCADE").await;
    let source = writable(&fixture);
    let writer = source.writer().expect("a writer");
    let types = [
        DataType::Boolean,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::Float32,
        DataType::Float64,
        DataType::Decimal128(12, 2),
        DataType::Utf8,
        DataType::Binary,
        DataType::Date32,
        DataType::Time64(TimeUnit::Microsecond),
        DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
    ];
    let field = |(at, data_type): (usize, &DataType)| Field::new(format!("c\"{at}"), data_type.clone(), at > 0);
    let schema = Arc::new(Schema::new(types.iter().enumerate().map(field).collect::<Vec<_>>()));
    let name = TableName::new("conformance_made_more", "a \"b\"; DROP TABLE x");
    writer.create_schema(&name.schema).await.expect("made");
    assert_eq!(writer.create_schema(&name.schema).await.expect_err("there").kind(), ErrorKind::AlreadyExists);
    writer.create_table(&name, Arc::clone(&schema)).await.expect("made");
    assert_eq!(
        writer.create_table(&name, Arc::clone(&schema)).await.expect_err("there").kind(),
        ErrorKind::AlreadyExists
    );
    let table = source.table(&name).await.expect("described").expect("there");
    assert_eq!(table.schema(), schema);
    assert_eq!(writer.drop_schema(&name.schema).await.expect_err("not empty").kind(), ErrorKind::Invalid);
    writer.drop_table(&name).await.expect("dropped");
    assert_eq!(writer.drop_table(&name).await.expect_err("gone").kind(), ErrorKind::NotFound);
    writer.drop_schema(&name.schema).await.expect("dropped");
    assert_eq!(writer.drop_schema(&name.schema).await.expect_err("gone").kind(), ErrorKind::NotFound);
    assert_eq!(writer.create_table(&name, schema).await.expect_err("no schema").kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_catalog_is_read_only_unless_it_says_otherwise() {
    let Some(fixture) = fixture("locked").await else { return };
    fixture.run("CREATE TABLE t (id int4)").await;
    let writer = fixture.source.writer().expect("a writer");
    for refused in [
        writer.insert(&fixture.name("t"), stream::iter([Ok(numbers(vec![Some(1)]))]).boxed()).await.map(drop),
        writer.drop_table(&fixture.name("t")).await,
        writer.create_schema("x").await,
        writer.delete(&scan(&*fixture.source, fixture.name("t")).await).await.map(drop),
        writer.update(&scan(&*fixture.source, fixture.name("t")).await, &[]).await.map(drop),
    ] {
        let error = refused.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
        assert_eq!(error.hint_text(), Some("Its option \"writable\" allows writing."));
    }
}

#[tokio::test]
async fn rows_are_changed_and_removed_all_of_them_or_none() {
    let Some(fixture) = fixture("changed_rows").await else { return };
    fixture
        .run(
            "CREATE TABLE t AS SELECT i AS id, i % 3 AS kind, 'x' || i AS \"it's\", NULL::date AS day FROM generate_series(1, 90) i;
             ALTER TABLE t ADD CHECK (id < 1000 AND kind < 10)",
        )
        .await;
    let source = writable(&fixture);
    let writer = source.writer().expect("a writer");
    let all = scan(&*source, fixture.name("t")).await;
    let of_kind = |kind| Predicate::Compare { column: 1, op: Comparison::Eq, value: Literal::Integer(kind) };
    let set = [
        Assignment { column: 2, value: Some(Literal::Text("it's; DROP TABLE t; --".into())) },
        Assignment { column: 3, value: Some(Literal::Date(0)) },
    ];
    assert_eq!(writer.update(&all.with_filter(of_kind(1)), &set).await.expect("updated"), 30);
    let changed =
        "SELECT count(*) FROM t WHERE kind = 1 AND \"it's\" = 'it''s; DROP TABLE t; --' AND day = '1970-01-01'";
    assert_eq!(number(&fixture, changed).await, 30);
    assert_eq!(number(&fixture, "SELECT count(*) FROM t WHERE day IS NULL").await, 60);
    let wrong = [Assignment { column: 1, value: Some(Literal::Integer(10)) }];
    let error = writer.update(&all, &wrong).await.expect_err("a constraint");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert_eq!(number(&fixture, "SELECT count(*) FROM t WHERE kind = 10").await, 0);
    let other = [Assignment { column: 0, value: Some(Literal::Text("one".into())) }];
    assert_eq!(writer.update(&all, &other).await.expect_err("a type").kind(), ErrorKind::Unsupported);
    assert_eq!(writer.delete(&all.with_filter(of_kind(7))).await.expect("deleted"), 0);
    assert_eq!(writer.delete(&all.with_filter(of_kind(2))).await.expect("deleted"), 30);
    let limited = all.with_limit(1);
    assert_eq!(writer.delete(&limited).await.expect_err("a limit").kind(), ErrorKind::Unsupported);
    let nothing = [Assignment { column: 1, value: None }];
    assert_eq!(writer.update(&all, &nothing).await.expect("updated"), 60);
    assert_eq!(number(&fixture, "SELECT count(*) FROM t WHERE kind IS NULL").await, 60);
    assert_eq!(writer.delete(&all).await.expect("deleted"), 60);
}
