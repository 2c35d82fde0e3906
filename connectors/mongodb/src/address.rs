//! Where in the documents a column's values are: a field, or a field of a document inside of one.

use connector_spi::{Column, Error, Refusal, RefusalCode, Result};
use serde::{Deserialize, Serialize};

use crate::types::Kind;

const PATH: Refusal = Refusal::new(RefusalCode::Expression, "the field's name would be a path or an operator there");

/// The names that lead to a field from the document on, and what its values are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Address {
    pub(crate) names: Vec<String>,
    pub(crate) kind: Kind,
}

impl Address {
    /// A field of the document itself.
    pub(crate) fn top(name: impl Into<String>, kind: Kind) -> Self {
        Self { names: vec![name.into()], kind }
    }

    /// The address of a column of this connector. Errors: `INTERNAL` for any other column.
    pub(crate) fn of(column: &Column) -> Result<Self> {
        serde_json::from_str(&column.native)
            .map_err(|_| Error::internal(format!("column \"{}\" was not described by MongoDB", column.name)))
    }

    /// The field of a struct; none where there is no such field, or MongoDB has no path to it.
    pub(crate) fn below(mut self, names: &[&str]) -> Option<Self> {
        for name in names {
            let Kind::Struct(fields) = self.kind else { return None };
            self.kind = fields.into_iter().find(|(field, _)| field == name)?.1;
            self.names.push((*name).to_owned());
        }
        self.path().is_ok().then_some(self)
    }

    /// The column. Errors: `INTERNAL`.
    pub(crate) fn column(&self) -> Result<Column> {
        let native = serde_json::to_string(self)
            .map_err(|cause| Error::internal(format!("a BSON type cannot be kept: {cause}")))?;
        Ok(Column::new(self.names.join("."), self.kind.data_type(), true).with_native(native))
    }

    /// The path as MongoDB reads it. Errors: a name would be read as something else.
    pub(crate) fn path(&self) -> Result<String, Refusal> {
        let is_plain =
            |name: &String| !(name.is_empty() || name.contains('.') || name.starts_with('$') || name.contains('\0'));
        if self.names.iter().all(is_plain) { Ok(self.names.join(".")) } else { Err(PATH) }
    }

    /// The paths of the documents that the field is inside of.
    pub(crate) fn around(&self) -> impl Iterator<Item = String> {
        (1..self.names.len()).map(|end| self.names[..end].join("."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_its_column_and_leads_to_the_fields_of_structs() {
        let inner = Kind::Struct(vec![("c".into(), Kind::List(Box::new(Kind::Uuid))), ("d.e".into(), Kind::Long)]);
        let top = Address::top("a", Kind::Struct(vec![("b".into(), inner)]));
        assert_eq!(Address::of(&top.column().expect("kept")).expect("read"), top);
        let field = top.clone().below(&["b", "c"]).expect("found");
        assert_eq!((field.path().as_deref(), &field.kind), (Ok("a.b.c"), &Kind::List(Box::new(Kind::Uuid))));
        assert_eq!(field.around().collect::<Vec<_>>(), ["a", "a.b"]);
        assert_eq!(top.clone().below(&["b"]).and_then(|b| b.below(&["c"])), Some(field.clone()));
        for none in [&["x"][..], &["b", "d.e"], &["b", "c", "x"]] {
            assert_eq!(top.clone().below(none), None, "{none:?}");
        }
        assert_eq!(
            Address::top("a.b", Kind::Long).column().expect("kept").name,
            field.column().expect("kept").name[..3]
        );
        assert!(Address::top("a.b", Kind::Long).path().is_err());
        let other = Column::new("c", arrow::datatypes::DataType::Utf8, true);
        assert!(Address::of(&other).is_err());
    }
}
