//! Limits and first rows in an order.

use arrow::array::{Array, RecordBatch};
use arrow::compute::SortOptions;
use arrow::row::{RowConverter, SortField};

use super::{Outcome, Subject, Tally, difference, numbers};
use crate::{Absorbed, Op, SortKey};

/// A limit leaves rows of the table, as many as it should, in one split and in several, alone and after a filter.
pub async fn limits(subject: &Subject<'_>) -> Outcome<Tally> {
    let mut tally = Tally::default();
    let all = numbers(&subject.rows)?;
    for limit in [0, 1, 2, 7, all.len(), all.len() + 5] {
        for wanted in [1, 4] {
            let (exact, with) = match subject.offer(&subject.scan, &Op::Limit(limit as u64))? {
                Absorbed::Exact(with) => (true, with),
                Absorbed::Inexact(with) => (false, with),
                Absorbed::No(_) => {
                    tally.refused += 1;
                    continue;
                }
            };
            let found = subject.numbers(&with, wanted).await?;
            let strange = found.iter().any(|number| all.binary_search(number).is_err());
            let twice = found.windows(2).any(|two| two[0] == two[1]);
            if strange || twice || found.len() < limit.min(all.len()) {
                return Err(format!(
                    "limit {limit} in {wanted} splits: {} rows: {}",
                    found.len(),
                    difference(&all, &found)
                ));
            }
            *(if exact { &mut tally.exact } else { &mut tally.inexact }) += 1;
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
            top(subject, order, limit, &mut tally).await?;
        }
    }
    Ok(tally)
}

async fn top(subject: &Subject<'_>, order: Vec<SortKey>, limit: usize, tally: &mut Tally) -> Outcome<()> {
    let (exact, with) = match subject.offer(&subject.scan, &Op::Top { order: order.clone(), limit: limit as u64 })? {
        Absorbed::Exact(with) => (true, with),
        Absorbed::Inexact(with) => (false, with),
        Absorbed::No(_) => {
            tally.refused += 1;
            return Ok(());
        }
    };
    let wanted = first(&subject.rows, &order, limit)?;
    for splits in [1, 4] {
        let rows = subject.read(&with, splits).await?;
        let ids = numbers(&rows)?;
        let all = numbers(&subject.rows)?;
        if ids.windows(2).any(|two| two[0] == two[1]) || ids.iter().any(|id| all.binary_search(id).is_err()) {
            return Err(format!("rows twice or from nowhere for {order:?}, limit {limit}: {ids:?}"));
        }
        if first(&rows, &order, limit)? != wanted {
            let sent = subject.source.remote_text(&with);
            return Err(format!("other first rows for {order:?}, limit {limit}, {splits} splits; sent: {sent:?}"));
        }
    }
    *(if exact { &mut tally.exact } else { &mut tally.inexact }) += 1;
    Ok(())
}

/// The keys of the first rows, as bytes that compare as the engine sorts.
fn first(rows: &RecordBatch, order: &[SortKey], limit: usize) -> Outcome<Vec<Vec<u8>>> {
    let field = |key: &SortKey| {
        let options = SortOptions { descending: key.descending, nulls_first: key.nulls_first };
        SortField::new_with_options(rows.column(key.column).data_type().clone(), options)
    };
    let text = |error: arrow::error::ArrowError| error.to_string();
    let converter = RowConverter::new(order.iter().map(field).collect()).map_err(text)?;
    let columns: Vec<_> = order.iter().map(|key| rows.column(key.column).clone()).collect();
    let keys = converter.convert_columns(&columns).map_err(text)?;
    let mut keys: Vec<Vec<u8>> = keys.iter().map(|key| key.as_ref().to_vec()).collect();
    keys.sort_unstable();
    keys.truncate(limit);
    Ok(keys)
}
