//! Names both zeros where a float is compared with one of them.
//!
//! -0.0 equals 0.0; but DataFusion 55 looks values of a long list up by their bits, so that `x IN (0.0, …)` misses a row of
//! -0.0 which `x = 0.0` finds. And it takes `x` for a constant below `x = 0.0`, and leaves it out of `ORDER BY x, y`, though it
//! sorts -0.0 before 0.0.

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, lit};
use datafusion::optimizer::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// The rule; it must come after DataFusion's simplification of expressions, which makes the literals.
#[derive(Debug, Default)]
pub(crate) struct BothZeros;

impl OptimizerRule for BothZeros {
    fn name(&self) -> &str {
        "both_zeros"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        // What a source has taken over it compares by itself, and may not take in another form.
        if matches!(plan, LogicalPlan::TableScan(_)) {
            return Ok(Transformed::no(plan));
        }
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let expr = expr.transform_down(|expr| Ok(with_both(expr)))?;
            Ok(expr.update_data(|expr| name.restore(expr)))
        })
    }
}

/// A list with the other zero of each zero in it; the list of both in place of an equality with one.
fn with_both(expr: Expr) -> Transformed<Expr> {
    match expr {
        Expr::InList(InList { expr, mut list, negated }) => {
            let mut missing: Vec<_> =
                list.iter().filter_map(other_zero).filter(|other| !list.contains(other)).collect();
            let changed = !missing.is_empty();
            list.append(&mut missing);
            Transformed::new_transformed(Expr::InList(InList::new(expr, list, negated)), changed)
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            match (other_zero(&left), other_zero(&right)) {
                (None, Some(other)) => Transformed::yes(Expr::InList(InList::new(left, vec![*right, other], false))),
                (Some(other), None) => Transformed::yes(Expr::InList(InList::new(right, vec![*left, other], false))),
                _ => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right })),
            }
        }
        // What DataFusion makes of such a list.
        expr if names_both(&expr) => Transformed::new(expr, false, TreeNodeRecursion::Jump),
        expr => Transformed::no(expr),
    }
}

/// Whether it is `x = 0.0 OR x = -0.0`.
fn names_both(expr: &Expr) -> bool {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) = expr else { return false };
    match (left.as_ref(), right.as_ref()) {
        (
            Expr::BinaryExpr(BinaryExpr { left: x, op: Operator::Eq, right: zero }),
            Expr::BinaryExpr(BinaryExpr { left: y, op: Operator::Eq, right: other }),
        ) => x == y && other_zero(zero).as_ref() == Some(other.as_ref()),
        _ => false,
    }
}

/// The zero of the other sign, of the same type.
fn other_zero(item: &Expr) -> Option<Expr> {
    match item {
        Expr::Literal(ScalarValue::Float32(Some(zero)), _) if *zero == 0.0 => Some(lit(-zero)),
        Expr::Literal(ScalarValue::Float64(Some(zero)), _) if *zero == 0.0 => Some(lit(-zero)),
        _ => None,
    }
}
