//! DataFusion's filter expressions as the contract's predicates.

use connector_spi::{Column, Comparison, Literal, Predicate};
use datafusion::logical_expr::{Expr, Operator};

use crate::literal::literal;

/// The predicate, if the expression is one that connectors know; no part of it is left out.
pub(crate) fn predicate(expr: &Expr, columns: &[Column]) -> Option<Predicate> {
    let column_of = |expr: &Expr| match expr {
        Expr::Column(column) => columns.iter().position(|c| c.name == column.name),
        _ => None,
    };
    let value_of = |expr: &Expr, column: usize| match expr {
        Expr::Literal(value, _) => literal(value, &columns[column].data_type),
        _ => None,
    };
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
                if let Some(column) = column_of(&binary.left) {
                    let value = value_of(&binary.right, column)?;
                    return Some(Predicate::Compare { column, op, value });
                }
                let column = column_of(&binary.right)?;
                let value = value_of(&binary.left, column)?;
                Some(Predicate::Compare { column, op: flipped(op), value })
            }
        },
        Expr::Not(inner) => Some(Predicate::Not(Box::new(predicate(inner, columns)?))),
        Expr::IsNull(inner) => Some(Predicate::Null { column: column_of(inner)?, negated: false }),
        Expr::IsNotNull(inner) => Some(Predicate::Null { column: column_of(inner)?, negated: true }),
        Expr::InList(list) => {
            let column = column_of(&list.expr)?;
            let values = list.list.iter().map(|value| value_of(value, column)).collect::<Option<Vec<Literal>>>()?;
            Some(Predicate::In { column, values, negated: list.negated })
        }
        Expr::Between(between) => {
            let column = column_of(&between.expr)?;
            let low = value_of(&between.low, column)?;
            let high = value_of(&between.high, column)?;
            let inside = Predicate::And(vec![
                Predicate::Compare { column, op: Comparison::GtEq, value: low },
                Predicate::Compare { column, op: Comparison::LtEq, value: high },
            ]);
            Some(if between.negated { Predicate::Not(Box::new(inside)) } else { inside })
        }
        Expr::Like(like) => {
            let column = column_of(&like.expr)?;
            let Literal::Text(pattern) = value_of(&like.pattern, column)? else { return None };
            Some(Predicate::Like {
                column,
                pattern,
                escape: like.escape_char.unwrap_or('\\'),
                negated: like.negated,
                case_insensitive: like.case_insensitive,
            })
        }
        Expr::Column(_) => {
            Some(Predicate::Compare { column: column_of(expr)?, op: Comparison::Eq, value: Literal::Boolean(true) })
        }
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
    use datafusion::arrow::datatypes::DataType;
    use datafusion::prelude::{col, lit};

    use super::*;

    fn columns() -> Vec<Column> {
        vec![Column::new("id", DataType::Int64, false), Column::new("name", DataType::Utf8, true)]
    }

    #[test]
    fn a_flipped_comparison_keeps_its_meaning() {
        let found = predicate(&lit(5_i64).lt(col("id")), &columns());
        assert_eq!(found, Some(Predicate::Compare { column: 0, op: Comparison::Gt, value: Literal::Integer(5) }));
    }

    #[test]
    fn a_literal_of_another_type_is_not_offered() {
        assert_eq!(predicate(&col("id").eq(lit("5")), &columns()), None);
        assert_eq!(predicate(&col("id").eq(lit(5_i32)), &columns()), None);
    }

    #[test]
    fn a_half_known_disjunction_is_not_offered() {
        let unknown = col("id").eq(col("name"));
        assert_eq!(predicate(&col("id").eq(lit(5_i64)).or(unknown), &columns()), None);
    }
}
