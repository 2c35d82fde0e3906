//! The life of one query: prepared, planned, run, streamed, ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use connector_spi::{BatchStream, Error, ErrorKind, Result, TableName};
use connectors::CatalogList;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::Statement as Parsed;
use futures::{FutureExt, StreamExt};

use crate::error::explain;
use crate::history::{Life, Query};
use crate::session::{Session, Values};
use crate::statement::{Statement, parse};
use crate::wire::{to_wire, wire_schema};
use crate::workers::Crew;

/// A logical plan older than this is made again, since tables may have changed.
const PLAN_AGE: Duration = Duration::from_secs(2);

/// A statement that was parsed and whose names were resolved.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The schema of the answer as it goes over the wire; empty for statements without rows.
    pub schema: SchemaRef,
    /// Its parameters `$1`, `$2`, … in that order; all nullable, text where the type is unknown.
    pub parameters: Vec<Field>,
    /// Whether it changes something instead of returning rows (DDL, DML, SET, USE).
    pub is_update: bool,
    pub(crate) sql: String,
    pub(crate) statement: Arc<Statement>,
    plan: Option<(Instant, LogicalPlan)>,
}

/// A statement that runs. Dropping it cancels the query here, on the workers and in the sources.
pub struct Answer {
    /// The query's id, for messages and cancel.
    pub query_id: String,
    /// The schema of `rows`, equal to [`Prepared::schema`].
    pub schema: SchemaRef,
    /// The rows, already in wire types.
    pub rows: BatchStream,
    /// For statements that change something: how many rows they changed, if they know.
    pub affected: Option<u64>,
}

pub(crate) async fn prepare(session: &Session, sql: &str) -> Result<Prepared> {
    let statement = parse(sql).map_err(|error| crate::error::locate(error, sql))?;
    let mut prepared = Prepared {
        schema: Arc::new(Schema::empty()),
        parameters: Vec::new(),
        is_update: true,
        sql: sql.to_owned(),
        statement: Arc::new(statement),
        plan: None,
    };
    let statement = Arc::clone(&prepared.statement);
    match &*statement {
        Statement::Query(parsed) | Statement::Explain { query: parsed, .. } => {
            let plan = logical(session, parsed, sql).await?;
            prepared.parameters = parameters(&plan, sql)?;
            prepared.is_update = false;
            prepared.schema = match &*statement {
                Statement::Explain { .. } => crate::show::text_schema(&["plan"]),
                _ => wire_schema(plan.schema().as_arrow()),
            };
            prepared.plan = Some((Instant::now(), plan));
        }
        Statement::Insert(insert) => {
            let plan = crate::insert::logical(session, insert, sql).await?;
            prepared.parameters = parameters(&plan, sql)?;
            prepared.plan = Some((Instant::now(), plan));
        }
        Statement::Change(change) => {
            let plan = change.logical(session, sql).await?;
            prepared.parameters = parameters(&plan, sql)?;
            prepared.plan = Some((Instant::now(), plan));
        }
        other => {
            if let Some(names) = crate::command::columns(other) {
                prepared.schema = crate::show::text_schema(names);
                prepared.is_update = false;
            }
        }
    }
    Ok(prepared)
}

/// The parameters in numeric order, each nullable.
fn parameters(plan: &LogicalPlan, sql: &str) -> Result<Vec<Field>> {
    let found = plan.get_parameter_fields().map_err(|error| explain(&error, sql))?;
    let number = |name: &str| name.trim_start_matches('$').parse::<usize>().ok();
    let most = found.keys().filter_map(|name| number(name)).max().unwrap_or(0);
    if let Some(name) = found.keys().find(|name| number(name).is_none_or(|n| n == 0 || n > 10_000)) {
        return Err(Error::new(ErrorKind::Syntax, format!("parameter \"{name}\" is not $1, $2, … or ?")));
    }
    let field = |n: usize| {
        let name = format!("${n}");
        let known = found.get(&name).and_then(|field| field.as_ref()).map(|field| field.data_type().clone());
        Field::new(name, known.filter(|data_type| *data_type != DataType::Null).unwrap_or(DataType::Utf8), true)
    };
    Ok((1..=most).map(field).collect())
}

