//! `TABLE(catalog.system.query('…'))`.

use connector_spi::{Absorbed, Comparison, ErrorKind, Literal, Op, Predicate, Scan, Source, TableName};

use crate::fixture::{fixture, ids, open, read};

async fn described(source: &dyn Source, text: &str) -> connector_spi::Result<Scan> {
    let table = source.query(&[text.to_owned()]).await?;
    Ok(Scan::new("pg", TableName::new("system", "query"), &table))
}

#[tokio::test]
async fn a_query_is_read_like_a_table_and_takes_over_as_much() {
    let Some(fixture) = fixture("passthrough").await else { return };
    fixture.run("CREATE TABLE t (id int4, n numeric(5,2), s text, d date, l int4[], k interval)").await;
    fixture.run("INSERT INTO t SELECT i, i / 4.0, 'row ' || i, '2000-01-01'::date + i, ARRAY[i], '1 day' FROM generate_series(1, 100) i").await;
    let source = open(&fixture.url, &[("passthrough", "true")]);
    let source = source.as_ref();
    let text = format!("WITH x AS (SELECT * FROM {}.t) SELECT * FROM x WHERE id % 2 = 0 -- even", fixture.schema);
    let scan = described(source, &text).await.expect("described");
    let types: Vec<String> = scan.columns.iter().map(|column| column.data_type.to_string()).collect();
    let plain = crate::fixture::scan(source, fixture.name("t")).await;
    let own: Vec<String> = plain.columns.iter().map(|column| column.data_type.to_string()).collect();
    assert_eq!(types, own);
    assert_eq!(ids(&read(source, &scan).await.expect("read")), (1..=50).map(|n| n * 2).collect::<Vec<_>>());

    let filter = Op::Filter(Predicate::Compare { column: 0, op: Comparison::Gt, value: Literal::Integer(90) });
    let Absorbed::Exact(filtered) = source.absorb(&scan, &filter) else { panic!("refused") };
    let limited = filtered.with_limit(3).with_projection(vec![2, 0]);
    assert_eq!(
        source.remote_text(&limited).as_deref(),
        Some(
            format!("SELECT \"s\"::text, \"id\"::int4 FROM ({text}\n) AS part WHERE (\"id\" > '90'::int4) LIMIT 3")
                .as_str()
        )
    );
    assert_eq!(ids(&read(source, &limited).await.expect("read")).len(), 3);
    assert_eq!(read(source, &filtered.with_projection(Vec::new())).await.expect("read").num_rows(), 5);
    let key = connector_spi::SortKey { column: 0, descending: true, nulls_first: false };
    let Absorbed::Exact(top) = source.absorb(&scan, &Op::Top { order: vec![key], limit: 2 }) else { panic!("refused") };
    assert_eq!(ids(&read(source, &top).await.expect("read")), [98, 100]);
}

#[tokio::test]
async fn a_query_changes_nothing_not_even_the_session() {
    let Some(fixture) = fixture("passthrough_only_reads").await else { return };
    fixture.run("CREATE TABLE t (id int4); INSERT INTO t VALUES (1)").await;
    let t = format!("{}.t", fixture.schema);
    let body = format!("BEGIN DELETE FROM {t}; RETURN 1; END");
    fixture.run(&format!("CREATE FUNCTION eat() RETURNS int4 LANGUAGE plpgsql AS '{body}'")).await;
    let source = open(&fixture.url, &[("passthrough", "true"), ("max_connections", "1")]);
    let source = source.as_ref();
    let refused = [
        format!("DELETE FROM {t} RETURNING id"),
        format!("WITH gone AS (DELETE FROM {t} RETURNING id) SELECT * FROM gone"),
        format!("SELECT 1 AS id; DELETE FROM {t}"),
        format!("SELECT 1 AS id) AS a; DELETE FROM {t}; SELECT * FROM (SELECT 1 AS id"),
        "SELECT 1 AS id) AS part) TO PROGRAM 'true' --".to_owned(),
        "COPY (SELECT 1) TO STDOUT".to_owned(),
        "SELECT 1 AS id /*".to_owned(),
        "SELEC 1".to_owned(),
        String::new(),
    ];
    for text in refused {
        let error = described(source, &text).await.expect_err(&text);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{text}: {error}");
        assert!(error.to_string().starts_with("INVALID: Postgres does not take the query: "), "{error}");
    }
    let twice = described(source, "SELECT 1 AS a, 2 AS a").await.expect_err("two of one name");
    assert_eq!(twice.to_string(), "INVALID: the query returns two columns \"a\"");
    // What is refused only when it runs.
    for text in [
        format!("SELECT {}.eat() AS id", fixture.schema),
        "SELECT set_config('transaction_read_only', 'off', true) AS id".to_owned(),
    ] {
        let scan = described(source, &text).await.expect("described");
        let error = read(source, &scan).await.expect_err(&text);
        assert_eq!(error.kind(), ErrorKind::Source, "{text}: {error}");
    }
    // What it leaves in its session nobody sees.
    let scan = described(source, "SELECT set_config('default_transaction_read_only', 'off', false) AS id").await;
    read(source, &scan.expect("described")).await.expect("read");
    let scan = described(source, &format!("SELECT {}.eat() AS id", fixture.schema)).await.expect("described");
    assert!(read(source, &scan).await.is_err());
    let plain = crate::fixture::scan(source, fixture.name("t")).await;
    assert_eq!(ids(&read(source, &plain).await.expect("read")), [1]);
}

#[tokio::test]
async fn a_catalog_that_does_not_allow_it_says_so() {
    let Some(fixture) = fixture("passthrough_off").await else { return };
    let error = described(fixture.source.as_ref(), "SELECT 1 AS id").await.expect_err("off");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let source = open(&fixture.url, &[("passthrough", "true")]);
    let error = source.query(&[]).await.expect_err("no text");
    assert_eq!(error.to_string(), "INVALID: query takes one text, 0 were given");
}
