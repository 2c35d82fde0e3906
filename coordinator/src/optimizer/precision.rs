//! Compares a time with a finer one as it is: not with what is left of it in the coarser unit.
//!
//! DataFusion 55 turns `CAST(t AS Timestamp(µs)) >= x` into `t >= x` in the unit of `t`, and cuts `x` down to it. A row of
//! 00:00:00.000 is then found for `t >= 00:00:00.000001`.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Between, Cast, InList};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, lit};
use datafusion::optimizer::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;

/// The rule; it must come before DataFusion's simplification of expressions.
#[derive(Debug, Default)]
pub(crate) struct Precision;

impl OptimizerRule for Precision {
    fn name(&self) -> &str {
        "precision"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let schema = match &plan {
            LogicalPlan::TableScan(scan) => {
                DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?
            }
            plan => merge_schema(&plan.inputs()),
        };
        let names = NamePreserver::new(&plan);
        let view = View { schema: &schema, config };
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let expr = expr.transform_up(|expr| Ok(view.compared(expr)))?;
            Ok(expr.update_data(|expr| name.restore(expr)))
        })
    }
}

#[derive(Clone, Copy)]
struct View<'a> {
    schema: &'a DFSchema,
    config: &'a dyn OptimizerConfig,
}

/// A point in time in the unit of the coarser side: before or at the given one, and whether it is that one.
struct Cut {
    coarse: Expr,
    before: Expr,
    exact: bool,
}

impl View<'_> {
    fn compared(self, expr: Expr) -> Transformed<Expr> {
        let changed = match &expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match self.cut(left, right) {
                Some(cut) => cut.is(*op),
                None => self.cut(right, left).and_then(|cut| cut.is(op.swap()?)),
            },
            Expr::Between(Between { expr, negated, low, high }) => match (self.cut(expr, low), self.cut(expr, high)) {
                (None, None) => None,
                (from, to) => {
                    let (from_op, to_op) =
                        if *negated { (Operator::Lt, Operator::Gt) } else { (Operator::GtEq, Operator::LtEq) };
                    let both = if *negated { Operator::Or } else { Operator::And };
                    let (from, to) = (side(expr, from, from_op, low), side(expr, to, to_op, high));
                    from.zip(to).map(|(from, to)| binary(from, both, to))
                }
            },
            Expr::InList(InList { expr, list, negated }) if matches!(**expr, Expr::Cast(_)) => {
                let (op, both) = if *negated { (Operator::NotEq, Operator::And) } else { (Operator::Eq, Operator::Or) };
                let cuts: Vec<Option<Cut>> = list.iter().map(|item| self.cut(expr, item)).collect();
                match cuts.iter().any(Option::is_some) {
                    false => None,
                    true => {
                        let parts: Option<Vec<Expr>> =
                            cuts.into_iter().zip(list).map(|(cut, item)| side(expr, cut, op, item)).collect();
                        parts.and_then(|parts| parts.into_iter().reduce(|all, one| binary(all, both, one)))
                    }
                }
            }
            _ => None,
        };
        changed.map_or_else(|| Transformed::no(expr), Transformed::yes)
    }

    /// The first expression without the cast to a finer unit, and the second, a constant, in its unit.
    fn cut(self, cast: &Expr, constant: &Expr) -> Option<Cut> {
        let Expr::Cast(Cast { expr: inner, .. }) = cast else { return None };
        let (DataType::Timestamp(coarse, zone), DataType::Timestamp(fine, other)) =
            (inner.get_type(self.schema).ok()?, cast.get_type(self.schema).ok()?)
        else {
            return None;
        };
        let factor = parts(fine).checked_div(parts(coarse)).filter(|factor| *factor > 1)?;
        if zone.is_some() != other.is_some() {
            return None;
        }
        let value = self.value(constant, fine)?;
        let before = value.div_euclid(factor);
        let before = match coarse {
            TimeUnit::Second => ScalarValue::TimestampSecond(Some(before), zone),
            TimeUnit::Millisecond => ScalarValue::TimestampMillisecond(Some(before), zone),
            TimeUnit::Microsecond => ScalarValue::TimestampMicrosecond(Some(before), zone),
            TimeUnit::Nanosecond => return None,
        };
        let exact = value.rem_euclid(factor) == 0;
        Some(Cut { coarse: (**inner).clone(), before: Expr::Literal(before, None), exact })
    }

    /// The value of a constant of a unit; none for what is none, or NULL.
    fn value(self, constant: &Expr, unit: TimeUnit) -> Option<i64> {
        let folded = match constant {
            Expr::Literal(..) => constant.clone(),
            other if other.column_refs().is_empty() && !other.is_volatile() && !other.contains_outer() => {
                let context = SimplifyContext::builder()
                    .with_schema(Arc::new(DFSchema::empty()))
                    .with_config_options(self.config.options())
                    .with_query_execution_start_time(self.config.query_execution_start_time())
                    .build();
                ExprSimplifier::new(context).simplify(other.clone()).ok()?
            }
            _ => return None,
        };
        match (folded, unit) {
            (Expr::Literal(ScalarValue::TimestampMillisecond(value, _), _), TimeUnit::Millisecond)
            | (Expr::Literal(ScalarValue::TimestampMicrosecond(value, _), _), TimeUnit::Microsecond)
            | (Expr::Literal(ScalarValue::TimestampNanosecond(value, _), _), TimeUnit::Nanosecond) => value,
            _ => None,
        }
    }
}

impl Cut {
    /// The comparison of the coarser side with the constant; NULL where that side is.
    fn is(self, op: Operator) -> Option<Expr> {
        let Self { coarse, before, exact } = self;
        let is = |op| binary(coarse.clone(), op, before.clone());
        Some(match op {
            op if exact && op.supports_propagation() => is(op),
            // The constant lies between two values that the side can have.
            Operator::Gt | Operator::GtEq => is(Operator::Gt),
            Operator::Lt | Operator::LtEq => is(Operator::LtEq),
            Operator::Eq => binary(is(Operator::Gt), Operator::And, is(Operator::LtEq)),
            Operator::NotEq => binary(is(Operator::Gt), Operator::Or, is(Operator::LtEq)),
            Operator::IsDistinctFrom => lit(true),
            Operator::IsNotDistinctFrom => lit(false),
            _ => return None,
        })
    }
}

/// One comparison of several: by what is cut, where something is.
fn side(expr: &Expr, cut: Option<Cut>, op: Operator, other: &Expr) -> Option<Expr> {
    match cut {
        Some(cut) => cut.is(op),
        None => Some(binary(expr.clone(), op, other.clone())),
    }
}

fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

/// How many there are in a second.
fn parts(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}
