//! Who calls: logins, session tokens, and the cluster's secret for internal calls.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use connector_spi::{Error, ErrorKind, Result};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use tonic::metadata::MetadataMap;

use super::client::Client;
use crate::Coordinator;

/// How long a session lives without a call.
const IDLE: Duration = Duration::from_secs(3600);
/// The most sessions.
const MOST: usize = 10_000;
/// What a failed login costs, so that guessing is slow.
const PENALTY: Duration = Duration::from_millis(500);

/// Padded or not: JDBC pads, the Go driver does not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Sessions and users.
pub(super) struct Guard {
    coordinator: Coordinator,
    users: Option<HashMap<String, String>>,
    clients: Mutex<HashMap<String, (Instant, Arc<Client>)>>,
    /// Failed logins that are being delayed; more wait.
    failures: Semaphore,
}

/// What a call says of itself.
enum Claim {
    Token(String),
    Basic { user: String, password: String },
    Nothing,
}

impl Guard {
    /// Reads the users file. Errors: `INVALID` where it cannot be read, is readable by everyone, or has a line without a colon.
    pub(super) fn new(coordinator: Coordinator) -> Result<Self> {
        let users = coordinator.config().users.as_deref().map(read_users).transpose()?;
        Ok(Self { coordinator, users, clients: Mutex::default(), failures: Semaphore::new(16) })
    }

    /// Logs in and opens a session; the token that the client sends from now on.
    ///
    /// Errors: `UNAUTHENTICATED`.
    pub(super) async fn login(&self, headers: &MetadataMap) -> Result<String> {
        let user = match claim(headers)? {
            Claim::Token(token) => {
                self.client(&token).ok_or_else(expired)?;
                return Ok(token);
            }
            Claim::Basic { user, password } => {
                self.check(&user, &password).await?;
                user
            }
            Claim::Nothing if self.users.is_none() => "anonymous".to_owned(),
            Claim::Nothing => return Err(needed()),
        };
        let token = uuid::Uuid::new_v4().simple().to_string() + &uuid::Uuid::new_v4().simple().to_string();
        self.open(token.clone(), &user);
        Ok(token)
    }

    /// The client of a call: by token, by the login that comes with each call, or, where no login
    /// is asked for, by the connection. Errors: `UNAUTHENTICATED`.
    pub(super) async fn caller(&self, headers: &MetadataMap, peer: &str) -> Result<Arc<Client>> {
        let (key, user) = match claim(headers)? {
            Claim::Token(token) => return self.client(&token).ok_or_else(expired),
            Claim::Basic { user, password } => {
                self.check(&user, &password).await?;
                (format!("basic:{user}@{peer}"), user)
            }
            Claim::Nothing if self.users.is_none() => (format!("anonymous@{peer}"), "anonymous".to_owned()),
            Claim::Nothing => return Err(needed()),
        };
        Ok(self.client(&key).unwrap_or_else(|| self.open(key, &user)))
    }

    /// Ends the session of a token.
    pub(super) fn logout(&self, headers: &MetadataMap) {
        if let Ok(Claim::Token(token)) = claim(headers) {
            self.clients.lock().unwrap_or_else(PoisonError::into_inner).remove(&token);
        }
    }

    /// Whether an internal call carries the cluster's secret. Errors: `UNAUTHENTICATED`.
    pub(super) fn internal(&self, headers: &MetadataMap) -> Result<()> {
        let secret = self.coordinator.config().cluster_secret.as_ref();
        match secret.is_some_and(|secret| connectors::channel::authorized(&headers.clone().into_headers(), secret)) {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Unauthenticated, "the call does not carry the cluster secret")),
        }
    }

    fn client(&self, key: &str) -> Option<Arc<Client>> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let (used, client) = clients.get_mut(key)?;
        if used.elapsed() > IDLE {
            clients.remove(key);
            return None;
        }
        *used = Instant::now();
        Some(Arc::clone(client))
    }

    fn open(&self, key: String, user: &str) -> Arc<Client> {
        let client = Arc::new(Client::new(self.coordinator.session(user)));
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|_, (used, _)| used.elapsed() < IDLE);
        if clients.len() >= MOST
            && let Some(oldest) = clients.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone())
        {
            clients.remove(&oldest);
        }
        clients.insert(key, (Instant::now(), Arc::clone(&client)));
        client
    }

    async fn check(&self, user: &str, password: &str) -> Result<()> {
        let Some(users) = &self.users else { return Ok(()) };
        let known = users.get(user);
        let right = known.map_or("", String::as_str);
        let same: bool = right.as_bytes().ct_eq(password.as_bytes()).into();
        if same && known.is_some() {
            return Ok(());
        }
        // The same wait and the same words for an unknown user and a wrong password.
        let _slot = self.failures.acquire().await;
        tokio::time::sleep(PENALTY).await;
        Err(Error::new(ErrorKind::Unauthenticated, "wrong user or password"))
    }
}

fn expired() -> Error {
    Error::new(ErrorKind::Unauthenticated, "the session has ended or never was; log in again")
}

fn needed() -> Error {
    Error::new(ErrorKind::Unauthenticated, "this server asks for user and password")
}

fn claim(headers: &MetadataMap) -> Result<Claim> {
    let Some(value) = headers.get("authorization") else { return Ok(Claim::Nothing) };
    let unreadable = || Error::new(ErrorKind::Unauthenticated, "the authorization header is not readable");
    let value = value.to_str().map_err(|_| unreadable())?;
    let (scheme, rest) = value.split_once(' ').ok_or_else(unreadable)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Claim::Token(rest.trim().to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(unreadable());
    }
    let text = BASE64.decode(rest.trim()).map_err(|_| unreadable())?;
    let text = String::from_utf8(text).map_err(|_| unreadable())?;
    let (user, password) = text.split_once(':').ok_or_else(unreadable)?;
    Ok(Claim::Basic { user: user.to_owned(), password: password.to_owned() })
}

fn read_users(path: &Path) -> Result<HashMap<String, String>> {
    let text = crate::config::read_users(path)?;
    let line = |line: &str| match line.split_once(':') {
        Some((user, password)) if !user.is_empty() && !password.is_empty() => {
            Ok((user.to_owned(), password.to_owned()))
        }
        _ => Err(Error::invalid(format!("users file {}: each line must be name:password", path.display()))),
    };
    text.lines().map(str::trim).filter(|text| !text.is_empty() && !text.starts_with('#')).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> MetadataMap {
        let mut headers = MetadataMap::new();
        headers.insert("authorization", value.parse().expect("a header"));
        headers
    }

    #[test]
    fn logins_are_read_with_and_without_padding() {
        for text in ["Basic dTpw", "basic dTpwdw==", "Basic dTpwdw"] {
            assert!(matches!(claim(&headers(text)), Ok(Claim::Basic { user, .. }) if user == "u"), "{text}");
        }
        for text in ["Basic ***", "Digest x", "Basic"] {
            assert!(claim(&headers(text)).is_err(), "{text}");
        }
    }
}
