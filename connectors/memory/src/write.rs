//! Creating, dropping and filling tables; an insert shows all of its rows or none.

use std::sync::Arc;

use arrow::array::Array;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use async_trait::async_trait;
use connector_spi::{BatchStream, Error, Result, TableName, Write};
use futures::TryStreamExt;

use crate::source::MemorySource;

#[async_trait]
impl Write for MemorySource {
    async fn create_schema(&self, schema: &str) -> Result<()> {
        self.store.create_schema(schema)
    }

    async fn drop_schema(&self, schema: &str) -> Result<()> {
        self.store.drop_schema(schema)
    }

    async fn create_table(&self, name: &TableName, schema: SchemaRef) -> Result<()> {
        self.store.create_table(name, &schema)
    }

    async fn drop_table(&self, name: &TableName) -> Result<()> {
        self.store.drop_table(name)
    }

    async fn insert(&self, name: &TableName, rows: BatchStream) -> Result<u64> {
        let schema = self.store.table(name).ok_or_else(|| self.store.no_table(name))?.schema;
        let shown = self.store.shown(name);
        let check = |batch: RecordBatch| {
            let checked = checked(&shown, &schema, &batch);
            async move { checked }
        };
        let batches: Vec<RecordBatch> = rows.and_then(check).try_collect().await?;
        let count = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        self.store.append(name, &schema, batches)?;
        Ok(count)
    }
}

/// The batch with the table's own schema. Errors: `INVALID` for another type, or NULL where none may be.
fn checked(name: &str, schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch> {
    if batch.num_columns() != schema.fields().len() {
        let (given, wanted) = (batch.num_columns(), schema.fields().len());
        return Err(Error::invalid(format!("table {name} has {wanted} columns, {given} were given")));
    }
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if field.data_type() != column.data_type() {
            let text = format!(
                "column \"{}\" of table {name} is {}, the value is {}",
                field.name(),
                field.data_type(),
                column.data_type()
            );
            return Err(Error::invalid(text));
        }
        if !field.is_nullable() && column.logical_null_count() > 0 {
            return Err(Error::invalid(format!("column \"{}\" of table {name} cannot be NULL", field.name())));
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), batch.columns().to_vec(), &options)
        .map_err(|cause| Error::internal(format!("rows could not be stored in table {name}: {cause}")))
}
