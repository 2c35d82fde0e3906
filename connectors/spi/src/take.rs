//! How much of a predicate a source takes over, when it knows what it takes of each condition on one column.

use crate::{Comparison, Predicate, Refusal, RefusalCode};

/// A filter nested deeper than this is applied by the engine alone.
const DEEPEST: usize = 64;

/// What a source takes of a predicate.
#[derive(Debug, PartialEq)]
pub struct Taken<T> {
    /// All of it, or some parts of its conjunctions.
    pub kept: Predicate,
    /// The same in the source's own form.
    pub form: T,
    /// Whether it is true where the whole predicate is, and nowhere else, NULL included; if not, it is true at least there.
    pub exact: bool,
}

/// How forms are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connective {
    /// All of them.
    And,
    /// Any of them.
    Or,
    /// The opposite of the one; NULL stays NULL. Never asked for after [`inwards`].
    Not,
}

/// What is taken of a predicate: `leaf` says it for a condition on one column, and `connect` puts forms together.
///
/// Errors: the reason why nothing is, where the predicate is true in more cases than any part that is taken.
pub fn take<T>(
    predicate: &Predicate,
    leaf: &impl Fn(&Predicate) -> Result<(T, bool), Refusal>,
    connect: &impl Fn(Connective, Vec<T>) -> T,
) -> Result<Taken<T>, Refusal> {
    nested(predicate, leaf, connect, 0)
}

fn nested<T>(
    predicate: &Predicate,
    leaf: &impl Fn(&Predicate) -> Result<(T, bool), Refusal>,
    connect: &impl Fn(Connective, Vec<T>) -> T,
    depth: usize,
) -> Result<Taken<T>, Refusal> {
    if depth > DEEPEST {
        return Err(Refusal::new(RefusalCode::Size, "the filter is nested too deeply"));
    }
    let below = |part| nested(part, leaf, connect, depth + 1);
    let joined = |taken: Vec<Taken<T>>, all: bool, connective, make: fn(Vec<Predicate>) -> Predicate| {
        let exact = all && taken.iter().all(|part| part.exact);
        let (kept, forms): (Vec<_>, Vec<_>) = taken.into_iter().map(|part| (part.kept, part.form)).unzip();
        Taken { kept: make(kept), form: connect(connective, forms), exact }
    };
    match predicate {
        // What is taken of the parts is a superset of what passes all of them.
        Predicate::And(parts) => {
            let mut refused = Refusal::new(RefusalCode::Value, "an empty conjunction");
            let mut taken = Vec::with_capacity(parts.len());
            for part in parts {
                match below(part) {
                    Ok(part) => taken.push(part),
                    Err(reason) => refused = reason,
                }
            }
            if taken.is_empty() {
                return Err(refused);
            }
            let all = taken.len() == parts.len();
            Ok(joined(taken, all, Connective::And, Predicate::And))
        }
        Predicate::Or(parts) if parts.is_empty() => Err(Refusal::new(RefusalCode::Value, "an empty disjunction")),
        // Each part must let through at least its own rows.
        Predicate::Or(parts) => {
            let taken = parts.iter().map(below).collect::<Result<Vec<_>, _>>()?;
            Ok(joined(taken, true, Connective::Or, Predicate::Or))
        }
        Predicate::Not(inner) => match below(inner)? {
            Taken { kept, form, exact: true } => Ok(Taken {
                kept: Predicate::Not(Box::new(kept)),
                form: connect(Connective::Not, vec![form]),
                exact: true,
            }),
            // The opposite of too many rows is too few.
            _ => Err(Refusal::new(RefusalCode::Type, "the opposite of a filter that is not exact")),
        },
        condition => {
            let (form, exact) = leaf(condition)?;
            Ok(Taken { kept: condition.clone(), form, exact })
        }
    }
}

/// The same predicate with every NOT inside its conditions; for sources whose own NOT treats NULL in another way.
#[must_use]
pub fn inwards(predicate: &Predicate) -> Predicate {
    turned(predicate, false)
}

