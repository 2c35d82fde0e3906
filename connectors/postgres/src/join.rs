//! Joins that Postgres makes: a query over both sides, read like one of the user's own.

use std::collections::HashSet;

use connector_spi::{Column, Join, JoinKind, Refusal, RefusalCode, Scan, TableName};

use crate::metadata::Facts;
use crate::pushdown::{FEWER, TAKEN, UNTYPED, exact_order, refusal};
use crate::split::Part;
use crate::sql::{identifier, select};
use crate::types::{Collation, Kind};

/// The scan that reads a join, or why Postgres does not make it as the engine would.
pub(crate) fn joined(left: &Scan, join: &Join) -> Result<Scan, Refusal> {
    let Join { right, kind, on } = join;
    let facts = [Facts::read(&left.native), Facts::read(&right.native)];
    for (scan, facts) in [left, right].into_iter().zip(&facts) {
        if scan.is_taken() {
            return Err(TAKEN);
        }
        if facts.query.is_some() && !facts.own {
            return Err(Refusal::new(RefusalCode::Source, "a query of the user's own is not joined"));
        }
    }
    let on = on.iter().map(|(one, other)| condition((left, *one), (right, *other))).collect::<Result<Vec<_>, _>>()?;
    let word = match kind {
        JoinKind::Inner => "JOIN",
        JoinKind::Left => "LEFT JOIN",
        _ => return Err(Refusal::new(RefusalCode::Function, "only inner and outer joins of two tables are known")),
    };
    let (mut columns, mut asked, mut names) = (Vec::new(), Vec::new(), HashSet::new());
    for (side, scan) in [("l", left), ("r", right)] {
        let mut seen = HashSet::new();
        for at in &scan.projection {
            let column = scan.columns.get(*at).ok_or(FEWER)?;
            if !seen.insert(at) {
                return Err(Refusal::new(RefusalCode::Expression, "a column is asked for twice"));
            }
            let name = unique(&column.name, &mut names);
            asked.push(format!("{side}.{} AS {}", identifier(&column.name), identifier(&name)));
            let nullable = column.nullable || side == "r" && *kind == JoinKind::Left;
            columns.push(Column::new(name, column.data_type.clone(), nullable).with_native(column.native.clone()));
        }
    }
    let text = |scan| select(scan, &Part::default()).map_err(|_| UNTYPED);
    let (first, second) = (text(left)?, text(right)?);
    let query =
        format!("SELECT {} FROM ({first}) AS l {word} ({second}) AS r ON {}", asked.join(", "), on.join(" AND "));
    let [facts, _] = facts;
    let facts = Facts { query: Some(query), own: true, hashes_lists: facts.hashes_lists, ..Facts::default() };
    let native = facts.text().map_err(|_| UNTYPED)?;
    let name = TableName::new(&left.table.schema, format!("{} {word} {}", left.table.table, right.table.table));
    let projection = (0..columns.len()).collect();
    Ok(Scan { table: name, columns, native, projection, filters: Vec::new(), ..left.clone() })
}

/// A pair of columns that is equal there where it is here.
fn condition(one: (&Scan, usize), other: (&Scan, usize)) -> Result<String, Refusal> {
    let find = |(scan, at): (&Scan, usize)| {
        let column = scan.columns.get(at).ok_or(FEWER)?;
        Ok::<_, Refusal>((identifier(&column.name), Kind::of_column(column).map_err(|_| UNTYPED)?))
    };
    let ((left, left_kind), (right, right_kind)) = (find(one)?, find(other)?);
    match (&left_kind, &right_kind) {
        // Columns of two collations are not compared without one.
        (Kind::Text(Collation::Bytes), Kind::Text(Collation::Bytes)) => {
            Ok(format!("l.{left} COLLATE \"C\" = r.{right} COLLATE \"C\""))
        }
        _ if exact_order(&left_kind) && left_kind == right_kind => Ok(format!("l.{left} = r.{right}")),
        _ if exact_order(&left_kind) && exact_order(&right_kind) => {
            Err(Refusal::new(RefusalCode::Type, "the columns have different types"))
        }
        (left, right) => Err(refusal(if exact_order(left) { right } else { left })),
    }
}

/// The name, or one like it that is not taken.
fn unique(name: &str, taken: &mut HashSet<String>) -> String {
    let numbered = (1..).map(|number| format!("{name}_{number}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    let free = names.find(|name| !taken.contains(name)).unwrap_or_default();
    taken.insert(free.clone());
    free
}
