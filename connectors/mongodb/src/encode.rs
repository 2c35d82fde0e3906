//! Rows as documents: each column as its kind is stored, NULL as null.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimestampMillisecondType,
};
use bson::oid::ObjectId;
use bson::spec::BinarySubtype;
use bson::{Binary, Bson, DateTime, Document, Uuid};
use connector_spi::{Error, Result};

use crate::cell::DAY;
use crate::decimal::decimal;
use crate::types::Kind;

/// The rows of a batch whose columns are these. Errors: `INVALID` for a value that a document cannot hold.
pub(crate) fn documents(batch: &RecordBatch, columns: &[(String, Kind)]) -> Result<Vec<Document>> {
    let mut documents = vec![Document::new(); batch.num_rows()];
    for ((name, kind), column) in columns.iter().zip(batch.columns()) {
        let column = cast(name, column, &kind.data_type())?;
        for (row, document) in documents.iter_mut().enumerate() {
            let value = value(name, kind, &column, row)?;
            // An _id that is not given is made.
            if name != "_id" || value != Bson::Null {
                document.insert(name, value);
            }
        }
    }
    Ok(documents)
}

/// The column in the type of its kind, with nothing lost.
fn cast(name: &str, column: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    if column.data_type() == to {
        return Ok(column.clone());
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let wrong = |cause| Error::invalid(format!("a value of column \"{name}\" cannot be stored: {cause}"));
    let made = cast_with_options(column, to, &options).map_err(wrong)?;
    if matches!(to, DataType::Timestamp(..) | DataType::Float32 | DataType::Time64(_)) {
        let back = cast_with_options(&made, column.data_type(), &options).map_err(wrong)?;
        if back.to_data() != column.to_data() && differs(&back, column) {
            let text = format!("a value of column \"{name}\" cannot be stored: MongoDB keeps milliseconds");
            return Err(Error::invalid(text).hint("Cut it by date_trunc('millisecond', …)."));
        }
    }
    Ok(made)
}

fn differs(one: &ArrayRef, other: &ArrayRef) -> bool {
    arrow::compute::kernels::cmp::distinct(one, other).map_or(true, |differs| differs.true_count() > 0)
}

fn value(name: &str, kind: &Kind, column: &ArrayRef, row: usize) -> Result<Bson> {
    if column.is_null(row) {
        return Ok(Bson::Null);
    }
    let wrong = |why: &str| Error::invalid(format!("a value of column \"{name}\" cannot be stored: {why}"));
    Ok(match kind {
        Kind::Bool => Bson::Boolean(column.as_boolean().value(row)),
        Kind::Int => Bson::Int32(column.as_primitive::<Int32Type>().value(row)),
        Kind::Long => Bson::Int64(column.as_primitive::<Int64Type>().value(row)),
        Kind::Real => Bson::Double(f64::from(column.as_primitive::<Float32Type>().value(row))),
        Kind::Double => Bson::Double(column.as_primitive::<Float64Type>().value(row)),
        Kind::Decimal { scale, .. } => {
            let value = decimal(column.as_primitive::<Decimal128Type>().value(row), *scale);
            Bson::Decimal128(value.ok_or_else(|| wrong("MongoDB's decimals have 34 digits"))?)
        }
        Kind::Text => Bson::String(column.as_string::<i32>().value(row).to_owned()),
        Kind::ObjectId => {
            let text = column.as_string::<i32>().value(row);
            Bson::ObjectId(ObjectId::parse_str(text).map_err(|_| wrong(&format!("\"{text}\" is no ObjectId")))?)
        }
        Kind::Uuid => {
            let text = column.as_string::<i32>().value(row);
            Bson::Binary(Uuid::parse_str(text).map_err(|_| wrong(&format!("\"{text}\" is no uuid")))?.into())
        }
        Kind::Binary => {
            let bytes = column.as_binary::<i32>().value(row).to_vec();
            Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes })
        }
        Kind::Instant | Kind::Wall => {
            Bson::DateTime(DateTime::from_millis(column.as_primitive::<TimestampMillisecondType>().value(row)))
        }
        Kind::Date => {
            let days = i64::from(column.as_primitive::<Date32Type>().value(row));
            Bson::DateTime(DateTime::from_millis(days * DAY))
        }
        Kind::Time => Bson::Int64(column.as_primitive::<Time64MicrosecondType>().value(row)),
        Kind::Json => {
            let text = column.as_string::<i32>().value(row);
            let value: serde_json::Value =
                serde_json::from_str(text).map_err(|cause| wrong(&format!("it is no JSON: {cause}")))?;
            Bson::try_from(value).map_err(|cause| wrong(&format!("it is no extended JSON: {cause}")))?
        }
        Kind::List(item) => {
            let items = column.as_list::<i32>().value(row);
            Bson::Array((0..items.len()).map(|at| value(name, item, &items, at)).collect::<Result<_>>()?)
        }
        Kind::Struct(fields) => {
            let columns = column.as_struct();
            let mut document = Document::new();
            for ((field, kind), column) in fields.iter().zip(columns.columns()) {
                document.insert(field, value(name, kind, column, row)?);
            }
            Bson::Document(document)
        }
    })
}
