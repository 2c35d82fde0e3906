//! SQL text by our own quoting, with `standard_conforming_strings` on; nothing is bound, since COPY takes no parameters.

use arrow::datatypes::TimeUnit;
use connector_spi::{Column, Comparison, Error, Literal, Refusal, RefusalCode, Result, Scan, SortKey};

use crate::metadata::Facts;
use crate::split::Part;
use crate::types::Kind;
use crate::{aggregate, pushdown};

const MISMATCH: Refusal = Refusal::new(RefusalCode::Value, "the value is not of the column's type")
    .remedy("CAST the value to the column's type");
const RANGE: Refusal = Refusal::new(RefusalCode::Value, "the value is outside of what the column's type can hold");

/// `"name"`.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `'text'`; a backslash is a plain character. A text that Postgres cannot hold is refused.
pub(crate) fn quoted(text: &str) -> Result<String, Refusal> {
    match text.contains('\0') {
        true => Err(Refusal::new(RefusalCode::Value, "text in Postgres cannot hold the character NUL")),
        false => Ok(format!("'{}'", text.replace('\'', "''"))),
    }
}

/// The rows of a part that pass the scan's filters and `more`: FROM and WHERE.
fn rows(scan: &Scan, part: &Part, more: Option<String>) -> Result<String> {
    let mut rows = format!(" FROM {}", part.name(scan));
    // A query has the name already.
    if !scan.order.is_empty() && !rows.ends_with(" AS part") {
        rows.push_str(" AS part");
    }
    rows.push_str(&passing(scan, part, more)?);
    Ok(rows)
}

/// The WHERE that the rows of a part pass, and `more`; empty where all do.
fn passing(scan: &Scan, part: &Part, more: Option<String>) -> Result<String> {
    let mut conditions = part.condition();
    for filter in &scan.filters {
        let sent = pushdown::sent(&scan.columns, filter)
            .map_err(|reason| Error::internal(format!("a filter was taken over that cannot be sent: {reason}")))?;
        conditions.push(sent.form);
    }
    conditions.extend(more);
    Ok(if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) })
}

/// The WHERE of a statement that changes a table's own rows. Errors: `UNSUPPORTED` for what is no table.
pub(crate) fn changed(scan: &Scan) -> Result<String> {
    if scan.is_taken() || Facts::read(&scan.native).query.is_some() {
        return Err(Error::unsupported("only the rows of a table can be changed"));
    }
    passing(scan, &Part::default(), None)
}

/// The SELECT of a part of a scan: its columns, its groups, or the number of its rows where it wants no columns.
pub(crate) fn select(scan: &Scan, part: &Part) -> Result<String> {
    select_with(scan, part, None)
}

/// The same where [`sample`] may have said what is the last of some first rows.
pub(crate) fn select_with(scan: &Scan, part: &Part, last: Option<&str>) -> Result<String> {
    let more = last.map(|last| bound(scan, last)).transpose()?.flatten();
    let mut rows = rows(scan, part, more)?;
    if let Some(aggregation) = &scan.aggregation {
        let (columns, group) = aggregate::columns(scan, aggregation)?;
        return Ok(format!("SELECT {columns}{rows}{group}"));
    }
    let mut columns = Vec::with_capacity(scan.projection.len());
    for at in &scan.projection {
        let column = column(scan, *at)?;
        columns.push(format!("{}::{}", identifier(&column.name), Kind::of_column(column)?.asked()));
    }
    let order = scan.order.iter().map(|key| order(scan, key)).collect::<Result<Vec<_>>>()?;
    if !order.is_empty() {
        rows.push_str(&format!(" ORDER BY {}", order.join(", ")));
    }
    // No table has more rows than a signed number counts.
    if let Some(limit) = scan.limit.filter(|limit| i64::try_from(*limit).is_ok()) {
        rows.push_str(&format!(" LIMIT {limit}"));
    }
    Ok(match (columns.is_empty(), scan.limit) {
        (false, _) => format!("SELECT {}{rows}", columns.join(", ")),
        (true, None) => format!("SELECT count(*){rows}"),
        (true, Some(_)) => format!("SELECT count(*) FROM (SELECT{rows}) AS part"),
    })
}

