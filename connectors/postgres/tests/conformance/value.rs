//! Values of every type at their edges.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Int32Type, Int64Type, IntervalUnit, TimeUnit, TimestampMicrosecondType,
};
use connector_spi::ErrorKind;

use crate::fixture::{fixture, shown};

fn list(item: DataType) -> DataType {
    DataType::List(Field::new("item", item, true).into())
}

/// Type in Postgres, type here, and values with what they are here.
fn cases() -> Vec<(&'static str, DataType, Vec<(&'static str, &'static str)>)> {
    use DataType::{
        Binary, Boolean, Date32, Decimal128, Float32, Float64, Int16, Int32, Int64, Interval, Time64, Timestamp, Utf8,
    };
    let micros = TimeUnit::Microsecond;
    let nines = "99999999999999999999999999999999999999";
    let fraction = "0.99999999999999999999999999999999999999";
    vec![
        ("bool", Boolean, vec![("true", "true"), ("false", "false")]),
        ("int2", Int16, vec![("-32768", "-32768"), ("32767", "32767")]),
        ("int4", Int32, vec![("-2147483648", "-2147483648"), ("2147483647", "2147483647")]),
        (
            "int8",
            Int64,
            vec![("-9223372036854775808", "-9223372036854775808"), ("9223372036854775807", "9223372036854775807")],
        ),
        ("oid", Int64, vec![("0", "0"), ("4294967295", "4294967295")]),
        (
            "float4",
            Float32,
            vec![
                ("3.4028235e38", "3.4028235e38"),
                ("NaN", "NaN"),
                ("-Infinity", "-inf"),
                ("-0", "-0.0"),
                ("1e-45", "1e-45"),
            ],
        ),
        (
            "float8",
            Float64,
            vec![
                ("1.7976931348623157e308", "1.7976931348623157e308"),
                ("NaN", "NaN"),
                ("Infinity", "inf"),
                ("5e-324", "5e-324"),
                ("0.1", "0.1"),
            ],
        ),
        ("numeric(38,0)", Decimal128(38, 0), vec![(nines, nines), ("-1", "-1"), ("10000", "10000")]),
        (
            "numeric(38,38)",
            Decimal128(38, 38),
            vec![(fraction, fraction), ("0", "0.00000000000000000000000000000000000000")],
        ),
        (
            "numeric(12,4)",
            Decimal128(12, 4),
            vec![("-99999999.9999", "-99999999.9999"), ("0.0001", "0.0001"), ("100", "100.0000")],
        ),
        ("numeric(5)", Decimal128(5, 0), vec![("12345", "12345")]),
        ("numeric(1,1)", Decimal128(1, 1), vec![("-0.1", "-0.1")]),
        (
            "numeric",
            Utf8,
            vec![
                ("NaN", "NaN"),
                ("-1e40", "-10000000000000000000000000000000000000000"),
                ("0.10", "0.10"),
                ("Infinity", "Infinity"),
            ],
        ),
        (
            "numeric(39,1)",
            Utf8,
            vec![("12345678901234567890123456789012345678.9", "12345678901234567890123456789012345678.9")],
        ),
        ("numeric(5,-2)", Utf8, vec![("12345", "12300")]),
        ("numeric(2,4)", Utf8, vec![("0.0012", "0.0012")]),
        (
            "text",
            Utf8,
            vec![("", ""), ("it's \"quoted\" \\ 日本", "it's \"quoted\" \\ 日本"), ("  blanks  ", "  blanks  ")],
        ),
        ("varchar(5)", Utf8, vec![("ab  ", "ab  ")]),
        ("char(5)", Utf8, vec![("ab", "ab"), ("", ""), (" a", " a")]),
        ("name", Utf8, vec![("abc", "abc")]),
        ("\"char\"", Utf8, vec![("x", "x")]),
        ("bytea", Binary, vec![("\\x", ""), ("\\x00ff27", "00ff27")]),
        (
            "date",
            Date32,
            vec![
                ("1970-01-01", "1970-01-01"),
                ("0001-01-01", "0001-01-01"),
                ("1582-10-14", "1582-10-14"),
                ("9999-12-31", "9999-12-31"),
                ("4714-11-24 BC", "-4713-11-24"),
            ],
        ),
        ("time", Time64(micros), vec![("00:00:00", "00:00:00"), ("23:59:59.999999", "23:59:59.999999")]),
        (
            "timestamp",
            Timestamp(micros, None),
            vec![
                ("1969-12-31 23:59:59.999999", "1969-12-31T23:59:59.999999"),
                ("0001-01-01 00:00:00", "0001-01-01T00:00:00"),
            ],
        ),
        (
            "timestamptz",
            Timestamp(micros, Some("UTC".into())),
            vec![("2024-02-29 23:59:59.5+02", "2024-02-29T21:59:59.500Z")],
        ),
        ("uuid", Utf8, vec![("123E4567-e89b-12d3-a456-426614174000", "123e4567-e89b-12d3-a456-426614174000")]),
        ("json", Utf8, vec![("{\"a\" : 1, \"a\":2}", "{\"a\" : 1, \"a\":2}")]),
        ("jsonb", Utf8, vec![("{\"a\" : [1, null]}", "{\"a\": [1, null]}")]),
        ("mood", Utf8, vec![("it's ok", "it's ok"), ("sad", "sad")]),
        ("positive", Int32, vec![("7", "7")]),
        ("more_positive", Int32, vec![("9", "9")]),
        ("money_of_shop", Decimal128(10, 2), vec![("7.5", "7.50")]),
        (
            "interval",
            Interval(IntervalUnit::MonthDayNano),
            vec![
                ("1 year 2 mons 3 days 04:05:06.789", "14 mons 3 days 4 hours 5 mins 6.789000000 secs"),
                ("-1 mon +1 day", "-1 mons 1 days"),
            ],
        ),
        ("int2[]", list(Int16), vec![("{1,NULL,-3}", "[1, , -3]"), ("{}", "[]")]),
        ("int4[]", list(Int32), vec![("{NULL}", "[]"), ("[5:6]={1,2}", "[1, 2]")]),
        ("int8[]", list(Int64), vec![("{9223372036854775807}", "[9223372036854775807]")]),
        ("float4[]", list(Float32), vec![("{0.1,NULL}", "[0.1, ]")]),
        ("float8[]", list(Float64), vec![("{NaN,-Infinity}", "[NaN, -inf]")]),
        ("bool[]", list(Boolean), vec![("{t,f,NULL}", "[true, false, ]")]),
        ("text[]", list(Utf8), vec![("{a,NULL,\"NULL\",\"\"}", "[a, , NULL, ]")]),
        ("varchar(3)[]", list(Utf8), vec![("{ab}", "[ab]")]),
        ("uuid[]", Utf8, vec![("{123e4567-e89b-12d3-a456-426614174000}", "{123e4567-e89b-12d3-a456-426614174000}")]),
        ("date[]", Utf8, vec![("{infinity,2024-01-01}", "{infinity,2024-01-01}")]),
        ("mood[]", Utf8, vec![("{sad}", "{sad}")]),
        ("positive[]", Utf8, vec![("{1}", "{1}")]),
        ("money", Utf8, vec![("12.34", "$12.34")]),
        ("inet", Utf8, vec![("10.0.0.1/8", "10.0.0.1/8")]),
        ("timetz", Utf8, vec![("12:00:00+02", "12:00:00+02")]),
        ("bit(3)", Utf8, vec![("101", "101")]),
        ("int4range", Utf8, vec![("[1,5)", "[1,5)")]),
        ("point", Utf8, vec![("(1,2)", "(1,2)")]),
        ("pair", Utf8, vec![("(1,\"a b\")", "(1,\"a b\")"), ("(,)", "(,)")]),
        ("xml", Utf8, vec![("<a/>", "<a/>")]),
        ("tsvector", Utf8, vec![("a b", "'a' 'b'")]),
        ("int2vector", Utf8, vec![("1 2", "1 2")]),
        ("pg_lsn", Utf8, vec![("0/16B3748", "0/16B3748")]),
    ]
}

