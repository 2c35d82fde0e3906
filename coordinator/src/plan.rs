//! From a logical plan to a physical one that is safe to send: what would give wrong rows on
//! several workers runs here instead.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::physical_expr::Distribution;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::prelude::SessionConfig;
use datafusion_distributed::{DistributedCodec, DistributedLeafExec, NetworkBoundaryExt, NetworkBroadcastExec, Stage};
use datafusion_proto::physical_plan::AsExecutionPlan;
use datafusion_proto::protobuf::PhysicalPlanNode;

/// Why a plan must not leave the coordinator, if it must not.
pub(crate) fn unsafe_to_send(plan: &Arc<dyn ExecutionPlan>, config: &SessionConfig) -> Result<Option<String>> {
    let mut why = None;
    let sent = plan.exists(|node| Ok(node.is_network_boundary()))?;
    plan.apply(|node| {
        // Its inner part runs again and again; a stage can be read once.
        if sent && node.name() == "RecursiveQueryExec" {
            why = Some("a recursive query runs in one place".to_owned());
        } else if let Some(boundary) = node.as_network_boundary()
            && let Stage::Local(stage) = boundary.input_stage()
        {
            why = check_stage(&stage.plan, stage.tasks, config)?;
        }
        Ok(if why.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(why)
}

fn check_stage(plan: &Arc<dyn ExecutionPlan>, tasks: usize, config: &SessionConfig) -> Result<Option<String>> {
    let mut why = None;
    walk(plan, &mut |node| {
        if why.is_some() {
            return;
        }
        if tasks > 1
            && let Some(input) = single_slice(node)
        {
            why = Some(format!("{} needs all rows in one place, and {input} gives each task a part", node.name()));
        }
    });
    match why {
        None => unencodable(plan, config),
        why => Ok(why),
    }
}

/// Visits the nodes of one stage.
fn walk(plan: &Arc<dyn ExecutionPlan>, visit: &mut impl FnMut(&Arc<dyn ExecutionPlan>)) {
    visit(plan);
    if !plan.is_network_boundary() {
        for child in plan.children() {
            walk(child, visit);
        }
    }
}

/// An input of `node` that must be whole but is only the task's part of the rows.
fn single_slice(node: &Arc<dyn ExecutionPlan>) -> Option<String> {
    if node.is_network_boundary() {
        return None;
    }
    let wanted = node.input_distribution_requirements().into_per_child();
    node.children().into_iter().zip(wanted).find_map(|(input, wanted)| match wanted {
        Distribution::SinglePartition if input.output_partitioning().partition_count() == 1 => partial_leaf(input),
        _ => None,
    })
}

/// A leaf of the stage below `plan` that is not the same for every task.
fn partial_leaf(plan: &Arc<dyn ExecutionPlan>) -> Option<String> {
    if plan.is_network_boundary() {
        return (!plan.is::<NetworkBroadcastExec>()).then(|| plan.name().to_owned());
    }
    match plan.children() {
        children if children.is_empty() => (plan.name() == "DistributedLeafExec").then(|| plan.name().to_owned()),
        children => children.into_iter().find_map(partial_leaf),
    }
}

/// Whether the stage's own nodes survive the wire: an operator without a codec, or a plan deeper
/// than a protobuf message may be.
fn unencodable(plan: &Arc<dyn ExecutionPlan>, config: &SessionConfig) -> Result<Option<String>> {
    // As the first task gets it; what other stages send is encoded with them.
    let task = Arc::clone(plan).transform_down(|node| {
        if node.is_network_boundary() {
            let partitions = node.output_partitioning().partition_count();
            let placeholder = EmptyExec::new(node.schema()).with_partitions(partitions);
            return Ok(Transformed::new(Arc::new(placeholder), true, TreeNodeRecursion::Jump));
        }
        Ok(match node.downcast_ref::<DistributedLeafExec>().and_then(|leaf| leaf.variants().first()) {
            Some(first) => Transformed::new(Arc::clone(first), true, TreeNodeRecursion::Jump),
            None => Transformed::no(node),
        })
    })?;
    let codec = DistributedCodec::new_combined_with_user(config);
    let encoded = PhysicalPlanNode::try_from_physical_plan(task.data, &codec).and_then(|node| {
        let mut bytes = Vec::new();
        node.try_encode(&mut bytes)?;
        PhysicalPlanNode::try_decode(&bytes)
    });
    Ok(encoded.err().map(|cause| format!("a stage cannot be encoded: {}", first_line(&cause.strip_backtrace()))))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
