//! Names, descriptions, statistics, batches.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use connector_spi::{Absorbed, Op, Table, TableKind};
use futures::TryStreamExt;

use crate::fixture::{connect, context, database, fixture, open, read, scan};

#[tokio::test]
async fn every_kind_of_table_is_listed_and_read() {
    let Some(fixture) = fixture("listing").await else { return };
    fixture
        .run(
            "CREATE TABLE plain AS SELECT i AS id FROM generate_series(1, 5) i;
             CREATE VIEW seen AS SELECT id FROM plain WHERE id > 1;
             CREATE MATERIALIZED VIEW kept AS SELECT id FROM plain WHERE id > 2;
             CREATE TABLE cut (id int4 NOT NULL) PARTITION BY RANGE (id);
             CREATE TABLE cut_1 PARTITION OF cut FOR VALUES FROM (0) TO (3);
             CREATE TABLE cut_2 PARTITION OF cut FOR VALUES FROM (3) TO (9);
             INSERT INTO cut SELECT id FROM plain;
             CREATE TABLE nothing ();
             INSERT INTO nothing DEFAULT VALUES;
             CREATE INDEX an_index ON plain (id); CREATE SEQUENCE a_sequence",
        )
        .await;
    let schemas = fixture.source.list().await.expect("a list");
    assert!(schemas.is_sorted_by_key(|schema| schema.name.clone()));
    assert!(!schemas.iter().any(|schema| schema.name.starts_with("pg_") || schema.name == "information_schema"));
    let schema = schemas.iter().find(|schema| schema.name == fixture.schema).expect("the schema");
    let found: Vec<(&str, TableKind)> = schema.tables.iter().map(|table| (table.name.as_str(), table.kind)).collect();
    use TableKind::{Table, View};
    assert_eq!(found, [("cut", Table), ("kept", View), ("nothing", Table), ("plain", Table), ("seen", View)]);
    for (table, ids) in [("plain", 1..=5), ("seen", 2..=5), ("kept", 3..=5), ("cut", 1..=5), ("cut_1", 1..=2)] {
        assert_eq!(fixture.ids(&fixture.scan(table).await).await, ids.collect::<Vec<_>>(), "{table}");
    }
    let nothing = fixture.scan("nothing").await;
    assert_eq!((nothing.columns.len(), fixture.read(&nothing).await.expect("rows").num_rows()), (0, 1));
    for missing in ["plain2", "an_index", "a_sequence", "PLAIN", "", "a\0b"] {
        assert!(fixture.source.table(&fixture.name(missing)).await.expect("an answer").is_none(), "{missing:?}");
    }
}

#[tokio::test]
async fn tables_asked_for_together_are_described_as_each_alone() {
    let Some(fixture) = fixture("together").await else { return };
    fixture
        .run(
            "CREATE TABLE plain (id int8 PRIMARY KEY, gone int4, t varchar(5) NOT NULL); ALTER TABLE plain DROP COLUMN gone;
             INSERT INTO plain SELECT i, i % 3 FROM generate_series(1, 50) i; CREATE TABLE nothing ();
             CREATE DOMAIN small AS numeric(5, 2); CREATE DOMAIN smaller AS small;
             CREATE TABLE \"with domains\" (a smaller, b small[], c smaller, d text COLLATE \"C\");
             CREATE TABLE cut (id int4 NOT NULL) PARTITION BY RANGE (id); CREATE TABLE cut_1 PARTITION OF cut FOR VALUES FROM (0) TO (9);
             CREATE VIEW seen AS SELECT t, id FROM plain; ANALYZE plain",
        )
        .await;
    let names = ["seen", "missing", "plain", "a\0b", "nothing", "with domains", "cut", "PLAIN", "cut_1"];
    let names = names.map(|name| fixture.name(name));
    let together = fixture.source.tables(&names).await;
    assert_eq!(together.len(), names.len());
    let mut columns = 0;
    for (name, together) in names.iter().zip(together) {
        let alone = fixture.source.table(name).await.expect("an answer");
        let told = |table: Option<Table>| table.map(|table| (table.columns, table.native, table.statistics));
        let alone = told(alone);
        columns += alone.as_ref().map_or(0, |(columns, ..)| columns.len());
        assert_eq!(told(together.expect("an answer")), alone, "{name}");
    }
    assert_eq!(columns, 2 + 2 + 4 + 1 + 1);
    assert!(fixture.source.tables(&[]).await.is_empty());
}

