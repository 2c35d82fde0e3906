//! Documents as they are found in the wild.

use bson::oid::ObjectId;
use bson::spec::BinarySubtype;
use bson::{Binary, Bson, DateTime, Document, RawDocumentBuf, Timestamp, doc};
use connector_spi::conformance::{self, Subject};
use connector_spi::{Absorbed, Comparison, ErrorKind, Literal, Op, Predicate, Scan, SortKey};

use crate::fixture::{Fixture, all, fixture, open, read, scan, shown};

fn at(scan: &Scan, name: &str) -> usize {
    scan.columns.iter().position(|column| column.name == name).unwrap_or_else(|| panic!("no column {name}"))
}

fn filtered(fixture: &Fixture, scan: &Scan, filter: Predicate) -> Scan {
    match fixture.source.absorb(scan, &Op::Filter(filter)) {
        Absorbed::Exact(scan) | Absorbed::Inexact(scan) => scan,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_id_of_any_type_is_in_exactly_one_split() {
    let Some(fixture) = fixture("ids").await else { return };
    let mut ids: Vec<Bson> = vec![Bson::Null, Bson::MinKey, Bson::MaxKey, Bson::Boolean(true), Bson::Boolean(false)];
    for at in 0..600_i32 {
        ids.push(match at % 8 {
            0 => Bson::Int32(at),
            1 => Bson::Int64(i64::from(at) << 33),
            2 => Bson::Double(f64::from(at) + 0.5),
            3 => Bson::String(format!("{at} {}", "ä".repeat(at as usize % 5))),
            4 => Bson::ObjectId(ObjectId::from_bytes([at as u8, (at >> 8) as u8, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])),
            5 => Bson::DateTime(DateTime::from_millis(i64::from(at) * 86_400_000)),
            6 => Bson::Document(doc! { "a": at, "b": { "c": format!("{at}") } }),
            _ => Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: vec![at as u8; at as usize % 9 + 1] }),
        });
    }
    let mut known = std::collections::HashSet::new();
    ids.retain(|id| known.insert(format!("{id:?}")));
    let documents: Vec<Document> = ids
        .iter()
        .enumerate()
        .map(|(at, id)| doc! { "_id": id.clone(), "n": at as i64, "pad": "x".repeat(100) })
        .collect();
    let count = documents.len();
    fixture.fill("t", documents).await;
    let scan = fixture.scan("t").await;
    let n = at(&scan, "n");
    for wanted in [1, 2, 3, 8] {
        let cut = fixture.source.splits(&scan, wanted).await.expect("splits");
        assert!(cut.splits.len() == wanted || wanted > 5 && cut.splits.len() > 3, "{wanted}: {}", cut.splits.len());
        let mut found = Vec::new();
        for split in &cut.splits {
            let context = crate::fixture::context(64);
            let stream = fixture.source.read(&scan.with_projection(vec![n]), split, context).await.expect("read");
            let batches: Vec<arrow::array::RecordBatch> =
                futures::TryStreamExt::try_collect(stream).await.expect("read");
            found.extend(batches.iter().flat_map(|batch| all(batch, "n")));
        }
        found.sort_unstable_by_key(|n| n.parse::<i64>().expect("a number"));
        let every: Vec<String> = (0..count).map(|n| n.to_string()).collect();
        assert_eq!(found, every, "{wanted} splits");
    }
    // The same with a filter, an order and groups, which ask for ranges in another way.
    let subject_scan = scan.with_projection(vec![n]);
    let order = vec![SortKey { column: n, descending: true, nulls_first: false }];
    let Absorbed::Exact(top) = fixture.source.absorb(&subject_scan, &Op::Top { order, limit: 3 }) else {
        panic!("refused")
    };
    let cut = fixture.source.splits(&subject_scan, 4).await.expect("splits").splits;
    assert_eq!(cut.len(), 4);
    let mut tops = Vec::new();
    for split in &cut {
        let stream = fixture.source.read(&top, split, crate::fixture::context(64)).await.expect("read");
        let batches: Vec<arrow::array::RecordBatch> = futures::TryStreamExt::try_collect(stream).await.expect("read");
        tops.extend(batches.iter().flat_map(|batch| all(batch, "n")).map(|n| n.parse::<usize>().expect("a number")));
    }
    // Values that an index finds, where the splits were cut before they were known, as join keys are.
    fixture
        .database
        .collection::<Document>("t")
        .create_index(mongodb::IndexModel::builder().keys(doc! { "n": 1 }).build())
        .await
        .expect("an index");
    let indexed = fixture.scan("t").await.with_projection(vec![n]);
    let values: Vec<Literal> = (0..count as i64).step_by(40).map(Literal::Integer).collect();
    let wanted: Vec<String> = (0..count).step_by(40).map(|n| n.to_string()).collect();
    let few = filtered(&fixture, &indexed, Predicate::In { column: n, values, negated: false });
    let mut found = Vec::new();
    for split in &cut {
        let stream = fixture.source.read(&few, split, crate::fixture::context(64)).await.expect("read");
        let batches: Vec<arrow::array::RecordBatch> = futures::TryStreamExt::try_collect(stream).await.expect("read");
        found.extend(batches.iter().flat_map(|batch| all(batch, "n")));
    }
    found.sort_unstable_by_key(|n| n.parse::<i64>().expect("a number"));
    assert_eq!(found, wanted);
    tops.sort_unstable();
    assert!(tops.len() == 12 && tops.ends_with(&[count - 3, count - 2, count - 1]), "{tops:?}");
}

