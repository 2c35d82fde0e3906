//! The options of a catalog.

use std::time::Duration;

use connector_spi::{Error, OptionKind, OptionSpec, Options, Result};
use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::tls::Trust;
use crate::types::{Choices, NumericAs};

/// Every option.
pub(crate) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "url",
        kind: OptionKind::Secret,
        doc: "Where the database is, as libpq writes it: postgres://user:password@host:port/database, or key=value pairs.",
        default: None,
        required: true,
    },
    OptionSpec::optional("user", OptionKind::Text, None, "The user, in place of the url's."),
    OptionSpec::optional("password", OptionKind::Secret, None, "The password, in place of the url's."),
    OptionSpec::optional(
        "max_connections",
        OptionKind::Integer,
        Some("10"),
        "The most connections that are at work at once, of all processes together, 1 to 1000.",
    ),
    OptionSpec::optional(
        "split_size",
        OptionKind::Integer,
        Some("8388608"),
        "A table is read by several connections, each of at least about this many bytes of it; 8192 or more.",
    ),
    OptionSpec::optional(
        "writable",
        OptionKind::Boolean,
        Some("false"),
        "Whether statements may write; else every session is read-only.",
    ),
    OptionSpec::optional(
        "passthrough",
        OptionKind::Boolean,
        Some("false"),
        "Whether TABLE(catalog.system.query('…')) may read with SQL of Postgres' own.",
    ),
    OptionSpec::optional(
        "numeric_as",
        OptionKind::Text,
        Some("varchar"),
        "What a numeric is whose own precision and scale make no decimal here: varchar, decimal(p,s) or double.",
    ),
    OptionSpec::optional(
        "money_as",
        OptionKind::Text,
        Some("varchar"),
        "What money is: varchar, as Postgres shows it, or decimal, which is decimal(19,2).",
    ),
    OptionSpec::optional(
        "on_infinity",
        OptionKind::Text,
        Some("error"),
        "What an infinite date or timestamp is: error or null.",
    ),
    OptionSpec::optional(
        "ssl_mode",
        OptionKind::Text,
        Some("prefer"),
        "disable, prefer, require, verify-ca or verify-full, as in libpq; in place of the url's sslmode.",
    ),
    OptionSpec::optional(
        "ssl_root_cert",
        OptionKind::Text,
        None,
        "A PEM file of the authorities that may sign the server's certificate; without it those of the system.",
    ),
];

/// How long one server may take to be connected to and to accept the login.
pub(crate) const CONNECT: Duration = Duration::from_secs(5);

/// What the options say.
pub(crate) struct Settings {
    pub(crate) catalog: String,
    pub(crate) config: Config,
    pub(crate) trust: Trust,
    pub(crate) max_connections: usize,
    pub(crate) split_bytes: u64,
    pub(crate) writable: bool,
    pub(crate) passthrough: bool,
    pub(crate) choices: Choices,
}

impl Settings {
    /// How many snapshots may be held at once.
    pub(crate) fn snapshots(&self) -> usize {
        (self.max_connections - 1) / 2
    }

    /// How many readers may read at once: all that snapshots, and a question to the catalog, leave.
    pub(crate) fn readers(&self) -> usize {
        (self.max_connections - self.snapshots() - 1).max(1)
    }