pub(crate) async fn execute(session: &Session, prepared: &Prepared, values: Vec<ScalarValue>) -> Result<Answer> {
    let life = session.coordinator.0.queries.begin(session.user(), &prepared.sql);
    let query = Arc::clone(&life.0);
    let cancelled = Arc::clone(&query).cancelled();
    let answered = tokio::select! {
        answered = answer(session, prepared, values, &life) => answered,
        cancelled = cancelled => Err(cancelled),
    };
    let answered = answered.map_err(|error| crate::error::locate(error.with("query", &query.id), &prepared.sql));
    match answered {
        Ok(Ready::Rows(run)) => Ok(Answer {
            query_id: query.id.clone(),
            schema: Arc::clone(&prepared.schema),
            rows: run.stream(life),
            affected: None,
        }),
        Ok(Ready::Done { rows, affected }) => {
            life.end(Ok(()));
            let rows = futures::stream::iter(rows.map(Ok)).boxed();
            Ok(Answer { query_id: query.id.clone(), schema: Arc::clone(&prepared.schema), rows, affected })
        }
        Err(error) => {
            life.end(Err(error.clone()));
            Err(error)
        }
    }
}

/// What became of a statement.
pub(crate) enum Ready {
    /// Rows stream.
    Rows(Box<Run>),
    /// It is complete.
    Done { rows: Option<datafusion::arrow::record_batch::RecordBatch>, affected: Option<u64> },
}

async fn answer(session: &Session, prepared: &Prepared, values: Vec<ScalarValue>, life: &Life) -> Result<Ready> {
    if values.len() != prepared.parameters.len() {
        let (given, wanted) = (values.len(), prepared.parameters.len());
        return Err(Error::invalid(format!("the statement has {wanted} parameters, {given} values were given")));
    }
    let sql = &prepared.sql;
    match &*prepared.statement {
        Statement::Query(parsed) => {
            let plan = bound(prepared, values, logical(session, parsed, sql)).await?;
            let run = start(session, plan, sql, life, Arc::clone(&prepared.schema)).await?;
            Ok(Ready::Rows(Box::new(run)))
        }
        Statement::Insert(insert) => {
            let plan = bound(prepared, values, crate::insert::logical(session, insert, sql)).await?;
            let count = Arc::new(Schema::new(vec![Field::new("count", DataType::UInt64, true)]));
            let affected = start(session, plan, sql, life, count).await?.count(life).await?;
            Ok(Ready::Done { rows: None, affected: Some(affected) })
        }
        Statement::Change(change) => {
            let plan = bound(prepared, values, change.logical(session, sql)).await?;
            let coordinator = &session.coordinator;
            let values = session.values();
            let state = coordinator.state(&values, &coordinator.0.workers.crew(0), &life.0.id);
            let limit = timeout(session, &values);
            let done = tokio::time::timeout(limit, change.run(session, &state, &plan, sql)).await;
            let affected = done.map_err(|_| late(limit))??;
            Ok(Ready::Done { rows: None, affected: Some(affected) })
        }
        Statement::Explain { analyze, query } => {
            let plan = bound(prepared, values, logical(session, query, sql)).await?;
            let text = match analyze {
                false => physical(session, &plan, sql, life).await?.text(),
                true => analyzed(session, plan, sql, life).await?,
            };
            let rows: Vec<_> = text.lines().map(|line| vec![Some(line.to_owned())]).collect();
            Ok(Ready::Done { rows: Some(crate::show::text_rows(&prepared.schema, &rows)?), affected: None })
        }
        command => crate::command::run(session, command, &prepared.schema, sql, life).await,
    }
}

/// The logical plan with its parameters' values, made again if it is old.
async fn bound(
    prepared: &Prepared,
    values: Vec<ScalarValue>,
    again: impl Future<Output = Result<LogicalPlan>>,
) -> Result<LogicalPlan> {
    let plan = match &prepared.plan {
        Some((made, plan)) if made.elapsed() < PLAN_AGE => plan.clone(),
        _ => again.await?,
    };
    if values.is_empty() {
        return Ok(plan);
    }
    let cast = values.iter().zip(&prepared.parameters).map(|(value, field)| value.cast_to(field.data_type()));
    let cast = cast.enumerate().map(|(at, value)| {
        let wrong = |cause| Error::invalid(format!("the value of parameter ${} does not fit: {cause}", at + 1));
        value.map_err(wrong)
    });
    let cast = cast.collect::<Result<Vec<_>>>()?;
    plan.with_param_values(cast).map_err(|error| explain(&error, &prepared.sql))
}

/// The logical plan of a query, names resolved.
pub(crate) async fn logical(session: &Session, parsed: &Parsed, sql: &str) -> Result<LogicalPlan> {
    let values = session.values();
    let state = session.coordinator.state(&values, &session.coordinator.0.workers.crew(0), "");
    let parsed = parsed.clone();
    let plan = async move {
        // A statement whose names cannot be told is refused below.
        let names = state.resolve_table_references(&parsed).unwrap_or_default().into_iter().map(|name| {
            let name = name.resolve(&values.catalog, &values.schema);
            (name.catalog.to_string(), TableName::new(&*name.schema, &*name.table))
        });
        CatalogList::learn(state.catalog_list().as_ref(), names.collect()).await;
        state.statement_to_plan(parsed).await
    };
    let plan = crate::stack::deep(plan).await?;
    let plan = plan.map_err(|error| explain(&error, sql))?;
    crate::subquery::check(&plan)?;
    Ok(plan)
}

