//! Names for columns that the statement does not name: the expression's own text, and never the
//! same name twice, since the engine refuses that.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::{Expr, Ident, Query, Select, SelectItem, SetExpr, VisitMut, VisitorMut};

/// Names the columns of every SELECT in the statement.
pub(crate) fn name_columns(statement: &mut Parsed) {
    if let Parsed::Statement(statement) = statement {
        // The visitor never stops early.
        let _ = statement.visit(&mut Namer);
    }
}

struct Namer;

impl VisitorMut for Namer {
    type Break = ();

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        name_set(&mut query.body);
        ControlFlow::Continue(())
    }
}

fn name_set(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => name_select(select),
        SetExpr::SetOperation { left, right, .. } => {
            name_set(left);
            name_set(right);
        }
        _ => {}
    }
}

fn name_select(select: &mut Select) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    // `*` has every column already, so a column beside it is there twice.
    let all = select.projection.iter().any(|item| matches!(item, SelectItem::Wildcard(_)));
    for item in &mut select.projection {
        let (name, plain) = match &*item {
            SelectItem::UnnamedExpr(Expr::Identifier(ident)) => (folded(ident), true),
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => match parts.last() {
                Some(last) => (folded(last), true),
                None => continue,
            },
            SelectItem::UnnamedExpr(expr) => (expr.to_string(), false),
            SelectItem::ExprWithAlias { alias, .. } => (folded(alias), true),
            _ => continue,
        };
        let of_table = matches!(&*item, SelectItem::UnnamedExpr(Expr::Identifier(_) | Expr::CompoundIdentifier(_)));
        let times = seen.entry(name.clone()).or_insert(usize::from(all && of_table));
        *times += 1;
        let fresh = if *times > 1 { format!("{name}:{}", *times - 1) } else { name };
        if *times == 1 && plain {
            continue;
        }
        let alias = Ident::with_quote('"', fresh);
        match item {
            SelectItem::UnnamedExpr(expr) => *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias },
            // A name that the user gave twice is the user's to mend.
            _ => continue,
        }
    }
}

fn folded(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::parser::DFParser;

    use super::*;

    fn named(sql: &str) -> String {
        let mut statement = DFParser::parse_sql(sql).expect("parses").pop_front().expect("one");
        name_columns(&mut statement);
        statement.to_string()
    }

    #[test]
    fn columns_get_the_text_of_their_expression_and_no_name_twice() {
        assert_eq!(
            named("SELECT 1, 1, a, t.a, count(*) FROM t"),
            "SELECT 1 AS \"1\", 1 AS \"1:1\", a, t.a AS \"a:1\", count(*) AS \"count(*)\" FROM t"
        );
        assert_eq!(
            named("SELECT x AS y, (SELECT 1 + 1) AS z FROM t"),
            "SELECT x AS y, (SELECT 1 + 1 AS \"1 + 1\") AS z FROM t"
        );
        assert_eq!(named("SELECT *, a, a FROM t"), "SELECT *, a AS \"a:1\", a AS \"a:2\" FROM t");
        assert_eq!(named("SELECT 1 UNION SELECT 2 + 3"), "SELECT 1 AS \"1\" UNION SELECT 2 + 3 AS \"2 + 3\"");
    }
}
