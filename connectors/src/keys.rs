//! Join keys: what a hash join knows of its build side before the probe side is read, as filters for the source.
//!
//! The join filters again, so a filter here may let more through than the keys. It never lets less through.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use connector_spi::{Absorbed, Comparison, Literal, Op, Predicate, Scan, Source};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::TreeNode;
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, DynamicFilterPhysicalExpr, InListExpr, IsNullExpr, Literal as Constant,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::HashJoinExec;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::literal::literal;
use crate::physical::View;

/// How long a read waits for the build side; then it reads without its keys.
const PATIENCE: Duration = Duration::from_secs(600);

/// Filters that joins above a scan will know while the query runs.
#[derive(Debug)]
pub(crate) struct Keys {
    filters: Vec<Filter>,
    /// What the keys made of the scan, once they are known.
    narrowed: OnceCell<Option<Narrowed>>,
}

#[derive(Debug, Clone)]
struct Filter {
    /// Held by nobody else of this scan, so that whoever else holds it is its join.
    expr: Arc<DynamicFilterPhysicalExpr>,
    /// The place in the table of each column that it sees.
    places: Vec<usize>,
}

impl Keys {
    /// Those of the filters that are known only later, each with the place in the table of each column that it sees; none
    /// where there is no such.
    pub(crate) fn of(filters: impl IntoIterator<Item = (Arc<dyn PhysicalExpr>, Vec<usize>)>) -> Option<Self> {
        let dynamic = |(filter, places): (Arc<dyn PhysicalExpr>, Vec<usize>)| {
            let expr = (filter as Arc<dyn Any + Send + Sync>).downcast().ok()?;
            Some(Filter { expr, places })
        };
        Self::some(filters.into_iter().filter_map(dynamic).collect())
    }

    fn some(filters: Vec<Filter>) -> Option<Self> {
        (!filters.is_empty()).then(|| Self { filters, narrowed: OnceCell::new() })
    }

    /// Only those that hash joins of the plan make: other operators make theirs while they read from here.
    pub(crate) fn of_joins(&self, joins: &[u64]) -> Option<Self> {
        Self::some(self.filters.iter().filter(|filter| filter.is_of(joins)).cloned().collect())
    }

    /// Those that other joins make than these, where their columns have new places; none where they are nowhere.
    pub(crate) fn moved(&self, but: &[u64], to: impl Fn(&usize) -> Option<usize>) -> Option<Self> {
        let moved = |filter: &Filter| {
            let places = filter.places.iter().map(&to).collect::<Option<_>>()?;
            Some(Filter { expr: Arc::clone(&filter.expr), places })
        };
        Self::some(self.filters.iter().filter(|filter| !filter.is_of(but)).filter_map(moved).collect())
    }

    /// Both.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.filters.extend(other.filters);
        self
    }

    /// The ids of the filters.
    pub(crate) fn ids(&self) -> impl Iterator<Item = u64> {
        self.filters.iter().filter_map(|filter| filter.expr.expression_id())
    }

    /// The filters as expressions over [`Keys::schema`] of the places.
    pub(crate) fn exprs(&self) -> impl Iterator<Item = (Arc<dyn PhysicalExpr>, &[usize])> {
        self.filters.iter().map(|filter| {
            let expr: Arc<DynamicFilterPhysicalExpr> = Arc::clone(&filter.expr);
            (expr as Arc<dyn PhysicalExpr>, filter.places.as_slice())
        })
    }

    /// The columns that a filter sees.
    pub(crate) fn schema(scan: &Scan, places: &[usize]) -> SchemaRef {
        Arc::new(Schema::new(places.iter().map(|at| scan.columns[*at].field()).collect::<Vec<_>>()))
    }

    /// Waits for the keys, and gives the scan that reads with them; none where no row can match. The keys belong to one
    /// scan, whose splits all get the same answer.
    pub(crate) async fn narrow(&self, scan: &Scan, source: &dyn Source) -> Option<Narrowed> {
        self.narrowed.get_or_init(|| self.known(scan, source)).await.clone()
    }

    async fn known(&self, scan: &Scan, source: &dyn Source) -> Option<Narrowed> {
        let mut narrowed = Narrowed { scan: Arc::new(scan.clone()), keys: 0 };
        for Filter { expr: filter, places } in &self.filters {
            // A join on another node will never say what it knows.
            #[expect(deprecated, reason = "the plan above is not to be seen from a leaf that runs")]
            let made_here = filter.is_used();
            if !made_here || timeout(PATIENCE, filter.wait_complete()).await.is_err() {
                continue;
            }
            let Ok(known) = filter.current() else { continue };
            match Known::of(&known, View { scan, places }) {
                Known::Always => {}
                Known::Never => return None,
                Known::When(predicate) => narrowed.offer(predicate, source),
            }
        }
        Some(narrowed)
    }
}

