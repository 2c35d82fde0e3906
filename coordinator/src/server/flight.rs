//! Flight SQL: each call finds its client, then one dispatch by command.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, Any, Command,
    DoPutPreparedStatementResult, DoPutUpdateResult, ProstMessageExt, TicketStatementQuery,
};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, Criteria, Empty, FlightData, FlightDescriptor, FlightEndpoint,
    FlightInfo, HandshakeRequest, HandshakeResponse, PollInfo, PutResult, SchemaAsIpc, SchemaResult, Ticket,
};
use bytes::Bytes;
use connector_spi::{BatchStream, Error, ErrorKind, Result};
use connectors::channel::HEARTBEAT_ACTION;
use datafusion::scalar::ScalarValue;
use futures::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::auth::Guard;
use super::client::{Client, Statement};
use super::status::status;
use super::{metadata, option};
use crate::Coordinator;

/// The service; shared by all connections.
pub(crate) struct FlightDoor {
    coordinator: Coordinator,
    guard: Guard,
}

type Answer<T> = std::result::Result<Response<T>, Status>;

/// The answer to CreatePreparedStatement, with the field that drivers of 2026 read and
/// arrow-flight 59 does not have.
#[derive(Clone, PartialEq, Message)]
struct PreparedResult {
    #[prost(bytes = "bytes", tag = "1")]
    handle: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    dataset_schema: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    parameter_schema: Bytes,
    #[prost(bool, optional, tag = "4")]
    is_update: Option<bool>,
}

const ACTIONS: &[(&str, &str)] = &[
    ("CreatePreparedStatement", "Prepares a statement."),
    ("ClosePreparedStatement", "Closes a prepared statement."),
    ("CancelFlightInfo", "Cancels the query of a FlightInfo."),
    ("CancelQuery", "Cancels the query of a FlightInfo."),
    ("SetSessionOptions", "Sets catalog, schema and settings."),
    ("GetSessionOptions", "Gets catalog, schema and settings."),
    ("CloseSession", "Ends the session."),
];

impl FlightDoor {
    pub(super) fn new(coordinator: Coordinator) -> Result<Self> {
        Ok(Self { guard: Guard::new(coordinator.clone())?, coordinator })
    }

    async fn caller<T>(&self, request: &Request<T>) -> std::result::Result<Arc<Client>, Status> {
        let peer = request.remote_addr().map_or_else(|| "in-process".to_owned(), |address| address.to_string());
        if self.coordinator.is_stopping() {
            return Err(status(&Error::unavailable("the server is stopping")));
        }
        self.guard.caller(request.metadata(), &peer).await.map_err(|error| status(&error))
    }

    /// The statement of a query command. Errors: `INVALID` for a command that is no query.
    async fn statement(&self, client: &Client, command: &Command) -> Result<Option<Statement>> {
        Ok(match command {
            Command::CommandStatementQuery(query) => {
                let prepared = client.session.prepare(&query.query).await?;
                Some(Statement { prepared, values: Vec::new() })
            }
            Command::CommandPreparedStatementQuery(query) => Some(client.statement(&query.prepared_statement_handle)?),
            _ => None,
        })
    }

