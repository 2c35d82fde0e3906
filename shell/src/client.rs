//! The shell's one way to an engine: Flight SQL, over a socket or inside the process.

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::Any;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt};
use arrow_flight::{FlightDescriptor, HandshakeRequest};
use base64::Engine;
use connector_spi::{Error, Secret};
use futures::{StreamExt, TryStreamExt};
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

/// What went wrong, as the shell tells it.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A statement failed: exit code 1.
    Sql(String),
    /// No connection, or no login: exit code 3.
    Connection(String),
}

impl Failure {
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Sql(text) | Self::Connection(text) => text,
        }
    }
}

/// A connection with its session.
#[derive(Clone)]
pub(crate) struct Client {
    flight: FlightServiceClient<Channel>,
    token: MetadataValue<tonic::metadata::Ascii>,
}

/// The rows of one statement. Dropping it cancels the statement.
pub(crate) struct Rows {
    pub(crate) schema: SchemaRef,
    batches: FlightRecordBatchStream,
}

impl Rows {
    /// The next batch, if there is one.
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>, Failure> {
        self.batches.next().await.transpose().map_err(|error| match error {
            FlightError::Tonic(status) => failure(&status),
            other => Failure::Sql(format!("INTERNAL: {other}")),
        })
    }
}

impl Client {
    /// Connects to `grpc://HOST:PORT` or `grpc+tls://HOST:PORT` and logs in.
    pub(crate) async fn connect(server: &str, user: Option<&str>, password: &Secret) -> Result<Self, Failure> {
        let usage = || {
            let text = format!(
                "INVALID: \"{server}\" is not a server's address\nHINT: Write grpc://HOST:PORT or grpc+tls://HOST:PORT."
            );
            Failure::Connection(text)
        };
        let (scheme, address) = server.split_once("://").ok_or_else(usage)?;
        let tls = match scheme {
            "grpc" | "grpc+tcp" => false,
            "grpc+tls" => true,
            _ => return Err(usage()),
        };
        let scheme = if tls { "https" } else { "http" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
            .map_err(|_| usage())?
            .connect_timeout(Duration::from_secs(5))
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(10))
            .initial_stream_window_size(8 << 20)
            .initial_connection_window_size(32 << 20);
        if tls {
            endpoint = endpoint
                .tls_config(ClientTlsConfig::new().with_native_roots())
                .map_err(|cause| unreachable_server(server, &cause))?;
        }
        let channel = endpoint.connect().await.map_err(|cause| unreachable_server(server, &cause))?;
        Self::open(channel, user, password).await
    }

    /// Logs in over a channel.
    pub(crate) async fn open(channel: Channel, user: Option<&str>, password: &Secret) -> Result<Self, Failure> {
        let mut flight = FlightServiceClient::new(channel).max_decoding_message_size(usize::MAX);
        let mut request = Request::new(futures::stream::iter([HandshakeRequest::default()]));
        if let Some(user) = user {
            let login = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{}", password.expose()));
            let mut header: MetadataValue<_> =
                format!("Basic {login}").parse().map_err(|_| login_failed("the user's name cannot be sent"))?;
            header.set_sensitive(true);
            request.metadata_mut().insert("authorization", header);
        }
        let response = flight.handshake(request).await.map_err(|status| login_failed(status.message()))?;
        let token = response
            .metadata()
            .get("authorization")
            .cloned()
            .ok_or_else(|| login_failed("the server gave no session"))?;
        Ok(Self { flight, token })
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.token.clone());
        request
    }

    /// Runs one statement.
    pub(crate) async fn run(&self, sql: &str) -> Result<Rows, Failure> {
        let mut flight = self.flight.clone();
        let command: Any = CommandStatementQuery { query: sql.to_owned(), transaction_id: None }.as_any();
        let descriptor = FlightDescriptor::new_cmd(prost_bytes(&command));
        let info =
            flight.get_flight_info(self.request(descriptor)).await.map_err(|status| failure(&status))?.into_inner();
        let ticket = info.endpoint.iter().find_map(|endpoint| endpoint.ticket.clone());
        let ticket = ticket.ok_or_else(|| Failure::Sql("INTERNAL: the server gave no ticket".to_owned()))?;
        let schema = info.try_decode_schema().map_err(|cause| Failure::Sql(format!("INTERNAL: {cause}")))?;
        let data = flight.do_get(self.request(ticket)).await.map_err(|status| failure(&status))?.into_inner();
        let batches = FlightRecordBatchStream::new_from_flight_data(data.map_err(FlightError::from));
        Ok(Rows { schema: schema.into(), batches })
    }
}

fn prost_bytes(command: &Any) -> Vec<u8> {
    prost::Message::encode_to_vec(command)
}

fn unreachable_server(server: &str, cause: &dyn std::error::Error) -> Failure {
    let mut root: &dyn std::error::Error = cause;
    while let Some(source) = root.source() {
        root = source;
    }
    Failure::Connection(Error::unavailable(format!("could not connect to {server}: {root}")).to_string())
}

fn login_failed(text: &str) -> Failure {
    let text = if text.starts_with("UNAUTHENTICATED") { text.to_owned() } else { format!("UNAUTHENTICATED: {text}") };
    Failure::Connection(text)
}

fn failure(status: &Status) -> Failure {
    let known = !status.details().is_empty();
    match status.code() {
        Code::Unauthenticated => login_failed(status.message()),
        _ if known => Failure::Sql(status.message().to_owned()),
        Code::Unavailable | Code::Unknown | Code::Cancelled => {
            Failure::Connection(format!("UNAVAILABLE: the connection to the server was lost: {}", status.message()))
        }
        _ => Failure::Sql(format!("INTERNAL: {}", status.message())),
    }
}
