//! A client's session: its settings, and statements prepared and run in it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use connector_spi::{Error, Result, nearest};
use connectors::session::Pushdown;
use datafusion::scalar::ScalarValue;

use crate::query::Prepared;
use crate::{Answer, Coordinator};

/// One setting that clients may change; nothing here lifts an operator's limit or reads files.
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) default: &'static str,
    pub(crate) doc: &'static str,
}

/// Every setting, in the order of the names.
pub(crate) const SETTINGS: &[Setting] = &[
    Setting {
        name: "max_rows",
        default: "0",
        doc: "The most rows a result may have; a larger one is an error. 0: as many as there are.",
    },
    Setting {
        name: "pushdown",
        default: "exact",
        doc: "What sources may take over: none, inexact (filters are applied again here) or exact.",
    },
    Setting {
        name: "time_zone",
        default: "UTC",
        doc: "The zone for now(), casts and display of points in time: a name such as Europe/Berlin, or +02:00.",
    },
    Setting {
        name: "timeout",
        default: "",
        doc: "How long a query may take: 500ms, 30s, 5m, 1h. Empty: the operator's limit, which it cannot exceed.",
    },
    Setting {
        name: "workers",
        default: "",
        doc: "The most workers a query uses; 0 runs it on the coordinator. Empty: all.",
    },
];

/// The values of one session.
#[derive(Debug, Clone)]
pub(crate) struct Values {
    pub(crate) catalog: String,
    pub(crate) schema: String,
    pub(crate) max_rows: u64,
    pub(crate) pushdown: Pushdown,
    pub(crate) time_zone: String,
    pub(crate) timeout: Option<Duration>,
    pub(crate) workers: Option<usize>,
}

impl Default for Values {
    fn default() -> Self {
        Self {
            catalog: "memory".to_owned(),
            schema: "main".to_owned(),
            max_rows: 0,
            pushdown: Pushdown::Exact,
            time_zone: "UTC".to_owned(),
            timeout: None,
            workers: None,
        }
    }
}

impl Values {
    /// Sets one value. Errors: `NOT_FOUND` for the name, with the nearest; `INVALID` for the value.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let number = |value: &str| {
            value
                .parse::<u64>()
                .map_err(|_| Error::invalid(format!("\"{value}\" is not a whole number")).with("setting", name))
        };
        match name {
            "catalog" => value.clone_into(&mut self.catalog),
            "schema" => value.clone_into(&mut self.schema),
            "max_rows" => self.max_rows = number(value)?,
            "pushdown" => self.pushdown = Pushdown::parse(value)?,
            "time_zone" => self.time_zone = zone(value)?,
            "timeout" => self.timeout = if value.is_empty() { None } else { Some(duration(value)?) },
            "workers" => self.workers = if value.is_empty() { None } else { Some(number(value)? as usize) },
            other => return Err(unknown(other)),
        }
        Ok(())
    }

    fn get(&self, name: &str) -> Result<String> {
        Ok(match name {
            "catalog" => self.catalog.clone(),
            "schema" => self.schema.clone(),
            "max_rows" => self.max_rows.to_string(),
            "pushdown" => match self.pushdown {
                Pushdown::None => "none",
                Pushdown::Inexact => "inexact",
                Pushdown::Exact => "exact",
            }
            .to_owned(),
            "time_zone" => self.time_zone.clone(),
            "timeout" => self.timeout.map(|timeout| format!("{}ms", timeout.as_millis())).unwrap_or_default(),
            "workers" => self.workers.map(|workers| workers.to_string()).unwrap_or_default(),
            other => return Err(unknown(other)),
        })
    }
}

fn unknown(name: &str) -> Error {
    let error = Error::not_found(format!("setting \"{name}\" does not exist")).with("name", name);
    match nearest(name, SETTINGS.iter().map(|setting| setting.name)) {
        Some(near) => error.hint(format!("Did you mean \"{near}\"?")),
        None => error.hint("SHOW ALL lists the settings."),
    }
}

