//! Keeps long lists of join keys from Parquet files: to test a list against the bounds of each row group costs more than
//! reading what the range of the keys leaves.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::datatypes::{FieldRef, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::DataFusionError;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, CaseExpr, DynamicFilterPhysicalExpr, InListExpr, lit};
use datafusion::physical_plan::ExecutionPlan;

use crate::bounds::refiltered;

type Result<T> = std::result::Result<T, DataFusionError>;

/// The longest list that files are tested for; longer ones DataFusion does not make by itself.
const LONGEST: usize = 150;

/// The plan whose scans of Parquet files see the keys of joins without long lists. What is put into the plan for that
/// does not travel to workers.
pub fn with_short_lists(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let short = plan.transform_up(|node| {
        let scan = refiltered(&node, |_, filter| {
            let short = Arc::clone(filter).transform_down(|part| {
                Ok(match part.is::<DynamicFilterPhysicalExpr>() {
                    true => Transformed::new(Arc::new(ShortLists(part)) as _, true, TreeNodeRecursion::Jump),
                    false => Transformed::no(part),
                })
            })?;
            Ok(short.transformed.then_some(short.data))
        })?;
        Ok(scan.map_or_else(|| Transformed::no(node), Transformed::yes))
    });
    short.map(|short| short.data)
}

/// A filter that is known later, without its long lists to whoever asks what is known.
#[derive(Debug)]
struct ShortLists(Arc<dyn PhysicalExpr>);

impl PartialEq for ShortLists {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_ref() == other.0.as_ref()
    }
}

impl Eq for ShortLists {}

impl Hash for ShortLists {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Display for ShortLists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PhysicalExpr for ShortLists {
    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.0.return_field(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        self.0.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.0]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(children.pop().map_or(self, |child| Arc::new(Self(child))))
    }

    fn snapshot(&self) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        Ok(Some(short(&self.0)))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_sql(f)
    }
}

/// A condition that holds wherever `expr` does, without long lists.
fn short(expr: &Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
    if let Some(binary) = expr.downcast_ref::<BinaryExpr>().filter(|it| matches!(it.op(), Operator::And | Operator::Or))
    {
        let (left, right) = (short(binary.left()), short(binary.right()));
        return Arc::new(BinaryExpr::new(left, *binary.op(), right));
    }
    if let Some(case) = expr.downcast_ref::<CaseExpr>() {
        // Whichever branch is taken.
        let branches = case.when_then_expr().iter().map(|(_, then)| short(then));
        let branches = branches.chain(case.else_expr().map(short));
        let either = |left, right| Arc::new(BinaryExpr::new(left, Operator::Or, right)) as Arc<dyn PhysicalExpr>;
        return branches.reduce(either).unwrap_or_else(|| lit(true));
    }
    match expr.downcast_ref::<InListExpr>() {
        Some(list) if !list.negated() && list.list().len() > LONGEST => lit(true),
        _ => Arc::clone(expr),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{DataType, Field};
    use datafusion::physical_expr::expressions::{CaseExpr, Column, in_list};
    use datafusion::physical_expr_common::physical_expr::snapshot_physical_expr;

    use super::*;

    #[test]
    fn long_lists_are_left_out_and_ranges_stay_in_every_branch() {
        let schema = Schema::new(vec![Field::new("n", DataType::Int64, true)]);
        let n = || Arc::new(Column::new("n", 0)) as Arc<dyn PhysicalExpr>;
        let binary = |left, op, right| Arc::new(BinaryExpr::new(left, op, right)) as Arc<dyn PhysicalExpr>;
        let known = |low: i64, keys: i64| {
            let list = in_list(n(), (0..keys).map(lit).collect(), &false, &schema).expect("a list");
            binary(binary(n(), Operator::GtEq, lit(low)), Operator::And, list)
        };
        let branches = vec![(lit(0_i64), known(7, 2)), (lit(1_i64), known(-3, 1000))];
        let case = CaseExpr::try_new(Some(n()), branches, Some(lit(false))).expect("a case");
        let filter = Arc::new(DynamicFilterPhysicalExpr::new(vec![n()], lit(true)));
        let wrapped: Arc<dyn PhysicalExpr> = Arc::new(ShortLists(Arc::clone(&filter) as _));
        filter.update(Arc::new(case)).expect("is told");
        let told = snapshot_physical_expr(wrapped).expect("a snapshot").to_string();
        assert_eq!(told, "n@0 >= 7 AND n@0 IN (SET) ([0, 1]) OR n@0 >= -3 AND true OR false");
    }
}
