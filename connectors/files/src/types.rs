//! The types of columns: what text files show, and how the types of several files become one.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};

/// What the values of a column of a text file look like.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    /// Only NULL so far.
    Unknown,
    Boolean,
    Integer,
    /// Whole numbers, some beyond 64 bits with a sign.
    Natural,
    Float,
    Date,
    /// Without a zone; true where there are finer steps than microseconds.
    Timestamp(bool),
    Text,
    List(Box<Shape>),
    Record(Vec<(String, Shape)>),
}

impl Shape {
    /// The shape that holds the values of both; an error is the path of a field that cannot.
    pub(crate) fn merge(self, other: Self) -> Result<Self, String> {
        use Shape::{Boolean, Date, Float, Integer, List, Natural, Record, Text, Timestamp, Unknown};
        Ok(match (self, other) {
            (Unknown, shape) | (shape, Unknown) => shape,
            (a, b) if a == b => a,
            (Integer, Natural) | (Natural, Integer) => Natural,
            (Float, Integer | Natural) | (Integer | Natural, Float) => Float,
            (Date, Timestamp(fine)) | (Timestamp(fine), Date) => Timestamp(fine),
            (Timestamp(a), Timestamp(b)) => Timestamp(a || b),
            (List(a), List(b)) => List(Box::new(a.merge(*b)?)),
            (Record(a), Record(b)) => Record(merge_fields(a, b)?),
            (List(_) | Record(_), _) | (_, List(_) | Record(_)) => return Err(String::new()),
            (Boolean | Integer | Natural | Float | Date | Timestamp(_) | Text, _) => Text,
        })
    }

    pub(crate) fn data_type(&self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Integer => DataType::Int64,
            Self::Natural => DataType::Decimal128(20, 0),
            Self::Float => DataType::Float64,
            Self::Date => DataType::Date32,
            Self::Timestamp(false) => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Timestamp(true) => DataType::Timestamp(TimeUnit::Nanosecond, None),
            Self::Unknown | Self::Text => DataType::Utf8,
            Self::List(item) => DataType::List(Arc::new(Field::new_list_field(item.data_type(), true))),
            Self::Record(fields) => {
                DataType::Struct(fields.iter().map(|(name, shape)| Field::new(name, shape.data_type(), true)).collect())
            }
        }
    }

    /// What a column of text says, by the type that arrow's reader saw in a sample.
    pub(crate) fn of_sample(data_type: &DataType) -> Self {
        match data_type {
            DataType::Null => Self::Unknown,
            DataType::Boolean => Self::Boolean,
            DataType::Int64 => Self::Integer,
            DataType::Float64 => Self::Float,
            DataType::Date32 => Self::Date,
            DataType::Timestamp(TimeUnit::Nanosecond, _) => Self::Timestamp(true),
            DataType::Timestamp(..) => Self::Timestamp(false),
            _ => Self::Text,
        }
    }
}

/// The fields of both, each once, in the order in which they are first met.
pub(crate) fn merge_fields(
    mut all: Vec<(String, Shape)>,
    more: Vec<(String, Shape)>,
) -> Result<Vec<(String, Shape)>, String> {
    for (at, (name, shape)) in more.into_iter().enumerate() {
        // Records mostly have the same fields in the same places.
        let place = match all.get(at) {
            Some((known, _)) if *known == name => Some(at),
            _ => all.iter().position(|(known, _)| *known == name),
        };
        match place {
            Some(place) => {
                let known = std::mem::replace(&mut all[place].1, Shape::Unknown);
                all[place].1 =
                    known.merge(shape).map_err(|path| if path.is_empty() { name } else { format!("{name}.{path}") })?;
            }
            None => all.push((name, shape)),
        }
    }
    Ok(all)
}

/// The type that holds every value of both types of Parquet columns without loss.
pub(crate) fn widest(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::{Decimal128, Decimal256, Float16, Float32, Float64, List, Null, Struct};
    if a == b {
        return Some(a.clone());
    }
    if let (Some(a), Some(b)) = (integer(a), integer(b)) {
        return whole(a, b);
    }
    Some(match (a, b) {
        (Null, other) | (other, Null) => other.clone(),
        (Float16, Float32) | (Float32, Float16) => Float32,
        (Float16 | Float32, Float64) | (Float64, Float16 | Float32) => Float64,
        // A float holds every whole number of half its bits.
        (Float64, whole) | (whole, Float64) if integer(whole).is_some_and(|(_, bits)| bits <= 32) => Float64,
        (Decimal128(p, s), Decimal128(q, t)) if s == t => Decimal128(*p.max(q), *s),
        (Decimal256(p, s), Decimal256(q, t)) if s == t => Decimal256(*p.max(q), *s),
        (List(a), List(b)) => List(Arc::new(widest_field(a, b)?)),
        (Struct(a), Struct(b)) => Struct(widest_fields(a, b)?),
        _ => return None,
    })
}

