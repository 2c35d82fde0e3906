//! The writing half: each statement is one transaction, which is there whole or not at all.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use connector_spi::{Assignment, BatchStream, Error, ErrorKind, Result, Scan, TableName, Write};
use futures::{SinkExt, StreamExt};
use tokio::time::timeout;
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};

use crate::encode;
use crate::error::{Place, lost, running};
use crate::metadata;
use crate::pool::{Lease, Pool, WAIT, begin_write};
use crate::sql::{self, identifier};
use crate::types::Kind;

/// How long a change of a definition may take, waiting for locks included.
const CHANGE: Duration = Duration::from_secs(60);
/// Rows are sent in pieces of about this many bytes.
const PIECE_BYTES: usize = 1 << 20;

/// Writes into one database.
#[derive(Debug)]
pub(crate) struct Writer(pub(crate) Arc<Pool>);

impl Writer {
    fn name(name: &TableName) -> String {
        format!("{}.{}", identifier(&name.schema), identifier(&name.table))
    }

    /// Errors: `PERMISSION_DENIED` where the catalog does not allow it.
    fn allowed(&self) -> Result<()> {
        let settings = &self.0.settings;
        if settings.writable {
            return Ok(());
        }
        let text = format!("catalog \"{}\" is read only", settings.catalog);
        Err(Error::new(ErrorKind::PermissionDenied, text).hint("Its option \"writable\" allows writing."))
    }

    /// One statement that changes a definition.
    async fn change(&self, sql: &str, what: &str) -> Result<()> {
        self.allowed()?;
        let lease = self.0.lease(WAIT).await?;
        let done = timeout(CHANGE, transaction(lease, sql, &self.0.place(None), what)).await;
        done.map_err(|_| self.0.late(CHANGE))?.map(drop)
    }

    /// One statement that changes rows; how many.
    async fn change_rows(&self, rows: &Scan, sql: &str) -> Result<u64> {
        let lease = self.0.lease(WAIT).await?;
        let (place, what) = (self.0.place(Some(rows.table.to_string())), format!("table \"{}\"", rows.table));
        transaction(lease, sql, &place, &what).await.map_err(|error| unknown(error, "changed"))
    }
}

/// Runs one statement in a transaction of its own; how many rows it changed. Given up, the connection is closed and
/// Postgres takes everything back.
async fn transaction(mut lease: Lease, sql: &str, place: &Place, what: &str) -> Result<u64> {
    lease.begun();
    match lease.client()?.simple_query(&format!("{}; {sql}; COMMIT", begin_write())).await {
        Ok(messages) => {
            lease.ended();
            lease.finish().await;
            let counts = messages.iter().filter_map(|message| match message {
                SimpleQueryMessage::CommandComplete(rows) => Some(*rows),
                _ => None,
            });
            Ok(counts.max().unwrap_or(0))
        }
        Err(error) => {
            let made = refused(&error, place, what);
            if !lost(&error) {
                lease.finish().await;
            }
            Err(made)
        }
    }
}

/// The error of a statement, which may have ended before its connection did.
fn unknown(error: Error, done: &str) -> Error {
    match error.kind() {
        ErrorKind::Unavailable => error.detail(format!("It is not known whether the rows are {done}.")),
        _ => error,
    }
}

/// An error of a statement that writes; `what` is the table or schema, quoted.
fn refused(error: &tokio_postgres::Error, place: &Place, what: &str) -> Error {
    let Some(answer) = error.as_db_error() else { return running(error, place) };
    let (code, message) = (answer.code(), answer.message());
    // The only thing in a transaction that writes that may be unknown to a server.
    if *code == SqlState::FEATURE_NOT_SUPPORTED && message.contains("recovery") {
        let text =
            format!("{what} cannot be changed: Postgres at {} is a standby, which takes no writes", place.address);
        let hint = format!("Let the url of catalog \"{}\" name the primary.", place.catalog);
        return Error::new(ErrorKind::PermissionDenied, text).hint(hint).detail(format!("SQLSTATE {}.", code.code()));
    }
    let kind = match code {
        code if [SqlState::DUPLICATE_TABLE, SqlState::DUPLICATE_SCHEMA, SqlState::DUPLICATE_OBJECT].contains(code) => {
            ErrorKind::AlreadyExists
        }
        code if [SqlState::UNDEFINED_TABLE, SqlState::INVALID_SCHEMA_NAME, SqlState::UNDEFINED_OBJECT]
            .contains(code) =>
        {
            ErrorKind::NotFound
        }
        code if [SqlState::INSUFFICIENT_PRIVILEGE, SqlState::READ_ONLY_SQL_TRANSACTION].contains(code) => {
            ErrorKind::PermissionDenied
        }
        code if *code == SqlState::LOCK_NOT_AVAILABLE || *code == SqlState::QUERY_CANCELED => ErrorKind::Timeout,
        code if ["22", "23", "2B", "42"].iter().any(|class| code.code().starts_with(class)) => ErrorKind::Invalid,
        _ => return running(error, place),
    };
    let made = Error::new(kind, format!("Postgres refused to change {what}: {message}"));
    let detail = answer.detail().map(|detail| format!(" {detail}")).unwrap_or_default();
    made.detail(format!("SQLSTATE {}.{detail}", code.code()))
}

