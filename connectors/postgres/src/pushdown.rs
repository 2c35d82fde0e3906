//! What Postgres may take over: a proof for each kind of column and operator, or a refusal.

use connector_spi::{
    Absorbed, Column, Comparison, Connective, Literal, Op, Predicate, Refusal, RefusalCode, Scan, SortKey, Taken, take,
};

use crate::sql::{identifier, literal, sign};
use crate::types::{Collation, Kind};
use crate::{aggregate, join, like, list};

/// A filter longer than this is applied by the engine alone.
const LONGEST_TEXT_BYTES: usize = 2 << 20;

pub(crate) const TAKEN: Refusal = Refusal::new(RefusalCode::Order, "the scan has a limit or groups already");
pub(crate) const ZERO: Refusal =
    Refusal::new(RefusalCode::Type, "-0.0 equals 0.0, and Postgres may give the one where the engine gives the other");
pub(crate) const INFINITE: Refusal =
    Refusal::new(RefusalCode::Type, "infinite values are NULL here").remedy("set on_infinity = 'error'");
pub(crate) const UNTYPED: Refusal = Refusal::new(RefusalCode::Type, "the column's type is not known");
pub(crate) const FEWER: Refusal = Refusal::new(RefusalCode::Source, "the table has fewer columns");
pub(crate) const UNKNOWN: Refusal = Refusal::new(RefusalCode::Source, "not known to the connector");

/// The answer to an offered operation; pure.
pub(crate) fn absorb(scan: &Scan, op: &Op) -> Absorbed {
    match op {
        Op::Columns(_) | Op::Limit(_) if scan.aggregation.is_some() => {
            Absorbed::No(Refusal::new(RefusalCode::Order, "the scan has groups already"))
        }
        Op::Columns(columns) if columns.iter().any(|at| *at >= scan.columns.len()) => Absorbed::No(FEWER),
        Op::Columns(columns) => Absorbed::Exact(scan.with_projection(columns.clone())),
        Op::Limit(limit) => Absorbed::Exact(scan.with_limit(*limit)),
        // The limit would then count the rows that pass, and a group is no row.
        Op::Filter(_) if scan.is_taken() => Absorbed::No(TAKEN),
        Op::Filter(Predicate::In { values, .. }) if list::is_costly(scan, values.len()) => {
            Absorbed::No(Refusal::new(RefusalCode::Size, "the list is too long to be looked through for each row"))
        }
        Op::Filter(predicate) => match sent(&scan.columns, predicate) {
            Err(reason) => Absorbed::No(reason),
            Ok(sent) if sent.form.len() > LONGEST_TEXT_BYTES => Absorbed::No(
                Refusal::new(RefusalCode::Size, "the filter is longer than 2 MiB as text")
                    .remedy("join a table of the values"),
            ),
            Ok(Taken { kept, exact: true, .. }) => Absorbed::Exact(scan.with_filter(kept)),
            Ok(Taken { kept, .. }) => Absorbed::Inexact(scan.with_filter(kept)),
        },
        Op::Top { order, limit } => match order.iter().find_map(|key| unordered(scan, key)) {
            _ if scan.is_taken() => Absorbed::No(TAKEN),
            Some(reason) => Absorbed::No(reason),
            None => Absorbed::Exact(scan.with_top(order.clone(), *limit)),
        },
        Op::Join(join) => match join::joined(scan, join) {
            Ok(scan) => Absorbed::Exact(scan),
            Err(refusal) => Absorbed::No(refusal),
        },
        Op::Aggregate(aggregation) => match aggregate::doubt(scan, aggregation) {
            Some(reason) => Absorbed::No(reason),
            None if aggregate::many(scan, aggregation) => {
                Absorbed::No(Refusal::new(RefusalCode::Cost, "there are about as many groups as rows"))
            }
            None => Absorbed::Exact(scan.with_aggregation(aggregation.clone())),
        },
        _ => Absorbed::No(UNKNOWN),
    }
}

/// Why Postgres cannot sort by a key as the engine does; none where it can.
fn unordered(scan: &Scan, key: &SortKey) -> Option<Refusal> {
    let kind = scan.columns.get(key.column).and_then(|column| Kind::of_column(column).ok());
    match kind {
        None => Some(UNTYPED),
        Some(Kind::Text(Collation::Bytes)) => None,
        Some(kind) if exact_comparison(&kind) => None,
        Some(kind) => Some(refusal(&kind)),
    }
}