#[tokio::test]
async fn every_type_is_read_with_null_and_its_extremes() {
    let Some(fixture) = fixture("value").await else { return };
    fixture
        .run(
            "CREATE TYPE mood AS ENUM ('sad', 'it''s ok'); CREATE DOMAIN positive AS int4 CHECK (VALUE > 0);
             CREATE DOMAIN more_positive AS positive CHECK (VALUE > 8); CREATE DOMAIN money_of_shop AS numeric(10,2) NOT NULL;
             CREATE TYPE pair AS (a int, b text)",
        )
        .await;
    let version: i32 = fixture
        .admin
        .query_typed_one("SELECT current_setting('server_version_num')::int4", &[])
        .await
        .expect("a version")
        .get(0);
    let mut cases = cases();
    // Scales below zero and above the precision came with Postgres 15.
    cases.retain(|(name, ..)| version >= 150_000 || !matches!(*name, "numeric(5,-2)" | "numeric(2,4)"));
    if fixture.admin.batch_execute("SELECT '<a/>'::xml").await.is_err() {
        cases.retain(|(name, ..)| *name != "xml");
    }
    let citext = fixture.admin.batch_execute("CREATE EXTENSION IF NOT EXISTS citext SCHEMA public").await.is_ok();
    if citext {
        cases.push(("public.citext", DataType::Utf8, vec![("MiXed", "MiXed")]));
    }
    let columns: Vec<String> = cases.iter().enumerate().map(|(at, (name, ..))| format!("c{at} {name}")).collect();
    fixture.run(&format!("CREATE TABLE t (id int4 PRIMARY KEY, {})", columns.join(", "))).await;
    let rows = cases.iter().map(|(.., values)| values.len()).max().unwrap_or(0);
    for row in 0..=rows {
        // A domain that is NOT NULL gets a value even in the rows of NULL.
        let values: Vec<String> = cases
            .iter()
            .map(|(name, _, values)| match (values.get(row), *name) {
                (Some((text, _)), _) => format!("'{}'", text.replace('\'', "''")),
                (None, "money_of_shop") => "1".to_owned(),
                (None, _) => "NULL".to_owned(),
            })
            .collect();
        fixture.run(&format!("INSERT INTO t VALUES ({row}, {})", values.join(", "))).await;
    }
    let scan = fixture.scan("t").await;
    let batch = fixture.read(&scan).await.expect("rows");
    assert_eq!(batch.num_rows(), rows + 1);
    let order: Vec<usize> = {
        let ids = batch.column(0).as_primitive::<Int32Type>().values();
        (0..=rows).map(|id| ids.iter().position(|found| *found as usize == id).expect("a row")).collect()
    };
    for (at, (name, data_type, values)) in cases.iter().enumerate() {
        let column = batch.column(at + 1);
        assert_eq!(scan.columns[at + 1].data_type, *data_type, "{name}");
        assert!(scan.columns[at + 1].nullable, "{name}");
        for (row, place) in order.iter().enumerate() {
            match values.get(row) {
                Some((_, wanted)) => assert_eq!(shown(column, *place), *wanted, "{name} {row}"),
                None if *name == "money_of_shop" => {}
                None => assert!(column.is_null(*place), "{name} {row}"),
            }
        }
    }
}

