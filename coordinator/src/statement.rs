//! What a text asks for: our own statements are recognised here, the rest is SQL for DataFusion.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use connector_spi::{Error, ErrorKind, Result};
use datafusion::sql::parser::{DFParserBuilder, Statement as Parsed};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use serde_json::Value;

use crate::change::Change;
use crate::lexer::{Tokens, place};

/// One statement.
#[derive(Debug, Clone)]
pub(crate) enum Statement {
    /// SELECT, VALUES, TABLE, WITH.
    Query(Box<Parsed>),
    /// INSERT.
    Insert(Box<ast::Insert>),
    /// UPDATE or DELETE.
    Change(Box<Change>),
    /// EXPLAIN [ANALYZE] of a query.
    Explain {
        analyze: bool,
        query: Box<Parsed>,
    },
    /// CREATE TABLE with columns or AS.
    CreateTable(Box<ast::CreateTable>),
    DropTable {
        names: Vec<Vec<String>>,
        if_exists: bool,
    },
    CreateSchema {
        name: Vec<String>,
        if_not_exists: bool,
    },
    DropSchema {
        name: Vec<String>,
        if_exists: bool,
    },
    CreateCatalog {
        name: String,
        connector: String,
        options: BTreeMap<String, Value>,
        if_not_exists: bool,
    },
    DropCatalog {
        name: String,
        if_exists: bool,
    },
    ShowCatalogs {
        like: Option<String>,
    },
    ShowSchemas {
        catalog: Option<String>,
        like: Option<String>,
    },
    ShowTables {
        from: Vec<String>,
        like: Option<String>,
    },
    ShowColumns {
        table: Vec<String>,
    },
    Use(Vec<String>),
    Set {
        name: String,
        value: String,
    },
    Reset {
        name: Option<String>,
    },
    ShowSetting {
        name: Option<String>,
    },
    Kill {
        query_id: String,
    },
}

/// Parses one statement. Errors: `SYNTAX` with its place, `UNSUPPORTED` for what is never run.
pub(crate) fn parse(sql: &str) -> Result<Statement> {
    let tokens = Tokens::read(sql)?;
    if tokens.all().is_empty() {
        return Err(Error::new(ErrorKind::Syntax, "the statement is empty"));
    }
    let mut words = Words { tokens: tokens.all(), at: 0 };
    if let Some(own) = words.own()? {
        return Ok(own);
    }
    foreign(&tokens.numbered(sql)?)
}

fn foreign(sql: &str) -> Result<Statement> {
    let parse = || {
        DFParserBuilder::new(sql).with_dialect(&GenericDialect {}).with_recursion_limit(50).build()?.parse_statements()
    };
    let mut statements = parse().map_err(|error| crate::error::explain(&error, sql))?;
    let (Some(statement), None) = (statements.pop_front(), statements.pop_front()) else {
        return Err(Error::new(ErrorKind::Syntax, "one statement is run at a time")
            .hint("The shell splits a script at its semicolons; send the statements one by one."));
    };
    let mut statement = statement;
    settle(&mut statement)?;
    match statement {
        Parsed::Explain(explain) => match *explain.statement {
            mut inner @ Parsed::Statement(_) if is_query(&inner) => {
                settle(&mut inner)?;
                Ok(Statement::Explain { analyze: explain.options.analyze, query: Box::new(inner) })
            }
            _ => Err(Error::unsupported("EXPLAIN is known for queries only")),
        },
        Parsed::Statement(inner) => statement_of(*inner),
        Parsed::CreateExternalTable(_) => Err(refused("CREATE EXTERNAL TABLE")),
        Parsed::CopyTo(_) => Err(refused("COPY")),
        Parsed::Reset(_) => Err(Error::unsupported("RESET takes the name of a setting, or ALL")),
    }
}

/// What DataFusion would not take, or take for something else, as what it takes.
fn settle(statement: &mut Parsed) -> Result<()> {
    crate::precedence::settle(statement)?;
    crate::naming::name_columns(statement);
    crate::literal::settle(statement)?;
    crate::passthrough::name_queries(statement)
}

