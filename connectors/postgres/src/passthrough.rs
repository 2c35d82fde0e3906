//! `TABLE(catalog.system.query('…'))`: SQL of Postgres' own, read like a table.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use connector_spi::{Column, Error, ErrorKind, Result, Table};
use futures::future;
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_postgres::types::{Kind as Form, Type};

use crate::metadata::Facts;
use crate::pool::{Pool, WAIT, begin_own};
use crate::types::{Collation, Described, Kind};

/// How long Postgres may take to say what a query returns.
const ANSWER: Duration = Duration::from_secs(10);

/// The query as a part of another. The line ends before the parenthesis, so that a comment does.
pub(crate) fn enclosed(query: &str) -> String {
    format!("({query}\n) AS part")
}

/// The columns that a query returns; nothing of it runs. Postgres refuses in this place what is no query or would write.
///
/// Errors: `UNSUPPORTED` where the catalog does not allow it; `INVALID` for other than one argument, for two columns of
/// one name, and for what Postgres does not take.
pub(crate) async fn describe(pool: &Arc<Pool>, arguments: &[String]) -> Result<Table> {
    if !pool.settings.passthrough {
        let text = "the catalog does not allow queries in the language of Postgres";
        return Err(Error::unsupported(text).hint("Its option passthrough = true allows them."));
    }
    let [query] = arguments else {
        let text = format!("query takes one text, {} were given", arguments.len());
        return Err(Error::invalid(text).hint("Write TABLE(catalog.system.query('SELECT …'))."));
    };
    if query.contains('\0') {
        return Err(Error::invalid("text in Postgres cannot hold the character NUL"));
    }
    let place = pool.place(None);
    let mut lease = pool.lease(WAIT).await?;
    lease.lend();
    let text = format!("SELECT * FROM {}", enclosed(query));
    let begin = begin_own();
    let describe = async |client: &Client| {
        // The second fails where the first did, and may be heard first.
        let both = future::join(client.prepare(&text), client.query_typed("SHOW server_encoding", &[]));
        let (statement, encoding) = both.await;
        Ok((statement?, encoding?))
    };
    let answered = timeout(ANSWER, lease.transact(&begin, describe)).await.map_err(|_| pool.late(ANSWER))??;
    let (statement, encoding) = match answered {
        Ok(answered) => answered,
        Err(error) => {
            let message = error.as_db_error().map(|answer| answer.message().to_owned());
            return Err(match (lease.failed(&error, &place).await, message) {
                (made, Some(message)) if made.kind() == ErrorKind::Source => {
                    Error::invalid(format!("Postgres does not take the query: {message}"))
                }
                (made, _) => made,
            });
        }
    };
    let unicode = encoding.first().and_then(|row| row.try_get::<_, &str>(0).ok()) == Some("UTF8");
    // What collates an expression is not known.
    let collation = if unicode { Collation::Loose } else { Collation::Foreign };
    let mut names = HashSet::new();
    let mut columns = Vec::with_capacity(statement.columns().len());
    for column in statement.columns() {
        if !names.insert(column.name()) {
            let text = format!("the query returns two columns \"{}\"", column.name());
            return Err(Error::invalid(text).hint("Give each a name of its own by AS."));
        }
        let element = match column.type_().kind() {
            Form::Array(element) => Some(known(element)),
            _ => None,
        };
        let described = Described { name: known(column.type_()), modifier: column.type_modifier(), element, collation };
        let kind = Kind::of(&described, &pool.settings.choices);
        columns.push(Column::new(column.name(), kind.data_type(), true).with_native(kind.native()?));
    }
    // Before the transaction ends: a pooler may give the session to another one then. The driver prepares statements of
    // its own too, to ask about types that it does not know.
    drop(statement);
    let forgotten = timeout(ANSWER, lease.client()?.batch_execute("DEALLOCATE ALL")).await;
    if let Err(error) = forgotten.map_err(|_| pool.late(ANSWER))? {
        return Err(lease.failed(&error, &place).await);
    }
    lease.finish().await;
    let mut table = Table::new(columns);
    table.native = Facts { query: Some(query.clone()), ..Facts::default() }.text()?;
    Ok(table)
}

/// The name of a type of Postgres' own; empty for any other.
fn known(of: &Type) -> &str {
    if of.schema() == "pg_catalog" { of.name() } else { "" }
}
