//! The suite that every connector must pass, on a table that the connector wrote itself.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, RecordBatch, StructArray};
use arrow::buffer::NullBuffer;
use arrow::compute::kernels::cmp::lt;
use arrow::compute::{cast, nullif};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use connector_spi::conformance::{self, Subject, Tally};

use crate::fixture::{fixture, open};

/// The rows of the suite that documents hold: 34 digits, and milliseconds.
fn rows() -> RecordBatch {
    let rows = conformance::rows(|of| !matches!(of, DataType::Decimal128(38, _))).expect("rows");
    let (mut fields, mut columns): (Vec<Field>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
        let to = match field.data_type() {
            DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Millisecond, zone.clone()),
            // A document has integers of 32 bits and more.
            DataType::Int16 => DataType::Int32,
            other => other.clone(),
        };
        let column = cast(column, &to).expect("cast");
        // The server of the tests refuses years before 1 and after 9999; a real one does not.
        let days = match to {
            DataType::Date32 => Some(column.clone()),
            DataType::Timestamp(..) => Some(cast(&column, &DataType::Date32).expect("days")),
            _ => None,
        };
        columns.push(match days {
            Some(days) => {
                let early = lt(&days, &Date32Array::new_scalar(-719_162)).expect("compared");
                nullif(&column, &early).expect("without them")
            }
            None => column,
        });
        fields.push(Field::new(field.name(), to, true));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("rows")
}

#[tokio::test]
async fn the_suite_of_all_connectors_passes() {
    let Some(fixture) = fixture("suite").await else { return };
    let full = std::env::var_os("TRIBUTARY_TEST_FULL").is_some();
    let source = open(&fixture.url, &[("writable", true.into())]);
    let source = source.as_ref();
    let mut rows = rows();
    // Each text is in the first half already, and the server is slow.
    if !full {
        rows = rows.slice(0, rows.num_rows() / 2);
    }
    let name = fixture.name("t");
    conformance::store(source, &name, &rows).await.expect("stored");
    let subject = Subject::of(source, "m", &name).await.expect("read");
    conformance::stored(&subject, &rows).expect("the rows that were written");
    let splits = conformance::splits(&subject).await.expect("splits");
    let filters = conformance::filters(&subject).await.expect("filters");
    let trees = conformance::combinations(&subject, 42, if full { 10_000 } else { 300 }).await.expect("combinations");
    let limits = conformance::limits(&subject).await.expect("limits");
    let tops = conformance::tops(&subject).await.expect("tops");
    let groups = conformance::groups(&subject).await.expect("groups");
    println!(
        "splits {splits}, filters {filters:?}, trees {trees:?}, limits {limits:?}, tops {tops:?}, groups {groups:?}"
    );
    let taken = |tally: Tally| tally.exact + tally.inexact;
    assert!(splits > 1);
    assert!(taken(filters) > 2000 && filters.empty * 2 < taken(filters) && filters.refused > 100, "{filters:?}");
    assert!(taken(trees) * 2 > trees.refused && trees.empty * 2 < taken(trees), "{trees:?}");
    assert_eq!((limits.exact, limits.refused), (12, 0));
    assert!(tops.exact > 200 && tops.refused > 0, "{tops:?}");
    assert!(groups.exact > 80 && groups.refused > 0, "{groups:?}");
    assert_eq!(conformance::joins(&subject).await.expect("joins").exact, 0);
}

#[tokio::test]
async fn the_suite_passes_over_the_fields_of_documents_inside_of_documents() {
    let Some(fixture) = fixture("suite_fields").await else { return };
    let source = open(&fixture.url, &[("writable", true.into())]);
    let source = source.as_ref();
    let rows = rows().slice(0, 150);
    let inside = rows.project(&(1..rows.num_columns()).collect::<Vec<_>>()).expect("columns");
    // Some documents have none inside.
    let there = NullBuffer::from_iter((0..rows.num_rows()).map(|row| row % 11 > 0));
    let fields = inside.schema().fields().clone();
    let inside = StructArray::try_new(fields, inside.columns().to_vec(), Some(there)).expect("a struct");
    let schema = Schema::new(vec![
        rows.schema().field(0).clone(),
        Field::new("inside", DataType::Struct(inside.fields().clone()), true),
    ]);
    let rows = RecordBatch::try_new(Arc::new(schema), vec![rows.column(0).clone(), Arc::new(inside)]).expect("rows");
    let name = fixture.name("t");
    conformance::store(source, &name, &rows).await.expect("stored");
    let subject = Subject::with_fields(source, "m", &name).await.expect("read");
    let splits = conformance::splits(&subject).await.expect("splits");
    let filters = conformance::filters(&subject).await.expect("filters");
    let trees = conformance::combinations(&subject, 43, 100).await.expect("combinations");
    let tops = conformance::tops(&subject).await.expect("tops");
    let groups = conformance::groups(&subject).await.expect("groups");
    println!("splits {splits}, filters {filters:?}, trees {trees:?}, tops {tops:?}, groups {groups:?}");
    let taken = |tally: Tally| tally.exact + tally.inexact;
    assert!(splits > 1);
    assert!(taken(filters) > 1000 && filters.empty * 2 < taken(filters) && filters.refused > 50, "{filters:?}");
    assert!(taken(trees) * 2 > trees.refused, "{trees:?}");
    assert!(tops.exact > 200 && groups.exact > 80, "{tops:?} {groups:?}");
}
