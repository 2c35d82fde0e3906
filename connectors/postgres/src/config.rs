//! The options of a catalog.

use std::time::Duration;

use connector_spi::{Error, OptionKind, OptionSpec, Options, Result};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::tls::{self, Tls};

const fn option(name: &'static str, kind: OptionKind, default: Option<&'static str>, doc: &'static str) -> OptionSpec {
    OptionSpec { name, kind, doc, default, required: false }
}

/// Every option.
pub(crate) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "url",
        kind: OptionKind::Secret,
        doc: "Where the database is, as libpq writes it: postgres://user:password@host:port/database.",
        default: None,
        required: true,
    },
    option("user", OptionKind::Text, None, "The user, in place of the url's."),
    option("password", OptionKind::Secret, None, "The password, in place of the url's."),
    option("max_connections", OptionKind::Integer, Some("10"), "The most connections of one node, 1 to 1000."),
    option("ssl_mode", OptionKind::Text, Some("prefer"), "disable, prefer, require, verify-ca or verify-full, as in libpq."),
    option("ssl_root_cert", OptionKind::Text, None, "A PEM file of the authorities that verify-ca and verify-full trust."),
];

/// What the options say.
pub(crate) struct Settings {
    pub(crate) catalog: String,
    pub(crate) config: Config,
    pub(crate) tls: Tls,
    pub(crate) max_connections: usize,
}

impl Settings {
    /// Errors: `INVALID`; the text never holds the url, which may hold a password.
    pub(crate) fn read(catalog: &str, options: &Options) -> Result<Self> {
        let wrong = |text: &str| Error::invalid(format!("catalog \"{catalog}\": {text}"));
        let url = options.secret("url").ok_or_else(|| wrong("option \"url\" is missing"))?;
        let mut config: Config = url.expose().parse().map_err(|_| {
            wrong("option \"url\" cannot be read").hint("Write postgres://user:password@host:port/database, with %xx for special characters.")
        })?;
        if config.get_hosts().is_empty() {
            return Err(wrong("option \"url\" names no host"));
        }
        if let Some(user) = options.text("user") {
            config.user(user);
        }
        if let Some(password) = options.secret("password") {
            config.password(password.expose());
        }
        config
            .application_name("tributary")
            .connect_timeout(Duration::from_secs(5))
            .keepalives(true)
            .keepalives_idle(Duration::from_secs(30))
            .tcp_user_timeout(Duration::from_secs(30))
            .options(
                "-c standard_conforming_strings=on -c default_transaction_read_only=on -c search_path=pg_catalog \
                 -c DateStyle=ISO -c IntervalStyle=postgres -c TimeZone=UTC -c extra_float_digits=3 -c client_encoding=UTF8",
            );
        let mode = options.text("ssl_mode").unwrap_or("prefer");
        let root = options.text("ssl_root_cert");
        let (ssl, tls) = match (mode, root) {
            ("disable", _) => (SslMode::Disable, tls::unverified()),
            ("prefer", _) => (SslMode::Prefer, tls::unverified()),
            ("require", _) => (SslMode::Require, tls::unverified()),
            ("verify-ca" | "verify-full", Some(root)) => (SslMode::Require, tls::verified(root)),
            ("verify-ca" | "verify-full", None) => return Err(wrong("option \"ssl_root_cert\" is missing; ssl_mode needs it")),
            (other, _) => {
                let error = wrong(&format!("\"{other}\" is not an ssl_mode"));
                return Err(error.hint("Modes: disable, prefer, require, verify-ca, verify-full."));
            }
        };
        config.ssl_mode(ssl);
        let max_connections = match options.integer("max_connections").unwrap_or(10) {
            most @ 1..=1000 => usize::try_from(most).unwrap_or(10),
            _ => return Err(wrong("option \"max_connections\" must be from 1 to 1000")),
        };
        Ok(Self { catalog: catalog.to_owned(), config, tls: tls.map_err(|error| wrong(error.message()))?, max_connections })
    }

    /// `HOST:PORT`, for messages.
    pub(crate) fn address(&self) -> String {
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            Some(Host::Unix(path)) => path.display().to_string(),
            None => "localhost".to_owned(),
        };
        format!("{host}:{}", self.config.get_ports().first().copied().unwrap_or(5432))
    }

    pub(crate) fn user(&self) -> &str {
        self.config.get_user().unwrap_or("")
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
        let error = read(&[("url", "postgres:/u:sentinel@h")]).err().expect("refused");
        assert!(!format!("{error:?} {:?}", error.hint_text()).contains("sentinel"));
    }

    #[test]
    fn modes_and_limits_are_checked() {
        for (key, value) in [("ssl_mode", "on"), ("ssl_mode", "verify-full"), ("max_connections", "0")] {
            assert!(read(&[("url", "postgres://u@h/d"), (key, value)]).is_err(), "{key} = {value}");
        }
        let settings = read(&[("url", "postgres://u:p@h:6/d"), ("user", "other")]).expect("fine");
        assert_eq!((settings.address().as_str(), settings.user()), ("h:6", "other"));
    }
}