#[tokio::test]
async fn a_foreign_table_is_listed_and_its_not_null_is_not_believed() {
    let Some(fixture) = fixture("foreign").await else { return };
    if fixture.admin.batch_execute("CREATE EXTENSION IF NOT EXISTS file_fdw SCHEMA public").await.is_err() {
        println!("ignored: the server does not have file_fdw");
        return;
    }
    fixture
        .run(
            "DROP SERVER IF EXISTS conformance_files CASCADE; CREATE SERVER conformance_files FOREIGN DATA WRAPPER file_fdw;
             CREATE FOREIGN TABLE far (id int4 NOT NULL, name text) SERVER conformance_files
               OPTIONS (program 'printf ''1,a\\n,b\\n''', format 'csv')",
        )
        .await;
    let scan = fixture.scan("far").await;
    assert!(scan.columns.iter().all(|column| column.nullable));
    let batch = fixture.read(&scan).await.expect("rows");
    assert_eq!((batch.num_rows(), batch.column(0).null_count()), (2, 1));
    fixture.run("DROP SERVER conformance_files CASCADE").await;
}

#[tokio::test]
async fn null_is_ruled_out_only_where_postgres_rules_it_out() {
    let Some(fixture) = fixture("nullability").await else { return };
    fixture
        .run(
            "CREATE TABLE parent (id int4 NOT NULL); CREATE TABLE child () INHERITS (parent);
             CREATE TABLE plain (id int4 NOT NULL, n int4); CREATE VIEW seen AS SELECT id FROM plain;
             CREATE TABLE cut (id int4 NOT NULL) PARTITION BY RANGE (id)",
        )
        .await;
    for (table, nullable) in [("parent", true), ("plain", false), ("seen", true), ("cut", false)] {
        assert_eq!(fixture.scan(table).await.columns[0].nullable, nullable, "{table}");
    }
    assert!(fixture.scan("plain").await.columns[1].nullable);
    // Since Postgres 18 a column may be NOT NULL for new rows only.
    fixture.run("INSERT INTO plain VALUES (1, NULL)").await;
    if fixture.admin.batch_execute("ALTER TABLE plain ADD CONSTRAINT later NOT NULL n NOT VALID").await.is_ok() {
        let scan = fixture.scan("plain").await;
        assert!(!scan.columns[0].nullable && scan.columns[1].nullable);
        assert_eq!(fixture.read(&scan).await.expect("rows").column(1).null_count(), 1);
    }
}

