//! The options that choose what types without one counterpart become.

use std::sync::Arc;

use arrow::array::Array;
use arrow::datatypes::DataType;
use connector_spi::conformance::{self, Subject};
use connector_spi::{
    Absorbed, Aggregation, Call, Comparison, ErrorKind, Function, Literal, Op, Predicate, SortKey, Source,
};
use futures::TryStreamExt;

use crate::fixture::{Fixture, context, fixture, open, read, scan, shown};

fn chosen(fixture: &Fixture, more: &[(&str, &str)]) -> Arc<dyn Source> {
    open(&fixture.url, &[&[("split_size", "8192")][..], more].concat())
}

/// Everything of a table as text, by columns, in the order of its first one.
async fn values(source: &dyn Source, fixture: &Fixture, table: &str) -> Vec<(DataType, Vec<String>)> {
    let batch = read(source, &scan(source, fixture.name(table)).await).await.expect("rows");
    let order = arrow::compute::sort_to_indices(batch.column(0), None, None).expect("an order");
    let sorted = arrow::compute::take_record_batch(&batch, &order).expect("rows");
    let column = |column: &Arc<dyn Array>| {
        let values = (0..column.len()).map(|row| shown(column, row)).collect();
        (column.data_type().clone(), values)
    };
    sorted.columns().iter().skip(1).map(column).collect()
}

#[tokio::test]
async fn a_type_without_one_counterpart_is_what_the_catalog_chooses() {
    let Some(fixture) = fixture("choice").await else { return };
    fixture
        .run(
            "CREATE DOMAIN amount AS numeric;
             CREATE TABLE t (id int4, n numeric, w numeric(60,3), a amount, m money, l numeric[], own numeric(9,1));
             INSERT INTO t VALUES (1, 1.10, 7, -0.0001, '-92233720368547758.08', '{1}', 5),
               (2, 12345678.9, 0.001, 0, '1,234.50', NULL, 6), (3, NULL, NULL, NULL, NULL, NULL, NULL)",
        )
        .await;
    let texts = |texts: [&str; 3]| texts.map(str::to_owned).to_vec();
    let (list, own) = ((DataType::Utf8, texts(["{1}", "NULL", "NULL"])), texts(["5.0", "6.0", "NULL"]));
    let own = (DataType::Decimal128(9, 1), own);

    let source = chosen(&fixture, &[("numeric_as", "Decimal(20, 4)"), ("money_as", "decimal")]);
    let decimal = |values| (DataType::Decimal128(20, 4), texts(values));
    let money = (DataType::Decimal128(19, 2), texts(["-92233720368547758.08", "1234.50", "NULL"]));
    let wanted = [
        decimal(["1.1000", "12345678.9000", "NULL"]),
        decimal(["7.0000", "0.0010", "NULL"]),
        decimal(["-0.0001", "0.0000", "NULL"]),
        money,
        list.clone(),
        own.clone(),
    ];
    assert_eq!(values(&*source, &fixture, "t").await, wanted);

    let source = chosen(&fixture, &[("numeric_as", "double")]);
    let double = |values| (DataType::Float64, texts(values));
    let wanted = [
        double(["1.1", "12345678.9", "NULL"]),
        double(["7.0", "0.001", "NULL"]),
        double(["-0.0001", "0.0", "NULL"]),
        (DataType::Utf8, texts(["-$92,233,720,368,547,758.08", "$1,234.50", "NULL"])),
        list,
        own,
    ];
    assert_eq!(values(&*source, &fixture, "t").await, wanted);
}

#[tokio::test]
async fn a_value_that_the_chosen_type_cannot_hold_is_an_error_that_names_its_column() {
    let Some(fixture) = fixture("choice_misfit").await else { return };
    let decimal = ("numeric_as", "decimal(10,2)");
    let cases = [
        ("numeric", "1.005", decimal, "has more decimals than its type"),
        ("numeric", "100000000", decimal, "does not fit the precision of its type"),
        ("numeric", "-1e100", decimal, "does not fit the precision of its type"),
        ("numeric(50,1)", "NaN", decimal, "is NaN, which a decimal here cannot be"),
        ("numeric", "Infinity", decimal, "is infinite, which a decimal here cannot be"),
        ("numeric", "1e309", ("numeric_as", "double"), "is too large for a double"),
        ("numeric", "-1e-400", ("numeric_as", "double"), "is too small for a double, and not zero"),
        ("timestamp", "294276-12-31", ("on_infinity", "null"), "is out of range"),
        ("date", "infinity", ("on_infinity", "error"), "is infinite, which a date here cannot be"),
    ];
    for (at, (name, value, option, why)) in cases.into_iter().enumerate() {
        let make =
            format!("CREATE TABLE t{at} (id int4, \"the value\" {name}); INSERT INTO t{at} VALUES (1, '{value}')");
        fixture.run(&make).await;
        let source = chosen(&fixture, &[option]);
        let scan = scan(&*source, fixture.name(&format!("t{at}"))).await;
        let error = read(&*source, &scan).await.expect_err(value);
        assert_eq!(error.kind(), ErrorKind::BadData, "{error:?}");
        let text = format!("a value of column \"the value\" of table \"pg.{}.t{at}\" {why}", fixture.schema);
        assert_eq!(error.message(), text);
        assert!(error.hint_text().is_some_and(|hint| hint.contains(option.0)), "{error:?}");
    }
}

