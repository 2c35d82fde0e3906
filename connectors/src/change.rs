//! Rows of a table that a statement changes where they are: all of the statement is left to the source, or it is refused.

use connector_spi::{Absorbed, Assignment, Error, Op, Result, Scan};
use datafusion::logical_expr::Expr;
use datafusion::scalar::ScalarValue;

use crate::catalog::Resolved;
use crate::field::Columns;
use crate::literal::literal;
use crate::predicate::predicate;

/// The rows for which all conditions are true. Errors: `UNSUPPORTED` where the source would not find exactly these.
pub fn rows(table: &Resolved, conditions: &[Expr]) -> Result<Scan> {
    let mut scan = Scan::new(&table.catalog, table.name.clone(), &table.table);
    for condition in conditions {
        let refused = |why: String| {
            let text = format!("the condition {condition} cannot be left to catalog \"{}\": {why}", table.catalog);
            Error::unsupported(text)
                .hint("UPDATE and DELETE run in the source alone; write it as conditions on columns.")
        };
        let mut columns = Columns { known: &mut scan.columns, source: Some(table.source.as_ref()) };
        let Some(predicate) = predicate(condition, &mut columns) else {
            return Err(refused("it is not one of columns and values of their types".to_owned()));
        };
        scan = match table.source.absorb(&scan, &Op::Filter(predicate)) {
            Absorbed::Exact(with) => with,
            Absorbed::Inexact(_) => return Err(refused("it finds more rows there".to_owned())),
            Absorbed::No(refusal) => return Err(refused(refusal.to_string())),
        };
    }
    Ok(scan)
}

/// A column and its new value. Errors: `UNSUPPORTED` for a value that sources do not know.
pub fn assignment(table: &Resolved, column: usize, value: &ScalarValue) -> Result<Assignment> {
    let known = &table.table.columns[column];
    let value = match value.is_null() {
        true => None,
        false => Some(literal(value, &known.data_type).ok_or_else(|| {
            Error::unsupported(format!("column \"{}\" of type {} cannot be set", known.name, known.data_type))
        })?),
    };
    Ok(Assignment { column, value })
}