impl Filter {
    fn is_of(&self, joins: &[u64]) -> bool {
        self.expr.expression_id().is_some_and(|id| joins.contains(&id))
    }
}

/// The ids of the filters that a node makes, if it is a hash join.
pub(crate) fn made_by(node: &Arc<dyn ExecutionPlan>) -> Option<Vec<u64>> {
    let join = node.downcast_ref::<HashJoinExec>()?;
    Some(join.dynamic_expressions_produced().iter().filter_map(|filter| filter.expression_id()).collect())
}

/// The ids of the filters that hash joins of a plan make.
pub(crate) fn joins(plan: &Arc<dyn ExecutionPlan>) -> Result<Vec<u64>> {
    let mut ids = Vec::new();
    plan.apply(|node| {
        ids.extend(made_by(node).into_iter().flatten());
        Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
    })?;
    Ok(ids)
}

/// A scan that reads only what may match.
#[derive(Debug, Clone)]
pub(crate) struct Narrowed {
    pub(crate) scan: Arc<Scan>,
    /// How many values were sent.
    pub(crate) keys: usize,
}

impl Narrowed {
    /// Offers each condition alone, so that one too long to be sent does not keep the others back. A range says nothing
    /// more of a column whose values were taken: it is theirs.
    fn offer(&mut self, predicate: Predicate, source: &dyn Source) {
        let Predicate::And(parts) = predicate else {
            self.take(predicate, source);
            return;
        };
        let (lists, others): (Vec<_>, Vec<_>) =
            parts.into_iter().partition(|part| matches!(part, Predicate::In { .. }));
        let mut taken = Vec::new();
        for list in lists {
            if let Predicate::In { column, .. } = &list {
                let column = *column;
                taken.extend(self.take(list, source).then_some(column));
            }
        }
        for other in others {
            match &other {
                Predicate::Compare { column, .. } if taken.contains(column) => {}
                _ => self.offer(other, source),
            }
        }
    }

    /// Whether the source took one condition.
    fn take(&mut self, predicate: Predicate, source: &dyn Source) -> bool {
        let keys = count(&predicate);
        // A group's rows are left out or kept together, so the filter may come before the groups are made.
        let aggregation = self.scan.aggregation.clone();
        let rows = Scan { aggregation: None, ..Scan::clone(&self.scan) };
        let (Absorbed::Exact(with) | Absorbed::Inexact(with)) = source.absorb(&rows, &Op::Filter(predicate)) else {
            return false;
        };
        self.scan = Arc::new(Scan { aggregation, ..with });
        self.keys += keys;
        true
    }
}

fn count(predicate: &Predicate) -> usize {
    match predicate {
        Predicate::In { values, .. } => values.len(),
        Predicate::And(parts) | Predicate::Or(parts) => parts.iter().map(count).sum(),
        Predicate::Compare { .. } => 1,
        _ => 0,
    }
}

/// A condition that holds at least wherever a filter does.
enum Known {
    Always,
    Never,
    When(Predicate),
}