#[tokio::test]
async fn statistics_are_those_of_analyze_and_absent_before() {
    let Some(fixture) = fixture("statistics").await else { return };
    fixture
        .run(
            "CREATE TABLE t (id int4, few int4, half int4) WITH (autovacuum_enabled = false);
             INSERT INTO t SELECT i, i % 5, CASE WHEN i % 2 = 0 THEN i END FROM generate_series(1, 10000) i;
             CREATE VIEW seen AS SELECT * FROM t;
             CREATE TABLE cut (id int4) PARTITION BY RANGE (id);
             CREATE TABLE cut_1 PARTITION OF cut FOR VALUES FROM (0) TO (50); CREATE TABLE cut_2 PARTITION OF cut FOR VALUES FROM (50) TO (900);
             INSERT INTO cut SELECT i FROM generate_series(1, 100) i; CREATE TABLE empty (id int4)",
        )
        .await;
    let describe =
        async |table: &str| fixture.source.table(&fixture.name(table)).await.expect("described").expect("a table");
    let before = describe("t").await.statistics;
    assert_eq!((before.rows, before.columns[0].distinct), (None, None));
    fixture.run("ANALYZE t, cut, empty").await;
    let table = describe("t").await;
    let statistics = &table.statistics;
    assert_eq!(statistics.rows, Some(10_000));
    assert!(statistics.bytes.is_some_and(|bytes| (100_000..1_000_000).contains(&bytes)), "{statistics:?}");
    assert_eq!((statistics.columns[0].distinct, statistics.columns[1].distinct), (Some(10_000), Some(5)));
    assert!(statistics.columns[2].null_fraction.is_some_and(|share| (0.4..0.6).contains(&share)));
    let scan = fixture.scan("t").await;
    let splits = fixture.source.splits(&scan, 8).await.expect("splits").splits;
    let sum = |of: fn(&connector_spi::Split) -> Option<u64>| splits.iter().map(of).sum::<Option<u64>>();
    assert!(splits.len() > 1);
    assert_eq!((sum(|split| split.rows), sum(|split| split.bytes)), (Some(10_000), statistics.bytes));
    assert_eq!(fixture.source.splits(&scan.with_limit(3), 8).await.expect("splits").splits[0].rows, Some(3));
    assert_eq!(describe("cut").await.statistics.rows, Some(100));
    assert_eq!(describe("seen").await.statistics.rows, None);
    assert!(describe("empty").await.statistics.rows.is_none_or(|rows| rows == 0));
}

#[tokio::test]
async fn names_of_any_characters_are_found_and_read() {
    let Some(fixture) = fixture("names").await else { return };
    let names = [
        "a\"b",
        "it's",
        "select",
        "UPPER",
        " ",
        "a.b",
        "semi;colon",
        "--",
        "日本",
        "back\\slash",
        "$1",
        "new\nline",
        "per%cent",
    ];
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    for (at, name) in names.iter().enumerate() {
        let quoted = quoted(name);
        fixture
            .run(&format!("CREATE TABLE {quoted} (id int4, {quoted} text); INSERT INTO {quoted} VALUES ({at}, 'x')"))
            .await;
        let scan = fixture.scan(name).await;
        assert_eq!(scan.columns[1].name, *name);
        assert_eq!(fixture.ids(&scan).await, [at as i32], "{name}");
    }
    let listed = fixture.source.list().await.expect("a list");
    let schema = listed.iter().find(|schema| schema.name == fixture.schema).expect("the schema");
    assert!(names.iter().all(|name| schema.tables.iter().any(|table| table.name == *name)));
}

