//! Plans a query and answers it: sessions, statements, the query's life, the cluster's members and the front door.

mod change;
mod command;
pub mod config;
mod error;
mod history;
mod insert;
mod lexer;
mod literal;
mod naming;
mod passthrough;
mod precedence;

mod optimizer;
mod plan;
mod query;
mod server;
mod session;
mod show;
mod stack;
mod statement;
mod subquery;
mod system;
mod wire;
mod workers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use connector_spi::{Error, Result};
use connectors::channel::{Channels, Heartbeat};
use connectors::session::{EngineSettings, register};
use connectors::{CatalogList, Catalogs};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::optimizer::{Analyzer, AnalyzerRule, Optimizer};
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::prelude::SessionConfig;
use datafusion_distributed::{DistributedExt, SessionStateBuilderExt};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

pub use config::Config;
pub use error::render;
pub use query::{Answer, Prepared};
pub use session::Session;

use history::History;
use session::Values;
use workers::{Crew, Workers};

/// The engine of one process: catalogs, workers, running queries. Cheap to clone.
#[derive(Clone)]
pub struct Coordinator(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) catalogs: Arc<Catalogs>,
    pub(crate) workers: Workers,
    pub(crate) queries: Arc<History>,
    pub(crate) slots: Arc<Semaphore>,
    channels: Channels,
    runtime: Arc<RuntimeEnv>,
    stopping: AtomicBool,
}

impl Coordinator {
    /// Builds the engine: opens catalogs, no sockets.
    ///
    /// Errors: `INVALID` for a catalog file that does not parse or names unknown options.
    pub fn new(config: Config) -> Result<Self> {
        let catalogs = Arc::new(Catalogs::open_all(config.catalogs.as_deref())?);
        let channels = Channels::new(config.cluster_secret.as_ref())?;
        let runtime = connectors::session::runtime(&catalogs, config.memory_bytes)?;
        let inner = Arc::new(Inner {
            workers: Workers::new(channels.clone()),
            queries: Arc::default(),
            slots: Arc::new(Semaphore::new(config.concurrent_queries.max(1))),
            channels,
            runtime,
            stopping: AtomicBool::new(false),
            catalogs: Arc::clone(&catalogs),
            config,
        });
        catalogs.create("memory", "memory", std::collections::BTreeMap::new())?;
        catalogs.add_builtin("system", "system", Arc::new(system::System(Arc::downgrade(&inner))))?;
        catalogs.keep("memory");
        Ok(Self(inner))
    }

