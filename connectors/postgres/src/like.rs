//! Patterns.

use connector_spi::{Predicate, Refusal, RefusalCode};

use crate::pushdown::UNKNOWN;
use crate::sql::quoted;
use crate::types::{Collation, Kind};

/// The text of `name [NOT] LIKE pattern`, and whether it is exact.
pub(crate) fn condition(name: &str, kind: &Kind, like: &Predicate) -> Result<(String, bool), Refusal> {
    let Predicate::Like { pattern, escape, negated, case_insensitive, .. } = like else { return Err(UNKNOWN) };
    if *case_insensitive {
        let refusal = Refusal::new(RefusalCode::Collation, "the case of letters depends on the database's locale");
        return Err(refusal.remedy("use LIKE, or TABLE(catalog.system.query('…'))"));
    }
    if *kind != Kind::Text(Collation::Bytes) {
        let text = "patterns are sent for text with a deterministic collation only";
        return Err(Refusal::new(RefusalCode::Collation, text));
    }
    check_pattern(pattern, *escape)?;
    let word = if *negated { "NOT LIKE" } else { "LIKE" };
    Ok((format!("{name} {word} {} ESCAPE {}", quoted(pattern)?, quoted(&escape.to_string())?), true))
}

/// A pattern that means the same on both sides.
fn check_pattern(pattern: &str, escape: char) -> Result<(), Refusal> {
    if escape == '%' || escape == '_' {
        return Err(
            Refusal::new(RefusalCode::Value, "the escape character is a wild card").remedy("name another ESCAPE")
        );
    }
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        if character == escape && characters.next().is_none() {
            return Err(Refusal::new(
                RefusalCode::Value,
                "the pattern ends with its escape character, an error in Postgres",
            )
            .remedy("write the escape character twice"));
        }
    }
    Ok(())
}