    async fn info(&self, client: &Client, descriptor: FlightDescriptor) -> Result<FlightInfo> {
        let command = command(&descriptor.cmd)?;
        let (schema, ticket) = match self.statement(client, &command).await? {
            Some(statement) => {
                let schema = Arc::clone(&statement.prepared.schema);
                let ticket = TicketStatementQuery { statement_handle: client.await_fetch(statement) };
                (schema, ticket.as_any().encode_to_vec())
            }
            None => (metadata::schema(&command)?.ok_or_else(|| unknown(&command))?, descriptor.cmd.to_vec()),
        };
        let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(ticket));
        let info = FlightInfo::new()
            .with_endpoint(endpoint)
            .with_descriptor(descriptor)
            .with_total_records(-1)
            .with_total_bytes(-1);
        info.try_with_schema(&schema).map_err(|cause| Error::internal(cause.to_string()))
    }

    async fn rows(&self, client: &Client, ticket: &[u8]) -> Result<(SchemaRef, BatchStream)> {
        let command = command(ticket)?;
        if let Command::TicketStatementQuery(ticket) = &command {
            let statement = client.fetch(&ticket.statement_handle)?;
            let answer = client.session.execute(&statement.prepared, statement.values).await?;
            return Ok((answer.schema, answer.rows));
        }
        let told = unknown(&command);
        let batch = metadata::answer(&self.coordinator, command).await?.ok_or(told)?;
        Ok((batch.schema(), stream::once(async move { Ok(batch) }).boxed()))
    }

    /// Runs an update once for each row of values, or once without any.
    async fn update(&self, client: &Client, sql: &str) -> Result<i64> {
        let prepared = client.session.prepare(sql).await?;
        affected(client, &Statement { prepared, values: Vec::new() }).await
    }

    async fn put(&self, client: &Client, mut data: Streaming<FlightData>) -> Result<Vec<u8>> {
        let broken = |cause: Status| Error::invalid(format!("the upload broke off: {}", cause.message()));
        let first = data.message().await.map_err(broken)?.ok_or_else(|| Error::invalid("the upload is empty"))?;
        let descriptor =
            first.flight_descriptor.clone().ok_or_else(|| Error::invalid("the upload names no command"))?;
        let rest = stream::iter([Ok(first)]).chain(data).map_err(FlightError::from);
        match command(&descriptor.cmd)? {
            Command::CommandStatementUpdate(update) => {
                Ok(DoPutUpdateResult { record_count: self.update(client, &update.query).await? }.encode_to_vec())
            }
            Command::CommandPreparedStatementUpdate(update) => {
                let mut statement = client.statement(&update.prepared_statement_handle)?;
                let mut total = 0;
                let rows = values(rest).await?;
                let rows = if rows.is_empty() { vec![std::mem::take(&mut statement.values)] } else { rows };
                for row in rows {
                    statement.values = row;
                    total += affected(client, &statement).await?;
                }
                Ok(DoPutUpdateResult { record_count: total }.encode_to_vec())
            }
            Command::CommandPreparedStatementQuery(query) => {
                let mut rows = values(rest).await?;
                if rows.len() > 1 {
                    return Err(Error::unsupported("a query takes one row of parameters at a time"));
                }
                let handle = query.prepared_statement_handle;
                client.bind(&handle, rows.pop().unwrap_or_default())?;
                Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(handle) }.encode_to_vec())
            }
            other => Err(unknown(&other)),
        }
    }

    async fn prepare(&self, client: &Client, body: &[u8]) -> Result<Vec<u8>> {
        let request: ActionCreatePreparedStatementRequest = packed(body)?;
        let prepared = client.session.prepare(&request.query).await?;
        let bytes = |schema: &Schema| {
            let encoded: arrow_flight::IpcMessage = SchemaAsIpc::new(schema, &IpcWriteOptions::default())
                .try_into()
                .map_err(|cause: arrow::error::ArrowError| Error::internal(cause.to_string()))?;
            Ok::<_, Error>(encoded.0)
        };
        let dataset_schema = if prepared.is_update { Bytes::new() } else { bytes(&prepared.schema)? };
        let parameter_schema = bytes(&Schema::new(prepared.parameters.clone()))?;
        let is_update = Some(prepared.is_update);
        let result = PreparedResult { handle: client.keep(prepared)?, dataset_schema, parameter_schema, is_update };
        let type_url = "type.googleapis.com/arrow.flight.protocol.sql.ActionCreatePreparedStatementResult".to_owned();
        Ok(Any { type_url, value: result.encode_to_vec().into() }.encode_to_vec())
    }

    /// Takes an answer that was not fetched back; a running one ends when its stream is dropped.
    fn cancel(client: &Client, info: Option<FlightInfo>) -> bool {
        let tickets = info.into_iter().flat_map(|info| info.endpoint).filter_map(|endpoint| endpoint.ticket);
        let mut found = false;
        for ticket in tickets {
            if let Ok(Command::TicketStatementQuery(ticket)) = command(&ticket.ticket) {
                found |= client.fetch(&ticket.statement_handle).is_ok();
            }
        }
        found
    }

    async fn action(&self, client: &Client, action: &Action, headers: &MetadataMap) -> Result<Option<Vec<u8>>> {
        Ok(match action.r#type.as_str() {
            "CreatePreparedStatement" => Some(self.prepare(client, &action.body).await?),
            "ClosePreparedStatement" => {
                let request: ActionClosePreparedStatementRequest = packed(&action.body)?;
                client.close(&request.prepared_statement_handle);
                None
            }
            "CancelFlightInfo" => {
                let request = CancelFlightInfoRequest::decode(&*action.body)
                    .map_err(|cause| Error::invalid(cause.to_string()))?;
                // 1 = cancelled, 3 = not cancellable here.
                let status = if Self::cancel(client, request.info) { 1 } else { 3 };
                Some(arrow_flight::CancelFlightInfoResult { status }.encode_to_vec())
            }
            "CancelQuery" => {
                let request: arrow_flight::sql::ActionCancelQueryRequest = packed(&action.body)?;
                let info = FlightInfo::decode(&*request.info).map_err(|cause| Error::invalid(cause.to_string()))?;
                let result = if Self::cancel(client, Some(info)) { 1 } else { 3 };
                Some(arrow_flight::sql::ActionCancelQueryResult { result }.as_any().encode_to_vec())
            }
            "SetSessionOptions" => Some(option::set(client, &action.body)?),
            "GetSessionOptions" => Some(option::get(client)),
            "CloseSession" => {
                self.guard.logout(headers);
                Some(option::closed())
            }
            "BeginTransaction" | "EndTransaction" | "BeginSavepoint" | "EndSavepoint" => {
                return Err(Error::unsupported("transactions are not supported; each statement is one of its own"));
            }
            other => return Err(Error::unsupported(format!("the action \"{other}\" is not supported"))),
        })
    }
}

