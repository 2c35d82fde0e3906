//! What the inputs of a chain of joins say of themselves.

use std::sync::Arc;

use connectors::MOST_JOIN_KEYS;
use connectors::catalog_of;
use datafusion::common::ColumnStatistics;
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Literal};
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, StatisticsArgs, StatisticsContext};

use super::{Chain, Place, Set, Way};

/// The share of rows that have a given text in a column, as Postgres guesses it where it knows nothing.
const EQUAL_TEXT: f64 = 0.005;

/// What is known of the inputs of a chain.
pub(super) struct Estimates {
    rows: Vec<f64>,
    columns: Vec<Vec<ColumnStatistics>>,
    /// Whether an input comes from a source that may be sent keys.
    sources: Vec<bool>,
}

impl Estimates {
    /// None where an input does not say how many rows it has.
    pub(super) fn of(chain: &Chain) -> Result<Option<Self>> {
        let mut found = Self { rows: Vec::new(), columns: Vec::new(), sources: Vec::new() };
        for input in &chain.inputs {
            let statistics = StatisticsContext::new().compute(input.as_ref(), &StatisticsArgs::new())?;
            let Some(rows) = statistics.num_rows.get_value() else { return Ok(None) };
            let rows = (*rows as f64).min(selected(input)?);
            found.rows.push(rows.max(1.0));
            found.columns.push(statistics.column_statistics.clone());
            found.sources.push(catalog_of(input).is_some());
        }
        Ok(Some(found))
    }

    /// An input that is joined with nothing.
    pub(super) fn alone(&self, input: usize) -> Way {
        Way { rows: self.rows[input], cost: 0.0, sides: None }
    }

    /// How many rows come from a source to be a side of a join that makes `rows`; only keys of a single column are sent.
    /// Files are read alike in any order.
    pub(super) fn read(&self, (side, way): (Set, &Way), (_, other): (Set, &Way), rows: f64, single: bool) -> f64 {
        if !side.is_power_of_two() || !self.sources[side.trailing_zeros() as usize] {
            return 0.0;
        }
        let sent = single && other.rows < way.rows && other.rows <= MOST_JOIN_KEYS as f64;
        if sent { rows.min(way.rows) } else { way.rows }
    }

    /// How many different values the columns of a set have that are equal to each other: of the one with the fewest.
    pub(super) fn distinct(&self, chain: &Chain, set: Set, equal: usize) -> f64 {
        let all = &chain.equal[equal];
        let known = all.iter().filter_map(|place| self.known(*place)).reduce(f64::max).unwrap_or(f64::INFINITY);
        // Where a source counts the values of one of them, the others have hardly more.
        let distinct = |place: Place| self.known(place).unwrap_or_else(|| self.spread(place).min(known));
        let distinct = |place: Place| distinct(place).clamp(1.0, self.rows[place.0]);
        chain.members(set, equal).map(distinct).fold(f64::INFINITY, f64::min)
    }

    /// How many different values a column has, where the source says so.
    fn known(&self, (input, column): Place) -> Option<f64> {
        let known = self.columns[input].get(column)?.distinct_count.get_value()?;
        Some(*known as f64)
    }

    /// No more than lie between the smallest and the largest.
    fn spread(&self, (input, column): Place) -> f64 {
        let bounds = self.columns[input].get(column).and_then(|known| {
            known.min_value.get_value().zip(known.max_value.get_value()).and_then(|(least, most)| least.distance(most))
        });
        bounds.map_or(f64::INFINITY, |distance| distance as f64 + 1.0)
    }
}

/// The most rows that may pass a filter by its comparisons of text, of which DataFusion knows nothing and then says that a
/// fifth passes: of a column with a name for each of a few things, one is asked for.
fn selected(input: &Arc<dyn ExecutionPlan>) -> Result<f64> {
    if let Some(projection) = input.downcast_ref::<ProjectionExec>() {
        return selected(projection.input());
    }
    let Some(filter) = input.downcast_ref::<FilterExec>() else { return Ok(f64::INFINITY) };
    let is_text = |expr: &Arc<dyn PhysicalExpr>| {
        expr.downcast_ref::<Literal>().is_some_and(|literal| literal.value().try_as_str().flatten().is_some())
    };
    let equal = split_conjunction(filter.predicate()).into_iter().filter(|part| {
        part.downcast_ref::<BinaryExpr>()
            .is_some_and(|part| *part.op() == Operator::Eq && (is_text(part.left()) || is_text(part.right())))
    });
    let equal = i32::try_from(equal.count()).unwrap_or(i32::MAX);
    if equal == 0 {
        return Ok(f64::INFINITY);
    }
    let statistics = StatisticsContext::new().compute(filter.input().as_ref(), &StatisticsArgs::new())?;
    Ok(statistics.num_rows.get_value().map_or(f64::INFINITY, |rows| *rows as f64 * EQUAL_TEXT.powi(equal)))
}