/// How many first rows a sample is asked for.
const FEW: u64 = 1000;
/// A longer text is not sent back to bound them.
const LONGEST_BOUND: usize = 8192;

/// The statement that asks a sample of a part for the last of its first rows in the scan's order, as text: what sorts behind
/// it is none of the part's first rows, and not to be sorted. It gives no row, or NULL, where that cannot be told or is long.
pub(crate) fn sample(scan: &Scan, part: &Part) -> Result<Option<String>> {
    let (Some(key), Some(limit @ 1..=FEW), Some(sample)) = (scan.order.first(), scan.limit, part.sampled()) else {
        return Ok(None);
    };
    // How it is written is its locale's.
    if Kind::of_column(column(scan, key.column)?)? == Kind::Money {
        return Ok(None);
    }
    let (value, order, rows) = (key_value(scan, key)?, order(scan, key)?, rows(scan, &sample, None)?);
    let last = format!("SELECT {value} AS value{rows} ORDER BY {order} OFFSET {} LIMIT 1", limit - 1);
    let short = format!("pg_catalog.octet_length(value::text) <= {LONGEST_BOUND}");
    Ok(Some(format!("SELECT CASE WHEN {short} THEN value::text END FROM ({last}) AS last")))
}

/// The condition that the first rows of a part pass, as do few others, by what its sample said. It is a constant, since
/// Postgres unpacks the result of a query that stands in a condition for each row anew where it is a `numeric`.
fn bound(scan: &Scan, last: &str) -> Result<Option<String>> {
    let (Some(key), Ok(last)) = (scan.order.first(), quoted(last)) else { return Ok(None) };
    let sign = if key.descending { ">=" } else { "<=" };
    let own_type = Kind::of_column(column(scan, key.column)?)?.asked();
    let condition = format!("{} {sign} {last}::{own_type}", key_value(scan, key)?);
    Ok(Some(if key.nulls_first { format!("({condition}) IS NOT FALSE") } else { condition }))
}

/// A column of the scan's table. Errors: `INTERNAL`.
pub(crate) fn column(scan: &Scan, at: usize) -> Result<&Column> {
    scan.columns.get(at).ok_or_else(|| Error::internal("a scan asks for a column that is not there"))
}

/// What a key of ORDER BY compares. Its name is qualified: a plain one would mean the column of the result.
fn key_value(scan: &Scan, key: &SortKey) -> Result<String> {
    let column = column(scan, key.column)?;
    let collation = if matches!(Kind::of_column(column)?, Kind::Text(_)) { " COLLATE \"C\"" } else { "" };
    Ok(format!("part.{}{collation}", identifier(&column.name)))
}

/// A key of ORDER BY.
fn order(scan: &Scan, key: &SortKey) -> Result<String> {
    let direction = if key.descending { "DESC" } else { "ASC" };
    let nulls = match (column(scan, key.column)?.nullable, key.nulls_first) {
        (false, _) => "",
        (true, true) => " NULLS FIRST",
        (true, false) => " NULLS LAST",
    };
    let value = key_value(scan, key)?;
    // Equal zeros come by their sign here: -0.0 is the first.
    let sign = match Kind::of_column(column(scan, key.column)?)? {
        Kind::Float4 => zero_sign(&value, "float4send", "80000000", key.descending),
        Kind::Float8 => zero_sign(&value, "float8send", "8000000000000000", key.descending),
        _ => String::new(),
    };
    Ok(format!("{value} {direction}{nulls}{sign}"))
}

