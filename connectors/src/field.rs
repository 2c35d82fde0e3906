//! Fields of structs, which a source may read by themselves: as columns behind those of the table.

use std::sync::Arc;

use connector_spi::{Column, Source};
use datafusion::functions::core::getfield::GetFieldFunc;
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::expressions::{Column as Place, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::scalar::ScalarValue;

/// The columns of a scan while conditions on them are found.
pub(crate) struct Columns<'a> {
    pub(crate) known: &'a mut Vec<Column>,
    /// None: fields are not asked for.
    pub(crate) source: Option<&'a dyn Source>,
}

impl Columns<'_> {
    /// The place of a column, or of a field of one, which is added where the source knows it.
    pub(crate) fn place(&mut self, expr: &Expr) -> Option<usize> {
        let mut path = Vec::new();
        let mut base = expr;
        while let Expr::ScalarFunction(call) = base {
            call.func.inner().downcast_ref::<GetFieldFunc>()?;
            let (of, names) = call.args.split_first()?;
            for name in names.iter().rev() {
                let Expr::Literal(name, _) = name else { return None };
                path.push(text(name)?);
            }
            base = of;
        }
        path.reverse();
        let Expr::Column(column) = base else { return None };
        let column = self.known.iter().position(|known| known.name == column.name)?;
        self.below(column, &path)
    }

    /// The place of a field of a column; of the column itself where there is no path.
    pub(crate) fn below(&mut self, column: usize, path: &[&str]) -> Option<usize> {
        if path.is_empty() {
            return Some(column);
        }
        let field = self.source?.field(self.known.get(column)?, path)?;
        Some(placed(self.known, field))
    }
}

/// The place of an item in a list, at whose end it is put where it was not there.
pub(crate) fn placed<T: PartialEq>(list: &mut Vec<T>, item: T) -> usize {
    list.iter().position(|known| *known == item).unwrap_or_else(|| {
        list.push(item);
        list.len() - 1
    })
}

/// The column that an expression is made of, and the names that lead from it to the field that it takes.
pub(crate) fn taken(expr: &Arc<dyn PhysicalExpr>) -> Option<(usize, Vec<&str>)> {
    if let Some(column) = expr.downcast_ref::<Place>() {
        return Some((column.index(), Vec::new()));
    }
    let call = ScalarFunctionExpr::try_downcast_func::<GetFieldFunc>(expr.as_ref())?;
    let (of, names) = call.args().split_first()?;
    let (column, mut path) = taken(of)?;
    for name in names {
        path.push(text(name.downcast_ref::<Literal>()?.value())?);
    }
    Some((column, path))
}

fn text(name: &ScalarValue) -> Option<&str> {
    name.try_as_str().flatten()
}
