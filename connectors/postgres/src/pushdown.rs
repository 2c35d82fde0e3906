//! What Postgres may take over: a proof for each kind of column and operator, or a refusal.

use connector_spi::{Absorbed, Comparison, Literal, Op, Predicate, Scan};

use crate::text;
use crate::types::Kind;

/// The answer to an offered operation; pure.
pub(crate) fn absorb(scan: &Scan, op: &Op) -> Absorbed {
    match op {
        Op::Columns(columns) => Absorbed::Exact(scan.with_projection(columns.clone())),
        Op::Limit(limit) => Absorbed::Exact(scan.with_limit(*limit)),
        Op::Filter(predicate) => match exact(scan, predicate) {
            Ok(()) if text::predicate(scan, predicate).is_some() => Absorbed::Exact(scan.with_filter(predicate.clone())),
            Ok(()) => Absorbed::No("a value has no exact text in Postgres"),
            Err(reason) => part_of(scan, predicate).unwrap_or(Absorbed::No(reason)),
        },
        _ => Absorbed::No("not known to the connector"),
    }
}

/// Of a conjunction, the parts that are exact: together a superset.
fn part_of(scan: &Scan, predicate: &Predicate) -> Option<Absorbed> {
    let Predicate::And(parts) = predicate else { return None };
    let sendable = |part: &&Predicate| exact(scan, part).is_ok() && text::predicate(scan, part).is_some();
    let kept: Vec<Predicate> = parts.iter().filter(sendable).cloned().collect();
    (!kept.is_empty()).then(|| Absorbed::Inexact(scan.with_filter(Predicate::And(kept))))
}

/// Whether Postgres gives exactly the engine's answer, NULL included.
fn exact(scan: &Scan, predicate: &Predicate) -> Result<(), &'static str> {
    let kind = |at: usize| Kind::parse(&scan.columns[at].native).ok_or("the column's type is not known");
    match predicate {
        Predicate::Null { .. } => Ok(()),
        Predicate::Compare { column, op, value } => comparable(&kind(*column)?, *op, value, scan),
        Predicate::In { column, values, .. } => {
            let kind = kind(*column)?;
            if values.is_empty() {
                return Err("an empty list has no text");
            }
            values.iter().try_for_each(|value| comparable(&kind, Comparison::Eq, value, scan))
        }
        Predicate::Like { column, pattern, escape, case_insensitive, .. } => match kind(*column)? {
            _ if *case_insensitive => Err("ILIKE depends on the collation"),
            Kind::Text { deterministic: true } if plain_pattern(pattern, *escape) => Ok(()),
            Kind::Text { deterministic: true } => Err("the pattern escapes more than wild cards"),
            _ => Err("LIKE is sent for text with a deterministic collation only"),
        },
        Predicate::And(parts) | Predicate::Or(parts) => parts.iter().try_for_each(|part| exact(scan, part)),
        Predicate::Not(inner) => exact(scan, inner),
    }
}

fn comparable(kind: &Kind, op: Comparison, value: &Literal, scan: &Scan) -> Result<(), &'static str> {
    let equality = matches!(op, Comparison::Eq | Comparison::NotEq);
    match kind {
        Kind::Bool | Kind::Int2 | Kind::Int4 | Kind::Int8 | Kind::Oid | Kind::Numeric { .. } => Ok(()),
        Kind::Date | Kind::Time | Kind::Timestamp | Kind::Timestamptz | Kind::Bytea => Ok(()),
        // Shown in lower case with dashes at fixed places, a uuid sorts as its bytes do.
        Kind::Uuid => Ok(()),
        Kind::Text { deterministic: false } => Err("the column's collation is not deterministic"),
        Kind::Text { deterministic: true } if equality => Ok(()),
        Kind::Text { deterministic: true } => match (scan.native.as_str(), value) {
            ("UTF8", Literal::Text(_)) => Ok(()),
            _ => Err("the database's encoding is not UTF-8, so its order of text is another"),
        },
        Kind::Float4 | Kind::Float8 => Err("NaN and negative zero compare differently in Postgres"),
        Kind::Opaque { .. } => Err("the column is shown as text, but Postgres compares it otherwise"),
        Kind::Interval | Kind::Array(_) => Err("the type's comparison differs in Postgres"),
    }
}

/// Every escape stands before a wild card or itself, where both sides mean the same.
fn plain_pattern(pattern: &str, escape: char) -> bool {
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c == escape && !chars.next().is_some_and(|next| next == '%' || next == '_' || next == escape) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use connector_spi::{Column, Table, TableName};

    use super::*;

    fn scan() -> Scan {
        let column = |name: &str, kind: Kind| Column::new(name, kind.data_type(), true).with_native(kind.native());
        let mut table = Table::new(vec![
            column("n", Kind::Int4),
            column("t", Kind::Text { deterministic: true }),
            column("ci", Kind::Text { deterministic: false }),
            column("f", Kind::Float8),
            column("c", Kind::Opaque { cast: false }),
        ]);
        table.native = "UTF8".to_owned();
        Scan::new("pg", TableName::new("public", "a\"b"), &table)
    }

    fn compare(column: usize, op: Comparison, value: Literal) -> Predicate {
        Predicate::Compare { column, op, value }
    }

    fn sent(predicate: Predicate) -> Option<(bool, String)> {
        match absorb(&scan(), &Op::Filter(predicate)) {
            Absorbed::Exact(scan) => Some((true, text::select(&scan.with_projection(vec![0]))?)),
            Absorbed::Inexact(scan) => Some((false, text::select(&scan.with_projection(vec![0]))?)),
            Absorbed::No(_) => None,
        }
    }

    #[test]
    fn ranges_of_text_are_compared_by_bytes() {
        let found = sent(compare(1, Comparison::Lt, Literal::Text("o'x".into())));
        let text = "SELECT \"n\" FROM \"public\".\"a\"\"b\" WHERE (\"t\" COLLATE \"C\" < 'o''x')";
        assert_eq!(found, Some((true, text.to_owned())));
    }

    #[test]
    fn what_compares_otherwise_is_refused() {
        for predicate in [
            compare(2, Comparison::Eq, Literal::Text("x".into())),
            compare(3, Comparison::Gt, Literal::Float(1.0)),
            compare(4, Comparison::Eq, Literal::Text("x".into())),
            compare(1, Comparison::Eq, Literal::Text("a\0".into())),
            Predicate::Like { column: 1, pattern: "a%".into(), escape: '\\', negated: false, case_insensitive: true },
            Predicate::Like { column: 1, pattern: "a\\".into(), escape: '\\', negated: false, case_insensitive: false },
            Predicate::Like { column: 1, pattern: "a\\b".into(), escape: '\\', negated: false, case_insensitive: false },
        ] {
            assert_eq!(sent(predicate.clone()), None, "{predicate:?}");
        }
    }

    #[test]
    fn of_a_conjunction_the_exact_part_is_sent_and_of_others_nothing() {
        let good = compare(0, Comparison::Eq, Literal::Integer(1));
        let bad = compare(3, Comparison::Gt, Literal::Float(1.0));
        let found = sent(Predicate::And(vec![good.clone(), bad.clone()])).expect("a part");
        assert!(!found.0 && found.1.ends_with("WHERE ((\"n\" = '1'::int4))"), "{found:?}");
        assert_eq!(sent(Predicate::Or(vec![good.clone(), bad.clone()])), None);
        assert_eq!(sent(Predicate::Not(Box::new(Predicate::And(vec![good, bad])))), None);
    }
}
