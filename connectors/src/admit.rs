//! Before a plan runs, sources let its readers in.

use std::collections::BTreeMap;
use std::sync::Arc;

use connector_spi::{Guard, Result};
use datafusion::physical_plan::ExecutionPlan;

use crate::Catalogs;
use crate::error::from_datafusion;
use crate::scan::each_scan;

/// Waits until the source of each catalog lets the readers of a plan in, those of all its tasks; what it returns is to be
/// held until the query ends. Catalogs come in the order of their names, so that two queries never wait for each other.
pub async fn admit(plan: &Arc<dyn ExecutionPlan>, catalogs: &Catalogs) -> Result<Vec<Guard>> {
    let mut readers = BTreeMap::<String, usize>::new();
    let walked = each_scan(plan, |scan| {
        *readers.entry(scan.scan().catalog.clone()).or_default() += scan.readers();
    });
    walked.map_err(|error| from_datafusion(&error))?;
    let mut held = Vec::new();
    for (catalog, readers) in readers {
        let source = catalogs.get(&catalog)?.source()?;
        held.extend(source.admit(readers).await?);
    }
    Ok(held)
}
