//! One column while it grows: BSON values into Arrow, and the row of columns that a document fills.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder, Float64Builder,
    Int32Builder, Int64Builder, ListArray, StringBuilder, StructArray, Time64MicrosecondBuilder,
    TimestampMillisecondBuilder,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;
use bson::spec::BinarySubtype;
use bson::{RawBsonRef, RawDocument, Uuid};

use crate::element::{Elements, Malformed, Value};
use crate::types::{Kind, alias};
use crate::{decimal, json};

/// Milliseconds of a day.
pub(crate) const DAY: i64 = 86_400_000;
/// The largest integer up to which a double holds each.
const DOUBLE_HOLDS: u64 = 1 << 53;

/// Why a value cannot be a value of its column: the path of its field from the column on, and a sentence's end.
#[derive(Debug)]
pub(crate) struct Misfit {
    pub(crate) path: Vec<String>,
    pub(crate) text: String,
    /// The bytes are no document: nothing that follows can be believed, whatever is done with misfits.
    broken: bool,
}

impl Misfit {
    fn of(text: impl Into<String>) -> Self {
        Self { path: Vec::new(), text: text.into(), broken: false }
    }

    fn below(mut self, name: &str) -> Self {
        self.path.insert(0, name.to_owned());
        self
    }
}

impl From<Malformed> for Misfit {
    fn from(_: Malformed) -> Self {
        Self { broken: true, ..Self::of("is not BSON: a field does not end within it") }
    }
}

/// What is done with misfits.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    /// They are NULL, and counted; else errors.
    pub(crate) lenient: bool,
    pub(crate) misfits: u64,
}

/// One column that grows.
pub(crate) enum Cells {
    Bool(BooleanBuilder),
    Int(Int32Builder),
    Long(Int64Builder),
    Real(Float32Builder),
    Double(Float64Builder),
    Decimal(Decimal128Builder, u8, i8),
    Text(StringBuilder),
    ObjectId(StringBuilder),
    Uuid(StringBuilder),
    Binary(BinaryBuilder),
    Moment(TimestampMillisecondBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Json(StringBuilder),
    /// A sum of integers, as wide as MongoDB made it: it wraps as the engine's does.
    Sum(Int64Builder),
    List {
        items: Box<Cells>,
        kind: Kind,
        lengths: Vec<usize>,
        valid: Vec<bool>,
    },
    Struct {
        fields: Box<Row>,
        valid: Vec<bool>,
    },
}

impl Cells {
    pub(crate) fn new(kind: &Kind) -> Self {
        match kind {
            Kind::Bool => Self::Bool(BooleanBuilder::new()),
            Kind::Int => Self::Int(Int32Builder::new()),
            Kind::Long => Self::Long(Int64Builder::new()),
            Kind::Real => Self::Real(Float32Builder::new()),
            Kind::Double => Self::Double(Float64Builder::new()),
            Kind::Decimal { precision, scale } => {
                Self::Decimal(Decimal128Builder::new().with_data_type(kind.data_type()), *precision, *scale)
            }
            Kind::Text => Self::Text(StringBuilder::new()),
            Kind::ObjectId => Self::ObjectId(StringBuilder::new()),
            Kind::Uuid => Self::Uuid(StringBuilder::new()),
            Kind::Binary => Self::Binary(BinaryBuilder::new()),
            Kind::Instant | Kind::Wall => {
                Self::Moment(TimestampMillisecondBuilder::new().with_data_type(kind.data_type()))
            }
            Kind::Date => Self::Date(Date32Builder::new()),
            Kind::Time => Self::Time(Time64MicrosecondBuilder::new()),
            Kind::Json => Self::Json(StringBuilder::new()),
            Kind::List(item) => Self::List {
                items: Box::new(Self::new(item)),
                kind: (**item).clone(),
                lengths: Vec::new(),
                valid: Vec::new(),
            },
            Kind::Struct(fields) => Self::Struct { fields: Box::new(Row::new(fields.clone())), valid: Vec::new() },
        }
    }

