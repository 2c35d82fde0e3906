//! Joining, staying and leaving: one call a second to the coordinator, on a thread of its own so
//! that busy fragments cannot delay it.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::Action;
use arrow_flight::flight_service_client::FlightServiceClient;
use connector_spi::{Error, Result};
use connectors::Catalogs;
use connectors::channel::{
    BUILD, Channels, HEARTBEAT_ACTION, HEARTBEAT_INTERVAL, Heartbeat, HeartbeatReply, SECRET_HEADER,
};
use tokio::sync::oneshot;
use tonic::Request;
use tonic::metadata::MetadataValue;

use crate::Config;

/// The thread that beats.
pub(crate) struct Heart {
    leave: oneshot::Sender<oneshot::Sender<()>>,
}

impl Heart {
    pub(crate) fn start(config: &Config, address: SocketAddr, catalogs: Arc<Catalogs>) -> Result<Self> {
        let (leave, leaving) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|cause| Error::internal(format!("could not start the heartbeat: {cause}")))?;
        let beat = Beat {
            channels: Channels::new(Some(&config.secret))?,
            coordinator: format!("http://{}", config.coordinator),
            beat: Heartbeat {
                url: format!("http://{}", reachable(address, &config.coordinator)),
                incarnation: uuid::Uuid::new_v4().to_string(),
                build: BUILD.to_owned(),
                catalogs_version: 0,
                leaving: false,
            },
            catalogs,
            last: None,
        };
        std::thread::Builder::new()
            .name("heartbeat".to_owned())
            .spawn(move || runtime.block_on(beat.run(leaving)))
            .map_err(|cause| Error::internal(format!("could not start the heartbeat: {cause}")))?;
        Ok(Self { leave })
    }

    /// Tells the coordinator that the worker goes; waits for that, up to two seconds.
    pub(crate) async fn leave(self) {
        let (done, told) = oneshot::channel();
        if self.leave.send(done).is_ok() {
            // Whether or not it was told, the worker goes.
            let _ = tokio::time::timeout(Duration::from_secs(2), told).await;
        }
    }
}

/// The address that others can reach: a wildcard address is replaced by the one this host uses
/// on its way to the coordinator.
fn reachable(address: SocketAddr, coordinator: &str) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    let local = UdpSocket::bind((address.ip(), 0)).and_then(|socket| {
        socket.connect(coordinator)?;
        socket.local_addr()
    });
    match local {
        Ok(local) => SocketAddr::new(local.ip(), address.port()),
        Err(_) => address,
    }
}

struct Beat {
    channels: Channels,
    coordinator: String,
    beat: Heartbeat,
    catalogs: Arc<Catalogs>,
    /// The last thing logged, so that it is logged once and not every second.
    last: Option<String>,
}

impl Beat {
    async fn run(mut self, mut leaving: oneshot::Receiver<oneshot::Sender<()>>) {
        let mut ticks = tokio::time::interval(HEARTBEAT_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.once().await,
                leave = &mut leaving => {
                    self.beat.leaving = true;
                    self.once().await;
                    if let Ok(done) = leave {
                        // The worker may have stopped waiting.
                        let _ = done.send(());
                    }
                    return;
                }
            }
        }
    }

    async fn once(&mut self) {
        self.beat.catalogs_version = self.catalogs.version();
        let said = match tokio::time::timeout(Duration::from_secs(3), self.send()).await {
            Ok(Ok(reply)) => {
                if let Some(catalogs) = reply.catalogs {
                    self.catalogs.replace(reply.catalogs_version, catalogs);
                }
                reply.refused.map(|why| format!("the coordinator does not use this worker: {why}"))
            }
            Ok(Err(why)) => Some(format!("could not reach the coordinator at {}: {why}", self.coordinator)),
            Err(_) => Some(format!("could not reach the coordinator at {}: no answer within 3 s", self.coordinator)),
        };
        if said != self.last {
            match &said {
                Some(text) => tracing::warn!("{text}"),
                None => tracing::info!("joined the coordinator at {}", self.coordinator),
            }
            self.last = said;
        }
    }

    async fn send(&self) -> Result<HeartbeatReply, String> {
        let channel = self.channels.channel(&self.coordinator).map_err(|error| error.message().to_owned())?;
        let body = serde_json::to_vec(&self.beat).map_err(|error| error.to_string())?;
        let mut request = Request::new(Action { r#type: HEARTBEAT_ACTION.to_owned(), body: body.into() });
        if let Some(secret) = self.channels.secret() {
            let secret = MetadataValue::try_from(secret.as_bytes()).map_err(|error| error.to_string())?;
            request.metadata_mut().insert(SECRET_HEADER, secret);
        }
        let said = |status: tonic::Status| status.message().to_owned();
        let mut answers = FlightServiceClient::new(channel).do_action(request).await.map_err(said)?.into_inner();
        let answer = answers.message().await.map_err(said)?.ok_or("an empty answer")?;
        serde_json::from_slice(&answer.body).map_err(|error| error.to_string())
    }
}
