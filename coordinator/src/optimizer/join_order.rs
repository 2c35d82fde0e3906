//! The order of inner joins by the sources' estimates, where DataFusion keeps that of the text.
//!
//! A chain of inner joins by equal columns is taken apart into its inputs and the columns that are equal, and put
//! together in the order in which the fewest rows come from sources, which are sent the keys of few rows, and are made on
//! the way; any shape of tree is looked at. Columns that are equal to the same column are equal to each other, so that
//! inputs may meet that the text does not join directly. Which of two inputs is the build side is decided later, by
//! DataFusion.
//!
//! Rows of a join: those of both inputs, divided by the number of different keys of that which has more of them (Selinger
//! et al., "Access path selection in a relational database management system", 1979). Where an input does not say how
//! many rows it has, or the new order would not be much better, all stays as it is.

mod estimates;

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{JoinSide, JoinType, NullEquality, internal_datafusion_err};
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::joins::utils::{ColumnIndex, JoinFilter};
use datafusion::physical_plan::joins::{HashJoinExec, HashJoinExecBuilder, PartitionMode};
use datafusion::physical_plan::projection::ProjectionExec;

use self::estimates::Estimates;

/// The most inputs of a chain that is looked at: the work triples with each.
const MOST: usize = 10;
/// A new order must make fewer than this share of the rows.
const BETTER: f64 = 0.8;
/// Where the smaller side of a join has more rows than this, those of both sides are dealt out by their keys, which costs
/// this share of making them; DataFusion decides by bytes, of which less is known here.
const DEALT: f64 = 100_000.0;
const DEALING: f64 = 0.25;
/// The share of rows that pass a condition of a join that is not about equal columns.
const FILTER: f64 = 1.0 / 3.0;

/// The rule; it must run before the sides of joins are chosen.
#[derive(Debug)]
pub(crate) struct JoinOrder;

impl PhysicalOptimizerRule for JoinOrder {
    fn name(&self) -> &str {
        "join_order"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        ordered(plan)
    }
}

/// The plan with all its chains in order.
fn ordered(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let found = plan.transform_down(|node| {
        let mut chain = Chain::default();
        let (tree, outputs) = chain.take_apart(&node);
        if chain.inputs.len() < 2 {
            return Ok(Transformed::no(node));
        }
        for input in &mut chain.inputs {
            *input = ordered(Arc::clone(input))?;
        }
        let made = chain.put_together(&node, &tree, &outputs)?;
        Ok(Transformed::new(made, true, TreeNodeRecursion::Jump))
    });
    found.map(|found| found.data)
}

/// A column of an input: the input's place, and the column's in it.
type Place = (usize, usize);

/// How the joins of a chain stand.
enum Tree {
    Input(usize),
    Join(Box<Tree>, Box<Tree>),
}

/// A chain of inner joins, taken apart.
#[derive(Default)]
struct Chain {
    inputs: Vec<Arc<dyn ExecutionPlan>>,
    /// Columns that are equal in every row of the result.
    equal: Vec<Vec<Place>>,
    filters: Vec<Filter>,
    mode: Option<PartitionMode>,
}

/// A condition of a join besides equal columns, and where its columns are from.
struct Filter {
    places: Vec<Place>,
    filter: JoinFilter,
}

impl Filter {
    /// Whether it can be told in the rows of a set.
    fn fits(&self, set: Set) -> bool {
        self.places.iter().all(|place| holds(set, *place))
    }
}

/// Inputs as a set of bits.
type Set = usize;

/// Whether the input of a column is in a set.
fn holds(set: Set, (input, _): Place) -> bool {
    set & (1 << input) != 0
}

/// The best way to join a set of inputs.
struct Way {
    rows: f64,
    /// Rows that are made until then, and that have come from sources.
    cost: f64,
    /// What is joined last; none for one input.
    sides: Option<(Set, Set)>,
}

