//! Catalog definitions: `catalogs/<name>.toml` and `CREATE CATALOG`, with references resolved late.

use std::collections::BTreeMap;
use std::path::Path;

use connector_spi::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What defines a catalog; travels to workers with references unresolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// The catalog's name: lower-case letters, digits and `_`.
    pub name: String,
    /// The kind of its connector.
    pub connector: String,
    /// The connector's keys, as written.
    pub options: BTreeMap<String, Value>,
}

impl Definition {
    /// Checks the name. Errors: `INVALID`.
    pub fn new(name: &str, connector: &str, options: BTreeMap<String, Value>) -> Result<Self> {
        let valid = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if name.is_empty() || name.len() > 63 || !valid {
            return Err(Error::invalid(format!("\"{name}\" cannot be a catalog's name"))
                .hint("A catalog's name has 1 to 63 lower-case letters, digits and underscores."));
        }
        Ok(Self { name: name.to_owned(), connector: connector.to_owned(), options })
    }

    /// Reads every `<name>.toml` of a folder, in the order of the names. Errors: `INVALID`, naming the file.
    pub fn read_all(dir: &Path) -> Result<Vec<Self>> {
        let unreadable = |cause: std::io::Error| {
            Error::invalid(format!("could not read the catalogs folder {}: {cause}", dir.display()))
        };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                files.push(path);
            }
        }
        files.sort();
        files.iter().map(|path| Self::read(path)).collect()
    }

    fn read(path: &Path) -> Result<Self> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let wrong = |cause: String| Error::invalid(format!("catalog file {}: {cause}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|cause| wrong(cause.to_string()))?;
        let mut options: BTreeMap<String, Value> =
            toml::from_str(&text).map_err(|cause| wrong(cause.to_string().trim_end().to_owned()))?;
        match options.remove("connector") {
            Some(Value::String(connector)) => {
                Self::new(&name, &connector, options).map_err(|cause| wrong(cause.message().to_owned()))
            }
            _ => Err(wrong("the key \"connector\" is missing".to_owned())
                .hint("Write, for example, connector = \"postgres\".")),
        }
    }

    /// The options with `${ENV:NAME}` and `${FILE:/path}` replaced by what this node has there.
    ///
    /// Errors: `INVALID` for a variable or file that is missing here.
    pub fn resolved(&self) -> Result<BTreeMap<String, Value>> {
        self.options.iter().map(|(key, value)| Ok((key.clone(), resolve_value(value)?))).collect()
    }
}

fn resolve_value(value: &Value) -> Result<Value> {
    Ok(match value {
        Value::String(text) => Value::String(resolve_text(text)?),
        Value::Array(items) => Value::Array(items.iter().map(resolve_value).collect::<Result<_>>()?),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(k, v)| Ok((k.clone(), resolve_value(v)?))).collect::<Result<_>>()?)
        }
        other => other.clone(),
    })
}

fn resolve_text(text: &str) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        out.push_str(&rest[..start]);
        let Some(end) = rest[start..].find('}') else {
            return Err(Error::invalid(format!("reference without closing brace in \"{text}\"")));
        };
        let reference = &rest[start + 2..start + end];
        out.push_str(&match reference.split_once(':') {
            Some(("ENV", name)) => std::env::var(name).map_err(|_| {
                Error::invalid(format!("environment variable {name} is not set"))
                    .hint(format!("The catalog refers to ${{ENV:{name}}}; it must be set on every node."))
            })?,
            Some(("FILE", path)) => std::fs::read_to_string(path)
                .map(|content| content.trim_end_matches(['\r', '\n']).to_owned())
                .map_err(|cause| {
                    Error::invalid(format!("could not read the file {path} that the catalog refers to: {cause}"))
                })?,
            _ => {
                return Err(Error::invalid(format!("unknown reference \"${{{reference}}}\""))
                    .hint("References are ${ENV:NAME} and ${FILE:/path}."));
            }
        });
        rest = &rest[start + end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_variable_is_named() {
        let error = resolve_text("postgres://u:${ENV:TRIBUTARY_NO_SUCH_VARIABLE}@h").expect_err("missing");
        assert_eq!(error.to_string(), "INVALID: environment variable TRIBUTARY_NO_SUCH_VARIABLE is not set");
    }

    #[test]
    fn text_without_references_stays() {
        assert_eq!(resolve_text("a$b{c}").expect("resolves"), "a$b{c}");
        assert!(resolve_text("${X:y}").is_err());
        assert!(resolve_text("${ENV:y").is_err());
    }

    #[test]
    fn names_of_catalogs_are_plain() {
        assert!(Definition::new("shop_1", "memory", BTreeMap::new()).is_ok());
        for name in ["", "Shop", "a.b", "a b", "a/b"] {
            assert!(Definition::new(name, "memory", BTreeMap::new()).is_err(), "{name}");
        }
    }
}