/// A physical plan with the session it runs in and the workers it may use.
pub(crate) struct Planned {
    state: SessionState,
    plan: Arc<dyn ExecutionPlan>,
    crew: Crew,
    /// Why it stays on the coordinator though there are workers.
    local: Option<String>,
}

impl Planned {
    fn text(&self) -> String {
        let mut text = datafusion_distributed::display_plan_ascii(self.plan.as_ref(), false);
        if let Some(why) = &self.local {
            text.push_str(&format!("runs on the coordinator: {why}\n"));
        }
        text
    }
}

async fn physical(session: &Session, plan: &LogicalPlan, sql: &str, life: &Life) -> Result<Planned> {
    let coordinator = session.coordinator.clone();
    let values = session.values();
    let (plan, id) = (plan.clone(), life.0.id.clone());
    let planned = crate::stack::deep(async move {
        let mut crew = coordinator.0.workers.crew(values.workers.unwrap_or(usize::MAX));
        let mut state = coordinator.state(&values, &crew, &id);
        // What is looked at below is what is sent.
        let mut made = connectors::settle(state.create_physical_plan(&plan).await?)?;
        let local = crate::plan::unsafe_to_send(&made, state.config())?;
        if local.is_some() {
            crew = coordinator.0.workers.crew(0);
            state = coordinator.state(&values, &crew, &id);
            made = connectors::settle(state.create_physical_plan(&plan).await?)?;
        }
        Ok(Planned { state, plan: made, crew, local })
    });
    planned.await?.map_err(|error| explain(&error, sql))
}

async fn start(session: &Session, plan: LogicalPlan, sql: &str, life: &Life, schema: SchemaRef) -> Result<Run> {
    let values = session.values();
    let timeout = timeout(session, &values);
    let deadline = tokio::time::Instant::now() + timeout;
    let slots = Arc::clone(&session.coordinator.0.slots);
    let planning = async {
        let slot = slots.acquire_owned().await.map_err(|_| Error::unavailable("the coordinator is stopping"))?;
        Ok::<_, Error>((slot, physical(session, &plan, sql, life).await?))
    };
    let (slot, planned) = tokio::time::timeout_at(deadline, planning).await.map_err(|_| late(timeout))??;
    let admitted = connectors::admit(&planned.plan, &session.coordinator.0.catalogs);
    let admitted = tokio::time::timeout_at(deadline, admitted).await.map_err(|_| {
        let text = format!("the query waited for connections to its sources until its limit of {}", seconds(timeout));
        Error::new(ErrorKind::ResourceExhausted, text)
            .hint("Run fewer queries at once, or raise max_connections of the catalogs.")
    })??;
    life.0.run_by(planned.crew.clone());
    let rows =
        execute_stream(Arc::clone(&planned.plan), planned.state.task_ctx()).map_err(|error| explain(&error, sql))?;
    let coordinator = session.coordinator.clone();
    Ok(Run {
        rows,
        schema,
        planned,
        sql: sql.to_owned(),
        values,
        deadline,
        timeout,
        coordinator,
        _slot: slot,
        _admitted: admitted,
    })
}

/// How long a statement may take.
fn timeout(session: &Session, values: &Values) -> Duration {
    let limit = session.coordinator.config().timeout;
    values.timeout.map_or(limit, |wanted| wanted.min(limit))
}

fn late(timeout: Duration) -> Error {
    Error::new(ErrorKind::Timeout, format!("the query took longer than its limit of {}", seconds(timeout)))
        .hint("SET timeout = '…' changes the limit within what the operator allows.")
}

fn seconds(duration: Duration) -> String {
    match duration.as_millis() {
        millis if millis % 1000 == 0 => format!("{} s", millis / 1000),
        millis => format!("{millis} ms"),
    }
}

/// A plan that runs.
pub(crate) struct Run {
    rows: datafusion::execution::SendableRecordBatchStream,
    schema: SchemaRef,
    planned: Planned,
    sql: String,
    values: Values,
    deadline: tokio::time::Instant,
    timeout: Duration,
    coordinator: crate::Coordinator,
    _slot: tokio::sync::OwnedSemaphorePermit,
    /// Drops after the rows, which give their connections back.
    _admitted: Vec<connector_spi::Guard>,
}

