//! `TABLE(catalog.system.query('database', 'collection', '[pipeline]'))`: a pipeline of MongoDB's own, read like a table.

use bson::{Bson, Document};
use connector_spi::{Error, ErrorKind, Result, Table, TableName};

use crate::address::Address;
use crate::client::{ANSWER, Deployment};
use crate::evidence::Seen;
use crate::metadata::{self, Facts};
use crate::sample;

/// Stages and operators that write, or run code of the user's on the server.
const REFUSED: [&str; 6] = ["$out", "$merge", "$where", "$function", "$accumulator", "$changeStream"];

/// The columns that a pipeline returns, by a sample of what it returns.
///
/// Errors: `UNSUPPORTED` where the catalog does not allow it; `INVALID` for other arguments, for stages that write or run
/// code, and for what MongoDB does not take.
pub(crate) async fn describe(deployment: &Deployment, arguments: &[String]) -> Result<Table> {
    if !deployment.settings.passthrough {
        let text = "the catalog does not allow queries in the language of MongoDB";
        return Err(Error::unsupported(text).hint("Its option passthrough = true allows them."));
    }
    let [database, collection, text] = arguments else {
        let text = format!("query takes a database, a collection and a pipeline, {} texts were given", arguments.len());
        return Err(
            Error::invalid(text).hint("Write TABLE(catalog.system.query('shop', 'orders', '[{\"$match\": {}}]')).")
        );
    };
    if deployment.settings.database.as_ref().is_some_and(|only| only != database) {
        return Err(Error::not_found(format!("the catalog does not see the database \"{database}\"")));
    }
    let stages = pipeline(text)?;
    let name = TableName::new(database, collection);
    let collated = metadata::entry(deployment, &name).await?.as_ref().is_some_and(metadata::is_collated);
    let target = deployment.collection(&name).await?;
    let most = deployment.settings.sample;
    let sampled = deployment.ask(None, async move {
        let mut seen = Seen::default();
        sample::look(&mut seen, target.aggregate(stages).max_time(ANSWER).batch().await?, most).await?;
        Ok(seen)
    });
    let seen = sampled.await.map_err(|error| match error.kind() {
        ErrorKind::Source => Error::invalid(format!("MongoDB does not take the pipeline: {}", error.message())),
        _ => error,
    })?;
    let mut columns = Vec::new();
    for (name, field) in &seen.fields {
        columns.push(Address::top(name, field.kind(0)).column()?);
    }
    if columns.is_empty() {
        return Err(Error::invalid("the pipeline returns no document, so that its columns are not known"));
    }
    let mut table = Table::new(columns);
    let of = Some((database.clone(), collection.clone()));
    table.native =
        Facts { pipeline: Some(text.clone()), of, collated, lenient: deployment.settings.lenient, ..Facts::default() }
            .text()?;
    Ok(table)
}

/// The stages of a pipeline in extended JSON. Errors: `INVALID`.
pub(crate) fn pipeline(text: &str) -> Result<Vec<Document>> {
    let wrong = |cause: String| {
        Error::invalid(format!("the pipeline cannot be read: {cause}"))
            .hint("Write an array of stages as extended JSON.")
    };
    let value: serde_json::Value = serde_json::from_str(text).map_err(|cause| wrong(cause.to_string()))?;
    let bson = Bson::try_from(value).map_err(|cause| wrong(cause.to_string()))?;
    let Bson::Array(stages) = bson else { return Err(wrong("it is no array".to_owned())) };
    stages
        .into_iter()
        .map(|stage| match stage {
            Bson::Document(stage) => match refused(&stage) {
                Some(name) => Err(Error::invalid(format!("the pipeline uses {name}, which is not allowed here"))),
                None => Ok(stage),
            },
            other => Err(wrong(format!("{other} is no stage"))),
        })
        .collect()
}

fn refused(document: &Document) -> Option<&str> {
    document.iter().find_map(
        |(name, value)| {
            if REFUSED.contains(&name.as_str()) { Some(name.as_str()) } else { within(value) }
        },
    )
}

fn within(value: &Bson) -> Option<&str> {
    match value {
        Bson::Document(document) => refused(document),
        Bson::Array(items) => items.iter().find_map(within),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_writes_or_runs_code_is_refused_wherever_it_stands() {
        for text in [
            r#"[{"$out": "x"}]"#,
            r#"[{"$facet": {"a": [{"$merge": {"into": "x"}}]}}]"#,
            r#"[{"$match": {"$where": "1"}}]"#,
            r#"[{"$project": {"x": {"$function": {"body": "f"}}}}]"#,
            r#"{"$match": {}}"#,
            "[1]",
            "[",
        ] {
            assert_eq!(pipeline(text).expect_err("refused").kind(), ErrorKind::Invalid, "{text}");
        }
        assert_eq!(pipeline(r#"[{"$match": {"a": {"$oid": "070707070707070707070707"}}}]"#).expect("read").len(), 1);
    }
}