/// The text of a predicate, in parentheses, and what it proves. The only place that decides: what `absorb` takes
/// over is what `read` prints.
pub(crate) fn sent(columns: &[Column], predicate: &Predicate) -> Result<Taken<String>, Refusal> {
    let leaf = |leaf: &Predicate| leaf_text(columns, leaf).map(|(text, exact)| (format!("({text})"), exact));
    let connect = |connective, texts: Vec<String>| match connective {
        Connective::And => format!("({})", texts.join(" AND ")),
        Connective::Or => format!("({})", texts.join(" OR ")),
        Connective::Not => format!("(NOT {})", texts.join(" ")),
    };
    take(predicate, &leaf, &connect)
}

/// The text of a predicate on one column, and whether it is exact.
fn leaf_text(columns: &[Column], leaf: &Predicate) -> Result<(String, bool), Refusal> {
    let find = |at: usize| {
        let column = columns.get(at).ok_or(FEWER)?;
        let kind = Kind::of_column(column).map_err(|_| UNTYPED)?;
        let name = identifier(&column.name);
        let name = if kind == Kind::Money { format!("{name}::numeric") } else { name };
        Ok::<_, Refusal>((name, kind))
    };
    match leaf {
        Predicate::Compare { column, op, value } => {
            let (name, kind) = find(*column)?;
            comparison(&name, &kind, *op, value)
        }
        Predicate::In { column, values, negated } => {
            let (name, kind) = find(*column)?;
            list::membership(&name, &kind, values, *negated)
        }
        Predicate::Null { column, negated } => {
            let (name, kind) = find(*column)?;
            if let (Kind::Finite(_), false) = (&kind, negated) {
                return Ok((format!("{name} IS NULL OR NOT pg_catalog.isfinite({name})"), false));
            }
            // A composite value IS NULL where all of its fields are; its text is not.
            let name = if kind == Kind::Other { format!("{name}::text") } else { name };
            let exact = !matches!(kind, Kind::Finite(_));
            Ok((format!("{name} IS {}NULL", if *negated { "NOT " } else { "" }), exact))
        }
        Predicate::Like { column, .. } => {
            let (name, kind) = find(*column)?;
            like::condition(&name, &kind, leaf)
        }
        _ => Err(UNKNOWN),
    }
}

fn comparison(name: &str, kind: &Kind, op: Comparison, value: &Literal) -> Result<(String, bool), Refusal> {
    if let Kind::Finite(kind) = kind {
        // What is infinite there passes there alone, and is filtered again.
        return comparison(name, kind, op, value).map(|(text, _)| (text, false));
    }
    if matches!(kind, Kind::Interval | Kind::Array(_) | Kind::Rounded | Kind::Other) {
        return Err(refusal(kind));
    }
    let text = literal(kind, value)?;
    let equality = matches!(op, Comparison::Eq | Comparison::NotEq);
    match kind {
        _ if exact_comparison(kind) => Ok((format!("{name} {} {text}", sign(op)), true)),
        Kind::Text(Collation::Bytes) if equality => Ok((format!("{name} {} {text}", sign(op)), true)),
        // Bytes decide the order here; there, the collation would.
        Kind::Text(Collation::Bytes) => Ok((format!("{name} COLLATE \"C\" {} {text}", sign(op)), true)),
        // Equal bytes are equal texts under every collation, and with every padding.
        Kind::Text(Collation::Loose) | Kind::Char(Collation::Bytes | Collation::Loose) if op == Comparison::Eq => {
            Ok((format!("{name} = {text}"), false))
        }
        other => Err(refusal(other)),
    }
}

/// Whether values compare as here. A float does: -0.0 equals 0.0, NaN is equal to itself and greatest, here and there; but
/// equal ones need not be the same.
pub(crate) fn exact_comparison(kind: &Kind) -> bool {
    exact_order(kind) || matches!(kind, Kind::Float4 | Kind::Float8)
}

/// Whether equality and order of the type are those of its Arrow values.
pub(crate) fn exact_order(kind: &Kind) -> bool {
    match kind {
        Kind::Bool | Kind::Int2 | Kind::Int4 | Kind::Int8 | Kind::Oid | Kind::Numeric { .. } => true,
        Kind::Date | Kind::Time | Kind::Timestamp | Kind::Timestamptz | Kind::Bytea | Kind::Money => true,
        // In lower case with dashes at fixed places, a uuid sorts as its bytes do.
        Kind::Uuid => true,
        Kind::Float4 | Kind::Float8 | Kind::Text(_) | Kind::Char(_) => false,
        Kind::Interval | Kind::Array(_) | Kind::Rounded | Kind::Finite(_) | Kind::Other => false,
    }
}

