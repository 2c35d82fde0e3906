//! A number with an exponent is a double, as in the SQL standard; one with a point alone is an exact decimal.

use std::ops::ControlFlow;

use connector_spi::{Error, Result};
use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::{Expr, Value, VisitMut, VisitorMut};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

/// Makes every number with an exponent a double. Errors: `INVALID` for one beyond the doubles.
pub(crate) fn double_exponents(statement: &mut Parsed) -> Result<()> {
    let Parsed::Statement(statement) = statement else { return Ok(()) };
    match statement.visit(&mut Doubles) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Doubles;

impl VisitorMut for Doubles {
    type Break = Error;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let Expr::Value(value) = &*expr else { return ControlFlow::Continue(()) };
        let Value::Number(text, _) = &value.value else { return ControlFlow::Continue(()) };
        if !text.contains(['e', 'E']) || text.starts_with("0x") {
            return ControlFlow::Continue(());
        }
        match double(text) {
            Ok(double) => *expr = double,
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }
}

fn double(text: &str) -> Result<Expr> {
    if !text.parse::<f64>().is_ok_and(f64::is_finite) {
        return Err(Error::invalid(format!("the number {text} is larger than a double can be")));
    }
    // The text is digits, a point, an exponent and its sign.
    let parsed = Parser::new(&GenericDialect {}).try_with_sql(&format!("CAST('{text}' AS DOUBLE)"));
    parsed
        .and_then(|mut parser| parser.parse_expr())
        .map_err(|cause| Error::internal(format!("the number {text} is not readable: {cause}")))
}

#[cfg(test)]
mod tests {
    use datafusion::sql::parser::DFParser;

    use super::*;

    fn changed(sql: &str) -> Result<String> {
        let mut statement = DFParser::parse_sql(sql).expect("parses").pop_front().expect("one");
        double_exponents(&mut statement)?;
        Ok(statement.to_string())
    }

    #[test]
    fn only_numbers_with_an_exponent_are_doubles() {
        assert_eq!(
            changed("SELECT 1, 1.5, -1e300, 2.5E-3 FROM t WHERE x = 1e0").expect("changed"),
            "SELECT 1, 1.5, -CAST('1e300' AS DOUBLE), CAST('2.5E-3' AS DOUBLE) FROM t WHERE x = CAST('1e0' AS DOUBLE)"
        );
        assert!(changed("SELECT 1e400").is_err());
    }
}