impl Run {
    /// The rows, each wait of which ends by a batch, an error, the deadline, a cancel or the loss of a worker.
    fn stream(self: Box<Self>, life: Life) -> BatchStream {
        let lost = self.planned.crew.clone().lost().boxed();
        let cancelled = Arc::clone(&life.0).cancelled().boxed();
        let state =
            Some((self, life, futures::future::select(lost, cancelled).map(|end| end.factor_first().0).boxed()));
        futures::stream::unfold(state, |state| async move {
            let (mut run, life, mut end) = state?;
            let next = tokio::select! {
                biased;
                ended = &mut end => Some(Err(ended)),
                next = std::panic::AssertUnwindSafe(run.rows.next()).catch_unwind() => match next {
                    Ok(next) => next.map(|batch| batch.map_err(|error| explain(&error, &run.sql))),
                    Err(_) => Some(Err(Error::internal("an operator failed unexpectedly"))),
                },
                () = tokio::time::sleep_until(run.deadline) => Some(Err(late(run.timeout))),
            };
            let batch = match next {
                None => {
                    life.end(Ok(()));
                    return None;
                }
                Some(batch) => batch.and_then(|batch| run.accept(&batch, &life.0)),
            };
            match batch {
                Ok(batch) => Some((Ok(batch), Some((run, life, end)))),
                Err(error) => {
                    if let Some(worker) = error.context("worker") {
                        run.coordinator.0.workers.suspect(worker);
                    }
                    let error = error.with("query", &life.0.id);
                    life.end(Err(error.clone()));
                    Some((Err(error), None))
                }
            }
        })
        .boxed()
    }

    fn accept(
        &self,
        batch: &datafusion::arrow::record_batch::RecordBatch,
        query: &Query,
    ) -> Result<datafusion::arrow::record_batch::RecordBatch> {
        let rows = query.add_rows(batch.num_rows());
        if self.values.max_rows > 0 && rows > self.values.max_rows {
            let text = format!("the result has more than {} rows", self.values.max_rows);
            return Err(
                Error::new(ErrorKind::ResourceExhausted, text).hint("SET max_rows = 0 lifts the session's limit.")
            );
        }
        to_wire(batch, &self.schema)
    }

    /// Runs to the end and adds up the single count column.
    async fn count(self, life: &Life) -> Result<u64> {
        let mut rows = Box::new(self).stream(Life(Arc::clone(&life.0)));
        let mut total = 0;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            let counts = batch.column(0).as_any().downcast_ref::<datafusion::arrow::array::UInt64Array>();
            total += counts.map_or(0, |counts| counts.iter().flatten().sum::<u64>());
        }
        Ok(total)
    }
}

/// Runs a query for `CREATE TABLE AS`: its rows in wire types.
pub(crate) async fn rows_of(
    session: &Session,
    plan: LogicalPlan,
    sql: &str,
    life: &Life,
) -> Result<(SchemaRef, BatchStream)> {
    let schema = wire_schema(plan.schema().as_arrow());
    let run = start(session, plan, sql, life, Arc::clone(&schema)).await?;
    Ok((schema, Box::new(run).stream(Life(Arc::clone(&life.0)))))
}

/// Runs a query to its end and tells what every node did, and where each task ran.
async fn analyzed(session: &Session, plan: LogicalPlan, sql: &str, life: &Life) -> Result<String> {
    let schema = wire_schema(plan.schema().as_arrow());
    let run = start(session, plan, sql, life, schema).await?;
    let (made, crew, local) = (Arc::clone(&run.planned.plan), run.planned.crew.clone(), run.planned.local.clone());
    let mut rows = Box::new(run).stream(Life(Arc::clone(&life.0)));
    while let Some(batch) = rows.next().await {
        batch?;
    }
    let format = datafusion_distributed::DistributedMetricsFormat::Aggregated;
    let told = datafusion_distributed::explain_analyze(made, format);
    let told = tokio::time::timeout(Duration::from_secs(10), told).await;
    let told =
        told.map_err(|_| Error::new(ErrorKind::Timeout, "the workers did not send their figures within 10 s"))?;
    let mut text = told.map_err(|error| explain(&error, sql))?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    for (stage, workers) in crew.routes().into_iter().enumerate() {
        for (task, worker) in workers.into_iter().enumerate() {
            text.push_str(&format!("stage {} task {task} ran on {worker}\n", stage + 1));
        }
    }
    if let Some(why) = local {
        text.push_str(&format!("ran on the coordinator: {why}\n"));
    }
    Ok(text)
}
