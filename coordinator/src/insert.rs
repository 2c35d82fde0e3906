//! INSERT: the source is planned as the query it is, then its columns are matched with the table's.

use std::sync::Arc;

use connector_spi::{Error, ErrorKind, Result};
use connectors::catalog::table_provider;
use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::common::{DFSchema, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, TableSource, cast};
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast;

use crate::command::table_name;
use crate::error::explain;
use crate::session::Session;
use crate::statement::parts;

/// The plan of an INSERT. Errors: `NOT_FOUND` for table and columns, `INVALID` for their number,
/// `UNSUPPORTED` for what INSERT does not know here.
pub(crate) async fn logical(session: &Session, insert: &ast::Insert, sql: &str) -> Result<LogicalPlan> {
    let ast::TableObject::TableName(name) = &insert.table else {
        return Err(Error::unsupported("INSERT takes the name of a table"));
    };
    if insert.overwrite || insert.replace_into || insert.on.is_some() || insert.returning.is_some() {
        return Err(Error::unsupported(
            "only INSERT INTO is known; OVERWRITE, REPLACE, ON CONFLICT and RETURNING are not",
        ));
    }
    let Some(source) = &insert.source else {
        return Err(Error::new(ErrorKind::Syntax, "INSERT needs VALUES or a query"));
    };
    let (catalog, name) = table_name(session, &parts(name))?;
    let table = table_provider(session.coordinator.catalogs(), &catalog, &name).await?;
    let target = provider_as_source(table);
    let query = Parsed::Statement(Box::new(ast::Statement::Query(source.clone())));
    let input = crate::query::logical(session, &query, sql).await?;
    let reference = TableReference::full(catalog, name.schema, name.table);
    let failed = |error| explain(&error, sql);
    let matched = matched(insert, input, target.as_ref(), sql)?;
    LogicalPlanBuilder::insert_into(matched, reference, Arc::clone(&target), InsertOp::Append)
        .and_then(LogicalPlanBuilder::build)
        .map_err(failed)
}

/// The input with exactly the table's columns, each of its type; NULL for columns that are not named.
fn matched(insert: &ast::Insert, input: LogicalPlan, target: &dyn TableSource, sql: &str) -> Result<LogicalPlan> {
    let schema = &target.schema();
    let named = insert.columns.iter().map(|column| parts(column).pop().unwrap_or_default()).collect::<Vec<_>>();
    for (at, name) in named.iter().enumerate() {
        let error = match schema.index_of(name) {
            Ok(_) if !named[..at].contains(name) => continue,
            Ok(_) => Error::invalid(format!("column \"{name}\" is named twice")),
            Err(_) => no_column(name, schema),
        };
        return Err(error.with("name", name));
    }
    let wanted: Vec<&str> = match named.is_empty() {
        true => schema.fields().iter().map(|field| field.name().as_str()).collect(),
        false => named.iter().map(String::as_str).collect(),
    };
    let given = input.schema().fields().len();
    if given != wanted.len() {
        return Err(Error::invalid(format!("INSERT has {} columns but {given} values", wanted.len())));
    }
    let columns = input.schema().columns();
    let put = |field: &Arc<Field>| {
        let value = match wanted.iter().position(|name| name == field.name()) {
            None if !field.is_nullable() => {
                return Err(Error::invalid(format!("column \"{}\" cannot be NULL and is not given", field.name())));
            }
            None => Expr::Literal(ScalarValue::Null, None),
            Some(at) => Expr::Column(columns[at].clone()),
        };
        Ok(fitted(value, field, input.schema()))
    };
    let values = schema.fields().iter().map(put).collect::<Result<Vec<_>>>()?;
    LogicalPlanBuilder::from(input)
        .project(values)
        .and_then(LogicalPlanBuilder::build)
        .map_err(|error| explain(&error, sql))
}

/// A value as one of a column.
pub(crate) fn fitted(value: Expr, column: &Field, input: &DFSchema) -> Expr {
    let fits = value.get_type(input).is_ok_and(|given| given == *column.data_type());
    let value = if fits { value } else { cast(value, column.data_type().clone()) };
    value.alias(column.name())
}

/// The error of a column that the table has not.
pub(crate) fn no_column(name: &str, table: &Schema) -> Error {
    let error = Error::not_found(format!("column \"{name}\" does not exist"));
    match connector_spi::nearest(name, table.fields().iter().map(|field| field.name().as_str())) {
        Some(near) => error.hint(format!("Did you mean \"{near}\"?")),
        None => error,
    }
}
