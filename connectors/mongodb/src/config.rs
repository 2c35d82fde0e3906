//! The options of a catalog.

use std::collections::HashMap;
use std::time::Duration;

use connector_spi::{Error, OptionKind, OptionSpec, Options, Result, nearest};
use mongodb::error::ErrorKind;
use mongodb::options::ConnectionString;
use serde::Deserialize;

use crate::types::Kind;

/// Every option.
pub(crate) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "url",
        kind: OptionKind::Secret,
        doc: "Where the deployment is: mongodb://user:password@host:port/?options or mongodb+srv://…",
        default: None,
        required: true,
    },
    OptionSpec::optional("user", OptionKind::Text, None, "The user, in place of the url's."),
    OptionSpec::optional("password", OptionKind::Secret, None, "The password, in place of the url's."),
    OptionSpec::optional(
        "database",
        OptionKind::Text,
        None,
        "The only database that is seen; without it all but admin, config and local.",
    ),
    OptionSpec::optional(
        "max_connections",
        OptionKind::Integer,
        Some("10"),
        "The most connections of each process to each server, 1 to 1000.",
    ),
    OptionSpec::optional(
        "split_size",
        OptionKind::Integer,
        Some("33554432"),
        "A collection is read by several cursors, each of at least about this many bytes of it; 4096 or more.",
    ),
    OptionSpec::optional(
        "schema_sample",
        OptionKind::Integer,
        Some("1000"),
        "How many documents decide what columns a collection has, 1 to 100000; a collection of no more is looked at whole.",
    ),
    OptionSpec::optional(
        "schema_ttl",
        OptionKind::Integer,
        Some("60"),
        "For how many seconds a sample is good, 0 to 86400.",
    ),
    OptionSpec::optional(
        "on_misfit",
        OptionKind::Text,
        Some("error"),
        "What a value becomes that is not of its column's type: error or null (counted in EXPLAIN ANALYZE).",
    ),
    OptionSpec::optional(
        "document_column",
        OptionKind::Text,
        None,
        "The name of one more column of every table: the whole document as extended JSON.",
    ),
    OptionSpec::optional(
        "tables",
        OptionKind::Structure,
        None,
        "Declared columns: an array of tables with collection, database where there are several, and columns = [{ name, type }].",
    ),
    OptionSpec::optional("writable", OptionKind::Boolean, Some("false"), "Whether statements may write."),
    OptionSpec::optional(
        "passthrough",
        OptionKind::Boolean,
        Some("false"),
        "Whether TABLE(catalog.system.query('database', 'collection', '[pipeline]')) may read.",
    ),
];

/// How long a server may take to be found and to accept a connection.
pub(crate) const CONNECT: Duration = Duration::from_secs(5);

/// What the options say.
pub(crate) struct Settings {
    pub(crate) catalog: String,
    pub(crate) url: ConnectionString,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: Option<String>,
    pub(crate) max_connections: u32,
    pub(crate) split_bytes: u64,
    pub(crate) sample: u32,
    pub(crate) ttl: Duration,
    pub(crate) lenient: bool,
    pub(crate) document_column: Option<String>,
    pub(crate) declared: Declared,
    pub(crate) writable: bool,
    pub(crate) passthrough: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeclaredTable {
    database: Option<String>,
    collection: String,
    columns: Vec<DeclaredColumn>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeclaredColumn {
    name: String,
    #[serde(rename = "type")]
    kind: String,
}

impl Settings {
    /// Errors: `INVALID`; the text never holds the url, which may hold a password.
    pub(crate) fn read(catalog: &str, options: &Options) -> Result<Self> {
        let url = options.secret("url").ok_or_else(|| Error::invalid("option \"url\" is missing"))?;
        let url = parsed(url.expose())?;
        let number = |name: &str, default: i64, from: i64, to: i64| match options.integer(name).unwrap_or(default) {
            number if (from..=to).contains(&number) => Ok(number),
            _ => Err(Error::invalid(format!("option \"{name}\" must be from {from} to {to}"))),
        };
        let on_misfit = options.text("on_misfit").unwrap_or("error");
        if !["error", "null"].contains(&on_misfit) {
            let text = format!("option \"on_misfit\" cannot be \"{on_misfit}\"");
            return Err(Error::invalid(text).hint("Write error or null."));
        }
        Ok(Self {
            catalog: catalog.to_owned(),
            url,
            user: options.text("user").map(str::to_owned),
            password: options.secret("password").map(|password| password.expose().to_owned()),
            database: options.text("database").map(str::to_owned),
            max_connections: u32::try_from(number("max_connections", 10, 1, 1000)?).unwrap_or(10),
            split_bytes: number("split_size", 32 << 20, 4096, i64::MAX)?.unsigned_abs(),
            sample: u32::try_from(number("schema_sample", 1000, 1, 100_000)?).unwrap_or(1000),
            ttl: Duration::from_secs(number("schema_ttl", 60, 0, 86_400)?.unsigned_abs()),
            lenient: on_misfit == "null",
            document_column: options.text("document_column").map(str::to_owned),
            declared: declared(options)?,
            writable: options.boolean("writable").unwrap_or(false),
            passthrough: options.boolean("passthrough").unwrap_or(false),
        })
    }

    /// The declared columns of a collection.
    pub(crate) fn declared(&self, database: &str, collection: &str) -> Option<&Vec<(String, Kind)>> {
        let of = |database: Option<&str>| self.declared.get(&(database.map(str::to_owned), collection.to_owned()));
        of(Some(database)).or_else(|| of(None))
    }

    /// `HOST:PORT`, for messages; several where the url names several.
    pub(crate) fn address(&self) -> String {
        use mongodb::options::HostInfo;
        match &self.url.host_info {
            HostInfo::HostIdentifiers(hosts) => hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            HostInfo::DnsRecord(name) => name.clone(),
            _ => "the server".to_owned(),
        }
    }
}

/// What the driver's parser says is shown where it names an option, and not where it could quote a password.
fn parsed(url: &str) -> Result<ConnectionString> {
    ConnectionString::parse(url).map_err(|cause| {
        // The driver writes its names in lower case.
        let text = match cause.kind.as_ref() {
            ErrorKind::InvalidArgument { message, .. } => message.clone(),
            _ => String::new(),
        };
        let plain = text.split_once(" is an invalid option").map(|(name, _)| name);
        let made = match plain.filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric()) && name.len() < 40) {
            Some(name) => {
                Error::invalid(format!("option \"url\" has the parameter \"{name}\", which MongoDB does not know"))
            }
            None => Error::invalid("option \"url\" cannot be read"),
        };
        let near = plain.and_then(|name| nearest(name, PARAMETERS.iter().copied()));
        made.hint(match near {
            Some(near) => format!("Did you mean \"{near}\"?"),
            None => "Write mongodb://user:password@host:port/?options with %xx for special characters.".to_owned(),
        })
    })
}

