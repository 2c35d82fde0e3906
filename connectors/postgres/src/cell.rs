//! One column while it grows: values of Postgres' binary form into Arrow.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder, Float64Builder,
    Int16Builder, Int32Builder, Int64Builder, IntervalMonthDayNanoBuilder, ListArray, PrimitiveBuilder, StringArray,
    Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{ArrowPrimitiveType, Field, IntervalMonthDayNano};

use crate::numeric::{decimal, rounded};
use crate::types::{Kind, MONEY};

/// Why a value cannot be a value of its column.
pub(crate) type Misfit = &'static str;

/// Days from 1970 to 2000, Postgres' own epoch.
pub(crate) const EPOCH_DAYS: i32 = 10_957;
pub(crate) const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// One column that grows.
pub(crate) enum Cells {
    Bool(BooleanBuilder),
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Oid(Int64Builder),
    Float4(Float32Builder),
    Float8(Float64Builder),
    Rounded(Float64Builder),
    Numeric(Decimal128Builder, u8, i8),
    /// Bytes that are looked at when they are all there, which is much quicker than one value after the other.
    Text(BinaryBuilder),
    Uuid(BinaryBuilder),
    Bytea(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Moment(TimestampMicrosecondBuilder),
    Interval(IntervalMonthDayNanoBuilder),
    /// Infinities are NULL, and counted.
    Finite {
        cells: Box<Cells>,
        infinite: u64,
    },
    Array {
        items: Box<Cells>,
        lengths: Vec<usize>,
        valid: Vec<bool>,
        kind: Kind,
    },
}

impl Cells {
    pub(crate) fn new(kind: &Kind) -> Self {
        match kind {
            Kind::Bool => Self::Bool(BooleanBuilder::new()),
            Kind::Int2 => Self::Int2(Int16Builder::new()),
            Kind::Int4 => Self::Int4(Int32Builder::new()),
            Kind::Int8 => Self::Int8(Int64Builder::new()),
            Kind::Oid => Self::Oid(Int64Builder::new()),
            Kind::Float4 => Self::Float4(Float32Builder::new()),
            Kind::Float8 => Self::Float8(Float64Builder::new()),
            Kind::Rounded => Self::Rounded(Float64Builder::new()),
            Kind::Numeric { precision, scale } => {
                Self::Numeric(Decimal128Builder::new().with_data_type(kind.data_type()), *precision, *scale)
            }
            Kind::Money => Self::Numeric(Decimal128Builder::new().with_data_type(kind.data_type()), MONEY.0, MONEY.1),
            Kind::Finite(kind) => Self::Finite { cells: Box::new(Self::new(kind)), infinite: 0 },
            Kind::Text(_) | Kind::Char(_) | Kind::Other => Self::Text(BinaryBuilder::new()),
            Kind::Uuid => Self::Uuid(BinaryBuilder::new()),
            Kind::Bytea => Self::Bytea(BinaryBuilder::new()),
            Kind::Date => Self::Date(Date32Builder::new()),
            Kind::Time => Self::Time(Time64MicrosecondBuilder::new()),
            Kind::Timestamp | Kind::Timestamptz => {
                Self::Moment(TimestampMicrosecondBuilder::new().with_data_type(kind.data_type()))
            }
            Kind::Interval => Self::Interval(IntervalMonthDayNanoBuilder::new()),
            Kind::Array(item) => Self::Array {
                items: Box::new(Self::new(item)),
                lengths: Vec::new(),
                valid: Vec::new(),
                kind: (**item).clone(),
            },
        }
    }