    /// Appends a value. Errors: it does not fit or cannot be read, and misfits are errors.
    fn push(&mut self, value: Value<'_>, policy: &mut Policy) -> Result<(), Misfit> {
        let done = match value {
            Ok(RawBsonRef::Null) => {
                self.push_null();
                Ok(())
            }
            Ok(value) => self.fits(value, policy),
            Err(cause) => Err(unreadable(&cause)),
        };
        match done {
            Err(misfit) if policy.lenient && !misfit.broken => {
                policy.misfits += 1;
                self.push_null();
                Ok(())
            }
            done => done,
        }
    }

    /// Appends a value, or nothing where it does not fit.
    fn fits(&mut self, value: RawBsonRef<'_>, policy: &mut Policy) -> Result<(), Misfit> {
        match (self, value) {
            (Self::Bool(cells), RawBsonRef::Boolean(value)) => cells.append_value(value),
            (Self::Int(cells), RawBsonRef::Int32(value)) => cells.append_value(value),
            (Self::Long(cells), RawBsonRef::Int32(value)) => cells.append_value(i64::from(value)),
            (Self::Long(cells), RawBsonRef::Int64(value)) => cells.append_value(value),
            (Self::Double(cells), RawBsonRef::Double(value)) => cells.append_value(value),
            (Self::Double(cells), RawBsonRef::Int32(value)) => cells.append_value(f64::from(value)),
            (Self::Double(cells), RawBsonRef::Int64(value)) if value.unsigned_abs() <= DOUBLE_HOLDS => {
                cells.append_value(value as f64);
            }
            (Self::Real(cells), RawBsonRef::Double(value)) => {
                let short = value as f32;
                if f64::from(short) != value && !value.is_nan() {
                    return Err(Misfit::of(format!("holds {value}, which 32 bits do not hold")));
                }
                cells.append_value(short);
            }
            (Self::Decimal(cells, precision, scale), value) => {
                let whole = match value {
                    RawBsonRef::Decimal128(value) => decimal::scaled(value, *scale),
                    RawBsonRef::Int32(value) => i128::from(value).checked_mul(10_i128.pow(scale.unsigned_abs().into())),
                    RawBsonRef::Int64(value) => i128::from(value).checked_mul(10_i128.pow(scale.unsigned_abs().into())),
                    other => return Err(unlike(other)),
                };
                match whole.filter(|whole| whole.unsigned_abs() < 10_u128.pow(u32::from(*precision))) {
                    Some(whole) => cells.append_value(whole),
                    None => return Err(Misfit::of("holds a number that does not fit")),
                }
            }
            (Self::Text(cells), RawBsonRef::String(value)) => cells.append_value(value),
            (Self::ObjectId(cells), RawBsonRef::ObjectId(id)) => {
                let mut digits = [0; 24];
                hex::encode_to_slice(id.bytes(), &mut digits).map_err(|_| Misfit::of("cannot be read"))?;
                cells.append_value(str::from_utf8(&digits).map_err(|_| Misfit::of("cannot be read"))?);
            }
            (Self::Uuid(cells), RawBsonRef::Binary(binary)) if binary.subtype == BinarySubtype::Uuid => {
                let bytes = binary.bytes.try_into().map_err(|_| Misfit::of("holds a uuid of other than 16 bytes"))?;
                cells.append_value(Uuid::from_bytes(bytes).to_string());
            }
            (Self::Binary(cells), RawBsonRef::Binary(binary)) if binary.subtype == BinarySubtype::Generic => {
                cells.append_value(binary.bytes);
            }
            (Self::Moment(cells), RawBsonRef::DateTime(date)) => cells.append_value(date.timestamp_millis()),
            (Self::Date(cells), RawBsonRef::DateTime(date)) => {
                let millis = date.timestamp_millis();
                let day = i32::try_from(millis.div_euclid(DAY)).ok().filter(|_| millis.rem_euclid(DAY) == 0);
                cells.append_value(day.ok_or_else(|| Misfit::of("holds a date that is not a whole day"))?);
            }
            (Self::Time(cells), RawBsonRef::Int64(value)) if (0..DAY * 1000).contains(&value) => {
                cells.append_value(value);
            }
            (Self::Time(cells), RawBsonRef::Int32(value)) if value >= 0 => cells.append_value(i64::from(value)),
            (Self::Json(cells), value) => {
                let text = json::text(value).map_err(|cause| unreadable(&cause))?;
                cells.append_value(text);
            }
            (Self::Sum(cells), RawBsonRef::Decimal128(value)) => {
                let whole = decimal::scaled(value, 0).ok_or_else(|| Misfit::of("holds a sum that is not whole"))?;
                cells.append_value(whole as i64);
            }
            (Self::Sum(cells), RawBsonRef::Int32(value)) => cells.append_value(i64::from(value)),
            (Self::Sum(cells), RawBsonRef::Int64(value)) => cells.append_value(value),
            (Self::List { items, lengths, valid, .. }, RawBsonRef::Array(array)) => {
                let mut length = 0;
                let mut elements = Elements::of(array.as_bytes(), 0);
                while let Some(item) = elements.next(b"")? {
                    items.push(item.value(&mut None)?, policy).map_err(|misfit| misfit.below("[]"))?;
                    length += 1;
                }
                lengths.push(length);
                valid.push(true);
            }
            (Self::Struct { fields, valid }, RawBsonRef::Document(document)) => {
                fields.push(document, policy)?;
                valid.push(true);
            }
            (_, other) => return Err(unlike(other)),
        }
        Ok(())
    }

