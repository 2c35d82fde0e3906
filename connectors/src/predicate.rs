//! DataFusion's filter expressions as the contract's predicates.

use connector_spi::{Comparison, Literal, Predicate};
use datafusion::logical_expr::{Expr, Operator};

use crate::field::Columns;
use crate::literal::literal;

/// The predicate, if the expression is one that connectors know; no part of it is left out. Fields of structs that it is
/// about are added to the columns.
pub(crate) fn predicate(expr: &Expr, columns: &mut Columns<'_>) -> Option<Predicate> {
    match expr {
        Expr::BinaryExpr(binary) => match binary.op {
            Operator::And => {
                Some(Predicate::And(vec![predicate(&binary.left, columns)?, predicate(&binary.right, columns)?]))
            }
            Operator::Or => {
                Some(Predicate::Or(vec![predicate(&binary.left, columns)?, predicate(&binary.right, columns)?]))
            }
            op => {
                let op = comparison(op)?;
                if let Some(column) = columns.place(&binary.left) {
                    let value = value(&binary.right, column, columns)?;
                    return Some(Predicate::Compare { column, op, value });
                }
                let column = columns.place(&binary.right)?;
                let value = value(&binary.left, column, columns)?;
                Some(Predicate::Compare { column, op: flipped(op), value })
            }
        },
        Expr::Not(inner) => Some(Predicate::Not(Box::new(predicate(inner, columns)?))),
        Expr::IsNull(inner) => Some(Predicate::Null { column: columns.place(inner)?, negated: false }),
        Expr::IsNotNull(inner) => Some(Predicate::Null { column: columns.place(inner)?, negated: true }),
        Expr::InList(list) => {
            let column = columns.place(&list.expr)?;
            let values = list.list.iter().map(|item| value(item, column, columns)).collect::<Option<Vec<Literal>>>()?;
            Some(Predicate::In { column, values, negated: list.negated })
        }
        Expr::Between(between) => {
            let column = columns.place(&between.expr)?;
            let low = value(&between.low, column, columns)?;
            let high = value(&between.high, column, columns)?;
            let inside = Predicate::And(vec![
                Predicate::Compare { column, op: Comparison::GtEq, value: low },
                Predicate::Compare { column, op: Comparison::LtEq, value: high },
            ]);
            Some(if between.negated { Predicate::Not(Box::new(inside)) } else { inside })
        }
        Expr::Like(like) => {
            let column = columns.place(&like.expr)?;
            let Literal::Text(pattern) = value(&like.pattern, column, columns)? else { return None };
            Some(Predicate::Like {
                column,
                pattern,
                escape: like.escape_char.unwrap_or('\\'),
                negated: like.negated,
                case_insensitive: like.case_insensitive,
            })
        }
        _ => {
            let column = columns.place(expr)?;
            Some(Predicate::Compare { column, op: Comparison::Eq, value: Literal::Boolean(true) })
        }
    }
}

/// A constant of the column's type.
fn value(expr: &Expr, column: usize, columns: &Columns<'_>) -> Option<Literal> {
    match expr {
        Expr::Literal(value, _) => literal(value, &columns.known[column].data_type),
        _ => None,
    }
}

pub(crate) fn comparison(op: Operator) -> Option<Comparison> {
    Some(match op {
        Operator::Eq => Comparison::Eq,
        Operator::NotEq => Comparison::NotEq,
        Operator::Lt => Comparison::Lt,
        Operator::LtEq => Comparison::LtEq,
        Operator::Gt => Comparison::Gt,
        Operator::GtEq => Comparison::GtEq,
        _ => return None,
    })
}

/// The operator that says the same with its sides changed over.
pub(crate) fn flipped(op: Comparison) -> Comparison {
    match op {
        Comparison::Lt => Comparison::Gt,
        Comparison::LtEq => Comparison::GtEq,
        Comparison::Gt => Comparison::Lt,
        Comparison::GtEq => Comparison::LtEq,
        same => same,
    }
}

#[cfg(test)]
mod tests {
    use connector_spi::Column;
    use datafusion::arrow::datatypes::DataType;
    use datafusion::prelude::{col, lit};

    use super::*;

    fn found(expr: &Expr) -> Option<Predicate> {
        let mut known = vec![Column::new("id", DataType::Int64, false), Column::new("name", DataType::Utf8, true)];
        predicate(expr, &mut Columns { known: &mut known, source: None })
    }

    #[test]
    fn a_flipped_comparison_keeps_its_meaning() {
        let wanted = Predicate::Compare { column: 0, op: Comparison::Gt, value: Literal::Integer(5) };
        assert_eq!(found(&lit(5_i64).lt(col("id"))), Some(wanted));
    }

    #[test]
    fn a_literal_of_another_type_is_not_offered() {
        assert_eq!(found(&col("id").eq(lit("5"))), None);
        assert_eq!(found(&col("id").eq(lit(5_i32))), None);
    }

    #[test]
    fn a_half_known_disjunction_is_not_offered() {
        let unknown = col("id").eq(col("name"));
        assert_eq!(found(&col("id").eq(lit(5_i64)).or(unknown)), None);
    }
}
