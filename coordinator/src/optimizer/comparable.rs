//! Makes the two sides of a comparison one type where DataFusion would choose another than SQL's other engines, or none.
//!
//! A number with a point is a decimal literal here, and DataFusion 55 compares a float with a decimal as decimals:
//! that fails for NaN and the infinities, rounds the column's values, and keeps the filter from the source. Postgres,
//! Trino and DuckDB convert the decimal. Times of different units it does not compare at all. Points in time are read in
//! the session's zone on the way, and patterns with an escape character of their own rewritten.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{Between, InList};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use super::{pattern, zone};

/// The rule; it must come before DataFusion's type coercion.
#[derive(Debug, Default)]
pub(crate) struct Comparable;

impl AnalyzerRule for Comparable {
    fn name(&self) -> &str {
        "comparable"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let session = config.execution.time_zone.as_deref().unwrap_or("UTC");
        let analyzed = plan.transform_up_with_subqueries(|plan| {
            let schema = merge_schema(&plan.inputs());
            let names = NamePreserver::new(&plan);
            let plan = match plan {
                LogicalPlan::Join(mut join) => {
                    for (left, right) in &mut join.on {
                        both(left, right, View { schema: &schema, session })?;
                    }
                    LogicalPlan::Join(join)
                }
                plan => plan,
            };
            plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let expr = expr.transform_up(|expr| compared(expr, View { schema: &schema, session }))?;
                Ok(expr.update_data(|expr| name.restore(expr)))
            })
        });
        analyzed.map(|analyzed| analyzed.data)
    }
}

#[derive(Clone, Copy)]
struct View<'a> {
    schema: &'a DFSchema,
    session: &'a str,
}

fn compared(expr: Expr, view: View<'_>) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::BinaryExpr(BinaryExpr { mut left, op, mut right }) if op.supports_propagation() => {
            let changed = both(&mut left, &mut right, view)?;
            Transformed::new_transformed(Expr::BinaryExpr(BinaryExpr { left, op, right }), changed)
        }
        Expr::Between(Between { mut expr, negated, mut low, mut high }) => {
            let changed = all(&mut expr, &mut [&mut *low, &mut *high], view)?;
            Transformed::new_transformed(Expr::Between(Between { expr, negated, low, high }), changed)
        }
        Expr::InList(InList { mut expr, mut list, negated }) => {
            let changed = all(&mut expr, &mut list.iter_mut().collect::<Vec<_>>(), view)?;
            Transformed::new_transformed(Expr::InList(InList { expr, list, negated }), changed)
        }
        expr @ Expr::Like(_) => pattern::backslashed(expr),
        expr => zone::local(expr, view.schema, view.session)?,
    })
}

/// Casts what is not of the type in which the two are compared.
fn both(left: &mut Expr, right: &mut Expr, view: View<'_>) -> Result<bool> {
    let schema = view.schema;
    // What has no type here gets its error from the type coercion.
    let (Ok(left_type), Ok(right_type)) = (left.get_type(schema), right.get_type(schema)) else { return Ok(false) };
    let Some(wanted) = compared_as(&left_type, &right_type) else {
        return zone::both(left, right, schema, view.session);
    };
    for (side, data_type) in [(left, left_type), (right, right_type)] {
        if data_type != wanted {
            *side = std::mem::take(side).cast_to(&wanted, schema)?;
        }
    }
    Ok(true)
}

/// The type in which values of two types are compared; none where DataFusion's choice is right.
fn compared_as(left: &DataType, right: &DataType) -> Option<DataType> {
    use DataType::{Float32, Float64, Time32, Time64};
    match (left, right) {
        (decimal, float @ (Float32 | Float64)) | (float @ (Float32 | Float64), decimal) if decimal.is_decimal() => {
            Some(float.clone())
        }
        (Time32(_) | Time64(_), Time32(_) | Time64(_)) if left != right => Some(Time64(TimeUnit::Nanosecond)),
        _ => None,
    }
}

/// One value against several, of which any may decide the type.
fn all(expr: &mut Expr, others: &mut [&mut Expr], view: View<'_>) -> Result<bool> {
    let mut changed = false;
    // The second round is for those before the one that decided.
    for _ in 0..2 {
        for other in others.iter_mut() {
            changed |= both(expr, other, view)?;
        }
    }
    Ok(changed)
}