/// The parameters of a url that people mistype.
const PARAMETERS: [&str; 14] = [
    "authMechanism",
    "authSource",
    "connectTimeoutMS",
    "directConnection",
    "maxPoolSize",
    "readConcernLevel",
    "readPreference",
    "replicaSet",
    "retryReads",
    "serverSelectionTimeoutMS",
    "tls",
    "tlsCAFile",
    "tlsCertificateKeyFile",
    "tlsInsecure",
];

/// The columns of each collection, of one database or of any.
type Declared = HashMap<(Option<String>, String), Vec<(String, Kind)>>;

fn declared(options: &Options) -> Result<Declared> {
    let Some(value) = options.structure("tables") else { return Ok(HashMap::new()) };
    let tables: Vec<DeclaredTable> = serde_json::from_value(value.clone()).map_err(|cause| {
        Error::invalid(format!("option \"tables\" cannot be read: {cause}"))
            .hint("Write [[tables]] with collection and columns = [{ name = \"…\", type = \"…\" }].")
    })?;
    let mut found = HashMap::new();
    for DeclaredTable { database, collection, columns } in tables {
        let mut named: Vec<(String, Kind)> = Vec::with_capacity(columns.len());
        for DeclaredColumn { name, kind } in columns {
            let known = Kind::named(&kind).ok_or_else(|| {
                Error::invalid(format!("column \"{name}\" of \"{collection}\" cannot have the type \"{kind}\"")).hint(
                    "Types: boolean, integer, bigint, real, double, decimal(p,s), varchar, objectid, uuid, varbinary, \
                     timestamp, timestamp with time zone, date, time, json, and any of them with [].",
                )
            })?;
            if named.iter().any(|(other, _)| *other == name) {
                return Err(Error::invalid(format!("column \"{name}\" of \"{collection}\" is declared twice")));
            }
            named.push((name, known));
        }
        if found.insert((database, collection.clone()), named).is_some() {
            return Err(Error::invalid(format!("collection \"{collection}\" is declared twice")));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(pairs: &[(&str, serde_json::Value)]) -> Result<Settings> {
        let values: BTreeMap<String, _> = pairs.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        Settings::read("m", &Options::check(OPTIONS, values)?)
    }

    #[test]
    fn a_wrong_url_is_refused_without_its_password() {
        for url in
            ["mongo://u:sentinel@h", "mongodb://u:sen@tinel@h", "mongodb://u:sentinel@h/?tls", "mongodb://u:sentinel@"]
        {
            let error = read(&[("url", url.into())]).err().expect("refused");
            assert!(!format!("{error:?} {:?}", error.hint_text()).contains("sentinel"), "{url}: {error:?}");
        }
        let error = read(&[("url", "mongodb://h/?readPreferense=primary".into())]).err().expect("refused");
        assert_eq!(error.hint_text(), Some("Did you mean \"readPreference\"?"));
    }

    #[test]
    fn limits_words_and_declared_types_are_checked() {
        let url = ("url", serde_json::Value::from("mongodb://h:6"));
        for (key, value) in
            [("max_connections", "0"), ("split_size", "5"), ("schema_sample", "0"), ("on_misfit", "drop")]
        {
            assert!(read(&[url.clone(), (key, value.into())]).is_err(), "{key} = {value}");
        }
        let tables = |kind: &str| {
            let columns = serde_json::json!([{"collection": "c", "columns": [{"name": "a", "type": kind}]}]);
            read(&[url.clone(), ("tables", columns)])
        };
        assert_eq!(tables("date").expect("fine").declared("d", "c").map(Vec::len), Some(1));
        assert!(tables("dates").is_err());
        assert_eq!(read(&[url]).expect("fine").address(), "h:6");
    }
}
