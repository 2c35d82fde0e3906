//! Before a plan runs, sources let its readers in.

use std::collections::BTreeMap;
use std::sync::Arc;

use connector_spi::{Guard, Result};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_distributed::DistributedLeafExec;

use crate::error::from_datafusion;
use crate::{Catalogs, ScanExec};

/// Waits until the source of each catalog lets the readers of a plan in, those of all its tasks; what it returns is to be
/// held until the query ends. Catalogs come in the order of their names, so that two queries never wait for each other.
pub async fn admit(plan: &Arc<dyn ExecutionPlan>, catalogs: &Catalogs) -> Result<Vec<Guard>> {
    let mut readers = BTreeMap::<String, usize>::new();
    let mut add = |leaf: &Arc<dyn ExecutionPlan>| {
        if let Some(scan) = leaf.downcast_ref::<ScanExec>() {
            *readers.entry(scan.scan().catalog.clone()).or_default() += scan.readers();
        }
    };
    let walked = plan.apply(|node| {
        match node.downcast_ref::<DistributedLeafExec>() {
            Some(tasks) => {
                tasks.variants().iter().for_each(&mut add);
                return Ok(TreeNodeRecursion::Jump);
            }
            None => add(node),
        }
        Ok(TreeNodeRecursion::Continue)
    });
    walked.map_err(|error| from_datafusion(&error))?;
    let mut held = Vec::new();
    for (catalog, readers) in readers {
        let source = catalogs.get(&catalog)?.source()?;
        held.extend(source.admit(readers).await?);
    }
    Ok(held)
}