#[tokio::test]
async fn one_odd_document_in_a_hundred_loses_no_field_and_fails_no_query() {
    let Some(fixture) = fixture("odd").await else { return };
    let documents = (0..2000_i32).map(|n| {
        let mut document = doc! { "_id": n, "price": f64::from(n) / 4.0, "name": format!("n{n}"), "at": DateTime::from_millis(i64::from(n)) };
        if n % 100 == 37 {
            match n / 100 % 5 {
                0 => document.insert("price", "free"),
                1 => document.insert("name", Bson::Null),
                2 => document.insert("only_here", doc! { "deep": [n] }),
                3 => document.insert("at", "yesterday"),
                _ => document.insert("name", vec!["a", "b"]),
            };
        }
        document
    });
    fixture.fill("t", documents.collect()).await;
    let source = open(&fixture.url, &[("schema_sample", 2000.into())]);
    let table = source.table(&fixture.name("t")).await.expect("described").expect("a table");
    let comment = |name: &str| {
        let column = table.columns.iter().find(|column| column.name == name);
        column.unwrap_or_else(|| panic!("no column {name}")).comment.clone()
    };
    assert_eq!(comment("price"), "100.0 % of 2000 documents: double 1996, string 4");
    assert_eq!(comment("name"), "100.0 % of 2000 documents: array 4, null 4, string 1992");
    assert_eq!(comment("only_here"), "0.2 % of 2000 documents: object 4");
    let rows = read(&*source, &scan(&*source, fixture.name("t")).await).await.expect("no error");
    assert_eq!(rows.num_rows(), 2000);
    let prices = all(&rows, "price");
    assert!(prices.contains(&"\"free\"".to_owned()) && prices.contains(&"0.25".to_owned()), "{prices:?}");
    assert!(all(&rows, "name").contains(&"[\"a\",\"b\"]".to_owned()));
    assert!(all(&rows, "at").contains(&"{\"$date\":\"1970-01-01T00:00:00.001Z\"}".to_owned()));
    assert_eq!(all(&rows, "only_here").iter().filter(|text| *text != "NULL").count(), 4);
}