    /// Errors: `INVALID`; the text never holds the url, which may hold a password.
    pub(crate) fn read(catalog: &str, options: &Options) -> Result<Self> {
        let url = options.secret("url").ok_or_else(|| Error::invalid("option \"url\" is missing"))?;
        let Address { rest, mode, root } = Address::read(url.expose());
        let mut config: Config = rest.parse().map_err(|cause| unreadable(&cause))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(Error::invalid("option \"url\" names no host").hint(FORMS));
        }
        if let Some(user) = options.text("user") {
            config.user(user);
        }
        if config.get_user().is_none_or(str::is_empty) {
            return Err(
                Error::invalid("option \"url\" names no user").hint("Add it to the url, or set the option \"user\".")
            );
        }
        if let Some(password) = options.secret("password") {
            config.password(password.expose());
        }
        config
            .application_name("tributary")
            .connect_timeout(CONNECT)
            .keepalives(true)
            .keepalives_idle(Duration::from_secs(30))
            .keepalives_interval(Duration::from_secs(10))
            .keepalives_retries(3)
            .tcp_user_timeout(Duration::from_secs(60));
        let root = options.text("ssl_root_cert").map(str::to_owned).or(root);
        let (mode, trust) = match (options.text("ssl_mode").or(mode.as_deref()), config.get_ssl_mode()) {
            (Some(mode), _) => ssl(mode, root)?,
            (None, SslMode::Disable) => ssl("disable", root)?,
            (None, SslMode::Require) => ssl("require", root)?,
            (None, _) => ssl("prefer", root)?,
        };
        config.ssl_mode(mode);
        let max_connections = match options.integer("max_connections").unwrap_or(10) {
            most @ 1..=1000 => usize::try_from(most).unwrap_or(10),
            _ => return Err(Error::invalid("option \"max_connections\" must be from 1 to 1000")),
        };
        let split_bytes = match options.integer("split_size").unwrap_or(8 << 20).try_into() {
            Ok(bytes @ 8192..) => bytes,
            _ => return Err(Error::invalid("option \"split_size\" must be 8192 or more")),
        };
        Ok(Self {
            catalog: catalog.to_owned(),
            config,
            trust,
            max_connections,
            split_bytes,
            writable: options.boolean("writable").unwrap_or(false),
            passthrough: options.boolean("passthrough").unwrap_or(false),
            choices: choices(options)?,
        })
    }

    /// `HOST:PORT`, for messages; several where the url names several.
    pub(crate) fn address(&self) -> String {
        let ports = self.config.get_ports();
        let port = |at: usize| ports.get(at).or(ports.first()).copied().unwrap_or(5432);
        let hosts: Vec<String> = match self.config.get_hosts() {
            [] => self.config.get_hostaddrs().iter().map(ToString::to_string).collect(),
            hosts => hosts.iter().map(name).collect(),
        };
        hosts.iter().enumerate().map(|(at, host)| format!("{host}:{}", port(at))).collect::<Vec<_>>().join(", ")
    }

    /// How long an attempt to connect may take, all servers tried.
    pub(crate) fn patience(&self) -> Duration {
        let servers = self.config.get_hosts().len().max(self.config.get_hostaddrs().len());
        CONNECT * u32::try_from(servers.max(1)).unwrap_or(u32::MAX).min(10)
    }

    pub(crate) fn user(&self) -> &str {
        self.config.get_user().unwrap_or_default()
    }
}

const FORMS: &str = "Write postgres://user:password@host:port/database with %xx for special characters, or \"host=… user=… password=… dbname=…\".";

fn name(host: &Host) -> String {
    match host {
        Host::Tcp(host) if host.contains(':') => format!("[{host}]"),
        Host::Tcp(host) => host.clone(),
        Host::Unix(path) => path.display().to_string(),
    }
}

/// The driver's message is shown only where it is about a value of a known kind: it may quote the url.
fn unreadable(cause: &tokio_postgres::Error) -> Error {
    let cause = std::error::Error::source(cause).map(ToString::to_string).unwrap_or_default();
    let known = [
        "port",
        "connect_timeout",
        "sslmode",
        "target_session_attrs",
        "channel_binding",
        "load_balance_hosts",
        "hostaddr",
    ];
    match known.iter().find(|key| cause == format!("invalid value for option `{key}`")) {
        Some(key) => Error::invalid(format!("option \"url\" has a wrong value for {key}")),
        None => Error::invalid("option \"url\" cannot be read"),
    }
    .hint(FORMS)
}

/// What becomes of types without one counterpart here. Errors: `INVALID`.
fn choices(options: &Options) -> Result<Choices> {
    let text = |name: &str, default: &'static str| options.text(name).unwrap_or(default).to_ascii_lowercase();
    let wrong = |name: &str, value: &str, known: &'static str| {
        Err(Error::invalid(format!("option \"{name}\" cannot be \"{value}\"")).hint(known))
    };
    let numeric = match text("numeric_as", "varchar").as_str() {
        "varchar" => NumericAs::Text,
        "double" => NumericAs::Double,
        other => match decimal(other) {
            Some((precision, scale)) => NumericAs::Decimal { precision, scale },
            None => {
                let known = "Types: varchar, double, decimal(p,s) with p from 1 to 38 and s from 0 to p.";
                return wrong("numeric_as", other, known);
            }
        },
    };
    let money_is_decimal = match text("money_as", "varchar").as_str() {
        "varchar" => false,
        "decimal" => true,
        other => return wrong("money_as", other, "Types: varchar, decimal."),
    };
    let infinity_is_null = match text("on_infinity", "error").as_str() {
        "error" => false,
        "null" => true,
        other => return wrong("on_infinity", other, "Choices: error, null."),
    };
    Ok(Choices { numeric, money_is_decimal, infinity_is_null })
}

/// Precision and scale of `decimal(p,s)`.
fn decimal(text: &str) -> Option<(u8, i8)> {
    let (precision, scale) = text.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
    let (precision, scale): (u8, i8) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
    let fits = (1..=38).contains(&precision) && u8::try_from(scale).is_ok_and(|scale| scale <= precision);
    fits.then_some((precision, scale))
}

