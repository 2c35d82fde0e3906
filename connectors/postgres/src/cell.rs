//! One column while it grows: values of Postgres' binary form into Arrow.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder, Float64Builder,
    Int16Builder, Int32Builder, Int64Builder, IntervalMonthDayNanoBuilder, ListArray, StringBuilder,
    Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{Field, IntervalMonthDayNano};
use arrow::error::ArrowError;

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
    Text(StringBuilder),
    Uuid(StringBuilder),
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
            Kind::Text(_) | Kind::Char(_) | Kind::Other => Self::Text(StringBuilder::new()),
            Kind::Uuid => Self::Uuid(StringBuilder::new()),
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

    /// Appends a value, NULL where there are no bytes.
    pub(crate) fn push(&mut self, bytes: Option<&[u8]>) -> Result<(), Misfit> {
        match self {
            Self::Bool(cells) => cells.append_option(bytes.map(|b| fixed::<1>(b).map(|b| b[0] != 0)).transpose()?),
            Self::Int2(cells) => cells.append_option(bytes.map(|b| fixed(b).map(i16::from_be_bytes)).transpose()?),
            Self::Int4(cells) => cells.append_option(bytes.map(|b| fixed(b).map(i32::from_be_bytes)).transpose()?),
            Self::Int8(cells) => cells.append_option(bytes.map(|b| fixed(b).map(i64::from_be_bytes)).transpose()?),
            Self::Oid(cells) => {
                cells.append_option(bytes.map(|b| fixed(b).map(|b| i64::from(u32::from_be_bytes(b)))).transpose()?);
            }
            Self::Float4(cells) => cells.append_option(bytes.map(float4).transpose()?),
            Self::Float8(cells) => cells.append_option(bytes.map(float8).transpose()?),
            Self::Rounded(cells) => cells.append_option(bytes.map(rounded).transpose()?),
            Self::Numeric(cells, precision, scale) => {
                cells.append_option(bytes.map(|b| decimal(b, *precision, *scale)).transpose()?);
            }
            Self::Text(cells) => {
                cells.append_option(bytes.map(|b| std::str::from_utf8(b).map_err(|_| "is not UTF-8")).transpose()?);
            }
            Self::Uuid(cells) => match bytes {
                Some(bytes) => append_uuid(cells, &fixed(bytes)?),
                None => cells.append_null(),
            },
            Self::Bytea(cells) => cells.append_option(bytes),
            Self::Date(cells) => cells.append_option(bytes.map(date).transpose()?),
            Self::Time(cells) => cells.append_option(bytes.map(time).transpose()?),
            Self::Moment(cells) => cells.append_option(bytes.map(moment).transpose()?),
            Self::Interval(cells) => cells.append_option(bytes.map(interval).transpose()?),
            Self::Finite { cells, infinite } => {
                let finite = bytes.filter(|bytes| !is_infinite(bytes));
                *infinite += u64::from(bytes.is_some() && finite.is_none());
                cells.push(finite)?;
            }
            Self::Array { items, lengths, valid, .. } => {
                valid.push(bytes.is_some());
                lengths.push(match bytes {
                    Some(bytes) => array(bytes, items)?,
                    None => 0,
                });
            }
        }
        Ok(())
    }

    /// How many values became NULL; the count starts anew.
    pub(crate) fn take_misfits(&mut self) -> u64 {
        match self {
            Self::Finite { infinite, .. } => std::mem::take(infinite),
            _ => 0,
        }
    }

    /// The column so far; it starts anew.
    pub(crate) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
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
                let next = StringBuilder::with_capacity(cells.offsets_slice().len(), cells.values_slice().len());
                Arc::new(std::mem::replace(cells, next).finish())
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
                Arc::new(ListArray::try_new(field, offsets, items.finish()?, Some(nulls))?)
            }
        })
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Misfit> {
    bytes.try_into().map_err(|_| "has another length than its type")
}

/// Splits `N` bytes off.
fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Result<&'a [u8; N], Misfit> {
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

