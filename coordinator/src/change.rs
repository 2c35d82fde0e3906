//! UPDATE and DELETE: planned as the query for the rows that they change, then left to the source as a whole.

use connector_spi::{Assignment, Error, ErrorKind, Result};
use connectors::{Resolved, change, read_only, resolve};
use datafusion::execution::SessionState;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::{self, SelectItem, SetExpr, TableFactor};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

use crate::command::table_name;
use crate::error::explain;
use crate::insert::{fitted, no_column};
use crate::session::Session;
use crate::statement::parts;

/// An UPDATE, or a DELETE, which sets nothing.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    table: ast::TableWithJoins,
    condition: Option<ast::Expr>,
    set: Option<Vec<ast::Assignment>>,
}

impl Change {
    /// Errors: `UNSUPPORTED` for other forms than those of one table.
    pub(crate) fn update(update: ast::Update) -> Result<Self> {
        let more =
            update.from.is_some() || update.returning.is_some() || update.output.is_some() || update.or.is_some();
        if more || !update.order_by.is_empty() || update.limit.is_some() {
            return Err(only("UPDATE table SET column = value, … WHERE condition"));
        }
        Self { table: update.table, condition: update.selection, set: Some(update.assignments) }.checked()
    }

    /// Errors: as [`Change::update`].
    pub(crate) fn delete(delete: ast::Delete) -> Result<Self> {
        let form = "DELETE FROM table WHERE condition";
        let (ast::FromTable::WithFromKeyword(mut from) | ast::FromTable::WithoutKeyword(mut from)) = delete.from;
        let more = delete.using.is_some() || delete.returning.is_some() || delete.output.is_some();
        if more || !delete.tables.is_empty() || !delete.order_by.is_empty() || delete.limit.is_some() || from.len() > 1
        {
            return Err(only(form));
        }
        let table = from.pop().ok_or_else(|| only(form))?;
        Self { table, condition: delete.selection, set: None }.checked()
    }

    fn checked(self) -> Result<Self> {
        match &self.table {
            ast::TableWithJoins { relation: TableFactor::Table { args: None, .. }, joins } if joins.is_empty() => {
                Ok(self)
            }
            _ => Err(only("one table by its name")),
        }
    }

    async fn target(&self, session: &Session) -> Result<Resolved> {
        let TableFactor::Table { name, .. } = &self.table.relation else { return Err(only("one table by its name")) };
        let (catalog, name) = table_name(session, &parts(name))?;
        resolve(session.coordinator.catalogs(), &catalog, &name).await
    }

    /// The plan of the query for the rows and their new values. Errors: `NOT_FOUND` for table and columns.
    pub(crate) async fn logical(&self, session: &Session, sql: &str) -> Result<LogicalPlan> {
        let target = self.target(session).await?;
        let items = self.set.iter().flatten().map(|set| SelectItem::UnnamedExpr(set.value.clone())).collect::<Vec<_>>();
        let plan = crate::query::logical(session, &self.query(items)?, sql).await?;
        let columns = self.columns(&target)?;
        if columns.is_empty() {
            return Ok(plan);
        }
        let schema = target.table.schema();
        let values = plan
            .schema()
            .columns()
            .into_iter()
            .zip(columns)
            .map(|(value, at)| fitted(Expr::Column(value), schema.field(at), plan.schema()));
        let values = values.collect::<Vec<_>>();
        LogicalPlanBuilder::from(plan)
            .project(values)
            .and_then(LogicalPlanBuilder::build)
            .map_err(|error| explain(&error, sql))
    }

    /// `SELECT values FROM table WHERE condition`; without values, all columns.
    fn query(&self, values: Vec<SelectItem>) -> Result<Parsed> {
        let template = Parser::parse_sql(&GenericDialect {}, "SELECT * FROM t");
        let statement = template.ok().and_then(|mut statements| statements.pop());
        let Some(ast::Statement::Query(mut query)) = statement else { return Err(Error::internal("no template")) };
        let SetExpr::Select(select) = &mut *query.body else { return Err(Error::internal("no template")) };
        select.from = vec![self.table.clone()];
        select.selection.clone_from(&self.condition);
        if !values.is_empty() {
            select.projection = values;
        }
        Ok(Parsed::Statement(Box::new(ast::Statement::Query(query))))
    }

