//! Rows that are hard to get right.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int16Array,
    Int32Array, Int64Array, RecordBatch, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema};

use super::Outcome;

/// Texts that a source may take for something else: quotes, escapes, wild cards, comments, white space, letters that
/// change with their case or compose, SQL, JSON, patterns, and words of query languages.
pub fn hostile() -> Vec<String> {
    let short = "'\"`\\%_$#@!?^&*()[]{}<>=+-~|/;:,.";
    let mut texts: Vec<String> = short.chars().map(String::from).collect();
    texts.extend(short.chars().map(|c| format!("{c}{c}")));
    texts.extend(short.chars().map(|c| format!("a{c}b")));
    let more = [
        "",
        " ",
        "  ",
        "a",
        "a ",
        " a",
        "A",
        "b",
        "B",
        "ab",
        "aB",
        "Ab",
        "AB",
        "Z",
        "z",
        "zz",
        "a b",
        "a  b",
        "0",
        "00",
        "1",
        "-1",
        "1e3",
        "0x1",
        "NaN",
        "Infinity",
        "true",
        "null",
        "NULL",
        "\\N",
        "\\'",
        "''",
        "'''",
        "\\\\",
        "\\\\\\",
        "\\x27",
        "\\u0027",
        "U&'\\0027'",
        "E'x'",
        "$$",
        "$1",
        "$a$x$a$",
        ":x",
        "@p1",
        "%s",
        "%d",
        "{0}",
        "${x}",
        "#{x}",
        "{}",
        "[]",
        "{\"$gt\":\"\"}",
        "{\"$where\":\"1\"}",
        "$where",
        "$gt",
        "$ne",
        "a.b",
        "a.$b",
        ".a",
        "a.",
        "..",
        "../..",
        "a%",
        "%a",
        "%a%",
        "a_b",
        "_a",
        "a\\%b",
        "a\\_b",
        "a%b_c\\d",
        "^a",
        "a$",
        "a.*",
        "(a|b)",
        "a+b(c)[d]",
        "[a-z]",
        "a\nb",
        "a\r\nb",
        "\n",
        "\r",
        "\t",
        "a\tb",
        "\u{1}",
        "\u{7f}",
        "\u{a0}",
        "\u{200b}",
        "\u{200d}",
        "\u{202e}a",
        "\u{feff}",
        "\u{feff}a",
        "é",
        "e\u{301}",
        "É",
        "ä",
        "Ä",
        "ß",
        "ss",
        "SS",
        "ẞ",
        "İ",
        "i",
        "I",
        "ı",
        "ﬁ",
        "fi",
        "Σ",
        "σ",
        "ς",
        "ǆ",
        "ǅ",
        "Ǆ",
        "日本",
        "日",
        "本",
        "\u{1F600}",
        "\u{1F468}\u{200d}\u{1F469}",
        "\u{10ffff}",
        "\u{d7ff}",
        "\u{e000}",
        "Ω",
        "Ω",
        "K",
        "k",
        "' OR 1=1 --",
        "'; DROP TABLE t; --",
        "\\' OR 1=1 --",
        "\" OR \"\"=\"",
        "1; SELECT pg_sleep(9)",
        "/* x */",
        "/*",
        "*/",
        "--",
        "-- x",
        "#x",
        "//",
        "');--",
        "x' AND '1'='1",
        "UNION SELECT 1",
        "a''b",
        "a'b",
        "it's",
        "it''s",
        "a\"b",
        "a\\",
        "a\\b",
        "a\\\\b",
        "\\a",
        "NULL::text",
        "now()",
        "a,b",
        "a;b",
        "a|b",
        "<a>",
        "&amp;",
        "a-b",
        "~",
        "*",
        "*a",
        "a?",
        "?a",
        "{a,b}",
        "\\d",
        "(?i)a",
        "*3\r\n$3\r\n",
        "FLUSHALL",
        "x\\",
        "$a$",
        "e'\\''",
        "\u{b}",
        "a\u{308}",
        "x'27'",
        "'||'",
        "' '",
        "aXb",
        "aéb",
        "a!b",
    ];
    texts.extend(more.map(str::to_owned));
    texts.push("x".repeat(5000));
    let mut known = std::collections::HashSet::new();
    texts.retain(|text| known.insert(text.clone()));
    texts
}

/// Every value of a column, in turn, with NULL as one more.
fn turning<T: Clone>(values: &[T], count: usize) -> Vec<Option<T>> {
    (0..count).map(|row| values.get(row % (values.len() + 1)).cloned()).collect()
}

