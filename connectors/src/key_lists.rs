//! Joins list their keys where a source waits for them; elsewhere a long list would be made for nobody.

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use datafusion_distributed::NetworkBoundaryExt;

use crate::keys::made_by;

/// The longest list of join keys that is worth sending to a source.
pub const MOST_JOIN_KEYS: usize = 50_000;
/// The most bytes of keys, as an array of the build side's rows, that are worth a list.
pub(crate) const MOST_JOIN_KEY_BYTES: usize = 768 << 10;

/// The plan in which joins make long lists of their keys that are among `waited`, and short ones else, as any session lets
/// them.
pub(crate) fn with_key_lists(plan: &Arc<dyn ExecutionPlan>, waited: &[u64]) -> Result<Arc<dyn ExecutionPlan>> {
    limited(plan, waited, false)
}

/// `long` is whether a join here makes long lists without more ado.
fn limited(plan: &Arc<dyn ExecutionPlan>, waited: &[u64], long: bool) -> Result<Arc<dyn ExecutionPlan>> {
    let wanted = made_by(plan).map_or(long, |made| made.iter().any(|filter| waited.contains(filter)));
    // What is below a boundary runs in a session of its own.
    let inherited = wanted && !plan.is_network_boundary();
    let limited = plan.children().into_iter().map(|child| limited(child, waited, inherited));
    let limited = limited.collect::<Result<Vec<_>>>()?;
    let plan = replace_children_if_necessary(Arc::clone(plan), limited)?;
    Ok(if wanted == long { plan } else { Arc::new(KeysExec { input: plan, long: wanted }) })
}

/// Runs its input with another limit for lists of join keys.
#[derive(Debug)]
pub(crate) struct KeysExec {
    pub(crate) input: Arc<dyn ExecutionPlan>,
    pub(crate) long: bool,
}

impl DisplayAs for KeysExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeysExec: lists={}", if self.long { "long" } else { "short" })
    }
}

impl ExecutionPlan for KeysExec {
    fn name(&self) -> &'static str {
        "KeysExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(children.pop().map_or(Arc::clone(&self) as _, |input| Arc::new(Self { input, long: self.long })))
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let mut config = context.session_config().clone();
        let options = &mut config.options_mut().optimizer;
        let (values, bytes) = match self.long {
            true => (MOST_JOIN_KEYS, MOST_JOIN_KEY_BYTES),
            false => {
                let usual = ConfigOptions::default().optimizer;
                (usual.hash_join_inlist_pushdown_max_distinct_values, usual.hash_join_inlist_pushdown_max_size)
            }
        };
        options.hash_join_inlist_pushdown_max_distinct_values = values;
        options.hash_join_inlist_pushdown_max_size = bytes;
        let context = TaskContext::new(
            context.task_id(),
            context.session_id(),
            config,
            context.scalar_functions().clone(),
            context.higher_order_functions().clone(),
            context.aggregate_functions().clone(),
            context.window_functions().clone(),
            context.runtime_env(),
        );
        self.input.execute(partition, Arc::new(context))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use datafusion::arrow::array::RecordBatch;
    use datafusion::physical_expr::expressions::DynamicFilterPhysicalExpr;
    use datafusion::physical_plan::joins::HashJoinExec;
    use datafusion::physical_plan::{collect, displayable};
    use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};

    use super::*;

    /// What the joins of a plan tell, the upper join's first.
    fn told(plan: &Arc<dyn ExecutionPlan>) -> Vec<Arc<dyn PhysicalExpr>> {
        let own = plan.downcast_ref::<HashJoinExec>().map(HashJoinExec::dynamic_expressions_produced);
        own.into_iter().flatten().chain(plan.children().into_iter().flat_map(told)).collect()
    }

    /// Two joins that hand their keys down to files.
    async fn planned(folder: &Path) -> (SessionContext, Arc<dyn ExecutionPlan>) {
        let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        for (name, rows, step) in [("a", 400, 3), ("b", 1000, 2), ("c", 2000, 1)] {
            let file = format!("{}/{name}.parquet", folder.display());
            let sql = format!("COPY (SELECT value * {step} AS id FROM generate_series(1, {rows})) TO '{file}'");
            context.sql(&sql).await.expect("a query").collect().await.expect("written");
            context.register_parquet(name, &file, ParquetReadOptions::new()).await.expect("registered");
        }
        let sql = "SELECT a.id FROM a JOIN b ON a.id = b.id JOIN c ON c.id = a.id";
        let plan = context.sql(sql).await.expect("a query").create_physical_plan().await.expect("a plan");
        (context, plan)
    }

    #[tokio::test]
    async fn only_joins_that_somebody_waits_for_make_long_lists() {
        let folder = tempfile::tempdir().expect("a folder");
        for waited in [[false, false], [false, true], [true, false], [true, true]] {
            let (context, plan) = planned(folder.path()).await;
            let told = told(&plan);
            assert_eq!(told.len(), 2);
            let ids =
                told.iter().zip(waited).filter(|(_, waited)| *waited).filter_map(|(told, _)| told.expression_id());
            let limited = with_key_lists(&plan, &ids.collect::<Vec<_>>()).expect("limited");
            let shown = displayable(limited.as_ref()).indent(false).to_string();
            let changes = usize::from(waited[0]) + usize::from(waited[0] != waited[1]);
            assert_eq!(shown.matches("KeysExec").count(), changes, "{shown}");
            let rows = collect(limited, context.task_ctx()).await.expect("rows");
            assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 200);
            for (told, waited) in told.iter().zip(waited) {
                let told = told.downcast_ref::<DynamicFilterPhysicalExpr>().expect("a filter");
                let known = told.current().expect("known").to_string();
                assert_eq!(known.contains(" IN (SET)"), waited, "{known}");
            }
        }
    }
}
