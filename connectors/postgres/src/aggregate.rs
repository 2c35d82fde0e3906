//! Groups that Postgres makes: which aggregate functions give exactly what the engine's own would, and their text.

use arrow::datatypes::DataType;
use connector_spi::{Aggregation, Call, Function, Refusal, RefusalCode, Result, Scan};

use crate::metadata::Facts;
use crate::pushdown::{INFINITE, TAKEN, UNTYPED, ZERO};
use crate::sql::{column, identifier};
use crate::types::{Collation, Kind};

/// Why groups are not made in Postgres; none where they are, and equal the engine's.
pub(crate) fn doubt(scan: &Scan, aggregation: &Aggregation) -> Option<Refusal> {
    if scan.is_taken() {
        return Some(TAKEN);
    }
    let kind = |at: usize| scan.columns.get(at).and_then(|column| Kind::of_column(column).ok());
    for at in &aggregation.group {
        match kind(*at) {
            Some(kind) if groups(&kind) => {}
            Some(Kind::Float4 | Kind::Float8) => return Some(ZERO),
            Some(Kind::Finite(_)) => return Some(INFINITE),
            _ => {
                return Some(Refusal::new(
                    RefusalCode::Type,
                    "values of a grouping column are equal otherwise in Postgres",
                ));
            }
        }
    }
    aggregation.calls.iter().find_map(|call| match call.column.map(kind) {
        None => (call.function != Function::Count)
            .then_some(Refusal::new(RefusalCode::Function, "an aggregate function without an argument")),
        Some(None) => Some(UNTYPED),
        Some(Some(kind)) => result(call, &kind).err(),
    })
}

/// Whether equal values of the kind are equal here and there.
fn groups(kind: &Kind) -> bool {
    match kind {
        Kind::Bool | Kind::Int2 | Kind::Int4 | Kind::Int8 | Kind::Oid | Kind::Numeric { .. } | Kind::Money => true,
        Kind::Date | Kind::Time | Kind::Timestamp | Kind::Timestamptz | Kind::Bytea | Kind::Uuid => true,
        Kind::Text(collation) => *collation == Collation::Bytes,
        _ => false,
    }
}

/// The kind of a result over a column of a kind.
fn result(call: &Call, kind: &Kind) -> std::result::Result<Kind, Refusal> {
    let fits = |result: Kind| match result.data_type() == call.data_type {
        true => Ok(result),
        false => Err(Refusal::new(RefusalCode::Function, "the result is wanted in another type")),
    };
    match (call.function, kind) {
        (_, Kind::Finite(_)) => Err(INFINITE),
        (Function::Count, _) => fits(Kind::Int8),
        (Function::Sum, Kind::Int2 | Kind::Int4 | Kind::Int8) => fits(Kind::Int8),
        (Function::Sum, Kind::Numeric { precision, scale }) => match call.data_type {
            // Ten digits more hold the sum of ten thousand million rows.
            DataType::Decimal128(wider, same) if same == *scale && wider >= precision.saturating_add(10) => {
                Ok(Kind::Numeric { precision: wider, scale: *scale })
            }
            _ => Err(Refusal::new(RefusalCode::Function, "the sum could be larger than its type")),
        },
        (Function::Sum, Kind::Float4 | Kind::Float8) => {
            Err(Refusal::new(RefusalCode::Function, "the sum of floats depends on the order of the rows")
                .remedy("CAST the column to DECIMAL in a view there"))
        }
        (
            Function::Min | Function::Max,
            Kind::Int2
            | Kind::Int4
            | Kind::Int8
            | Kind::Numeric { .. }
            | Kind::Money
            | Kind::Date
            | Kind::Time
            | Kind::Timestamp
            | Kind::Timestamptz
            | Kind::Text(Collation::Bytes),
        ) => fits(kind.clone()),
        (Function::Min | Function::Max, Kind::Float4 | Kind::Float8) => Err(ZERO),
        _ => Err(Refusal::new(RefusalCode::Function, "Postgres has no such function for the type, or another one")),
    }
}

/// Whether the groups are known to be many: then Postgres would only sort what is sent anyway.
pub(crate) fn many(scan: &Scan, aggregation: &Aggregation) -> bool {
    let facts = Facts::read(&scan.native);
    let distinct = |at: &usize| facts.distinct.get(*at).copied().flatten();
    let groups = aggregation.group.iter().map(distinct).try_fold(1_u64, |all, one| Some(all.saturating_mul(one?)));
    matches!((groups, facts.rows), (Some(groups), Some(rows)) if groups > rows / 3)
}

