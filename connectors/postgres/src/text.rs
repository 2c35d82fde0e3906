//! SQL text: our own quoting, with `standard_conforming_strings` on; nothing is bound, since COPY takes no parameters.

use arrow::datatypes::TimeUnit;
use connector_spi::{Comparison, Literal, Predicate, Scan};

use crate::types::Kind;

/// `"name"`.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `'text'`; a backslash is a plain character. `None` for text that Postgres cannot hold.
pub(crate) fn quoted(text: &str) -> Option<String> {
    (!text.contains('\0')).then(|| format!("'{}'", text.replace('\'', "''")))
}

/// The SELECT of a scan. `None` where a predicate has no text, which `absorb` rules out.
pub(crate) fn select(scan: &Scan) -> Option<String> {
    let columns: Option<Vec<String>> = scan.projection.iter().map(|at| column(scan, *at)).collect();
    let from = format!("{}.{}", identifier(&scan.table.schema), identifier(&scan.table.table));
    let mut text = format!("SELECT {} FROM {from}", columns?.join(", "));
    if !scan.filters.is_empty() {
        let filters: Option<Vec<String>> = scan.filters.iter().map(|filter| predicate(scan, filter)).collect();
        text.push_str(&format!(" WHERE {}", filters?.join(" AND ")));
    }
    if let Some(limit) = scan.limit {
        text.push_str(&format!(" LIMIT {limit}"));
    }
    Some(text)
}

fn column(scan: &Scan, at: usize) -> Option<String> {
    let column = &scan.columns[at];
    let name = identifier(&column.name);
    Some(match Kind::parse(&column.native)? {
        Kind::Opaque { cast: true } => format!("{name}::text"),
        _ => name,
    })
}

/// A predicate in parentheses; `None` where a value has no exact text.
pub(crate) fn predicate(scan: &Scan, predicate: &Predicate) -> Option<String> {
    let kind = |at: usize| Kind::parse(&scan.columns[at].native);
    let name = |at: usize| identifier(&scan.columns[at].name);
    let join = |parts: &[Predicate], word: &str, empty: &str| {
        let parts: Option<Vec<String>> = parts.iter().map(|part| self::predicate(scan, part)).collect();
        Some(match parts? {
            parts if parts.is_empty() => empty.to_owned(),
            parts => format!("({})", parts.join(word)),
        })
    };
    match predicate {
        Predicate::Compare { column, op, value } => {
            let (kind, value) = (kind(*column)?, literal(&kind(*column)?, value)?);
            let sign = match op {
                Comparison::Eq => "=",
                Comparison::NotEq => "<>",
                Comparison::Lt => "<",
                Comparison::LtEq => "<=",
                Comparison::Gt => ">",
                Comparison::GtEq => ">=",
            };
            let equality = matches!(op, Comparison::Eq | Comparison::NotEq);
            // Bytes decide the order here; there, the collation would.
            let collate = if matches!(kind, Kind::Text { .. }) && !equality { " COLLATE \"C\"" } else { "" };
            Some(format!("({}{collate} {sign} {value})", name(*column)))
        }
        Predicate::In { column, values, negated } => {
            let kind = kind(*column)?;
            let values: Option<Vec<String>> = values.iter().map(|value| literal(&kind, value)).collect();
            let values = values?;
            if values.is_empty() {
                return None;
            }
            let word = if *negated { "NOT IN" } else { "IN" };
            Some(format!("({} {word} ({}))", name(*column), values.join(", ")))
        }
        Predicate::Null { column, negated } => {
            Some(format!("({} IS {}NULL)", name(*column), if *negated { "NOT " } else { "" }))
        }
        Predicate::Like { column, pattern, escape, negated, .. } => {
            let word = if *negated { "NOT LIKE" } else { "LIKE" };
            Some(format!("({} {word} {} ESCAPE {})", name(*column), quoted(pattern)?, quoted(&escape.to_string())?))
        }
        Predicate::And(parts) => join(parts, " AND ", "TRUE"),
        Predicate::Or(parts) => join(parts, " OR ", "FALSE"),
        Predicate::Not(inner) => Some(format!("(NOT {})", self::predicate(scan, inner)?)),
    }
}

/// A literal of exactly the column's type; `None` where there is none.
pub(crate) fn literal(kind: &Kind, value: &Literal) -> Option<String> {
    Some(match (kind, value) {
        (Kind::Bool, Literal::Boolean(value)) => if *value { "TRUE" } else { "FALSE" }.to_owned(),
        (Kind::Int2, Literal::Integer(value)) => format!("'{value}'::int2"),
        (Kind::Int4, Literal::Integer(value)) => format!("'{value}'::int4"),
        (Kind::Int8 | Kind::Oid, Literal::Integer(value)) => format!("'{value}'::int8"),
        (Kind::Numeric { .. }, Literal::Decimal { value, scale }) => format!("'{value}e{}'::numeric", -i32::from(*scale)),
        (Kind::Text { .. }, Literal::Text(text)) => quoted(text)?,
        (Kind::Bytea, Literal::Binary(bytes)) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("'\\x{hex}'::bytea")
        }
        (Kind::Date, Literal::Date(days)) => format!("'{}'::date", date(i64::from(*days), 5_874_897)?),
        (Kind::Time, Literal::Time { value, unit }) => {
            let micros = micros(*value, *unit)?;
            (0..86_400_000_000).contains(&micros).then(|| format!("'{}'::time", clock(micros)))?
        }
        (Kind::Timestamp, Literal::Timestamp { value, unit, zone: None }) => {
            format!("'{}'::timestamp", moment(micros(*value, *unit)?, "")?)
        }
        (Kind::Timestamptz, Literal::Timestamp { value, unit, zone: Some(_) }) => {
            format!("'{}'::timestamptz", moment(micros(*value, *unit)?, "+00")?)
        }
        (Kind::Uuid, Literal::Text(text)) => is_uuid(text).then(|| format!("'{text}'::uuid"))?,
        _ => return None,
    })
}