    /// Appends values, NULL where there are no bytes.
    pub(crate) fn extend(&mut self, values: Values<'_>) -> Result<(), Misfit> {
        match self {
            Self::Bool(cells) => {
                for value in values {
                    cells.append_option(value.map(|b| fixed::<1>(b).map(|b| b[0] != 0)).transpose()?);
                }
                Ok(())
            }
            Self::Int2(cells) => each(cells, values, |b| fixed(b).map(i16::from_be_bytes)),
            Self::Int4(cells) => each(cells, values, |b| fixed(b).map(i32::from_be_bytes)),
            Self::Int8(cells) => each(cells, values, |b| fixed(b).map(i64::from_be_bytes)),
            Self::Oid(cells) => each(cells, values, |b| fixed(b).map(|b| i64::from(u32::from_be_bytes(b)))),
            Self::Float4(cells) => each(cells, values, float4),
            Self::Float8(cells) => each(cells, values, float8),
            Self::Rounded(cells) => each(cells, values, rounded),
            Self::Numeric(cells, precision, scale) => each(cells, values, |b| decimal(b, *precision, *scale)),
            Self::Uuid(cells) => {
                for value in values {
                    match value {
                        Some(bytes) => append_uuid(cells, &fixed(bytes)?),
                        None => cells.append_null(),
                    }
                }
                Ok(())
            }
            Self::Text(cells) | Self::Bytea(cells) => {
                values.for_each(|value| cells.append_option(value));
                Ok(())
            }
            Self::Date(cells) => each(cells, values, date),
            Self::Time(cells) => each(cells, values, time),
            Self::Moment(cells) => each(cells, values, moment),
            Self::Interval(cells) => each(cells, values, interval),
            Self::Finite { cells, infinite } => {
                let mut finite = values.places().collect::<Vec<_>>();
                for (place, value) in finite.iter_mut().zip(values.clone()) {
                    if value.is_some_and(is_infinite) {
                        *place = Place::NULL;
                        *infinite += 1;
                    }
                }
                cells.extend(Values::new(values.bytes, &finite, 1))
            }
            Self::Array { items, lengths, valid, .. } => {
                for value in values {
                    valid.push(value.is_some());
                    lengths.push(value.map_or(Ok(0), |bytes| array(bytes, items))?);
                }
                Ok(())
            }
        }
    }

    /// Appends one value.
    fn push(&mut self, value: Option<&[u8]>) -> Result<(), Misfit> {
        let bytes = value.unwrap_or_default();
        let place = value.map_or(Some(Place::NULL), |bytes| Place::new(0, bytes.len()));
        self.extend(Values::new(bytes, &[place.ok_or("is longer than any value can be")?], 1))
    }

    /// How many values became NULL; the count starts anew.
    pub(crate) fn take_misfits(&mut self) -> u64 {
        match self {
            Self::Finite { infinite, .. } => std::mem::take(infinite),
            _ => 0,
        }
    }

    /// The column so far; it starts anew.
    pub(crate) fn finish(&mut self) -> Result<ArrayRef, Misfit> {
        Ok(match self {
            Self::Bool(cells) => Arc::new(cells.finish()),
            Self::Int2(cells) => Arc::new(cells.finish()),
            Self::Int4(cells) => Arc::new(cells.finish()),
            Self::Int8(cells) | Self::Oid(cells) => Arc::new(cells.finish()),
            Self::Float4(cells) => Arc::new(cells.finish()),
            Self::Float8(cells) | Self::Rounded(cells) => Arc::new(cells.finish()),
            Self::Numeric(cells, ..) => Arc::new(cells.finish()),
            Self::Text(cells) | Self::Uuid(cells) => {
                // The next batch is mostly as large, and then need not grow.
                let next = BinaryBuilder::with_capacity(cells.offsets_slice().len(), cells.values_slice().len());
                let bytes = std::mem::replace(cells, next).finish();
                Arc::new(StringArray::try_from_binary(bytes).map_err(|_| "is not UTF-8")?)
            }
            Self::Bytea(cells) => Arc::new(cells.finish()),
            Self::Date(cells) => Arc::new(cells.finish()),
            Self::Time(cells) => Arc::new(cells.finish()),
            Self::Moment(cells) => Arc::new(cells.finish()),
            Self::Interval(cells) => Arc::new(cells.finish()),
            Self::Finite { cells, .. } => cells.finish()?,
            Self::Array { items, lengths, valid, kind } => {
                let field = Arc::new(Field::new("item", kind.data_type(), true));
                let offsets = OffsetBuffer::from_lengths(std::mem::take(lengths));
                let nulls = NullBuffer::from(std::mem::take(valid));
                let list = ListArray::try_new(field, offsets, items.finish()?, Some(nulls));
                Arc::new(list.map_err(|_| "has another number of items than it says")?)
            }
        })
    }
}

/// Where a value is in some bytes; NULL is nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    start: u32,
    length: u32,
}

impl Place {
    pub(crate) const NULL: Self = Self { start: 0, length: u32::MAX };

    /// None where the value is farther, or longer, than any can be.
    pub(crate) fn new(start: usize, length: usize) -> Option<Self> {
        let (start, length) = (u32::try_from(start).ok()?, u32::try_from(length).ok()?);
        (length < u32::MAX).then_some(Self { start, length })
    }
}

/// Values of one column: of the places each so many-th, from the first on.
#[derive(Debug, Clone)]
pub(crate) struct Values<'a> {
    bytes: &'a [u8],
    places: std::iter::StepBy<std::slice::Iter<'a, Place>>,
}