#[tokio::test]
async fn a_value_that_the_sample_did_not_show_is_an_error_or_a_counted_null() {
    let Some(fixture) = fixture("misfit").await else { return };
    let mut documents: Vec<Document> = (0..30).map(|n| doc! { "_id": n, "a": n, "s": { "x": n } }).collect();
    documents.push(doc! { "_id": 30, "a": "thirty", "s": { "x": 1.5 } });
    fixture.fill("t", documents).await;
    let declared = serde_json::json!([{"collection": "t", "columns": [{"name": "a", "type": "bigint"}]}]);
    let strict = open(&fixture.url, &[("tables", declared.clone())]);
    let everything = scan(&*strict, fixture.name("t")).await;
    let error = read(&*strict, &everything).await.expect_err("a misfit");
    assert_eq!(error.kind(), ErrorKind::BadData);
    assert_eq!(error.message(), "field \"a\" of table \"conformance_misfit.t\" holds string");
    // Groups do not read the values; they say it all the same.
    let a = at(&everything, "a");
    let call = connector_spi::Call {
        function: connector_spi::Function::Sum,
        column: Some(a),
        data_type: arrow::datatypes::DataType::Int64,
    };
    let sum = Op::Aggregate(connector_spi::Aggregation { group: Vec::new(), calls: vec![call] });
    let Absorbed::Exact(sums) = strict.absorb(&everything, &sum) else { panic!("refused") };
    assert_eq!(read(&*strict, &sums).await.expect_err("a misfit").kind(), ErrorKind::BadData);

    let lenient = open(&fixture.url, &[("tables", declared), ("on_misfit", "null".into())]);
    let everything = scan(&*lenient, fixture.name("t")).await;
    assert!(matches!(lenient.absorb(&everything, &sum), Absorbed::No(_)));
    let context = crate::fixture::context(64);
    let split = lenient.splits(&everything, 1).await.expect("a split").splits.remove(0);
    let stream = lenient.read(&everything, &split, context.clone()).await.expect("read");
    let batches: Vec<arrow::array::RecordBatch> = futures::TryStreamExt::try_collect(stream).await.expect("read");
    assert_eq!(all(&batches[0], "a").last().map(String::as_str), Some("NULL"));
    assert_eq!(context.counters.misfits(), 1);
    // What is NULL here is not NULL there: nothing may rest on it.
    let null = Predicate::Null { column: a, negated: false };
    let none = Predicate::Null { column: a, negated: true };
    assert!(matches!(lenient.absorb(&everything, &Op::Filter(null.clone())), Absorbed::No(_)));
    let either = Predicate::Or(vec![Predicate::Not(Box::new(none)), null]);
    assert!(matches!(lenient.absorb(&everything, &Op::Filter(either)), Absorbed::No(_)));
    let over = Predicate::Compare { column: a, op: Comparison::Gt, value: Literal::Integer(28) };
    let Absorbed::Inexact(_) = lenient.absorb(&everything, &Op::Filter(over)) else { panic!("not inexact") };
    let subject = Subject::of(&*lenient, "m", &fixture.name("t")).await;
    assert!(subject.is_err(), "the first column is declared, and does not number the rows");
}