fn zone(value: &str) -> Result<String> {
    match value.parse::<datafusion::arrow::array::timezone::Tz>() {
        Ok(_) => Ok(value.to_owned()),
        Err(_) => Err(Error::invalid(format!("time zone \"{value}\" does not exist"))
            .hint("Write a name such as Europe/Berlin, or an offset such as +02:00.")),
    }
}

fn duration(value: &str) -> Result<Duration> {
    let digits = value.len() - value.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = value.split_at(digits);
    let wrong = || Error::invalid(format!("\"{value}\" is not a duration")).hint("Write 500ms, 30s, 5m or 1h.");
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let factor = match unit.trim() {
        "ms" => 1,
        "s" | "" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    Ok(Duration::from_millis(number.checked_mul(factor).ok_or_else(wrong)?))
}

/// One client's session. Statements of a session may run at the same time.
pub struct Session {
    pub(crate) coordinator: Coordinator,
    user: String,
    values: Mutex<Values>,
}

impl Session {
    pub(crate) fn new(coordinator: Coordinator, user: &str) -> Self {
        Self { coordinator, user: user.to_owned(), values: Mutex::default() }
    }

    /// Parses a statement and resolves its names; nothing runs. `?` and `$n` are parameters.
    ///
    /// Errors: `SYNTAX` with position, `NOT_FOUND` with suggestion, and others of the user family.
    pub async fn prepare(&self, sql: &str) -> Result<Prepared> {
        crate::query::prepare(self, sql).await
    }

    /// Runs a prepared statement once. DDL and DML are complete when this returns; rows stream afterwards.
    ///
    /// Errors: `INVALID` where the number or type of `parameters` does not fit, and what the sources answer.
    /// Dropping the future or the answer cancels the query.
    pub async fn execute(&self, prepared: &Prepared, parameters: Vec<ScalarValue>) -> Result<Answer> {
        crate::query::execute(self, prepared, parameters).await
    }

    /// The user's name.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The current catalog and schema.
    pub fn location(&self) -> (String, String) {
        let values = self.values();
        (values.catalog, values.schema)
    }

    /// Sets one session setting, as `SET name = value` does; also `catalog` and `schema`.
    ///
    /// Errors: `NOT_FOUND` for the name, `INVALID` for the value.
    pub fn set(&self, name: &str, value: &str) -> Result<()> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner).set(name, value)
    }

    /// Sets a setting, or all of them, back to the default. Errors: `NOT_FOUND` for the name.
    pub(crate) fn reset(&self, name: Option<&str>) -> Result<()> {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = |setting: &&Setting| name.is_none_or(|name| name == setting.name);
        let mut found = SETTINGS.iter().filter(wanted).peekable();
        match (found.peek(), name) {
            (None, Some(name)) => Err(unknown(name)),
            _ => found.try_for_each(|setting| values.set(setting.name, setting.default)),
        }
    }

    /// One setting's value. Errors: `NOT_FOUND`.
    pub(crate) fn get(&self, name: &str) -> Result<String> {
        self.values().get(name)
    }

    /// The settings and their values, in the order of their names.
    pub fn settings(&self) -> Vec<(String, String)> {
        let values = self.values();
        let pair = |setting: &Setting| (setting.name.to_owned(), values.get(setting.name).unwrap_or_default());
        SETTINGS.iter().map(pair).collect()
    }

    pub(crate) fn values(&self) -> Values {
        self.values.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_outside_the_list_are_refused_with_the_nearest() {
        let mut values = Values::default();
        for name in ["datafusion.runtime.memory_limit", "datafusion.execution.batch_size", "runtime.temp_directory"] {
            assert!(values.set(name, "1").is_err(), "{name}");
        }
        let error = values.set("pushdwn", "none").expect_err("unknown");
        assert_eq!(error.hint_text(), Some("Did you mean \"pushdown\"?"));
    }

    #[test]
    fn values_are_checked() {
        let mut values = Values::default();
        assert!(values.set("pushdown", "some").is_err());
        assert!(values.set("time_zone", "Mars/Olympus").is_err());
        assert!(values.set("timeout", "soon").is_err());
        values.set("timeout", "500ms").expect("set");
        assert_eq!(values.timeout, Some(Duration::from_millis(500)));
        values.set("time_zone", "Asia/Kathmandu").expect("set");
    }
}