/// The only form in which a uuid is shown; another spelling is another text.
fn is_uuid(text: &str) -> bool {
    let dashes = [8, 13, 18, 23];
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match dashes.contains(&at) {
            true => byte == b'-',
            false => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        })
}

/// Microseconds, where the value is a whole number of them.
fn micros(value: i64, unit: TimeUnit) -> Option<i64> {
    match unit {
        TimeUnit::Second => value.checked_mul(1_000_000),
        TimeUnit::Millisecond => value.checked_mul(1_000),
        TimeUnit::Microsecond => Some(value),
        TimeUnit::Nanosecond => (value % 1_000 == 0).then_some(value / 1_000),
    }
}

fn clock(micros: i64) -> String {
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    format!("{:02}:{:02}:{:02}.{micros:06}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn moment(micros: i64, zone: &str) -> Option<String> {
    const DAY: i64 = 86_400_000_000;
    let date = date(micros.div_euclid(DAY), 294_276)?;
    let clock = clock(micros.rem_euclid(DAY));
    Some(match date.strip_suffix(" BC") {
        Some(date) => format!("{date} {clock}{zone} BC"),
        None => format!("{date} {clock}{zone}"),
    })
}

/// A day since 1970 as `YYYY-MM-DD`, with ` BC` before year 1; `None` outside of what Postgres holds.
fn date(days: i64, last_year: i64) -> Option<String> {
    // Days since 0000-03-01 of the proleptic Gregorian calendar, in eras of 400 years.
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    if year > last_year || year < -4711 {
        return None;
    }
    Some(if year > 0 { format!("{year:04}-{month:02}-{day:02}") } else { format!("{:04}-{month:02}-{day:02} BC", 1 - year) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_exact_on_both_sides_of_every_edge() {
        let cases = [(0, "1970-01-01"), (-1, "1969-12-31"), (11_016, "2000-02-29"), (-141_428, "1582-10-14"), (-719_162, "0001-01-01"), (-719_163, "0001-12-31 BC"), (2_932_896, "9999-12-31"), (2_932_897, "10000-01-01")];
        for (days, text) in cases {
            assert_eq!(date(days, 5_874_897).as_deref(), Some(text), "{days}");
        }
        assert_eq!(date(-3_000_000, 5_874_897), None);
    }

    #[test]
    fn moments_keep_their_microseconds() {
        let literal = |value, unit, zone: Option<&str>| {
            let kind = if zone.is_some() { Kind::Timestamptz } else { Kind::Timestamp };
            super::literal(&kind, &Literal::Timestamp { value, unit, zone: zone.map(str::to_owned) })
        };
        assert_eq!(literal(-1, TimeUnit::Microsecond, None).as_deref(), Some("'1969-12-31 23:59:59.999999'::timestamp"));
        assert_eq!(literal(1_500, TimeUnit::Millisecond, Some("Asia/Kathmandu")).as_deref(), Some("'1970-01-01 00:00:01.500000+00'::timestamptz"));
        assert_eq!(literal(1, TimeUnit::Nanosecond, None), None);
    }

    #[test]
    fn hostile_text_stays_inside_its_quotes() {
        let hostile = [
            "'", "''", "\\'", "\\' OR 1=1 --", "a''b", "'; DROP TABLE t; --", "\\", "\\\\", "%", "_", "$$", "$a$", "E'x'", "/*", "*/", "--", "\n", "\r\n",
            "\t", "\u{202e}", "ä", "日本", "\u{1F600}", "\"", "\"\"", "a\"b", "`", ";", "?", "$1", ":x", "@", "U&'\\0027'", "x'27'", "NULL", "true", "'||'", "' '",
            "\u{feff}", "\u{2019}", "\u{ff07}", "{}", "\\x27", "\\u0027",
        ];
        for text in hostile {
            let quoted = quoted(text).expect("no NUL");
            let inside = &quoted[1..quoted.len() - 1];
            assert_eq!(inside.replace("''", "'"), text);
            assert_eq!(inside.replace("''", "").matches('\'').count(), 0, "{text}");
            let name = identifier(text);
            assert_eq!(name[1..name.len() - 1].replace("\"\"", "\""), text);
        }
        assert_eq!(quoted("a\0b"), None);
    }

    #[test]
    fn only_the_shown_form_of_a_uuid_is_sent() {
        assert!(is_uuid("00000000-0000-0000-0000-00000000000f"));
        for other in ["00000000-0000-0000-0000-00000000000F", "0000000000000000000000000000000f", "x", ""] {
            assert!(!is_uuid(other), "{other}");
        }
    }
}