impl Chain {
    /// Adds a part of the chain; where the columns of its result are from.
    fn take_apart(&mut self, node: &Arc<dyn ExecutionPlan>) -> (Tree, Vec<Place>) {
        if let Some((join, equal)) = plain(node) {
            let (left, mut outputs) = self.take_apart(join.left());
            let (right, of_right) = self.take_apart(join.right());
            for (one, other) in equal {
                self.equate(outputs[one], of_right[other]);
            }
            self.mode.get_or_insert(*join.partition_mode());
            if let Some(filter) = join.filter() {
                let place = |column: &ColumnIndex| match column.side {
                    JoinSide::Right => of_right[column.index],
                    _ => outputs[column.index],
                };
                let places = filter.column_indices().iter().map(place).collect();
                self.filters.push(Filter { places, filter: filter.clone() });
            }
            outputs.extend(of_right);
            if let Some(chosen) = &join.projection {
                outputs = chosen.iter().map(|at| outputs[*at]).collect();
            }
            return (Tree::Join(Box::new(left), Box::new(right)), outputs);
        }
        if let Some((join, chosen)) = choice(node) {
            let (tree, outputs) = self.take_apart(join);
            return (tree, chosen.into_iter().map(|at| outputs[at]).collect());
        }
        let input = self.inputs.len();
        self.inputs.push(Arc::clone(node));
        (Tree::Input(input), (0..node.schema().fields().len()).map(|at| (input, at)).collect())
    }

    fn equate(&mut self, one: Place, other: Place) {
        let (mut joined, rest): (Vec<_>, Vec<_>) =
            self.equal.drain(..).partition(|equal| equal.contains(&one) || equal.contains(&other));
        self.equal = rest;
        joined.push(vec![one, other]);
        let mut equal = joined.concat();
        equal.sort_unstable();
        equal.dedup();
        self.equal.push(equal);
    }

    /// The chain's result in the best order; `node` with its inputs as they are now where that is not much better.
    fn put_together(
        &self,
        node: &Arc<dyn ExecutionPlan>,
        tree: &Tree,
        outputs: &[Place],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let kept = || with_inputs(node, &mut self.inputs.iter());
        // Two columns of one input that are equal to a third are so by two conditions, and one is made of them here.
        let twice = |equal: &Vec<Place>| equal.windows(2).any(|places| places[0].0 == places[1].0);
        // A condition on one input alone would be told at none of the joins.
        let alone = |filter: &Filter| (0..self.inputs.len()).any(|input| filter.fits(1 << input));
        if !(3..=MOST).contains(&self.inputs.len()) || self.equal.iter().any(twice) || self.filters.iter().any(alone) {
            return kept();
        }
        let Some(estimates) = Estimates::of(self)? else { return kept() };
        let ways = self.ways(&estimates);
        let all = (1 << self.inputs.len()) - 1;
        match ways.get(&all) {
            Some(best) if best.cost < BETTER * self.cost(tree, &estimates).1.cost => {}
            _ => return kept(),
        }
        let (plan, places) = self.join(&ways, all, outputs)?;
        let schema = node.schema();
        let columns = outputs.iter().zip(schema.fields());
        let columns = columns.map(|(place, field)| Ok((column(&plan, found(&places, *place)?), field.name().clone())));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let made: Arc<dyn ExecutionPlan> = Arc::new(ProjectionExec::try_new(columns, Arc::clone(&plan))?);
        if made.schema() == schema { Ok(made) } else { kept() }
    }

    /// The best way to each set of inputs that can be joined without making all pairs of rows.
    fn ways(&self, estimates: &Estimates) -> BTreeMap<Set, Way> {
        let mut ways = BTreeMap::new();
        for set in 1_usize..1 << self.inputs.len() {
            if set.is_power_of_two() {
                ways.insert(set, estimates.alone(set.trailing_zeros() as usize));
                continue;
            }
            let mut best: Option<Way> = None;
            // Each way to cut the set in two, one of the two mirrored ones.
            let mut left = (set - 1) & set;
            while left > 0 {
                let right = set ^ left;
                if left > right
                    && let (Some(one), Some(other)) = (ways.get(&left), ways.get(&right))
                    && let Some(way) = self.joined(estimates, (left, one), (right, other))
                    && best.as_ref().is_none_or(|best| way.cost < best.cost)
                {
                    best = Some(way);
                }
                left = (left - 1) & set;
            }
            if let Some(best) = best {
                ways.insert(set, best);
            }
        }
        ways
    }