/// What `ssl_mode` means to the driver and to the check of the certificate.
fn ssl(mode: &str, root: Option<String>) -> Result<(SslMode, Trust)> {
    Ok(match (mode, root) {
        ("disable", _) => (SslMode::Disable, Trust::Anyone),
        ("prefer", _) => (SslMode::Prefer, Trust::Anyone),
        // As in libpq: with authorities at hand, they are asked.
        ("require", None) => (SslMode::Require, Trust::Anyone),
        ("require" | "verify-ca", root) => (SslMode::Require, Trust::Signed { root, named: false }),
        ("verify-full", root) => (SslMode::Require, Trust::Signed { root, named: true }),
        (other, _) => {
            return Err(Error::invalid(format!("option \"ssl_mode\" cannot be \"{other}\""))
                .hint("Modes: disable, prefer, require, verify-ca, verify-full."));
        }
    })
}

/// A url without the parameters that the driver does not know.
struct Address {
    rest: String,
    mode: Option<String>,
    root: Option<String>,
}

impl Address {
    fn read(url: &str) -> Self {
        let mut found = Self { rest: url.to_owned(), mode: None, root: None };
        let is_url = url.starts_with("postgres://") || url.starts_with("postgresql://");
        let Some((start, parameters)) = url.split_once('?').filter(|_| is_url) else { return found };
        let mut others = Vec::new();
        for parameter in parameters.split('&') {
            match parameter.split_once('=') {
                Some(("sslmode", mode)) => found.mode = Some(mode.to_owned()),
                Some(("sslrootcert", path)) => {
                    found.root = Some(percent_decode_str(path).decode_utf8_lossy().into_owned())
                }
                _ => others.push(parameter),
            }
        }
        found.rest = if others.is_empty() { start.to_owned() } else { format!("{start}?{}", others.join("&")) };
        found
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings> {
        let values: BTreeMap<String, _> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).into())).collect();
        Settings::read("pg", &Options::check(OPTIONS, values)?)
    }

    #[test]
    fn a_wrong_url_is_refused_without_its_password() {
        let urls = [
            "postgres:/u:sentinel@h",
            "postgres//u:sentinel=x@h/d",
            "postgres://u:sentinel@h:port/d",
            "postgres://u:sentinel@h/d?sentinel=1",
            "host=h password='sentinel",
            "user=u password=sentinel",
            "postgres://:sentinel@h/d",
        ];
        for url in urls {
            let error = read(&[("url", url)]).err().expect("refused");
            assert!(!format!("{error:?} {:?}", error.hint_text()).contains("sentinel"), "{url}: {error:?}");
        }
        let error = read(&[("url", "postgres://u:p@h:port/d")]).err().expect("refused");
        assert_eq!(error.message(), "option \"url\" has a wrong value for port");
    }

    #[test]
    fn modes_and_limits_are_checked() {
        let wrong = [("ssl_mode", "on"), ("max_connections", "0"), ("max_connections", "1001"), ("on_infinity", "max")];
        let types = ["decimal", "decimal(39,2)", "decimal(5,-1)", "decimal(3,4)", "decimal(0,0)", "float"];
        let types = types.map(|text| ("numeric_as", text));
        for (key, value) in wrong.into_iter().chain(types).chain([("money_as", "double")]) {
            assert!(read(&[("url", "postgres://u@h/d"), (key, value)]).is_err(), "{key} = {value}");
        }
        let settings = read(&[("url", "postgres://u:p@h:6/d"), ("user", "other")]).expect("fine");
        assert_eq!((settings.address().as_str(), settings.user()), ("h:6", "other"));
        let both = read(&[("url", "host=a,b port=1,2 user=u")]).expect("fine");
        assert_eq!(both.address(), "a:1, b:2");
    }

    #[test]
    fn the_mode_of_the_url_counts_until_an_option_says_otherwise() {
        let trust = |pairs: &[(&str, &str)]| {
            let settings = read(pairs).expect("fine");
            (settings.config.get_ssl_mode(), settings.trust)
        };
        let signed = |root: &str, named| Trust::Signed { root: Some(root.to_owned()), named };
        let full = "postgres://u@h/d?sslmode=verify-full&sslrootcert=/a%20b.pem&connect_timeout=3";
        assert_eq!(trust(&[("url", full)]), (SslMode::Require, signed("/a b.pem", true)));
        assert_eq!(trust(&[("url", full), ("ssl_mode", "disable")]), (SslMode::Disable, Trust::Anyone));
        let given = [("url", full), ("ssl_mode", "verify-ca"), ("ssl_root_cert", "/c.pem")];
        assert_eq!(trust(&given), (SslMode::Require, signed("/c.pem", false)));
        assert_eq!(trust(&[("url", "host=h user=u sslmode=require")]), (SslMode::Require, Trust::Anyone));
        assert_eq!(trust(&[("url", "postgres://u@h/d")]), (SslMode::Prefer, Trust::Anyone));
    }
}
