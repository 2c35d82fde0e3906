//! What operators belong to, where the parser takes it for something else.
//!
//! `a IS [NOT] DISTINCT FROM b AND c` is read by sqlparser 0.62 as if `b AND c` stood in parentheses: silently wrong where
//! `b` is a boolean, an error where it is not.

use std::mem;
use std::ops::ControlFlow;

use connector_spi::{Error, Result};
use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::{self, BinaryOperator, Expr, UnaryOperator, Value, VisitorMut};

/// Lets `AND` and `OR` end the right side of `IS DISTINCT FROM`.
pub(crate) fn settle(statement: &mut Parsed) -> Result<()> {
    let Parsed::Statement(statement) = statement else { return Ok(()) };
    // Most statements have none, and a chain is put together anew for each of its parts.
    if misread(statement) { crate::statement::visit(statement, &mut Settle) } else { Ok(()) }
}

/// Whether a comparison has taken the rest of a condition for its right side.
fn misread(statement: &ast::Statement) -> bool {
    let found = ast::visit_expressions(statement, |expr| match expr {
        Expr::IsDistinctFrom(_, right) | Expr::IsNotDistinctFrom(_, right) if !is_single(right) => {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

fn is_single(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryOp { op, .. } => !matches!(op, BinaryOperator::And | BinaryOperator::Or),
        Expr::IsDistinctFrom(_, right) | Expr::IsNotDistinctFrom(_, right) => is_single(right),
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => is_single(expr),
        _ => true,
    }
}

struct Settle;

impl VisitorMut for Settle {
    type Break = Error;

    // The whole of a chain comes before its parts.
    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        if !is_single(expr) {
            let chain = Chain::of(mem::replace(expr, nothing()));
            *expr = chain.together();
        }
        ControlFlow::Continue(())
    }
}

/// Operands, and the operator that stands before each of them but the first.
struct Chain {
    first: Expr,
    rest: Vec<(BinaryOperator, Expr)>,
}

impl Chain {
    /// What stands in a text from left to right, whatever the parser took it for.
    fn of(mut expr: Expr) -> Self {
        // A long chain leans to the left, and a parser that counts its depth made what leans to the right.
        let mut after = Vec::new();
        while let Expr::BinaryOp { left, op: op @ (BinaryOperator::And | BinaryOperator::Or), right } = expr {
            after.push((op, Self::of(*right)));
            expr = *left;
        }
        let mut chain = match expr {
            Expr::UnaryOp { op: op @ UnaryOperator::Not, expr } => {
                Self::of(*expr).with_first(|first| Expr::UnaryOp { op, expr: Box::new(first) })
            }
            Expr::IsDistinctFrom(left, right) => {
                Self::of(*right).with_first(|first| Expr::IsDistinctFrom(left, Box::new(first)))
            }
            Expr::IsNotDistinctFrom(left, right) => {
                Self::of(*right).with_first(|first| Expr::IsNotDistinctFrom(left, Box::new(first)))
            }
            first => Self { first, rest: Vec::new() },
        };
        for (op, Self { first, rest }) in after.into_iter().rev() {
            chain.rest.push((op, first));
            chain.rest.extend(rest);
        }
        chain
    }

    fn with_first(self, make: impl FnOnce(Expr) -> Expr) -> Self {
        Self { first: make(self.first), rest: self.rest }
    }

    /// `AND` binds more than `OR`; both are put together from the left.
    fn together(self) -> Expr {
        let joined = |left, op, right| Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) };
        let (mut any, mut all) = (None, self.first);
        for (op, operand) in self.rest {
            if op == BinaryOperator::And {
                all = joined(all, op, operand);
            } else {
                any = Some(match any {
                    None => all,
                    Some(before) => joined(before, BinaryOperator::Or, all),
                });
                all = operand;
            }
        }
        match any {
            None => all,
            Some(before) => joined(before, BinaryOperator::Or, all),
        }
    }
}

fn nothing() -> Expr {
    Expr::Value(Value::Null.with_empty_span())
}

#[cfg(test)]
mod tests {
    use datafusion::sql::parser::DFParser;

    use super::*;

    #[test]
    fn and_and_or_end_a_comparison_by_distinct_from() {
        for (sql, wanted) in [
            ("a IS DISTINCT FROM b AND c", "(a IS DISTINCT FROM b) AND c"),
            ("a IS NOT DISTINCT FROM b + 1 AND c OR d", "((a IS NOT DISTINCT FROM (b + 1)) AND c) OR d"),
            ("x OR a IS DISTINCT FROM b AND c", "x OR ((a IS DISTINCT FROM b) AND c)"),
            ("a IS DISTINCT FROM (b AND c) AND d", "(a IS DISTINCT FROM (b AND c)) AND d"),
            (
                "a IS DISTINCT FROM b AND c IS DISTINCT FROM d OR e",
                "((a IS DISTINCT FROM b) AND (c IS DISTINCT FROM d)) OR e",
            ),
            ("a IS DISTINCT FROM b OR c OR d AND e", "((a IS DISTINCT FROM b) OR c) OR (d AND e)"),
            ("NOT a IS DISTINCT FROM b AND c", "(NOT (a IS DISTINCT FROM b)) AND c"),
            ("CASE WHEN a IS DISTINCT FROM b AND c THEN d END", "CASE WHEN (a IS DISTINCT FROM b) AND c THEN d END"),
        ] {
            let settled = |text: &str| {
                let mut parsed = DFParser::parse_sql(&format!("SELECT {text}")).expect("parses");
                let mut statement = parsed.pop_front().expect("one");
                settle(&mut statement).expect("settled");
                tree(&statement)
            };
            assert_eq!(settled(sql), settled(wanted), "{sql}");
        }
    }

    /// The tree without parentheses that only say what it is anyway.
    fn tree(statement: &Parsed) -> String {
        struct Bare;
        impl VisitorMut for Bare {
            type Break = Error;
            fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
                if let Expr::Nested(inner) = expr {
                    *expr = mem::replace(&mut **inner, nothing());
                }
                ControlFlow::Continue(())
            }
        }
        let Parsed::Statement(mut statement) = statement.clone() else { panic!("a statement") };
        crate::statement::visit(&mut statement, &mut Bare).expect("visited");
        let debug = format!("{statement:?}");
        // Places differ.
        let mut bare = String::new();
        let mut rest = debug.as_str();
        while let Some((before, after)) = rest.split_once("Location(") {
            bare.push_str(before);
            rest = after.split_once(')').expect("closed").1;
        }
        bare + rest
    }
}