fn append_uuid(cells: &mut StringBuilder, bytes: &[u8; 16]) {
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

/// The head of a numeric: how many digits of base 10,000 follow, the weight of the first, and the sign.
fn head(bytes: &mut &[u8]) -> Result<(i32, i32, u16), Misfit> {
    let count = i16::from_be_bytes(*take(bytes)?);
    let weight = i16::from_be_bytes(*take(bytes)?);
    let sign = u16::from_be_bytes(*take(bytes)?);
    let _shown: &[u8; 2] = take(bytes)?;
    Ok((i32::from(count), i32::from(weight), sign))
}

/// A numeric as the nearest double.
fn rounded(bytes: &[u8]) -> Result<f64, Misfit> {
    let mut bytes = bytes;
    let (count, weight, sign) = head(&mut bytes)?;
    let mut text = match sign {
        0x0000 => "0".to_owned(),
        0x4000 => "-0".to_owned(),
        0xC000 => return Ok(f64::NAN),
        0xF000 => return Ok(f64::NEG_INFINITY),
        _ => return Ok(f64::INFINITY),
    };
    let mut zero = true;
    for _ in 0..count {
        let digit = u16::from_be_bytes(*take(&mut bytes)?);
        zero &= digit == 0;
        text.push_str(&format!("{digit:04}"));
    }
    if zero {
        return Ok(0.0);
    }
    // Correctly rounded, whatever the number of digits.
    let value = format!("{text}e{}", 4 * (weight - count + 1)).parse::<f64>().map_err(|_| "is no number")?;
    if value == 0.0 {
        return Err("is too small for a double, and not zero");
    }
    if value.is_infinite() { Err("is too large for a double") } else { Ok(value) }
}

const RANGE: Misfit = "does not fit the precision of its type";

/// A numeric: digits of base 10,000 with the weight of the first, as a number of `scale` decimals.
pub(crate) fn decimal(bytes: &[u8], precision: u8, scale: i8) -> Result<i128, Misfit> {
    let mut bytes = bytes;
    let (count, weight, sign) = head(&mut bytes)?;
    let negative = match sign {
        0x0000 => false,
        0x4000 => true,
        0xC000 => return Err("is NaN, which a decimal here cannot be"),
        _ => return Err("is infinite, which a decimal here cannot be"),
    };
    let value = match short(bytes, count, weight, scale) {
        Some(value) => i128::from(value),
        None => long(bytes, count, weight, scale)?,
    };
    let end = POWERS
        .get(usize::from(precision))
        .map_or_else(|| 10_i128.pow(u32::from(precision.min(38))), |end| i128::from(*end));
    if value >= end {
        return Err(RANGE);
    }
    Ok(if negative { -value } else { value })
}

/// The powers of ten that 64 bits hold.
const POWERS: [u64; 20] = {
    let mut powers = [1; 20];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

/// The number, where 64 bits hold it and each step to it, as they do nearly always.
fn short(bytes: &[u8], count: i32, weight: i32, scale: i8) -> Option<u64> {
    let mut value = 0_u64;
    if !(0..=4).contains(&count) {
        return None;
    }
    let (digits, _) = bytes.as_chunks::<2>();
    for digit in digits.get(..count as usize)? {
        value = value * 10_000 + u64::from(u16::from_be_bytes(*digit));
    }
    // The last digit counts ones of this power of ten.
    let power = 4 * (weight - count + 1) + i32::from(scale);
    let ten = *POWERS.get(power.unsigned_abs() as usize)?;
    match power >= 0 {
        true => value.checked_mul(ten),
        false => value.is_multiple_of(ten).then(|| value / ten),
    }
}

fn long(mut bytes: &[u8], count: i32, weight: i32, scale: i8) -> Result<i128, Misfit> {
    let mut value: i128 = 0;
    for at in 0..count {
        let digit = i128::from(i16::from_be_bytes(*take(&mut bytes)?));
        let power = 4 * (weight - at) + i32::from(scale);
        let part = match u32::try_from(power) {
            Ok(power) => 10_i128.checked_pow(power).and_then(|ten| ten.checked_mul(digit)).ok_or(RANGE)?,
            Err(_) => {
                let ten = 10_i128.checked_pow(power.unsigned_abs()).ok_or(RANGE)?;
                if digit % ten != 0 {
                    return Err("has more decimals than its type");
                }
                digit / ten
            }
        };
        value = value.checked_add(part).ok_or(RANGE)?;
    }
    Ok(value)
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

    fn numeric(digits: &[i16], weight: i16, sign: u16) -> Vec<u8> {
        let head = [(digits.len() as i16).to_be_bytes(), weight.to_be_bytes(), sign.to_be_bytes(), [0, 0]];
        head.into_iter().chain(digits.iter().map(|digit| digit.to_be_bytes())).flatten().collect()
    }

    #[test]
    fn decimals_keep_every_digit() {
        assert_eq!(decimal(&numeric(&[1, 2345, 6700], 1, 0), 12, 2), Ok(1_234_567));
        assert_eq!(decimal(&numeric(&[500], -1, 0x4000), 12, 2), Ok(-5));
        assert_eq!(decimal(&numeric(&[], 0, 0), 12, 2), Ok(0));
        let nines = [99, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999];
        assert_eq!(decimal(&numeric(&nines, 9, 0), 38, 0), Ok(10_i128.pow(38) - 1));
    }

    #[test]
    fn a_decimal_of_few_digits_is_what_one_of_many_is() {
        let mut seed = 7_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        let mut both = 0;
        for _ in 0..20_000 {
            let digits: Vec<i16> = (0..random(6)).map(|_| [0, 1, 7800, 9999, 100, 10][random(6) as usize]).collect();
            let (weight, scale) = (random(7) as i32 - 3, random(12) as i8);
            let bytes: Vec<u8> = digits.iter().flat_map(|digit| digit.to_be_bytes()).collect();
            let count = digits.len() as i32;
            if let Some(value) = short(&bytes, count, weight, scale) {
                assert_eq!(Ok(i128::from(value)), long(&bytes, count, weight, scale), "{digits:?} {weight} {scale}");
                both += 1;
            }
        }
        assert!(both > 5000, "{both}");
        for cut in 0..6 {
            assert!(decimal(&numeric(&[1, 2], 1, 0)[..6 + cut], 12, 2).is_err(), "{cut}");
        }
    }

    #[test]
    fn what_is_no_number_is_an_error_and_not_zero() {
        for sign in [0xC000, 0xD000, 0xF000] {
            assert!(decimal(&numeric(&[], 0, sign), 12, 2).is_err());
        }
        assert!(decimal(&numeric(&[1], 3, 0), 5, 2).is_err());
        assert!(decimal(&numeric(&[1], i16::MAX, 0), 5, 2).is_err());
        assert!(decimal(&numeric(&[1], i16::MIN, 0), 5, 2).is_err());
        assert!(decimal(&[0, 1], 5, 2).is_err());
        assert!(time(&86_400_000_000_i64.to_be_bytes()).is_err());
        assert!(moment(&(i64::MAX - 1).to_be_bytes()).is_err());
        assert!(moment(&i64::MAX.to_be_bytes()).is_err() && date(&i32::MIN.to_be_bytes()).is_err());
    }

    #[test]
    fn a_numeric_is_the_nearest_double_or_an_error() {
        assert_eq!(rounded(&numeric(&[1, 2345, 6700], 1, 0)), Ok(12345.67));
        assert_eq!(rounded(&numeric(&[1000], -1, 0x4000)), Ok(-0.1));
        assert_eq!(rounded(&numeric(&[], 0, 0)).map(f64::to_bits), Ok(0));
        // 2^53 + 1 lies between two doubles, and is rounded to the even one; a little more is not.
        assert_eq!(rounded(&numeric(&[9007, 1992, 5474, 993], 3, 0)), Ok(9_007_199_254_740_992.0));
        assert_eq!(rounded(&numeric(&[9007, 1992, 5474, 993, 1], 3, 0)), Ok(9_007_199_254_740_994.0));
        assert!(rounded(&numeric(&[], 0, 0xC000)).is_ok_and(f64::is_nan));
        assert_eq!(rounded(&numeric(&[], 0, 0xF000)), Ok(f64::NEG_INFINITY));
        assert!(rounded(&numeric(&[1], 100, 0)).is_err() && rounded(&numeric(&[1], -100, 0)).is_err());
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
        assert!(Cells::new(&Kind::Other).push(Some(&[0xff])).is_err());
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
