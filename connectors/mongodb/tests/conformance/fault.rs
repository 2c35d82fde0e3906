//! What goes wrong: logins, addresses, collections that change while they are read, readers that go away.

use std::time::{Duration, Instant};

use bson::{Bson, Document, doc};
use connector_spi::{Connector, ErrorKind, Options};
use futures::StreamExt;

use crate::fixture::{context, fixture, open};
use crate::proxy;

#[tokio::test]
async fn an_address_where_nobody_answers_is_an_error_within_seconds() {
    let source = open("mongodb://127.0.0.1:1/?directConnection=true", &[]);
    let start = Instant::now();
    let error = source.list().await.expect_err("nobody");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("127.0.0.1:1"), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(12));
}

#[tokio::test]
async fn where_random_documents_take_too_long_the_first_decide_and_one_cursor_reads() {
    let Some(fixture) = fixture("unsampled").await else { return };
    let document = |n: i32| match n < 40 {
        true => doc! { "_id": n, "pad": "x".repeat(100) },
        false => doc! { "_id": n, "pad": "x".repeat(100), "late": n },
    };
    fixture.fill("t", (0..300).map(document).collect()).await;
    // Who asks for random documents waits.
    let url = proxy::between(&fixture.url, |asked| !proxy::holds(asked, b"$sample"), |_| {}).await;
    let slow = open(&url, &[("schema_sample", 60.into())]);
    let described = async {
        let scan = crate::fixture::scan(&*slow, fixture.name("t")).await;
        let late = scan.columns.iter().position(|column| column.name == "late").expect("one of the first 60 has it");
        let table = slow.table(&fixture.name("t")).await.expect("described").expect("a table");
        let evidence = "the first by _id: random documents took too long to find; 33.3 % of 60 documents: int 20";
        assert_eq!(table.columns[late].comment, evidence);
        assert_eq!(slow.splits(&scan, 4).await.expect("splits").splits.len(), 1);
    };
    // A table that was described in time may be cut when the server is slow.
    let cut = async {
        let scan = fixture.scan("t").await;
        assert!(fixture.source.splits(&scan, 4).await.expect("splits").splits.len() > 1);
        assert_eq!(slow.splits(&scan, 4).await.expect("splits").splits.len(), 1);
        assert_eq!(crate::fixture::read(&*slow, &scan).await.expect("read").num_rows(), 300);
    };
    // Who asks for an order waits as well.
    let url = proxy::between(
        &fixture.url,
        |asked| !proxy::holds(asked, b"$sample") && !proxy::holds(asked, b"sort\0"),
        |_| {},
    );
    let slower = open(&url.await, &[("schema_sample", 60.into())]);
    let unordered = async {
        let table = slower.table(&fixture.name("t")).await.expect("described").expect("a table");
        let evidence = &table.columns.iter().find(|column| column.name == "_id").expect("an _id").comment;
        assert_eq!(
            evidence,
            "the first that came: the first by _id took too long to find; 100.0 % of 60 documents: int 60"
        );
    };
    futures::future::join3(described, cut, unordered).await;
}

#[tokio::test]
async fn names_that_do_not_exist_are_no_tables() {
    let Some(fixture) = fixture("absent").await else { return };
    for name in ["t", "", "a\0b", "$x", "system.profile"] {
        assert!(fixture.source.table(&fixture.name(name)).await.expect("asked").is_none(), "{name:?}");
    }
    for database in ["no such", "a.b", "", "x/y"] {
        let name = connector_spi::TableName::new(database, "t");
        assert!(fixture.source.table(&name).await.expect("asked").is_none(), "{database:?}");
    }
    let only = open(&fixture.url, &[("database", "elsewhere".into())]);
    fixture.fill("t", vec![doc! { "a": 1 }]).await;
    assert!(only.table(&fixture.name("t")).await.expect("asked").is_none());
    let schemas = only.list().await.expect("listed");
    assert!(schemas.iter().all(|schema| schema.name == "elsewhere"), "{schemas:?}");
    let schemas = fixture.source.list().await.expect("listed");
    let own = schemas.iter().find(|schema| schema.name == fixture.database.name()).expect("the database");
    assert_eq!(own.tables.iter().map(|table| table.name.as_str()).collect::<Vec<_>>(), ["t"]);
    assert!(!schemas.iter().any(|schema| schema.name == "admin"));
}

