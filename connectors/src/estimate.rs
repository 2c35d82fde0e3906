//! How many rows pass the filters of a scan, where the source does not say.

use connector_spi::{Comparison, Predicate, TableStatistics};

/// What is taken for the share of rows that pass a comparison by order, or by a pattern (Selinger et al., 1979, who take
/// a third and a tenth), and for the share that are equal to a value of a column of which nothing is known.
const ORDER: f64 = 1.0 / 3.0;
const PATTERN: f64 = 0.1;
const EQUAL: f64 = 0.1;

/// The share of a table's rows that pass all of the filters, from 0 to 1: columns are taken as independent of each other.
pub(crate) fn passing(filters: &[Predicate], known: &TableStatistics) -> f64 {
    filters.iter().map(|filter| share(filter, known)).product()
}

fn share(filter: &Predicate, known: &TableStatistics) -> f64 {
    let column = |at: &usize| known.columns.get(*at);
    let nulls = |at: &usize| column(at).and_then(|column| column.null_fraction).unwrap_or(0.0);
    let distinct = |at: &usize| column(at).and_then(|column| column.distinct);
    let equal = |at: &usize| distinct(at).map_or(EQUAL, |distinct| 1.0 / distinct.max(1) as f64);
    let unless = |negated: bool, share: f64| if negated { 1.0 - share } else { share };
    let passes = match filter {
        Predicate::Compare { column, op, .. } => match op {
            Comparison::Eq => equal(column),
            Comparison::NotEq => unless(true, equal(column)),
            _ => ORDER,
        },
        Predicate::In { column, values, negated } => unless(*negated, equal(column) * values.len() as f64),
        Predicate::Null { column, negated } => unless(*negated, nulls(column)),
        Predicate::Like { negated, .. } => unless(*negated, PATTERN),
        Predicate::And(all) => passing(all, known),
        Predicate::Or(any) => any.iter().map(|filter| share(filter, known)).sum(),
        Predicate::Not(filter) => unless(true, share(filter, known)),
    };
    passes.clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use connector_spi::{ColumnStatistics, Literal};

    use super::*;

    #[test]
    fn shares_follow_from_the_columns() {
        let columns =
            vec![ColumnStatistics { distinct: Some(5), null_fraction: Some(0.25) }, ColumnStatistics::default()];
        let known = TableStatistics { columns, ..TableStatistics::default() };
        let compare = |column, op| Predicate::Compare { column, op, value: Literal::Integer(1) };
        let equal = compare(0, Comparison::Eq);
        let some = |column, count| Predicate::In { column, values: vec![Literal::Integer(1); count], negated: false };
        let expected = [
            (equal.clone(), 0.2),
            (compare(1, Comparison::Eq), EQUAL),
            (compare(0, Comparison::Lt), ORDER),
            (some(0, 2), 0.4),
            (some(0, 20), 1.0),
            (Predicate::Null { column: 0, negated: false }, 0.25),
            (Predicate::Null { column: 1, negated: true }, 1.0),
            (Predicate::Not(Box::new(equal.clone())), 0.8),
            (Predicate::Or(vec![equal.clone(), equal.clone()]), 0.4),
            (Predicate::And(vec![equal.clone(), equal.clone()]), 0.04),
        ];
        for (filter, wanted) in expected {
            assert!((share(&filter, &known) - wanted).abs() < 1e-9, "{filter:?}");
        }
        assert!((passing(&[], &known) - 1.0).abs() < 1e-9);
    }
}