async fn affected(client: &Client, statement: &Statement) -> Result<i64> {
    let answer = client.session.execute(&statement.prepared, statement.values.clone()).await?;
    // A query sent as an update runs to its end and changes nothing.
    answer.rows.try_for_each(|_| async { Ok(()) }).await?;
    Ok(answer.affected.and_then(|rows| i64::try_from(rows).ok()).unwrap_or(0))
}

fn command(bytes: &[u8]) -> Result<Command> {
    let wrong = || Error::invalid("the request is no Flight SQL command");
    let any = Any::decode(bytes).map_err(|_| wrong())?;
    Command::try_from(any).map_err(|_| wrong())
}

fn unknown(command: &Command) -> Error {
    let name = command.type_url().rsplit('.').next().unwrap_or_default();
    match name {
        "" => Error::invalid("the request is no Flight SQL command"),
        name => Error::unsupported(format!("the command {name} is not supported")),
    }
}

fn packed<T: ProstMessageExt>(body: &[u8]) -> Result<T> {
    let wrong = || Error::invalid("the action's body is not what its type says");
    Any::decode(body).map_err(|_| wrong())?.unpack::<T>().map_err(|_| wrong())?.ok_or_else(wrong)
}

/// Rows of parameter values.
async fn values(
    data: impl Stream<Item = std::result::Result<FlightData, FlightError>> + Send + 'static,
) -> Result<Vec<Vec<ScalarValue>>> {
    let wrong = |cause: &dyn std::fmt::Display| Error::invalid(format!("the parameter values cannot be read: {cause}"));
    let mut batches = FlightRecordBatchStream::new_from_flight_data(data);
    let mut rows = Vec::new();
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(|cause| wrong(&cause))?;
        for row in 0..batch.num_rows() {
            let cell = |column: &arrow::array::ArrayRef| {
                ScalarValue::try_from_array(column, row).map_err(|cause| wrong(&cause))
            };
            rows.push(batch.columns().iter().map(cell).collect::<Result<Vec<_>>>()?);
        }
        if rows.len() > 100_000 {
            return Err(Error::new(
                ErrorKind::ResourceExhausted,
                "at most 100000 rows of parameters are accepted at once",
            ));
        }
    }
    Ok(rows)
}

fn encode(schema: SchemaRef, rows: BatchStream) -> BoxStream<'static, std::result::Result<FlightData, Status>> {
    let rows = rows.map_err(|error| FlightError::from(status(&error)));
    let flat = |error| match error {
        FlightError::Tonic(status) => *status,
        other => Status::internal(other.to_string()),
    };
    FlightDataEncoderBuilder::new().with_schema(schema).build(rows).map_err(flat).boxed()
}

