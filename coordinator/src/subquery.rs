//! Refuses subqueries in places where the engine below would give wrong rows.
//!
//! `IN` and `NOT IN` with a subquery become joins that know no NULL except in one place: a condition
//! of WHERE or HAVING by itself (apache/datafusion#25347, #25336, #8241). Anywhere else NULL would
//! be taken for false, so the statement is refused with the way to write it.

use connector_spi::{Error, Result};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};

/// Errors: `UNSUPPORTED`.
pub(crate) fn check(plan: &LogicalPlan) -> Result<()> {
    let mut wrong = None;
    let walked = plan.apply_with_subqueries(|node| {
        for expr in node.expressions() {
            wrong = wrong.or(match node {
                LogicalPlan::Filter(_) => split_conjunction(&expr).into_iter().find_map(condition),
                _ => first(&expr),
            });
        }
        Ok(if wrong.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    walked.map_err(|cause| Error::internal(format!("the plan could not be checked: {cause}")))?;
    match wrong {
        None => Ok(()),
        Some(Wrong::Negated) => Err(Error::unsupported("NOT IN with this subquery is not supported, since its rows could be wrong where NULL occurs")
            .hint("Write NOT EXISTS (SELECT … WHERE inner = outer), or make NOT IN a condition of its own on a column, with a subquery that refers to nothing outside.")),
        Some(Wrong::Place) => Err(Error::unsupported("IN with a subquery is supported as a condition of WHERE or HAVING only, since NULL would be lost elsewhere")
            .hint("Write EXISTS (SELECT … WHERE inner = outer).")),
    }
}

#[derive(Clone, Copy)]
enum Wrong {
    Negated,
    Place,
}

/// What is wrong with one condition, of which only true counts.
fn condition(expr: &Expr) -> Option<Wrong> {
    match expr {
        Expr::InSubquery(found) if !found.negated => first(&found.expr),
        Expr::InSubquery(found) => {
            let plain = !found.expr.column_refs().is_empty() && found.subquery.outer_ref_columns.is_empty();
            if plain { first(&found.expr) } else { Some(Wrong::Negated) }
        }
        // NULL and false are the same to a condition as long as nothing negates it.
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) => {
            [left, right].into_iter().find_map(|side| match &**side {
                Expr::InSubquery(found) if found.negated => Some(Wrong::Negated),
                other => condition(other),
            })
        }
        Expr::Not(inner) => match &**inner {
            Expr::InSubquery(_) => Some(Wrong::Negated),
            other => first(other),
        },
        other => first(other),
    }
}

/// A subquery of IN anywhere in the expression.
fn first(expr: &Expr) -> Option<Wrong> {
    let mut found = None;
    // The closure gives no error.
    let _ = expr.apply(|part| {
        if let Expr::InSubquery(part) = part {
            found = Some(if part.negated { Wrong::Negated } else { Wrong::Place });
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}
