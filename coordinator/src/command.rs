//! Statements that are not queries: SHOW, USE, SET, DDL. Each runs once, on the coordinator.

use std::sync::Arc;

use connector_spi::{Error, ErrorKind, Result, Source, TableName};
use connectors::{read_only, resolve};
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::sql::parser::{DFParser, Statement as Parsed};
use datafusion::sql::sqlparser::ast;

use crate::history::Life;
use crate::query::Ready;
use crate::session::Session;
use crate::show;
use crate::statement::{Statement, parts};
use crate::wire::wire_schema;

/// The columns of a command's answer; `None` where it answers no rows.
pub(crate) fn columns(command: &Statement) -> Option<&'static [&'static str]> {
    match command {
        Statement::ShowCatalogs { .. } => Some(&["catalog", "connector", "state", "error"]),
        Statement::ShowSchemas { .. } => Some(&["schema"]),
        Statement::ShowTables { .. } => Some(&["table"]),
        Statement::ShowColumns { .. } => Some(&["column", "type", "nullable", "comment"]),
        Statement::ShowSetting { .. } => Some(&["name", "value"]),
        _ => None,
    }
}

/// Runs a command.
pub(crate) async fn run(
    session: &Session,
    command: &Statement,
    schema: &SchemaRef,
    sql: &str,
    life: &Life,
) -> Result<Ready> {
    let catalogs = session.coordinator.catalogs();
    let rows = match command {
        Statement::ShowCatalogs { like } => show::catalogs(catalogs, like.as_deref()).await,
        Statement::ShowSchemas { catalog, like } => {
            let catalog = catalog.clone().unwrap_or_else(|| session.location().0);
            let mut names: Vec<String> =
                show::list(&*catalogs.get(&catalog)?).await?.into_iter().map(|entry| entry.name).collect();
            names.push("information_schema".to_owned());
            names.sort();
            names.into_iter().filter(|name| show::like(name, like.as_deref())).map(|name| vec![Some(name)]).collect()
        }
        Statement::ShowTables { from, like } => {
            let (catalog, schema) = schema_name(session, from)?;
            show::tables(&*catalogs.get(&catalog)?, &schema, like.as_deref()).await?
        }
        Statement::ShowColumns { table } => {
            let (catalog, name) = table_name(session, table)?;
            show::columns(&resolve(catalogs, &catalog, &name).await?)
        }
        Statement::ShowSetting { name } => match name {
            Some(name) => vec![vec![Some(name.clone()), Some(session.get(name)?)]],
            None => session.settings().into_iter().map(|(name, value)| vec![Some(name), Some(value)]).collect(),
        },
        other => {
            let affected = change(session, other, sql, life).await?;
            return Ok(Ready::Done { rows: None, affected });
        }
    };
    Ok(Ready::Done { rows: Some(show::text_rows(schema, &rows)?), affected: None })
}

async fn change(session: &Session, command: &Statement, sql: &str, life: &Life) -> Result<Option<u64>> {
    let catalogs = session.coordinator.catalogs();
    match command {
        Statement::Use(name) => use_schema(session, name).await?,
        Statement::Set { name, value } if name == "catalog" || name == "schema" => {
            return Err(
                Error::invalid(format!("\"{value}\" cannot be set this way")).hint("USE catalog.schema sets both.")
            );
        }
        Statement::Set { name, value } => session.set(name, value)?,
        Statement::Reset { name } => session.reset(name.as_deref())?,
        Statement::Kill { query_id } => {
            if !session.coordinator.cancel(query_id) {
                return Err(Error::not_found(format!("no query with the id \"{query_id}\" is running")));
            }
        }
        Statement::CreateCatalog { name, connector, options, if_not_exists } => {
            let created = catalogs.create(name, connector, options.clone());
            allow(created, *if_not_exists, ErrorKind::AlreadyExists)?;
        }
        Statement::DropCatalog { name, if_exists } => allow(catalogs.remove(name), *if_exists, ErrorKind::NotFound)?,
        Statement::CreateSchema { name, if_not_exists } => {
            let (catalog, schema) = schema_name(session, name)?;
            let source = catalogs.get(&catalog)?.source()?;
            allow(
                writer(source.as_ref(), &catalog)?.create_schema(&schema).await,
                *if_not_exists,
                ErrorKind::AlreadyExists,
            )?;
        }
        Statement::DropSchema { name, if_exists } => {
            let (catalog, schema) = schema_name(session, name)?;
            let source = catalogs.get(&catalog)?.source()?;
            allow(writer(source.as_ref(), &catalog)?.drop_schema(&schema).await, *if_exists, ErrorKind::NotFound)?;
        }
        Statement::DropTable { names, if_exists } => {
            for name in names {
                let (catalog, name) = table_name(session, name)?;
                let source = catalogs.get(&catalog)?.source()?;
                allow(writer(source.as_ref(), &catalog)?.drop_table(&name).await, *if_exists, ErrorKind::NotFound)?;
            }
        }
        Statement::CreateTable(create) => return create_table(session, create, sql, life).await,
        Statement::Query(_) | Statement::Insert(_) | Statement::Change(_) | Statement::Explain { .. } => {}
        Statement::ShowCatalogs { .. } | Statement::ShowSchemas { .. } | Statement::ShowTables { .. } => {}
        Statement::ShowColumns { .. } | Statement::ShowSetting { .. } => {}
    }
    Ok(None)
}

