//! The suite that every connector must pass, on a table that the connector wrote itself.

use connector_spi::conformance::{self, Subject, Tally};
use connector_spi::{Absorbed, Comparison, Literal, Op, Predicate, Scan, SortKey};

use crate::fixture::{Fixture, fixture, open};

#[tokio::test]
async fn the_suite_of_all_connectors_passes() {
    let Some(fixture) = fixture("suite").await else { return };
    let full = std::env::var_os("TRIBUTARY_TEST_FULL").is_some();
    let source = open(&fixture.url, &[("split_size", "8192"), ("writable", "true")]);
    let source = source.as_ref();
    let rows = conformance::rows(|_| true).expect("rows");
    let name = fixture.name("t");
    conformance::store(source, &name, &rows).await.expect("stored");
    fixture.run("ANALYZE t").await;
    let subject = Subject::of(source, "pg", &name).await.expect("read");
    conformance::stored(&subject, &rows).expect("the rows that were written");
    assert!(conformance::splits(&subject).await.expect("splits") > 4);
    let filters = conformance::filters(&subject).await.expect("filters");
    let trees = conformance::combinations(&subject, 42, if full { 10_000 } else { 1000 }).await.expect("combinations");
    let limits = conformance::limits(&subject).await.expect("limits");
    let tops = conformance::tops(&subject).await.expect("tops");
    let groups = conformance::groups(&subject).await.expect("groups");
    let joins = conformance::joins(&subject).await.expect("joins");
    println!(
        "filters {filters:?}, trees {trees:?}, limits {limits:?}, tops {tops:?}, groups {groups:?}, joins {joins:?}"
    );
    // Refused: letters of either case, ends of a pattern.
    let taken = |tally: Tally| tally.exact + tally.inexact;
    assert!(taken(filters) > 2500 && filters.empty * 2 < taken(filters) && filters.refused > 50, "{filters:?}");
    assert!(taken(trees) * 2 > trees.refused && trees.empty * 2 < taken(trees), "{trees:?}");
    assert_eq!((limits.exact, limits.refused), (12, 0));
    assert!(tops.exact > 400 && tops.refused == 0, "{tops:?}");
    assert!(groups.exact > 100 && groups.refused > 0, "{groups:?}");
    assert!(joins.exact > 20 && joins.refused > 0, "{joins:?}");
    // What follows a join is taken over as it is of a table.
    let joined = conformance::joined(&subject).await.expect("joined").expect("one scan");
    let trees = conformance::combinations(&joined, 7, if full { 5000 } else { 300 }).await.expect("combinations");
    let tops = conformance::tops(&joined).await.expect("tops");
    let groups = conformance::groups(&joined).await.expect("groups");
    println!("joined: trees {trees:?}, tops {tops:?}, groups {groups:?}");
    assert!(trees.exact > 50 && tops.exact > 300 && groups.exact > 100, "{trees:?} {tops:?} {groups:?}");
}

#[tokio::test]
async fn the_first_rows_are_those_of_the_table_whatever_a_sample_of_it_says() {
    let Some(fixture) = fixture("sample").await else { return };
    // Ordered, shuffled, nearly all the same, mostly NULL, and NULL where the samples are; what a sample says is written in
    // each type's own way.
    let columns = "i AS id, (i * 7919) % 30000 AS shuffled, -i AS falling, (i % 50 = 0)::int4 AS same,
        (CASE WHEN i % 9 = 0 THEN i % 1000 END)::numeric(8,2) AS rare, CASE WHEN i % 7500 > 350 THEN 'it''s \\ ' || i % 40 END AS late,
        timestamptz '2001-01-01 00:00:00.25+05' - i * interval '1 day' AS moment, date '0044-03-15 BC' + i AS day,
        (i * 37 % 30000)::float8 / 7 AS share, decode(lpad(to_hex(i), 6, '0'), 'hex') AS bytes,
        CASE WHEN i % 40 = 0 THEN repeat(chr(97 + i % 3), i % 12000) END AS long, (i % 7 - 3)::money AS price,
        ((i * 131 % 30000) / 8.0)::numeric(38,9) AS wide";
    fixture
        .run(&format!("CREATE TABLE t AS SELECT {columns}, repeat('-', 60) AS pad FROM generate_series(1, 30000) i"))
        .await;
    fixture.run("ANALYZE t").await;
    let source = open(&fixture.url, &[("split_size", "8192"), ("money_as", "decimal")]);
    let source = source.as_ref();
    let subject = Subject::of(source, "pg", &fixture.name("t")).await.expect("read");
    let tops = conformance::tops(&subject).await.expect("tops");
    assert!(tops.exact >= 300 && tops.refused == 0, "{tops:?}");
    let order = vec![SortKey { column: 1, descending: true, nulls_first: false }];
    let Absorbed::Exact(top) = source.absorb(&subject.scan, &Op::Top { order, limit: 5 }) else { panic!("refused") };
    let plain = source.splits(&subject.scan, 4).await.expect("splits");
    let splits = source.recut(&top, plain.splits.clone());
    let token = String::from_utf8(splits[0].token.clone()).expect("text");
    assert!(splits.len() == 4 && !token.contains("\"sample\":null"), "{token}");
}

#[tokio::test]
async fn hostile_names_of_tables_and_columns_are_names() {
    let Some(fixture) = fixture("names").await else { return };
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    // Longer ones Postgres cuts.
    let names: Vec<String> =
        conformance::hostile().into_iter().filter(|name| !name.is_empty() && name.len() < 64).collect();
    assert!(names.len() > 200, "{}", names.len());
    let columns: Vec<String> = names.iter().map(|name| format!("{} int4", quoted(name))).collect();
    fixture.run(&format!("CREATE TABLE wide (id int4, {})", columns.join(", "))).await;
    let values: Vec<String> = (0..names.len()).map(|at| at.to_string()).collect();
    fixture.run(&format!("INSERT INTO wide VALUES (1, {}); INSERT INTO wide VALUES (2)", values.join(", "))).await;
    let wide = fixture.scan("wide").await;
    for (at, name) in names.iter().enumerate() {
        assert_eq!(wide.columns[at + 1].name, *name);
        let value = Predicate::Compare { column: at + 1, op: Comparison::Eq, value: Literal::Integer(at as i64) };
        assert_eq!(
            fixture.ids(&filtered(&fixture, &wide, value).with_projection(vec![0, at + 1])).await,
            [1],
            "{name}"
        );

        fixture.run(&format!("CREATE TABLE {} (id int4); INSERT INTO {0} VALUES ({at})", quoted(name))).await;
        assert_eq!(fixture.ids(&fixture.scan(name).await).await, [at as i32], "{name}");
    }
}

fn filtered(fixture: &Fixture, scan: &Scan, filter: Predicate) -> Scan {
    match fixture.source.absorb(scan, &Op::Filter(filter)) {
        Absorbed::Exact(scan) => scan,
        other => panic!("{other:?}"),
    }
}