/// A further key, by which zeros have the engine's order.
fn zero_sign(value: &str, bytes_of: &str, negative: &str, descending: bool) -> String {
    let direction = if descending { "ASC" } else { "DESC" };
    format!(", CASE WHEN {value} = 0 THEN pg_catalog.{bytes_of}({value}) = '\\x{negative}'::bytea END {direction}")
}

/// A comparison operator.
pub(crate) fn sign(op: Comparison) -> &'static str {
    match op {
        Comparison::Eq => "=",
        Comparison::NotEq => "<>",
        Comparison::Lt => "<",
        Comparison::LtEq => "<=",
        Comparison::Gt => ">",
        Comparison::GtEq => ">=",
    }
}

/// A literal of exactly the kind's type.
pub(crate) fn literal(kind: &Kind, value: &Literal) -> Result<String, Refusal> {
    Ok(match (kind, value) {
        (Kind::Bool, Literal::Boolean(value)) => value.to_string(),
        (Kind::Int2, Literal::Integer(value)) => format!("'{}'::int2", i16::try_from(*value).map_err(|_| RANGE)?),
        (Kind::Int4, Literal::Integer(value)) => format!("'{}'::int4", i32::try_from(*value).map_err(|_| RANGE)?),
        (Kind::Int8, Literal::Integer(value)) => format!("'{value}'::int8"),
        (Kind::Oid, Literal::Integer(value)) => format!("'{}'::oid", u32::try_from(*value).map_err(|_| RANGE)?),
        (Kind::Float4, Literal::Float(value)) => {
            let narrow = *value as f32;
            let same = f64::from(narrow) == *value;
            format!(
                "'{}'::float4",
                if same { float(f64::from(narrow), format!("{narrow:e}"))? } else { return Err(RANGE) }
            )
        }
        (Kind::Float8, Literal::Float(value)) => format!("'{}'::float8", float(*value, format!("{value:e}"))?),
        (Kind::Numeric { .. } | Kind::Money, Literal::Decimal { value, scale }) => {
            format!("'{}'::numeric", decimal(*value, *scale))
        }
        (Kind::Text(_), Literal::Text(text)) => format!("{}::text", quoted(text)?),
        (Kind::Char(_), Literal::Text(text)) => format!("{}::bpchar", quoted(text)?),
        (Kind::Bytea, Literal::Binary(bytes)) => {
            let mut text = String::with_capacity(bytes.len() * 2 + 12);
            text.push_str("'\\x");
            bytes.iter().for_each(|byte| text.push_str(&format!("{byte:02x}")));
            text + "'::bytea"
        }
        (Kind::Date, Literal::Date(days)) => format!("'{}'::date", written(i64::from(*days), "", "")?),
        (Kind::Time, Literal::Time { value, unit }) => {
            let micros = micros(*value, *unit)?;
            match (0..DAY).contains(&micros) {
                true => format!("'{}'::time", clock(micros)),
                false => return Err(RANGE),
            }
        }
        (Kind::Timestamp, Literal::Timestamp { value, unit, zone: None }) => {
            format!("'{}'::timestamp", moment(micros(*value, *unit)?, "")?)
        }
        (Kind::Timestamptz, Literal::Timestamp { value, unit, zone: Some(_) }) => {
            format!("'{}'::timestamptz", moment(micros(*value, *unit)?, "+00")?)
        }
        (Kind::Finite(kind), value) => literal(kind, value)?,
        (Kind::Uuid, Literal::Text(text)) if is_uuid(text) => format!("'{text}'::uuid"),
        (Kind::Uuid, Literal::Text(_)) => {
            return Err(Refusal::new(RefusalCode::Value, "the value is not written as Postgres writes a uuid")
                .remedy("write it in lower case with dashes"));
        }
        _ => return Err(MISMATCH),
    })
}

