//! Every case, once on a server alone and once on three workers that share even tiny data: a named test each.

use std::sync::Arc;

use anyhow::{Context, Result};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use sql_tests::case::{self, Run};
use sql_tests::cluster::{Cluster, Plan, root};
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

/// Cases under these folders need the servers of `servers/up`.
const NEED_SERVERS: [&str; 6] =
    ["federation/", "connectors/mongodb/", "connectors/postgres/", "connectors/s3/", "errors/server/", "traps/"];
/// Cases under this folder run over the same tables in each source, with and without its help.
const TRAPS: &str = "traps/";
/// A label for `skipif` and `onlyif`, and the schema with the tables of `etc/trap.sql`.
const SOURCES: [(&str, &str); 2] = [("postgres", "pg.trap"), ("mongodb", "mongo_trap.trap")];
const PUSHDOWN: [&str; 2] = ["exact", "none"];

/// One of the two shapes; started by the first case that needs it.
struct Shape {
    label: &'static str,
    plan: Plan,
    cluster: Mutex<Option<Result<Cluster, String>>>,
}

impl Shape {
    fn new(label: &'static str, workers: usize) -> Arc<Self> {
        let catalogs = Some(root().join("sql-tests/etc/catalogs"));
        let plan = Plan { workers, catalogs, spread: workers > 0 };
        Arc::new(Self { label, plan, cluster: Mutex::new(None) })
    }

    async fn address(&self) -> Result<String> {
        let mut cluster = self.cluster.lock().await;
        if cluster.is_none() {
            *cluster = Some(Cluster::start(&self.plan).await.map_err(|error| format!("{error:#}")));
        }
        match cluster.as_ref() {
            Some(Ok(cluster)) => cluster.address(),
            Some(Err(error)) => anyhow::bail!("could not start {}: {error}", self.label),
            None => anyhow::bail!("{} was not started", self.label),
        }
    }
}

fn main() -> Result<()> {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(4));
    let runtime = Arc::new(Runtime::new()?);
    let folder = root().join("sql-tests/cases");
    let shapes = [Shape::new("local", 0), Shape::new("cluster", 3)];
    let servers = std::env::var_os("TRIBUTARY_TEST_POSTGRES_URL").is_some()
        && std::env::var_os("TRIBUTARY_TEST_MONGODB_URL").is_some()
        && std::env::var_os("TRIBUTARY_TEST_MONGODB_LOGIN_URL").is_some()
        && std::env::var_os("TRIBUTARY_TEST_S3_ENDPOINT").is_some();
    let strict = std::env::var_os("CI").is_some();
    let mut trials = Vec::new();
    for shape in &shapes {
        for path in case::find(&folder)? {
            let name = path.strip_prefix(&folder)?.with_extension("").display().to_string();
            let need = !servers && NEED_SERVERS.iter().any(|folder| name.starts_with(folder));
            let mut push = |run: Run| trials.push(trial(Arc::clone(shape), Arc::clone(&runtime), run, need, strict));
            if !name.starts_with(TRAPS) {
                push(Run { path, name, labels: vec![shape.label], start: Vec::new() });
                continue;
            }
            for ((source, schema), pushdown) in SOURCES.into_iter().flat_map(|of| PUSHDOWN.map(|mode| (of, mode))) {
                let start = vec![format!("USE {schema}"), format!("SET pushdown = {pushdown}")];
                let name = format!("{name}::{source}::{pushdown}");
                push(Run { path: path.clone(), name, labels: vec![shape.label, source], start });
            }
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    for shape in &shapes {
        // Statics and leaked processes outlive `exit`; these do not.
        drop(runtime.block_on(shape.cluster.lock()).take());
    }
    conclusion.exit()
}

fn trial(shape: Arc<Shape>, runtime: Arc<Runtime>, run: Run, need: bool, strict: bool) -> Trial {
    Trial::ignorable_test(format!("{}::{}", shape.label, run.name), move || {
        let why = "needs the servers: eval \"$(sql-tests/servers/up)\"";
        match (need, strict) {
            (true, true) => return Err(Failed::from(why)),
            (true, false) => return Ok(Completion::ignored_with(why)),
            _ => {}
        }
        let work = async {
            let address = shape.address().await?;
            run.over(&address).await.with_context(|| run.path.display().to_string())
        };
        runtime.block_on(work).map_err(|error| Failed::from(format!("{error:#}")))?;
        Ok(Completion::Completed)
    })
}