#[tokio::test]
async fn infinities_are_null_where_the_catalog_says_so_and_are_counted() {
    let Some(fixture) = fixture("infinity").await else { return };
    fixture
        .run(
            "CREATE TABLE t (id int4, d date NOT NULL, m timestamp, z timestamptz);
             INSERT INTO t VALUES (1, 'infinity', '-infinity', 'infinity'), (2, '2024-01-01', NULL, '-infinity'),
               (3, '-infinity', '2024-01-01 00:00:01', NULL)",
        )
        .await;
    let source = chosen(&fixture, &[("on_infinity", "null")]);
    let texts = |texts: [&str; 3]| texts.map(str::to_owned).to_vec();
    let found: Vec<_> = values(&*source, &fixture, "t").await.into_iter().map(|(_, values)| values).collect();
    assert_eq!(found[0], texts(["NULL", "2024-01-01", "NULL"]));
    assert_eq!(found[1], texts(["NULL", "NULL", "2024-01-01T00:00:01"]));
    assert_eq!(found[2], texts(["NULL", "NULL", "NULL"]));

    let t = scan(&*source, fixture.name("t")).await;
    assert!(t.columns[1].nullable, "what NOT NULL says there is not true here");
    for (columns, count) in [(vec![0, 1, 2, 3], 5), (vec![2], 1), (vec![0], 0)] {
        let context = context(2);
        let stream = source.read(&t.with_projection(columns), &Default::default(), context.clone()).await;
        stream.expect("a stream").try_for_each(async |_| Ok(())).await.expect("rows");
        assert_eq!(context.counters.misfits(), count);
    }
    let null = |negated| Op::Filter(Predicate::Null { column: 1, negated });
    let count = |column| Call { function: Function::Count, column, data_type: DataType::Int64 };
    let group = |group, column| Op::Aggregate(Aggregation { group, calls: vec![count(column)] });
    let sort = |column| vec![SortKey { column, descending: false, nulls_first: false }];
    let compare = |op| Op::Filter(Predicate::Compare { column: 1, op, value: Literal::Date(0) });
    for superset in [null(false), null(true), compare(Comparison::Eq), compare(Comparison::Gt)] {
        assert!(matches!(source.absorb(&t, &superset), Absorbed::Inexact(_)), "{superset:?}");
    }
    for refused in [group(vec![1], None), group(vec![], Some(2)), Op::Top { order: sort(3), limit: 1 }] {
        let Absorbed::No(reason) = source.absorb(&t, &refused) else { panic!("taken: {refused:?}") };
        let text = "TYPE, infinite values are NULL here (set on_infinity = 'error')";
        assert_eq!(reason.to_string(), text, "{refused:?}");
    }
    for exact in [group(vec![], None), Op::Top { order: sort(0), limit: 1 }, Op::Limit(1)] {
        assert!(matches!(source.absorb(&t, &exact), Absorbed::Exact(_)), "{exact:?}");
    }
}