    /// Two sets joined; none where nothing of one is equal to anything of the other.
    fn joined(&self, estimates: &Estimates, left: (Set, &Way), right: (Set, &Way)) -> Option<Way> {
        let shared: Vec<usize> = self.shared(left.0, right.0).map(|(at, _)| at).collect();
        if shared.is_empty() {
            return None;
        }
        let keys = |(set, way): (Set, &Way)| {
            let product: f64 = shared.iter().map(|at| estimates.distinct(self, set, *at)).product();
            product.min(way.rows).max(1.0)
        };
        let passing = self.told(left.0, right.0).map(|_| FILTER).product::<f64>();
        let rows = (left.1.rows * right.1.rows / keys(left).max(keys(right)) * passing).max(1.0);
        let single = shared.len() == 1;
        let read = estimates.read(left, right, rows, single) + estimates.read(right, left, rows, single);
        let dealt = if left.1.rows.min(right.1.rows) > DEALT { DEALING * (left.1.rows + right.1.rows) } else { 0.0 };
        let cost = left.1.cost + right.1.cost + rows + read + dealt;
        Some(Way { rows, cost, sides: Some((left.0, right.0)) })
    }

    /// The filters that can be told where two sets meet, and not before.
    fn told(&self, left: Set, right: Set) -> impl Iterator<Item = &Filter> {
        self.filters.iter().filter(move |filter| filter.fits(left | right) && !filter.fits(left) && !filter.fits(right))
    }

    /// The columns of a set that are equal to each other.
    fn members(&self, set: Set, equal: usize) -> impl Iterator<Item = Place> {
        self.equal[equal].iter().copied().filter(move |place| holds(set, *place))
    }

    /// Which of the columns that are equal two sets share, with one of each that stands for the others.
    fn shared(&self, left: Set, right: Set) -> impl Iterator<Item = (usize, (Place, Place))> {
        let key = move |at| Some((self.members(left, at).next()?, self.members(right, at).next()?));
        (0..self.equal.len()).filter_map(move |at| Some((at, key(at)?)))
    }

    /// The set of inputs of a tree, and what it costs as it stands.
    fn cost(&self, tree: &Tree, estimates: &Estimates) -> (Set, Way) {
        match tree {
            Tree::Input(input) => (1 << input, estimates.alone(*input)),
            Tree::Join(left, right) => {
                let (left, right) = (self.cost(left, estimates), self.cost(right, estimates));
                let all_pairs = || {
                    let rows = left.1.rows * right.1.rows;
                    Way { rows, cost: left.1.cost + right.1.cost + rows, sides: None }
                };
                let joined = self.joined(estimates, (left.0, &left.1), (right.0, &right.1));
                (left.0 | right.0, joined.unwrap_or_else(all_pairs))
            }
        }
    }

    /// The plan that joins a set, and where its columns are from: those of `wanted` that are in the set.
    fn join(
        &self,
        ways: &BTreeMap<Set, Way>,
        set: Set,
        wanted: &[Place],
    ) -> Result<(Arc<dyn ExecutionPlan>, Vec<Place>)> {
        let Some((left, right)) = ways.get(&set).and_then(|way| way.sides) else {
            let input = set.trailing_zeros() as usize;
            let plan = Arc::clone(&self.inputs[input]);
            let places = (0..plan.schema().fields().len()).map(|at| (input, at)).collect();
            return Ok((plan, places));
        };
        let keys: Vec<(Place, Place)> = self.shared(left, right).map(|(_, keys)| keys).collect();
        let told: Vec<&Filter> = self.told(left, right).collect();
        let asked: Vec<Place> = told.iter().flat_map(|filter| filter.places.iter().copied()).collect();
        let with = |keys: Vec<Place>| [wanted, &asked, &keys].concat();
        let (one, of_one) = self.join(ways, left, &with(keys.iter().map(|keys| keys.0).collect()))?;
        let (other, of_other) = self.join(ways, right, &with(keys.iter().map(|keys| keys.1).collect()))?;
        let pair = |(left, right): &(Place, Place)| {
            Ok((column(&one, found(&of_one, *left)?), column(&other, found(&of_other, *right)?)))
        };
        let on = keys.iter().map(pair).collect::<Result<Vec<_>>>()?;
        let filter = together(&told, &of_one, &of_other)?;
        let both = [of_one, of_other].concat();
        let chosen: Vec<usize> = (0..both.len()).filter(|at| wanted.contains(&both[*at])).collect();
        let places = chosen.iter().map(|at| both[*at]).collect();
        let join = HashJoinExecBuilder::new(one, other, on, JoinType::Inner)
            .with_partition_mode(self.mode.unwrap_or(PartitionMode::Auto))
            .with_null_equality(NullEquality::NullEqualsNothing)
            .with_filter(filter)
            .with_projection((chosen.len() < both.len()).then_some(chosen))
            .build()?;
        Ok((Arc::new(join), places))
    }
}

