//! Limits and first rows in an order.

use arrow::array::{Array, RecordBatch};
use arrow::compute::SortOptions;

use super::{Answer, Outcome, Subject, Tally, difference, numbers, sortable};
use crate::{Op, SortKey};

/// A limit leaves rows of the table, as many as it should, in one split and in several.
pub async fn limits(subject: &Subject<'_>) -> Outcome<Tally> {
    let mut tally = Tally::default();
    let all = subject.numbers.len();
    for limit in [0, 1, 2, 7, all, all + 5] {
        for wanted in [1, 4] {
            let (answer, with) = subject.offer(&Op::Limit(limit as u64))?;
            tally.count(answer);
            if answer == Answer::Refused {
                continue;
            }
            let found = subject.numbers(&with, wanted).await?;
            if !subject.are_rows(&found) || found.len() < limit.min(all) {
                let other = difference(&subject.numbers, &found);
                return Err(format!("limit {limit} in {wanted} splits: {} rows: {other}", found.len()));
            }
        }
    }
    Ok(tally)
}

/// Each column as a key in both directions with NULL at both ends, and with the rows' numbers as a second key, for limits
/// below and above the number of NULL: the first rows of what returns are the first rows of the table.
pub async fn tops(subject: &Subject<'_>) -> Outcome<Tally> {
    let mut tally = Tally::default();
    for column in 0..subject.scan.columns.len() {
        let nulls = subject.rows.column(column).null_count();
        for (descending, nulls_first, second, limit) in [false, true]
            .into_iter()
            .flat_map(|descending| [(descending, false), (descending, true)])
            .flat_map(|(descending, first)| [(descending, first, false), (descending, first, true)])
            .flat_map(|(descending, first, second)| [1, 5, nulls + 3].map(|limit| (descending, first, second, limit)))
        {
            let mut order = vec![SortKey { column, descending, nulls_first }];
            if second && column > 0 {
                order.push(SortKey { column: 0, descending: !descending, nulls_first: !nulls_first });
            }
            tally.count(top(subject, order, limit).await?);
        }
    }
    Ok(tally)
}

async fn top(subject: &Subject<'_>, order: Vec<SortKey>, limit: usize) -> Outcome<Answer> {
    let (answer, with) = subject.offer(&Op::Top { order: order.clone(), limit: limit as u64 })?;
    if answer == Answer::Refused {
        return Ok(answer);
    }
    let wanted = first(&subject.rows, &order, limit)?;
    for splits in [1, 4] {
        let rows = subject.read(&with, splits).await?;
        let found = numbers(&rows)?;
        if !subject.are_rows(&found) {
            return Err(format!("rows twice or from nowhere for {order:?}, limit {limit}: {found:?}"));
        }
        if first(&rows, &order, limit)? != wanted {
            let sent = subject.source.remote_text(&with);
            return Err(format!("other first rows for {order:?}, limit {limit}, {splits} splits; sent: {sent:?}"));
        }
    }
    Ok(answer)
}

/// The keys of the first rows.
fn first(rows: &RecordBatch, order: &[SortKey], limit: usize) -> Outcome<Vec<Vec<u8>>> {
    let column = |key: &SortKey| {
        let options = SortOptions { descending: key.descending, nulls_first: key.nulls_first };
        (rows.column(key.column).clone(), options)
    };
    let mut keys = sortable(&order.iter().map(column).collect::<Vec<_>>())?;
    keys.sort_unstable();
    keys.truncate(limit);
    Ok(keys)
}
