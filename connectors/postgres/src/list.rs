//! Lists of values, short ones as they are written and long ones as one array.

use std::fmt::Write;

use connector_spi::{Literal, Refusal, RefusalCode, Scan};

use crate::metadata::Facts;
use crate::pushdown::{exact_comparison, refusal};
use crate::sql::literal;
use crate::types::{Collation, Kind};

/// A longer list is sent as an array.
const LONG_LIST: usize = 32;
/// The longest list that a server looks through value by value.
const LONGEST_UNHASHED: usize = 1000;

/// Whether a list costs more than it saves: it is long, and the server knows no hashes of lists or has hardly more rows.
pub(crate) fn is_costly(scan: &Scan, values: usize) -> bool {
    if values <= LONGEST_UNHASHED {
        return false;
    }
    let facts = Facts::read(&scan.native);
    !facts.hashes_lists || facts.rows.is_some_and(|rows| rows < 4 * values as u64)
}

/// The text of `name [NOT] IN (values)`, and whether it is exact.
pub(crate) fn membership(
    name: &str,
    kind: &Kind,
    values: &[Literal],
    negated: bool,
) -> Result<(String, bool), Refusal> {
    if values.is_empty() {
        return Err(Refusal::new(RefusalCode::Value, "an empty list cannot be written in SQL"));
    }
    // What is infinite there is NULL here, and passes here neither.
    if let Kind::Finite(kind) = kind {
        return membership(name, kind, values, negated).map(|(text, _)| (text, false));
    }
    let exact = exact_comparison(kind) || *kind == Kind::Text(Collation::Bytes);
    let superset = matches!(kind, Kind::Text(Collation::Loose) | Kind::Char(Collation::Bytes | Collation::Loose));
    if !(exact || superset && !negated) {
        return Err(refusal(kind));
    }
    // One value to be read, and looked up by its hash since version 14.
    let long = values.len() > LONG_LIST && !negated;
    if long && let Some(array) = integers(kind, values) {
        return Ok((format!("{name} = ANY ({array})"), exact));
    }
    let values = values.iter().map(|value| literal(kind, value)).collect::<Result<Vec<_>, _>>()?;
    if long && let Some(array) = array(&values) {
        return Ok((format!("{name} = ANY ({array})"), exact));
    }
    Ok((format!("{name} {} ({})", if negated { "NOT IN" } else { "IN" }, values.join(", ")), exact))
}

/// An array of whole numbers, as [`array`] makes it of their literals in many times the time: join keys are tens of
/// thousands. None where one is none, or does not fit.
fn integers(kind: &Kind, values: &[Literal]) -> Option<String> {
    let (item_type, range) = match kind {
        Kind::Int2 => ("int2", i64::from(i16::MIN)..=i64::from(i16::MAX)),
        Kind::Int4 => ("int4", i64::from(i32::MIN)..=i64::from(i32::MAX)),
        Kind::Int8 => ("int8", i64::MIN..=i64::MAX),
        _ => return None,
    };
    let mut text = String::with_capacity(values.len() * 8 + 16);
    text.push_str("'{");
    for value in values {
        match value {
            Literal::Integer(value) if range.contains(value) => write!(text, "{value},").ok()?,
            _ => return None,
        }
    }
    text.pop();
    text.push_str("}'::");
    text.push_str(item_type);
    text.push_str("[]");
    Some(text)
}

/// An array of literals of one type; none where they are not in quotes.
fn array(literals: &[String]) -> Option<String> {
    let mut items = Vec::with_capacity(literals.len());
    let mut item_type = "";
    for literal in literals {
        let (quoted, of) = literal.rsplit_once("::")?;
        let inner = quoted.strip_prefix('\'')?.strip_suffix('\'')?;
        let plain =
            inner.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-' || byte == b'.') && !inner.is_empty();
        items.push(match plain {
            true => inner.to_owned(),
            false => format!("\"{}\"", inner.replace('\\', "\\\\").replace('"', "\\\"")),
        });
        item_type = of;
    }
    Some(format!("'{{{}}}'::{item_type}[]", items.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_one_array_whatever_its_texts() {
        let list = |texts: &[&str]| {
            let mut values: Vec<Literal> = (0..LONG_LIST).map(|_| Literal::Text("a".to_owned())).collect();
            values.extend(texts.iter().map(|text| Literal::Text((*text).to_owned())));
            membership("\"t\"", &Kind::Text(Collation::Bytes), &values, false).expect("sent").0
        };
        let start = format!("\"t\" = ANY ('{{{}", "\"a\",".repeat(LONG_LIST));
        let rest = list(&["it's", "\"", "\\", "NULL", "", "1", "{,}"]);
        let rest = rest.strip_prefix(&start).expect("an array");
        assert_eq!(rest, r#""it''s","\"","\\","NULL","",1,"{,}"}'::text[])"#);
        let numbers: Vec<Literal> = (-20..20).map(Literal::Integer).collect();
        let (text, exact) = membership("\"n\"", &Kind::Int4, &numbers, false).expect("sent");
        assert!(exact && text.starts_with("\"n\" = ANY ('{-20,-19,") && text.ends_with(",19}'::int4[])"), "{text}");
        let (text, _) = membership("\"n\"", &Kind::Int4, &numbers, true).expect("sent");
        assert!(text.starts_with("\"n\" NOT IN ('-20'::int4, "), "{text}");
        for (kind, least, most) in [
            (Kind::Int2, i64::from(i16::MIN), i64::from(i16::MAX)),
            (Kind::Int4, i64::from(i32::MIN), i64::from(i32::MAX)),
            (Kind::Int8, i64::MIN, i64::MAX),
        ] {
            let values = [least, -1, 0, 7, most].map(Literal::Integer);
            let literals = values.iter().map(|value| literal(&kind, value)).collect::<Result<Vec<_>, _>>();
            assert_eq!(integers(&kind, &values), array(&literals.expect("literals")), "{kind:?}");
        }
        assert_eq!(integers(&Kind::Int2, &[Literal::Integer(40_000)]), None);
        let flags = vec![Literal::Boolean(true); 40];
        assert!(membership("\"b\"", &Kind::Bool, &flags, false).expect("sent").0.starts_with("\"b\" IN (true, "));
    }
}
