//! The one client of a catalog, made when it is first needed; what is asked runs in tasks of its own.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bson::RawDocumentBuf;
use connector_spi::{Error, ErrorKind, Result, TableName};
use mongodb::error::ErrorKind as CauseKind;
use mongodb::options::{ClientOptions, Collation, Credential};
use mongodb::{Client, Collection};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::config::{CONNECT, Settings};
use crate::error::{Place, failed};

/// How long a question about names and schemas may take.
pub(crate) const ANSWER: Duration = Duration::from_secs(10);

/// A catalog's settings and its client.
pub(crate) struct Deployment {
    pub(crate) settings: Settings,
    client: OnceCell<Client>,
}

impl std::fmt::Debug for Deployment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deployment").field("address", &self.settings.address()).finish_non_exhaustive()
    }
}

impl Deployment {
    pub(crate) fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self { settings, client: OnceCell::new() })
    }

    pub(crate) fn place(&self, table: Option<&TableName>) -> Place {
        Place { address: self.settings.address(), table: table.map(ToString::to_string) }
    }

    /// The client. Errors: `INVALID` for options that contradict each other, `UNAVAILABLE` where a name does not resolve.
    pub(crate) async fn client(&self) -> Result<&Client> {
        self.client.get_or_try_init(|| self.made()).await
    }

    async fn made(&self) -> Result<Client> {
        let Settings { url, user, password, max_connections, .. } = &self.settings;
        let place = self.place(None);
        let late = |_| Error::unavailable(format!("could not find MongoDB at {} within {CONNECT:?}", place.address));
        let mut options = timeout(CONNECT * 2, ClientOptions::parse(url.clone()))
            .await
            .map_err(late)?
            .map_err(|cause| failed(&cause, &place))?;
        options.app_name = Some("tributary".to_owned());
        options.connect_timeout.get_or_insert(CONNECT);
        options.server_selection_timeout.get_or_insert(CONNECT);
        options.max_pool_size = Some(*max_connections);
        if user.is_some() || password.is_some() {
            let credential = options.credential.get_or_insert_with(Credential::default);
            credential.username = user.clone().or_else(|| credential.username.clone());
            credential.password = password.clone().or_else(|| credential.password.clone());
        }
        Client::with_options(options).map_err(|cause| match cause.kind.as_ref() {
            // Nothing is connected yet; what is read are files.
            CauseKind::Io(cause) => Error::invalid(format!("a file of the url's TLS options cannot be read: {cause}")),
            _ => failed(&cause, &place),
        })
    }

    pub(crate) async fn collection(&self, name: &TableName) -> Result<Collection<RawDocumentBuf>> {
        Ok(self.client().await?.database(&name.schema).collection(&name.table))
    }

    /// Runs a question to its end, however the caller ends: the driver's futures must not be dropped.
    ///
    /// Errors: what the server says, and `TIMEOUT` after [`ANSWER`].
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        table: Option<&TableName>,
        work: impl Future<Output = mongodb::error::Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.bounded(ANSWER, work).await?.map_err(|cause| failed(&cause, &self.place(table)))
    }

    /// [`Deployment::ask`] with a time of its own, for those who look at the server's answer themselves.
    pub(crate) async fn bounded<T: Send + 'static>(
        &self,
        most: Duration,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T> {
        match timeout(most, tokio::spawn(work)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(cause)) => Err(Error::internal(format!("a question to MongoDB was not answered: {cause}"))),
            Err(_) => {
                let (address, seconds) = (self.settings.address(), most.as_secs());
                Err(Error::new(ErrorKind::Timeout, format!("MongoDB at {address} did not answer within {seconds} s")))
            }
        }
    }
}

/// The answer; none where it took too long. Errors: any other.
pub(crate) fn in_time<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Err(error) if error.kind() == ErrorKind::Timeout => Ok(None),
        answer => answer.map(Some),
    }
}

/// Texts compare by their bytes, whatever the collection says.
pub(crate) fn simple() -> Collation {
    Collation::builder().locale("simple").build()
}
