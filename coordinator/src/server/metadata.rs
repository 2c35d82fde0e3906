//! Catalogs, schemas, tables and keys as Flight SQL wants them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow_flight::sql::metadata::{XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{Command, CommandGetDbSchemas, CommandGetTables, XdbcDataType};
use connector_spi::{Error, Result, TableKind, TableName};
use connectors::{Catalog, resolve};

use super::sql_info;
use crate::Coordinator;
use crate::show::{like, list};
use crate::wire::wire_schema;

fn failed(cause: impl std::fmt::Display) -> Error {
    Error::internal(format!("a metadata answer could not be made: {cause}"))
}

/// The schema of a metadata command's answer; `None` for a command that is none.
pub(super) fn schema(command: &Command) -> Result<Option<SchemaRef>> {
    Ok(Some(match command.clone() {
        Command::CommandGetCatalogs(query) => query.into_builder().schema(),
        Command::CommandGetDbSchemas(query) => query.into_builder().schema(),
        Command::CommandGetTables(query) => query.into_builder().schema(),
        Command::CommandGetTableTypes(query) => query.into_builder().schema(),
        Command::CommandGetSqlInfo(query) => query.into_builder(sql_info::data()?).schema(),
        Command::CommandGetXdbcTypeInfo(query) => query.into_builder(&types()?).schema(),
        Command::CommandGetPrimaryKeys(_) => primary_keys(),
        Command::CommandGetExportedKeys(_)
        | Command::CommandGetImportedKeys(_)
        | Command::CommandGetCrossReference(_) => foreign_keys(),
        _ => return Ok(None),
    }))
}

/// The answer to a metadata command; `None` for a command that is none.
pub(super) async fn answer(coordinator: &Coordinator, command: Command) -> Result<Option<RecordBatch>> {
    Ok(Some(match command {
        Command::CommandGetCatalogs(query) => {
            let mut builder = query.into_builder();
            coordinator.catalogs().all().iter().for_each(|catalog| builder.append(catalog.name()));
            builder.build().map_err(failed)?
        }
        Command::CommandGetDbSchemas(query) => schemas(coordinator, query).await?,
        Command::CommandGetTables(query) => tables(coordinator, query).await?,
        Command::CommandGetTableTypes(query) => {
            let mut builder = query.into_builder();
            ["TABLE", "VIEW"].into_iter().for_each(|kind| builder.append(kind));
            builder.build().map_err(failed)?
        }
        Command::CommandGetSqlInfo(query) => query.into_builder(sql_info::data()?).build().map_err(failed)?,
        Command::CommandGetXdbcTypeInfo(query) => query.into_builder(&types()?).build().map_err(failed)?,
        Command::CommandGetPrimaryKeys(_) => RecordBatch::new_empty(primary_keys()),
        Command::CommandGetExportedKeys(_)
        | Command::CommandGetImportedKeys(_)
        | Command::CommandGetCrossReference(_) => RecordBatch::new_empty(foreign_keys()),
        _ => return Ok(None),
    }))
}

/// The catalogs that a filter leaves: none given means all, the empty name means "without a catalog".
fn wanted(coordinator: &Coordinator, catalog: Option<&str>) -> Vec<Arc<Catalog>> {
    coordinator.catalogs().all().into_iter().filter(|found| catalog.is_none_or(|name| name == found.name())).collect()
}

async fn schemas(coordinator: &Coordinator, query: CommandGetDbSchemas) -> Result<RecordBatch> {
    let pattern = query.db_schema_filter_pattern.clone();
    let catalogs = wanted(coordinator, query.catalog.as_deref());
    let mut builder = CommandGetDbSchemas { catalog: None, db_schema_filter_pattern: None }.into_builder();
    for catalog in catalogs {
        // A catalog that is down has no schemas to show; SHOW CATALOGS says why.
        for schema in list(&catalog).await.unwrap_or_default() {
            if like(&schema.name, pattern.as_deref()) {
                builder.append(catalog.name(), &schema.name);
            }
        }
    }
    builder.build().map_err(failed)
}

