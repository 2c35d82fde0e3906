//! Arrow values in Postgres' binary form: the rows of a COPY into a table.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, RecordBatch};
use arrow::datatypes::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use bytes::{BufMut, BytesMut};
use connector_spi::{Error, ErrorKind, Result};

use crate::cell::{EPOCH_DAYS, EPOCH_MICROS, Misfit};
use crate::types::Kind;

/// What a COPY begins with: the signature, no flags, no extension.
pub(crate) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with.
pub(crate) const TRAILER: &[u8] = &[0xff, 0xff];

/// Whether values of the kind have a binary form here; others are sent as text and converted there.
pub(crate) fn is_binary(kind: &Kind) -> bool {
    is_written(kind) && *kind != Kind::Other
}

/// Whether values of the kind can be written at all.
pub(crate) fn is_written(kind: &Kind) -> bool {
    !matches!(kind, Kind::Interval | Kind::Array(_) | Kind::Rounded | Kind::Money)
}

/// Appends the rows of a batch. Errors: `INVALID` for a value that has no place in its column, `UNSUPPORTED` for a type
/// that cannot be written.
pub(crate) fn rows(batch: &RecordBatch, kinds: &[Kind], table: &str, out: &mut BytesMut) -> Result<()> {
    let count =
        u16::try_from(batch.num_columns()).map_err(|_| Error::internal("a row of more columns than a table has"))?;
    for row in 0..batch.num_rows() {
        out.put_u16(count);
        for (at, (column, kind)) in batch.columns().iter().zip(kinds).enumerate() {
            if column.is_null(row) {
                out.put_i32(-1);
                continue;
            }
            let start = out.len();
            out.put_i32(0);
            value(column, kind, row, out).map_err(|misfit| {
                let name = batch.schema().field(at).name().clone();
                Error::new(ErrorKind::Invalid, format!("a value for column \"{name}\" of table \"{table}\" {misfit}"))
                    .with("column", name)
            })?;
            let length = i32::try_from(out.len() - start - 4)
                .map_err(|_| Error::invalid(format!("a value for table \"{table}\" is larger than 2 GiB")))?;
            out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        }
    }
    Ok(())
}

fn value(column: &ArrayRef, kind: &Kind, row: usize, out: &mut BytesMut) -> std::result::Result<(), Misfit> {
    fn of<T: ArrowPrimitiveType>(column: &ArrayRef, row: usize) -> std::result::Result<T::Native, Misfit> {
        column.as_primitive_opt::<T>().map(|values| values.value(row)).ok_or("is of another type")
    }
    match kind {
        Kind::Bool => out.put_u8(u8::from(column.as_boolean_opt().ok_or("is of another type")?.value(row))),
        Kind::Int2 => out.put_i16(of::<Int16Type>(column, row)?),
        Kind::Int4 => out.put_i32(of::<Int32Type>(column, row)?),
        Kind::Int8 => out.put_i64(of::<Int64Type>(column, row)?),
        Kind::Oid => out.put_u32(u32::try_from(of::<Int64Type>(column, row)?).map_err(|_| "is no oid")?),
        Kind::Float4 => out.put_f32(of::<Float32Type>(column, row)?),
        Kind::Float8 => out.put_f64(of::<Float64Type>(column, row)?),
        Kind::Numeric { scale, .. } => numeric(of::<Decimal128Type>(column, row)?, *scale, out),
        Kind::Text(_) | Kind::Char(_) | Kind::Other => {
            let text = column.as_string_opt::<i32>().ok_or("is of another type")?.value(row);
            if text.contains('\0') {
                return Err("holds the character NUL, which Postgres does not store");
            }
            out.put_slice(text.as_bytes());
        }
        Kind::Uuid => {
            let text = column.as_string_opt::<i32>().ok_or("is of another type")?.value(row);
            out.put_u128(uuid(text).ok_or("is no uuid")?);
        }
        Kind::Bytea => out.put_slice(column.as_binary_opt::<i32>().ok_or("is of another type")?.value(row)),
        Kind::Date => out.put_i32(of::<Date32Type>(column, row)?.checked_sub(EPOCH_DAYS).ok_or("is before all dates")?),
        Kind::Time => out.put_i64(of::<Time64MicrosecondType>(column, row)?),
        Kind::Timestamp | Kind::Timestamptz => {
            let micros = of::<TimestampMicrosecondType>(column, row)?;
            out.put_i64(micros.checked_sub(EPOCH_MICROS).ok_or("is before all timestamps")?);
        }
        Kind::Finite(kind) => value(column, kind, row, out)?,
        Kind::Interval | Kind::Array(_) | Kind::Rounded | Kind::Money => {
            return Err("cannot be written; its type is only read");
        }
    }
    Ok(())
}

/// 32 digits, with dashes anywhere.
fn uuid(text: &str) -> Option<u128> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    (digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
        .then(|| u128::from_str_radix(&digits, 16).ok())?
}

/// Groups of four decimal digits around the point; the first has the weight 10000^weight.
fn numeric(value: i128, scale: i8, out: &mut BytesMut) {
    let scale = usize::try_from(scale).unwrap_or(0);
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, part) = digits.split_at(digits.len() - scale);
    let whole = format!("{}{whole}", "0".repeat((4 - whole.len() % 4) % 4));
    let part = format!("{part}{}", "0".repeat((4 - part.len() % 4) % 4));
    let groups: Vec<i16> = whole
        .as_bytes()
        .chunks(4)
        .chain(part.as_bytes().chunks(4))
        .map(|group| group.iter().fold(0, |sum, digit| sum * 10 + i16::from(digit - b'0')))
        .collect();
    let first = groups.iter().position(|group| *group != 0).unwrap_or(groups.len());
    let end = groups.iter().rposition(|group| *group != 0).map_or(first, |last| last + 1);
    let groups_of_whole = whole.len() / 4;
    // A type of 38 digits has few groups.
    out.put_i16((end - first) as i16);
    out.put_i16(groups_of_whole as i16 - 1 - first as i16);
    out.put_u16(if value < 0 { 0x4000 } else { 0 });
    out.put_u16(scale as u16);
    groups[first..end].iter().for_each(|group| out.put_i16(*group));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::decimal;

    #[test]
    fn decimals_come_back_as_they_were_sent() {
        let most = 10_i128.pow(38) - 1;
        for value in [0, 1, -1, 9, 10_000, -10_000, 99_999, 100_000_000, 123_456_789_012, most, -most] {
            for scale in [0, 1, 2, 3, 4, 5, 10, 37, 38] {
                let mut out = BytesMut::new();
                numeric(value, scale, &mut out);
                assert_eq!(decimal(&out, 38, scale), Ok(value), "{value} at {scale}");
            }
        }
    }

    #[test]
    fn a_uuid_is_32_digits() {
        assert_eq!(uuid("00000000-0000-0000-0000-00000000000F"), Some(15));
        assert_eq!(uuid("0000000000000000000000000000000f"), Some(15));
        for text in ["", "x", "00000000-0000-0000-0000-00000000000", "g0000000000000000000000000000000"] {
            assert_eq!(uuid(text), None);
        }
    }
}