    /// Builds the engine and listens where `config` says.
    ///
    /// Errors: as [`Coordinator::new`]; `UNAVAILABLE` when an address cannot be bound.
    pub async fn start(config: Config) -> Result<Running> {
        let coordinator = Self::new(config)?;
        let (stop, stopped) = watch::channel(false);
        let door = server::flight(coordinator.clone())?;
        let mut tasks = Vec::new();
        let mut flight = None;
        if let Some(address) = coordinator.0.config.listen {
            let (listener, address) = bind(address).await?;
            flight = Some(address);
            tasks.push(tokio::spawn(server::serve_flight(door.clone(), listener, told(stopped.clone()))));
        }
        let mut http = None;
        if let Some(address) = coordinator.0.config.http {
            let (listener, address) = bind(address).await?;
            http = Some(address);
            tasks.push(tokio::spawn(server::serve_http(coordinator.clone(), listener, told(stopped.clone()))));
        }
        let members = Arc::downgrade(&coordinator.0);
        let sweeper = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(1));
            loop {
                ticks.tick().await;
                match members.upgrade() {
                    Some(inner) => inner.workers.sweep(),
                    None => return,
                }
            }
        });
        Ok(Running { coordinator, flight, http, door, stop, tasks, sweeper })
    }

    /// A new client session of `user`, with the default settings.
    pub fn session(&self, user: &str) -> Arc<Session> {
        Arc::new(Session::new(self.clone(), user))
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The catalogs of this process.
    pub fn catalogs(&self) -> &Arc<Catalogs> {
        &self.0.catalogs
    }

    /// Cancels a running query; false where there is none of that id.
    pub fn cancel(&self, query_id: &str) -> bool {
        self.0.queries.find(query_id).is_some_and(|query| {
            query.cancel();
            true
        })
    }

    /// How many queries run now.
    pub fn queries_running(&self) -> usize {
        self.0.queries.running()
    }

    /// How many workers can be used now.
    pub fn workers_alive(&self) -> usize {
        self.0.workers.crew(usize::MAX).len()
    }

    /// Whether new queries are refused since the coordinator ends.
    pub fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::Relaxed)
    }

    /// Takes a worker's heartbeat in; body and answer are JSON. The caller has checked the cluster secret.
    ///
    /// Errors: `INVALID` for a body that is no heartbeat.
    pub async fn heartbeat(&self, body: &[u8]) -> Result<Vec<u8>> {
        let beat: Heartbeat =
            serde_json::from_slice(body).map_err(|cause| Error::invalid(format!("not a heartbeat: {cause}")))?;
        let reply = self.0.workers.heartbeat(beat, &self.0.catalogs)?;
        serde_json::to_vec(&reply).map_err(|cause| Error::internal(cause.to_string()))
    }

    /// Figures for Prometheus, as text.
    pub fn metrics(&self) -> String {
        let pool = &self.0.runtime.memory_pool;
        let figures = [
            ("tributary_queries_running", "Queries that run now.", self.queries_running()),
            ("tributary_workers_alive", "Workers that can be used now.", self.workers_alive()),
            ("tributary_memory_reserved_bytes", "Memory that queries hold on this node.", pool.reserved()),
            ("tributary_catalogs", "Catalogs.", self.0.catalogs.all().len()),
        ];
        let line = |(name, help, value): (&str, &str, usize)| {
            format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n")
        };
        figures.into_iter().map(line).collect()
    }

    /// The state in which one query is planned and run.
    pub(crate) fn state(&self, values: &Values, crew: &Crew, query_id: &str) -> SessionState {
        let config = &self.0.config;
        let mut settings = EngineSettings::default();
        query_id.clone_into(&mut settings.query_id);
        settings.time_zone.clone_from(&values.time_zone);
        settings.workers = crew.len();
        settings.bytes_per_task = config.bytes_per_task;
        settings.catalogs_version = self.0.catalogs.version();
        let mut session = SessionConfig::new()
            .with_default_catalog_and_schema(&values.catalog, &values.schema)
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(false);
        // One partition would let an operator that needs all rows run once a task.
        let partitions = session.target_partitions().max(2);
        session = session.with_target_partitions(partitions);
        let options = session.options_mut();
        options.sql_parser.parse_float_as_decimal = true;
        options.sql_parser.map_string_types_to_utf8view = false;
        options.sql_parser.default_null_ordering = "nulls_last".to_owned();
        if config.bytes_per_task == 0 {
            options.optimizer.repartition_file_min_size = 0;
        }
        let mut rules = optimizer::filter_guard::FilterGuard::around(PhysicalOptimizer::default().rules);
        let sides = rules.iter().position(|rule| rule.name() == "join_selection").unwrap_or_default();
        rules.insert(sides, Arc::new(optimizer::join_order::JoinOrder));
        rules.extend(connectors::physical_rules());
        rules.push(Arc::new(optimizer::first_rows::FirstRows));
        let mut analysis: Vec<Arc<dyn AnalyzerRule + Send + Sync>> = vec![Arc::new(optimizer::comparable::Comparable)];
        analysis.extend(Analyzer::new().rules);
        let mut logical = Optimizer::new().rules;
        logical.insert(0, Arc::new(optimizer::precision::Precision));
        let list = CatalogList::new(Arc::clone(&self.0.catalogs), values.pushdown);
        let builder = SessionStateBuilder::new()
            .with_config(session)
            .with_runtime_env(Arc::clone(&self.0.runtime))
            .with_default_features()
            .with_catalog_list(Arc::new(list))
            .with_analyzer_rules(analysis)
            .with_optimizer_rules(logical)
            .with_optimizer_rule(Arc::new(optimizer::zero::BothZeros))
            .with_optimizer_rule(Arc::new(optimizer::unique_name::UniqueName))
            .with_physical_optimizer_rules(rules);
        let mut state = register(builder, &self.0.catalogs, &self.0.channels, settings)
            .with_distributed_planner()
            .with_distributed_worker_resolver(crew.clone())
            .with_distributed_route_tasks_handler(crew.clone())
            .build();
        // The time of now().
        state.mark_start_execution();
        state
    }
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let refused = |cause| Error::unavailable(format!("could not listen on {address}: {cause}"));
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok((listener, address))
}

async fn told(mut stopped: watch::Receiver<bool>) {
    // A dropped sender means stop as well.
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// A started coordinator; stops when dropped.
pub struct Running {
    /// The engine.
    pub coordinator: Coordinator,
    /// Where Flight SQL is served, if it is.
    pub flight: Option<SocketAddr>,
    /// Where health and metrics are served, if they are.
    pub http: Option<SocketAddr>,
    door: Arc<server::FlightDoor>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    sweeper: JoinHandle<()>,
}

impl Running {
    /// A channel to this coordinator's own Flight SQL service that needs no socket.
    ///
    /// Errors: `INTERNAL` where the service does not answer.
    pub async fn in_process(&self) -> Result<tonic::transport::Channel> {
        server::in_process(self.door.clone()).await
    }

    /// Refuses new queries, waits up to `grace` for running ones, then ends.
    pub async fn stop(mut self, grace: Duration) {
        let coordinator = self.coordinator.clone();
        coordinator.0.stopping.store(true, Ordering::Relaxed);
        let idle = async {
            while coordinator.queries_running() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(grace, idle).await.is_err() {
            tracing::warn!("{} queries were still running after the grace of {grace:?}", coordinator.queries_running());
            coordinator.0.queries.all().iter().for_each(|query| query.cancel());
        }
        self.stop.send_replace(true);
        for task in std::mem::take(&mut self.tasks) {
            // Connections that clients keep open do not hold the end up for long.
            if tokio::time::timeout(Duration::from_secs(1), task).await.is_err() {
                tracing::debug!("connections were still open at the end");
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.sweeper.abort();
    }
}