fn float(value: f64, finite: String) -> Result<String, Refusal> {
    match value {
        nan if nan.is_nan() => Err(Refusal::new(RefusalCode::Value, "NaN has several forms here and one in Postgres")),
        f64::INFINITY => Ok("Infinity".to_owned()),
        f64::NEG_INFINITY => Ok("-Infinity".to_owned()),
        _ => Ok(finite),
    }
}

/// Every digit of `value / 10^scale`.
fn decimal(value: i128, scale: i8) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let digits = value.unsigned_abs().to_string();
    match usize::try_from(scale) {
        Err(_) => format!("{sign}{digits}{}", "0".repeat(usize::from(scale.unsigned_abs()))),
        Ok(0) => format!("{sign}{digits}"),
        Ok(scale) => {
            let digits = format!("{digits:0>width$}", width = scale + 1);
            let (whole, rest) = digits.split_at(digits.len() - scale);
            format!("{sign}{whole}.{rest}")
        }
    }
}

/// The only form in which a uuid is shown; another spelling is another text.
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

const DAY: i64 = 86_400_000_000;
/// 24 November 4714 BC, the first day that Postgres knows.
const FIRST_DAY: i64 = -2_440_588;
/// 31 December 5874897, the last `date`; every moment that has microseconds here is before the last `timestamp`.
const LAST_DAY: i64 = 2_145_042_905;

/// Microseconds, where the value is a whole number of them.
fn micros(value: i64, unit: TimeUnit) -> Result<i64, Refusal> {
    match unit {
        TimeUnit::Second => value.checked_mul(1_000_000).ok_or(RANGE),
        TimeUnit::Millisecond => value.checked_mul(1_000).ok_or(RANGE),
        TimeUnit::Microsecond => Ok(value),
        TimeUnit::Nanosecond if value % 1_000 == 0 => Ok(value / 1_000),
        TimeUnit::Nanosecond => {
            Err(Refusal::new(RefusalCode::Value, "Postgres keeps microseconds, the value has nanoseconds")
                .remedy("write it with six digits"))
        }
    }
}

