//! Finds both zeros by a list of floats with one of them.
//!
//! -0.0 equals 0.0; but DataFusion 55 looks values of a long list up by their bits, so that `x IN (0.0, …)` misses a row of
//! -0.0 which `x = 0.0` finds.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, lit};
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
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let expr = expr.transform_up(|expr| Ok(with_both(expr)))?;
            Ok(expr.update_data(|expr| name.restore(expr)))
        })
    }
}

/// A list with the other zero of each zero in it.
fn with_both(expr: Expr) -> Transformed<Expr> {
    let Expr::InList(InList { expr, mut list, negated }) = expr else { return Transformed::no(expr) };
    let mut missing: Vec<_> = list.iter().filter_map(other_zero).filter(|other| !list.contains(other)).collect();
    let changed = !missing.is_empty();
    list.append(&mut missing);
    Transformed::new_transformed(Expr::InList(InList::new(expr, list, negated)), changed)
}

/// The zero of the other sign, of the same type.
fn other_zero(item: &Expr) -> Option<Expr> {
    match item {
        Expr::Literal(ScalarValue::Float32(Some(zero)), _) if *zero == 0.0 => Some(lit(-zero)),
        Expr::Literal(ScalarValue::Float64(Some(zero)), _) if *zero == 0.0 => Some(lit(-zero)),
        _ => None,
    }
}