fn turned(predicate: &Predicate, opposite: bool) -> Predicate {
    let all = |parts: &[Predicate]| parts.iter().map(|part| turned(part, opposite)).collect::<Vec<_>>();
    match predicate {
        Predicate::Not(inner) => turned(inner, !opposite),
        Predicate::And(parts) if opposite => Predicate::Or(all(parts)),
        Predicate::And(parts) => Predicate::And(all(parts)),
        Predicate::Or(parts) if opposite => Predicate::And(all(parts)),
        Predicate::Or(parts) => Predicate::Or(all(parts)),
        leaf if !opposite => leaf.clone(),
        Predicate::Compare { column, op, value } => {
            let op = match op {
                Comparison::Eq => Comparison::NotEq,
                Comparison::NotEq => Comparison::Eq,
                Comparison::Lt => Comparison::GtEq,
                Comparison::LtEq => Comparison::Gt,
                Comparison::Gt => Comparison::LtEq,
                Comparison::GtEq => Comparison::Lt,
            };
            Predicate::Compare { column: *column, op, value: value.clone() }
        }
        Predicate::In { column, values, negated } => {
            Predicate::In { column: *column, values: values.clone(), negated: !negated }
        }
        Predicate::Null { column, negated } => Predicate::Null { column: *column, negated: !negated },
        Predicate::Like { column, pattern, escape, negated, case_insensitive } => Predicate::Like {
            column: *column,
            pattern: pattern.clone(),
            escape: *escape,
            negated: !negated,
            case_insensitive: *case_insensitive,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Literal;

    fn is(value: i64, op: Comparison) -> Predicate {
        Predicate::Compare { column: 0, op, value: Literal::Integer(value) }
    }

    /// Exact for 1, a superset for 2, refused for the rest.
    fn leaf(condition: &Predicate) -> Result<(String, bool), Refusal> {
        match condition {
            Predicate::Compare { value: Literal::Integer(value @ (1 | 2)), .. } => Ok((value.to_string(), *value == 1)),
            _ => Err(Refusal::new(RefusalCode::Value, "another number")),
        }
    }

    fn connect(connective: Connective, forms: Vec<String>) -> String {
        format!("{connective:?}({})", forms.join(" "))
    }

    fn taken(predicate: &Predicate) -> Option<(String, bool)> {
        take(predicate, &leaf, &connect).ok().map(|taken| (taken.form, taken.exact))
    }

    #[test]
    fn combinations_are_as_good_as_their_parts_allow() {
        let [exact, wide, none] = [1, 2, 3].map(|value| is(value, Comparison::Eq));
        let not = |inner: &Predicate| Predicate::Not(Box::new(inner.clone()));
        let (and, or) = (Predicate::And, Predicate::Or);
        let cases = [
            (and(vec![exact.clone(), exact.clone()]), Some(("And(1 1)", true))),
            (and(vec![exact.clone(), wide.clone()]), Some(("And(1 2)", false))),
            (and(vec![exact.clone(), none.clone()]), Some(("And(1)", false))),
            (and(vec![none.clone()]), None),
            (and(Vec::new()), None),
            (or(vec![exact.clone(), wide.clone()]), Some(("Or(1 2)", false))),
            (or(vec![exact.clone(), none.clone()]), None),
            (or(Vec::new()), None),
            (not(&exact), Some(("Not(1)", true))),
            (not(&wide), None),
            (not(&and(vec![exact.clone(), none])), None),
        ];
        for (predicate, wanted) in cases {
            assert_eq!(taken(&predicate), wanted.map(|(form, exact)| (form.to_owned(), exact)), "{predicate:?}");
        }
        assert_eq!(taken(&(0..200).fold(exact, |inner, _| not(&inner))), None);
    }

    #[test]
    fn not_moves_to_the_conditions_and_two_are_none() {
        let not = |inner| Predicate::Not(Box::new(inner));
        let both = Predicate::And(vec![is(1, Comparison::Lt), not(Predicate::Null { column: 1, negated: false })]);
        let opposite = Predicate::Or(vec![is(1, Comparison::GtEq), Predicate::Null { column: 1, negated: false }]);
        assert_eq!(inwards(&not(both.clone())), opposite);
        let plain = Predicate::And(vec![is(1, Comparison::Lt), Predicate::Null { column: 1, negated: true }]);
        assert_eq!(inwards(&not(not(both))), plain);
    }
}
