//! What a query's plan gets once it is known where it runs.

use std::sync::Arc;

use datafusion::common::tree_node::TreeNode;
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_distributed::NetworkBoundaryExt;

use crate::key_lists::with_key_lists;
use crate::keys::Keys;
use crate::scan::each_scan;

/// Lets joins make long lists of keys where a source waits for them, and keeps these lists from Parquet files. In a plan
/// that runs on workers files see them too: what keeps them off does not travel.
pub fn settle(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let mut waited = Vec::new();
    each_scan(&plan, |scan| waited.extend(scan.keys().into_iter().flat_map(Keys::ids)))?;
    if waited.is_empty() {
        return Ok(plan);
    }
    let plan = with_key_lists(&plan, &waited)?;
    #[cfg(feature = "files")]
    if !plan.exists(|node| Ok(node.is_network_boundary()))? {
        return connector_files::with_short_lists(plan);
    }
    Ok(plan)
}
