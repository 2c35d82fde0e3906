//! Filters against the oracle: the same predicate run by DataFusion over the same rows, without pushdown.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use connector_memory::Memory;
use connector_spi::{
    Absorbed, Comparison, Connector, Literal, Op, Options, Predicate, ReadContext, Scan, Source, TableName,
};
use datafusion::logical_expr::{BinaryExpr, Like, Operator};
use datafusion::prelude::{Expr, SessionContext, col, lit};
use datafusion::scalar::ScalarValue;
use futures::{StreamExt, TryStreamExt};

/// Columns of every type that a literal can have, and some that none can; rows that are hard to get right.
fn columns() -> Vec<(&'static str, Vec<ScalarValue>)> {
    use ScalarValue::*;
    let utc = || Some(Arc::from("UTC"));
    let text = |text: &str| Some(text.to_owned());
    let nan = |bits: u64| Float64(Some(f64::from_bits(bits)));
    vec![
        ("flag", vec![Boolean(Some(true)), Boolean(Some(false))]),
        ("i8", vec![Int8(Some(i8::MIN)), Int8(Some(0)), Int8(Some(i8::MAX))]),
        ("i64", vec![Int64(Some(i64::MIN)), Int64(Some(-1)), Int64(Some(7)), Int64(Some(i64::MAX))]),
        ("u16", vec![UInt16(Some(0)), UInt16(Some(u16::MAX))]),
        ("u64", vec![UInt64(Some(0)), UInt64(Some(5)), UInt64(Some(u64::MAX))]),
        ("f32", [-0.0, 0.0, 0.1, -1.5, f32::INFINITY, f32::NAN, f32::MIN_POSITIVE].map(|v| Float32(Some(v))).to_vec()),
        (
            "f64",
            vec![
                Float64(Some(-0.0)),
                Float64(Some(0.0)),
                Float64(Some(0.1)),
                Float64(Some(-2.5)),
                Float64(Some(f64::INFINITY)),
                Float64(Some(f64::NEG_INFINITY)),
                nan(0x7ff8_0000_0000_0000),
                nan(0x7ff8_0000_0000_0001),
                nan(0xfff8_0000_0000_0000),
            ],
        ),
        ("money", [-100, 0, 1, 999_999_999_999_999].map(|v| Decimal128(Some(v), 15, 2)).to_vec()),
        ("large", [i128::MIN / 10, -1, 10_i128.pow(37)].map(|v| Decimal128(Some(v), 38, 0)).to_vec()),
        (
            "text",
            ["", "a", "A", "a%b", "a_b", "a\\b", "ab", "ä", "a\nb", "a  ", "it's"].map(|v| Utf8(text(v))).to_vec(),
        ),
        ("view", ["", "a", "a rather long text that is not inlined"].map(|v| Utf8View(text(v))).to_vec()),
        ("long", ["", "b", "B"].map(|v| LargeUtf8(text(v))).to_vec()),
        ("bytes", vec![Binary(Some(vec![])), Binary(Some(vec![0, 255])), Binary(Some(vec![1]))]),
        ("day", [-800_000, -1, 0, 20_000].map(|v| Date32(Some(v))).to_vec()),
        ("clock", [0, 86_399_999].map(|v| Time32Millisecond(Some(v))).to_vec()),
        ("fine_clock", [0, 1, 86_399_999_999].map(|v| Time64Microsecond(Some(v))).to_vec()),
        ("wall", [i64::MIN, -1, 0, 1_700_000_000_000_000].map(|v| TimestampMicrosecond(Some(v), None)).to_vec()),
        ("instant", [-1, 0, 1].map(|v| TimestampNanosecond(Some(v), utc())).to_vec()),
        ("seconds", [-1, 0, 1].map(|v| TimestampSecond(Some(v), None)).to_vec()),
    ]
}