    /// The places of the columns that are set, each once.
    fn columns(&self, target: &Resolved) -> Result<Vec<usize>> {
        let mut places = Vec::new();
        for set in self.set.iter().flatten() {
            let ast::AssignmentTarget::ColumnName(name) = &set.target else {
                return Err(only("SET column = value"));
            };
            let name = parts(name).pop().unwrap_or_default();
            let columns = &target.table.columns;
            let Some(at) = columns.iter().position(|column| column.name == name) else {
                return Err(no_column(&name, &target.table.schema()).with("name", &name));
            };
            if places.contains(&at) {
                return Err(Error::invalid(format!("column \"{name}\" is set twice")).with("name", &name));
            }
            places.push(at);
        }
        Ok(places)
    }

    /// Runs the planned change and counts the rows.
    pub(crate) async fn run(
        &self,
        session: &Session,
        state: &SessionState,
        plan: &LogicalPlan,
        sql: &str,
    ) -> Result<u64> {
        let target = self.target(session).await?;
        let writer = target.source.writer().ok_or_else(|| read_only(&target.catalog))?;
        let plan = state.optimize(plan).map_err(|error| explain(&error, sql))?;
        let Some(conditions) = conditions(&plan)? else { return Ok(0) };
        let rows = change::rows(&target, &conditions)?;
        let place = |error: Error| error.with("catalog", &target.catalog).with("table", &target.name);
        let Some(_) = &self.set else { return writer.delete(&rows).await.map_err(place) };
        let columns = self.columns(&target)?;
        let values = plan.expressions();
        if values.len() != columns.len() {
            return Err(Error::internal("an UPDATE was planned with other values than it sets"));
        }
        let set = columns.into_iter().zip(&values).map(|(at, value)| match value.clone().unalias() {
            Expr::Literal(value, _) => change::assignment(&target, at, &value),
            _ => {
                let name = &target.table.columns[at].name;
                Err(Error::unsupported(format!("column \"{name}\" is set to what is calculated from the row"))
                    .hint("UPDATE runs in the source alone; SET takes values."))
            }
        });
        writer.update(&rows, &set.collect::<Result<Vec<Assignment>>>()?).await.map_err(place)
    }
}

fn only(form: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("UPDATE and DELETE are known in the form {form}"))
}

/// The conditions of a plan that reads one table; none where it reads no row. Errors: `UNSUPPORTED` for any other plan.
fn conditions(mut plan: &LogicalPlan) -> Result<Option<Vec<Expr>>> {
    let mut found = Vec::new();
    loop {
        plan = match plan {
            // Above the conditions are the new values; below, columns have their own names.
            LogicalPlan::Projection(values) if found.is_empty() => &values.input,
            LogicalPlan::Projection(columns) if columns.expr.iter().all(|expr| matches!(expr, Expr::Column(_))) => {
                &columns.input
            }
            LogicalPlan::SubqueryAlias(alias) => &alias.input,
            LogicalPlan::Filter(filter) => {
                found.extend(split_conjunction(&filter.predicate).into_iter().cloned());
                &filter.input
            }
            LogicalPlan::TableScan(scan) if scan.fetch.is_none() => {
                found.extend(scan.filters.iter().cloned());
                return Ok(Some(found));
            }
            LogicalPlan::EmptyRelation(empty) if !empty.produce_one_row => return Ok(None),
            _ => {
                let text =
                    "the condition of an UPDATE or DELETE cannot be left to the source: it needs more than the table";
                return Err(Error::unsupported(text).hint("Write it as conditions on columns of the table."));
            }
        };
    }
}
