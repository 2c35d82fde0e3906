//! How many tasks a scan wants, and which task reads what.

use std::sync::Arc;

use connector_spi::Split;
use datafusion::config::ConfigOptions;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig};
use datafusion::datasource::source::{DataSource, DataSourceExec};
use datafusion::error::Result;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion_distributed::{
    DesiredTaskCountEvent, DesiredTaskCountEventResponse, DistributedLeafExec, ScaleUpLeafNodeEvent,
    ScaleUpLeafNodeEventResponse,
};

use crate::ScanExec;
use crate::scan::Work;
use crate::session::EngineSettings;

/// Deals splits to at most `width` partitions; at least one.
pub(crate) fn deal(splits: Vec<Split>, width: usize) -> Vec<Vec<Work>> {
    let width = splits.len().clamp(1, width.max(1));
    let mut partitions = vec![Vec::new(); width];
    for (at, split) in splits.into_iter().enumerate() {
        partitions[at % width].push(Work::Split(split));
    }
    partitions
}

/// How many tasks a leaf wants. A leaf of one partition is never spread: an operator that needs
/// a single partition may sit right above it and would then run once a task.
pub(crate) fn desired_tasks(event: DesiredTaskCountEvent<'_>) -> Option<Result<DesiredTaskCountEventResponse>> {
    let settings = EngineSettings::of(event.session_config.options());
    let (bytes, pieces) = if let Some(scan) = event.plan.downcast_ref::<ScanExec>() {
        let unknown = settings.bytes_per_task / event.session_config.target_partitions().max(1);
        let bytes = scan.splits().map(|split| split.bytes.unwrap_or(unknown as u64)).sum();
        (bytes, scan.splits().count())
    } else {
        let files = file_scan(event.plan)?;
        let sizes = files.file_groups.iter().flat_map(|group| group.files()).map(|file| file.effective_size());
        (sizes.sum(), usize::MAX)
    };
    let partitions = event.plan.output_partitioning().partition_count();
    Some(Ok(if partitions < 2 {
        DesiredTaskCountEventResponse::maximum(1)
    } else {
        DesiredTaskCountEventResponse::desired(wanted(bytes, settings).min(pieces).max(1))
    }))
}

fn wanted(bytes: u64, settings: EngineSettings) -> usize {
    match settings.bytes_per_task as u64 {
        0 => settings.workers,
        size => usize::try_from(bytes.div_ceil(size)).unwrap_or(usize::MAX),
    }
}

/// Deals the work of a leaf to tasks.
pub(crate) fn scale_up(event: ScaleUpLeafNodeEvent<'_>) -> Option<Result<ScaleUpLeafNodeEventResponse>> {
    let leaf = if let Some(scan) = event.plan.downcast_ref::<ScanExec>() {
        let share = |task| Arc::new(scan.share(task, event.task_count)) as Arc<dyn ExecutionPlan>;
        DistributedLeafExec::try_new(Arc::clone(event.plan), (0..event.task_count).map(share))
    } else {
        let files = file_scan(event.plan)?;
        scale_up_files(event.plan, files, event.task_count, event.session_config.options())
    };
    Some(leaf.map(|leaf| ScaleUpLeafNodeEventResponse::new(Arc::new(leaf))))
}

fn file_scan(plan: &Arc<dyn ExecutionPlan>) -> Option<&FileScanConfig> {
    plan.downcast_ref::<DataSourceExec>()?.data_source().downcast_ref::<FileScanConfig>()
}

/// Files are cut by the source itself, which knows which of them can be cut (a compressed file
/// cannot); what it does not cut is dealt whole.
fn scale_up_files(
    original: &Arc<dyn ExecutionPlan>,
    files: &FileScanConfig,
    tasks: usize,
    options: &ConfigOptions,
) -> Result<DistributedLeafExec> {
    let width = original.output_partitioning().partition_count().max(1);
    let ordering = files.eq_properties().output_ordering();
    let cut = match tasks {
        1 => None,
        _ => files.repartitioned(width * tasks, options.optimizer.repartition_file_min_size, ordering)?,
    };
    let groups: Vec<FileGroup> = match cut.as_ref().and_then(|cut| cut.downcast_ref::<FileScanConfig>()) {
        Some(cut) => cut.file_groups.clone(),
        None if files.output_ordering.is_empty() && tasks > 1 => {
            let whole = files.file_groups.iter().flat_map(|group| group.files().to_vec());
            whole.map(|file| FileGroup::new(vec![file])).collect()
        }
        None => files.file_groups.clone(),
    };
    let mut shares = vec![vec![FileGroup::new(Vec::new()); width]; tasks];
    for (at, group) in groups.into_iter().enumerate() {
        let place = &mut shares[at % tasks][(at / tasks) % width];
        let mut together = std::mem::replace(place, FileGroup::new(Vec::new())).into_inner();
        together.extend(group.into_inner());
        *place = FileGroup::new(together);
    }
    let variants = shares.into_iter().map(|file_groups| {
        let mut share = files.clone();
        share.file_groups = file_groups;
        DataSourceExec::from_data_source(share) as Arc<dyn ExecutionPlan>
    });
    DistributedLeafExec::try_new(Arc::clone(original), variants)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn splits(count: u8) -> Vec<Split> {
        (0..count).map(|at| Split { token: vec![at], rows: None, bytes: None }).collect()
    }

    fn tokens(partitions: &[Vec<Work>]) -> Vec<Vec<u8>> {
        let mut tokens: Vec<Vec<u8>> = partitions
            .iter()
            .flatten()
            .filter_map(|work| match work {
                Work::Split(split) => Some(split.token.clone()),
                Work::Rows(_) => None,
            })
            .collect();
        tokens.sort();
        tokens
    }

    #[test]
    fn every_split_is_dealt_once_for_any_width_and_task_count() {
        use connector_spi::{Column, Scan, Table, TableName};
        use datafusion::arrow::datatypes::DataType;
        let table = Table::new(vec![Column::new("n", DataType::Int64, false)]);
        let scan = Arc::new(Scan::new("c", TableName::new("s", "t"), &table));
        for count in [1, 2, 7, 50] {
            for width in [1, 2, 4] {
                let exec = ScanExec::new(Arc::clone(&scan), deal(splits(count), width));
                for tasks in 1..8 {
                    let shares: Vec<ScanExec> = (0..tasks).map(|task| exec.share(task, tasks)).collect();
                    assert!(shares.iter().all(|share| share.partitions.len() == exec.partitions.len()));
                    let all: Vec<Vec<Work>> = shares.into_iter().flat_map(|share| share.partitions).collect();
                    let expected: Vec<Vec<u8>> = (0..count).map(|at| vec![at]).collect();
                    assert_eq!(tokens(&all), expected, "{count} splits, width {width}, {tasks} tasks");
                }
            }
        }
    }
}