    fn push_null(&mut self) {
        match self {
            Self::Bool(cells) => cells.append_null(),
            Self::Int(cells) => cells.append_null(),
            Self::Long(cells) | Self::Sum(cells) => cells.append_null(),
            Self::Real(cells) => cells.append_null(),
            Self::Double(cells) => cells.append_null(),
            Self::Decimal(cells, ..) => cells.append_null(),
            Self::Text(cells) | Self::ObjectId(cells) | Self::Uuid(cells) | Self::Json(cells) => cells.append_null(),
            Self::Binary(cells) => cells.append_null(),
            Self::Moment(cells) => cells.append_null(),
            Self::Date(cells) => cells.append_null(),
            Self::Time(cells) => cells.append_null(),
            Self::List { lengths, valid, .. } => {
                lengths.push(0);
                valid.push(false);
            }
            Self::Struct { fields, valid } => {
                fields.push_nulls();
                valid.push(false);
            }
        }
    }

    /// The column so far; it starts anew.
    pub(crate) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let taken = |valid: &mut Vec<bool>| Some(NullBuffer::from(std::mem::take(valid)));
        Ok(match self {
            Self::Bool(cells) => Arc::new(cells.finish()),
            Self::Int(cells) => Arc::new(cells.finish()),
            Self::Long(cells) | Self::Sum(cells) => Arc::new(cells.finish()),
            Self::Real(cells) => Arc::new(cells.finish()),
            Self::Double(cells) => Arc::new(cells.finish()),
            Self::Decimal(cells, ..) => Arc::new(cells.finish()),
            Self::Text(cells) | Self::ObjectId(cells) | Self::Uuid(cells) | Self::Json(cells) => {
                Arc::new(cells.finish())
            }
            Self::Binary(cells) => Arc::new(cells.finish()),
            Self::Moment(cells) => Arc::new(cells.finish()),
            Self::Date(cells) => Arc::new(cells.finish()),
            Self::Time(cells) => Arc::new(cells.finish()),
            Self::List { items, kind, lengths, valid } => {
                let field = Arc::new(Field::new("item", kind.data_type(), true));
                let offsets = OffsetBuffer::from_lengths(std::mem::take(lengths));
                Arc::new(ListArray::try_new(field, offsets, items.finish()?, taken(valid))?)
            }
            Self::Struct { fields, valid } => {
                let DataType::Struct(named) = Kind::Struct(fields.kinds.clone()).data_type() else {
                    return Err(ArrowError::SchemaError("a struct without fields".to_owned()));
                };
                Arc::new(StructArray::try_new(named, fields.finish()?, taken(valid))?)
            }
        })
    }
}

