//! The catalogs of one process: their definitions, and the sources opened from them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use connector_spi::{Connector, Error, ErrorKind, Options, Result, Source, nearest};
use serde_json::Value;
use tokio::sync::watch;

use crate::Definition;

/// One catalog.
#[derive(Debug)]
pub struct Catalog {
    /// Its definition, references unresolved.
    pub definition: Definition,
    source: Result<Arc<dyn Source>>,
}

impl Catalog {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.definition.name
    }

    /// The opened source. Errors: why it could not be opened, such as a missing environment variable.
    pub fn source(&self) -> Result<Arc<dyn Source>> {
        self.source.clone()
    }
}

#[derive(Debug, Default)]
struct State {
    version: u64,
    catalogs: BTreeMap<String, Arc<Catalog>>,
}

/// The catalogs of one process. The coordinator changes them; a worker copies them, by version.
#[derive(Debug)]
pub struct Catalogs {
    connectors: Vec<Arc<dyn Connector>>,
    /// Catalogs that exist on the coordinator alone and are never dropped, such as `system`.
    builtin: RwLock<Vec<String>>,
    state: RwLock<State>,
    version: watch::Sender<u64>,
}

impl Catalogs {
    /// No catalogs yet; knows these connectors.
    pub fn new(connectors: Vec<Arc<dyn Connector>>) -> Self {
        Self { connectors, builtin: RwLock::default(), state: RwLock::default(), version: watch::channel(0).0 }
    }

    /// The built-in connectors, and every `<name>.toml` of `dir`.
    ///
    /// A catalog whose options are wrong in themselves is an error; one whose references are
    /// missing here is kept and says so when it is used.
    ///
    /// Errors: `INVALID`, naming file and key.
    pub fn open_all(dir: Option<&Path>) -> Result<Self> {
        let catalogs = Self::new(crate::builtin());
        for definition in dir.map(Definition::read_all).transpose()?.unwrap_or_default() {
            catalogs.add(definition)?;
        }
        Ok(catalogs)
    }

    /// All catalogs in the order of their names.
    pub fn all(&self) -> Vec<Arc<Catalog>> {
        self.read().catalogs.values().cloned().collect()
    }

    /// One catalog. Errors: `NOT_FOUND` with the nearest name.
    pub fn get(&self, name: &str) -> Result<Arc<Catalog>> {
        let state = self.read();
        state.catalogs.get(name).cloned().ok_or_else(|| {
            let error = Error::not_found(format!("catalog \"{name}\" does not exist")).with("name", name);
            match nearest(name, state.catalogs.keys().map(String::as_str)) {
                Some(near) => error.hint(format!("Did you mean \"{near}\"?")),
                None => error.hint("SHOW CATALOGS lists them."),
            }
        })
    }

    /// `CREATE CATALOG`. Errors: `ALREADY_EXISTS`, `NOT_FOUND` for the connector, `INVALID` for options.
    pub fn create(&self, name: &str, connector: &str, options: BTreeMap<String, Value>) -> Result<()> {
        self.add(Definition::new(name, connector, options)?)
    }

    /// `DROP CATALOG`. Errors: `NOT_FOUND`; `INVALID` for a built-in one.
    pub fn remove(&self, name: &str) -> Result<()> {
        self.get(name)?;
        if self.builtin.read().unwrap_or_else(PoisonError::into_inner).iter().any(|builtin| builtin == name) {
            return Err(Error::invalid(format!("catalog \"{name}\" is built in and cannot be dropped")));
        }
        self.change(|catalogs| {
            catalogs.remove(name);
            Ok(())
        })
    }

    /// Adds a catalog whose source the process made itself; it cannot be dropped.
    pub fn add_builtin(&self, name: &str, connector: &str, source: Arc<dyn Source>) -> Result<()> {
        let definition = Definition::new(name, connector, BTreeMap::new())?;
        self.keep(name);
        self.insert(definition, Ok(source))
    }

    /// Makes a catalog one that cannot be dropped.
    pub fn keep(&self, name: &str) {
        self.builtin.write().unwrap_or_else(PoisonError::into_inner).push(name.to_owned());
    }

    /// The version of the set of catalogs: every change makes it larger.
    pub fn version(&self) -> u64 {
        self.read().version
    }

    /// The version and all definitions, for workers.
    pub fn definitions(&self) -> (u64, Vec<Definition>) {
        let state = self.read();
        (state.version, state.catalogs.values().map(|catalog| catalog.definition.clone()).collect())
    }

    /// Takes over the coordinator's definitions; sources whose definition did not change stay open.
    pub fn replace(&self, version: u64, definitions: Vec<Definition>) {
        let known = self.read().catalogs.clone();
        let catalogs = definitions
            .into_iter()
            .map(|definition| {
                let catalog = match known.get(&definition.name) {
                    Some(catalog) if catalog.definition == definition => Arc::clone(catalog),
                    _ => Arc::new(Catalog { source: self.open(&definition), definition }),
                };
                (catalog.name().to_owned(), catalog)
            })
            .collect();
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = State { version, catalogs };
        self.version.send_replace(version);
    }

