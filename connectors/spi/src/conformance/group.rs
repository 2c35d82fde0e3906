//! Groups: what a source calculates over its splits is, put together, what is calculated over the rows.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{DataType, Decimal128Type};

use super::{Answer, Outcome, Subject, Tally, sortable};
use crate::{Aggregation, Call, Function, Op};

/// No group, each column and pairs of columns as groups; `count`, `sum`, `min` and `max` of each column; in one split and in
/// several.
pub async fn groups(subject: &Subject<'_>) -> Outcome<Tally> {
    let mut tally = Tally::default();
    let columns = subject.scan.columns.len();
    let count = Call { function: Function::Count, column: None, data_type: DataType::Int64 };
    let mut offers = Vec::new();
    for at in 0..columns {
        offers.push(Aggregation { group: vec![at], calls: vec![count.clone()] });
        offers.push(Aggregation { group: vec![at, (at * 7 + 3) % columns], calls: Vec::new() });
        for call in calls(subject, at) {
            offers.push(Aggregation { group: Vec::new(), calls: vec![count.clone(), call.clone()] });
            offers.push(Aggregation { group: vec![(at + 1) % columns], calls: vec![call] });
        }
    }
    for offer in offers {
        tally.count(check(subject, &offer).await?);
    }
    Ok(tally)
}

fn calls(subject: &Subject<'_>, at: usize) -> Vec<Call> {
    let own = &subject.scan.columns[at].data_type;
    let sum = match own {
        of if of.is_signed_integer() => Some(DataType::Int64),
        DataType::Decimal128(precision, scale) => Some(DataType::Decimal128(38.min(precision + 10), *scale)),
        DataType::Float32 | DataType::Float64 => Some(DataType::Float64),
        _ => None,
    };
    let call = |function, data_type| Call { function, column: Some(at), data_type };
    let mut calls = vec![
        call(Function::Count, DataType::Int64),
        call(Function::Min, own.clone()),
        call(Function::Max, own.clone()),
    ];
    calls.extend(sum.map(|sum| call(Function::Sum, sum)));
    calls
}

async fn check(subject: &Subject<'_>, offer: &Aggregation) -> Outcome<Answer> {
    let (answer, with) = subject.offer(&Op::Aggregate(offer.clone()))?;
    match answer {
        Answer::Exact => {}
        Answer::Inexact => return Err(format!("groups cannot be inexact: {offer:?}")),
        Answer::Refused => return Ok(answer),
    }
    let wanted = grouped(&subject.rows, &offer.group, &offer.calls)?;
    // Over the answers of the splits, a count is a sum.
    let own = |at: usize| offer.group.len() + at;
    let over = |(at, call): (usize, &Call)| Call {
        function: if call.function == Function::Count { Function::Sum } else { call.function },
        column: Some(own(at)),
        data_type: call.data_type.clone(),
    };
    let calls: Vec<Call> = offer.calls.iter().enumerate().map(over).collect();
    let groups: Vec<usize> = (0..offer.group.len()).collect();
    for splits in [1, 4] {
        let rows = subject.read(&with, splits).await?;
        let found = grouped(&rows, &groups, &calls)?;
        if found != wanted {
            let sent = subject.source.remote_text(&with);
            let other = wanted.iter().find(|(key, values)| found.get(*key) != Some(values));
            return Err(format!(
                "{offer:?} in {splits} splits: {} groups and not {}, such as {other:?}; sent: {sent:?}",
                found.len(),
                wanted.len()
            ));
        }
    }
    Ok(answer)
}

/// Each group and its results as text; without columns to group by, one group even without rows.
fn grouped(rows: &RecordBatch, group: &[usize], calls: &[Call]) -> Outcome<BTreeMap<Vec<u8>, Vec<String>>> {
    let mut members: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
    if group.is_empty() {
        members.insert(Vec::new(), (0..rows.num_rows()).collect());
    } else {
        let keys: Vec<_> = group.iter().map(|at| (rows.column(*at).clone(), SortOptions::default())).collect();
        for (row, key) in sortable(&keys)?.into_iter().enumerate() {
            members.entry(key).or_default().push(row);
        }
    }
    let columns = calls.iter().map(|call| Results::of(rows, call)).collect::<Outcome<Vec<_>>>()?;
    let results = |rows: &Vec<usize>| columns.iter().map(|column| column.over(rows)).collect::<Outcome<Vec<_>>>();
    members.into_iter().map(|(key, rows)| Ok((key, results(&rows)?))).collect()
}

/// One function, ready to be asked for any rows.
struct Results {
    function: Function,
    column: Option<ArrayRef>,
    /// For `min` and `max`.
    order: Vec<Vec<u8>>,
    /// For `sum`.
    numbers: Option<ArrayRef>,
    wraps: bool,
}

impl Results {
    fn of(rows: &RecordBatch, call: &Call) -> Outcome<Self> {
        let column = call.column.map(|at| rows.column(at).clone());
        let (mut order, mut numbers) = (Vec::new(), None);
        if let Some(column) = &column {
            match call.function {
                Function::Min | Function::Max => order = sortable(&[(column.clone(), SortOptions::default())])?,
                Function::Sum if column.data_type().is_floating() => {
                    return Err("a sum of floats depends on the order of its rows and cannot be exact".to_owned());
                }
                Function::Sum => {
                    let scale = if let DataType::Decimal128(_, scale) = column.data_type() { *scale } else { 0 };
                    let wide = cast(column, &DataType::Decimal128(38, scale)).map_err(|error| error.to_string())?;
                    numbers = Some(wide);
                }
                Function::Count => {}
            }
        }
        Ok(Self { function: call.function, column, order, numbers, wraps: call.data_type == DataType::Int64 })
    }

    fn over(&self, rows: &[usize]) -> Outcome<String> {
        let Some(column) = &self.column else { return Ok(rows.len().to_string()) };
        let there = || rows.iter().copied().filter(|row| !column.is_null(*row));
        let shown = |row| arrow::util::display::array_value_to_string(column, row).map_err(|error| error.to_string());
        let chosen = match self.function {
            Function::Count => return Ok(there().count().to_string()),
            Function::Min => there().min_by_key(|row| &self.order[*row]),
            Function::Max => there().max_by_key(|row| &self.order[*row]),
            Function::Sum => {
                let Some(numbers) = self.numbers.as_ref().filter(|_| there().next().is_some()) else {
                    return Ok("NULL".to_owned());
                };
                let sum =
                    there().map(|row| numbers.as_primitive::<Decimal128Type>().value(row)).fold(0, i128::wrapping_add);
                return Ok(if self.wraps { (sum as i64).to_string() } else { sum.to_string() });
            }
        };
        chosen.map_or(Ok("NULL".to_owned()), shown)
    }
}
