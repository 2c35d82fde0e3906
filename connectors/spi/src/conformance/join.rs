//! Joins: what a source makes of two of its tables is what the engine would.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt64Array, new_null_array};
use arrow::compute::{SortOptions, concat, take};

use super::{Answer, Outcome, Subject, Tally, lines, numbers, sortable};
use crate::{Absorbed, Comparison, Join, JoinKind, Literal, Op, Predicate, Scan};

/// How many rows of the table the other side of a join has.
const FEW: i64 = 60;

/// The table joined with a few rows of itself, by each column and by pairs of columns.
pub async fn joins(subject: &Subject<'_>) -> Outcome<Tally> {
    let mut tally = Tally::default();
    let columns = subject.scan.columns.len();
    let few = Predicate::Compare { column: 0, op: Comparison::Lt, value: Literal::Integer(FEW) };
    let right = match subject.source.absorb(&subject.scan, &Op::Filter(few)) {
        Absorbed::Exact(with) => with,
        // A limit would leave open which rows they are.
        _ => subject.scan.clone(),
    };
    for at in 0..columns {
        let next = (at * 7 + 3) % columns;
        for on in [vec![(at, at)], vec![(at, at), (next, next)], vec![(at, next)]] {
            for kind in [JoinKind::Inner, JoinKind::Left] {
                let mut places: Vec<usize> = on.iter().flat_map(|(one, other)| [*one, *other]).chain([0]).collect();
                places.sort_unstable();
                places.dedup();
                tally.count(check(subject, &right, &places, kind, on.clone()).await?);
            }
        }
    }
    Ok(tally)
}

/// The table joined with itself by the number of the row, as another table to be tested; none where it is refused.
pub async fn joined<'a>(subject: &Subject<'a>) -> Outcome<Option<Subject<'a>>> {
    let join = Join { right: Box::new(subject.scan.clone()), kind: JoinKind::Left, on: vec![(0, 0)] };
    let (Answer::Exact, scan) = subject.offer(&Op::Join(join))? else { return Ok(None) };
    let rows = subject.read(&scan, 1).await?;
    let numbers = numbers(&rows)?;
    match numbers == subject.numbers {
        true => Ok(Some(Subject { source: subject.source, scan, rows, numbers })),
        false => Err("a join by the number of the row has other rows than the table".to_owned()),
    }
}

async fn check(
    subject: &Subject<'_>,
    right: &Scan,
    places: &[usize],
    kind: JoinKind,
    on: Vec<(usize, usize)>,
) -> Outcome<Answer> {
    let chosen = |scan: &Scan| match subject.source.absorb(scan, &Op::Columns(places.to_vec())) {
        Absorbed::Exact(with) => with,
        _ => scan.clone(),
    };
    let (one, other) = (chosen(&subject.scan), chosen(right));
    let join = Op::Join(Join { right: Box::new(other.clone()), kind, on: on.clone() });
    let with = match subject.source.absorb(&one, &join) {
        Absorbed::Exact(with) => with,
        Absorbed::Inexact(_) => return Err(format!("a join cannot be inexact: {join:?}")),
        Absorbed::No(_) => return Ok(Answer::Refused),
    };
    let (left, right) = (subject.read(&one, 1).await?, subject.read(&other, 1).await?);
    let at = |scan: &Scan, place| scan.projection.iter().position(|at| *at == place).ok_or("a key is not returned");
    let on = on.iter().map(|(left, right)| Ok((at(&one, *left)?, at(&other, *right)?))).collect::<Outcome<Vec<_>>>()?;
    let wanted = lines(&matched(&left, &right, kind, &on, &with)?)?;
    let found = lines(&subject.read(&with, 1).await?)?;
    if wanted != found {
        let sent = subject.source.remote_text(&with);
        let count = (found.len(), wanted.len());
        return Err(format!(
            "{kind:?} join on {on:?}: {} rows and not {}, or other ones; sent: {sent:?}",
            count.0, count.1
        ));
    }
    Ok(Answer::Exact)
}

/// The join of the rows, as the engine makes it.
fn matched(
    left: &RecordBatch,
    right: &RecordBatch,
    kind: JoinKind,
    on: &[(usize, usize)],
    with: &Scan,
) -> Outcome<RecordBatch> {
    let text = |error: arrow::error::ArrowError| error.to_string();
    // The keys of both in one, so that their bytes are of one form.
    let both = |(one, other): &(usize, usize)| {
        let keys = concat(&[left.column(*one).as_ref(), right.column(*other).as_ref()]).map_err(text)?;
        Ok((keys, SortOptions::default()))
    };
    let keys = on.iter().map(both).collect::<Outcome<Vec<_>>>()?;
    let null = |row: usize| keys.iter().any(|(key, _)| key.is_null(row));
    let bytes = sortable(&keys)?;
    let (first, second) = bytes.split_at(left.num_rows());
    let mut places: BTreeMap<&[u8], Vec<u64>> = BTreeMap::new();
    for (row, key) in second.iter().enumerate().filter(|(row, _)| !null(left.num_rows() + row)) {
        places.entry(key).or_default().push(row as u64);
    }
    let (mut one, mut other) = (Vec::new(), Vec::new());
    for (row, key) in first.iter().enumerate() {
        let matches = places.get(key.as_slice()).filter(|_| !null(row)).map_or(&[][..], Vec::as_slice);
        one.extend(matches.iter().map(|_| row as u64));
        other.extend(matches.iter().copied().map(Some));
        if matches.is_empty() && kind == JoinKind::Left {
            one.push(row as u64);
            other.push(None);
        }
    }
    let (one, other) = (UInt64Array::from(one), UInt64Array::from(other));
    let taken = |rows: &RecordBatch, places: &UInt64Array| {
        let column = |column: &ArrayRef| match rows.num_rows() {
            0 => Ok(new_null_array(column.data_type(), places.len())),
            _ => take(column, places, None).map_err(text),
        };
        rows.columns().iter().map(column).collect::<Outcome<Vec<_>>>()
    };
    let columns = [taken(left, &one)?, taken(right, &other)?].concat();
    RecordBatch::try_new(with.schema(), columns).map_err(text)
}
