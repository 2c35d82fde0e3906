//! Offers to sources what DataFusion has no hook for: the first rows in an order, and groups; and keeps of the filters
//! that are known later those of joins. What is refused is said in EXPLAIN.
//!
//! The engine sorts, and puts groups together, all the same; only what arrives is less. So an answer of the source over
//! each of its splits is enough, in one process and on workers.

use std::sync::Arc;

use connector_spi::{Absorbed, Aggregation, Call, Function, Op, Refusal, RefusalCode, SortKey};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, CaseExpr, CastExpr, Column, Literal};
use datafusion::physical_expr::utils::split_conjunction;
use datafusion::physical_expr::{Partitioning, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::scalar::ScalarValue;

use crate::ScanExec;
use crate::join::fold;
use crate::keys::joins;
use crate::physical::View;

/// The rule; it comes after DataFusion's own.
#[derive(Debug)]
pub(crate) struct Absorb;

impl PhysicalOptimizerRule for Absorb {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let joins = joins(&plan)?;
        let absorbed = plan.transform_up(|node| {
            let changed = if let Some(scan) = node.downcast_ref::<ScanExec>() {
                let keys = scan.keys().map(|keys| keys.of_joins(&joins));
                keys.map(|keys| Arc::new(scan.clone().with_keys(keys)) as _)
            } else if let Some(filter) = node.downcast_ref::<FilterExec>() {
                filtered(&node, filter)?
            } else if let Some(join) = node.downcast_ref::<HashJoinExec>() {
                fold(&node, join)?
            } else if let Some(sort) = node.downcast_ref::<SortExec>() {
                top(&node, sort)?
            } else if let Some(aggregate) = node.downcast_ref::<AggregateExec>() {
                groups(&node, aggregate)?
            } else {
                None
            };
            Ok(changed.map_or_else(|| Transformed::no(node), Transformed::yes))
        });
        absorbed.map(|absorbed| absorbed.data)
    }

    fn name(&self) -> &str {
        "absorb"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The scan below nodes that only move rows or choose columns, and the place in the table of each column above.
pub(crate) fn leaf(plan: &Arc<dyn ExecutionPlan>) -> Option<(&ScanExec, Vec<usize>)> {
    if let Some(scan) = plan.downcast_ref::<ScanExec>() {
        let plain = scan.scan().aggregation.is_none();
        return plain.then(|| (scan, scan.scan().projection.clone()));
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let (scan, places) = leaf(projection.input())?;
        let view = View { scan: scan.scan(), places: &places };
        let chosen = projection.expr().iter().map(|chosen| view.place(&chosen.expr)).collect::<Option<_>>()?;
        return Some((scan, chosen));
    }
    let moves = plan.downcast_ref::<CoalescePartitionsExec>().is_some_and(|merge| merge.fetch().is_none())
        || plan.downcast_ref::<CooperativeExec>().is_some()
        || plan
            .downcast_ref::<RepartitionExec>()
            .is_some_and(|repartition| matches!(repartition.partitioning(), Partitioning::RoundRobinBatch(_)));
    match plan.children().as_slice() {
        [child] if moves => leaf(child),
        _ => None,
    }
}

/// The catalog of the table that a plan reads, if it does no more than that.
pub fn catalog_of(plan: &Arc<dyn ExecutionPlan>) -> Option<&str> {
    leaf(plan).map(|(scan, _)| scan.scan().catalog.as_str())
}

/// A plan with another scan in place of the one that it is made of.
pub(crate) fn with_scan(plan: &Arc<dyn ExecutionPlan>, scan: ScanExec) -> Result<Arc<dyn ExecutionPlan>> {
    let scan: Arc<dyn ExecutionPlan> = Arc::new(scan);
    let replaced = Arc::clone(plan).transform_up(|below| {
        Ok(match below.is::<ScanExec>() {
            true => Transformed::yes(Arc::clone(&scan)),
            false => Transformed::no(below),
        })
    });
    replaced.map(|replaced| replaced.data)
}

/// The filter over a scan that says why its conditions are not left to the source.
fn filtered(node: &Arc<dyn ExecutionPlan>, filter: &FilterExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some((scan, places)) = leaf(filter.input()).filter(|(scan, _)| scan.is_open()) else { return Ok(None) };
    let view = View { scan: scan.scan(), places: &places };
    let mut said = split_conjunction(filter.predicate()).into_iter().fold(scan.clone(), |said, condition| {
        let why = match view.predicate(condition).map(|predicate| scan.offer(&Op::Filter(predicate))) {
            None => Refusal::new(RefusalCode::Expression, "not a condition on a column and values of its type")
                .remedy("compare a plain column with values of its type"),
            Some(Absorbed::No(reason)) => reason,
            // It was sent, and filters again.
            Some(_) => return said,
        };
        said.with_kept(&condition.to_string(), why)
    });
    if filter.fetch().is_some() {
        said = said.with_kept("limit", Refusal::new(RefusalCode::Order, "a filter is applied before it"));
    }
    with_scan(node, said).map(Some)
}

/// The sort over a scan that returns fewer rows.
fn top(node: &Arc<dyn ExecutionPlan>, sort: &SortExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let (Some(limit), Some((scan, places))) = (sort.fetch(), leaf(sort.input())) else { return Ok(None) };
    let view = View { scan: scan.scan(), places: &places };
    let key = |key: &PhysicalSortExpr| {
        let column = view.place(&key.expr)?;
        Some(SortKey { column, descending: key.options.descending, nulls_first: key.options.nulls_first })
    };
    let answer = match sort.expr().iter().map(key).collect::<Option<Vec<_>>>() {
        Some(order) => scan.offer(&Op::Top { order, limit: limit as u64 }),
        None => Absorbed::No(Refusal::new(RefusalCode::Expression, "a key is no column")),
    };
    match answer {
        Absorbed::Exact(with) | Absorbed::Inexact(with) => with_scan(node, scan.absorbing(with)).map(Some),
        Absorbed::No(reason) if scan.is_open() => {
            with_scan(node, scan.clone().with_kept("first rows in order", reason)).map(Some)
        }
        Absorbed::No(_) => Ok(None),
    }
}

/// The aggregation over a scan whose rows are groups already.
fn groups(node: &Arc<dyn ExecutionPlan>, aggregate: &AggregateExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let single = match aggregate.mode() {
        AggregateMode::Partial => false,
        // Its limit counts whole groups.
        AggregateMode::Single | AggregateMode::SinglePartitioned if aggregate.limit_options().is_none() => true,
        _ => return Ok(None),
    };
    let group_by = aggregate.group_expr();
    let Some((scan, places)) = leaf(aggregate.input()) else { return Ok(None) };
    let view = View { scan: scan.scan(), places: &places };
    let answer = match aggregation(aggregate, view)? {
        Ok(aggregation) => scan.offer(&Op::Aggregate(aggregation)),
        Err(reason) => Absorbed::No(reason),
    };
    let with = match answer {
        Absorbed::Exact(with) => with,
        Absorbed::No(reason) if scan.is_open() => {
            return with_scan(node, scan.clone().with_kept("groups", reason)).map(Some);
        }
        _ => return Ok(None),
    };
    let states = match single {
        false => aggregate.schema(),
        true => AggregateExec::try_new(
            AggregateMode::Partial,
            Arc::new(group_by.clone()),
            aggregate.aggr_expr().to_vec(),
            aggregate.filter_expr().to_vec(),
            Arc::clone(aggregate.input()),
            aggregate.input_schema(),
        )?
        .schema(),
    };
    let scan: Arc<dyn ExecutionPlan> = Arc::new(scan.absorbing(with));
    let found = scan.schema();
    let state = |(at, wanted): (usize, &Arc<datafusion::arrow::datatypes::Field>)| {
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(found.field(at).name(), at));
        let expr = if found.field(at).data_type() == wanted.data_type() {
            column
        } else {
            let cast: Arc<dyn PhysicalExpr> = Arc::new(CastExpr::new(column, wanted.data_type().clone(), None));
            // The count of an average: of no values it is NULL, and a division by it is not tried.
            if *wanted.data_type() == DataType::UInt64 { unless_zero(cast)? } else { cast }
        };
        Ok((expr, wanted.name().clone()))
    };
    let states = states.fields().iter().enumerate().map(state).collect::<Result<Vec<_>>>()?;
    let states: Arc<dyn ExecutionPlan> = Arc::new(ProjectionExec::try_new(states, scan)?);
    if !single {
        return Ok(Some(states));
    }
    let one = match states.output_partitioning().partition_count() {
        1 => states,
        _ => Arc::new(CoalescePartitionsExec::new(states)),
    };
    let whole = AggregateExec::try_new(
        AggregateMode::Final,
        Arc::new(group_by.as_final()),
        aggregate.aggr_expr().to_vec(),
        aggregate.filter_expr().to_vec(),
        one,
        aggregate.input_schema(),
    )?;
    Ok(Some(Arc::new(whole)))
}

/// NULL in place of zero.
fn unless_zero(count: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
    let zero = Arc::new(Literal::new(ScalarValue::UInt64(Some(0))));
    let some: Arc<dyn PhysicalExpr> = Arc::new(BinaryExpr::new(Arc::clone(&count), Operator::NotEq, zero));
    Ok(Arc::new(CaseExpr::try_new(None, vec![(some, count)], None)?))
}

/// What an aggregation asks of its input, or why it is not what sources know.
fn aggregation(aggregate: &AggregateExec, view: View<'_>) -> Result<std::result::Result<Aggregation, Refusal>> {
    let group_by = aggregate.group_expr();
    if group_by.has_grouping_set() {
        return Ok(Err(Refusal::new(RefusalCode::Function, "several groupings at once")));
    }
    if aggregate.filter_expr().iter().any(Option::is_some) {
        return Ok(Err(Refusal::new(RefusalCode::Function, "an aggregate function with FILTER")));
    }
    let Some(group) = group_by.expr().iter().map(|(expr, _)| view.place(expr)).collect::<Option<Vec<_>>>() else {
        return Ok(Err(Refusal::new(RefusalCode::Expression, "a group is made by an expression")));
    };
    let calls = aggregate.aggr_expr().iter().map(|call| calls(call, view)).collect::<Result<Option<Vec<_>>>>()?;
    Ok(match calls {
        None => Err(Refusal::new(
            RefusalCode::Function,
            "an aggregate function of an expression, or one that sources do not know",
        )),
        Some(calls) if calls.is_empty() && group.is_empty() => {
            Err(Refusal::new(RefusalCode::Function, "nothing is grouped"))
        }
        Some(calls) => Ok(Aggregation { group, calls: calls.into_iter().flatten().collect() }),
    })
}

/// The state of one aggregate function as results of a source, one for each field of the state.
fn calls(call: &AggregateFunctionExpr, view: View<'_>) -> Result<Option<Vec<Call>>> {
    if call.is_distinct() || call.ignore_nulls() || !call.order_bys().is_empty() {
        return Ok(None);
    }
    let fields = call.state_fields()?;
    let arguments = call.expressions();
    let [argument] = arguments.as_slice() else { return Ok(None) };
    let every = argument.downcast_ref::<Literal>().is_some_and(|literal| !literal.value().is_null());
    let functions: &[Function] = match call.fun().name() {
        "count" => &[Function::Count],
        "sum" => &[Function::Sum],
        "min" => &[Function::Min],
        "max" => &[Function::Max],
        // Its state is a count, then a sum.
        "avg" => &[Function::Count, Function::Sum],
        _ => return Ok(None),
    };
    if functions.len() != fields.len() {
        return Ok(None);
    }
    let column = match functions {
        [Function::Count] if every => None,
        _ => match view.place(uncast(argument)) {
            Some(column) => Some(column),
            None => return Ok(None),
        },
    };
    let call = |(function, field): (&Function, &Arc<datafusion::arrow::datatypes::Field>)| {
        let data_type = if *function == Function::Count { DataType::Int64 } else { field.data_type().clone() };
        Call { function: *function, column, data_type }
    };
    Ok(Some(functions.iter().zip(&fields).map(call).collect()))
}

/// What is widened to 64 bits only to be summed up.
fn uncast(argument: &Arc<dyn PhysicalExpr>) -> &Arc<dyn PhysicalExpr> {
    match argument.downcast_ref::<CastExpr>() {
        Some(cast) if *cast.cast_type() == DataType::Int64 && cast.expr().downcast_ref::<Column>().is_some() => {
            cast.expr()
        }
        _ => argument,
    }
}
