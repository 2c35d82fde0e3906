//! DataFusion's physical filters as the contract's predicates, for what is decided after the plan is physical.

use std::sync::Arc;

use connector_spi::{Predicate, Scan};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal as Constant, NotExpr,
};
use datafusion::scalar::ScalarValue;

use crate::literal::literal;
use crate::predicate::{comparison, flipped};

/// The scan whose columns a filter sees, and the place in the table of each of them.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) scan: &'a Scan,
    pub(crate) places: &'a [usize],
}

impl View<'_> {
    /// The place in the table of a plain column.
    pub(crate) fn place(self, expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
        self.places.get(expr.downcast_ref::<Column>()?.index()).copied()
    }

    /// A comparison of a column with a value of its type.
    pub(crate) fn compared(self, binary: &BinaryExpr) -> Option<Predicate> {
        let op = comparison(*binary.op())?;
        let (column, constant, op) = match self.place(binary.left()) {
            Some(column) => (column, binary.right(), op),
            None => (self.place(binary.right())?, binary.left(), flipped(op)),
        };
        let value = literal(constant.downcast_ref::<Constant>()?.value(), &self.scan.columns[column].data_type)?;
        Some(Predicate::Compare { column, op, value })
    }

    /// The predicate that says exactly what the filter does, if connectors know one.
    pub(crate) fn predicate(self, expr: &Arc<dyn PhysicalExpr>) -> Option<Predicate> {
        let of = |expr: &Arc<dyn PhysicalExpr>| self.predicate(expr);
        if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
            return match binary.op() {
                Operator::And => Some(Predicate::And(vec![of(binary.left())?, of(binary.right())?])),
                Operator::Or => Some(Predicate::Or(vec![of(binary.left())?, of(binary.right())?])),
                _ => self.compared(binary),
            };
        }
        if let Some(not) = expr.downcast_ref::<NotExpr>() {
            return Some(Predicate::Not(Box::new(of(not.arg())?)));
        }
        if let Some(null) = expr.downcast_ref::<IsNullExpr>() {
            return Some(Predicate::Null { column: self.place(null.arg())?, negated: false });
        }
        if let Some(null) = expr.downcast_ref::<IsNotNullExpr>() {
            return Some(Predicate::Null { column: self.place(null.arg())?, negated: true });
        }
        if let Some(list) = expr.downcast_ref::<InListExpr>() {
            let column = self.place(list.expr())?;
            let data_type = &self.scan.columns[column].data_type;
            let value = |item: &Arc<dyn PhysicalExpr>| literal(item.downcast_ref::<Constant>()?.value(), data_type);
            let values = list.list().iter().map(value).collect::<Option<_>>()?;
            return Some(Predicate::In { column, values, negated: list.negated() });
        }
        let like = expr.downcast_ref::<LikeExpr>()?;
        let ScalarValue::Utf8(Some(pattern)) = like.pattern().downcast_ref::<Constant>()?.value() else { return None };
        Some(Predicate::Like {
            column: self.place(like.expr())?,
            pattern: pattern.clone(),
            escape: '\\',
            negated: like.negated(),
            case_insensitive: like.case_insensitive(),
        })
    }
}
