//! Writes a LIKE with any escape character as one with a backslash, the only one that the engine applies.

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::expr::Like;
use datafusion::logical_expr::{Expr, lit};

/// The same condition; unchanged where the pattern is no constant, or ends in its escape character.
pub(super) fn backslashed(expr: Expr) -> Transformed<Expr> {
    let Expr::Like(like) = expr else { return Transformed::no(expr) };
    let written = match (like.escape_char, &*like.pattern) {
        (Some('\\') | None, _) => None,
        (Some(escape), Expr::Literal(ScalarValue::Utf8(Some(pattern)), _)) => written(pattern, escape),
        _ => None,
    };
    match written {
        None => Transformed::no(Expr::Like(like)),
        Some(pattern) => {
            Transformed::yes(Expr::Like(Like { pattern: Box::new(lit(pattern)), escape_char: None, ..like }))
        }
    }
}

fn written(pattern: &str, escape: char) -> Option<String> {
    let mut written = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        let (plain, character) =
            if character == escape { (true, characters.next()?) } else { (character == '\\', character) };
        if plain && matches!(character, '%' | '_' | '\\') {
            written.push('\\');
        }
        written.push(character);
    }
    Some(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escape_is_written_as_a_backslash_and_a_backslash_as_text() {
        let cases =
            [("a!%b!_!!%", Some("a\\%b\\_!%")), ("\\!\\", Some("\\\\\\\\")), ("!a", Some("a")), ("%", Some("%"))];
        for (pattern, wanted) in cases {
            assert_eq!(written(pattern, '!').as_deref(), wanted, "{pattern}");
        }
        assert_eq!(written("50%%", '%').as_deref(), Some("50\\%"));
        assert_eq!(written("a!", '!'), None);
    }
}