impl Known {
    fn of(expr: &Arc<dyn PhysicalExpr>, view: View<'_>) -> Self {
        let of = |expr: &Arc<dyn PhysicalExpr>| Self::of(expr, view);
        if let Some(filter) = expr.downcast_ref::<DynamicFilterPhysicalExpr>() {
            return filter.current().map_or(Self::Always, |known| of(&known));
        }
        if let Some(constant) = expr.downcast_ref::<Constant>() {
            use datafusion::scalar::ScalarValue::Boolean;
            return match constant.value() {
                Boolean(Some(true)) => Self::Always,
                Boolean(Some(false) | None) => Self::Never,
                _ => Self::Always,
            };
        }
        if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
            return match binary.op() {
                Operator::And => of(binary.left()).and(of(binary.right())),
                Operator::Or => of(binary.left()).or(of(binary.right())),
                _ => view.compared(binary).map_or(Self::Always, Self::When),
            };
        }
        if let Some(null) = expr.downcast_ref::<IsNullExpr>() {
            let place = view.place(null.arg());
            return place.map_or(Self::Always, |column| Self::When(Predicate::Null { column, negated: false }));
        }
        if let Some(list) = expr.downcast_ref::<InListExpr>().filter(|list| !list.negated()) {
            return member(list, view).unwrap_or(Self::Always);
        }
        if let Some(case) = expr.downcast_ref::<CaseExpr>() {
            // Whichever branch is taken.
            let branches = case.when_then_expr().iter().map(|(_, then)| of(then));
            let rest = case.else_expr().map_or(Self::Never, of);
            return branches.fold(rest, Self::or);
        }
        Self::Always
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Never, _) | (_, Self::Never) => Self::Never,
            (Self::Always, known) | (known, Self::Always) => known,
            (Self::When(left), Self::When(right)) => {
                Self::When(Predicate::And(flat(left, right, |predicate| match predicate {
                    Predicate::And(parts) => Ok(parts),
                    other => Err(other),
                })))
            }
        }
    }

    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Always, _) | (_, Self::Always) => Self::Always,
            (Self::Never, known) | (known, Self::Never) => known,
            (Self::When(left), Self::When(right)) => Self::When(either(left, right)),
        }
    }
}

fn flat(
    left: Predicate,
    right: Predicate,
    parts: fn(Predicate) -> std::result::Result<Vec<Predicate>, Predicate>,
) -> Vec<Predicate> {
    let mut all = parts(left).unwrap_or_else(|one| vec![one]);
    all.extend(parts(right).unwrap_or_else(|one| vec![one]));
    all
}

/// What partitions of one build side know: conditions of the same form are put together column by column, since one
/// list and one range are worth more to a source than a choice of many.
fn either(left: Predicate, right: Predicate) -> Predicate {
    match (left, right) {
        (
            Predicate::In { column, mut values, negated: false },
            Predicate::In { column: same, values: more, negated: false },
        ) if column == same => {
            values.extend(more);
            Predicate::In { column, values, negated: false }
        }
        (Predicate::And(left), Predicate::And(right)) if alike(&left, &right) => {
            Predicate::And(left.into_iter().zip(right).map(|(left, right)| either(left, right)).collect())
        }
        (Predicate::Compare { column, op, value }, Predicate::Compare { column: same, op: same_op, value: other })
            if column == same && op == same_op && farther(op, &value, &other).is_some() =>
        {
            let value = if farther(op, &value, &other) == Some(true) { value } else { other };
            Predicate::Compare { column, op, value }
        }
        (left, right) => Predicate::Or(flat(left, right, |predicate| match predicate {
            Predicate::Or(parts) => Ok(parts),
            other => Err(other),
        })),
    }
}

/// Whether the parts can be put together one by one.
fn alike(left: &[Predicate], right: &[Predicate]) -> bool {
    let same = |(left, right): (&Predicate, &Predicate)| match (left, right) {
        (Predicate::In { column, negated: false, .. }, Predicate::In { column: same, negated: false, .. }) => {
            column == same
        }
        (Predicate::Compare { column, op, value }, Predicate::Compare { column: same, op: same_op, value: other }) => {
            column == same && op == same_op && farther(*op, value, other).is_some()
        }
        _ => false,
    };
    left.len() == right.len() && left.iter().zip(right).all(same)
}