pub(crate) fn refusal(kind: &Kind) -> Refusal {
    match kind {
        Kind::Text(Collation::Foreign) | Kind::Char(Collation::Foreign) => {
            Refusal::new(RefusalCode::Collation, "the database's encoding is not UTF-8")
        }
        Kind::Text(_) => Refusal::new(RefusalCode::Collation, "the column's collation is not deterministic")
            .remedy("compare by = or IN"),
        Kind::Char(_) => Refusal::new(RefusalCode::Type, "char(n) compares without regard to blanks at the end")
            .remedy("compare by = or IN, or cast it to text in a view there"),
        Kind::Float4 | Kind::Float8 => ZERO,
        Kind::Finite(_) => INFINITE,
        Kind::Rounded => Refusal::new(RefusalCode::Type, "the column's values are rounded here")
            .remedy("set numeric_as = 'decimal(p,s)'"),
        _ => Refusal::new(RefusalCode::Type, "the type compares differently in Postgres")
            .remedy("cast it to text in a view there, or use TABLE(catalog.system.query('…'))"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use connector_spi::{Table, TableName};

    use super::*;
    use crate::split::Part;
    use crate::sql::select;

    const KINDS: [(&str, Kind); 11] = [
        ("n", Kind::Int4),
        ("t", Kind::Text(Collation::Bytes)),
        ("ci", Kind::Text(Collation::Loose)),
        ("f", Kind::Float8),
        ("c", Kind::Char(Collation::Bytes)),
        ("o", Kind::Other),
        ("u", Kind::Uuid),
        ("x", Kind::Text(Collation::Foreign)),
        ("b\"b", Kind::Bool),
        ("m", Kind::Money),
        ("r", Kind::Rounded),
    ];

    pub(crate) fn scan() -> Scan {
        let column = |(name, kind): &(&str, Kind)| {
            Column::new(*name, kind.data_type(), true).with_native(kind.native().expect("kept"))
        };
        let table = Table::new(KINDS.iter().map(column).collect());
        Scan::new("pg", TableName::new("public", "a\"b"), &table)
    }

    pub(crate) fn at(name: &str) -> usize {
        KINDS.iter().position(|(known, _)| *known == name).expect("a column")
    }

    fn compare(column: &str, op: Comparison, value: impl Into<Value>) -> Predicate {
        Predicate::Compare { column: at(column), op, value: value.into().0 }
    }

    fn like(column: &str, pattern: &str, escape: char, case_insensitive: bool) -> Predicate {
        Predicate::Like { column: at(column), pattern: pattern.into(), escape, negated: false, case_insensitive }
    }

    struct Value(Literal);

    impl From<i64> for Value {
        fn from(value: i64) -> Self {
            Self(Literal::Integer(value))
        }
    }

    impl From<f64> for Value {
        fn from(value: f64) -> Self {
            Self(Literal::Float(value))
        }
    }

    impl From<&str> for Value {
        fn from(value: &str) -> Self {
            Self(Literal::Text(value.to_owned()))
        }
    }

    /// Whether it is exact, and the WHERE as sent; `None` where it is refused.
    fn offered(predicate: Predicate) -> Option<(bool, String)> {
        let (exact, scan) = match absorb(&scan(), &Op::Filter(predicate)) {
            Absorbed::Exact(scan) => (true, scan),
            Absorbed::Inexact(scan) => (false, scan),
            Absorbed::No(_) => return None,
        };
        let text = select(&scan.with_projection(vec![0]), &Part::default()).expect("it is printed");
        let (_, text) = text.split_once(" WHERE ").expect("a filter");
        Some((exact, text.to_owned()))
    }

    #[test]
    fn what_is_exact_is_sent_and_not_applied_again() {
        let cases = [
            (compare("n", Comparison::Eq, 5), "(\"n\" = '5'::int4)"),
            (compare("t", Comparison::NotEq, "o'x"), "(\"t\" <> 'o''x'::text)"),
            (compare("t", Comparison::Lt, "o'x"), "(\"t\" COLLATE \"C\" < 'o''x'::text)"),
            (like("t", "a\\_%", '\\', false), "(\"t\" LIKE 'a\\_%' ESCAPE '\\')"),
            (like("t", "a!b", '!', false), "(\"t\" LIKE 'a!b' ESCAPE '!')"),
            (Predicate::Null { column: at("f"), negated: false }, "(\"f\" IS NULL)"),
            (Predicate::Null { column: at("o"), negated: true }, "(\"o\"::text IS NOT NULL)"),
            (Predicate::Null { column: at("b\"b"), negated: true }, "(\"b\"\"b\" IS NOT NULL)"),
            (
                Predicate::In {
                    column: at("n"),
                    values: vec![Literal::Integer(1), Literal::Integer(-2)],
                    negated: true,
                },
                "(\"n\" NOT IN ('1'::int4, '-2'::int4))",
            ),
            (
                Predicate::Compare {
                    column: at("m"),
                    op: Comparison::Lt,
                    value: Literal::Decimal { value: 150, scale: 2 },
                },
                "(\"m\"::numeric < '1.50'::numeric)",
            ),
            (Predicate::Null { column: at("r"), negated: false }, "(\"r\" IS NULL)"),
            (compare("f", Comparison::Gt, 1.5), "(\"f\" > '1.5e0'::float8)"),
            (compare("f", Comparison::Gt, -0.0), "(\"f\" > '-0e0'::float8)"),
            (compare("f", Comparison::NotEq, 0.0), "(\"f\" <> '0e0'::float8)"),
            (
                compare("u", Comparison::Lt, "00000000-0000-0000-0000-00000000000f"),
                "(\"u\" < '00000000-0000-0000-0000-00000000000f'::uuid)",
            ),
        ];
        for (predicate, text) in cases {
            assert_eq!(offered(predicate.clone()), Some((true, text.to_owned())), "{predicate:?}");
        }
    }

    #[test]
    fn what_is_a_superset_is_sent_and_applied_again() {
        let cases = [
            (compare("ci", Comparison::Eq, "x"), "(\"ci\" = 'x'::text)"),
            (compare("c", Comparison::Eq, "x "), "(\"c\" = 'x '::bpchar)"),
        ];
        for (predicate, text) in cases {
            assert_eq!(offered(predicate.clone()), Some((false, text.to_owned())), "{predicate:?}");
        }
    }

    #[test]
    fn what_compares_otherwise_is_refused() {
        let texts = |column: &str, negated| Predicate::In {
            column: at(column),
            values: vec![Literal::Text("x".into())],
            negated,
        };
        let refused = [
            compare("ci", Comparison::Lt, "x"),
            compare("ci", Comparison::NotEq, "x"),
            compare("c", Comparison::Lt, "x"),
            compare("c", Comparison::NotEq, "x"),
            compare("o", Comparison::Eq, "x"),
            compare("x", Comparison::Eq, "x"),
            compare("t", Comparison::Eq, "a\0"),
            compare("t", Comparison::Eq, 1),
            compare("n", Comparison::Eq, 1 << 40),
            compare("f", Comparison::Eq, f64::NAN),
            compare("r", Comparison::Gt, 1.0),
            compare("r", Comparison::Eq, 1.0),
            compare("u", Comparison::Eq, "00000000-0000-0000-0000-00000000000F"),
            texts("ci", true),
            texts("c", true),
            texts("x", false),
            texts("o", false),
            Predicate::In { column: 0, values: Vec::new(), negated: false },
            like("t", "a%", '\\', true),
            like("t", "a\\", '\\', false),
            like("t", "a%%", '%', false),
            like("t", "a\0%", '\\', false),
            like("c", "a%", '\\', false),
            like("ci", "a%", '\\', false),
            like("u", "a%", '\\', false),
            Predicate::Compare { column: 99, op: Comparison::Eq, value: Literal::Integer(1) },
            Predicate::And(Vec::new()),
            Predicate::Or(Vec::new()),
            compare("t", Comparison::Eq, "x".repeat(LONGEST_TEXT_BYTES).as_str()),
        ];
        for predicate in refused {
            assert_eq!(offered(predicate.clone()), None, "{predicate:?}");
        }
    }

    #[test]
    fn combinations_are_as_good_as_their_parts_allow() {
        let good = || compare("n", Comparison::Eq, 1);
        let wider = || compare("ci", Comparison::Eq, "x");
        let bad = || compare("o", Comparison::Eq, "x");
        let (n, ci) = ("(\"n\" = '1'::int4)", "(\"ci\" = 'x'::text)");
        let not = |inner| Predicate::Not(Box::new(inner));
        let cases = [
            (Predicate::And(vec![good(), good()]), Some((true, format!("({n} AND {n})")))),
            (Predicate::And(vec![good(), wider()]), Some((false, format!("({n} AND {ci})")))),
            (Predicate::And(vec![good(), bad()]), Some((false, format!("({n})")))),
            (Predicate::And(vec![bad(), bad()]), None),
            (Predicate::Or(vec![good(), good()]), Some((true, format!("({n} OR {n})")))),
            (Predicate::Or(vec![good(), wider()]), Some((false, format!("({n} OR {ci})")))),
            (Predicate::Or(vec![good(), bad()]), None),
            (
                Predicate::Or(vec![good(), Predicate::And(vec![good(), bad()])]),
                Some((false, format!("({n} OR ({n}))"))),
            ),
            (not(good()), Some((true, format!("(NOT {n})")))),
            (not(wider()), None),
            (not(Predicate::And(vec![good(), bad()])), None),
            (not(not(good())), Some((true, format!("(NOT (NOT {n}))")))),
        ];
        for (predicate, wanted) in cases {
            assert_eq!(offered(predicate.clone()), wanted, "{predicate:?}");
        }
        let deep = (0..200).fold(good(), |inner, _| not(inner));
        assert_eq!(offered(deep), None);
    }

    #[test]
    fn hostile_values_and_patterns_stay_literals() {
        for text in &connector_spi::conformance::hostile() {
            let quoted = format!("'{}'", text.replace('\'', "''"));
            let (exact, sent) = offered(compare("t", Comparison::Eq, text.as_str())).expect("sent");
            assert_eq!((exact, sent), (true, format!("(\"t\" = {quoted}::text)")));
            if let Some((_, sent)) = offered(like("t", text, '\\', false)) {
                assert_eq!(sent, format!("(\"t\" LIKE {quoted} ESCAPE '\\')"));
            }
        }
    }

    #[test]
    fn columns_and_a_limit_are_exact_and_no_filter_follows_a_limit() {
        let exact = |scan: &Scan, op| match absorb(scan, &op) {
            Absorbed::Exact(scan) => Some(scan),
            _ => None,
        };
        let columns = exact(&scan(), Op::Columns(vec![1, 0])).expect("taken");
        assert_eq!(
            select(&columns, &Part::default()).expect("text"),
            "SELECT \"t\"::text, \"n\"::int4 FROM \"public\".\"a\"\"b\""
        );
        let limited = exact(&columns, Op::Limit(7)).expect("taken");
        assert!(select(&limited, &Part::default()).expect("text").ends_with(" LIMIT 7"));
        assert!(matches!(absorb(&limited, &Op::Filter(compare("n", Comparison::Eq, 1))), Absorbed::No(_)));
        assert!(matches!(absorb(&scan(), &Op::Columns(vec![99])), Absorbed::No(_)));
        let none = limited.with_projection(Vec::new());
        let text = "SELECT count(*) FROM (SELECT FROM \"public\".\"a\"\"b\" LIMIT 7) AS part";
        assert_eq!(select(&none, &Part::default()).expect("text"), text);
        assert_eq!(
            select(&scan().with_projection(Vec::new()), &Part::default()).expect("text"),
            "SELECT count(*) FROM \"public\".\"a\"\"b\""
        );
    }
    pub(crate) fn sent_text(scan: &Scan, op: Op) -> Result<String, String> {
        match absorb(scan, &op) {
            Absorbed::Exact(scan) => Ok(select(&scan, &Part::default()).expect("it is printed")),
            Absorbed::Inexact(_) => Err("inexact".to_owned()),
            Absorbed::No(reason) => Err(reason.to_string()),
        }
    }

    #[test]
    fn the_first_rows_are_sorted_as_the_engine_sorts() {
        let top = |keys: &[(&str, bool, bool)]| {
            let key = |(name, descending, nulls_first): &(&str, bool, bool)| SortKey {
                column: at(name),
                descending: *descending,
                nulls_first: *nulls_first,
            };
            Op::Top { order: keys.iter().map(key).collect(), limit: 3 }
        };
        let scan = scan().with_projection(vec![0]);
        assert_eq!(
            sent_text(&scan, top(&[("n", true, true), ("t", false, false)])).as_deref(),
            Ok("SELECT \"n\"::int4 FROM \"public\".\"a\"\"b\" AS part \
                ORDER BY part.\"n\" DESC NULLS FIRST, part.\"t\" COLLATE \"C\" ASC NULLS LAST LIMIT 3")
        );
        assert_eq!(
            sent_text(&scan, top(&[("f", true, false)])).as_deref(),
            Ok(
                "SELECT \"n\"::int4 FROM \"public\".\"a\"\"b\" AS part ORDER BY part.\"f\" DESC NULLS LAST, CASE WHEN part.\"f\" = 0 \
                THEN pg_catalog.float8send(part.\"f\") = '\\x8000000000000000'::bytea END ASC LIMIT 3"
            )
        );
        for name in ["ci", "c", "o", "x"] {
            assert!(sent_text(&scan, top(&[(name, false, false)])).is_err(), "{name}");
        }
        assert!(sent_text(&scan.with_limit(5), top(&[("n", false, false)])).is_err());
    }
}