#[tokio::test]
async fn names_that_would_be_paths_or_operators_are_names() {
    let Some(fixture) = fixture("names").await else { return };
    let names = ["a.b", "$a", "a$b", ".", "a.", "ä", "with space", "\"", "_", "__proto__", "$ne", "0"];
    let mut document = doc! { "id": 1_i64 };
    for (at, name) in names.iter().enumerate() {
        document.insert(*name, at as i64);
    }
    let written = RawDocumentBuf::try_from(&document).expect("bson");
    fixture.database.collection::<RawDocumentBuf>("t").insert_one(written).await.expect("inserted");
    fixture.fill("t", vec![doc! { "id": 2_i64 }]).await;
    let whole = fixture.scan("t").await;
    for (place, name) in names.iter().enumerate() {
        let column = at(&whole, name);
        let one = whole.with_projection(vec![at(&whole, "id"), column]);
        let rows = fixture.read(&one).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(all(&rows, name), [place.to_string(), "NULL".to_owned()], "{name}");
        let equal = Predicate::Compare { column, op: Comparison::Eq, value: Literal::Integer(place as i64) };
        match fixture.source.absorb(&one, &Op::Filter(equal)) {
            Absorbed::No(_) => assert!(name.contains('.') || name.starts_with('$'), "{name}"),
            Absorbed::Exact(one) => assert_eq!(all(&fixture.read(&one).await.expect("read"), "id"), ["1"], "{name}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn nested_documents_are_structs_and_deep_ones_json() {
    let Some(fixture) = fixture("nested").await else { return };
    let deep = (0..90).fold(Bson::Int32(1), |inner, _| Bson::Document(doc! { "d": inner }));
    let documents = vec![
        doc! { "_id": 1, "s": { "x": 1, "l": [{ "y": "a" }, Bson::Null] }, "deep": deep },
        doc! { "_id": 2, "s": Bson::Null },
        doc! { "_id": 3, "s": { "l": [] } },
    ];
    fixture.fill("t", documents).await;
    let rows = fixture.read(&fixture.scan("t").await).await.expect("read");
    assert_eq!(all(&rows, "s"), ["{x: 1, l: [{y: a}, ]}", "NULL", "{x: , l: []}"]);
    let text = all(&rows, "deep");
    assert!(text[0].matches("{\"d\":").count() == 82 && text[1] == "NULL", "{text:?}");
}

#[tokio::test]
async fn a_field_of_a_nested_document_is_read_and_filtered_by_itself() {
    let Some(fixture) = fixture("field").await else { return };
    let mut documents: Vec<Document> =
        (0..40_i64).map(|n| doc! { "_id": n, "a": { "b": { "c": n % 5, "d": "x".repeat(200) }, "e": n } }).collect();
    documents.extend([
        doc! { "_id": 40_i64, "a": Bson::Null },
        doc! { "_id": 41_i64 },
        doc! { "_id": 42_i64, "a": { "b": Bson::Null, "e": Bson::Null } },
        doc! { "_id": 43_i64, "a": { "b": { "d": "y" } } },
    ]);
    let collection = fixture.fill("t", documents).await;
    let mut whole = fixture.scan("t").await;
    let outer = whole.columns[at(&whole, "a")].clone();
    assert_eq!(fixture.source.field(&outer, &["b", "x"]), None);
    for path in [&["b", "c"][..], &["b"], &["e"]] {
        whole.columns.push(fixture.source.field(&outer, path).expect("a field"));
    }
    let (id, c, b, e) = (at(&whole, "_id"), at(&whole, "a.b.c"), at(&whole, "a.b"), at(&whole, "a.e"));
    let one = whole.with_projection(vec![c, id]);
    let text = fixture.source.remote_text(&one).expect("a command");
    assert!(text.contains(r#""c":"$a.b.c""#) && !text.contains("$a.e") && !text.contains("a.b.d"), "{text}");
    let rows = fixture.read(&one).await.expect("read");
    assert_eq!(all(&rows, "a.b.c").iter().filter(|c| *c == "3").count(), 8);
    assert_eq!(all(&rows, "a.b.c").iter().filter(|c| *c == "NULL").count(), 4);
    // A field and what is around it, in any order.
    let rows = fixture.read(&whole.with_projection(vec![e, c, b, c])).await.expect("read");
    assert_eq!(all(&rows, "a.b").iter().filter(|b| *b == "NULL").count(), 3);
    assert_eq!(rows.column(1), rows.column(3));

    let compare = |op| Predicate::Compare { column: c, op, value: Literal::Integer(3) };
    let null = Predicate::Null { column: c, negated: false };
    for (filter, wanted) in [
        (compare(Comparison::Eq), 8),
        (compare(Comparison::NotEq), 32),
        (compare(Comparison::Lt), 24),
        (Predicate::Not(Box::new(compare(Comparison::Lt))), 16),
        (null, 4),
        (Predicate::Null { column: b, negated: true }, 41),
    ] {
        let Absorbed::Exact(few) = fixture.source.absorb(&whole, &Op::Filter(filter.clone())) else {
            panic!("refused")
        };
        assert_eq!(fixture.read(&few).await.expect("read").num_rows(), wanted, "{filter:?}");
    }

    // What is no document where one should be is an error, whether it is read or only counted.
    for odd in [Bson::from(5), Bson::from(vec![doc! { "b": { "c": 3_i64 } }])] {
        collection.insert_one(doc! { "_id": 50_i64, "a": odd }).await.expect("inserted");
        let error = fixture.read(&one).await.expect_err("a misfit");
        assert_eq!(error.kind(), ErrorKind::BadData);
        assert!(error.message().starts_with("field \"a\" of table \"conformance_field.t\" holds"), "{error:?}");
        let call = connector_spi::Call {
            function: connector_spi::Function::Max,
            column: Some(c),
            data_type: arrow::datatypes::DataType::Int64,
        };
        let most = Op::Aggregate(connector_spi::Aggregation { group: vec![e], calls: vec![call] });
        let Absorbed::Exact(most) = fixture.source.absorb(&whole, &most) else { panic!("refused") };
        assert_eq!(fixture.read(&most).await.expect_err("a misfit").kind(), ErrorKind::BadData);
        collection.delete_one(doc! { "_id": 50_i64 }).await.expect("deleted");
    }
}

#[tokio::test]
async fn an_array_where_the_column_has_none_passes_no_condition_that_is_not_looked_at_again() {
    let Some(fixture) = fixture("late").await else { return };
    let mut documents: Vec<Document> = (1..8_i64).map(|n| doc! { "_id": n, "a": n, "in": { "b": n } }).collect();
    let odd = |id: i64, a: Bson, inside: Bson| doc! { "_id": id, "a": a, "in": inside };
    documents.push(odd(8, vec![5_i64].into(), doc! { "b": [5_i64] }.into()));
    documents.push(odd(
        9,
        Bson::from(vec![Bson::from(5_i64), "x".into(), Bson::Null]),
        vec![doc! { "b": 5_i64 }].into(),
    ));
    let collection = fixture.fill("t", documents).await;
    let columns = serde_json::json!([{"name": "_id", "type": "bigint"}, {"name": "a", "type": "bigint"}]);
    let source = open(&fixture.url, &[("tables", serde_json::json!([{"collection": "t", "columns": columns}]))]);
    for index in [false, true] {
        if index {
            let keys = mongodb::IndexModel::builder().keys(doc! { "a": 1 }).build();
            collection.create_index(keys).await.expect("an index");
        }
        let whole = scan(&*source, fixture.name("t")).await;
        let (id, a) = (at(&whole, "_id"), at(&whole, "a"));
        let compare = |op, value| Predicate::Compare { column: a, op, value: Literal::Integer(value) };
        let values = |negated| Predicate::In { column: a, values: [5, 7].map(Literal::Integer).into(), negated };
        for (filter, wanted) in [
            (compare(Comparison::Eq, 5), vec!["5"]),
            (compare(Comparison::Gt, 4), vec!["5", "6", "7"]),
            (compare(Comparison::NotEq, 3), vec!["1", "2", "4", "5", "6", "7"]),
            (values(false), vec!["5", "7"]),
            (values(true), vec!["1", "2", "3", "4", "6"]),
            (Predicate::Null { column: a, negated: false }, vec![]),
            (Predicate::Null { column: a, negated: true }, vec!["1", "2", "3", "4", "5", "6", "7"]),
        ] {
            let Absorbed::Exact(few) = source.absorb(&whole, &Op::Filter(filter.clone())) else { panic!("refused") };
            let rows = read(&*source, &few.with_projection(vec![id])).await.expect("read");
            assert_eq!(all(&rows, "_id"), wanted, "{filter:?}, an index: {index}");
        }
    }
    // An index without arrays serves as it is.
    collection.delete_many(doc! { "_id": { "$gte": 8_i64 } }).await.expect("deleted");
    collection.drop_index("a_1").await.expect("dropped");
    let keys = mongodb::IndexModel::builder().keys(doc! { "a": 1 }).build();
    collection.create_index(keys).await.expect("an index");
    let whole = scan(&*source, fixture.name("t")).await;
    let equal = Predicate::Compare { column: at(&whole, "a"), op: Comparison::Eq, value: Literal::Integer(5) };
    let text = fixture.source.remote_text(&filtered(&fixture, &whole, equal)).expect("a command");
    assert!(text.contains(r#""filter":{"a":{"$eq":5}}"#), "{text}");
}

#[tokio::test]
async fn every_other_type_is_shown_as_extended_json() {
    let Some(fixture) = fixture("types").await else { return };
    let regex = bson::Regex { pattern: "a.b".try_into().expect("text"), options: "i".try_into().expect("text") };
    let document = doc! {
        "_id": 1, "regex": regex, "stamp": Timestamp { time: 5, increment: 6 }, "min": Bson::MinKey, "max": Bson::MaxKey,
        "code": Bson::JavaScriptCode("f()".into()), "other": Binary { subtype: BinarySubtype::Md5, bytes: vec![1; 16] },
        "uuid": bson::Uuid::from_bytes([0xab; 16]), "id": ObjectId::from_bytes([0xcd; 12]),
        "decimal": "1.50".parse::<bson::Decimal128>().expect("decimal"), "bytes": Binary { subtype: BinarySubtype::Generic, bytes: vec![1, 2] },
        "nan": "NaN".parse::<bson::Decimal128>().expect("decimal"),
    };
    fixture.fill("t", vec![document]).await;
    let scan = fixture.scan("t").await;
    let rows = fixture.read(&scan).await.expect("read");
    let one = |name: &str| all(&rows, name).remove(0);
    assert_eq!(one("regex"), "{\"$regularExpression\":{\"pattern\":\"a.b\",\"options\":\"i\"}}");
    assert_eq!(one("stamp"), "{\"$timestamp\":{\"t\":5,\"i\":6}}");
    assert_eq!((one("min"), one("max")), ("{\"$minKey\":1}".into(), "{\"$maxKey\":1}".into()));
    assert_eq!(one("uuid"), "abababab-abab-abab-abab-abababababab");
    assert_eq!(one("id"), "cd".repeat(12));
    assert_eq!((one("decimal"), one("bytes")), ("1.5".into(), "0102".into()));
    assert_eq!(one("nan"), "{\"$numberDecimal\":\"NaN\"}");
    let id = Predicate::Compare { column: at(&scan, "id"), op: Comparison::Eq, value: Literal::Text("cd".repeat(12)) };
    assert_eq!(fixture.read(&filtered(&fixture, &scan, id)).await.expect("read").num_rows(), 1);
    for (column, text) in [("id", "CD".repeat(12)), ("id", "x".into()), ("uuid", "abababab".into())] {
        let none = Predicate::Compare { column: at(&scan, column), op: Comparison::Eq, value: Literal::Text(text) };
        assert_eq!(fixture.read(&filtered(&fixture, &scan, none)).await.expect("read").num_rows(), 0);
    }
}

#[tokio::test]
async fn filters_keep_the_rules_of_null_whatever_is_missing() {
    let Some(fixture) = fixture("null").await else { return };
    let mut documents = Vec::new();
    for n in 0..40_i64 {
        let mut document = doc! { "id": n, "pad": "-".repeat(200) };
        match n % 4 {
            0 => {}
            1 => drop(document.insert("a", Bson::Null)),
            _ => drop(document.insert("a", n % 7)),
        }
        if n % 3 > 0 {
            document.insert("t", ["x", "X", "xy", ""][n as usize % 4]);
        }
        if n % 5 > 0 {
            document.insert("f", [0.0, -0.0, f64::NAN, f64::INFINITY, 1.5][n as usize % 5]);
        }
        documents.push(document);
    }
    fixture.fill("t", documents).await;
    // The number of a row is the first column of the suite.
    let declared = serde_json::json!([{"collection": "t", "columns": [{"name": "id", "type": "bigint"}]}]);
    let source = open(&fixture.url, &[("tables", declared)]);
    let subject = Subject::of(&*source, "m", &fixture.name("t")).await.expect("read");
    let filters = conformance::filters(&subject).await.expect("filters");
    let trees = conformance::combinations(&subject, 11, 150).await.expect("combinations");
    let tops = conformance::tops(&subject).await.expect("tops");
    let groups = conformance::groups(&subject).await.expect("groups");
    println!("filters {filters:?}, trees {trees:?}, tops {tops:?}, groups {groups:?}");
    assert!(filters.exact > 100 && trees.exact > 20 && tops.exact > 50 && groups.exact > 10);
}

#[tokio::test]
async fn values_of_every_type_are_counted_and_only_null_is_not() {
    let Some(fixture) = fixture("counted").await else { return };
    let values = [Bson::MinKey, Bson::MaxKey, Bson::Null, 1.into(), "x".into(), Bson::Array(vec![]), doc! {}.into()];
    let mut documents: Vec<Document> = values.into_iter().map(|value| doc! { "a": value }).collect();
    documents.push(doc! {});
    fixture.fill("t", documents).await;
    let scan = fixture.scan("t").await;
    let count = connector_spi::Call {
        function: connector_spi::Function::Count,
        column: Some(at(&scan, "a")),
        data_type: arrow::datatypes::DataType::Int64,
    };
    let op = Op::Aggregate(connector_spi::Aggregation { group: Vec::new(), calls: vec![count] });
    let Absorbed::Exact(counts) = fixture.source.absorb(&scan, &op) else { panic!("refused") };
    let rows = fixture.read(&counts).await.expect("read");
    assert_eq!(shown(rows.column(0), 0), "6");
}

#[tokio::test]
async fn a_whole_document_is_there_on_request_and_large_documents_are_read() {
    let Some(fixture) = fixture("whole").await else { return };
    let large = "y".repeat(15 << 20);
    fixture.fill("t", vec![doc! { "_id": 1, "a": large }, doc! { "_id": 2, "b": [1] }]).await;
    let source = open(&fixture.url, &[("document_column", "_document".into())]);
    let everything = scan(&*source, fixture.name("t")).await;
    let rows = read(&*source, &everything).await.expect("read");
    let documents = all(&rows, "_document");
    assert!(documents[0].len() > 15 << 20 && documents[1] == "{\"_id\":2,\"b\":[1]}");
    let clash = open(&fixture.url, &[("document_column", "a".into())]);
    assert_eq!(clash.table(&fixture.name("t")).await.expect_err("refused").kind(), ErrorKind::Invalid);
}