#[tokio::test]
async fn what_has_no_place_in_its_type_is_an_error_that_names_the_column() {
    let Some(fixture) = fixture("misfit").await else { return };
    let cases = [
        ("numeric(5,2)", "NaN"),
        ("date", "infinity"),
        ("date", "-infinity"),
        ("timestamp", "infinity"),
        ("timestamp", "-infinity"),
        ("timestamp", "294276-12-31 23:59:59"),
        ("timestamptz", "infinity"),
        ("timestamptz", "-infinity"),
        ("time", "24:00:00"),
        ("int4[]", "{{1,2},{3,4}}"),
        ("text[]", "{{a}}"),
        ("interval", "178000000 years"),
        ("interval", "2562047788 hours"),
    ];
    for (at, (name, value)) in cases.iter().enumerate() {
        fixture
            .run(&format!(
                "CREATE TABLE t{at} (id int4, \"the value\" {name}); INSERT INTO t{at} VALUES (1, NULL), (2, '{value}')"
            ))
            .await;
        let scan = fixture.scan(&format!("t{at}")).await;
        match fixture.read(&scan).await {
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::BadData, "{error:?}");
                let place = format!("column \"the value\" of table \"pg.{}.t{at}\"", fixture.schema);
                assert!(error.message().contains(&place), "{error:?}");
            }
            // Months are kept apart from hours: many years are no trouble.
            Ok(batch) => assert_eq!((*name, batch.num_rows()), ("interval", 2), "{value}"),
        }
        assert_eq!(fixture.ids(&scan.with_projection(vec![0])).await, [1, 2], "other columns can be read");
    }
}

