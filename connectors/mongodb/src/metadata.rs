//! What a deployment says of its databases and collections.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bson::{Bson, Document, RawDocumentBuf, doc};
use connector_spi::{Error, Result, SchemaEntry, Table, TableEntry, TableKind, TableName, TableStatistics};
use futures::{StreamExt, TryStreamExt};
use mongodb::Collection;
use mongodb::options::Collation;
use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::client::{ANSWER, Deployment, in_time, simple};
use crate::types::Kind;
use crate::{sample, schema};

/// Databases of the server's own.
const INTERNAL: [&str; 3] = ["admin", "config", "local"];
/// Samples that are kept at most.
const MOST_KEPT: usize = 10_000;

/// What of a table travels with every scan of it.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Facts {
    /// A pipeline that is read in place of a collection's documents, as extended JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pipeline: Option<String>,
    /// Where the pipeline reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) of: Option<(String, String)>,
    /// A collection, and no view.
    pub(crate) stored: bool,
    /// Whether its texts compare by the rules of a language. A collection can be asked otherwise, a view cannot.
    pub(crate) collated: bool,
    /// Whether a value that is not of its column's type is NULL, and no error.
    pub(crate) lenient: bool,
    /// The column that holds whole documents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) whole: Option<String>,
    /// About how many documents, if known.
    pub(crate) rows: Option<u64>,
    /// About how many bytes, if known.
    pub(crate) bytes: Option<u64>,
    /// Fields that an index begins with.
    pub(crate) indexed: Vec<String>,
    /// Whether the server did not find random documents in time; it is not asked for more of them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) ordered_alone: bool,
}

impl Facts {
    /// What a command says so that texts compare by their bytes; nothing where they do anyway.
    pub(crate) fn collation(&self) -> Option<Collation> {
        (self.collated && self.stored).then(simple)
    }

    /// Whether ranges of `_id` can be read: a plain collection whose texts compare by their bytes.
    pub(crate) fn has_ranges(&self) -> bool {
        self.stored && !self.collated
    }

    /// The facts of a table of this connector; unknown ones are absent.
    pub(crate) fn read(native: &str) -> Self {
        serde_json::from_str(native).unwrap_or_default()
    }

    /// As they travel. Errors: `INTERNAL`.
    pub(crate) fn text(&self) -> Result<String> {
        let wrong = |cause| Error::internal(format!("the facts of a table cannot be kept: {cause}"));
        serde_json::to_string(self).map_err(wrong)
    }
}

/// Samples that are still good.
#[derive(Debug, Default)]
pub(crate) struct Samples(Mutex<HashMap<TableName, Sample>>);

/// A table, the collection's entry at that time, and when that was.
#[derive(Debug)]
struct Sample {
    made: Instant,
    of: Document,
    table: Arc<Table>,
}

