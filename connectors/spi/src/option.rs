//! Catalog options: what a connector knows, and the values of one catalog.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::{Error, Result, nearest};

/// The type of an option's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionKind {
    /// Any text.
    Text,
    /// Text that is never shown.
    Secret,
    /// A whole number; written as a number or as text.
    Integer,
    /// `true` or `false`; written bare or as text.
    Boolean,
    /// A structured value of a catalog file, such as an array of tables.
    Structure,
}

/// One option: the manual is generated from it and the engine checks against it.
#[derive(Debug, Clone, Copy)]
pub struct OptionSpec {
    /// The key.
    pub name: &'static str,
    /// The type of its value.
    pub kind: OptionKind,
    /// What it does, with unit and range: one sentence.
    pub doc: &'static str,
    /// The value when it is not given, as text for the manual; `None` where it is required or has no default.
    pub default: Option<&'static str>,
    /// Whether a catalog without it is refused.
    pub required: bool,
}

impl OptionSpec {
    /// An option that may be left out.
    pub const fn optional(
        name: &'static str,
        kind: OptionKind,
        default: Option<&'static str>,
        doc: &'static str,
    ) -> Self {
        Self { name, kind, doc, default, required: false }
    }
}

/// Text whose Debug and Display print `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `value`.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The hidden text, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The checked values of one catalog: known keys only, each of its kind, references resolved.
#[derive(Clone, Default)]
pub struct Options {
    values: BTreeMap<String, Value>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl Options {
    /// Checks `values` against `specs`; text is accepted for numbers and booleans.
    ///
    /// Errors: `INVALID` for an unknown key (with the nearest right one), a missing required key, a value of another kind.
    pub fn check(specs: &[OptionSpec], values: BTreeMap<String, Value>) -> Result<Self> {
        let mut checked = BTreeMap::new();
        for (key, value) in values {
            let Some(spec) = specs.iter().find(|spec| spec.name == key) else {
                let error = Error::invalid(format!("unknown option \"{key}\""));
                return Err(match nearest(&key, specs.iter().map(|spec| spec.name)) {
                    Some(near) => error.hint(format!("Did you mean \"{near}\"?")),
                    None if specs.is_empty() => error.hint("The connector has no options."),
                    None => error.hint(format!(
                        "Known options: {}.",
                        specs.iter().map(|s| s.name).collect::<Vec<_>>().join(", ")
                    )),
                });
            };
            checked.insert(key, convert(spec, value)?);
        }
        if let Some(spec) = specs.iter().find(|spec| spec.required && !checked.contains_key(spec.name)) {
            return Err(Error::invalid(format!("option \"{}\" is missing", spec.name)).hint(spec.doc));
        }
        Ok(Self { values: checked })
    }

    /// A text, if given.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).and_then(Value::as_str)
    }

    /// A secret, if given.
    pub fn secret(&self, name: &str) -> Option<Secret> {
        self.text(name).map(Secret::new)
    }

    /// A whole number, if given.
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.values.get(name).and_then(Value::as_i64)
    }

    /// A boolean, if given.
    pub fn boolean(&self, name: &str) -> Option<bool> {
        self.values.get(name).and_then(Value::as_bool)
    }

    /// A structured value, if given.
    pub fn structure(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }
}

fn convert(spec: &OptionSpec, value: Value) -> Result<Value> {
    let wrong = |wanted: &str| Error::invalid(format!("option \"{}\" must be {wanted}", spec.name)).hint(spec.doc);
    match (spec.kind, value) {
        (OptionKind::Text | OptionKind::Secret, value @ Value::String(_))
        | (OptionKind::Integer, value @ Value::Number(_))
        | (OptionKind::Boolean, value @ Value::Bool(_))
        | (OptionKind::Structure, value) => Ok(value),
        (OptionKind::Integer, Value::String(text)) => {
            text.trim().parse::<i64>().map(Value::from).map_err(|_| wrong("a whole number"))
        }
        (OptionKind::Boolean, Value::String(text)) => {
            text.trim().parse::<bool>().map(Value::from).map_err(|_| wrong("true or false"))
        }
        (OptionKind::Integer, _) => Err(wrong("a whole number")),
        (OptionKind::Boolean, _) => Err(wrong("true or false")),
        (OptionKind::Text | OptionKind::Secret, _) => Err(wrong("text in quotes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPECS: &[OptionSpec] = &[
        OptionSpec { name: "url", kind: OptionKind::Text, doc: "Where.", default: None, required: true },
        OptionSpec {
            name: "max_connections",
            kind: OptionKind::Integer,
            doc: "How many.",
            default: Some("10"),
            required: false,
        },
    ];

    fn check(pairs: &[(&str, Value)]) -> Result<Options> {
        Options::check(SPECS, pairs.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect())
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_right_one() {
        let error = check(&[("ulr", Value::from("x"))]).expect_err("refused");
        assert_eq!(error.to_string(), "INVALID: unknown option \"ulr\"");
        assert_eq!(error.hint_text(), Some("Did you mean \"url\"?"));
    }

    #[test]
    fn numbers_may_be_written_as_text() {
        let options = check(&[("url", Value::from("x")), ("max_connections", Value::from("7"))]).expect("accepted");
        assert_eq!(options.integer("max_connections"), Some(7));
    }

    #[test]
    fn a_missing_required_key_is_named() {
        assert_eq!(check(&[]).expect_err("refused").to_string(), "INVALID: option \"url\" is missing");
    }

    #[test]
    fn secrets_are_not_printed() {
        assert_eq!(format!("{0} {0:?}", Secret::new("sentinel")), "*** ***");
    }
}
