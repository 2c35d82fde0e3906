//! Decimal128: 34 digits and a power of ten, in the binary form of IEEE 754, to and from a fixed scale.

use bson::Decimal128;

/// The largest number of 34 digits.
const LARGEST: u128 = 10_u128.pow(34) - 1;
const BIAS: i32 = 6176;

/// The value times `10^scale`; none where that is no whole number, or not a number at all, or beyond 38 digits.
pub(crate) fn scaled(value: Decimal128, scale: i8) -> Option<i128> {
    let (negative, digits, exponent) = parts(value)?;
    if digits == 0 {
        return Some(0);
    }
    let up = exponent + i32::from(scale);
    let digits = i128::try_from(digits).ok()?;
    let whole = match u32::try_from(up) {
        Ok(up) => digits.checked_mul(10_i128.checked_pow(up)?)?,
        Err(_) => {
            let down = 10_i128.checked_pow(up.unsigned_abs())?;
            (digits % down == 0).then_some(digits / down)?
        }
    };
    Some(if negative { -whole } else { whole })
}

/// Digits before the point, and digits after it that are not zeros at the end; none for what is not a number.
pub(crate) fn extent(value: Decimal128) -> Option<(u32, u32)> {
    let (_, mut digits, mut exponent) = parts(value)?;
    if digits == 0 {
        return Some((1, 0));
    }
    while digits.is_multiple_of(10) {
        (digits, exponent) = (digits / 10, exponent + 1);
    }
    let length = digits.ilog10() + 1;
    let after = if exponent < 0 { exponent.unsigned_abs() } else { 0 };
    let before = i32::try_from(length).ok()? + exponent;
    Some((u32::try_from(before).unwrap_or(0).max(1), after))
}

/// `value / 10^scale`; none beyond 34 digits.
pub(crate) fn decimal(value: i128, scale: i8) -> Option<Decimal128> {
    let (mut digits, mut exponent) = (value.unsigned_abs(), -i32::from(scale));
    while digits > LARGEST && digits.is_multiple_of(10) {
        (digits, exponent) = (digits / 10, exponent + 1);
    }
    if digits > LARGEST {
        return None;
    }
    let sign = u128::from(value < 0) << 127;
    let exponent = u128::try_from(exponent + BIAS).ok()? << 113;
    Some(Decimal128::from_bytes((sign | exponent | digits).to_le_bytes()))
}

/// Sign, digits and power of ten.
fn parts(value: Decimal128) -> Option<(bool, u128, i32)> {
    let bits = u128::from_le_bytes(value.bytes());
    let negative = bits >> 127 == 1;
    // The two bits after the sign: infinity and NaN, or numbers of more than 34 digits, which count as zero.
    if (bits >> 125) & 0b11 == 0b11 {
        let special = (bits >> 122) & 0b1_1111 >= 0b1_1110;
        return (!special).then_some((negative, 0, 0));
    }
    let exponent = i32::try_from((bits >> 113) & 0x3fff).ok()? - BIAS;
    let digits = bits & ((1 << 113) - 1);
    Some((negative, if digits > LARGEST { 0 } else { digits }, exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Decimal128 {
        text.parse().expect("a decimal")
    }

    #[test]
    fn a_value_is_itself_at_any_scale_that_holds_it() {
        for (text, scale, whole) in [
            ("1.10", 2, Some(110)),
            ("1.10", 1, Some(11)),
            ("1.10", 0, None),
            ("-0.001", 3, Some(-1)),
            ("1E+3", 2, Some(100_000)),
            ("0E-10", 0, Some(0)),
            ("-0", 2, Some(0)),
            ("NaN", 2, None),
            ("Infinity", 2, None),
            ("-Infinity", 2, None),
            ("9999999999999999999999999999999999", 0, Some(LARGEST as i128)),
            ("1E+6000", 0, None),
            ("1E-6000", 38, None),
        ] {
            assert_eq!(scaled(of(text), scale), whole, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_what_the_driver_reads() {
        for (value, scale, text) in [
            (110, 2, "1.10"),
            (-1, 3, "-0.001"),
            (0, 0, "0"),
            (LARGEST as i128, 5, "99999999999999999999999999999.99999"),
        ] {
            assert_eq!(decimal(value, scale), Some(of(text)), "{text}");
        }
        assert_eq!(decimal(10_i128.pow(37), 10).and_then(|value| scaled(value, 10)), Some(10_i128.pow(37)));
        assert_eq!(decimal(10_i128.pow(36) + 1, 0), None);
    }

    #[test]
    fn the_extent_counts_digits_on_both_sides() {
        for (text, extents) in
            [("1.10", (1, 1)), ("123.456", (3, 3)), ("0.001", (1, 3)), ("1E+3", (4, 0)), ("0", (1, 0))]
        {
            assert_eq!(extent(of(text)), Some(extents), "{text}");
        }
        assert_eq!(extent(of("NaN")), None);
    }
}