#[tokio::test]
async fn what_is_pushed_down_gives_the_rows_of_the_engine_under_every_choice() {
    let Some(fixture) = fixture("choice_suite").await else { return };
    fixture
        .run(
            "CREATE TABLE t (id int4, d date NOT NULL, m timestamp, z timestamptz, n numeric, w numeric(60,3), c money, k int4);
             INSERT INTO t SELECT i,
               CASE i % 9 WHEN 0 THEN 'infinity'::date WHEN 1 THEN '-infinity' ELSE '2000-01-01'::date + i % 7 END,
               CASE i % 8 WHEN 0 THEN 'infinity'::timestamp WHEN 1 THEN NULL ELSE '1999-12-31 23:59:59.5'::timestamp + i % 5 * '1 s'::interval END,
               CASE i % 7 WHEN 0 THEN '-infinity'::timestamptz WHEN 1 THEN NULL ELSE '1969-12-31 23:59:59+00'::timestamptz + i % 6 * '1 s'::interval END,
               CASE WHEN i % 10 > 0 THEN (i % 11 - 5) * 1.10 END, CASE WHEN i % 6 > 0 THEN i % 13 / 8.0 END,
               CASE WHEN i % 12 > 0 THEN ((i % 9 - 4) * 0.35)::numeric::money END, i % 4
             FROM generate_series(1, 900) i; ANALYZE t",
        )
        .await;
    for (numeric, money) in [("decimal(38,10)", "decimal"), ("decimal(20,3)", "varchar"), ("double", "decimal")] {
        let options = [("numeric_as", numeric), ("money_as", money), ("on_infinity", "null")];
        let source = chosen(&fixture, &options);
        let subject = Subject::of(&*source, "pg", &fixture.name("t")).await.expect("read");
        assert!(subject.rows.column(1).null_count() > 150 && subject.rows.column(3).null_count() > 200);
        assert!(conformance::splits(&subject).await.expect("splits") > 1);
        let filters = conformance::filters(&subject).await.expect("filters");
        let trees = conformance::combinations(&subject, 7, 300).await.expect("combinations");
        let limits = conformance::limits(&subject).await.expect("limits");
        let tops = conformance::tops(&subject).await.expect("tops");
        let groups = conformance::groups(&subject).await.expect("groups");
        let joins = conformance::joins(&subject).await.expect("joins");
        println!(
            "{options:?}: filters {filters:?}, trees {trees:?}, tops {tops:?}, groups {groups:?}, joins {joins:?}"
        );
        assert!(filters.exact > 30 && filters.inexact > 100, "{filters:?}");
        assert_eq!(filters.refused > 100, (numeric, money) != ("decimal(38,10)", "decimal"), "{filters:?}");
        assert!(trees.exact > 10 && trees.inexact > 10 && trees.refused > 10, "{trees:?}");
        assert!(limits.refused == 0 && tops.exact > 10 && tops.refused > 10, "{limits:?} {tops:?}");
        assert!(groups.exact > 10 && groups.refused > 10 && joins.exact > 0, "{groups:?} {joins:?}");
    }
}

#[tokio::test]
async fn what_is_read_as_a_chosen_type_is_written_or_refused_by_name() {
    let Some(fixture) = fixture("choice_written").await else { return };
    fixture
        .run(
            "CREATE TABLE t (id int4, n numeric, d date); INSERT INTO t VALUES (1, 1.5, '2024-01-01'), (2, NULL, 'infinity');
             CREATE TABLE copied (LIKE t); CREATE TABLE money (id int4, m money); CREATE TABLE loose (id int4, n numeric)",
        )
        .await;
    let options =
        [("writable", "true"), ("numeric_as", "decimal(10,2)"), ("on_infinity", "null"), ("money_as", "decimal")];
    let source = chosen(&fixture, &options);
    let rows = read(&*source, &scan(&*source, fixture.name("t")).await).await.expect("rows");
    let stream = || futures::stream::iter([Ok(rows.clone())]);
    let writer = source.writer().expect("a writer");
    assert_eq!(writer.insert(&fixture.name("copied"), Box::pin(stream())).await.expect("written"), 2);
    let sql = "SELECT count(*) FROM copied WHERE (id, n, d) = (1, 1.5, '2024-01-01') OR id = 2 AND num_nulls(n, d) = 2";
    assert_eq!(fixture.admin.query_typed_one(sql, &[]).await.expect("a number").get::<_, i64>(0), 2);
    let double = chosen(&fixture, &[("writable", "true"), ("numeric_as", "double")]);
    for (source, table, column) in [(&source, "money", "m"), (&double, "loose", "n")] {
        let writer = source.writer().expect("a writer");
        let error = writer.insert(&fixture.name(table), Box::pin(stream())).await.expect_err("refused");
        let name = fixture.name(table);
        let text = format!("column \"{column}\" of table \"{name}\" cannot be written; its type is only read");
        assert_eq!((error.kind(), error.message()), (ErrorKind::Unsupported, text.as_str()));
    }
    // A condition on a column whose infinities are NULL is not exact, so that nothing is removed by it.
    let t = scan(&*source, fixture.name("t")).await;
    let old = Predicate::Compare { column: 2, op: Comparison::Gt, value: Literal::Date(0) };
    assert!(matches!(source.absorb(&t, &Op::Filter(old)), Absorbed::Inexact(_)));
}
