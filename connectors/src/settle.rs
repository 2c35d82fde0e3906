//! What a query's plan and settings get once it is known where it runs.

use std::sync::Arc;

use datafusion::common::tree_node::TreeNode;
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use datafusion_distributed::NetworkBoundaryExt;

use crate::ScanExec;
use crate::session::EngineSettings;

/// Lets joins make long lists of keys where a source waits for them, and keeps the lists from Parquet files. A plan
/// that runs on workers keeps them all: what is made here does not travel.
pub fn settle(plan: Arc<dyn ExecutionPlan>, config: &mut SessionConfig) -> Result<Arc<dyn ExecutionPlan>> {
    let waits = plan.exists(|node| Ok(node.downcast_ref::<ScanExec>().is_some_and(|scan| scan.keys().is_some())))?;
    if !waits {
        return Ok(plan);
    }
    let settings = EngineSettings { join_keys: true, ..EngineSettings::of(config.options()) };
    settings.apply(config);
    if let Some(own) = config.options_mut().extensions.get_mut::<EngineSettings>() {
        *own = settings;
    }
    #[cfg(feature = "files")]
    if !plan.exists(|node| Ok(node.is_network_boundary()))? {
        return connector_files::with_short_lists(plan);
    }
    Ok(plan)
}
