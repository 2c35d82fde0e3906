//! Who is alive: workers join by their first heartbeat and leave by saying so or by falling silent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use connector_spi::{Error, Result};
use connectors::Catalogs;
use connectors::channel::{BUILD, Channels, Heartbeat, HeartbeatReply};
use connectors::error::worker_lost;
use datafusion::error::Result as EngineResult;
use datafusion_distributed::{RouteTasksEvent, RouteTasksEventResponse, RouteTasksHandler, WorkerResolver};
use tokio::sync::watch;
use url::Url;

/// Silence after which a worker counts as lost.
const SILENCE: Duration = Duration::from_secs(6);

/// A worker as the coordinator knows it.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) url: Url,
    pub(crate) incarnation: String,
    pub(crate) build: String,
    pub(crate) joined: Instant,
    pub(crate) seen: Instant,
    /// Why it is not used, if it is not.
    pub(crate) refused: Option<String>,
}

/// The workers of this coordinator.
#[derive(Debug)]
pub(crate) struct Workers {
    members: Mutex<BTreeMap<String, Member>>,
    /// The incarnations that are alive and used; queries watch it.
    alive: watch::Sender<BTreeSet<String>>,
    channels: Channels,
}

impl Workers {
    pub(crate) fn new(channels: Channels) -> Self {
        Self { members: Mutex::default(), alive: watch::channel(BTreeSet::new()).0, channels }
    }

    /// Takes a heartbeat in and answers it.
    pub(crate) fn heartbeat(&self, beat: Heartbeat, catalogs: &Catalogs) -> Result<HeartbeatReply> {
        let url = Url::parse(&beat.url)
            .map_err(|_| Error::invalid(format!("worker address \"{}\" is not valid", beat.url)))?;
        let refused = (beat.build != BUILD).then(|| format!("it is build {}, the coordinator is {BUILD}", beat.build));
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let known = members.get(&beat.url).filter(|member| member.incarnation == beat.incarnation);
        if known.is_none() {
            // A restart at the same address has its own connections.
            self.channels.forget(&beat.url);
        }
        if beat.leaving {
            tracing::info!("worker {} left", beat.url);
            members.remove(&beat.url);
        } else {
            if known.is_none() {
                match &refused {
                    Some(why) => tracing::warn!("worker {} is not used: {why}", beat.url),
                    None => tracing::info!("worker {} joined", beat.url),
                }
            }
            let joined = known.map_or(now, |member| member.joined);
            let member = Member {
                url,
                incarnation: beat.incarnation,
                build: beat.build,
                joined,
                seen: now,
                refused: refused.clone(),
            };
            members.insert(beat.url, member);
        }
        self.publish(&members);
        drop(members);
        let (version, definitions) = catalogs.definitions();
        let catalogs = (version != beat.catalogs_version).then_some(definitions);
        Ok(HeartbeatReply { refused, catalogs_version: version, catalogs })
    }

    /// Drops workers that fell silent; called once a second.
    pub(crate) fn sweep(&self) {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.retain(|url, member| {
            let alive = member.seen.elapsed() < SILENCE;
            if !alive {
                tracing::warn!("worker {url} was silent for {SILENCE:?} and is not used any more");
                self.channels.forget(url);
            }
            alive
        });
        self.publish(&members);
    }

    /// A connection to this worker failed: it is not used until its next heartbeat.
    pub(crate) fn suspect(&self, address: &str) {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        if members.remove(&format!("http://{address}")).is_some() {
            tracing::warn!("worker {address} failed and is not used until it is heard of again");
            self.channels.forget(&format!("http://{address}"));
        }
        self.publish(&members);
    }

    pub(crate) fn all(&self) -> Vec<Member> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The workers to use for a query that is planned now: at most `limit`.
    pub(crate) fn crew(&self, limit: usize) -> Crew {
        let members: Vec<Member> =
            self.all().into_iter().filter(|member| member.refused.is_none()).take(limit).collect();
        Crew { members: Arc::new(members), routes: Arc::default(), alive: self.alive.subscribe() }
    }

