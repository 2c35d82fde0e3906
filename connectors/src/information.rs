//! `information_schema` of a catalog: made from the source's own metadata when it is asked for.

use std::sync::Arc;

use async_trait::async_trait;
use connector_spi::{Column, Error, Result, Scan, Source, Table, TableKind, TableName};
use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray};
use datafusion::arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::{Session, TableProvider};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use futures::StreamExt;

use crate::error::to_datafusion;
use crate::scan::{ScanExec, Work, project};

/// The schema's name.
pub(crate) const NAME: &str = "information_schema";

/// One table of the information schema, or `None` where there is none of that name.
pub(crate) async fn table(source: &dyn Source, catalog: &str, table: &str) -> Result<Option<Arc<dyn TableProvider>>> {
    let found = match table {
        "schemata" => schemata(source, catalog).await?,
        "tables" => tables(source, catalog).await?,
        "columns" => columns(source, catalog).await?,
        _ => return Ok(None),
    };
    Ok(Some(Arc::new(RowsTable::new(catalog, table, found)?)))
}

type Found = Vec<(&'static str, ArrayRef)>;

fn text<T: AsRef<str>>(values: impl Iterator<Item = T>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

async fn schemata(source: &dyn Source, catalog: &str) -> Result<Found> {
    let mut names: Vec<String> = source.list().await?.into_iter().map(|schema| schema.name).collect();
    names.push(NAME.to_owned());
    names.sort();
    Ok(vec![("catalog_name", text(names.iter().map(|_| catalog))), ("schema_name", text(names.iter()))])
}

async fn tables(source: &dyn Source, catalog: &str) -> Result<Found> {
    let mut rows = Vec::new();
    for schema in source.list().await? {
        for table in schema.tables {
            let kind = if table.kind == TableKind::View { "VIEW" } else { "BASE TABLE" };
            rows.push((schema.name.clone(), table.name, kind));
        }
    }
    rows.sort();
    Ok(vec![
        ("table_catalog", text(rows.iter().map(|_| catalog))),
        ("table_schema", text(rows.iter().map(|row| &row.0))),
        ("table_name", text(rows.iter().map(|row| &row.1))),
        ("table_type", text(rows.iter().map(|row| row.2))),
    ])
}

async fn columns(source: &dyn Source, catalog: &str) -> Result<Found> {
    let names = source.list().await?.into_iter().flat_map(|schema| {
        let of = schema.name;
        schema.tables.into_iter().map(move |table| TableName::new(of.clone(), table.name))
    });
    let names: Vec<TableName> = names.collect();
    let asked = futures::stream::iter(names).map(|name| async move { (source.table(&name).await, name) });
    let mut found: Vec<(TableName, usize, Column)> = Vec::new();
    let mut answers = asked.buffered(8);
    while let Some((table, name)) = answers.next().await {
        // A table that was dropped meanwhile is left out.
        for (at, column) in table?.map(|table| table.columns).unwrap_or_default().into_iter().enumerate() {
            found.push((name.clone(), at + 1, column));
        }
    }
    fn comment(column: &Column) -> Option<&str> {
        (!column.comment.is_empty()).then_some(column.comment.as_str())
    }
    let nullable = |column: &Column| if column.nullable { "YES" } else { "NO" };
    Ok(vec![
        ("table_catalog", text(found.iter().map(|_| catalog))),
        ("table_schema", text(found.iter().map(|row| &row.0.schema))),
        ("table_name", text(found.iter().map(|row| &row.0.table))),
        ("column_name", text(found.iter().map(|row| &row.2.name))),
        ("ordinal_position", Arc::new(Int64Array::from_iter_values(found.iter().map(|row| row.1 as i64)))),
        ("is_nullable", text(found.iter().map(|row| nullable(&row.2)))),
        ("data_type", text(found.iter().map(|row| sql_type(&row.2.data_type)))),
        ("column_comment", Arc::new(found.iter().map(|row| comment(&row.2)).collect::<StringArray>())),
    ])
}

/// Rows that are known already, as a table.
#[derive(Debug)]
struct RowsTable {
    scan: Arc<Scan>,
    rows: RecordBatch,
}

impl RowsTable {
    fn new(catalog: &str, table: &str, found: Found) -> Result<Self> {
        let columns = found.iter().map(|(name, array)| Column::new(*name, array.data_type().clone(), true)).collect();
        let scan = Scan::new(catalog, TableName::new(NAME, table), &Table::new(columns));
        let rows = RecordBatch::try_new(scan.schema(), found.into_iter().map(|(_, array)| array).collect())
            .map_err(|cause| Error::internal(cause.to_string()))?;
        Ok(Self { scan: Arc::new(scan), rows })
    }
}

#[async_trait]
impl TableProvider for RowsTable {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        let exec = ScanExec::new(Arc::clone(&self.scan), vec![vec![Work::Rows(vec![self.rows.clone()])]]);
        match projection {
            Some(columns) => project(Arc::new(exec), columns),
            None => Ok(Arc::new(exec)),
        }
    }
}

/// An Arrow type by its SQL name.
pub fn sql_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Null => "unknown".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 => "tinyint".to_owned(),
        DataType::Int16 => "smallint".to_owned(),
        DataType::Int32 => "integer".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::UInt8 => "tinyint unsigned".to_owned(),
        DataType::UInt16 => "smallint unsigned".to_owned(),
        DataType::UInt32 => "integer unsigned".to_owned(),
        DataType::UInt64 => "bigint unsigned".to_owned(),
        DataType::Float16 | DataType::Float32 => "real".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => {
            format!("decimal({p},{s})")
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "varchar".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "varbinary".to_owned()
        }
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        DataType::Time32(unit) | DataType::Time64(unit) => format!("time({})", digits(*unit)),
        DataType::Timestamp(unit, None) => format!("timestamp({})", digits(*unit)),
        DataType::Timestamp(unit, Some(_)) => format!("timestamp({}) with time zone", digits(*unit)),
        DataType::Interval(_) | DataType::Duration(_) => "interval".to_owned(),
        DataType::List(item) | DataType::LargeList(item) | DataType::ListView(item) | DataType::LargeListView(item) => {
            format!("array({})", sql_type(item.data_type()))
        }
        DataType::FixedSizeList(item, _) => format!("array({})", sql_type(item.data_type())),
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| format!("{} {}", field.name(), sql_type(field.data_type())));
            format!("row({})", fields.collect::<Vec<_>>().join(", "))
        }
        DataType::Dictionary(_, value) => sql_type(value),
        DataType::RunEndEncoded(_, value) => sql_type(value.data_type()),
        DataType::Map(entry, _) => match entry.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => {
                format!("map({}, {})", sql_type(pair[0].data_type()), sql_type(pair[1].data_type()))
            }
            _ => "map".to_owned(),
        },
        DataType::Union(..) => "union".to_owned(),
    }
}

fn digits(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

/// For the catalog's own `table`: turns an error into the engine's.
pub(crate) async fn provider(
    catalogs: &crate::Catalogs,
    catalog: &str,
    name: &str,
) -> datafusion::error::Result<Option<Arc<dyn TableProvider>>> {
    let source = catalogs.get(catalog).and_then(|found| found.source()).map_err(to_datafusion)?;
    let found =
        table(source.as_ref(), catalog, name).await.map_err(|error| to_datafusion(error.with("catalog", catalog)))?;
    match found {
        Some(found) => Ok(Some(found)),
        None => Err(to_datafusion(
            Error::not_found(format!("table \"{catalog}.{NAME}.{name}\" does not exist"))
                .with("name", name)
                .hint("Its tables are schemata, tables and columns."),
        )),
    }
}
