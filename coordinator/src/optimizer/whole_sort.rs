//! Sorts whole inputs by floats, lists and structs, where DataFusion's sort for the first rows alone would lose some.
//!
//! Such a sort passes by what compares as later than the rows it has, and DataFusion 55 compares some values otherwise than
//! it sorts them: -0.0 equals 0.0, and comes before it; `[1]` is greater than `[NULL]`, and comes before it.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::limit::LocalLimitExec;
use datafusion::physical_plan::sorts::sort::SortExec;

/// The rule; no other may move limits after it.
#[derive(Debug)]
pub(crate) struct WholeSort;

impl PhysicalOptimizerRule for WholeSort {
    fn name(&self) -> &str {
        "whole_sort"
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
            if !types.iter().any(|data_type| data_type.is_nested() || data_type.is_floating()) {
                return Ok(Transformed::no(node));
            }
            let whole = Arc::new(sort.with_fetch(None));
            // A limit of each partition is what the sort had.
            Ok(Transformed::yes(Arc::new(LocalLimitExec::new(whole, limit)) as _))
        });
        sorted.map(|sorted| sorted.data)
    }
}