/// Whether a bound lets more through than another; none where they are not comparable here.
fn farther(op: Comparison, left: &Literal, right: &Literal) -> Option<bool> {
    let less = match (left, right) {
        (Literal::Integer(left), Literal::Integer(right)) => left <= right,
        (Literal::Unsigned(left), Literal::Unsigned(right)) => left <= right,
        (Literal::Date(left), Literal::Date(right)) => left <= right,
        (Literal::Text(left), Literal::Text(right)) => left <= right,
        (Literal::Decimal { value: left, scale }, Literal::Decimal { value: right, scale: same }) if scale == same => {
            left <= right
        }
        _ => return None,
    };
    match op {
        Comparison::Gt | Comparison::GtEq => Some(less),
        Comparison::Lt | Comparison::LtEq => Some(!less),
        _ => None,
    }
}

/// A list of keys; NULL is none. A key that was widened for the join is looked for as what it is in the table.
fn member(list: &InListExpr, view: View<'_>) -> Option<Known> {
    let widened = list.expr().downcast_ref::<CastExpr>().map(CastExpr::expr);
    let column = view.place(widened.unwrap_or(list.expr()))?;
    let data_type = &view.scan.columns[column].data_type;
    if widened.is_some() && !(data_type.is_signed_integer() && list_type(list)?.is_signed_integer()) {
        return None;
    }
    let mut values = Vec::with_capacity(list.list().len());
    for item in list.list() {
        let value = item.downcast_ref::<Constant>()?.value();
        if value.is_null() {
            continue;
        }
        match widened {
            None => values.push(literal(value, data_type)?),
            Some(_) => {
                let own = value.cast_to(data_type).ok().filter(|own| !own.is_null());
                values.extend(own.and_then(|own| literal(&own, data_type)));
            }
        }
    }
    Some(match values.is_empty() {
        true => Known::Never,
        false => Known::When(Predicate::In { column, values, negated: false }),
    })
}

fn list_type(list: &InListExpr) -> Option<datafusion::arrow::datatypes::DataType> {
    list.list().first()?.downcast_ref::<Constant>().map(|constant| constant.value().data_type())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(values: &[i64]) -> Predicate {
        Predicate::In { column: 0, values: values.iter().map(|v| Literal::Integer(*v)).collect(), negated: false }
    }

    fn bound(op: Comparison, value: i64) -> Predicate {
        Predicate::Compare { column: 0, op, value: Literal::Integer(value) }
    }

    #[test]
    fn partitions_of_a_build_side_become_one_list_and_one_range() {
        let part = |low, high, values: &[i64]| {
            Known::When(bound(Comparison::GtEq, low))
                .and(Known::When(bound(Comparison::LtEq, high)))
                .and(Known::When(list(values)))
        };
        let both = part(5, 9, &[5, 9]).or(Known::Never).or(part(-1, 7, &[-1, 7]));
        let Known::When(both) = both else { panic!("something is known") };
        let parts = vec![bound(Comparison::GtEq, -1), bound(Comparison::LtEq, 9), list(&[5, 9, -1, 7])];
        assert_eq!(both, Predicate::And(parts));
    }

    #[test]
    fn what_is_not_known_of_one_partition_is_not_known_at_all() {
        assert!(matches!(Known::When(list(&[1])).or(Known::Always), Known::Always));
        assert!(matches!(Known::When(list(&[1])).and(Known::Never), Known::Never));
        let Known::When(either) = Known::When(list(&[1])).or(Known::When(bound(Comparison::Gt, 4))) else {
            panic!("something is known")
        };
        assert_eq!(either, Predicate::Or(vec![list(&[1]), bound(Comparison::Gt, 4)]));
    }
}
