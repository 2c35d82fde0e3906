//! Makes column names unique inside a plan.
//!
//! Physical filter pushdown of DataFusion 55 finds columns by name, so a filter can land on the
//! wrong side of a join whose sides share a name (apache/datafusion#25244, #25262 to #25264,
//! #25296). Until the fix is released, the last logical rule renames: where a join's inputs share
//! a plain name, a projection gives the right side's column another. Places in every schema stay
//! as they are, so the expressions above follow by place; a projection on top gives the user's
//! names back.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::{Expr, Join, LogicalPlan, LogicalPlanBuilder, Projection};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// The rule; it must be the last one.
#[derive(Debug, Default)]
pub(crate) struct UniqueName;

impl OptimizerRule for UniqueName {
    fn name(&self) -> &str {
        "unique_name"
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if !shares_names(&plan)? || !can_rename(&plan)? {
            return Ok(Transformed::no(plan));
        }
        match plan {
            // These keep their own schema; only what they run is renamed inside.
            LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Ddl(_)
            | LogicalPlan::Copy(_) => plan.map_children(|child| Ok(Transformed::yes(restored(child)?))),
            plan => Ok(Transformed::yes(restored(plan)?)),
        }
    }
}

/// Whether some join's inputs share a plain name.
fn shares_names(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|node| {
        Ok(match node {
            LogicalPlan::Join(join) => {
                let mut seen = HashSet::new();
                !names(join.left.schema()).chain(names(join.right.schema())).all(|name| seen.insert(name.to_owned()))
            }
            _ => false,
        })
    })
}

