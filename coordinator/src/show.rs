//! Answers to SHOW, DESCRIBE and EXPLAIN: small tables made here.

use std::sync::Arc;
use std::time::Duration;

use connector_spi::{Error, ErrorKind, Result, SchemaEntry};
use connectors::{Catalog, Catalogs, Resolved};
use datafusion::arrow::array::StringArray;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use futures::StreamExt;

/// How long SHOW CATALOGS waits for a catalog before it says that it is down.
const PROBE: Duration = Duration::from_secs(3);

/// A schema of text columns.
pub(crate) fn text_schema(names: &[&str]) -> SchemaRef {
    Arc::new(Schema::new(names.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect::<Vec<_>>()))
}

/// Rows of text; each row has a value or NULL a column.
pub(crate) fn text_rows(schema: &SchemaRef, rows: &[Vec<Option<String>>]) -> Result<RecordBatch> {
    let column = |at: usize| Arc::new(rows.iter().map(|row| row[at].as_deref()).collect::<StringArray>()) as _;
    RecordBatch::try_new(Arc::clone(schema), (0..schema.fields().len()).map(column).collect())
        .map_err(|cause| Error::internal(cause.to_string()))
}

/// Whether a name matches a LIKE pattern (`%`, `_`, backslash escapes).
pub(crate) fn like(name: &str, pattern: Option<&str>) -> bool {
    fn matches(name: &[char], pattern: &[char]) -> bool {
        match pattern {
            [] => name.is_empty(),
            ['%', rest @ ..] => (0..=name.len()).any(|skip| matches(&name[skip..], rest)),
            ['_', rest @ ..] => !name.is_empty() && matches(&name[1..], rest),
            ['\\', literal, rest @ ..] | [literal, rest @ ..] => {
                name.first() == Some(literal) && matches(&name[1..], rest)
            }
        }
    }
    let chars = |text: &str| text.chars().collect::<Vec<_>>();
    pattern.is_none_or(|pattern| matches(&chars(name), &chars(pattern)))
}

/// Every catalog with its connector, and whether it answers; a dead one says why.
pub(crate) async fn catalogs(catalogs: &Catalogs, pattern: Option<&str>) -> Vec<Vec<Option<String>>> {
    let wanted: Vec<Arc<Catalog>> = catalogs.all().into_iter().filter(|c| like(c.name(), pattern)).collect();
    let probe = |catalog: Arc<Catalog>| async move {
        let (state, why) = match tokio::time::timeout(PROBE, list(&catalog)).await {
            Ok(Ok(_)) => ("up", None),
            Ok(Err(error)) => ("down", Some(error.to_string())),
            Err(_) => ("down", Some(format!("TIMEOUT: no answer within {} s", PROBE.as_secs()))),
        };
        vec![Some(catalog.name().to_owned()), Some(catalog.definition.connector.clone()), Some(state.to_owned()), why]
    };
    futures::stream::iter(wanted).map(probe).buffered(16).collect().await
}

/// The schemas and tables of a catalog. Errors: what the source answers, with the catalog's name.
pub(crate) async fn list(catalog: &Catalog) -> Result<Vec<SchemaEntry>> {
    let mut entries = catalog.source()?.list().await.map_err(|error| error.with("catalog", catalog.name()))?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// The tables of one schema. Errors: `NOT_FOUND` for the schema.
pub(crate) async fn tables(catalog: &Catalog, schema: &str, pattern: Option<&str>) -> Result<Vec<Vec<Option<String>>>> {
    let entries = list(catalog).await?;
    let found = entries.iter().find(|entry| entry.name == schema).ok_or_else(|| {
        let error = Error::new(ErrorKind::NotFound, format!("schema \"{}.{schema}\" does not exist", catalog.name()))
            .with("name", schema);
        match connector_spi::nearest(schema, entries.iter().map(|entry| entry.name.as_str())) {
            Some(near) => error.hint(format!("Did you mean \"{near}\"?")),
            None => error,
        }
    })?;
    Ok(found
        .tables
        .iter()
        .filter(|table| like(&table.name, pattern))
        .map(|table| vec![Some(table.name.clone())])
        .collect())
}

/// The columns of a table.
pub(crate) fn columns(table: &Resolved) -> Vec<Vec<Option<String>>> {
    let row = |column: &connector_spi::Column| {
        let nullable = if column.nullable { "YES" } else { "NO" };
        let comment = (!column.comment.is_empty()).then(|| column.comment.clone());
        vec![Some(column.name.clone()), Some(sql_type(&column.data_type)), Some(nullable.to_owned()), comment]
    };
    table.table.columns.iter().map(row).collect()
}

pub(crate) use connectors::sql_type;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_like_does() {
        assert!(like("orders", Some("ord%")) && like("orders", Some("_rders")) && like("a_b", Some("a\\_b")));
        assert!(!like("axb", Some("a\\_b")) && !like("orders", Some("ord")) && like("x", None));
    }
}
