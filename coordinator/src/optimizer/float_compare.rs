//! Compares a float with a decimal as floats.
//!
//! A number with a point is a decimal literal here, and DataFusion 55 compares a float with a decimal as decimals:
//! that fails for NaN and the infinities, rounds the column's values, and keeps the filter from the source. SQL's other
//! engines (Postgres, Trino, DuckDB) convert the decimal.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{Between, InList};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

/// The rule; it must come before DataFusion's type coercion.
#[derive(Debug, Default)]
pub(crate) struct FloatCompare;

impl AnalyzerRule for FloatCompare {
    fn name(&self) -> &str {
        "float_compare"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let analyzed = plan.transform_up_with_subqueries(|plan| {
            let schema = merge_schema(&plan.inputs());
            let names = NamePreserver::new(&plan);
            let plan = match plan {
                LogicalPlan::Join(mut join) => {
                    for (left, right) in &mut join.on {
                        both(left, right, &schema)?;
                    }
                    LogicalPlan::Join(join)
                }
                plan => plan,
            };
            plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let expr = expr.transform_up(|expr| compared(expr, &schema))?;
                Ok(expr.update_data(|expr| name.restore(expr)))
            })
        });
        analyzed.map(|analyzed| analyzed.data)
    }
}

fn compared(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::BinaryExpr(BinaryExpr { mut left, op, mut right }) if op.supports_propagation() => {
            let changed = both(&mut left, &mut right, schema)?;
            Transformed::new_transformed(Expr::BinaryExpr(BinaryExpr { left, op, right }), changed)
        }
        Expr::Between(Between { mut expr, negated, mut low, mut high }) => {
            let changed = all(&mut expr, &mut [&mut *low, &mut *high], schema)?;
            Transformed::new_transformed(Expr::Between(Between { expr, negated, low, high }), changed)
        }
        Expr::InList(InList { mut expr, mut list, negated }) => {
            let changed = all(&mut expr, &mut list.iter_mut().collect::<Vec<_>>(), schema)?;
            Transformed::new_transformed(Expr::InList(InList { expr, list, negated }), changed)
        }
        expr => Transformed::no(expr),
    })
}

/// Casts whichever of the two is decimal to the other's float type.
fn both(left: &mut Expr, right: &mut Expr, schema: &DFSchema) -> Result<bool> {
    // What has no type here gets its error from the type coercion.
    let (Ok(left_type), Ok(right_type)) = (left.get_type(schema), right.get_type(schema)) else { return Ok(false) };
    let (decimal, float) = match (left_type.is_decimal(), right_type.is_decimal()) {
        (true, false) => (left, right_type),
        (false, true) => (right, left_type),
        _ => return Ok(false),
    };
    if !matches!(float, DataType::Float32 | DataType::Float64) {
        return Ok(false);
    }
    *decimal = std::mem::take(decimal).cast_to(&float, schema)?;
    Ok(true)
}

/// One value against several, of which any may be the float.
fn all(expr: &mut Expr, others: &mut [&mut Expr], schema: &DFSchema) -> Result<bool> {
    let mut changed = false;
    // The second round is for those before the first float.
    for _ in 0..2 {
        for other in others.iter_mut() {
            changed |= both(expr, other, schema)?;
        }
    }
    Ok(changed)
}
