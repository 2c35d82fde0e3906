//! Queries in a source's own language: `TABLE(catalog.system.query('…'))` stands for a table of that name.

use std::ops::ControlFlow;

use connector_spi::{Error, ErrorKind, Result};
use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::{
    DollarQuotedString, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, TableFactor, Value,
    VisitorMut,
};

use crate::statement::{parts, visit};

/// Puts the table in the place of each such call. Errors: `SYNTAX` for arguments that are no texts.
pub(crate) fn name_queries(statement: &mut Parsed) -> Result<()> {
    let Parsed::Statement(statement) = statement else { return Ok(()) };
    visit(statement, &mut Namer)
}

struct Namer;

impl VisitorMut for Namer {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        let TableFactor::TableFunction { expr: Expr::Function(call), alias } = factor else {
            return ControlFlow::Continue(());
        };
        let (catalog, arguments) = match (parts(&call.name).as_slice(), &call.args) {
            ([catalog, schema, function], FunctionArguments::List(list))
                if schema == connectors::PASSTHROUGH_SCHEMA && function == "query" =>
            {
                (catalog.clone(), list.args.iter().map(text).collect::<Option<Vec<_>>>())
            }
            _ => return ControlFlow::Continue(()),
        };
        let Some(arguments) = arguments else {
            let error = Error::new(ErrorKind::Syntax, "the arguments of query must be texts in quotes");
            return ControlFlow::Break(
                error.hint("Write TABLE(catalog.system.query('…')), each quote in the text twice."),
            );
        };
        let table = connectors::passthrough_table(&arguments);
        let name = [catalog, connectors::PASSTHROUGH_SCHEMA.to_owned(), table];
        let name = ObjectName::from(name.map(|part| Ident::with_quote('"', part)).to_vec());
        let alias = alias.take();
        *factor = TableFactor::Table {
            name,
            alias,
            args: None,
            with_hints: Vec::new(),
            version: None,
            with_ordinality: false,
            partitions: Vec::new(),
            json_path: None,
            sample: None,
            index_hints: Vec::new(),
        };
        ControlFlow::Continue(())
    }
}

fn text(argument: &FunctionArg) -> Option<String> {
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) = argument else { return None };
    match &value.value {
        Value::SingleQuotedString(text) | Value::DollarQuotedString(DollarQuotedString { value: text, .. }) => {
            Some(text.clone())
        }
        _ => None,
    }
}