#[tonic::async_trait]
impl FlightService for FlightDoor {
    type HandshakeStream = BoxStream<'static, std::result::Result<HandshakeResponse, Status>>;
    type ListFlightsStream = BoxStream<'static, std::result::Result<FlightInfo, Status>>;
    type DoGetStream = BoxStream<'static, std::result::Result<FlightData, Status>>;
    type DoPutStream = BoxStream<'static, std::result::Result<PutResult, Status>>;
    type DoExchangeStream = BoxStream<'static, std::result::Result<FlightData, Status>>;
    type DoActionStream = BoxStream<'static, std::result::Result<arrow_flight::Result, Status>>;
    type ListActionsStream = BoxStream<'static, std::result::Result<ActionType, Status>>;

    async fn handshake(&self, request: Request<Streaming<HandshakeRequest>>) -> Answer<Self::HandshakeStream> {
        let token = self.guard.login(request.metadata()).await.map_err(|error| status(&error))?;
        let payload = HandshakeResponse { protocol_version: 0, payload: token.clone().into() };
        let mut response = Response::new(stream::iter([Ok(payload)]).boxed());
        if let Ok(header) = format!("Bearer {token}").parse() {
            response.metadata_mut().insert("authorization", header);
        }
        Ok(response)
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Answer<FlightInfo> {
        let client = self.caller(&request).await?;
        let info = self.info(&client, request.into_inner()).await.map_err(|error| status(&error))?;
        Ok(Response::new(info))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Answer<SchemaResult> {
        let client = self.caller(&request).await?;
        let told = async {
            let command = command(&request.get_ref().cmd)?;
            let schema = match self.statement(&client, &command).await? {
                Some(statement) => statement.prepared.schema,
                None => metadata::schema(&command)?.ok_or_else(|| unknown(&command))?,
            };
            SchemaAsIpc::new(&schema, &IpcWriteOptions::default())
                .try_into()
                .map_err(|cause: arrow::error::ArrowError| Error::internal(cause.to_string()))
        };
        Ok(Response::new(told.await.map_err(|error| status(&error))?))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Answer<Self::DoGetStream> {
        let client = self.caller(&request).await?;
        let (schema, rows) = self.rows(&client, &request.get_ref().ticket).await.map_err(|error| status(&error))?;
        Ok(Response::new(encode(schema, rows)))
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Answer<Self::DoPutStream> {
        let client = self.caller(&request).await?;
        let app_metadata = self.put(&client, request.into_inner()).await.map_err(|error| status(&error))?.into();
        Ok(Response::new(stream::iter([Ok(PutResult { app_metadata })]).boxed()))
    }

    async fn do_action(&self, request: Request<Action>) -> Answer<Self::DoActionStream> {
        let body = if request.get_ref().r#type == HEARTBEAT_ACTION {
            self.guard.internal(request.metadata()).map_err(|error| status(&error))?;
            Some(self.coordinator.heartbeat(&request.get_ref().body).await.map_err(|error| status(&error))?)
        } else {
            let client = self.caller(&request).await?;
            self.action(&client, request.get_ref(), request.metadata()).await.map_err(|error| status(&error))?
        };
        let results: Vec<_> = body.into_iter().map(|body| Ok(arrow_flight::Result { body: body.into() })).collect();
        Ok(Response::new(stream::iter(results).boxed()))
    }

    async fn list_actions(&self, request: Request<Empty>) -> Answer<Self::ListActionsStream> {
        self.caller(&request).await?;
        let action = |(name, text): &(&str, &str)| {
            Ok(ActionType { r#type: (*name).to_owned(), description: (*text).to_owned() })
        };
        Ok(Response::new(stream::iter(ACTIONS.iter().map(action)).boxed()))
    }

    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Answer<PollInfo> {
        self.caller(&request).await?;
        Err(status(&Error::unsupported("PollFlightInfo is not supported; GetFlightInfo answers at once")))
    }

    async fn list_flights(&self, request: Request<Criteria>) -> Answer<Self::ListFlightsStream> {
        self.caller(&request).await?;
        Err(status(&Error::unsupported("ListFlights is not supported; GetTables lists tables")))
    }

    async fn do_exchange(&self, request: Request<Streaming<FlightData>>) -> Answer<Self::DoExchangeStream> {
        self.caller(&request).await?;
        Err(status(&Error::unsupported("DoExchange is not supported")))
    }
}
