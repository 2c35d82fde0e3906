//! The writing half: rows in ordered batches, changes in transactions, tables as collections with a validator.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use bson::{Bson, Document, doc};
use connector_spi::{Assignment, BatchStream, Error, ErrorKind, Result, Scan, TableName, Write};
use futures::StreamExt;
use mongodb::action::Action;
use mongodb::error::ErrorKind as CauseKind;

use crate::address::Address;
use crate::client::{ANSWER, Deployment};
use crate::encode;
use crate::error::{answer, failed};
use crate::metadata::{self, Facts, Samples};
use crate::request::{Part, Request};
use crate::schema::validator;
use crate::types::Kind;
use crate::value::{Value, value};

/// How long one batch of rows, or one change, may take.
const CHANGE: Duration = Duration::from_secs(60);
/// Documents that are sent at once.
const BATCH: usize = 1000;

/// Writes into one deployment.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) deployment: Arc<Deployment>,
    pub(crate) samples: Arc<Samples>,
}

impl Writer {
    /// Errors: `PERMISSION_DENIED` where the catalog does not allow it.
    fn allowed(&self) -> Result<()> {
        let settings = &self.deployment.settings;
        if settings.writable {
            return Ok(());
        }
        let text = format!("catalog \"{}\" is read only", settings.catalog);
        Err(Error::new(ErrorKind::PermissionDenied, text).hint("Its option \"writable\" allows writing."))
    }

    fn missing(&self, name: &TableName) -> Error {
        Error::not_found(format!("table \"{}.{name}\" does not exist", self.deployment.settings.catalog))
    }

    /// The filter of a scan that absorbed filters and nothing else.
    fn filter(rows: &Scan) -> Result<Document> {
        match Request::of(rows, &Part::default())? {
            Request::Find { filter, .. } => Ok(filter),
            Request::Aggregate { .. } => Err(Error::internal("rows to be changed are more than filtered")),
        }
    }

    /// One change in a transaction of its own; how many documents it changed.
    async fn change(&self, rows: &Scan, change: Change) -> Result<u64> {
        self.allowed()?;
        let facts = Facts::read(&rows.native);
        let collation = facts.collation();
        if facts.pipeline.is_some() {
            return Err(Error::unsupported("what a pipeline returns cannot be changed"));
        }
        let filter = Self::filter(rows)?;
        let client = self.deployment.client().await?.clone();
        let collection = self.deployment.collection(&rows.table).await?;
        let work = async move {
            let mut session = client.start_session().await?;
            session.start_transaction().await?;
            let done = match change {
                Change::Delete => {
                    let asked = collection
                        .delete_many(filter)
                        .optional(collation, |asked, collation| asked.collation(collation))
                        .session(&mut session);
                    asked.await.map(|done| done.deleted_count)
                }
                Change::Set(set) => {
                    let update = doc! { "$set": set };
                    let asked = collection
                        .update_many(filter, update)
                        .optional(collation, |asked, collation| asked.collation(collation))
                        .session(&mut session);
                    asked.await.map(|done| done.matched_count)
                }
            };
            match done {
                Ok(count) => session.commit_transaction().await.map(|()| count),
                Err(cause) => {
                    // The server takes back what a transaction did that is not committed.
                    let _ = session.abort_transaction().await;
                    Err(cause)
                }
            }
        };
        let place = self.deployment.place(Some(&rows.table));
        let outcome = self.deployment.bounded(CHANGE, work).await?;
        outcome.map_err(|cause| match answer(&cause) {
            Some((20 | 263, _, message)) => {
                let text =
                    format!("table \"{}\" cannot be changed: the server has no transactions ({message})", rows.table);
                Error::unsupported(text)
                    .hint("UPDATE and DELETE need a replica set, so that all rows are changed or none.")
            }
            Some((66 | 121, _, message)) => {
                Error::invalid(format!("MongoDB refused to change table \"{}\": {message}", rows.table))
            }
            _ => failed(&cause, &place),
        })
    }
}

enum Change {
    Delete,
    Set(Document),
}

#[async_trait]
impl Write for Writer {
    async fn create_schema(&self, schema: &str) -> Result<()> {
        self.allowed()?;
        let text = format!(
            "schema \"{schema}\" cannot be created empty: a database of MongoDB begins with its first collection"
        );
        Err(Error::unsupported(text).hint("CREATE TABLE makes its database."))
    }

    async fn drop_schema(&self, schema: &str) -> Result<()> {
        self.allowed()?;
        let text =
            format!("schema \"{schema}\" cannot be dropped: a database of MongoDB ends with its last collection");
        Err(Error::unsupported(text).hint("Drop its tables."))
    }

