//! The catalog `system`: what this coordinator knows of itself, written as a source.

use std::sync::{Arc, Weak};

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, TimeUnit};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use async_trait::async_trait;
use connector_spi::{
    Absorbed, BatchStream, Column, Error, Op, ReadContext, Refusal, RefusalCode, Result, Scan, SchemaEntry, Source,
    Split, Table, TableEntry, TableKind, TableName,
};
use futures::StreamExt;

use crate::Inner;

/// Serves `system.runtime.*`; empty once the coordinator is gone.
pub(crate) struct System(pub(crate) Weak<Inner>);

impl std::fmt::Debug for System {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("System")
    }
}

const SCHEMA: &str = "runtime";
const TABLES: [&str; 5] = ["catalogs", "queries", "settings", "tasks", "workers"];

fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn columns(table: &str) -> Option<Vec<Column>> {
    let (text, number) = (DataType::Utf8, DataType::Int64);
    let list: &[(&str, DataType)] = match table {
        "catalogs" => &[("name", text.clone()), ("connector", text.clone()), ("options", text)],
        "queries" => &[
            ("query_id", text.clone()),
            ("user", text.clone()),
            ("state", text.clone()),
            ("sql", text.clone()),
            ("started", time()),
            ("elapsed_ms", number.clone()),
            ("rows", number),
            ("error", text),
        ],
        "settings" => &[("name", text.clone()), ("default", text.clone()), ("description", text)],
        "tasks" => &[("query_id", text.clone()), ("stage", number.clone()), ("task", number), ("worker", text)],
        "workers" => &[
            ("url", text.clone()),
            ("state", text.clone()),
            ("build", text.clone()),
            ("incarnation", text),
            ("alive_s", number.clone()),
            ("silent_ms", number),
        ],
        _ => return None,
    };
    Some(list.iter().map(|(name, data_type)| Column::new(*name, data_type.clone(), true)).collect())
}

impl System {
    fn rows(&self, scan: &Scan) -> Result<RecordBatch> {
        let inner = self.0.upgrade().ok_or_else(|| Error::unavailable("the coordinator is stopping"))?;
        let arrays = match scan.table.table.as_str() {
            "catalogs" => catalogs(&inner),
            "queries" => queries(&inner),
            "settings" => settings(),
            "tasks" => tasks(&inner),
            "workers" => workers(&inner),
            other => return Err(Error::not_found(format!("table \"system.{SCHEMA}.{other}\" does not exist"))),
        };
        let count = arrays.first().map_or(0, |array| array.len());
        let picked = scan.projection.iter().map(|at| Arc::clone(&arrays[*at])).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        RecordBatch::try_new_with_options(scan.schema(), picked, &options)
            .map_err(|cause| Error::internal(cause.to_string()))
    }
}

fn text<T: AsRef<str>>(values: impl Iterator<Item = T>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn numbers(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

fn catalogs(inner: &Inner) -> Vec<ArrayRef> {
    let all = inner.catalogs.all();
    let options = |keys: &mut dyn Iterator<Item = &String>| keys.cloned().collect::<Vec<_>>().join(", ");
    vec![
        text(all.iter().map(|catalog| catalog.name())),
        text(all.iter().map(|catalog| catalog.definition.connector.as_str())),
        text(all.iter().map(|catalog| options(&mut catalog.definition.options.keys()))),
    ]
}

fn queries(inner: &Inner) -> Vec<ArrayRef> {
    let all = inner.queries.all();
    let started = all.iter().map(|query| query.started_micros());
    vec![
        text(all.iter().map(|query| query.id.as_str())),
        text(all.iter().map(|query| query.user.as_str())),
        text(all.iter().map(|query| query.state())),
        text(all.iter().map(|query| query.sql.as_str())),
        Arc::new(TimestampMicrosecondArray::from_iter_values(started).with_timezone("UTC")),
        numbers(all.iter().map(|query| query.elapsed().as_millis() as i64)),
        numbers(all.iter().map(|query| query.rows() as i64)),
        Arc::new(all.iter().map(|query| query.error()).collect::<StringArray>()),
    ]
}

fn settings() -> Vec<ArrayRef> {
    use crate::session::SETTINGS;
    vec![
        text(SETTINGS.iter().map(|setting| setting.name)),
        text(SETTINGS.iter().map(|setting| setting.default)),
        text(SETTINGS.iter().map(|setting| setting.doc)),
    ]
}

fn tasks(inner: &Inner) -> Vec<ArrayRef> {
    let mut rows = Vec::new();
    for query in inner.queries.all() {
        for (stage, urls) in query.routes().into_iter().enumerate() {
            for (task, worker) in urls.into_iter().enumerate() {
                rows.push((query.id.clone(), stage as i64 + 1, task as i64, worker));
            }
        }
    }
    vec![
        text(rows.iter().map(|row| &row.0)),
        numbers(rows.iter().map(|row| row.1)),
        numbers(rows.iter().map(|row| row.2)),
        text(rows.iter().map(|row| &row.3)),
    ]
}

fn workers(inner: &Inner) -> Vec<ArrayRef> {
    let all = inner.workers.all();
    vec![
        text(all.iter().map(|member| member.url.as_str().trim_end_matches('/'))),
        text(all.iter().map(|member| if member.refused.is_some() { "refused" } else { "alive" })),
        text(all.iter().map(|member| member.build.as_str())),
        text(all.iter().map(|member| member.incarnation.as_str())),
        numbers(all.iter().map(|member| member.joined.elapsed().as_secs() as i64)),
        numbers(all.iter().map(|member| member.seen.elapsed().as_millis() as i64)),
    ]
}

#[async_trait]
impl Source for System {
    async fn list(&self) -> Result<Vec<SchemaEntry>> {
        let table = |name: &&str| TableEntry { name: (*name).to_owned(), kind: TableKind::Table };
        Ok(vec![SchemaEntry { name: SCHEMA.to_owned(), tables: TABLES.iter().map(table).collect() }])
    }

    async fn table(&self, name: &TableName) -> Result<Option<Table>> {
        Ok(if name.schema == SCHEMA { columns(&name.table).map(Table::new) } else { None })
    }

    fn absorb(&self, scan: &Scan, op: &Op) -> Absorbed {
        match op {
            Op::Columns(columns) => Absorbed::Exact(scan.with_projection(columns.clone())),
            _ => Absorbed::No(Refusal::new(RefusalCode::Cost, "system tables are small")),
        }
    }

    async fn read(&self, scan: &Scan, _: &Split, _: ReadContext) -> Result<BatchStream> {
        let rows = self.rows(scan);
        Ok(futures::stream::once(async move { rows }).boxed())
    }

    fn resident(&self, scan: &Scan, _: &Split) -> Result<Option<Vec<RecordBatch>>> {
        Ok(Some(vec![self.rows(scan)?]))
    }
}