/// The columns of the SELECT, and its GROUP BY.
pub(crate) fn columns(scan: &Scan, aggregation: &Aggregation) -> Result<(String, String)> {
    let mut columns = Vec::with_capacity(aggregation.group.len() + aggregation.calls.len());
    let mut group = Vec::with_capacity(aggregation.group.len());
    for at in &aggregation.group {
        let column = column(scan, *at)?;
        let name = identifier(&column.name);
        columns.push(format!("{name}::{}", Kind::of_column(column)?.asked()));
        group.push(name);
    }
    for call in &aggregation.calls {
        columns.push(text(scan, call)?);
    }
    // Without a GROUP BY a SELECT of columns alone would give rows.
    let group = if group.is_empty() { String::new() } else { format!(" GROUP BY {}", group.join(", ")) };
    Ok((columns.join(", "), group))
}

fn text(scan: &Scan, call: &Call) -> Result<String> {
    let Some(at) = call.column else { return Ok("count(*)".to_owned()) };
    let column = column(scan, at)?;
    let (name, kind) = (identifier(&column.name), Kind::of_column(column)?);
    Ok(match (call.function, kind) {
        (Function::Count, _) => format!("count({name})"),
        // Its sum is a numeric; modulo 2^64 it is the number to which the engine's sum wraps.
        (Function::Sum, Kind::Int8) => format!(
            "((sum({name}) % 18446744073709551616 + 27670116110564327424) % 18446744073709551616 - 9223372036854775808)::int8"
        ),
        (Function::Sum, Kind::Int2 | Kind::Int4) => format!("sum({name})::int8"),
        (Function::Sum, _) => format!("sum({name})::numeric"),
        (Function::Min, Kind::Text(_)) => format!("min({name} COLLATE \"C\")::text"),
        (Function::Max, Kind::Text(_)) => format!("max({name} COLLATE \"C\")::text"),
        (Function::Min, kind) => format!("min({name})::{}", kind.asked()),
        (_, kind) => format!("max({name})::{}", kind.asked()),
    })
}

/// The kinds of what comes back.
pub(crate) fn kinds(scan: &Scan, aggregation: &Aggregation) -> Result<Vec<Kind>> {
    let of = |at: usize| Kind::of_column(column(scan, at)?);
    let groups = aggregation.group.iter().map(|at| of(*at));
    let results = aggregation.calls.iter().map(|call| match call.column {
        None => Ok(Kind::Int8),
        Some(at) => result(call, &of(at)?).map_err(|refusal| connector_spi::Error::internal(refusal.text)),
    });
    groups.chain(results).collect()
}

#[cfg(test)]
mod tests {
    use connector_spi::Op;

    use super::*;
    use crate::pushdown::tests::{at, scan, sent_text};

    #[test]
    fn groups_are_made_where_equal_values_and_results_are_the_engines() {
        let call = |function, name: Option<&str>, data_type| Call { function, column: name.map(at), data_type };
        let groups = |group: &[&str], calls: Vec<Call>| {
            Op::Aggregate(Aggregation { group: group.iter().map(|name| at(name)).collect(), calls })
        };
        let made = groups(
            &["t", "b\"b"],
            vec![
                call(Function::Count, None, DataType::Int64),
                call(Function::Count, Some("f"), DataType::Int64),
                call(Function::Sum, Some("n"), DataType::Int64),
                call(Function::Min, Some("t"), DataType::Utf8),
                call(Function::Max, Some("n"), DataType::Int32),
            ],
        );
        assert_eq!(
            sent_text(&scan(), made).as_deref(),
            Ok("SELECT \"t\"::text, \"b\"\"b\"::bool, count(*), count(\"f\"), sum(\"n\")::int8, \
                min(\"t\" COLLATE \"C\")::text, max(\"n\")::int4 FROM \"public\".\"a\"\"b\" \
                GROUP BY \"t\", \"b\"\"b\"")
        );
        let refused = [
            groups(&["ci"], Vec::new()),
            groups(&["f"], Vec::new()),
            groups(&["c"], Vec::new()),
            groups(&["o"], Vec::new()),
            groups(&[], vec![call(Function::Sum, Some("f"), DataType::Float64)]),
            groups(&[], vec![call(Function::Min, Some("f"), DataType::Float64)]),
            groups(&[], vec![call(Function::Max, Some("ci"), DataType::Utf8)]),
            groups(&[], vec![call(Function::Sum, Some("n"), DataType::Float64)]),
            groups(&[], vec![call(Function::Max, Some("b\"b"), DataType::Boolean)]),
        ];
        for op in refused {
            assert!(sent_text(&scan(), op.clone()).is_err(), "{op:?}");
        }
        let one = groups(&[], vec![call(Function::Count, None, DataType::Int64)]);
        assert!(sent_text(&scan().with_limit(5), one.clone()).is_err());
        assert_eq!(sent_text(&scan(), one).as_deref(), Ok("SELECT count(*) FROM \"public\".\"a\"\"b\""));
    }
}