/// About 400 rows: a number, and a column of each type that `keep` wants, with its extreme and its usual values and NULL.
///
/// Errors: none that a caller could cause.
pub fn rows(keep: impl Fn(&DataType) -> bool) -> Outcome<RecordBatch> {
    let texts = hostile();
    let count = 2 * texts.len();
    let days: [i32; 15] = [
        -719_162, -719_163, -141_428, -141_427, -25_567, -1, 0, 1, 59, 11_016, 19_782, 19_783, 20_000, 106_752,
        2_932_896,
    ];
    let micros = |value: i64| value * 1_000_000;
    let stamps: Vec<i64> = days
        .iter()
        .flat_map(|day| [micros(i64::from(*day) * 86_400), micros(i64::from(*day) * 86_400) + 86_399_999_999])
        .chain([-1, 1, 1_700_000_000_123_456])
        .collect();
    let decimals: Vec<i128> = vec![0, 1, -1, 100, -100, 12_345, 10_000, -9_999_999, 99_999_999_999, 100_000_000_000];
    let large: Vec<i128> =
        vec![0, 1, -1, 10_i128.pow(37), 10_i128.pow(38) - 1, -(10_i128.pow(38) - 1), 10_i128.pow(10), 7];
    let decimal = |values: &[i128], precision, scale| {
        let array = Decimal128Array::from(turning(values, count)).with_precision_and_scale(precision, scale);
        array.map(|array| Arc::new(array) as ArrayRef).map_err(|error| error.to_string())
    };
    let f64s = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.1,
        1.5,
        1e300,
        -1e300,
        1e-300,
        5e-324,
        f64::MAX,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        9_007_199_254_740_993.0,
    ];
    let f32s = [0.0, -0.0, 1.0, -1.0, 0.1, 1.5, 3e38, 1e-45, f32::MAX, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
    let i64s = [0, 1, -1, 5, 7, i64::MAX, i64::MIN, 1 << 53, (1 << 53) + 1, 1 << 31, -(1 << 31) - 1, 100];
    let bytes: Vec<Vec<u8>> = vec![
        vec![],
        vec![0],
        vec![0, 0],
        vec![255],
        vec![0, 255],
        vec![39],
        vec![92, 120],
        vec![1, 2, 3],
        vec![128; 40],
    ];
    let borrowed: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
    let few = ["a", "A", "b", "", "ä"];
    let text = |values: Vec<Option<String>>| Arc::new(StringArray::from(values)) as ArrayRef;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("flag", Arc::new(BooleanArray::from(turning(&[true, false], count)))),
        ("small", Arc::new(Int16Array::from(turning(&[0, 1, -1, 5, i16::MAX, i16::MIN], count)))),
        ("middle", Arc::new(Int32Array::from(turning(&[0, 1, -1, 5, 100, i32::MAX, i32::MIN], count)))),
        ("large", Arc::new(Int64Array::from(turning(&i64s, count)))),
        ("single", Arc::new(Float32Array::from(turning(&f32s, count)))),
        ("double", Arc::new(Float64Array::from(turning(&f64s, count)))),
        ("money", decimal(&decimals, 12, 2)?),
        ("fine", decimal(&decimals, 18, 4)?),
        ("whole", decimal(&large, 38, 0)?),
        ("deep", decimal(&large, 38, 10)?),
        ("text", text(turning(&texts, count))),
        ("few", text(turning(&few.map(str::to_owned), count))),
        ("bytes", Arc::new(BinaryArray::from(turning(&borrowed, count)))),
        ("day", Arc::new(Date32Array::from(turning(&days, count)))),
        ("clock", Arc::new(Time64MicrosecondArray::from(turning(&[0, 1, 43_200_000_000, 86_399_999_999], count)))),
        ("wall", Arc::new(TimestampMicrosecondArray::from(turning(&stamps, count)))),
        ("instant", Arc::new(TimestampMicrosecondArray::from(turning(&stamps, count)).with_timezone("UTC"))),
        ("nothing", text(vec![None; count])),
    ];
    let mut fields = vec![Field::new("id", DataType::Int64, false)];
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_iter_values(0..count as i64))];
    for (name, array) in columns {
        if keep(array.data_type()) {
            fields.push(Field::new(name, array.data_type().clone(), true));
            arrays.push(array);
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(|error| error.to_string())
}