/// One row a value, with the row's number first; every column has NULLs.
fn batch() -> RecordBatch {
    let columns = columns();
    let rows = 2 + columns.iter().map(|(_, values)| values.len()).max().expect("columns");
    let ids: ArrayRef = Arc::new(arrow::array::Int64Array::from_iter_values(0..rows as i64));
    let mut fields = vec![Field::new("id", DataType::Int64, false)];
    let mut arrays = vec![ids];
    for (name, values) in columns {
        let null = ScalarValue::try_from(values[0].data_type()).expect("null");
        let row = |at: usize| if at % 5 == 3 { null.clone() } else { values[(at - at / 5) % values.len()].clone() };
        let array = ScalarValue::iter_to_array((0..rows).map(row)).expect("array");
        fields.push(Field::new(name, array.data_type().clone(), true));
        arrays.push(array);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("batch")
}

fn literal(value: &ScalarValue) -> Literal {
    known(value).expect("a literal of the contract")
}

fn known(value: &ScalarValue) -> Option<Literal> {
    use ScalarValue::*;
    let stamp = |value: &i64, unit, zone: &Option<Arc<str>>| Literal::Timestamp {
        value: *value,
        unit,
        zone: zone.as_deref().map(str::to_owned),
    };
    Some(match value {
        Boolean(Some(v)) => Literal::Boolean(*v),
        Int8(Some(v)) => Literal::Integer(i64::from(*v)),
        Int64(Some(v)) => Literal::Integer(*v),
        UInt16(Some(v)) => Literal::Unsigned(u64::from(*v)),
        UInt64(Some(v)) => Literal::Unsigned(*v),
        Float32(Some(v)) => Literal::Float(f64::from(*v)),
        Float64(Some(v)) => Literal::Float(*v),
        Decimal128(Some(v), _, scale) => Literal::Decimal { value: *v, scale: *scale },
        Utf8(Some(v)) | Utf8View(Some(v)) | LargeUtf8(Some(v)) => Literal::Text(v.clone()),
        Binary(Some(v)) => Literal::Binary(v.clone()),
        Date32(Some(v)) => Literal::Date(*v),
        Time32Millisecond(Some(v)) => Literal::Time { value: i64::from(*v), unit: TimeUnit::Millisecond },
        Time64Microsecond(Some(v)) => Literal::Time { value: *v, unit: TimeUnit::Microsecond },
        TimestampSecond(Some(v), zone) => stamp(v, TimeUnit::Second, zone),
        TimestampMicrosecond(Some(v), zone) => stamp(v, TimeUnit::Microsecond, zone),
        TimestampNanosecond(Some(v), zone) => stamp(v, TimeUnit::Nanosecond, zone),
        _ => return None,
    })
}

/// The same condition for the connector and for the oracle.
type Pair = (Predicate, Expr);

const COMPARISONS: [(Comparison, Operator); 6] = [
    (Comparison::Eq, Operator::Eq),
    (Comparison::NotEq, Operator::NotEq),
    (Comparison::Lt, Operator::Lt),
    (Comparison::LtEq, Operator::LtEq),
    (Comparison::Gt, Operator::Gt),
    (Comparison::GtEq, Operator::GtEq),
];

fn compare(schema: &Schema, name: &str, which: usize, value: &ScalarValue) -> Pair {
    let (op, operator) = COMPARISONS[which % 6];
    let column = schema.index_of(name).expect("column");
    let expr = Expr::BinaryExpr(BinaryExpr::new(Box::new(col(name)), operator, Box::new(lit(value.clone()))));
    (Predicate::Compare { column, op, value: literal(value) }, expr)
}

fn null(schema: &Schema, name: &str, negated: bool) -> Pair {
    let expr = if negated { col(name).is_not_null() } else { col(name).is_null() };
    (Predicate::Null { column: schema.index_of(name).expect("column"), negated }, expr)
}

fn is_in(schema: &Schema, name: &str, values: &[ScalarValue], negated: bool) -> Pair {
    let column = schema.index_of(name).expect("column");
    let list = values.iter().map(|value| lit(value.clone())).collect();
    (Predicate::In { column, values: values.iter().map(literal).collect(), negated }, col(name).in_list(list, negated))
}

fn like(schema: &Schema, name: &str, pattern: &str, negated: bool, case_insensitive: bool) -> Pair {
    let column = schema.index_of(name).expect("column");
    let text = match schema.field(column).data_type() {
        DataType::Utf8View => ScalarValue::Utf8View(Some(pattern.to_owned())),
        DataType::LargeUtf8 => ScalarValue::LargeUtf8(Some(pattern.to_owned())),
        _ => ScalarValue::Utf8(Some(pattern.to_owned())),
    };
    let expr = Like::new(negated, Box::new(col(name)), Box::new(lit(text)), None, case_insensitive);
    let predicate = Predicate::Like { column, pattern: pattern.to_owned(), escape: '\\', negated, case_insensitive };
    (predicate, Expr::Like(expr))
}

fn not((predicate, expr): Pair) -> Pair {
    (Predicate::Not(Box::new(predicate)), Expr::Not(Box::new(expr)))
}

fn and(a: Pair, b: Pair) -> Pair {
    (Predicate::And(vec![a.0, b.0]), a.1.and(b.1))
}

fn or(a: Pair, b: Pair) -> Pair {
    (Predicate::Or(vec![a.0, b.0]), a.1.or(b.1))
}

/// A catalog whose one table has these rows, in several batches.
async fn filled(batch: &RecordBatch) -> (Arc<dyn Source>, Scan) {
    let source = Memory.open("memory", &Options::check(&[], BTreeMap::new()).expect("options")).expect("opens");
    let name = TableName::new("main", "t");
    let writer = source.writer().expect("writer");
    writer.create_table(&name, batch.schema()).await.expect("created");
    let pieces: Vec<_> = (0..batch.num_rows()).step_by(4).map(|at| (at, 4.min(batch.num_rows() - at))).collect();
    let pieces: Vec<_> = pieces.into_iter().map(|(at, rows)| Ok(batch.slice(at, rows))).collect();
    writer.insert(&name, futures::stream::iter(pieces).boxed()).await.expect("inserted");
    let scan = Scan::new("memory", name.clone(), &source.table(&name).await.expect("asked").expect("there"));
    (source, scan)
}

async fn connector_ids(source: &dyn Source, scan: &Scan) -> Vec<i64> {
    let scan = scan.with_projection(vec![0]);
    let mut found = Vec::new();
    let splits = source.splits(&scan, 3).await.expect("splits");
    for split in &splits.splits {
        let context = ReadContext { batch_rows: 100, counters: Arc::default() };
        let rows: Vec<RecordBatch> =
            source.read(&scan, split, context).await.expect("opens").try_collect().await.expect("reads");
        found.extend(ids(&rows));
    }
    found.sort_unstable();
    found
}

async fn oracle_ids(engine: &SessionContext, batch: &RecordBatch, expr: &Expr) -> Vec<i64> {
    let frame = engine.read_batch(batch.clone()).expect("frame").filter(expr.clone()).expect("filter");
    let frame = frame.select_columns(&["id"]).expect("columns");
    let mut found = ids(&frame.collect().await.expect("runs"));
    found.sort_unstable();
    found
}

fn ids(batches: &[RecordBatch]) -> Vec<i64> {
    batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

/// What was answered to the pairs, after each answer was compared with the oracle's.
#[derive(Debug, Default, PartialEq)]
struct Answers {
    exact: usize,
    inexact: usize,
    refused: Vec<String>,
}

async fn judge(pairs: Vec<Pair>) -> Answers {
    let batch = batch();
    let (source, scan) = filled(&batch).await;
    let engine = SessionContext::new();
    let mut answers = Answers::default();
    for (predicate, expr) in pairs {
        let expected = oracle_ids(&engine, &batch, &expr).await;
        match source.absorb(&scan, &Op::Filter(predicate.clone())) {
            Absorbed::Exact(with) => {
                answers.exact += 1;
                assert_eq!(connector_ids(source.as_ref(), &with).await, expected, "{expr}");
            }
            Absorbed::Inexact(with) => {
                answers.inexact += 1;
                let found = connector_ids(source.as_ref(), &with).await;
                assert!(expected.iter().all(|id| found.contains(id)), "{expr}: {found:?} lacks some of {expected:?}");
            }
            Absorbed::No(reason) => {
                assert!(!reason.text.is_empty());
                answers.refused.push(expr.to_string());
            }
        }
    }
    answers
}

fn schema() -> SchemaRef {
    batch().schema()
}

fn is_nan(value: &ScalarValue) -> bool {
    match value {
        ScalarValue::Float32(Some(v)) => v.is_nan(),
        ScalarValue::Float64(Some(v)) => v.is_nan(),
        _ => false,
    }
}

fn is_zero(value: &ScalarValue) -> bool {
    matches!(value, ScalarValue::Float32(Some(v)) if *v == 0.0)
        || matches!(value, ScalarValue::Float64(Some(v)) if *v == 0.0)
}

#[tokio::test]
async fn every_comparison_of_every_type_is_exact_but_with_nan() {
    let schema = schema();
    let (mut pairs, mut nans) = (Vec::new(), 0);
    for (name, values) in columns() {
        for value in &values {
            pairs.extend((0..6).flat_map(|op| {
                let pair = compare(&schema, name, op, value);
                [pair.clone(), not(pair)]
            }));
            nans += if is_nan(value) { 12 } else { 0 };
        }
    }
    let all = pairs.len();
    let answers = judge(pairs).await;
    assert_eq!((answers.exact, answers.inexact), (all - nans, 0));
    assert!(answers.refused.iter().all(|expr| expr.contains("NaN")), "{:?}", answers.refused);
}

#[tokio::test]
async fn lists_are_exact_but_with_nan_or_a_zero_of_floats() {
    let schema = schema();
    let (mut pairs, mut doubtful) = (Vec::new(), 0);
    for (name, values) in columns() {
        // DataFusion takes short lists apart and looks the values of long ones up.
        for length in [1, 2, 4, values.len()] {
            let list: Vec<_> = values.iter().cycle().take(length).cloned().collect();
            pairs.extend([false, true].map(|negated| is_in(&schema, name, &list, negated)));
            doubtful += if list.iter().any(|value| is_nan(value) || is_zero(value)) { 2 } else { 0 };
        }
    }
    let all = pairs.len();
    let answers = judge(pairs).await;
    assert!(doubtful > 0);
    assert_eq!((answers.exact, answers.inexact, answers.refused.len()), (all - doubtful, 0, doubtful));
}

#[tokio::test]
async fn a_list_too_long_for_one_pass_a_value_is_refused() {
    let schema = schema();
    let list = |length: i64| (0..length).map(|value| ScalarValue::Int64(Some(value))).collect::<Vec<_>>();
    let answers = judge(vec![is_in(&schema, "i64", &list(10), false), is_in(&schema, "i64", &list(1000), false)]).await;
    assert_eq!((answers.exact, answers.refused.len()), (1, 1));
}

#[tokio::test]
async fn patterns_match_as_in_the_engine() {
    let schema = schema();
    let patterns =
        ["", "%", "_", "a", "a%", "%b", "a_b", "a\\_b", "a\\%b", "%\\%%", "a\\\\b", "Ä", "A%", "%s", "__", "a %"];
    let mut pairs = Vec::new();
    for name in ["text", "view", "long"] {
        for pattern in patterns {
            for (negated, folded) in [(false, false), (true, false), (false, true), (true, true)] {
                let pair = like(&schema, name, pattern, negated, folded);
                pairs.extend([pair.clone(), not(pair)]);
            }
        }
    }
    let all = pairs.len();
    assert_eq!(judge(pairs).await, Answers { exact: all, inexact: 0, refused: Vec::new() });
}

#[tokio::test]
async fn and_or_and_not_keep_the_rules_of_null() {
    let schema = schema();
    let zero = ScalarValue::Float64(Some(0.0));
    let parts = || {
        vec![
            compare(&schema, "i64", 2, &ScalarValue::Int64(Some(7))),
            compare(&schema, "f64", 0, &zero),
            compare(&schema, "text", 1, &ScalarValue::Utf8(Some("a".to_owned()))),
            null(&schema, "money", false),
            null(&schema, "flag", true),
            is_in(&schema, "i8", &[ScalarValue::Int8(Some(0)), ScalarValue::Int8(Some(1))], true),
            like(&schema, "text", "%b", false, false),
        ]
    };
    let mut pairs: Vec<Pair> = parts().into_iter().flat_map(|pair| [pair.clone(), not(pair)]).collect();
    for a in parts() {
        for b in parts() {
            pairs.push(and(a.clone(), not(b.clone())));
            pairs.push(or(a.clone(), b.clone()));
            pairs.push(not(or(not(a.clone()), b.clone())));
            pairs.push(not(and(a.clone(), or(b, null(&schema, "i64", false)))));
        }
    }
    let all = pairs.len();
    assert_eq!(judge(pairs).await, Answers { exact: all, inexact: 0, refused: Vec::new() });
}

#[tokio::test]
async fn of_a_conjunction_the_known_part_is_a_superset_and_of_others_nothing() {
    let schema = schema();
    let known = || compare(&schema, "i64", 4, &ScalarValue::Int64(Some(0)));
    let unknown = || compare(&schema, "f64", 0, &ScalarValue::Float64(Some(f64::NAN)));
    let answers = judge(vec![
        and(known(), unknown()),
        or(and(known(), unknown()), null(&schema, "i64", false)),
        unknown(),
        or(known(), unknown()),
        not(and(known(), unknown())),
        and(unknown(), unknown()),
    ])
    .await;
    assert_eq!((answers.exact, answers.inexact, answers.refused.len()), (0, 2, 4));
}

#[tokio::test]
async fn what_has_no_proof_is_refused() {
    let (source, scan) = filled(&batch()).await;
    let schema = schema();
    let at = |name: &str| schema.index_of(name).expect("column");
    let compare = |name: &str, value: Literal| Predicate::Compare { column: at(name), op: Comparison::Eq, value };
    let micro = |zone: Option<&str>| Literal::Timestamp {
        value: 1,
        unit: TimeUnit::Microsecond,
        zone: zone.map(str::to_owned),
    };
    let refused = [
        compare("i64", Literal::Text("1".to_owned())),
        compare("i8", Literal::Integer(1000)),
        compare("u16", Literal::Integer(1)),
        compare("f32", Literal::Float(0.1)),
        compare("money", Literal::Decimal { value: 1, scale: 3 }),
        compare("wall", micro(Some("UTC"))),
        compare("seconds", micro(None)),
        compare("clock", Literal::Time { value: 1, unit: TimeUnit::Microsecond }),
        Predicate::Compare { column: 99, op: Comparison::Eq, value: Literal::Integer(1) },
        Predicate::Null { column: 99, negated: false },
        Predicate::Like {
            column: at("text"),
            pattern: "a$%".to_owned(),
            escape: '$',
            negated: false,
            case_insensitive: false,
        },
        Predicate::Like {
            column: at("bytes"),
            pattern: "a%".to_owned(),
            escape: '\\',
            negated: false,
            case_insensitive: false,
        },
    ];
    for predicate in refused {
        let answer = source.absorb(&scan, &Op::Filter(predicate.clone()));
        assert!(matches!(answer, Absorbed::No(_)), "{predicate:?}");
    }
}