fn allow(result: Result<()>, allowed: bool, kind: ErrorKind) -> Result<()> {
    result.or_else(|error| if allowed && error.kind() == kind { Ok(()) } else { Err(error) })
}

fn writer<'a>(source: &'a dyn Source, catalog: &str) -> Result<&'a dyn connector_spi::Write> {
    source.writer().ok_or_else(|| read_only(catalog))
}

/// `USE schema`, `USE catalog` or `USE catalog.schema`; the place must exist.
async fn use_schema(session: &Session, name: &[String]) -> Result<()> {
    let catalogs = session.coordinator.catalogs();
    let (catalog, schema) = match name {
        [one] => {
            let here = session.location().0;
            let in_here = show::list(&*catalogs.get(&here)?)
                .await
                .is_ok_and(|found| found.iter().any(|entry| entry.name == *one));
            if in_here {
                (here, one.clone())
            } else {
                let found = show::list(&*catalogs.get(one)?).await?;
                let first =
                    found.iter().find(|entry| ["main", "public"].contains(&entry.name.as_str())).or(found.first());
                (one.clone(), first.map_or_else(|| "main".to_owned(), |entry| entry.name.clone()))
            }
        }
        _ => schema_name(session, name)?,
    };
    if schema != "information_schema" {
        show::tables(&*catalogs.get(&catalog)?, &schema, None).await?;
    }
    session.set("catalog", &catalog)?;
    session.set("schema", &schema)
}

fn schema_name(session: &Session, name: &[String]) -> Result<(String, String)> {
    let (catalog, schema) = session.location();
    match name {
        [] => Ok((catalog, schema)),
        [one] => Ok((catalog, one.clone())),
        [catalog, schema] => Ok((catalog.clone(), schema.clone())),
        more => Err(Error::invalid(format!("\"{}\" is not a schema's name", more.join(".")))
            .hint("Write schema or catalog.schema.")),
    }
}

pub(crate) fn table_name(session: &Session, name: &[String]) -> Result<(String, TableName)> {
    let (catalog, schema) = session.location();
    match name {
        [table] => Ok((catalog, TableName::new(schema, table))),
        [schema, table] => Ok((catalog, TableName::new(schema, table))),
        [catalog, schema, table] => Ok((catalog.clone(), TableName::new(schema, table))),
        more => Err(Error::invalid(format!("\"{}\" is not a table's name", more.join(".")))
            .hint("Write table, schema.table or catalog.schema.table.")),
    }
}

async fn create_table(session: &Session, create: &ast::CreateTable, sql: &str, life: &Life) -> Result<Option<u64>> {
    let (catalog, name) = table_name(session, &parts(&create.name))?;
    let source = session.coordinator.catalogs().get(&catalog)?.source()?;
    let writer = writer(source.as_ref(), &catalog)?;
    if create.if_not_exists && source.table(&name).await?.is_some() {
        return Ok(None);
    }
    if create.or_replace {
        return Err(Error::unsupported("CREATE OR REPLACE TABLE is not supported")
            .hint("DROP TABLE IF EXISTS, then CREATE TABLE."));
    }
    let Some(query) = &create.query else {
        writer.create_table(&name, column_schema(session, create, sql).await?).await?;
        return Ok(None);
    };
    let query = Parsed::Statement(Box::new(ast::Statement::Query(query.clone())));
    let plan = crate::query::logical(session, &query, sql).await?;
    let (schema, rows) = crate::query::rows_of(session, plan, sql, life).await?;
    writer.create_table(&name, schema).await?;
    let written = writer.insert(&name, rows).await;
    if written.is_err() {
        // The statement leaves nothing behind; the first error is the one to tell.
        let _ = writer.drop_table(&name).await;
    }
    written.map(Some)
}

/// The columns of CREATE TABLE, by planning a query that casts NULL to each type.
async fn column_schema(session: &Session, create: &ast::CreateTable, sql: &str) -> Result<SchemaRef> {
    if create.columns.is_empty() {
        return Err(Error::invalid("a table needs at least one column")
            .hint("CREATE TABLE name (column type, …) or CREATE TABLE name AS SELECT …."));
    }
    let casts = create.columns.iter().map(|column| format!("CAST(NULL AS {}) AS {}", column.data_type, column.name));
    let text = format!("SELECT {}", casts.collect::<Vec<_>>().join(", "));
    let failed = |error| crate::error::explain(&error, sql);
    let query = DFParser::parse_sql(&text).map_err(failed)?.pop_front();
    let query = query.ok_or_else(|| Error::internal("the column list did not parse"))?;
    let plan = crate::query::logical(session, &query, sql).await?;
    let required =
        |column: &ast::ColumnDef| column.options.iter().any(|o| matches!(o.option, ast::ColumnOption::NotNull));
    let fields = wire_schema(plan.schema().as_arrow());
    let fields = fields.fields().iter().zip(&create.columns);
    let fields = fields.map(|(field, column)| Field::new(field.name(), field.data_type().clone(), !required(column)));
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}