impl<'a> Values<'a> {
    /// The places are within the bytes; `width` is not zero.
    pub(crate) fn new(bytes: &'a [u8], places: &'a [Place], width: usize) -> Self {
        Self { bytes, places: places.iter().step_by(width) }
    }

    fn places(&self) -> impl Iterator<Item = Place> + use<'a> {
        self.places.clone().copied()
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let place = *self.places.next()?;
        let start = place.start as usize;
        Some((place != Place::NULL).then(|| &self.bytes[start..start + place.length as usize]))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.places.size_hint()
    }
}

fn each<T: ArrowPrimitiveType>(
    cells: &mut PrimitiveBuilder<T>,
    values: Values<'_>,
    read: impl Fn(&[u8]) -> Result<T::Native, Misfit>,
) -> Result<(), Misfit> {
    for value in values {
        match value {
            Some(bytes) => cells.append_value(read(bytes)?),
            None => cells.append_null(),
        }
    }
    Ok(())
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Misfit> {
    bytes.try_into().map_err(|_| "has another length than its type")
}

/// Splits `N` bytes off.
pub(crate) fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Result<&'a [u8; N], Misfit> {
    let (head, rest) = bytes.split_first_chunk().ok_or("is cut off")?;
    *bytes = rest;
    Ok(head)
}

/// Postgres knows one NaN, and stores whatever bits it was given.
fn float4(bytes: &[u8]) -> Result<f32, Misfit> {
    let value = f32::from_be_bytes(fixed(bytes)?);
    Ok(if value.is_nan() { f32::NAN } else { value })
}

/// As [`float4`].
fn float8(bytes: &[u8]) -> Result<f64, Misfit> {
    let value = f64::from_be_bytes(fixed(bytes)?);
    Ok(if value.is_nan() { f64::NAN } else { value })
}

fn time(bytes: &[u8]) -> Result<i64, Misfit> {
    match i64::from_be_bytes(fixed(bytes)?) {
        micros @ 0..86_400_000_000 => Ok(micros),
        _ => Err("is 24:00:00, which a time here cannot be"),
    }
}

fn date(bytes: &[u8]) -> Result<i32, Misfit> {
    match i32::from_be_bytes(fixed(bytes)?) {
        i32::MAX | i32::MIN => Err("is infinite, which a date here cannot be"),
        days => days.checked_add(EPOCH_DAYS).ok_or("is out of range"),
    }
}

fn moment(bytes: &[u8]) -> Result<i64, Misfit> {
    match i64::from_be_bytes(fixed(bytes)?) {
        i64::MAX | i64::MIN => Err("is infinite, which a timestamp here cannot be"),
        micros => micros.checked_add(EPOCH_MICROS).ok_or("is out of range"),
    }
}

/// Whether a date or a timestamp is the largest or the smallest number, which stand for the infinities.
fn is_infinite(bytes: &[u8]) -> bool {
    match bytes {
        [0x7f, rest @ ..] => rest.iter().all(|byte| *byte == 0xff),
        [0x80, rest @ ..] => rest.iter().all(|byte| *byte == 0),
        _ => false,
    }
}

fn interval(bytes: &[u8]) -> Result<IntervalMonthDayNano, Misfit> {
    let mut bytes = bytes;
    let micros = i64::from_be_bytes(*take(&mut bytes)?);
    let days = i32::from_be_bytes(*take(&mut bytes)?);
    let months = i32::from_be_bytes(*take(&mut bytes)?);
    let nanos = micros.checked_mul(1_000).ok_or("is longer than an interval here can be")?;
    Ok(IntervalMonthDayNano::new(months, days, nanos))
}

fn append_uuid(cells: &mut BinaryBuilder, bytes: &[u8; 16]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    cells.append_value(text);
}