#[tokio::test]
async fn a_collection_that_is_dropped_is_an_error_and_never_an_empty_table() {
    let Some(fixture) = fixture("dropped").await else { return };
    let collection = fixture.fill("t", (0..3000).map(|n| doc! { "_id": n, "pad": "x".repeat(500) }).collect()).await;
    let scan = fixture.scan("t").await;
    let split = fixture.source.splits(&scan, 1).await.expect("a split").splits.remove(0);
    let mut rows = fixture.source.read(&scan, &split, context(64)).await.expect("a stream");
    assert!(rows.next().await.expect("a batch").is_ok());
    collection.drop().await.expect("dropped");
    let mut read = 64;
    let outcome = loop {
        match rows.next().await {
            Some(Ok(batch)) => read += batch.num_rows(),
            Some(Err(error)) => break Err(error),
            None => break Ok(read),
        }
    };
    // A server may keep what an open cursor reads, or end it; it may not end it without a word.
    match outcome {
        Ok(read) => assert_eq!(read, 3000),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}"),
    }
    let again = fixture.source.read(&scan, &split, context(64)).await.expect("a stream").next().await;
    assert_eq!(again.expect("an end").expect_err("dropped").kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_reader_that_goes_away_leaves_no_cursor_behind() {
    let Some(fixture) = fixture("cursor").await else { return };
    fixture.fill("t", (0..4000).map(|n| doc! { "_id": n, "pad": "x".repeat(300) }).collect()).await;
    let scan = fixture.scan("t").await;
    let split = fixture.source.splits(&scan, 1).await.expect("a split").splits.remove(0);
    let open_cursors = async || {
        let status = fixture.client.database("admin").run_command(doc! { "serverStatus": 1 }).await.expect("a status");
        let open = status
            .get_document("metrics")
            .and_then(|metrics| metrics.get_document("cursor"))
            .and_then(|cursor| cursor.get_document("open"));
        open.ok().and_then(|open| match open.get("total") {
            Some(Bson::Int32(total)) => Some(i64::from(*total)),
            Some(Bson::Int64(total)) => Some(*total),
            _ => None,
        })
    };
    let mut rows = fixture.source.read(&scan, &split, context(8)).await.expect("a stream");
    assert!(rows.next().await.expect("a batch").is_ok());
    drop(rows);
    let start = Instant::now();
    // A server that does not count its cursors is not asked; the next read must work all the same.
    while open_cursors().await.is_some_and(|open| open > 0) {
        assert!(start.elapsed() < Duration::from_secs(10), "a cursor is still open");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(fixture.read(&scan).await.expect("read").num_rows(), 4000);
}

#[tokio::test]
async fn a_name_twice_in_one_document_is_an_error() {
    let Some(fixture) = fixture("twice").await else { return };
    // No driver makes such a document; its bytes are put together by hand.
    let one = bson::RawDocumentBuf::try_from(&doc! { "a": 1_i32 }).expect("bson").into_bytes();
    let element = &one[4..one.len() - 1];
    let id = bson::RawDocumentBuf::try_from(&doc! { "_id": 1_i32 }).expect("bson").into_bytes();
    let mut bytes = vec![0; 4];
    bytes.extend_from_slice(&id[4..id.len() - 1]);
    bytes.extend_from_slice(element);
    bytes.extend_from_slice(element);
    bytes.push(0);
    let length = (bytes.len() as i32).to_le_bytes();
    bytes[..4].copy_from_slice(&length);
    let twice = bson::RawDocumentBuf::from_bytes(bytes).expect("bson");
    fixture.database.collection::<bson::RawDocumentBuf>("t").insert_one(twice).await.expect("inserted");
    match fixture.read(&fixture.scan("t").await).await {
        Err(error) => {
            assert_eq!(error.message(), "field \"a\" of table \"conformance_twice.t\" is there twice in one document")
        }
        // The server of the tests keeps one of them.
        Ok(rows) => assert_eq!(crate::fixture::all(&rows, "a"), ["1"]),
    }
}

#[tokio::test]
async fn pipelines_are_read_like_tables_where_the_catalog_allows_it() {
    let Some(fixture) = fixture("pipeline").await else { return };
    fixture.fill("t", (0..50_i64).map(|n| doc! { "_id": n, "g": n % 3 }).collect::<Vec<Document>>()).await;
    let ask = |text: &str| vec![fixture.database.name().to_owned(), "t".to_owned(), text.to_owned()];
    let groups = ask(r#"[{"$group": {"_id": "$g", "n": {"$sum": 1}}}]"#);
    assert_eq!(fixture.source.query(&groups).await.expect_err("not allowed").kind(), ErrorKind::Unsupported);
    let source = open(&fixture.url, &[("passthrough", true.into())]);
    let table = source.query(&groups).await.expect("described");
    let scan = connector_spi::Scan::new("m", connector_spi::TableName::new("system", "query"), &table);
    let rows = crate::fixture::read(&*source, &scan).await.expect("read");
    assert_eq!(rows.num_rows(), 3);
    let filter = connector_spi::Predicate::Compare {
        column: 1,
        op: connector_spi::Comparison::Gt,
        value: connector_spi::Literal::Integer(16),
    };
    let connector_spi::Absorbed::Exact(filtered) = source.absorb(&scan, &connector_spi::Op::Filter(filter)) else {
        panic!("refused")
    };
    assert_eq!(crate::fixture::read(&*source, &filtered).await.expect("read").num_rows(), 2);
    for wrong in [r#"[{"$out": "x"}]"#, r#"[{"$nothing": 1}]"#, "no json"] {
        assert_eq!(source.query(&ask(wrong)).await.expect_err("refused").kind(), ErrorKind::Invalid, "{wrong}");
    }
}

#[tokio::test]
async fn a_misspelt_option_of_the_url_is_named() {
    let values = [("url".to_owned(), serde_json::Value::from("mongodb://u:sentinel@h/?replicaSett=x"))];
    let options = Options::check(connector_mongodb::Mongodb.options(), values.into_iter().collect()).expect("options");
    let error = connector_mongodb::Mongodb.open("m", &options).expect_err("refused");
    assert_eq!(error.message(), "option \"url\" has the parameter \"replicasett\", which MongoDB does not know");
    assert_eq!(error.hint_text(), Some("Did you mean \"replicaSet\"?"));
}

#[test]
fn a_misspelt_option_of_the_catalog_is_named() {
    let open = |pairs: serde_json::Value| {
        let serde_json::Value::Object(pairs) = pairs else { panic!("no options") };
        let options = Options::check(connector_mongodb::Mongodb.options(), pairs.into_iter().collect())?;
        connector_mongodb::Mongodb.open("m", &options).map(drop)
    };
    let url = "mongodb://u:sentinel@h";
    let error = open(serde_json::json!({"url": url, "databse": "x"})).expect_err("refused");
    assert_eq!((error.kind(), error.message()), (ErrorKind::Invalid, "unknown option \"databse\""));
    assert_eq!(error.hint_text(), Some("Did you mean \"database\"?"));
    let of = |table: serde_json::Value| open(serde_json::json!({"url": url, "tables": [table]})).expect_err("refused");
    for (table, named) in [
        (serde_json::json!({"colection": "c", "columns": []}), "unknown field `colection`"),
        (serde_json::json!({"collection": "c"}), "missing field `columns`"),
        (serde_json::json!({"collection": "c", "columns": [{"name": "a", "typ": "date"}]}), "unknown field `typ`"),
        (serde_json::json!({"collection": "c", "columns": [{"name": "a"}]}), "missing field `type`"),
        (serde_json::json!({"collection": "c", "columns": [{"name": "a", "type": "daet"}]}), "\"daet\""),
        (serde_json::json!({"collection": 1, "columns": []}), "invalid type"),
    ] {
        let error = of(table);
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains(named) && error.hint_text().is_some(), "{error:?}");
        assert!(!format!("{error:?}").contains("sentinel"), "{error:?}");
    }
}