async fn tables(coordinator: &Coordinator, query: CommandGetTables) -> Result<RecordBatch> {
    let catalogs = wanted(coordinator, query.catalog.as_deref());
    let (schema_pattern, table_pattern) = (query.db_schema_filter_pattern, query.table_name_filter_pattern);
    let plain = CommandGetTables {
        catalog: None,
        db_schema_filter_pattern: None,
        table_name_filter_pattern: None,
        table_types: Vec::new(),
        include_schema: query.include_schema,
    };
    let mut builder = plain.into_builder();
    for catalog in catalogs {
        for schema in list(&catalog).await.unwrap_or_default() {
            if !like(&schema.name, schema_pattern.as_deref()) {
                continue;
            }
            for table in schema.tables {
                let kind = if table.kind == TableKind::View { "VIEW" } else { "TABLE" };
                let kind_fits = query.table_types.is_empty() || query.table_types.iter().any(|t| t == kind);
                if !kind_fits || !like(&table.name, table_pattern.as_deref()) {
                    continue;
                }
                let columns = match query.include_schema {
                    false => Schema::empty(),
                    true => columns(coordinator, catalog.name(), &TableName::new(&schema.name, &table.name)).await,
                };
                builder.append(catalog.name(), &schema.name, &table.name, kind, &columns).map_err(failed)?;
            }
        }
    }
    builder.build().map_err(failed)
}

/// A table's columns as clients get them; none for a table that cannot be described now.
async fn columns(coordinator: &Coordinator, catalog: &str, name: &TableName) -> Schema {
    match resolve(coordinator.catalogs(), catalog, name).await {
        Ok(found) => wire_schema(&found.table.schema()).as_ref().clone(),
        Err(_) => Schema::empty(),
    }
}

fn text(name: &str, nullable: bool) -> Field {
    Field::new(name, DataType::Utf8, nullable)
}

fn primary_keys() -> SchemaRef {
    Arc::new(Schema::new(vec![
        text("catalog_name", true),
        text("db_schema_name", true),
        text("table_name", false),
        text("column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("key_name", true),
    ]))
}

fn foreign_keys() -> SchemaRef {
    Arc::new(Schema::new(vec![
        text("pk_catalog_name", true),
        text("pk_db_schema_name", true),
        text("pk_table_name", false),
        text("pk_column_name", false),
        text("fk_catalog_name", true),
        text("fk_db_schema_name", true),
        text("fk_table_name", false),
        text("fk_column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("fk_key_name", true),
        text("pk_key_name", true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ]))
}

fn types() -> Result<XdbcTypeInfoData> {
    use arrow_flight::sql::{Nullable, Searchable};
    let list = [
        ("boolean", XdbcDataType::XdbcBit, 1),
        ("integer", XdbcDataType::XdbcInteger, 10),
        ("bigint", XdbcDataType::XdbcBigint, 19),
        ("double", XdbcDataType::XdbcDouble, 15),
        ("decimal", XdbcDataType::XdbcDecimal, 38),
        ("varchar", XdbcDataType::XdbcVarchar, i32::MAX),
        ("varbinary", XdbcDataType::XdbcVarbinary, i32::MAX),
        ("date", XdbcDataType::XdbcDate, 10),
        ("timestamp", XdbcDataType::XdbcTimestamp, 26),
    ];
    let mut builder = XdbcTypeInfoDataBuilder::new();
    for (name, data_type, size) in list {
        builder.append(XdbcTypeInfo {
            type_name: name.into(),
            data_type,
            column_size: Some(size),
            literal_prefix: (name == "varchar").then(|| "'".into()),
            literal_suffix: (name == "varchar").then(|| "'".into()),
            create_params: None,
            nullable: Nullable::NullabilityNullable,
            case_sensitive: true,
            searchable: Searchable::Full,
            unsigned_attribute: Some(false),
            fixed_prec_scale: false,
            auto_increment: Some(false),
            local_type_name: Some(name.into()),
            minimum_scale: None,
            maximum_scale: None,
            sql_data_type: data_type,
            datetime_subcode: None,
            num_prec_radix: None,
            interval_precision: None,
        });
    }
    builder.build().map_err(failed)
}
