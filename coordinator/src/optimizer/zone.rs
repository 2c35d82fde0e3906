//! Reads days and local times in the session's zone where points in time are compared with them or made into them.
//!
//! A point in time is kept in UTC. DataFusion 55 takes the zone of its type for the session's, and compares a day with any
//! time as nanoseconds, which end in 2262.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::functions::datetime::to_local_time;
use datafusion::logical_expr::expr::{Cast, ScalarFunction, TryCast};
use datafusion::logical_expr::{Expr, ExprSchemable};

/// Functions that read the day or the hour off a point in time.
const LOCAL: [&str; 5] = ["date_bin", "date_part", "date_trunc", "to_char", "to_local_time"];

/// Makes a day or a local time the point in time that the other side is compared with; false where neither side is one.
pub(super) fn both(left: &mut Expr, right: &mut Expr, schema: &DFSchema, session: &str) -> Result<bool> {
    use DataType::{Date32, Timestamp};
    let (side, unit, zone) = match (left.get_type(schema)?, right.get_type(schema)?) {
        (Date32, Timestamp(unit, zone)) => (left, unit, zone),
        (Timestamp(unit, zone), Date32) => (right, unit, zone),
        (Timestamp(unit, None), Timestamp(_, Some(zone))) => (left, unit, Some(zone)),
        (Timestamp(_, Some(zone)), Timestamp(unit, None)) => (right, unit, Some(zone)),
        _ => return Ok(false),
    };
    let mut moment = std::mem::take(side).cast_to(&Timestamp(unit, None), schema)?;
    if let Some(zone) = zone {
        moment = zoned(moment, unit, session.into(), schema)?;
        moment = zoned(moment, unit, zone, schema)?;
    }
    *side = moment;
    Ok(true)
}

/// A cast or a function that reads a point in time, in the session's zone.
pub(super) fn local(mut expr: Expr, schema: &DFSchema, session: &str) -> Result<Transformed<Expr>> {
    let to = match &expr {
        // What has no type here gets its error from the type coercion.
        Expr::Cast(_) | Expr::TryCast(_) => expr.get_type(schema).ok(),
        _ => None,
    };
    // Arrow's own cast leaves out the zone and not the hours.
    let clock = matches!(to, Some(DataType::Timestamp(_, None) | DataType::Time32(_) | DataType::Time64(_)));
    let read: Vec<&mut Expr> = match (&mut expr, to) {
        (_, Some(DataType::Timestamp(_, Some(_)))) => Vec::new(),
        (Expr::Cast(Cast { expr, .. }) | Expr::TryCast(TryCast { expr, .. }), _) => vec![expr],
        (Expr::ScalarFunction(ScalarFunction { func, args }), _) if LOCAL.contains(&func.name()) => {
            args.iter_mut().collect()
        }
        _ => Vec::new(),
    };
    let mut changed = false;
    for expr in read {
        if let Ok(DataType::Timestamp(unit, Some(zone))) = expr.get_type(schema)
            && *zone != *session
        {
            let there = zoned(std::mem::take(expr), unit, session.into(), schema)?;
            *expr = if clock { to_local_time().call(vec![there]) } else { there };
            changed = true;
        }
    }
    Ok(Transformed::new_transformed(expr, changed))
}

fn zoned(expr: Expr, unit: TimeUnit, zone: Arc<str>, schema: &DFSchema) -> Result<Expr> {
    expr.cast_to(&DataType::Timestamp(unit, Some(zone)), schema)
}