fn widest_field(a: &Field, b: &Field) -> Option<Field> {
    Some(Field::new(a.name(), widest(a.data_type(), b.data_type())?, a.is_nullable() || b.is_nullable()))
}

fn widest_fields(a: &Fields, b: &Fields) -> Option<Fields> {
    let mut all = Vec::new();
    for field in a {
        all.push(match b.find(field.name()) {
            Some((_, other)) => widest_field(field, other)?,
            None => field.as_ref().clone().with_nullable(true),
        });
    }
    let new = b.iter().filter(|field| a.find(field.name()).is_none());
    all.extend(new.map(|field| field.as_ref().clone().with_nullable(true)));
    Some(all.into())
}

/// Whether a whole number has a sign, and its bits.
fn integer(data_type: &DataType) -> Option<(bool, u8)> {
    Some(match data_type {
        DataType::Int8 => (true, 8),
        DataType::Int16 => (true, 16),
        DataType::Int32 => (true, 32),
        DataType::Int64 => (true, 64),
        DataType::UInt8 => (false, 8),
        DataType::UInt16 => (false, 16),
        DataType::UInt32 => (false, 32),
        DataType::UInt64 => (false, 64),
        _ => return None,
    })
}

fn whole(a: (bool, u8), b: (bool, u8)) -> Option<DataType> {
    let (sign, bits) = match (a, b) {
        ((a_sign, a), (b_sign, b)) if a_sign == b_sign => (a_sign, a.max(b)),
        ((true, signed), (false, unsigned)) | ((false, unsigned), (true, signed)) => {
            (true, signed.max(unsigned.checked_mul(2)?))
        }
        _ => return None,
    };
    Some(match (sign, bits) {
        (true, 8) => DataType::Int8,
        (true, 16) => DataType::Int16,
        (true, 32) => DataType::Int32,
        (true, 64) => DataType::Int64,
        (false, 8) => DataType::UInt8,
        (false, 16) => DataType::UInt16,
        (false, 32) => DataType::UInt32,
        (false, 64) => DataType::UInt64,
        _ => return None,
    })
}

/// Whether there is a floating-point number anywhere in the type.
pub(crate) fn has_float(data_type: &DataType) -> bool {
    match data_type {
        data_type if data_type.is_floating() => true,
        DataType::Struct(fields) => fields.iter().any(|field| has_float(field.data_type())),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => has_float(field.data_type()),
        DataType::Dictionary(_, values) => has_float(values),
        _ => false,
    }
}

/// A type in plain words, for messages.
pub(crate) fn words(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "true or false",
        data_type if data_type.is_integer() => "a whole number",
        DataType::Decimal128(_, 0) => "a whole number",
        data_type if data_type.is_numeric() => "a number",
        DataType::Date32 | DataType::Date64 => "a date",
        DataType::Timestamp(..) => "a timestamp",
        DataType::Struct(_) => "an object",
        DataType::List(_) => "an array",
        _ => "text",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_widen_and_fall_back_to_text() {
        use Shape::{Boolean, Date, Float, Integer, Natural, Text, Timestamp, Unknown};
        for (a, b, both) in [
            (Unknown, Integer, Integer),
            (Integer, Float, Float),
            (Integer, Natural, Natural),
            (Date, Timestamp(true), Timestamp(true)),
            (Boolean, Integer, Text),
            (Date, Integer, Text),
            (Text, Float, Text),
        ] {
            assert_eq!(a.clone().merge(b.clone()), Ok(both.clone()), "{a:?} {b:?}");
            assert_eq!(b.merge(a), Ok(both));
        }
    }

    #[test]
    fn an_object_and_a_number_do_not_fit() {
        let object = |shape| vec![("a".to_owned(), Shape::Record(vec![("b".to_owned(), shape)]))];
        let error = merge_fields(object(Shape::Integer), object(Shape::List(Box::new(Shape::Integer))));
        assert_eq!(error, Err("a.b".to_owned()));
    }

    #[test]
    fn parquet_types_widen_only_without_loss() {
        use DataType::{Decimal128, Float32, Float64, Int8, Int16, Int32, Int64, UInt8, UInt32, UInt64, Utf8View};
        for (a, b, both) in [
            (Int32, Int64, Some(Int64)),
            (UInt8, Int8, Some(Int16)),
            (UInt32, Int32, Some(Int64)),
            (UInt64, Int64, None),
            (Float32, Float64, Some(Float64)),
            (Int32, Float64, Some(Float64)),
            (Int64, Float64, None),
            (Decimal128(10, 2), Decimal128(12, 2), Some(Decimal128(12, 2))),
            (Decimal128(10, 2), Decimal128(10, 3), None),
            (Int32, Utf8View, None),
        ] {
            assert_eq!(widest(&a, &b), both, "{a} {b}");
            assert_eq!(widest(&b, &a), both, "{b} {a}");
        }
    }
}