    async fn create_table(&self, name: &TableName, schema: SchemaRef) -> Result<()> {
        self.allowed()?;
        let exists = || {
            let text = format!("table \"{}.{name}\" exists already", self.deployment.settings.catalog);
            Error::new(ErrorKind::AlreadyExists, text)
        };
        // The same collection once more is no error there.
        if metadata::entry(&self.deployment, name).await?.is_some() {
            return Err(exists());
        }
        let command = doc! { "create": &name.table, "validator": validator(&schema)? };
        let database = self.deployment.client().await?.database(&name.schema);
        let place = self.deployment.place(None);
        let made = self.deployment.bounded(ANSWER, async move { database.run_command(command).await }).await?;
        made.map(drop).map_err(|cause| match answer(&cause) {
            Some((48, ..)) => exists(),
            Some((73, _, message)) => {
                Error::invalid(format!("\"{name}\" cannot be a collection of MongoDB: {message}"))
            }
            _ => failed(&cause, &place),
        })
    }

    async fn drop_table(&self, name: &TableName) -> Result<()> {
        self.allowed()?;
        // The server says nothing of a collection that is not there.
        if metadata::entry(&self.deployment, name).await?.is_none() {
            return Err(self.missing(name));
        }
        let collection = self.deployment.collection(name).await?;
        self.deployment.ask(None, async move { collection.drop().await }).await?;
        self.samples.forget(name);
        Ok(())
    }

    async fn insert(&self, name: &TableName, mut rows: BatchStream) -> Result<u64> {
        self.allowed()?;
        let table = metadata::table(&self.deployment, &self.samples, name).await?.ok_or_else(|| self.missing(name))?;
        let facts = Facts::read(&table.native);
        if !facts.stored {
            return Err(Error::unsupported(format!("table \"{name}\" is a view, which cannot be written")));
        }
        let mut columns = Vec::with_capacity(table.columns.len());
        for column in table.columns.iter().filter(|column| facts.whole.as_ref() != Some(&column.name)) {
            columns.push((column.name.clone(), Address::of(column)?.kind));
        }
        let collection = self.deployment.collection(name).await?.clone_with_type::<Document>();
        let (place, mut stored) = (self.deployment.place(Some(name)), 0_u64);
        let partial = |error: Error, stored: u64| match stored {
            0 => error,
            _ => error.detail(format!("{stored} rows before it were stored; MongoDB keeps them.")),
        };
        while let Some(batch) = rows.next().await {
            let documents =
                batch.and_then(|batch| encode::documents(&batch, &columns)).map_err(|error| partial(error, stored))?;
            for documents in documents.chunks(BATCH).map(<[Document]>::to_vec) {
                let (target, count) = (collection.clone(), documents.len() as u64);
                let work = async move { target.insert_many(documents).ordered(true).await };
                let outcome = self.deployment.bounded(CHANGE, work).await;
                match outcome.map_err(|error| partial(error, stored))? {
                    Ok(_) => stored += count,
                    Err(cause) => {
                        let error = match cause.kind.as_ref() {
                            CauseKind::InsertMany(many) => {
                                let first = many.write_errors.as_ref().and_then(|errors| errors.first());
                                stored += first.map_or(0, |first| first.index as u64);
                                first.map_or_else(
                                    || failed(&cause, &place),
                                    |first| refused(name, first.code, &first.message),
                                )
                            }
                            _ => failed(&cause, &place),
                        };
                        self.samples.forget(name);
                        return Err(partial(error, stored));
                    }
                }
            }
        }
        // What was stored may be of other types.
        self.samples.forget(name);
        Ok(stored)
    }

    async fn delete(&self, rows: &Scan) -> Result<u64> {
        self.change(rows, Change::Delete).await
    }

    async fn update(&self, rows: &Scan, set: &[Assignment]) -> Result<u64> {
        let mut fields = Document::new();
        for Assignment { column, value: to } in set {
            let column =
                rows.columns.get(*column).ok_or_else(|| Error::internal("a column that the table does not have"))?;
            let cannot = |why: &str| Error::unsupported(format!("column \"{}\" cannot be set: {why}", column.name));
            let address = Address::of(column)?;
            let (name, kind) = (address.path().map_err(|refusal| cannot(refusal.text))?, address.kind);
            let bson = match to {
                None => Bson::Null,
                Some(literal) => match value(&kind, literal).map_err(|refusal| cannot(refusal.text))? {
                    Value::Is(Bson::Int64(number)) if kind == Kind::Int => {
                        Bson::Int32(i32::try_from(number).map_err(|_| cannot("the number does not fit"))?)
                    }
                    Value::Is(bson) => bson,
                    Value::Nothing => return Err(cannot("the text is not of the column's form")),
                },
            };
            fields.insert(name, bson);
        }
        let changed = self.change(rows, Change::Set(fields)).await;
        self.samples.forget(&rows.table);
        changed
    }
}

fn refused(name: &TableName, code: i32, message: &str) -> Error {
    let kind = match code {
        11000 => ErrorKind::AlreadyExists,
        121 => ErrorKind::Invalid,
        13 => ErrorKind::PermissionDenied,
        _ => ErrorKind::Source,
    };
    Error::new(kind, format!("MongoDB refused a row of table \"{name}\": {message}")).detail(format!("Code {code}."))
}
