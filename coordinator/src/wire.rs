//! Types on the wire: what every client can read, the same in every message about a query.

use std::sync::Arc;

use connector_spi::{Error, Result};
use datafusion::arrow::array::RecordBatchOptions;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;

/// The schema that clients are told: plain types, everything nullable.
pub(crate) fn wire_schema(schema: &Schema) -> SchemaRef {
    let field = |field: &Arc<Field>| wire_field(field);
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

fn wire_field(field: &Field) -> Field {
    Field::new(field.name(), wire_type(field.data_type()), true)
}

fn wire_type(data_type: &DataType) -> DataType {
    let inner = |field: &Arc<Field>| Arc::new(wire_field(field));
    match data_type {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Dictionary(_, value) => wire_type(value),
        DataType::RunEndEncoded(_, value) => wire_type(value.data_type()),
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::List(field) | DataType::ListView(field) => DataType::List(inner(field)),
        DataType::LargeList(field) | DataType::LargeListView(field) => DataType::LargeList(inner(field)),
        DataType::FixedSizeList(field, size) => DataType::FixedSizeList(inner(field), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect()),
        other => other.clone(),
    }
}

/// A batch in the types of `schema`, which [`wire_schema`] made of the batch's own.
pub(crate) fn to_wire(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let column = |(column, field): (&Arc<dyn datafusion::arrow::array::Array>, &Arc<Field>)| match column.data_type()
        == field.data_type()
    {
        true => Ok(Arc::clone(column)),
        false => cast(column, field.data_type()),
    };
    let failed = |cause| Error::internal(format!("a result could not be turned into wire types: {cause}"));
    let columns = batch.columns().iter().zip(schema.fields()).map(column).collect::<std::result::Result<Vec<_>, _>>();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns.map_err(failed)?, &options).map_err(failed)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, ListArray, StringViewArray};
    use datafusion::arrow::datatypes::{Int32Type, Int64Type};

    use super::*;

    #[test]
    fn views_and_dictionaries_become_plain_inside_lists_too() {
        let views: ArrayRef = Arc::new(StringViewArray::from(vec![Some("a"), None]));
        let words: DictionaryArray<Int32Type> = vec![Some("x"), Some("x")].into_iter().collect();
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(vec![Some(vec![Some(1)]), None]);
        let item = Arc::new(Field::new("item", DataType::Utf8View, false));
        let nested = cast(&lists, &DataType::List(item)).expect("cast");
        let batch = RecordBatch::try_from_iter([("v", views), ("d", Arc::new(words) as ArrayRef), ("l", nested)])
            .expect("batch");
        let schema = wire_schema(&batch.schema());
        let wire = to_wire(&batch, &schema).expect("wire");
        assert_eq!(wire.schema().field(0).data_type(), &DataType::Utf8);
        assert_eq!(wire.schema().field(1).data_type(), &DataType::Utf8);
        assert_eq!(wire.column(1).as_string::<i32>().value(1), "x");
        assert!(wire.schema().fields().iter().all(|field| field.is_nullable()));
        assert_eq!(wire.column(2).as_list::<i32>().value(0).as_string::<i32>().value(0), "1");
        assert!(wire.column(0).is_null(1));
    }
}
