//! Leaves physical filter pushdown out for plans in which it could hit the wrong column.
//!
//! The second half of what `unique_name` does: a join whose inputs still share a name keeps its
//! filters where they are.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::physical_optimizer::{PhysicalOptimizerContext, PhysicalOptimizerRule};
use datafusion::physical_plan::ExecutionPlan;

/// Wraps one of DataFusion's filter pushdown rules.
#[derive(Debug)]
pub(crate) struct FilterGuard(pub(crate) Arc<dyn PhysicalOptimizerRule + Send + Sync>);

impl FilterGuard {
    /// The rules with every filter pushdown behind a guard.
    pub(crate) fn around(
        rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>>,
    ) -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
        let guard = |rule: Arc<dyn PhysicalOptimizerRule + Send + Sync>| match rule.name().starts_with("FilterPushdown")
        {
            true => Arc::new(Self(rule)) as _,
            false => rule,
        };
        rules.into_iter().map(guard).collect()
    }
}

impl PhysicalOptimizerRule for FilterGuard {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        match ambiguous(&plan)? {
            true => Ok(plan),
            false => self.0.optimize(plan, config),
        }
    }

    fn optimize_with_context(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        context: &dyn PhysicalOptimizerContext,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match ambiguous(&plan)? {
            true => Ok(plan),
            false => self.0.optimize_with_context(plan, context),
        }
    }
}

/// Whether two columns of some join's inputs share a name.
fn ambiguous(plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    let mut found = false;
    plan.apply(|node| {
        let inputs = node.children();
        if inputs.len() == 2 && node.name().ends_with("JoinExec") {
            let mut seen = HashSet::new();
            let schemas: Vec<_> = inputs.iter().map(|input| input.schema()).collect();
            found = !schemas.iter().flat_map(|s| s.fields()).all(|field| seen.insert(field.name().clone()));
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}