/// Walks a statement until the visitor finds an error.
pub(crate) fn visit(statement: &mut ast::Statement, visitor: &mut impl ast::VisitorMut<Break = Error>) -> Result<()> {
    match ast::VisitMut::visit(statement, visitor) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

fn is_query(statement: &Parsed) -> bool {
    matches!(statement, Parsed::Statement(inner) if matches!(**inner, ast::Statement::Query(_)))
}

/// Files are reached through catalogs, never by a path in a statement.
fn refused(what: &str) -> Error {
    Error::unsupported(format!("{what} is not allowed; statements cannot name files or locations"))
        .hint("CREATE CATALOG … USING files WITH (location '…') makes a folder or bucket readable.")
}

fn statement_of(statement: ast::Statement) -> Result<Statement> {
    Ok(match statement {
        ast::Statement::Query(_) => Statement::Query(Box::new(Parsed::Statement(Box::new(statement)))),
        ast::Statement::Insert(insert) => Statement::Insert(Box::new(insert)),
        ast::Statement::CreateTable(create) => {
            if create.external || create.location.is_some() {
                return Err(refused("CREATE EXTERNAL TABLE"));
            }
            Statement::CreateTable(Box::new(create))
        }
        ast::Statement::Drop { object_type: ast::ObjectType::Table, names, if_exists, .. } => {
            Statement::DropTable { names: names.iter().map(parts).collect(), if_exists }
        }
        ast::Statement::Drop { object_type: ast::ObjectType::Schema, names, if_exists, .. } if names.len() == 1 => {
            Statement::DropSchema { name: parts(&names[0]), if_exists }
        }
        ast::Statement::CreateSchema { schema_name: ast::SchemaName::Simple(name), if_not_exists, .. } => {
            Statement::CreateSchema { name: parts(&name), if_not_exists }
        }
        ast::Statement::Explain { .. } => return Err(Error::unsupported("EXPLAIN is known for queries only")),
        ast::Statement::Copy { .. } => return Err(refused("COPY")),
        ast::Statement::Update(update) => Statement::Change(Box::new(Change::update(update)?)),
        ast::Statement::Delete(delete) => Statement::Change(Box::new(Change::delete(delete)?)),
        ast::Statement::Merge { .. } => return Err(Error::unsupported("MERGE is not supported")),
        ast::Statement::StartTransaction { .. } | ast::Statement::Commit { .. } | ast::Statement::Rollback { .. } => {
            return Err(Error::unsupported("transactions are not supported; each statement is one of its own"));
        }
        other => {
            let text = other.to_string();
            let verb: Vec<&str> = text.split_whitespace().take(2).collect();
            return Err(Error::unsupported(format!("{} is not supported", verb.join(" ").to_uppercase())));
        }
    })
}

/// The parts of a name, folded as SQL does.
pub(crate) fn parts(name: &ast::ObjectName) -> Vec<String> {
    let part = |part: &ast::ObjectNamePart| match part {
        ast::ObjectNamePart::Identifier(ident) => match ident.quote_style {
            Some(_) => ident.value.clone(),
            None => ident.value.to_lowercase(),
        },
        other => other.to_string(),
    };
    name.0.iter().map(part).collect()
}

/// A cursor over tokens for our own statements.
struct Words<'a> {
    tokens: &'a [TokenWithSpan],
    at: usize,
}

