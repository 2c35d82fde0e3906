//! Keeps filters that joins and sorts make at run time from skipping row groups that hold NaN.

use std::sync::Arc;

use datafusion::common::DataFusionError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::physical_plan::{FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_expr::expressions::{DynamicFilterPhysicalExpr, lit};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, conjunction, split_conjunction};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;

use crate::types::has_float;

/// A physical rule to be registered behind DataFusion's own.
///
/// The bounds of Parquet row groups leave NaN out, although NaN is greater than any number and
/// equal to itself. Filters of the statement are dealt with where a table is scanned; those that a
/// join or a top-N hands down while it runs reach a scan only after planning. They are never needed
/// for the answer, so this rule takes away those that look at floats.
#[derive(Debug, Default)]
pub struct FloatBounds;

impl PhysicalOptimizerRule for FloatBounds {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let changed = plan.transform_up(|node| {
            let scan = without_float_filters(&node)?;
            Ok(scan.map_or_else(|| Transformed::no(node), Transformed::yes))
        })?;
        Ok(changed.data)
    }

    fn name(&self) -> &str {
        "float_bounds"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn without_float_filters(node: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>, DataFusionError> {
    refiltered(node, |source, filter| {
        let schema = source.table_schema().table_schema();
        let float = |name: &str| schema.field_with_name(name).is_ok_and(|field| has_float(field.data_type()));
        let parts = split_conjunction(filter);
        let kept = parts
            .iter()
            .filter(|part| !(is_dynamic(part) && collect_columns(part).iter().any(|column| float(column.name()))))
            .map(|part| Arc::clone(part))
            .collect::<Vec<_>>();
        Ok(match kept.len() {
            all if all == parts.len() => None,
            0 => Some(lit(true)),
            _ => Some(conjunction(kept)),
        })
    })
}

/// The scan of Parquet files with another filter, if the node is one and `change` gives one.
pub(crate) fn refiltered(
    node: &Arc<dyn ExecutionPlan>,
    change: impl FnOnce(&ParquetSource, &Arc<dyn PhysicalExpr>) -> Result<Option<Arc<dyn PhysicalExpr>>, DataFusionError>,
) -> Result<Option<Arc<dyn ExecutionPlan>>, DataFusionError> {
    let scan =
        node.downcast_ref::<DataSourceExec>().and_then(|node| node.data_source().downcast_ref::<FileScanConfig>());
    let source = scan.and_then(|scan| scan.file_source().downcast_ref::<ParquetSource>());
    let (Some(scan), Some(source)) = (scan, source) else { return Ok(None) };
    let Some(filter) = source.filter() else { return Ok(None) };
    let Some(filter) = change(source, &filter)? else { return Ok(None) };
    let source = Arc::new(source.with_predicate(filter));
    Ok(Some(DataSourceExec::from_data_source(FileScanConfigBuilder::from(scan.clone()).with_source(source).build())))
}

fn is_dynamic(part: &Arc<dyn PhysicalExpr>) -> bool {
    part.exists(|node| Ok(node.is::<DynamicFilterPhysicalExpr>())).unwrap_or(true)
}