/// A list of one dimension; the number of its items.
fn array(bytes: &[u8], items: &mut Cells) -> Result<usize, Misfit> {
    let mut bytes = bytes;
    let dimensions = i32::from_be_bytes(*take(&mut bytes)?);
    let _has_nulls: &[u8; 4] = take(&mut bytes)?;
    let _element: &[u8; 4] = take(&mut bytes)?;
    match dimensions {
        0 => return Ok(0),
        1 => {}
        _ => return Err("is an array of several dimensions, which a list here cannot be"),
    }
    let count = usize::try_from(i32::from_be_bytes(*take(&mut bytes)?)).map_err(|_| "is cut off")?;
    let _lower_bound: &[u8; 4] = take(&mut bytes)?;
    for _ in 0..count {
        match usize::try_from(i32::from_be_bytes(*take(&mut bytes)?)) {
            Err(_) => items.push(None)?,
            Ok(length) => {
                let (item, rest) = bytes.split_at_checked(length).ok_or("is cut off")?;
                items.push(Some(item))?;
                bytes = rest;
            }
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_time_is_an_error() {
        assert!(time(&86_400_000_000_i64.to_be_bytes()).is_err());
        assert!(moment(&(i64::MAX - 1).to_be_bytes()).is_err());
        assert!(moment(&i64::MAX.to_be_bytes()).is_err() && date(&i32::MIN.to_be_bytes()).is_err());
    }

    #[test]
    fn infinities_are_null_and_counted_where_the_catalog_says_so() {
        let mut days = Cells::new(&Kind::Finite(Box::new(Kind::Date)));
        for day in [i32::MAX, i32::MIN, 0, i32::MAX - 20_000, 255] {
            days.push(Some(&day.to_be_bytes())).expect("a day");
        }
        days.push(None).expect("NULL");
        let mut moments = Cells::new(&Kind::Finite(Box::new(Kind::Timestamp)));
        for moment in [i64::MAX, i64::MIN, 0] {
            moments.push(Some(&moment.to_be_bytes())).expect("a moment");
        }
        assert!(moments.push(Some(&(i64::MAX - 1).to_be_bytes())).is_err(), "out of range is no infinity");
        assert_eq!((days.take_misfits(), days.take_misfits(), moments.take_misfits()), (2, 0, 2));
        assert_eq!(days.finish().expect("finished").null_count(), 3);
    }

    #[test]
    fn a_uuid_is_in_lower_case_with_dashes() {
        let mut cells = Cells::new(&Kind::Uuid);
        let bytes: Vec<u8> = (0..16).map(|n| n * 17).collect();
        cells.push(Some(&bytes)).expect("a uuid");
        let found = cells.finish().expect("finished");
        assert_eq!(
            arrow::util::display::array_value_to_string(&found, 0).expect("text"),
            "00112233-4455-6677-8899-aabbccddeeff"
        );
    }

    #[test]
    fn every_nan_is_the_same() {
        for bits in [f64::NAN.to_bits(), (-f64::NAN).to_bits(), 0x7ff0_0000_0000_0001] {
            assert_eq!(float8(&bits.to_be_bytes()).expect("a number").to_bits(), f64::NAN.to_bits());
        }
        assert_eq!(float8(&(-0.0_f64).to_be_bytes()).expect("a number").to_bits(), (-0.0_f64).to_bits());
    }

    #[test]
    fn bytes_that_are_cut_off_are_an_error_for_every_kind() {
        let list = Kind::Array(Box::new(Kind::Int4));
        let kinds = [
            Kind::Bool,
            Kind::Int2,
            Kind::Int4,
            Kind::Int8,
            Kind::Oid,
            Kind::Float4,
            Kind::Float8,
            Kind::Date,
            Kind::Time,
        ];
        let more = [
            Kind::Timestamp,
            Kind::Timestamptz,
            Kind::Uuid,
            Kind::Interval,
            Kind::Numeric { precision: 5, scale: 2 },
            Kind::Rounded,
            Kind::Money,
            Kind::Finite(Box::new(Kind::Date)),
            list,
        ];
        for kind in kinds.into_iter().chain(more) {
            assert!(Cells::new(&kind).push(Some(&[])).is_err(), "{kind:?}");
            assert!(Cells::new(&kind).push(Some(&[0; 3])).is_err(), "{kind:?}");
        }
    }

    #[test]
    fn text_that_is_not_utf_8_is_an_error() {
        // The third is whole only together with the one after it.
        for values in [&[&b"\xff"[..]][..], &[b"a", b"\xc3"], &[b"a", b"\xc3", b"\xa4"]] {
            for kind in [Kind::Other, Kind::Finite(Box::new(Kind::Other))] {
                let mut cells = Cells::new(&kind);
                values.iter().for_each(|value| cells.push(Some(value)).expect("taken"));
                assert_eq!(cells.finish().err(), Some("is not UTF-8"), "{values:?}");
            }
        }
    }

    #[test]
    fn an_array_with_a_wild_length_is_an_error() {
        let head = |words: &[i32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
        let mut cells = Cells::new(&Kind::Array(Box::new(Kind::Int4)));
        for words in [&[1, 0, 23, i32::MAX, 1][..], &[1, 0, 23, -1, 1], &[2, 0, 23, 1, 1, 1, 1], &[1, 0, 23, 1, 1, 400]]
        {
            assert!(cells.push(Some(&head(words))).is_err(), "{words:?}");
        }
    }
}