fn clock(micros: i64) -> String {
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    format!("{:02}:{:02}:{:02}.{micros:06}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn moment(micros: i64, zone: &str) -> Result<String, Refusal> {
    let clock = format!(" {}", clock(micros.rem_euclid(DAY)));
    written(micros.div_euclid(DAY), &clock, zone)
}

/// A day since 1970 as `YYYY-MM-DD`, with ` BC` at the end before year 1.
fn written(day: i64, clock: &str, zone: &str) -> Result<String, Refusal> {
    if !(FIRST_DAY..=LAST_DAY).contains(&day) {
        return Err(RANGE);
    }
    let (year, month, day) = civil(day);
    Ok(match year {
        1.. => format!("{year:04}-{month:02}-{day:02}{clock}{zone}"),
        _ => format!("{:04}-{month:02}-{day:02}{clock}{zone} BC", 1 - year),
    })
}

/// Year (0 is 1 BC), month and day of the proleptic Gregorian calendar.
fn civil(day: i64) -> (i64, i64, i64) {
    // Counted from 1 March of year 0, so that a leap day is the last of its year, in eras of 400 years.
    let day = day + 719_468;
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_inside_its_quotes() {
        let hostile = connector_spi::conformance::hostile();
        assert!(hostile.len() >= 200);
        for text in &hostile {
            let quoted = quoted(text).expect("no NUL");
            let inside = &quoted[1..quoted.len() - 1];
            assert_eq!(inside.replace("''", "'"), *text);
            assert_eq!(inside.replace("''", "").matches('\'').count(), 0, "{text}");
            let name = identifier(text);
            assert_eq!(name[1..name.len() - 1].replace("\"\"", "\""), *text);
        }
        assert!(quoted("a\0b").is_err());
    }

    #[test]
    fn dates_are_exact_on_both_sides_of_every_edge() {
        let cases = [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (-141_428, "1582-10-14"),
            (-719_162, "0001-01-01"),
            (-719_163, "0001-12-31 BC"),
            (2_932_896, "9999-12-31"),
            (2_932_897, "10000-01-01"),
            (FIRST_DAY, "4714-11-24 BC"),
            (LAST_DAY, "5874897-12-31"),
        ];
        for (day, text) in cases {
            assert_eq!(written(day, "", "").as_deref(), Ok(text), "{day}");
        }
        for day in [FIRST_DAY - 1, LAST_DAY + 1] {
            assert!(written(day, "", "").is_err());
        }
    }

    #[test]
    fn moments_keep_their_microseconds() {
        let literal = |value, unit, zone: Option<&str>| {
            let kind = if zone.is_some() { Kind::Timestamptz } else { Kind::Timestamp };
            super::literal(&kind, &Literal::Timestamp { value, unit, zone: zone.map(str::to_owned) })
        };
        let before = literal(-1, TimeUnit::Microsecond, None);
        assert_eq!(before.as_deref(), Ok("'1969-12-31 23:59:59.999999'::timestamp"));
        let zoned = literal(1_500, TimeUnit::Millisecond, Some("Asia/Kathmandu"));
        assert_eq!(zoned.as_deref(), Ok("'1970-01-01 00:00:01.500000+00'::timestamptz"));
        let old = literal(-62_135_596_801, TimeUnit::Second, Some("UTC"));
        assert_eq!(old.as_deref(), Ok("'0001-12-31 23:59:59.000000+00 BC'::timestamptz"));
        for (value, unit) in [(1, TimeUnit::Nanosecond), (i64::MAX, TimeUnit::Second)] {
            assert!(literal(value, unit, None).is_err());
        }
    }

    #[test]
    fn numbers_keep_every_digit() {
        let cases = [
            (0, 2, "0.00"),
            (-5, 2, "-0.05"),
            (12345, 2, "123.45"),
            (7, -3, "7000"),
            (i128::MIN, 0, "-170141183460469231731687303715884105728"),
        ];
        for (value, scale, text) in cases {
            assert_eq!(decimal(value, scale), text);
        }
        let literal = |kind, value| super::literal(&kind, &Literal::Integer(value));
        assert_eq!(literal(Kind::Int8, i64::MIN).as_deref(), Ok("'-9223372036854775808'::int8"));
        assert_eq!(literal(Kind::Int4, i64::from(i32::MAX) + 1), Err(RANGE));
        assert_eq!(literal(Kind::Oid, -1), Err(RANGE));
        let float = |kind, value| super::literal(&kind, &Literal::Float(value));
        assert_eq!(float(Kind::Float8, 1e300).as_deref(), Ok("'1e300'::float8"));
        assert_eq!(float(Kind::Float4, f64::from(0.1_f32)).as_deref(), Ok("'1e-1'::float4"));
        assert_eq!(float(Kind::Float4, 0.1), Err(RANGE));
        assert!(float(Kind::Float4, f64::NAN).is_err() && float(Kind::Float8, f64::NAN).is_err());
        assert_eq!(float(Kind::Float4, f64::NEG_INFINITY).as_deref(), Ok("'-Infinity'::float4"));
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        assert_eq!(literal(&Kind::Int4, &Literal::Text("1".into())), Err(MISMATCH));
        let zoned = Literal::Timestamp { value: 0, unit: TimeUnit::Second, zone: Some("UTC".into()) };
        assert_eq!(literal(&Kind::Timestamp, &zoned), Err(MISMATCH));
        assert_eq!(literal(&Kind::Interval, &Literal::Integer(1)), Err(MISMATCH));
    }

    #[test]
    fn only_the_shown_form_of_a_uuid_is_sent() {
        assert!(is_uuid("00000000-0000-0000-0000-00000000000f"));
        let others = ["00000000-0000-0000-0000-00000000000F", "0000000000000000000000000000000f", "{}", "x", "", "ä"];
        for other in others {
            assert!(!is_uuid(other), "{other}");
        }
    }
}
