//! Offers joins of two tables of one catalog to their source, where its answer is less than what it is made of.

use std::sync::Arc;

use connector_spi::{Absorbed, Join, JoinKind, Op, Refusal, RefusalCode};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{JoinType, NullEquality};
use datafusion::error::Result;
use datafusion::physical_expr::expressions::{Column, UnKnownColumn};
use datafusion::physical_expr::{Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, StatisticsArgs, StatisticsContext};

use crate::ScanExec;
use crate::absorb::{leaf, with_scan};
use crate::key_lists::{MOST_JOIN_KEY_BYTES, MOST_JOIN_KEYS};

/// What a value of unknown length is taken for.
const TEXT_BYTES: usize = 32;

/// One side of a join: its scan, and the place in the table of each column.
struct Side<'a> {
    scan: &'a ScanExec,
    places: Vec<usize>,
}

impl<'a> Side<'a> {
    /// A side that is a table alone.
    fn of(plan: &'a Arc<dyn ExecutionPlan>) -> Option<Self> {
        // Rows are dealt out by their keys only for the join's own sake.
        let below = plan.downcast_ref::<RepartitionExec>().map_or(plan, RepartitionExec::input);
        leaf(below).filter(|(scan, _)| scan.is_open()).map(|(scan, places)| Self { scan, places })
    }

    fn place(&self, key: &Arc<dyn PhysicalExpr>) -> Option<usize> {
        self.places.get(key.downcast_ref::<Column>()?.index()).copied()
    }

    fn has_keys_of(&self, join: &HashJoinExec) -> bool {
        self.scan.keys().is_some_and(|keys| keys.of_joins(&made(join)).is_some())
    }

    /// Where a column of this side is among those that its scan returns.
    fn returned(&self, at: usize) -> Option<usize> {
        let place = self.places.get(at)?;
        self.scan.scan().projection.iter().position(|returned| returned == place)
    }
}

/// The ids of the filters that a join makes of its keys.
fn made(join: &HashJoinExec) -> Vec<u64> {
    join.dynamic_expressions_produced().iter().filter_map(|filter| filter.expression_id()).collect()
}

/// The join as one scan, or with the reason why it is none; nothing where it is not one of two tables of one catalog.
pub(crate) fn fold(node: &Arc<dyn ExecutionPlan>, join: &HashJoinExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let (Some(left), Some(right)) = (Side::of(join.left()), Side::of(join.right())) else { return Ok(None) };
    if left.scan.scan().catalog != right.scan.scan().catalog {
        return Ok(None);
    }
    match offered(node, join, &left, &right)? {
        Ok(folded) => Ok(Some(folded)),
        Err(refusal) => {
            let what = format!("join with {}", right.scan.scan().table);
            let left = with_scan(join.left(), left.scan.clone().with_kept(&what, refusal))?;
            replace_children_if_necessary(Arc::clone(node), vec![left, Arc::clone(join.right())]).map(Some)
        }
    }
}

type Offered = std::result::Result<Arc<dyn ExecutionPlan>, Refusal>;