impl Words<'_> {
    fn own(&mut self) -> Result<Option<Statement>> {
        let statement = if self.all(&["CREATE", "CATALOG"]) {
            self.create_catalog()?
        } else if self.all(&["DROP", "CATALOG"]) {
            let if_exists = self.all(&["IF", "EXISTS"]);
            Statement::DropCatalog { name: self.name()?, if_exists }
        } else if self.all(&["SHOW"]) {
            self.show()?
        } else if self.all(&["DESCRIBE"]) || self.all(&["DESC"]) {
            self.all(&["TABLE"]);
            Statement::ShowColumns { table: self.dotted()? }
        } else if self.all(&["USE"]) {
            Statement::Use(self.dotted()?)
        } else if self.all(&["SET"]) {
            self.set()?
        } else if self.all(&["RESET"]) {
            let name = if self.all(&["ALL"]) { None } else { Some(self.setting()?) };
            Statement::Reset { name }
        } else if self.all(&["KILL"]) {
            self.all(&["QUERY"]);
            Statement::Kill { query_id: self.text()? }
        } else {
            return Ok(None);
        };
        match self.tokens.get(self.at) {
            None => Ok(Some(statement)),
            Some(_) => Err(self.unexpected("the end of the statement")),
        }
    }

    fn create_catalog(&mut self) -> Result<Statement> {
        let if_not_exists = self.all(&["IF", "NOT", "EXISTS"]);
        let name = self.name()?;
        self.must("USING")?;
        let connector = self.name()?;
        let mut options = BTreeMap::new();
        if self.all(&["WITH"]) {
            self.symbol(&Token::LParen, "(")?;
            while !self.take(&Token::RParen) {
                let key = self.name_or_text()?;
                self.take(&Token::Eq);
                options.insert(key, self.value()?);
                if !self.take(&Token::Comma) && self.tokens.get(self.at).is_none_or(|t| t.token != Token::RParen) {
                    return Err(self.unexpected("\",\" or \")\""));
                }
            }
        }
        Ok(Statement::CreateCatalog { name, connector, options, if_not_exists })
    }

    fn show(&mut self) -> Result<Statement> {
        if self.all(&["CATALOGS"]) {
            Ok(Statement::ShowCatalogs { like: self.like()? })
        } else if self.all(&["SCHEMAS"]) || self.all(&["DATABASES"]) {
            let catalog = if self.all(&["FROM"]) || self.all(&["IN"]) { Some(self.name()?) } else { None };
            Ok(Statement::ShowSchemas { catalog, like: self.like()? })
        } else if self.all(&["TABLES"]) {
            let from = if self.all(&["FROM"]) || self.all(&["IN"]) { self.dotted()? } else { Vec::new() };
            Ok(Statement::ShowTables { from, like: self.like()? })
        } else if self.all(&["COLUMNS"]) {
            if !self.all(&["FROM"]) && !self.all(&["IN"]) {
                return Err(self.unexpected("FROM"));
            }
            Ok(Statement::ShowColumns { table: self.dotted()? })
        } else if self.all(&["ALL"]) {
            Ok(Statement::ShowSetting { name: None })
        } else {
            Ok(Statement::ShowSetting { name: Some(self.setting()?) })
        }
    }

    fn set(&mut self) -> Result<Statement> {
        self.all(&["SESSION"]);
        let name = self.setting()?;
        if name != "time_zone" || !self.take(&Token::Eq) {
            let _ = self.take(&Token::Eq) || self.all(&["TO"]);
        }
        let value = match self.value()? {
            Value::String(text) => text,
            other => other.to_string(),
        };
        Ok(Statement::Set { name, value })
    }

    /// A setting's name; `TIME ZONE` is `time_zone`.
    fn setting(&mut self) -> Result<String> {
        if self.all(&["TIME", "ZONE"]) || self.all(&["TIMEZONE"]) {
            return Ok("time_zone".to_owned());
        }
        Ok(self.dotted()?.join("."))
    }

    fn like(&mut self) -> Result<Option<String>> {
        if self.all(&["LIKE"]) { self.text().map(Some) } else { Ok(None) }
    }

    fn all(&mut self, words: &[&str]) -> bool {
        let is = |(at, word): (usize, &&str)| matches!(self.tokens.get(self.at + at).map(|t| &t.token), Some(Token::Word(w)) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word));
        let found = words.iter().enumerate().all(is);
        if found {
            self.at += words.len();
        }
        found
    }

    fn must(&mut self, word: &str) -> Result<()> {
        if self.all(&[word]) { Ok(()) } else { Err(self.unexpected(word)) }
    }

    fn take(&mut self, token: &Token) -> bool {
        let found = self.tokens.get(self.at).is_some_and(|t| t.token == *token);
        self.at += usize::from(found);
        found
    }

    fn symbol(&mut self, token: &Token, shown: &str) -> Result<()> {
        if self.take(token) { Ok(()) } else { Err(self.unexpected(&format!("\"{shown}\""))) }
    }

    fn name(&mut self) -> Result<String> {
        match self.tokens.get(self.at).map(|t| &t.token) {
            Some(Token::Word(word)) => {
                self.at += 1;
                Ok(if word.quote_style.is_some() { word.value.clone() } else { word.value.to_lowercase() })
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    fn dotted(&mut self) -> Result<Vec<String>> {
        let mut parts = vec![self.name()?];
        while self.take(&Token::Period) {
            parts.push(self.name()?);
        }
        Ok(parts)
    }

    fn text(&mut self) -> Result<String> {
        match self.tokens.get(self.at).map(|t| &t.token) {
            Some(Token::SingleQuotedString(text)) => {
                self.at += 1;
                Ok(text.clone())
            }
            _ => Err(self.unexpected("text in single quotes")),
        }
    }

    fn name_or_text(&mut self) -> Result<String> {
        self.text().or_else(|_| self.name())
    }

    fn value(&mut self) -> Result<Value> {
        let negative = self.take(&Token::Minus);
        let value = match self.tokens.get(self.at).map(|t| &t.token) {
            Some(Token::SingleQuotedString(text)) if !negative => Value::from(text.clone()),
            Some(Token::Number(digits, _)) => {
                let digits = if negative { format!("-{digits}") } else { digits.clone() };
                digits.parse::<i64>().map(Value::from).unwrap_or(Value::from(digits))
            }
            Some(Token::Word(word)) if !negative => match word.value.to_lowercase().as_str() {
                "true" => Value::from(true),
                "false" => Value::from(false),
                other => Value::from(other),
            },
            _ => return Err(self.unexpected("a value")),
        };
        self.at += 1;
        Ok(value)
    }

    fn unexpected(&self, wanted: &str) -> Error {
        let error = |found: &str| Error::new(ErrorKind::Syntax, format!("expected: {wanted}, found: {found}"));
        match self.tokens.get(self.at) {
            Some(found) => {
                let start = found.span.start;
                place(error(&found.token.to_string()), start.line, start.column)
            }
            None => {
                let end = self.tokens.last().map_or((1, 1), |last| (last.span.end.line, last.span.end.column));
                place(error("the end of the statement"), end.0, end.1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catalog_is_created_with_options_in_both_spellings() {
        let sql = "create catalog if not exists pg using postgres with (url 'postgres://h', max_connections = 5, allow_http true)";
        let Statement::CreateCatalog { name, connector, options, if_not_exists } = parse(sql).expect("parses") else {
            unreachable!("another statement")
        };
        assert_eq!((name.as_str(), connector.as_str(), if_not_exists), ("pg", "postgres", true));
        assert_eq!(options["max_connections"], Value::from(5));
        assert_eq!(options["allow_http"], Value::from(true));
    }

    #[test]
    fn a_mistake_in_an_own_statement_has_its_place() {
        let error = parse("SHOW TABLES\nFRM x").expect_err("wrong");
        assert_eq!(error.to_string(), "SYNTAX: expected: the end of the statement, found: FRM");
        assert_eq!((error.context("line"), error.context("column")), (Some("2"), Some("1")));
    }

    #[test]
    fn statements_that_name_files_are_refused() {
        for sql in [
            "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
            "COPY (SELECT 1) TO '/tmp/x'",
            "create external table t stored as parquet location 'file:///etc'",
        ] {
            assert_eq!(parse(sql).expect_err(sql).kind(), ErrorKind::Unsupported, "{sql}");
        }
    }

    #[test]
    fn settings_are_set_in_all_spellings() {
        for sql in ["SET pushdown = none", "set pushdown to 'none'", "SET SESSION pushdown = 'none';"] {
            assert!(
                matches!(parse(sql), Ok(Statement::Set { name, value }) if name == "pushdown" && value == "none"),
                "{sql}"
            );
        }
        assert!(
            matches!(parse("SET TIME ZONE 'Asia/Kathmandu'"), Ok(Statement::Set { name, .. }) if name == "time_zone")
        );
    }
}