/// A subquery that is still inside an expression, or a recursive query, refers to names from
/// elsewhere; such a plan is left as it is, and the guard keeps filters where they are.
fn can_rename(plan: &LogicalPlan) -> Result<bool> {
    let mut can = true;
    plan.apply(|node| {
        if matches!(node, LogicalPlan::RecursiveQuery(_) | LogicalPlan::Subquery(_) | LogicalPlan::Unnest(_)) {
            can = false;
        }
        for expr in node.expressions() {
            can &= !expr.exists(|expr| {
                Ok(matches!(
                    expr,
                    Expr::ScalarSubquery(_)
                        | Expr::InSubquery(_)
                        | Expr::Exists(_)
                        | Expr::SetComparison(_)
                        | Expr::OuterReferenceColumn(..)
                ))
            })?;
        }
        Ok(if can { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(can)
}

/// The plan with unique names inside and its own names on top.
fn restored(plan: LogicalPlan) -> Result<LogicalPlan> {
    let old = Arc::clone(plan.schema());
    let renamed = rename(plan)?;
    let same = renamed.schema().iter().zip(old.iter()).all(|((q1, f1), (q2, f2))| q1 == q2 && f1.name() == f2.name());
    if same {
        return Ok(renamed);
    }
    let columns =
        renamed.schema().columns().into_iter().zip(old.iter()).map(|(column, (qualifier, field))| {
            match column.relation.as_ref() == qualifier && column.name == *field.name() {
                true => Expr::Column(column),
                false => Expr::Column(column).alias_qualified(qualifier.cloned(), field.name()),
            }
        });
    Ok(LogicalPlan::Projection(Projection::try_new(columns.collect(), Arc::new(renamed))?))
}

fn rename(plan: LogicalPlan) -> Result<LogicalPlan> {
    let inputs: Vec<LogicalPlan> = plan.inputs().into_iter().cloned().collect();
    if inputs.is_empty() {
        return Ok(plan);
    }
    let mut renamed = inputs.iter().cloned().map(rename).collect::<Result<Vec<_>>>()?;
    if let LogicalPlan::Join(join) = &plan {
        let right = renamed.pop().unwrap_or_else(|| join.right.as_ref().clone());
        let left = renamed.pop().unwrap_or_else(|| join.left.as_ref().clone());
        return rename_join(join, left, right);
    }
    if let LogicalPlan::SubqueryAlias(alias) = &plan {
        // An alias gives every column its own qualifier: what it hides must be unique, and is.
        let input = renamed.pop().unwrap_or_else(|| inputs[0].clone());
        return LogicalPlanBuilder::from(input).alias(alias.alias.clone())?.build();
    }
    let exprs = plan.expressions().into_iter().map(|expr| {
        let name = top_name(&plan, &expr);
        let moved = follow(expr, &inputs, &renamed)?;
        Ok(match name {
            Some((qualifier, name)) => moved.alias_qualified(qualifier, name),
            None => moved,
        })
    });
    let exprs = exprs.collect::<Result<Vec<_>>>()?;
    plan.with_new_exprs(exprs, renamed)?.recompute_schema()
}

/// The name that an output expression of a projection keeps though its inputs are renamed; a bare
/// column takes the new name over.
fn top_name(plan: &LogicalPlan, expr: &Expr) -> Option<(Option<datafusion::common::TableReference>, String)> {
    match (plan, expr) {
        (LogicalPlan::Projection(_), Expr::Column(_) | Expr::Alias(_)) => None,
        (LogicalPlan::Projection(_), expr) => {
            let (qualifier, name) = expr.qualified_name();
            Some((qualifier, name))
        }
        _ => None,
    }
}

/// The expression with every column replaced by the one at the same place of the renamed inputs.
fn follow(expr: Expr, before: &[LogicalPlan], after: &[LogicalPlan]) -> Result<Expr> {
    let replaced = expr.transform(|expr| {
        let Expr::Column(column) = &expr else { return Ok(Transformed::no(expr)) };
        for (before, after) in before.iter().zip(after) {
            if let Some(at) = before.schema().maybe_index_of_column(column) {
                return Ok(Transformed::yes(Expr::Column(column_at(after.schema(), at))));
            }
        }
        Ok(Transformed::no(expr))
    })?;
    Ok(replaced.data)
}

fn column_at(schema: &DFSchema, at: usize) -> Column {
    let (qualifier, field) = schema.qualified_field(at);
    Column::new(qualifier.cloned(), field.name())
}

fn rename_join(join: &Join, left: LogicalPlan, right: LogicalPlan) -> Result<LogicalPlan> {
    let mut taken = HashSet::new();
    let left = with_unique_names(left, &mut taken)?;
    let right = with_unique_names(right, &mut taken)?;
    let (old_left, old_right) = (join.left.as_ref().clone(), join.right.as_ref().clone());
    let on = join.on.iter().cloned().map(|(l, r)| {
        let l = follow(l, std::slice::from_ref(&old_left), std::slice::from_ref(&left))?;
        let r = follow(r, std::slice::from_ref(&old_right), std::slice::from_ref(&right))?;
        Ok((l, r))
    });
    let on = on.collect::<Result<Vec<_>>>()?;
    let sides = ([old_left.clone(), old_right.clone()], [left.clone(), right.clone()]);
    let filter = join.filter.clone().map(|filter| follow(filter, &sides.0, &sides.1)).transpose()?;
    let join = Join::try_new(
        Arc::new(left),
        Arc::new(right),
        on,
        filter,
        join.join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )?;
    Ok(LogicalPlan::Join(join))
}

/// The plan below a projection that renames what is `taken`, if something is.
fn with_unique_names(plan: LogicalPlan, taken: &mut HashSet<String>) -> Result<LogicalPlan> {
    let schema = Arc::clone(plan.schema());
    let own: HashSet<String> = names(&schema).map(str::to_owned).collect();
    let mut changed = false;
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (at, name) in names(&schema).enumerate() {
        let column = column_at(&schema, at);
        if taken.insert(name.to_owned()) {
            columns.push(Expr::Column(column));
            continue;
        }
        changed = true;
        let fresh = (2..).map(|n| format!("{name}#{n}")).find(|fresh| !taken.contains(fresh) && !own.contains(fresh));
        let fresh = fresh.unwrap_or_else(|| name.to_owned());
        taken.insert(fresh.clone());
        columns.push(Expr::Column(column.clone()).alias_qualified(column.relation, fresh));
    }
    match changed {
        true => Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?)),
        false => Ok(plan),
    }
}

fn names(schema: &DFSchema) -> impl Iterator<Item = &str> {
    schema.fields().iter().map(|field| field.name().as_str())
}
