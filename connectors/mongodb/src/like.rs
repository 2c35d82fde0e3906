//! LIKE: a pattern that begins with text is a range of texts; the rest of it is a regular expression, which only narrows.

use bson::{Bson, Document, Regex, doc};
use connector_spi::{Predicate, Refusal, RefusalCode};

use crate::types::Kind;

/// A pattern's pieces.
#[derive(Debug, PartialEq)]
enum Piece {
    Text(String),
    One,
    Any,
}

/// The filter of a LIKE, and whether it is exact.
pub(crate) fn condition(name: &str, kind: &Kind, like: &Predicate) -> Result<(Document, bool), Refusal> {
    let Predicate::Like { pattern, escape, negated, case_insensitive, .. } = like else {
        return Err(Refusal::new(RefusalCode::Source, "not known to the connector"));
    };
    if *kind != Kind::Text {
        return Err(Refusal::new(RefusalCode::Type, "the column is not text in MongoDB"));
    }
    if *case_insensitive {
        return Err(Refusal::new(RefusalCode::Collation, "MongoDB has other letters in pairs of upper and lower case"));
    }
    let pieces = pieces(pattern, *escape)?;
    match (pieces.as_slice(), negated) {
        ([Piece::Text(text)], false) => Ok((doc! { name: { "$eq": text } }, true)),
        ([Piece::Text(text)], true) => Ok((doc! { name: { "$nin": [text, Bson::Null] } }, true)),
        ([], false) => Ok((doc! { name: { "$eq": "" } }, true)),
        ([Piece::Any], false) => Ok((doc! { name: { "$ne": Bson::Null } }, true)),
        ([Piece::Text(start), Piece::Any], false) => Ok((between(name, start), true)),
        (_, true) => Err(Refusal::new(RefusalCode::Function, "a pattern's opposite would need an exact pattern")),
        ([Piece::Text(start), rest @ ..], false) => match regex(rest, "") {
            Some(regex) => Ok((doc! { "$and": [between(name, start), { name: regex }] }, false)),
            None => Ok((between(name, start), false)),
        },
        (rest, false) => match regex(rest, "") {
            Some(regex) => Ok((doc! { name: regex }, false)),
            None => Err(Refusal::new(RefusalCode::Value, "the pattern has no text to look for")),
        },
    }
}

/// Texts that begin so: up to the first text that does not, in the order of bytes.
fn between(name: &str, start: &str) -> Document {
    let mut range = doc! { "$gte": start };
    if let Some(end) = next(start) {
        range.insert("$lt", end);
    } else {
        // Without an end the range is still one of texts.
        range.insert("$type", "string");
    }
    doc! { name: range }
}

/// The first text after all that begin so; none after the last character of all.
fn next(start: &str) -> Option<String> {
    let mut characters: Vec<char> = start.chars().collect();
    while let Some(last) = characters.pop() {
        let after = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            other => char::from_u32(u32::from(other) + 1),
        };
        if let Some(after) = after {
            characters.push(after);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

fn pieces(pattern: &str, escape: char) -> Result<Vec<Piece>, Refusal> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        let piece = match character {
            found if found == escape => {
                // What an escape at the end, or before another character, means differs between engines.
                match characters.next() {
                    Some(next) if next == escape || next == '%' || next == '_' => text.push(next),
                    _ => return Err(Refusal::new(RefusalCode::Value, "the pattern escapes what needs no escape")),
                }
                continue;
            }
            '%' => Piece::Any,
            '_' => Piece::One,
            other => {
                text.push(other);
                continue;
            }
        };
        if !text.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut text)));
        }
        if !(piece == Piece::Any && pieces.last() == Some(&Piece::Any)) {
            pieces.push(piece);
        }
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}

/// The longest text among the pieces, wherever it stands; none where there is none that an expression can hold.
fn regex(pieces: &[Piece], options: &str) -> Option<Regex> {
    let texts = pieces.iter().filter_map(|piece| match piece {
        Piece::Text(text) if !text.contains('\0') => Some(text),
        _ => None,
    });
    let longest = texts.max_by_key(|text| text.len())?;
    let mut pattern = String::with_capacity(longest.len() * 2);
    for character in longest.chars() {
        if character.is_ascii_punctuation() {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    Some(Regex { pattern: pattern.try_into().ok()?, options: options.try_into().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(pattern: &str, negated: bool) -> Option<(String, bool)> {
        let like =
            Predicate::Like { column: 0, pattern: pattern.to_owned(), escape: '\\', negated, case_insensitive: false };
        condition("t", &Kind::Text, &like).ok().map(|(filter, exact)| (filter.to_string(), exact))
    }

    #[test]
    fn a_start_is_a_range_and_the_rest_narrows() {
        let exact = |text: &str| Some((text.to_owned(), true));
        assert_eq!(offered("a%", false), exact(r#"{ "t": { "$gte": "a", "$lt": "b" } }"#));
        assert_eq!(offered("a\\%b", false), exact(r#"{ "t": { "$eq": "a%b" } }"#));
        assert_eq!(offered("%", false), exact(r#"{ "t": { "$ne": null } }"#));
        assert_eq!(offered("", false), exact(r#"{ "t": { "$eq": "" } }"#));
        assert_eq!(offered("ab", true), exact(r#"{ "t": { "$nin": ["ab", null] } }"#));
        assert_eq!(offered("%b.c%", false), Some((r#"{ "t": /b\.c/ }"#.to_owned(), false)));
        assert!(offered("a_c%", false).is_some_and(|(text, exact)| text.contains("\"$lt\": \"b\"") && !exact));
        for refused in [("_", false), ("a%", true), ("a\\", false), ("\\a", false), ("%%_", false)] {
            assert_eq!(offered(refused.0, refused.1), None, "{refused:?}");
        }
    }

    #[test]
    fn the_text_after_a_start_skips_what_is_no_character() {
        assert_eq!(next("a").as_deref(), Some("b"));
        assert_eq!(next("\u{d7ff}").as_deref(), Some("\u{e000}"));
        assert_eq!(next("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(next("\u{10ffff}"), None);
    }
}
