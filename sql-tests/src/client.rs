//! A Flight SQL client, and on it the database that the sqllogictest runner talks to.

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{CommandStatementQuery, CommandStatementUpdate, DoPutUpdateResult, ProstMessageExt};
use arrow_flight::{FlightData, FlightDescriptor, FlightInfo, HandshakeRequest};
use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD as STANDARD;
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use sqllogictest::{AsyncDB, DBOutput};
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::value::{Kind, kinds, rows};

/// The longest that one statement of a case may take.
const STATEMENT: Duration = Duration::from_secs(120);

/// What the server answered, or why it could not be asked. Displayed as the user sees it.
#[derive(Debug)]
pub struct Failure(String);

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self(status.message().to_owned())
    }
}

impl From<FlightError> for Failure {
    fn from(error: FlightError) -> Self {
        match error {
            FlightError::Tonic(status) => (*status).into(),
            other => Self(other.to_string()),
        }
    }
}

fn failure(error: impl std::fmt::Display) -> Failure {
    Failure(error.to_string())
}

/// The rows of a query.
#[derive(Debug)]
pub struct Answer {
    /// The columns, as announced before the rows.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
}

impl Answer {
    /// The rows as text, in the order of arrival.
    pub fn rows(&self) -> Result<Vec<Vec<String>>, Failure> {
        let mut all = Vec::new();
        for batch in &self.batches {
            all.extend(rows(batch).map_err(failure)?);
        }
        Ok(all)
    }
}

/// One session with a server.
#[derive(Debug, Clone)]
pub struct Client {
    flight: FlightServiceClient<Channel>,
    token: Option<String>,
}

impl Client {
    /// Connects to `HOST:PORT` and logs in, which gives the client a session of its own.
    pub async fn connect(address: &str) -> Result<Self, Failure> {
        Self::login(address, "test", "").await
    }

    /// Connects with a name and a password.
    pub async fn login(address: &str, user: &str, password: &str) -> Result<Self, Failure> {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(failure)?;
        let channel = endpoint.connect_timeout(Duration::from_secs(10)).connect().await.map_err(failure)?;
        let flight = FlightServiceClient::new(channel).max_decoding_message_size(256 << 20);
        let mut client = Self { flight, token: None };
        let mut request = Request::new(futures::stream::iter([HandshakeRequest::default()]));
        let basic = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        request.metadata_mut().insert("authorization", MetadataValue::try_from(basic).map_err(failure)?);
        let answer = client.flight.handshake(request).await?;
        let token = answer.metadata().get("authorization").and_then(|value| value.to_str().ok()).map(str::to_owned);
        // The stream is read to its end, or the server would see a call that was cut off.
        let _: Vec<_> = answer.into_inner().try_collect().await?;
        client.token = token;
        Ok(client)
    }

    fn request<T>(&self, message: T) -> Result<Request<T>, Failure> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", MetadataValue::try_from(token.as_str()).map_err(failure)?);
        }
        Ok(request)
    }

    /// Announces a query; the rows are fetched with [`Client::fetch`].
    pub async fn announce(&mut self, sql: &str) -> Result<FlightInfo, Failure> {
        let command = CommandStatementQuery { query: sql.to_owned(), transaction_id: None };
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        let request = self.request(descriptor)?;
        Ok(self.flight.get_flight_info(request).await?.into_inner())
    }

    /// Fetches the rows of an announced query.
    pub async fn fetch(&mut self, info: FlightInfo) -> Result<Answer, Failure> {
        let schema = info.clone().try_decode_schema().map_err(failure)?;
        let mut batches = Vec::new();
        for endpoint in info.endpoint {
            let request = self.request(endpoint.ticket.unwrap_or_default())?;
            let frames = self.flight.do_get(request).await?.into_inner().map_err(FlightError::from);
            let mut stream = FlightRecordBatchStream::new_from_flight_data(frames);
            while let Some(batch) = stream.next().await {
                batches.push(batch?);
            }
        }
        Ok(Answer { schema: schema.into(), batches })
    }

    /// Runs a query.
    pub async fn query(&mut self, sql: &str) -> Result<Answer, Failure> {
        let info = self.announce(sql).await?;
        self.fetch(info).await
    }

    /// Runs a statement that gives no rows; the number of rows that it changed, where the server knows it.
    pub async fn update(&mut self, sql: &str) -> Result<Option<u64>, Failure> {
        let command = CommandStatementUpdate { query: sql.to_owned(), transaction_id: None };
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        let data = FlightData { flight_descriptor: Some(descriptor), ..FlightData::default() };
        let request = self.request(futures::stream::iter([data]))?;
        let mut answers = self.flight.do_put(request).await?.into_inner();
        let Some(answer) = answers.message().await? else {
            return Ok(None);
        };
        let result = DoPutUpdateResult::decode(answer.app_metadata).map_err(failure)?;
        Ok(u64::try_from(result.record_count).ok())
    }
}

/// Whether a statement gives rows: decided by its first word, as a person would.
fn gives_rows(sql: &str) -> bool {
    let text = sql.lines().filter(|line| !line.trim_start().starts_with("--")).collect::<Vec<_>>().join(" ");
    let word =
        text.trim_start().split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default().to_ascii_uppercase();
    ![
        "CREATE", "DROP", "INSERT", "UPDATE", "DELETE", "MERGE", "COPY", "USE", "SET", "RESET", "KILL", "ALTER",
        "TRUNCATE",
    ]
    .contains(&word.as_str())
}

#[async_trait]
impl AsyncDB for Client {
    type Error = Failure;
    type ColumnType = Kind;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<Kind>, Failure> {
        let work = async {
            if gives_rows(sql) {
                let answer = self.query(sql).await?;
                Ok(DBOutput::Rows { types: kinds(&answer.schema), rows: answer.rows()? })
            } else {
                Ok(DBOutput::StatementComplete(self.update(sql).await?.unwrap_or(0)))
            }
        };
        let late = |_| Failure(format!("the test gave up: no answer within {} s", STATEMENT.as_secs()));
        tokio::time::timeout(STATEMENT, work).await.map_err(late)?
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "tributary"
    }

    async fn sleep(time: Duration) {
        tokio::time::sleep(time).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_told_from_queries_by_their_first_word() {
        assert!(gives_rows("-- insert\nSELECT 1") && gives_rows("(VALUES (1))") && gives_rows("explain select 1"));
        assert!(!gives_rows("insert into t values (1)") && !gives_rows("  USE a.b") && !gives_rows("SET x = 1"));
    }
}