    fn publish(&self, members: &BTreeMap<String, Member>) {
        let alive: BTreeSet<String> = members
            .values()
            .filter(|member| member.refused.is_none())
            .map(|member| member.incarnation.clone())
            .collect();
        self.alive.send_if_modified(|now| {
            let changed = *now != alive;
            *now = alive;
            changed
        });
    }
}

/// The workers of one query: fixed when it is planned.
#[derive(Debug, Clone)]
pub(crate) struct Crew {
    members: Arc<Vec<Member>>,
    routes: Arc<Mutex<Vec<Vec<Url>>>>,
    alive: watch::Receiver<BTreeSet<String>>,
}

impl Crew {
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Which worker runs which task, a list of addresses a stage, in the order stages were sent.
    pub(crate) fn routes(&self) -> Vec<Vec<String>> {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.iter().map(|urls| urls.iter().map(|url| url.authority().to_owned()).collect()).collect()
    }

    /// Ends when a worker that runs a task of the query is lost.
    pub(crate) async fn lost(mut self) -> Error {
        loop {
            if let Some(member) = self.missing() {
                return worker_lost(member.url.authority()).with("worker", member.url.authority());
            }
            if self.alive.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn missing(&mut self) -> Option<Member> {
        let alive = self.alive.borrow_and_update();
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let used = |member: &&Member| routes.iter().flatten().any(|url| *url == member.url);
        self.members.iter().filter(used).find(|member| !alive.contains(&member.incarnation)).cloned()
    }
}

impl WorkerResolver for Crew {
    fn get_urls(&self) -> EngineResult<Vec<Url>> {
        Ok(self.members.iter().map(|member| member.url.clone()).collect())
    }
}

impl RouteTasksHandler for Crew {
    fn handle(&self, event: RouteTasksEvent<'_>) -> Option<EngineResult<RouteTasksEventResponse>> {
        if self.members.is_empty() {
            return None;
        }
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        // Stages start at different workers, so that stages of one task do not pile up on the first.
        let start = routes.iter().map(Vec::len).sum::<usize>();
        let pick = |task: usize| self.members[(start + task) % self.members.len()].url.clone();
        let urls: Vec<Url> = (0..event.task_count).map(pick).collect();
        routes.push(urls.clone());
        Some(Ok(RouteTasksEventResponse::new(urls)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(url: &str, incarnation: &str, build: &str, leaving: bool) -> Heartbeat {
        Heartbeat {
            url: url.into(),
            incarnation: incarnation.into(),
            build: build.into(),
            catalogs_version: 0,
            leaving,
        }
    }

    fn workers() -> (Workers, Catalogs) {
        (Workers::new(Channels::new(None).expect("channels")), Catalogs::new(Vec::new()))
    }

    #[test]
    fn a_worker_of_another_build_is_not_used_and_is_told_why() {
        let (workers, catalogs) = workers();
        let reply = workers.heartbeat(beat("http://127.0.0.1:1", "a", "old", false), &catalogs).expect("answered");
        assert!(reply.refused.expect("refused").contains("old"));
        assert_eq!(workers.crew(10).len(), 0);
    }

    #[tokio::test]
    async fn a_restart_at_the_same_address_loses_the_queries_of_the_old_process() {
        let (workers, catalogs) = workers();
        workers.heartbeat(beat("http://127.0.0.1:1", "a", BUILD, false), &catalogs).expect("answered");
        let crew = workers.crew(10);
        crew.routes.lock().expect("lock").push(vec![Url::parse("http://127.0.0.1:1").expect("url")]);
        workers.heartbeat(beat("http://127.0.0.1:1", "b", BUILD, false), &catalogs).expect("answered");
        let error = tokio::time::timeout(Duration::from_secs(5), crew.lost()).await.expect("seen");
        assert_eq!(error.kind(), connector_spi::ErrorKind::WorkerLost);
        assert_eq!(workers.crew(10).len(), 1);
    }

    #[test]
    fn a_worker_that_leaves_is_gone_at_once() {
        let (workers, catalogs) = workers();
        workers.heartbeat(beat("http://127.0.0.1:1", "a", BUILD, false), &catalogs).expect("answered");
        workers.heartbeat(beat("http://127.0.0.1:1", "a", BUILD, true), &catalogs).expect("answered");
        assert_eq!(workers.crew(10).len(), 0);
    }
}
