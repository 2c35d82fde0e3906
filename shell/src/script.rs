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

/// How many bytes of blanks or of one comment `text` starts with.
fn blank_or_comment(text: &str) -> usize {
    if text.starts_with("--") {
        return text.find('\n').map_or(text.len(), |end| end + 1);
    }
    if text.starts_with("/*") {
        let mut depth = 0;
        let mut at = 0;
        while at < text.len() {
            let left = &text[at..];
            if left.starts_with("/*") {
                (depth, at) = (depth + 1, at + 2);
            } else if left.starts_with("*/") {
                (depth, at) = (depth - 1, at + 2);
                if depth == 0 {
                    return at;
                }
            } else {
                at += left.chars().next().map_or(1, char::len_utf8);
            }
        }
        return text.len();
    }
    text.chars().next().filter(|c| c.is_whitespace()).map_or(0, char::len_utf8)
}

/// How long the quoted text is that `text` starts with; to the end where it is not closed.
fn quoted(text: &str) -> Option<usize> {
    let first = text.chars().next()?;
    match first {
        '\'' | '"' => Some(close(text, 1, first, false)),
        'e' | 'E' if text[1..].starts_with('\'') => Some(close(text, 2, '\'', true)),
        '$' => {
            let tag = text[1..].find('$').map(|end| &text[..end + 2])?;
            let inner = &tag[1..tag.len() - 1];
            let valid = inner.chars().all(|c| c.is_alphanumeric() || c == '_')
                && !inner.starts_with(|c: char| c.is_ascii_digit());
            valid.then(|| text[tag.len()..].find(tag).map_or(text.len(), |end| end + 2 * tag.len()))
        }
        // A word is taken whole, so that an e at its end starts no quote.
        c if c.is_alphanumeric() || c == '_' => {
            Some(text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '$').unwrap_or(text.len()))
        }
        _ => None,
    }
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
            (";;-- nothing\n;", &[]),
            ("SELECT 'é;' ; ü", &["SELECT 'é;'", "ü"]),
        ];
        for (text, expected) in cases {
            assert_eq!(parts(text), *expected, "{text}");
        }
    }

    #[test]
    fn an_open_quote_is_not_ended() {
        let script = split("SELECT 'a;\nb");
        assert_eq!((script.statements.len(), script.rest.as_str()), (0, "SELECT 'a;\nb"));
    }
}
