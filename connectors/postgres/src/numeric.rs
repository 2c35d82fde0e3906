//! Numbers of any precision in Postgres' binary form: as decimals, and as the nearest double.

use crate::cell::{Misfit, take};

/// The head of a numeric: how many digits of base 10,000 follow, the weight of the first, and the sign.
fn head(bytes: &mut &[u8]) -> Result<(i32, i32, u16), Misfit> {
    let count = i16::from_be_bytes(*take(bytes)?);
    let weight = i16::from_be_bytes(*take(bytes)?);
    let sign = u16::from_be_bytes(*take(bytes)?);
    let _shown: &[u8; 2] = take(bytes)?;
    Ok((i32::from(count), i32::from(weight), sign))
}

/// A numeric as the nearest double.
pub(crate) fn rounded(bytes: &[u8]) -> Result<f64, Misfit> {
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
}