/// An inner join by equal columns, whatever other conditions it has, and which columns are equal.
fn plain(node: &Arc<dyn ExecutionPlan>) -> Option<(&HashJoinExec, Vec<(usize, usize)>)> {
    let join = node.downcast_ref::<HashJoinExec>()?;
    let inner = *join.join_type() == JoinType::Inner
        && join.fetch().is_none()
        && join.null_equality() == NullEquality::NullEqualsNothing;
    let equal = join.on().iter().map(|(one, other)| Some((index(one)?, index(other)?))).collect::<Option<_>>()?;
    inner.then_some((join, equal))
}

/// The join under a projection that only chooses columns of it, and which.
fn choice(node: &Arc<dyn ExecutionPlan>) -> Option<(&Arc<dyn ExecutionPlan>, Vec<usize>)> {
    let projection = node.downcast_ref::<ProjectionExec>().filter(|chosen| chosen.input().is::<HashJoinExec>())?;
    let chosen = projection.expr().iter().map(|column| index(&column.expr)).collect::<Option<_>>()?;
    Some((projection.input(), chosen))
}

fn index(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    expr.downcast_ref::<Column>().map(Column::index)
}

/// Where a column is among others. Errors: it is not, which is a defect of this rule.
fn found(places: &[Place], place: Place) -> Result<usize> {
    places.iter().position(|there| *there == place).ok_or_else(|| internal_datafusion_err!("a join lacks a column"))
}

fn column(plan: &Arc<dyn ExecutionPlan>, at: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(plan.schema().field(at).name(), at))
}

/// All filters as the one of a join whose sides have these columns; none of none.
fn together(filters: &[&Filter], left: &[Place], right: &[Place]) -> Result<Option<JoinFilter>> {
    let (mut whole, mut columns, mut fields) = (None, Vec::new(), Vec::new());
    for Filter { places, filter } in filters {
        let before = columns.len();
        let moved = Arc::clone(filter.expression()).transform(|part| {
            Ok(match part.downcast_ref::<Column>() {
                Some(column) => Transformed::yes(Arc::new(Column::new(column.name(), before + column.index())) as _),
                None => Transformed::no(part),
            })
        });
        let moved = moved?.data;
        whole = Some(match whole {
            Some(whole) => Arc::new(BinaryExpr::new(whole, Operator::And, moved)) as Arc<dyn PhysicalExpr>,
            None => moved,
        });
        for place in places {
            let (index, side) = match found(left, *place) {
                Ok(index) => (index, JoinSide::Left),
                Err(_) => (found(right, *place)?, JoinSide::Right),
            };
            columns.push(ColumnIndex { index, side });
        }
        fields.extend(filter.schema().fields().iter().cloned());
    }
    Ok(whole.map(|whole| JoinFilter::new(whole, columns, Arc::new(Schema::new(fields)))))
}

/// The same chain over other inputs, which come in the order in which it was taken apart.
fn with_inputs<'a>(
    node: &Arc<dyn ExecutionPlan>,
    inputs: &mut impl Iterator<Item = &'a Arc<dyn ExecutionPlan>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    if plain(node).is_none() && choice(node).is_none() {
        return Ok(inputs.next().map_or_else(|| Arc::clone(node), Arc::clone));
    }
    let children = node.children().into_iter().map(|child| with_inputs(child, inputs)).collect::<Result<Vec<_>>>()?;
    replace_children_if_necessary(Arc::clone(node), children)
}

#[cfg(test)]
mod tests;