#[async_trait]
impl Write for Writer {
    async fn create_schema(&self, schema: &str) -> Result<()> {
        self.change(&format!("CREATE SCHEMA {}", identifier(schema)), &format!("schema \"{schema}\"")).await
    }

    async fn drop_schema(&self, schema: &str) -> Result<()> {
        self.change(&format!("DROP SCHEMA {}", identifier(schema)), &format!("schema \"{schema}\"")).await
    }

    async fn create_table(&self, name: &TableName, schema: SchemaRef) -> Result<()> {
        let columns = columns(&schema)?;
        self.change(&format!("CREATE TABLE {} ({columns})", Self::name(name)), &format!("table \"{name}\"")).await
    }

    async fn drop_table(&self, name: &TableName) -> Result<()> {
        self.change(&format!("DROP TABLE {}", Self::name(name)), &format!("table \"{name}\"")).await
    }

    async fn insert(&self, name: &TableName, rows: BatchStream) -> Result<u64> {
        self.allowed()?;
        let table = metadata::table(&self.0, name).await?;
        let table = table
            .ok_or_else(|| Error::not_found(format!("table \"{}.{name}\" does not exist", self.0.settings.catalog)))?;
        let kinds = table.columns.iter().map(Kind::of_column).collect::<Result<Vec<_>>>()?;
        for (column, kind) in table.columns.iter().zip(&kinds) {
            if !encode::is_written(kind) {
                let text =
                    format!("column \"{}\" of table \"{name}\" cannot be written; its type is only read", column.name);
                return Err(Error::unsupported(text));
            }
        }
        let names: Vec<String> = table.columns.iter().map(|column| identifier(&column.name)).collect();
        let mut lease = self.0.lease(WAIT).await?;
        lease.begun();
        let insert = Insert { lease: &lease, place: self.0.place(Some(name.to_string())), name };
        // After an error the connection is closed, and Postgres takes everything back.
        let count = insert.run(&names, &kinds, rows).await?;
        lease.ended();
        lease.finish().await;
        Ok(count)
    }

    async fn delete(&self, rows: &Scan) -> Result<u64> {
        self.allowed()?;
        let (name, passing) = (Self::name(&rows.table), sql::changed(rows)?);
        self.change_rows(rows, &format!("DELETE FROM {name}{passing}")).await
    }

    async fn update(&self, rows: &Scan, set: &[Assignment]) -> Result<u64> {
        self.allowed()?;
        let assigned = |Assignment { column, value }: &Assignment| {
            let column = sql::column(rows, *column)?;
            let text = match value {
                None => "NULL".to_owned(),
                Some(value) => sql::literal(&Kind::of_column(column)?, value).map_err(|refusal| {
                    Error::unsupported(format!("column \"{}\" cannot be set: {}", column.name, refusal.text))
                })?,
            };
            Ok(format!("{} = {text}", identifier(&column.name)))
        };
        let set = set.iter().map(assigned).collect::<Result<Vec<_>>>()?.join(", ");
        let (name, passing) = (Self::name(&rows.table), sql::changed(rows)?);
        self.change_rows(rows, &format!("UPDATE {name} SET {set}{passing}")).await
    }
}

