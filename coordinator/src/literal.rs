//! What literals and types mean where DataFusion's default is another than that of SQL's other engines.
//!
//! A number with an exponent is a double, as in the SQL standard; one with a point alone is an exact decimal. A
//! timestamp without a precision has microseconds, as in Postgres and DuckDB: nanoseconds, which reach from 1677 to 2262
//! only, are `TIMESTAMP(9)`, or a literal that has them. So has a literal of a time. A timestamp that names its zone is a
//! point in time.

use std::ops::ControlFlow;

use connector_spi::{Error, Result};
use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::{DataType, Expr, Statement, TimezoneInfo, TypedString, Value, VisitorMut};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

/// Gives literals and types their meaning. Errors: `INVALID` for a number beyond the doubles.
pub(crate) fn settle(statement: &mut Parsed) -> Result<()> {
    let Parsed::Statement(statement) = statement else { return Ok(()) };
    if let Statement::CreateTable(create) = &mut **statement {
        create.columns.iter_mut().for_each(|column| precise(&mut column.data_type, 6));
    }
    crate::statement::visit(statement, &mut Settle)
}

struct Settle;

impl VisitorMut for Settle {
    type Break = Error;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        match expr {
            Expr::Cast { data_type, .. } => precise(data_type, 6),
            Expr::TypedString(TypedString { data_type, value, .. }) => {
                let text = value.value.to_string();
                let fraction = text.rsplit_once('.').map_or("", |(_, fraction)| fraction);
                let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
                precise(data_type, if digits > 6 { 9 } else { 6 });
                if let DataType::Timestamp(_, zone @ TimezoneInfo::None) = data_type
                    && names_zone(&value.value)
                {
                    *zone = TimezoneInfo::WithTimeZone;
                }
                if matches!(data_type, DataType::Time(None, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone))
                    && digits <= 6
                    && let Value::SingleQuotedString(time) = &value.value
                {
                    let time = time.replace('\'', "''");
                    match parsed(&format!("arrow_cast('{time}', 'Time64(Microsecond)')")) {
                        Ok(time) => *expr = time,
                        Err(error) => return ControlFlow::Break(error),
                    }
                }
            }
            Expr::Value(value) => {
                if let Value::Number(text, _) = &value.value
                    && text.contains(['e', 'E'])
                    && !text.starts_with("0x")
                {
                    match double(text) {
                        Ok(double) => *expr = double,
                        Err(error) => return ControlFlow::Break(error),
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// A timestamp's precision: what is said, or else `default`, as the next of those that there are.
fn precise(data_type: &mut DataType, default: u64) {
    if let DataType::Timestamp(precision, _) = data_type {
        *precision = Some(match precision.unwrap_or(default) {
            0 => 0,
            1..=3 => 3,
            4..=6 => 6,
            7..=9 => 9,
            more => more,
        });
    }
}

/// Whether there is more than a clock behind a day.
fn names_zone(value: &Value) -> bool {
    let Value::SingleQuotedString(text) = value else { return false };
    let clock = |c: char| c.is_ascii_digit() || c == ':' || c == '.';
    text.trim_end().split_once(':').is_some_and(|(_, rest)| !rest.chars().all(clock))
}

fn double(text: &str) -> Result<Expr> {
    if !text.parse::<f64>().is_ok_and(f64::is_finite) {
        return Err(Error::invalid(format!("the number {text} is larger than a double can be")));
    }
    // The text is digits, a point, an exponent and its sign.
    parsed(&format!("CAST('{text}' AS DOUBLE)"))
}

fn parsed(text: &str) -> Result<Expr> {
    Parser::new(&GenericDialect {})
        .try_with_sql(text)
        .and_then(|mut parser| parser.parse_expr())
        .map_err(|cause| Error::internal(format!("{text} is not readable: {cause}")))
}

#[cfg(test)]
mod tests {
    use datafusion::sql::parser::DFParser;

    use super::*;

    fn settled(sql: &str) -> Result<String> {
        let mut statement = DFParser::parse_sql(sql).expect("parses").pop_front().expect("one");
        settle(&mut statement)?;
        Ok(statement.to_string())
    }

    #[test]
    fn only_numbers_with_an_exponent_are_doubles() {
        assert_eq!(
            settled("SELECT 1, 1.5, -1e300, 2.5E-3 FROM t WHERE x = 1e0").expect("settled"),
            "SELECT 1, 1.5, -CAST('1e300' AS DOUBLE), CAST('2.5E-3' AS DOUBLE) FROM t WHERE x = CAST('1e0' AS DOUBLE)"
        );
        assert!(settled("SELECT 1e400").is_err());
    }

    #[test]
    fn a_timestamp_has_microseconds_unless_it_says_otherwise() {
        for (sql, wanted) in [
            ("SELECT TIMESTAMP '0001-01-01 00:00:00'", "SELECT TIMESTAMP(6) '0001-01-01 00:00:00'"),
            ("SELECT TIMESTAMP '2020-01-01 00:00:00.123456789'", "SELECT TIMESTAMP(9) '2020-01-01 00:00:00.123456789'"),
            ("SELECT TIMESTAMP '2020-01-01 00:00:00.5 '", "SELECT TIMESTAMP(6) '2020-01-01 00:00:00.5 '"),
            (
                "SELECT TIMESTAMP '2020-01-01 00:00:00-02:00'",
                "SELECT TIMESTAMP(6) WITH TIME ZONE '2020-01-01 00:00:00-02:00'",
            ),
            ("SELECT TIME '12:00:00'", "SELECT arrow_cast('12:00:00', 'Time64(Microsecond)')"),
            ("SELECT CAST(x AS TIMESTAMP WITH TIME ZONE)", "SELECT CAST(x AS TIMESTAMP(6) WITH TIME ZONE)"),
            ("SELECT x::TIMESTAMP(2), CAST(y AS TIMESTAMP(9))", "SELECT x::TIMESTAMP(3), CAST(y AS TIMESTAMP(9))"),
            ("CREATE TABLE t (x TIMESTAMP, y TIMESTAMP(9))", "CREATE TABLE t (x TIMESTAMP(6), y TIMESTAMP(9))"),
        ] {
            assert_eq!(settled(sql).expect("settled"), wanted);
        }
    }
}