    /// Waits until the catalogs are at least of `version`.
    pub async fn reached(&self, version: u64) {
        // The sender lives in self, so waiting cannot fail.
        let _ = self.version.subscribe().wait_for(|now| *now >= version).await;
    }

    fn add(&self, definition: Definition) -> Result<()> {
        let source = self.open(&definition);
        match source {
            // A reference that is missing here may be set later or on other nodes; wrong keys are wrong everywhere.
            Err(error) if error.context("reference").is_none() => Err(error),
            source => self.insert(definition, source),
        }
    }

    fn insert(&self, definition: Definition, source: Result<Arc<dyn Source>>) -> Result<()> {
        self.change(|catalogs| {
            if catalogs.contains_key(&definition.name) {
                return Err(Error::new(
                    ErrorKind::AlreadyExists,
                    format!("catalog \"{}\" already exists", definition.name),
                ));
            }
            catalogs.insert(definition.name.clone(), Arc::new(Catalog { definition, source }));
            Ok(())
        })
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Arc<Catalog>>) -> Result<()>) -> Result<()> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut state.catalogs)?;
        state.version += 1;
        self.version.send_replace(state.version);
        Ok(())
    }

    fn open(&self, definition: &Definition) -> Result<Arc<dyn Source>> {
        let place = |error: Error| error.with("catalog", &definition.name);
        let connector =
            self.connectors.iter().find(|connector| connector.kind() == definition.connector).ok_or_else(|| {
                let kinds = || self.connectors.iter().map(|connector| connector.kind());
                let error = Error::not_found(format!("connector \"{}\" does not exist", definition.connector));
                place(match nearest(&definition.connector, kinds()) {
                    Some(near) => error.hint(format!("Did you mean \"{near}\"?")),
                    None => error.hint(format!("Connectors: {}.", kinds().collect::<Vec<_>>().join(", "))),
                })
            })?;
        // Keys are checked before references are resolved, so that a wrong key is not hidden by a missing variable.
        Options::check(connector.options(), definition.options.clone())
            .map(drop)
            .or_else(|error| {
                if has_reference(&definition.options) && error.message().contains("must be") {
                    Ok(())
                } else {
                    Err(error)
                }
            })
            .map_err(|error| name_catalog(error, &definition.name))?;
        let values = definition.resolved().map_err(|error| place(error).with("reference", "missing"))?;
        let options =
            Options::check(connector.options(), values).map_err(|error| name_catalog(error, &definition.name))?;
        connector.open(&definition.name, &options).map_err(place)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn has_reference(options: &BTreeMap<String, Value>) -> bool {
    options.values().any(|value| value.as_str().is_some_and(|text| text.contains("${")))
}

fn name_catalog(error: Error, catalog: &str) -> Error {
    let named =
        Error::new(error.kind(), format!("catalog \"{catalog}\": {}", error.message())).with("catalog", catalog);
    match error.hint_text() {
        Some(hint) => named.hint(hint),
        None => named,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_connector_is_refused_with_the_nearest() {
        let catalogs = Catalogs::new(crate::builtin());
        let error = catalogs.create("a", "memry", BTreeMap::new()).expect_err("unknown");
        assert_eq!(error.to_string(), "NOT_FOUND: connector \"memry\" does not exist");
        assert_eq!(error.hint_text(), Some("Did you mean \"memory\"?"));
    }

    #[test]
    fn every_change_makes_the_version_larger_and_travels() {
        let coordinator = Catalogs::new(crate::builtin());
        coordinator.create("a", "memory", BTreeMap::new()).expect("created");
        let (version, definitions) = coordinator.definitions();
        let worker = Catalogs::new(crate::builtin());
        worker.replace(version, definitions);
        assert_eq!(worker.version(), coordinator.version());
        assert!(worker.get("a").is_ok());
        coordinator.remove("a").expect("dropped");
        assert!(coordinator.version() > version);
        assert!(coordinator.get("a").is_err());
    }

    #[test]
    fn a_catalog_with_a_missing_variable_is_kept_and_says_so() {
        let catalogs = Catalogs::new(crate::builtin());
        let options = BTreeMap::from([("url".to_owned(), Value::from("${ENV:TRIBUTARY_NO_SUCH_VARIABLE}"))]);
        catalogs.create("pg", "postgres", options).expect("kept");
        let error = catalogs.get("pg").expect("there").source().expect_err("says so");
        assert_eq!(error.message(), "environment variable TRIBUTARY_NO_SUCH_VARIABLE is not set");
    }
}
