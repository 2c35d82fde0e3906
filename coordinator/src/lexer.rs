//! SQL text as tokens: parameters, positions for carets, limits checked before anything deep is built.

use connector_spi::{Error, ErrorKind, Result};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

/// The longest statement, in characters.
const MAX_CHARACTERS: usize = 1_000_000;
/// The longest chain of operators: it becomes a tree as deep, and planning one costs the square of that.
const MAX_CHAIN: usize = 1_000;

/// A statement's tokens with their places, white space and comments left out.
#[derive(Debug, Clone)]
pub(crate) struct Tokens {
    tokens: Vec<TokenWithSpan>,
}

impl Tokens {
    /// Errors: `SYNTAX` for text that is no sequence of tokens, `RESOURCE_EXHAUSTED` past the limits.
    pub(crate) fn read(sql: &str) -> Result<Self> {
        let characters = sql.chars().count();
        if characters > MAX_CHARACTERS {
            let text = format!("the statement has {characters} characters; at most {MAX_CHARACTERS} are accepted");
            return Err(Error::new(ErrorKind::ResourceExhausted, text).hint("Put the values into a table and join it."));
        }
        let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().map_err(|error| {
            place(Error::new(ErrorKind::Syntax, lower(&error.message)), error.location.line, error.location.column)
        })?;
        let tokens: Vec<_> = tokens.into_iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).collect();
        let chain = longest_chain(&tokens);
        if chain > MAX_CHAIN {
            let text = format!("the statement chains {chain} operators; at most {MAX_CHAIN} are accepted");
            return Err(Error::new(ErrorKind::ResourceExhausted, text)
                .hint("Use IN, or put the values into a table and join it."));
        }
        Ok(Self { tokens })
    }

    /// The tokens, a closing `;` left out.
    pub(crate) fn all(&self) -> &[TokenWithSpan] {
        let end = self.tokens.iter().rposition(|t| t.token != Token::SemiColon).map_or(0, |at| at + 1);
        &self.tokens[..end]
    }

    /// The text with every `?` as `$1`, `$2`, … in their order.
    ///
    /// Errors: `SYNTAX` where `?` and `$n` are mixed.
    pub(crate) fn numbered(&self, sql: &str) -> Result<String> {
        let marks: Vec<_> =
            self.tokens.iter().filter(|t| matches!(&t.token, Token::Placeholder(p) if p == "?")).collect();
        if marks.is_empty() {
            return Ok(sql.to_owned());
        }
        if let Some(other) = self.tokens.iter().find(|t| matches!(&t.token, Token::Placeholder(p) if p != "?")) {
            let error = Error::new(ErrorKind::Syntax, "parameters are written ? or $1, not both in one statement");
            return Err(place(error, other.span.start.line, other.span.start.column));
        }
        let mut out = String::with_capacity(sql.len() + marks.len());
        let mut marks = marks.into_iter().enumerate().peekable();
        let (mut line, mut column) = (1, 1);
        for character in sql.chars() {
            match marks.peek() {
                Some((at, mark)) if (mark.span.start.line, mark.span.start.column) == (line, column) => {
                    out.push_str(&format!("${}", at + 1));
                    marks.next();
                }
                _ => out.push(character),
            }
            (line, column) = if character == '\n' { (line + 1, 1) } else { (line, column + 1) };
        }
        Ok(out)
    }

    /// Where a name stands: line, column and width, the whole dotted name if it is one.
    pub(crate) fn find(&self, name: &str) -> Option<(u64, u64, u64)> {
        let is_name = |token: &Token| matches!(token, Token::Word(word) if word.value.eq_ignore_ascii_case(name));
        let mut at = self.tokens.iter().position(|t| is_name(&t.token))?;
        let end = &self.tokens[at].span.end;
        while at >= 2
            && self.tokens[at - 1].token == Token::Period
            && matches!(self.tokens[at - 2].token, Token::Word(_))
        {
            at -= 2;
        }
        let start = &self.tokens[at].span.start;
        let width = if start.line == end.line { end.column.saturating_sub(start.column).max(1) } else { 1 };
        Some((start.line, start.column, width))
    }
}

/// Adds the place of an error to its facts.
pub(crate) fn place(error: Error, line: u64, column: u64) -> Error {
    error.with("line", line).with("column", column)
}

/// A message that starts in lower case, as ours do.
pub(crate) fn lower(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if first.is_uppercase() && !second.is_uppercase() => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

/// The most operators in a row that no comma or parenthesis parts.
fn longest_chain(tokens: &[TokenWithSpan]) -> usize {
    let mut levels = vec![0];
    let mut longest = 0;
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket => levels.push(0),
            Token::RParen | Token::RBracket if levels.len() > 1 => {
                levels.pop();
            }
            Token::Comma | Token::SemiColon => {
                if let Some(level) = levels.last_mut() {
                    *level = 0;
                }
            }
            token if is_operator(token) => {
                if let Some(level) = levels.last_mut() {
                    *level += 1;
                    longest = longest.max(*level);
                }
            }
            _ => {}
        }
    }
    longest
}

/// An operator that joins two operands or negates one; comparisons do not chain.
fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(word) => matches!(
            word.keyword,
            Keyword::AND
                | Keyword::OR
                | Keyword::NOT
                | Keyword::UNION
                | Keyword::EXCEPT
                | Keyword::INTERSECT
                | Keyword::JOIN
        ),
        Token::Plus | Token::Minus | Token::Mul | Token::Div | Token::Mod | Token::StringConcat | Token::Caret => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(sql: &str) -> Result<String> {
        Tokens::read(sql)?.numbered(sql)
    }

    #[test]
    fn question_marks_are_numbered_outside_of_text_and_comments() {
        let sql = "SELECT ?, '?', \"?\", -- ?\n é, ? /* ? */ FROM t WHERE a = ?";
        assert_eq!(numbered(sql).expect("numbered"), "SELECT $1, '?', \"?\", -- ?\n é, $2 /* ? */ FROM t WHERE a = $3");
        assert!(numbered("SELECT ?, $1").is_err());
    }

    #[test]
    fn a_dotted_name_is_found_whole() {
        let sql = "SELECT *\nFROM shop.sales.ordrs o";
        assert_eq!(Tokens::read(sql).expect("tokens").find("ordrs"), Some((2, 6, 16)));
    }

    #[test]
    fn a_long_chain_is_refused_and_a_long_list_is_not() {
        let error = Tokens::read(&format!("SELECT {}1", "1 + ".repeat(2_000))).expect_err("refused");
        assert_eq!(error.message(), "the statement chains 2000 operators; at most 1000 are accepted");
        Tokens::read(&format!("INSERT INTO t VALUES {}(-1)", "(-1, 2 * 3), ".repeat(5_000))).expect("accepted");
    }

    #[test]
    fn text_past_the_limit_is_refused() {
        let error = Tokens::read(&" ".repeat(MAX_CHARACTERS + 1)).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
    }
}