#[tokio::test]
async fn batches_have_the_rows_asked_for_and_the_work_is_counted() {
    let Some(fixture) = fixture("batches").await else { return };
    fixture.run("CREATE TABLE t AS SELECT i AS id, 'text ' || i AS s FROM generate_series(1, 2500) i").await;
    let scan = fixture.scan("t").await;
    let sizes = async |scan: &connector_spi::Scan, batch_rows| {
        let context = context(batch_rows);
        let split = fixture.source.splits(scan, 1).await.expect("splits").splits.remove(0);
        let stream = fixture.source.read(scan, &split, context.clone()).await.expect("a stream");
        let batches: Vec<RecordBatch> = stream.try_collect().await.expect("rows");
        (batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), context.counters)
    };
    let (rows, counters) = sizes(&scan, 1000).await;
    assert_eq!(rows, [1000, 1000, 500]);
    assert!(counters.bytes() > 2500 * 20 && counters.requests() == 1, "{counters:?}");
    let none = scan.with_projection(Vec::new());
    let (rows, counters) = sizes(&none, 1000).await;
    assert_eq!(rows, [1000, 1000, 500]);
    assert!(counters.bytes() < 100, "{counters:?}");
    assert_eq!(sizes(&none.with_limit(3), 1000).await.0, [3]);
    assert!(sizes(&none.with_limit(0), 1000).await.0.is_empty());
    assert_eq!(sizes(&scan.with_limit(1001), 1000).await.0, [1000, 1]);
    assert!(sizes(&scan.with_limit(0), 1000).await.0.is_empty());
    assert_eq!(sizes(&scan.with_limit(u64::MAX), 4096).await.0, [2500]);
    let Absorbed::Exact(twice) = fixture.source.absorb(&scan, &Op::Columns(vec![1, 0, 1])) else { panic!("refused") };
    let batch = fixture.read(&twice).await.expect("rows");
    let types: Vec<&DataType> = batch.columns().iter().map(|column| column.data_type()).collect();
    assert_eq!(types, [&DataType::Utf8, &DataType::Int32, &DataType::Utf8]);
    assert_eq!(batch.column(0), batch.column(2));
    let text = fixture.source.remote_text(&twice.with_limit(5)).expect("a text");
    assert_eq!(
        text,
        format!("SELECT \"s\"::text, \"id\"::int4, \"s\"::text FROM \"{}\".\"t\" LIMIT 5", fixture.schema)
    );
}

#[tokio::test]
async fn wide_rows_and_long_values_come_whole() {
    let Some(fixture) = fixture("wide").await else { return };
    let columns: Vec<String> = (0..1200).map(|at| format!("i + {at} AS c{at}")).collect();
    fixture
        .run(&format!(
            "CREATE TABLE wide AS SELECT {} FROM generate_series(1, 3) i;
             CREATE TABLE long AS SELECT i AS id, repeat('é', 3000000 * i) AS s FROM generate_series(1, 6) i",
            columns.join(", ")
        ))
        .await;
    let batch = fixture.read(&fixture.scan("wide").await).await.expect("rows");
    assert_eq!((batch.num_columns(), batch.num_rows()), (1200, 3));
    let scan = fixture.scan("long").await;
    let stream = fixture.source.read(&scan, &Default::default(), context(8192)).await.expect("a stream");
    let batches: Vec<RecordBatch> = stream.try_collect().await.expect("rows");
    assert!(batches.len() > 1, "a batch ends before it has too many bytes");
    let lengths = batches
        .iter()
        .flat_map(|batch| batch.column(1).as_string::<i32>().iter().flatten().map(str::len).collect::<Vec<_>>());
    let bytes: usize = lengths.sum();
    assert_eq!(bytes, 2 * 3_000_000 * (1 + 2 + 3 + 4 + 5 + 6));
}

#[tokio::test]
async fn a_database_of_another_encoding_is_read_and_its_text_is_not_compared() {
    let Some(fixture) = fixture("encoding").await else { return };
    fixture.run("DROP DATABASE IF EXISTS conformance_latin").await;
    fixture.run("CREATE DATABASE conformance_latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0").await;
    let url = database(&fixture.url, "conformance_latin");
    let admin = connect(&url.parse().expect("a url")).await;
    admin
        .batch_execute("CREATE TABLE t (id int4, s text); INSERT INTO t VALUES (1, 'Zürich'), (2, 'a')")
        .await
        .expect("a table");
    let source = open(&url, &[]);
    let scan = scan(&*source, connector_spi::TableName::new("public", "t")).await;
    let batch = read(&*source, &scan).await.expect("rows");
    assert_eq!(crate::fixture::shown(batch.column(1), 0), "Zürich");
    let value = connector_spi::Literal::Text("日本".into());
    let filter = connector_spi::Predicate::Compare { column: 1, op: connector_spi::Comparison::Eq, value };
    assert!(matches!(source.absorb(&scan, &Op::Filter(filter)), Absorbed::No(_)));
    drop((source, admin));
    fixture.run("DROP DATABASE conformance_latin WITH (FORCE)").await;
}