impl Samples {
    fn get(&self, deployment: &Deployment, name: &TableName, entry: &Document) -> Option<Table> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Sample { made, of, table } = kept.get(name)?;
        (of == entry && made.elapsed() < deployment.settings.ttl).then(|| Table::clone(table))
    }

    fn keep(&self, name: &TableName, entry: Document, table: &Table) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST_KEPT {
            kept.clear();
        }
        kept.insert(name.clone(), Sample { made: Instant::now(), of: entry, table: Arc::new(table.clone()) });
    }

    /// Forgets a table that changed.
    pub(crate) fn forget(&self, name: &TableName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

/// Every database with its collections.
pub(crate) async fn list(deployment: &Deployment) -> Result<Vec<SchemaEntry>> {
    let mut names = match &deployment.settings.database {
        Some(name) => vec![name.clone()],
        None => {
            let client = deployment.client().await?.clone();
            // Those that the user may use, where it may not list all.
            deployment.ask(None, async move { client.list_database_names().authorized_databases(true).await }).await?
        }
    };
    names.retain(|name| deployment.settings.database.is_some() || !INTERNAL.contains(&name.as_str()));
    names.sort_unstable();
    let entries = futures::stream::iter(names).map(|name| async move {
        let mut tables: Vec<TableEntry> = collections(deployment, &name, doc! {})
            .await?
            .iter()
            .filter_map(|entry| {
                let kind = if is_view(entry) { TableKind::View } else { TableKind::Table };
                Some(TableEntry { name: entry.get_str("name").ok()?.to_owned(), kind })
            })
            .collect();
        tables.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(SchemaEntry { name, tables })
    });
    entries.buffered(8).try_collect().await
}

fn is_view(entry: &Document) -> bool {
    entry.get_str("type").is_ok_and(|kind| kind == "view")
}

/// Whether texts of a collection or a view compare by the rules of a language where nothing else is said.
pub(crate) fn is_collated(entry: &Document) -> bool {
    let collation = entry.get_document("options").and_then(|options| options.get_document("collation"));
    collation.is_ok_and(|collation| collation.get_str("locale").is_ok_and(|locale| locale != "simple"))
}

/// The entries of a database's collections, those of the server's own left out.
async fn collections(deployment: &Deployment, database: &str, filter: Document) -> Result<Vec<Document>> {
    let found = deployment.client().await?.database(database);
    let command = doc! { "listCollections": 1, "filter": filter, "authorizedCollections": true, "nameOnly": false };
    let ask = async move { found.run_cursor_command(command).await?.try_collect::<Vec<Document>>().await };
    let mut entries = deployment.ask(None, ask).await?;
    entries.retain(|entry| entry.get_str("name").is_ok_and(|name| !name.starts_with("system.")));
    Ok(entries)
}

/// The entry of one collection; none where it does not exist, or no name in MongoDB is such.
pub(crate) async fn entry(deployment: &Deployment, name: &TableName) -> Result<Option<Document>> {
    let other = deployment.settings.database.as_ref().is_some_and(|only| *only != name.schema);
    let impossible = |name: &str| name.is_empty() || name.contains('\0');
    if other
        || impossible(&name.schema)
        || impossible(&name.table)
        || name.schema.contains(['/', '\\', '.', ' ', '"', '$'])
    {
        return Ok(None);
    }
    Ok(collections(deployment, &name.schema, doc! { "name": &name.table }).await?.into_iter().next())
}

/// One collection with everything planning wants to know.
pub(crate) async fn table(deployment: &Deployment, samples: &Samples, name: &TableName) -> Result<Option<Table>> {
    let Some(entry) = entry(deployment, name).await? else { return Ok(None) };
    if let Some(table) = samples.get(deployment, name, &entry) {
        return Ok(Some(table));
    }
    let kind = entry.get_str("type").unwrap_or("collection");
    let options = entry.get_document("options").ok();
    let stored = kind == "collection";
    let collection = deployment.collection(name).await?;
    // What is not known in time is not known.
    let (rows, bytes) =
        if stored { in_time(size(deployment, name, &collection).await)?.unwrap_or_default() } else { (None, None) };
    let mut facts = Facts {
        stored,
        collated: is_collated(&entry),
        lenient: deployment.settings.lenient,
        whole: deployment.settings.document_column.clone(),
        rows,
        bytes,
        ..Facts::default()
    };
    if stored {
        facts.indexed = indexed(deployment, name, &collection).await?;
    }
    let seen = sample::take(deployment, name, &collection, &facts).await?;
    facts.ordered_alone = seen.alone.is_some();
    let validator = options
        .and_then(|options| options.get_document("validator").ok())
        .and_then(|validator| validator.get_document("$jsonSchema").ok());
    let declared = deployment.settings.declared(&name.schema, &name.table);
    let mut found = schema::columns(declared, validator, &seen);
    if let Some(whole) = &facts.whole {
        if found.iter().any(|column| column.name == *whole) {
            let text =
                format!("table \"{name}\" has a field \"{whole}\", which the catalog's document_column is to be");
            return Err(Error::invalid(text).hint("Give document_column another name."));
        }
        found.push(schema::Found { name: whole.clone(), kind: Kind::Json, comment: "the whole document".to_owned() });
    }
    let mut columns = Vec::with_capacity(found.len());
    for schema::Found { name, kind, comment } in found {
        columns.push(Address::top(name, kind).column()?.with_comment(comment));
    }
    let mut table = Table::new(columns);
    table.statistics = TableStatistics { rows: facts.rows, bytes: facts.bytes, columns: Vec::new() };
    table.native = facts.text()?;
    samples.keep(name, entry, &table);
    Ok(Some(table))
}

/// Documents and bytes, as the server counts them; unknown where it does not say.
async fn size(
    deployment: &Deployment,
    name: &TableName,
    collection: &Collection<RawDocumentBuf>,
) -> Result<(Option<u64>, Option<u64>)> {
    let database = deployment.client().await?.database(&name.schema);
    let (table, counted) = (name.table.clone(), collection.clone());
    let stats = deployment
        .ask(Some(name), async move {
            // Deprecated since 6.2 and there in every version; a user without the right to it can still count.
            match database.run_command(doc! { "collStats": table }).await {
                Ok(stats) => Ok(stats),
                Err(_) => {
                    let count = counted.estimated_document_count().max_time(ANSWER).await?;
                    Ok(doc! { "count": i64::try_from(count).unwrap_or(i64::MAX) })
                }
            }
        })
        .await?;
    let number = |name: &str| match stats.get(name) {
        Some(Bson::Int32(number)) => u64::try_from(*number).ok(),
        Some(Bson::Int64(number)) => u64::try_from(*number).ok(),
        Some(Bson::Double(number)) if *number >= 0.0 => Some(*number as u64),
        _ => None,
    };
    Ok((number("count"), number("size")))
}

/// The fields that indexes begin with, where an index serves every value and none of its values is an array.
async fn indexed(
    deployment: &Deployment,
    name: &TableName,
    collection: &Collection<RawDocumentBuf>,
) -> Result<Vec<String>> {
    let database = deployment.client().await?.database(&name.schema);
    let table = collection.name().to_owned();
    deployment
        .ask(Some(name), async move {
            let command = doc! { "listIndexes": &table };
            let listed = async { database.run_cursor_command(command).await?.try_collect::<Vec<Document>>().await };
            let mut fields = Vec::new();
            // A user may read a collection without the right to list its indexes.
            for index in listed.await.unwrap_or_default() {
                let Some(field) = leading(&index) else { continue };
                let hint = index.get("name").cloned().unwrap_or(Bson::Null);
                let find = doc! { "find": &table, "filter": {}, "hint": hint };
                let explain = doc! { "explain": find, "verbosity": "queryPlanner" };
                if field == "_id" || database.run_command(explain).await.is_ok_and(|plan| !may_hold_arrays(&plan)) {
                    fields.push(field);
                }
            }
            Ok(fields)
        })
        .await
}

fn leading(index: &Document) -> Option<String> {
    let odd = ["sparse", "partialFilterExpression", "collation", "hidden"].iter().any(|key| index.contains_key(*key));
    let (field, direction) = index.get_document("key").ok()?.iter().next()?;
    (!odd && matches!(direction, Bson::Int32(_) | Bson::Int64(_) | Bson::Double(_))).then(|| field.clone())
}

/// Whether a plan that reads an index does not say that there are no arrays in it.
fn may_hold_arrays(plan: &Document) -> bool {
    let plan = plan.get_document("queryPlanner").and_then(|planner| planner.get_document("winningPlan"));
    let mut stage = plan.ok();
    while let Some(here) = stage {
        if let Ok(multikey) = here.get_bool("isMultiKey") {
            return multikey;
        }
        // Newer servers have the plan of another engine beside it.
        stage = here.get_document("inputStage").or_else(|_| here.get_document("queryPlan")).ok();
    }
    true
}