#[tokio::test]
async fn days_and_moments_are_those_of_postgres_from_first_to_last() {
    let Some(fixture) = fixture("calendar").await else { return };
    fixture
        .run(
            "CREATE TABLE day AS SELECT d, d - '1970-01-01'::date AS n FROM (
               SELECT '4714-11-24 BC'::date + i * 977 AS d FROM generate_series(0, 10000) i
               UNION ALL SELECT unnest('{4714-11-24 BC, 0001-12-31 BC, 0001-01-01, 1582-10-04, 1582-10-15, 1969-12-31, 5874897-12-31}'::date[])
             ) s;
             CREATE TABLE moment AS SELECT m, m AT TIME ZONE 'UTC' AS z, (extract(epoch FROM m) * 1000000)::int8 AS n FROM (
               SELECT '4714-11-24 00:00:00 BC'::timestamp + i * '97 days 05:06:07.000123'::interval AS m FROM generate_series(0, 100000, 7) i
               UNION ALL SELECT unnest('{1969-12-31 23:59:59.999999, 1970-01-01 00:00:00.000001, 294246-01-01 00:00:00.5}'::timestamp[])
             ) s",
        )
        .await;
    let batch = fixture.read(&fixture.scan("day").await).await.expect("rows");
    assert!(batch.num_rows() > 10_000);
    assert_eq!(
        batch.column(0).as_primitive::<Date32Type>().values(),
        batch.column(1).as_primitive::<Int32Type>().values()
    );
    let batch = fixture.read(&fixture.scan("moment").await).await.expect("rows");
    let micros = batch.column(2).as_primitive::<Int64Type>().values();
    assert_eq!(batch.column(0).as_primitive::<TimestampMicrosecondType>().values(), micros);
    assert_eq!(batch.column(1).as_primitive::<TimestampMicrosecondType>().values(), micros);
}

#[tokio::test]
async fn decimals_are_those_of_postgres_at_every_scale() {
    let Some(fixture) = fixture("decimal").await else { return };
    for scale in [0, 1, 2, 3, 4, 5, 8, 19, 36, 37, 38] {
        let table = format!("t{scale}");
        fixture
            .run(&format!(
                "CREATE TABLE {table} (n numeric(38,{scale}), unscaled text);
                 INSERT INTO {table} (n) SELECT sign * trunc(10::numeric ^ digits * fraction) / 10::numeric ^ {scale} FROM (
                   SELECT CASE WHEN i % 2 = 0 THEN 1 ELSE -1 END AS sign, i % 39 AS digits,
                     0.98765432109876543210987654321098765432 - i * 0.0101 AS fraction FROM generate_series(0, 90) i) s;
                 UPDATE {table} SET unscaled = (n * 10::numeric ^ {scale})::numeric(60,0)::text"
            ))
            .await;
        let scan = fixture.scan(&table).await;
        assert_eq!(scan.columns[0].data_type, DataType::Decimal128(38, scale));
        let batch = fixture.read(&scan).await.expect("rows");
        let (found, wanted) = (batch.column(0).as_primitive::<Decimal128Type>(), batch.column(1).as_string::<i32>());
        assert!((0..found.len()).any(|row| found.value(row).unsigned_abs() > 10_u128.pow(37)), "scale {scale}");
        for row in 0..batch.num_rows() {
            assert_eq!(found.value(row).to_string(), wanted.value(row), "scale {scale}");
        }
    }
}
