//! Filters on and off give the same rows: every type with every operator and many values.
//!
//! The oracle reads everything and filters with Arrow's kernels, as the engine does.

use arrow::datatypes::TimeUnit;
use connector_spi::conformance::{self, Answer, Subject, hostile};
use connector_spi::{Comparison, Literal, Predicate};

use crate::fixture::{Fixture, fixture};

const OPERATORS: [Comparison; 6] =
    [Comparison::Eq, Comparison::NotEq, Comparison::Lt, Comparison::LtEq, Comparison::Gt, Comparison::GtEq];

/// A column: its name and type, values in SQL, literals, and the answers to `=`, `<>` and ranges.
struct Case {
    name: &'static str,
    kind: &'static str,
    values: Vec<String>,
    literals: Vec<Literal>,
    answers: [Answer; 3],
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn cases() -> Vec<Case> {
    use Answer::{Exact, Inexact, Refused as No};
    // The suite of all connectors has the others; these fit every kind of text.
    let hostile: Vec<String> = hostile().into_iter().filter(|text| text.len() < 20).step_by(4).collect();
    let some: Vec<&str> = hostile.iter().map(String::as_str).collect();
    let texts = |values: &[&str]| values.iter().map(|text| quoted(text)).collect::<Vec<_>>();
    let literal_texts =
        |values: &[&str]| values.iter().map(|text| Literal::Text((*text).to_owned())).collect::<Vec<_>>();
    let integers = |values: &[i64]| values.iter().map(|value| Literal::Integer(*value)).collect::<Vec<_>>();
    let case = |name, kind, values, literals, answers| Case { name, kind, values, literals, answers };
    let exact = [Exact; 3];
    let none = [No; 3];
    let mut cases = vec![
        case("flag", "bool", texts(&["t", "f"]), vec![Literal::Boolean(true), Literal::Boolean(false)], exact),
        case("small", "int2", texts(&["-32768", "0", "5", "32767"]), integers(&[-32768, -1, 0, 5, 32767]), exact),
        case(
            "whole",
            "int4",
            texts(&["-2147483648", "0", "7", "2147483647"]),
            integers(&[-2147483648, 0, 6, 7, 2147483647]),
            exact,
        ),
        case(
            "big",
            "int8",
            texts(&["-9223372036854775808", "0", "9223372036854775807"]),
            integers(&[i64::MIN, -1, 0, i64::MAX]),
            exact,
        ),
        case("object", "oid", texts(&["0", "2147483648", "4294967295"]), integers(&[0, 2147483648, 4294967295]), exact),
        case("domain", "count_of", texts(&["0", "3", "9"]), integers(&[0, 3, 4]), exact),
    ];
    let nines = 10_i128.pow(38) - 1;
    let decimals = |scale: i8, values: &[i128]| {
        values.iter().map(|value| Literal::Decimal { value: *value, scale }).collect::<Vec<_>>()
    };
    let huge = texts(&[&nines.to_string(), &format!("-{nines}"), "0", "1", "-1"]);
    cases.push(case("huge", "numeric(38,0)", huge, decimals(0, &[nines, -nines, 0, 1, nines - 1]), exact));
    let prices = texts(&["12.3400", "-0.0001", "0", "99999999.9999", "12.34"]);
    cases.push(case("price", "numeric(12,4)", prices, decimals(4, &[123_400, -1, 0, 1, 999_999_999_999]), exact));
    let numbers = ["NaN", "-Infinity", "-1.5", "-0", "0", "0.1", "1e-45", "1.5", "16777217", "Infinity", "3e38"];
    let floats: Vec<Literal> = [f64::NEG_INFINITY, -1.5, -0.0, 0.0, 1.5, 16_777_216.0, f64::INFINITY]
        .into_iter()
        .chain([f64::from(0.1_f32), f64::from(1e-45_f32)])
        .map(Literal::Float)
        .collect();
    cases.push(case("single", "float4", texts(&numbers), floats, exact));
    let floats = [f64::NEG_INFINITY, -1.5, -0.0, 0.0, 0.1, 1.5, 5e-324, 1e300, f64::MAX, f64::INFINITY];
    let wide = [&numbers[..], &["5e-324", "1e300", "1.7976931348623157e308"]].concat();
    cases.push(case("double", "float8", texts(&wide), floats.into_iter().map(Literal::Float).collect(), exact));
    for (name, kind, answers) in [
        ("line", "text", exact),
        ("line_c", "text COLLATE \"C\"", exact),
        ("short", "varchar(20)", exact),
        ("tongue", "text COLLATE german", exact),
        ("domain_text", "label", exact),
        ("folded", "text COLLATE folded", [Inexact, No, No]),
        ("fixed", "char(24)", [Inexact, No, No]),
        ("named", "name", none),
    ] {
        cases.push(case(name, kind, texts(&some), literal_texts(&some), answers));
    }
    let days = [
        "4714-11-24 BC",
        "0044-03-15 BC",
        "0001-12-31 BC",
        "0001-01-01",
        "1582-10-10",
        "1969-12-31",
        "1970-01-01",
        "2024-02-29",
        "10000-01-01",
        "5874897-12-31",
    ];
    let literals = [-2_440_588, -735_187, -719_163, -719_162, -141_432, -1, 0, 19_782, 2_932_897, 2_145_042_905];
    cases.push(case("day", "date", texts(&days), literals.into_iter().map(Literal::Date).collect(), exact));
    let clock = ["00:00:00", "00:00:00.000001", "12:34:56.789", "23:59:59.999999"];
    let micros = |value| Literal::Time { value, unit: TimeUnit::Microsecond };
    let times = vec![
        micros(0),
        micros(1),
        micros(45_296_789_000),
        micros(86_399_999_999),
        Literal::Time { value: 1_000, unit: TimeUnit::Nanosecond },
    ];
    cases.push(case("clock", "time", texts(&clock), times, exact));
    let moments = [
        "0044-03-15 12:00:00.000001 BC",
        "0001-01-01 00:00:00",
        "1969-12-31 23:59:59.999999",
        "1970-01-01 00:00:00",
        "2024-02-29 12:34:56.123456",
        "12345-01-01 00:00:00",
    ];
    let instants: Vec<(i64, TimeUnit)> = vec![
        (-63_520_113_599_999_999, TimeUnit::Microsecond),
        (-62_135_596_800, TimeUnit::Second),
        (-1, TimeUnit::Microsecond),
        (0, TimeUnit::Millisecond),
        (1_709_210_096_123_456_000, TimeUnit::Nanosecond),
        (1_709_210_096_123, TimeUnit::Millisecond),
        (327_403_382_400, TimeUnit::Second),
    ];
    let at = |zone: Option<&str>| {
        let zone = zone.map(str::to_owned);
        instants
            .iter()
            .map(|(value, unit)| Literal::Timestamp { value: *value, unit: *unit, zone: zone.clone() })
            .collect::<Vec<_>>()
    };
    cases.push(case("moment", "timestamp", texts(&moments), at(None), exact));
    let zoned: Vec<String> =
        moments.iter().map(|text| quoted(&format!("{text}+00"))).map(|text| text.replace(" BC+00", "+00 BC")).collect();
    cases.push(case("instant", "timestamptz", zoned, at(Some("Asia/Kathmandu")), exact));
    let codes = [
        "00000000-0000-0000-0000-000000000000",
        "00000000-0000-0000-0000-00000000000a",
        "9fffffff-0000-0000-0000-000000000000",
        "a0000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
    ];
    cases.push(case("code", "uuid", texts(&codes), literal_texts(&codes), exact));
    let bytes: [&[u8]; 6] = [b"", b"\0", b"\0\0", b"'", b"\\", b"\xff\xfe"];
    let hex =
        |bytes: &&[u8]| quoted(&format!("\\x{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()));
    cases.push(case(
        "raw",
        "bytea",
        bytes.iter().map(hex).collect(),
        bytes.iter().map(|bytes| Literal::Binary(bytes.to_vec())).collect(),
        exact,
    ));
    cases.push(case("mood", "mood", texts(&["sad", "ok", "happy"]), literal_texts(&["ok", "none"]), none));
    cases.push(case("doc", "jsonb", texts(&["{\"a\": 1}", "[]"]), literal_texts(&["[]"]), none));
    cases.push(case("plain_doc", "json", texts(&["{\"a\":1}", "[]"]), literal_texts(&["[]"]), none));
    cases.push(case("loose", "numeric", texts(&["1.0", "1.00", "NaN"]), literal_texts(&["1.0", "NaN"]), none));
    cases.push(case("host", "inet", texts(&["10.0.0.1", "10.0.0.1/8"]), literal_texts(&["10.0.0.1"]), none));
    cases.push(case("span", "interval", texts(&["1 mon", "30 days"]), Vec::new(), none));
    cases.push(case("list", "int4[]", texts(&["{1,2}", "{}"]), Vec::new(), none));
    cases.push(case("duo", "pair", texts(&["(,)", "(1,a)"]), literal_texts(&["(,)"]), none));
    cases
}

async fn table(fixture: &Fixture, cases: &mut Vec<Case>) {
    let collations = "CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level1', deterministic = false);
                      CREATE COLLATION german (provider = icu, locale = 'de')";
    if fixture.admin.batch_execute(collations).await.is_err() {
        println!("without collations of ICU, which the server does not have");
        cases.retain(|case| !matches!(case.name, "folded" | "tongue"));
    }
    fixture
        .run(
            "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); CREATE TYPE pair AS (a int, b text);
             CREATE DOMAIN count_of AS int4; CREATE DOMAIN label AS varchar(30)",
        )
        .await;
    let columns: Vec<String> = cases.iter().map(|case| format!("{} {}", case.name, case.kind)).collect();
    fixture.run(&format!("CREATE TABLE t (id int4, {})", columns.join(", "))).await;
    let rows = cases.iter().map(|case| case.values.len()).max().unwrap_or(0);
    // One value more than the longest column has: every column has NULL, and values recur in other rows.
    for row in 0..=rows * 2 {
        let value = |case: &Case| case.values.get(row % (case.values.len() + 1)).cloned().unwrap_or("NULL".to_owned());
        let values: Vec<String> = cases.iter().map(value).collect();
        fixture.run(&format!("INSERT INTO t VALUES ({row}, {})", values.join(", "))).await;
    }
}

async fn subject<'a>(fixture: &'a Fixture, table: &str) -> Subject<'a> {
    Subject::of(&*fixture.source, "pg", &fixture.name(table)).await.expect("a table")
}

/// Offers the predicate; where it is taken, what comes back was compared with the oracle.
async fn check(subject: &Subject<'_>, predicate: &Predicate) -> Answer {
    conformance::filter(subject, predicate, 4).await.unwrap_or_else(|difference| panic!("{difference}")).0
}

#[tokio::test]
async fn every_type_with_every_operator_gives_the_rows_of_the_engine() {
    let Some(fixture) = fixture("grid").await else { return };
    let mut cases = cases();
    table(&fixture, &mut cases).await;
    let subject = subject(&fixture, "t").await;
    let mut leaves = Vec::new();
    for (at, case) in cases.iter().enumerate() {
        let column = at + 1;
        for value in &case.literals {
            for op in OPERATORS {
                let wanted = match op {
                    Comparison::Eq => case.answers[0],
                    Comparison::NotEq => case.answers[1],
                    _ => case.answers[2],
                };
                let predicate = Predicate::Compare { column, op, value: value.clone() };
                assert_eq!(check(&subject, &predicate).await, wanted, "{} {op:?} {value:?}", case.name);
                leaves.push(predicate);
            }
        }
        for negated in [false, true] {
            let predicate = Predicate::Null { column, negated };
            assert_eq!(check(&subject, &predicate).await, Answer::Exact, "{} is null", case.name);
            leaves.push(predicate);
            for some in case.literals.chunks(3) {
                let wanted = match (case.answers[0], negated) {
                    (Answer::Exact, _) => Answer::Exact,
                    (Answer::Inexact, false) => Answer::Inexact,
                    _ => Answer::Refused,
                };
                let predicate = Predicate::In { column, values: some.to_vec(), negated };
                assert_eq!(check(&subject, &predicate).await, wanted, "{} in {some:?}", case.name);
                leaves.push(predicate);
            }
        }
    }
    let mut found = [0; 3];
    for tree in conformance::trees(&leaves, 42, 600) {
        found[check(&subject, &tree).await as usize] += 1;
    }
    assert!(found.iter().all(|count| *count > 30), "exact, inexact, no: {found:?}");
}

#[tokio::test]
async fn patterns_match_as_in_the_engine() {
    let Some(fixture) = fixture("pattern").await else { return };
    fixture.run("CREATE TABLE t (id int4, s text, v varchar(40), c char(20))").await;
    let hostile: Vec<String> = hostile().into_iter().filter(|text| text.chars().count() <= 20).collect();
    for (at, text) in hostile.iter().enumerate() {
        let text = quoted(text);
        fixture.run(&format!("INSERT INTO t VALUES ({at}, {text}, {text}, {text})")).await;
    }
    fixture.run("INSERT INTO t VALUES (1000)").await;
    let subject = subject(&fixture, "t").await;
    let patterns = [
        "",
        "%",
        "_",
        "%%",
        "a%",
        "%a",
        "%a%",
        "a_b",
        "_%",
        "%_",
        "a\\%b",
        "a\\_b",
        "a\\\\b",
        "\\a",
        "a\\bc",
        "%\n%",
        "'%",
        "%''%",
        "\\'%",
        "%日%",
        "é",
        "_é%",
        "É%",
        "a.b",
        "a+b(c)[d]",
        "%\\%",
        "%\\\\%",
        "\u{1F600}",
        "__",
        "^a",
        "a$",
        "%!%",
        "it''s",
    ];
    let mut exact = 0;
    for pattern in patterns.into_iter().chain(hostile.iter().map(String::as_str)) {
        for (escape, negated, column) in
            [('\\', false, 1), ('\\', true, 1), ('!', false, 1), ('\\', false, 2), ('\\', false, 3)]
        {
            let predicate =
                Predicate::Like { column, pattern: pattern.to_owned(), escape, negated, case_insensitive: false };
            let answer = check(&subject, &predicate).await;
            assert!(answer != Answer::Inexact && (column != 3 || answer == Answer::Refused), "{predicate:?}");
            exact += usize::from(answer == Answer::Exact);
        }
        let insensitive = Predicate::Like {
            column: 1,
            pattern: pattern.to_owned(),
            escape: '\\',
            negated: false,
            case_insensitive: true,
        };
        assert_eq!(check(&subject, &insensitive).await, Answer::Refused);
    }
    assert!(exact > 800, "{exact}");
}

#[tokio::test]
async fn case_insensitive_text_of_the_extension_is_compared_by_the_engine() {
    let Some(fixture) = fixture("citext").await else { return };
    if fixture.admin.batch_execute("CREATE EXTENSION IF NOT EXISTS citext SCHEMA public").await.is_err() {
        println!("ignored: the server does not have citext");
        return;
    }
    fixture.run("CREATE TABLE t (id int4, s public.citext); INSERT INTO t VALUES (1, 'a'), (2, 'A'), (3, NULL)").await;
    let subject = subject(&fixture, "t").await;
    let equal = Predicate::Compare { column: 1, op: Comparison::Eq, value: Literal::Text("a".into()) };
    assert_eq!(check(&subject, &equal).await, Answer::Refused);
    let null = Predicate::Null { column: 1, negated: false };
    assert_eq!(check(&subject, &null).await, Answer::Exact);
    assert_eq!(subject.rows.num_rows(), 3);
}

#[tokio::test]
async fn a_negative_nan_is_the_same_nan() {
    let Some(fixture) = fixture("nan").await else { return };
    fixture.run("CREATE TABLE t (id int4, f float8); INSERT INTO t VALUES (1, 'NaN'), (2, NULL), (3, 0), (4, '-0'), (5, '-Infinity')").await;
    let negative = fixture.admin.prepare("INSERT INTO t VALUES (6, $1)").await.expect("prepared");
    fixture.admin.execute(&negative, &[&f64::from_bits(0xfff8_0000_0000_0000)]).await.expect("inserted");
    let subject = subject(&fixture, "t").await;
    for value in [-0.0, 0.0, 1.0, f64::INFINITY, f64::NEG_INFINITY] {
        for op in OPERATORS {
            let predicate = Predicate::Compare { column: 1, op, value: Literal::Float(value) };
            check(&subject, &predicate).await;
        }
    }
}