/// The columns of a new table. Errors: `UNSUPPORTED` for a type that Postgres has not.
fn columns(schema: &Schema) -> Result<String> {
    let column = |field: &Arc<arrow::datatypes::Field>| {
        let data_type = match field.data_type() {
            DataType::Boolean => "bool".to_owned(),
            DataType::Int8 | DataType::Int16 | DataType::UInt8 => "int2".to_owned(),
            DataType::Int32 | DataType::UInt16 => "int4".to_owned(),
            DataType::Int64 | DataType::UInt32 => "int8".to_owned(),
            DataType::UInt64 => "numeric(20,0)".to_owned(),
            DataType::Float32 => "float4".to_owned(),
            DataType::Float64 => "float8".to_owned(),
            DataType::Decimal128(precision, scale) if (0..=*precision as i8).contains(scale) => {
                format!("numeric({precision},{scale})")
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => "text".to_owned(),
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytea".to_owned(),
            DataType::Date32 => "date".to_owned(),
            DataType::Time32(_) | DataType::Time64(_) => "time".to_owned(),
            DataType::Timestamp(_, None) => "timestamp".to_owned(),
            DataType::Timestamp(_, Some(_)) => "timestamptz".to_owned(),
            other => {
                let text =
                    format!("column \"{}\" is {other}, which cannot be a column of a Postgres table", field.name());
                return Err(Error::unsupported(text));
            }
        };
        let required = if field.is_nullable() { "" } else { " NOT NULL" };
        Ok(format!("{} {data_type}{required}", identifier(field.name())))
    };
    Ok(schema.fields().iter().map(column).collect::<Result<Vec<_>>>()?.join(", "))
}

/// One INSERT on its connection.
struct Insert<'a> {
    lease: &'a Lease,
    place: Place,
    name: &'a TableName,
}

impl Insert<'_> {
    /// COPY straight into the table, or by a staging table where Postgres must convert texts.
    async fn run(&self, names: &[String], kinds: &[Kind], rows: BatchStream) -> Result<u64> {
        let target = Writer::name(self.name);
        self.execute(&begin_write()).await?;
        let count = if kinds.iter().all(encode::is_binary) {
            self.copy(&format!("COPY {target} ({}) FROM STDIN (FORMAT binary)", names.join(", ")), kinds, rows).await?
        } else {
            let types = self.types().await?;
            let staged: Vec<String> =
                kinds.iter().enumerate().map(|(at, kind)| format!("c{at} {}", kind.asked())).collect();
            let casts: Vec<String> = kinds
                .iter()
                .enumerate()
                .map(|(at, kind)| match (encode::is_binary(kind), types.get(at)) {
                    (false, Some(target)) => format!("c{at}::{target}"),
                    _ => format!("c{at}"),
                })
                .collect();
            self.execute(&format!("CREATE TEMPORARY TABLE tributary_staging ({}) ON COMMIT DROP", staged.join(", ")))
                .await?;
            let count = self.copy("COPY pg_temp.tributary_staging FROM STDIN (FORMAT binary)", kinds, rows).await?;
            let (names, casts) = (names.join(", "), casts.join(", "));
            self.execute(&format!("INSERT INTO {target} ({names}) SELECT {casts} FROM pg_temp.tributary_staging"))
                .await?;
            count
        };
        self.execute("COMMIT").await.map_err(|error| unknown(error, "stored"))?;
        Ok(count)
    }

    async fn execute(&self, sql: &str) -> Result<()> {
        self.lease.client()?.batch_execute(sql).await.map_err(|error| self.refused(&error))
    }

    fn refused(&self, error: &tokio_postgres::Error) -> Error {
        refused(error, &self.place, &format!("table \"{}\"", self.name))
    }

    /// The types of the table's columns as Postgres writes them.
    async fn types(&self) -> Result<Vec<String>> {
        let sql = "SELECT pg_catalog.format_type(a.atttypid, a.atttypmod) FROM pg_catalog.pg_attribute a \
                   JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                   WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
        let names: [(&(dyn ToSql + Sync), Type); 2] = [(&self.name.schema, Type::TEXT), (&self.name.table, Type::TEXT)];
        let rows = self.lease.client()?.query_typed(sql, &names).await.map_err(|error| self.refused(&error))?;
        rows.iter().map(|row| row.try_get(0).map_err(|cause| Error::internal(cause.to_string()))).collect()
    }

    /// Sends the rows and counts them.
    async fn copy(&self, statement: &str, kinds: &[Kind], mut rows: BatchStream) -> Result<u64> {
        let failed = |error: tokio_postgres::Error| self.refused(&error);
        let sink = self.lease.client()?.copy_in::<_, Bytes>(statement).await.map_err(failed)?;
        let mut sink = std::pin::pin!(sink);
        let table = self.name.to_string();
        let mut out = BytesMut::from(encode::HEADER);
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            // A batch of wide rows is sent in several pieces.
            for start in (0..batch.num_rows()).step_by(1024) {
                let part = batch.slice(start, (batch.num_rows() - start).min(1024));
                encode::rows(&part, kinds, &table, &mut out)?;
                if out.len() >= PIECE_BYTES {
                    sink.send(out.split().freeze()).await.map_err(failed)?;
                }
            }
        }
        out.extend_from_slice(encode::TRAILER);
        sink.send(out.freeze()).await.map_err(failed)?;
        sink.finish().await.map_err(failed)
    }
}
