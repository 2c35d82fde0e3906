//! Sorts for the first rows by floats, lists and structs, of which DataFusion's would lose some.
//!
//! Such a sort passes by what compares as later than the rows it has, and DataFusion 55 compares some values otherwise than
//! it sorts them: -0.0 equals 0.0, and comes before it; `[1]` is greater than `[NULL]`, and comes before it. A float is
//! sorted by itself with one zero, and then by the sign of the zero, which is the same order; lists and structs are sorted
//! whole.

use std::sync::Arc;

use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{binary, lit};
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::limit::LocalLimitExec;
use datafusion::physical_plan::sorts::sort::SortExec;

/// The rule; no other may move limits after it, or look at orders: that by the keys put in is not known to be that by the float.
#[derive(Debug)]
pub(crate) struct FirstRows;

impl PhysicalOptimizerRule for FirstRows {
    fn name(&self) -> &str {
        "first_rows"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let sorted = plan.transform_up(|node| {
            let Some((sort, limit)) = node.downcast_ref::<SortExec>().and_then(|sort| Some((sort, sort.fetch()?)))
            else {
                return Ok(Transformed::no(node));
            };
            let schema = sort.input().schema();
            let types = sort.expr().iter().map(|key| key.expr.data_type(&schema)).collect::<Result<Vec<_>>>()?;
            if types.iter().any(|data_type| data_type.is_nested() || *data_type == DataType::Float16) {
                let whole = Arc::new(sort.with_fetch(None));
                // A limit of each partition is what the sort had.
                return Ok(Transformed::yes(Arc::new(LocalLimitExec::new(whole, limit)) as _));
            }
            if !types.iter().any(DataType::is_floating) {
                return Ok(Transformed::no(node));
            }
            let keys = sort.expr().iter().zip(&types).map(|(key, data_type)| match data_type.is_floating() {
                true => by_zero_and_sign(key, data_type, &schema),
                false => Ok(vec![key.clone()]),
            });
            let keys = keys.collect::<Result<Vec<_>>>()?.into_iter().flatten();
            let Some(keys) = LexOrdering::new(keys) else { return Ok(Transformed::no(node)) };
            let sort = SortExec::new(keys, Arc::clone(sort.input()))
                .with_preserve_partitioning(sort.preserve_partitioning())
                .with_fetch(Some(limit));
            Ok(Transformed::yes(Arc::new(sort) as _))
        });
        sorted.map(|sorted| sorted.data)
    }
}

/// Keys of the same order as this float's, whose values compare as they sort.
fn by_zero_and_sign(key: &PhysicalSortExpr, data_type: &DataType, schema: &Schema) -> Result<Vec<PhysicalSortExpr>> {
    let number = |value: i8| ScalarValue::Int8(Some(value)).cast_to(data_type).map(lit);
    let one_zero = binary(Arc::clone(&key.expr), Operator::Plus, number(0)?, schema)?;
    let zero = binary(Arc::clone(&one_zero), Operator::Eq, number(0)?, schema)?;
    let inverse = binary(number(1)?, Operator::Divide, Arc::clone(&key.expr), schema)?;
    let below = binary(inverse, Operator::Lt, number(0)?, schema)?;
    let negative_zero: Arc<dyn PhysicalExpr> = binary(zero, Operator::And, below, schema)?;
    // TRUE, which sorts as the greater one, is to come where the lesser number does.
    let sign = SortOptions { descending: !key.options.descending, ..key.options };
    Ok(vec![PhysicalSortExpr::new(one_zero, key.options), PhysicalSortExpr::new(negative_zero, sign)])
}