fn offered(node: &Arc<dyn ExecutionPlan>, join: &HashJoinExec, left: &Side<'_>, right: &Side<'_>) -> Result<Offered> {
    let (kind, swapped) = match join.join_type() {
        JoinType::Inner => (JoinKind::Inner, false),
        JoinType::Left => (JoinKind::Left, false),
        JoinType::Right => (JoinKind::Left, true),
        _ => return Ok(Err(Refusal::new(RefusalCode::Function, "only inner and outer joins of two tables are sent"))),
    };
    if join.filter().is_some() || join.null_equality() != NullEquality::NullEqualsNothing {
        return Ok(Err(Refusal::new(RefusalCode::Expression, "not by columns that are equal alone")));
    }
    let pairs = join.on().iter().map(|(one, other)| Some((left.place(one)?, right.place(other)?)));
    let Some(on) = pairs.collect::<Option<Vec<_>>>() else {
        return Ok(Err(Refusal::new(RefusalCode::Expression, "a key is no column")));
    };
    if let Some(refusal) = costly(node, join, left, right)? {
        return Ok(Err(refusal));
    }
    let (first, second, on) = match swapped {
        false => (left, right, on),
        true => (right, left, on.into_iter().map(|(one, other)| (other, one)).collect()),
    };
    let offer = Op::Join(Join { right: Box::new(second.scan.scan().clone()), kind, on });
    let with = match first.scan.offer(&offer) {
        Absorbed::Exact(with) => with,
        Absorbed::No(refusal) => return Ok(Err(refusal)),
        Absorbed::Inexact(_) => return Ok(Err(Refusal::new(RefusalCode::Source, "the source joins otherwise"))),
    };
    // Where a column of the join is among those that both scans return, one after the other.
    let returned = |side: &Side<'_>| side.scan.scan().projection.len();
    let (before_left, before_right) = if swapped { (returned(right), 0) } else { (0, returned(left)) };
    let at = |at: usize| match at.checked_sub(left.places.len()) {
        None => left.returned(at).map(|at| before_left + at),
        Some(at) => right.returned(at).map(|at| before_right + at),
    };
    let all = 0..left.places.len() + right.places.len();
    let wanted = match &join.projection {
        Some(chosen) => chosen.iter().map(|chosen| at(*chosen)).collect::<Option<Vec<_>>>(),
        None => all.map(at).collect(),
    };
    let Some(wanted) = wanted else {
        return Ok(Err(Refusal::new(RefusalCode::Expression, "a column of the join is not one of its tables")));
    };
    let mut columns = wanted.clone();
    columns.sort_unstable();
    columns.dedup();
    let (with, columns) = match first.scan.absorb(&with, &Op::Columns(columns.clone())) {
        Absorbed::Exact(with) => (with, columns),
        _ => (with, (0..returned(left) + returned(right)).collect()),
    };
    let scan = first.scan.joined(second.scan, with, rows(node)?, &made(join));
    let (found, schema) = (scan.schema(), node.schema());
    let column = |(wanted, field): (&usize, &Arc<Field>)| {
        let at = columns.binary_search(wanted).unwrap_or_default();
        (Arc::new(Column::new(found.field(at).name(), at)) as Arc<dyn PhysicalExpr>, field.name().clone())
    };
    let columns = wanted.iter().zip(schema.fields()).map(column);
    let mut folded: Arc<dyn ExecutionPlan> = Arc::new(ProjectionExec::try_new(columns, Arc::new(scan))?);
    // A join may have a limit of its own; its rows are in one partition here.
    if let Some(limit) = node.fetch() {
        folded = Arc::new(GlobalLimitExec::new(folded, 0, Some(limit)));
    }
    // What stands above may rely on rows of equal keys being together, but not of keys that the join does not return.
    let lost = |key: &Arc<dyn PhysicalExpr>| key.exists(|part| Ok(part.is::<UnKnownColumn>()));
    Ok(Ok(match node.output_partitioning() {
        dealt @ Partitioning::Hash(keys, partitions)
            if *partitions > 1 && !keys.iter().map(lost).collect::<Result<Vec<_>>>()?.contains(&true) =>
        {
            Arc::new(RepartitionExec::try_new(folded, dealt.clone())?)
        }
        _ => folded,
    }))
}

/// Why the join is better made here; none where the source sends less when it makes it. Here the rows without a match need
/// not come where the source is sent the keys of the build side; there one connection sends what several do here.
fn costly(
    node: &Arc<dyn ExecutionPlan>,
    join: &HashJoinExec,
    left: &Side<'_>,
    right: &Side<'_>,
) -> Result<Option<Refusal>> {
    let (Some(whole), Some(build), Some(probe)) = (rows(node)?, rows(join.left())?, rows(join.right())?) else {
        let unknown = Refusal::new(RefusalCode::Cost, "how many rows it has is not known");
        return Ok(Some(unknown.remedy("ANALYZE the tables there")));
    };
    let schema = join.left().schema();
    let keys = join.on().iter().map(|(key, _)| key.data_type(&schema)).collect::<Result<Vec<_>>>()?;
    let listed = build <= MOST_JOIN_KEYS && build.saturating_mul(width(&keys)) <= MOST_JOIN_KEY_BYTES;
    let matching = if right.has_keys_of(join) && listed { probe.min(whole) } else { probe };
    let bytes = |rows: usize, plan: &Arc<dyn ExecutionPlan>| rows.saturating_mul(row_width(&plan.schema()));
    let connections = left.scan.splits().count().max(right.scan.splits().count());
    let here = bytes(build, join.left()).saturating_add(bytes(matching, join.right()));
    let there = bytes(whole, node).saturating_mul(connections);
    Ok((there >= here).then(|| Refusal::new(RefusalCode::Cost, "more would come, or later, than of its two tables")))
}

fn rows(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<usize>> {
    let statistics = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new())?;
    Ok(statistics.num_rows.get_value().copied())
}

/// About how many bytes a row has.
fn row_width(schema: &Schema) -> usize {
    width(schema.fields().iter().map(|field| field.data_type())).max(1)
}

/// About how many bytes values of these types have.
fn width<'a>(types: impl IntoIterator<Item = &'a DataType>) -> usize {
    types.into_iter().map(|data_type| data_type.primitive_width().unwrap_or(TEXT_BYTES)).sum()
}