fn unreadable(cause: &bson::error::Error) -> Misfit {
    match cause.kind {
        bson::error::ErrorKind::Utf8Encoding { .. } => Misfit::of("holds text that is not UTF-8"),
        _ => Misfit::of(format!("cannot be read: {}", cause.to_string().trim_end_matches('.'))),
    }
}

fn unlike(value: RawBsonRef<'_>) -> Misfit {
    let subtype = match value {
        RawBsonRef::Binary(binary) => format!(" of subtype {}", u8::from(binary.subtype)),
        _ => String::new(),
    };
    Misfit::of(format!("holds {}{subtype}", alias(value.element_type())))
}

/// Columns that the fields of documents fill by name.
pub(crate) struct Row {
    kinds: Vec<(String, Kind)>,
    places: HashMap<Vec<u8>, usize>,
    cells: Vec<Cells>,
    /// The column that holds whole documents.
    whole: Option<usize>,
    /// In which document each column was filled last.
    filled: Vec<u64>,
    document: u64,
}

impl Row {
    pub(crate) fn new(kinds: Vec<(String, Kind)>) -> Self {
        let cells = kinds.iter().map(|(_, kind)| Cells::new(kind)).collect();
        Self::of(kinds, cells)
    }

    /// Columns that grow in cells of their own.
    pub(crate) fn of(kinds: Vec<(String, Kind)>, cells: Vec<Cells>) -> Self {
        let places = kinds.iter().enumerate().map(|(at, (name, _))| (name.clone().into_bytes(), at)).collect();
        Self { filled: vec![0; kinds.len()], places, cells, kinds, whole: None, document: 0 }
    }

    /// The same columns, of which one holds whole documents.
    pub(crate) fn with_whole(mut self, whole: Option<usize>) -> Self {
        if let Some((name, _)) = whole.and_then(|at| self.kinds.get(at)) {
            self.places.remove(name.as_bytes());
        }
        Self { whole, ..self }
    }

    /// Appends a document; a field without a column is left out, a column without a field is NULL.
    ///
    /// Errors: a value that does not fit, a field that is there twice, and bytes that are not BSON.
    pub(crate) fn push(&mut self, document: &RawDocument, policy: &mut Policy) -> Result<(), Misfit> {
        self.document += 1;
        let (mut next, mut found) = (0, 0);
        let mut elements = Elements::of(document.as_bytes(), 0);
        loop {
            let expected = self.kinds.get(next).filter(|_| Some(next) != self.whole).map(|(name, _)| name.as_bytes());
            let Some(element) = elements.next(expected.unwrap_or_default())? else { break };
            // Documents of a collection mostly have their fields in one order.
            let at = match expected {
                Some(name) if name == element.name => next,
                _ => match self.places.get(element.name) {
                    Some(at) => *at,
                    None => continue,
                },
            };
            next = at + 1;
            let below = |misfit: Misfit| misfit.below(&String::from_utf8_lossy(element.name));
            if self.filled[at] == self.document {
                if policy.lenient {
                    policy.misfits += 1;
                    continue;
                }
                return Err(below(Misfit::of("is there twice in one document")));
            }
            self.filled[at] = self.document;
            found += 1;
            self.cells[at].push(element.value(&mut None)?, policy).map_err(below)?;
        }
        if let Some(at) = self.whole {
            self.filled[at] = self.document;
            found += 1;
            self.cells[at].push(Ok(RawBsonRef::Document(document)), policy)?;
        }
        if found < self.cells.len() {
            for (cells, filled) in self.cells.iter_mut().zip(&self.filled) {
                if *filled != self.document {
                    cells.push_null();
                }
            }
        }
        Ok(())
    }

    fn push_nulls(&mut self) {
        self.cells.iter_mut().for_each(Cells::push_null);
    }

    /// The columns so far; they start anew.
    pub(crate) fn finish(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.cells.iter_mut().map(Cells::finish).collect()
    }
}
