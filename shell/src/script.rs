//! Cuts a script at its semicolons, outside of quotes, comments and dollar quotes.

/// What a text holds: whole statements, and what is left after the last semicolon.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Script {
    pub(crate) statements: Vec<String>,
    /// Text that is not ended yet; empty where there is none but blanks and comments.
    pub(crate) rest: String,
}

/// Cuts `text`. Statements of nothing but blanks and comments are left out.
pub(crate) fn split(text: &str) -> Script {
    let mut statements = Vec::new();
    let (mut start, mut at) = (0, 0);
    let mut content = false;
    while at < text.len() {
        let left = &text[at..];
        let step = blank_or_comment(left);
        if step > 0 {
            at += step;
        } else if left.starts_with(';') {
            if content {
                statements.push(text[start..at].trim().to_owned());
            }
            at += 1;
            (start, content) = (at, false);
        } else {
            content = true;
            at += quoted(left).unwrap_or_else(|| left.chars().next().map_or(1, char::len_utf8));
        }
    }
    let rest = if content { text[start..].trim().to_owned() } else { String::new() };
    Script { statements, rest }
}

/// How many bytes of blanks or of one comment `text` starts with; a comment that is not closed is neither.
fn blank_or_comment(text: &str) -> usize {
    if text.starts_with("--") {
        return text.find('\n').map_or(text.len(), |end| end + 1);
    }
    if text.starts_with("/*") {
        return comment(text).unwrap_or(0);
    }
    text.chars().next().filter(|c| c.is_whitespace()).map_or(0, char::len_utf8)
}

/// The length of the comment at the start of `text`, with those inside it; `None` where it is not closed.
fn comment(text: &str) -> Option<usize> {
    let (mut depth, mut at) = (0, 0);
    while let Some(step) = text[at..].find(['/', '*']) {
        at += step;
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += 1;
        }
    }
    None
}

/// How long the quoted text or the word is that `text` starts with; to the end where it is not closed.
fn quoted(text: &str) -> Option<usize> {
    let first = text.chars().next()?;
    let prefixed = |prefix: &str| text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    match first {
        '\'' | '"' | '`' => Some(close(text, 1, first, false)),
        'e' | 'E' | 'x' | 'X' if text[1..].starts_with('\'') => Some(close(text, 2, '\'', true)),
        'q' | 'Q' if prefixed("q'") => Some(close_delimited(text, 2)),
        'n' | 'N' if prefixed("nq'") => Some(close_delimited(text, 3)),
        '$' => {
            let tag = text[1..].find('$').map(|end| &text[..end + 2])?;
            let inner = &tag[1..tag.len() - 1];
            let valid = inner.chars().all(|c| c.is_alphanumeric() || c == '_');
            valid.then(|| text[tag.len()..].find(tag).map_or(text.len(), |end| end + 2 * tag.len()))
        }
        // Nothing closes it: the rest belongs to it, and the engine says so.
        '/' if text.starts_with("/*") => Some(text.len()),
        // An operator of its own, whose second half starts no comment.
        '/' if text.starts_with("//") => Some(2),
        // A word is taken whole, so that an e at its end starts no quote.
        c if c.is_alphabetic() || c == '_' => Some(text.find(|c: char| !is_word(c)).unwrap_or(text.len())),
        _ => None,
    }
}

fn is_word(c: char) -> bool {
    c.is_alphabetic() || c.is_ascii_digit() || matches!(c, '_' | '$' | '#' | '@')
}

/// The end of a text like `q'[…]'`, whose first character after the quote says what closes it.
fn close_delimited(text: &str, from: usize) -> usize {
    let Some(open) = text[from..].chars().next() else { return text.len() };
    let shut = match open {
        '[' => ']',
        '{' => '}',
        '<' => '>',
        '(' => ')',
        other => other,
    };
    let inner = from + open.len_utf8();
    let end = format!("{shut}'");
    text[inner..].find(&end).map_or(text.len(), |at| inner + at + end.len())
}

fn close(text: &str, from: usize, quote: char, backslash: bool) -> usize {
    let mut chars = text[from..].char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if backslash && c == '\\' {
            chars.next();
        } else if c == quote {
            match chars.peek() {
                Some((_, next)) if *next == quote => {
                    chars.next();
                }
                _ => return from + at + 1,
            }
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Vec<String> {
        let script = split(text);
        script.statements.into_iter().chain(Some(script.rest).filter(|rest| !rest.is_empty())).collect()
    }

    #[test]
    fn semicolons_in_quotes_and_comments_do_not_cut() {
        let cases: &[(&str, &[&str])] = &[
            ("SELECT 1; SELECT 2", &["SELECT 1", "SELECT 2"]),
            ("SELECT ';', \"a;b\" -- ;\n; SELECT 2;", &["SELECT ';', \"a;b\" -- ;", "SELECT 2"]),
            ("SELECT 'it''s;' ; x", &["SELECT 'it''s;'", "x"]),
            ("SELECT E'\\';' ; x", &["SELECT E'\\';'", "x"]),
            ("SELECT name'';' ; x", &["SELECT name''", "' ; x"]),
            ("/* ; /* ; */ ; */ SELECT 1 /* ; */;", &["/* ; /* ; */ ; */ SELECT 1 /* ; */"]),
            ("SELECT $a$ ; $b$ ; $a$; x", &["SELECT $a$ ; $b$ ; $a$", "x"]),
            ("SELECT $1; x", &["SELECT $1", "x"]),
            ("SELECT `a;b`, q'[it's; ]' ; x", &["SELECT `a;b`, q'[it's; ]'", "x"]),
            (";;-- nothing\n;", &[]),
            ("SELECT 'é;' ; ü", &["SELECT 'é;'", "ü"]),
        ];
        for (text, expected) in cases {
            assert_eq!(parts(text), *expected, "{text}");
        }
    }

    #[test]
    fn an_open_quote_or_comment_is_not_ended() {
        for text in ["SELECT 'a;\nb", "SELECT \"a;", "SELECT 1 /* ; /* ; */", "/* ;", "SELECT $a$ ; $b$", "SELECT `;"] {
            let script = split(text);
            assert_eq!((script.statements.len(), script.rest.as_str()), (0, text), "{text}");
        }
    }

    /// Where the engine's own reader sees statements, for a text that it can read.
    fn engine(text: &str) -> Option<usize> {
        use datafusion::sql::sqlparser::{dialect::GenericDialect, tokenizer::Token, tokenizer::Tokenizer};
        let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize().ok()?;
        let parts = tokens.split(|token| *token == Token::SemiColon);
        Some(parts.filter(|part| part.iter().any(|token| !matches!(token, Token::Whitespace(_)))).count())
    }

    #[test]
    fn the_shell_cuts_where_the_engine_sees_semicolons() {
        let pieces = [
            ";", "'", "\"", "`", "--", "\n", "/*", "*/", "$", "$a$", "E'", "x'", "q'[", "]'", "\\", "a", "e", "1", " ",
        ];
        let (mut read, mut wrong) = (0, Vec::new());
        for number in 0..pieces.len().pow(4) {
            let digits = (0..4).map(|place| pieces[number / pieces.len().pow(place) % pieces.len()]);
            let text: String = digits.chain([";"]).collect();
            if let Some(expected) = engine(&text) {
                read += 1;
                if parts(&text).len() != expected {
                    wrong.push(text);
                }
            }
        }
        assert!(wrong.is_empty(), "{} differ: {:?}", wrong.len(), &wrong[..wrong.len().min(20)]);
        assert!(read > 10_000, "only {read} texts could be read");
    }
}
