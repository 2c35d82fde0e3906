//! Documents that no driver writes and no server makes: texts that are not UTF-8, names that are there twice, lengths that lie. A proxy makes them
//! of good ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::RecordBatch;
use bson::{Bson, Document, RawDocumentBuf, doc};
use connector_spi::{Error, ErrorKind, Result, Scan, Source};
use futures::TryStreamExt;

use crate::fixture::{Fixture, all, context, fixture, open, scan};
use crate::proxy;

/// The document that is spoilt.
const ODD: i32 = 3;

fn document(n: i32) -> Document {
    let text = |of: &str| if n == ODD { format!("text-of-{of}") } else { "plain".to_owned() };
    let mixed = if n % 2 == 0 { Bson::Int32(n) } else { Bson::String(text("j")) };
    let mut document = doc! { "_id": n, "a": text("a"), "j": mixed };
    if n == ODD {
        document.insert("unnamed-x", 1);
    }
    document.insert("s", doc! { "x": text("s"), "y": n, "l": [n] });
    document.insert("l", vec![text("l"), "fine".to_owned()]);
    document.insert("n", n);
    document
}

/// Five documents, of which one is spoilt on its way.
async fn five(name: &str) -> Option<Fixture> {
    let fixture = fixture(name).await?;
    fixture.fill("t", (0..5).map(document).collect()).await;
    Some(fixture)
}

/// The url of a server that says something else in place of some bytes.
async fn saying(fixture: &Fixture, from: &[u8], to: &[u8]) -> String {
    let (from, to) = (from.to_vec(), to.to_vec());
    proxy::between(&fixture.url, |_| true, move |answer| proxy::replace(answer, &from, &to)).await
}

/// All rows, and how many values were NULL because they did not fit.
async fn counted(source: &dyn Source, scan: &Scan) -> Result<(RecordBatch, u64)> {
    let split = source.splits(scan, 1).await?.splits.remove(0);
    let context = context(8192);
    let batches: Vec<RecordBatch> = source.read(scan, &split, context.clone()).await?.try_collect().await?;
    let rows = connector_spi::conformance::whole(scan, &batches).expect("the scan's schema");
    Ok((rows, context.counters.misfits()))
}

fn bad(error: &Error, text: &str) {
    assert_eq!(error.kind(), ErrorKind::BadData, "{error:?}");
    assert!(error.message().contains(text), "{error:?}");
}

#[tokio::test]
async fn a_text_that_is_not_utf8_is_an_error_that_names_its_field_or_a_counted_null() {
    let Some(fixture) = five("utf8").await else { return };
    let lenient = open(&fixture.url, &[("on_misfit", "null".into())]);
    let (strictly, leniently) = (fixture.scan("t").await, scan(&*lenient, fixture.name("t")).await);
    for (of, path, column, without) in [
        ("a", "a", "a", "NULL"),
        ("s", "s.x", "s", "{x: , y: 3, l: [3]}"),
        ("l", "l[]", "l", "[, fine]"),
        ("j", "j", "j", "NULL"),
    ] {
        let from = format!("text-of-{of}");
        let mut to = from.clone().into_bytes();
        to[5] = 0xC3;
        let url = saying(&fixture, from.as_bytes(), &to).await;
        let spoilt = open(&url, &[]);
        let text = format!("field \"{path}\" of table \"conformance_utf8.t\" holds text that is not UTF-8");
        bad(&counted(&*spoilt, &strictly).await.expect_err("not UTF-8"), &text);
        let (rows, misfits) = counted(&*spoilt, &leniently).await.expect("NULL");
        assert_eq!((rows.num_rows(), misfits, all(&rows, column)[3].as_str()), (5, 1, without), "{path}");
        assert_eq!(all(&rows, "n"), ["0", "1", "2", "3", "4"]);
        // Where the sample sees it, the table is described all the same.
        let described = spoilt.table(&fixture.name("t")).await.expect("described").expect("a table");
        assert_eq!(described.columns.len(), strictly.columns.len());
        let described = Scan::new("m", fixture.name("t"), &described);
        bad(&counted(&*spoilt, &described).await.expect_err("not UTF-8"), "holds text that is not UTF-8");
        let spoilt = open(&url, &[("on_misfit", "null".into())]);
        let (rows, misfits) = counted(&*spoilt, &scan(&*spoilt, fixture.name("t")).await).await.expect("NULL");
        assert_eq!((rows.num_rows(), misfits), (5, 1), "{path}");
    }
}

#[tokio::test]
async fn a_name_that_is_not_utf8_is_no_column_and_hides_no_other_field() {
    let Some(fixture) = five("unnamed").await else { return };
    let url = saying(&fixture, b"unnamed-x", b"unn\xFFmed-x").await;
    let spoilt = open(&url, &[]);
    let whole = fixture.scan("t").await;
    let (good, _) = counted(&*fixture.source, &whole).await.expect("read");
    let (rows, misfits) = counted(&*spoilt, &whole).await.expect("read");
    assert_eq!(misfits, 0);
    assert_eq!(all(&rows, "unnamed-x"), ["NULL"; 5]);
    let described = scan(&*spoilt, fixture.name("t")).await;
    assert_eq!(described.columns.len(), whole.columns.len() - 1);
    let (again, _) = counted(&*spoilt, &described).await.expect("read");
    for name in ["_id", "a", "j", "s", "l", "n"] {
        assert_eq!(all(&rows, name), all(&good, name));
        assert_eq!(all(&again, name), all(&good, name));
    }
    // Where the whole document is wanted, so is the name.
    let spoilt = open(&url, &[("document_column", "_document".into())]);
    let error = counted(&*spoilt, &scan(&*spoilt, fixture.name("t")).await).await.expect_err("not UTF-8");
    bad(&error, "a document of table \"conformance_unnamed.t\" holds text that is not UTF-8");
    let spoilt = open(&url, &[("document_column", "_document".into()), ("on_misfit", "null".into())]);
    let (rows, misfits) = counted(&*spoilt, &scan(&*spoilt, fixture.name("t")).await).await.expect("NULL");
    assert_eq!((all(&rows, "_document")[3].as_str(), misfits), ("NULL", 1));
}

#[tokio::test]
async fn a_name_that_is_there_twice_is_an_error_or_counted_and_the_first_one() {
    let Some(fixture) = fixture("again").await else { return };
    let document = |n: i32| match n {
        ODD => doc! { "_id": n, "first-name": 1, "other-name": 2, "s": { "first-item": 1, "other-item": 2 } },
        _ => doc! { "_id": n, "first-name": 1, "s": { "first-item": 1 } },
    };
    fixture.fill("t", (0..5).map(document).collect()).await;
    let lenient = open(&fixture.url, &[("on_misfit", "null".into())]);
    let (strictly, leniently) = (fixture.scan("t").await, scan(&*lenient, fixture.name("t")).await);
    for (from, to, path) in [("other-name", "first-name", "first-name"), ("other-item", "first-item", "s.first-item")] {
        let url = saying(&fixture, from.as_bytes(), to.as_bytes()).await;
        let spoilt = open(&url, &[]);
        let error = counted(&*spoilt, &strictly).await.expect_err("twice");
        bad(&error, &format!("field \"{path}\" of table \"conformance_again.t\" is there twice in one document"));
        let (rows, misfits) = counted(&*spoilt, &leniently).await.expect("the first");
        assert_eq!((all(&rows, "first-name"), misfits), (vec!["1".to_owned(); 5], 1));
        assert!(all(&rows, "s")[3].starts_with("{first-item: 1, other-item: "), "{:?}", all(&rows, "s"));
        // A struct of which the sample shows it is JSON, with both.
        if path == "s.first-item" {
            let (rows, _) = counted(&*spoilt, &scan(&*spoilt, fixture.name("t")).await).await.expect("JSON");
            assert_eq!(all(&rows, "s")[3], "{\"first-item\":1,\"first-item\":2}");
        }
    }
}

#[tokio::test]
async fn lengths_that_lie_are_errors_that_name_the_table_whatever_is_done_with_misfits() {
    let Some(fixture) = five("lies").await else { return };
    let lenient = open(&fixture.url, &[("on_misfit", "null".into())]);
    let (strictly, leniently) = (fixture.scan("t").await, scan(&*lenient, fixture.name("t")).await);
    let whole = RawDocumentBuf::try_from(&document(ODD)).expect("bson").into_bytes();
    let length = i32::from_le_bytes(*whole.first_chunk().expect("a length"));
    // The place of a length is before what is found.
    let mut lies: Vec<(&[u8], i32, i32)> = Vec::new();
    for lie in [i32::MAX, -1, 0, 4, 5, length + 1, length - 1, 1 << 20] {
        lies.push((&whole[4..13], length, lie));
    }
    for text in ["text-of-a", "text-of-s", "text-of-l", "text-of-j"] {
        lies.extend([i32::MAX, -1, 0, 1000].map(|lie| (text.as_bytes(), 10, lie)));
    }
    for (before, length, lie) in lies {
        let (from, to) = ([&length.to_le_bytes()[..], before].concat(), [&lie.to_le_bytes()[..], before].concat());
        assert!(proxy::holds(&whole, &from), "{before:?}");
        let url = saying(&fixture, &from, &to).await;
        for (spoilt, read) in [(open(&url, &[]), &strictly), (open(&url, &[("on_misfit", "null".into())]), &leniently)]
        {
            let error = counted(&*spoilt, read).await.expect_err("a lie");
            println!("{} {lie}: {error:?}", String::from_utf8_lossy(before));
            bad(&error, "table \"conformance_lies.t\"");
            if let Err(error) = spoilt.table(&fixture.name("t")).await {
                println!("  described: {error:?}");
                bad(&error, "table \"conformance_lies.t\"");
            }
        }
    }
}

#[tokio::test]
async fn an_answer_without_its_parts_is_an_error_that_names_the_table() {
    let Some(fixture) = five("parts").await else { return };
    let whole = fixture.scan("t").await;
    for (from, to) in
        [("firstBatch", "firstBotch"), ("\u{3}cursor\0", "\u{3}cursos\0"), ("\u{4}firstBatch\0", "\u{3}firstBatch\0")]
    {
        let spoilt = open(&saying(&fixture, from.as_bytes(), to.as_bytes()).await, &[]);
        // What describes a table asks for cursors too.
        let split = fixture.source.splits(&whole, 1).await.expect("a split").splits.remove(0);
        let read = spoilt.read(&whole, &split, context(8192)).await.expect("a stream");
        let error = read.try_collect::<Vec<_>>().await.expect_err("no batch");
        println!("{from:?}: {error:?}");
        assert!(error.kind() != ErrorKind::Internal && error.message().contains("conformance_parts.t"), "{error:?}");
    }
}

#[tokio::test]
async fn no_byte_of_an_answer_ends_the_reader_without_a_word() {
    let Some(fixture) = five("bytes").await else { return };
    let whole = fixture.scan("t").await;
    let (at, length) = (Arc::new(AtomicUsize::new(usize::MAX)), Arc::new(AtomicUsize::new(0)));
    let (place, known) = (Arc::clone(&at), Arc::clone(&length));
    let flip = move |answer: &mut Vec<u8>| {
        if proxy::holds(answer, b"firstBatch") && proxy::holds(answer, b"text-of-a") {
            known.store(answer.len(), Ordering::SeqCst);
            if let Some(byte) = answer.get_mut(place.load(Ordering::SeqCst)) {
                *byte ^= 0xFF;
            }
        }
    };
    let url = proxy::between(&fixture.url, |_| true, flip).await;
    let spoilt = open(&url, &[]);
    counted(&*spoilt, &whole).await.expect("read");
    // Before are the header and the flags: with them the driver finds the answer.
    let (mut read, mut refused) = (0, 0);
    for flipped in (21..length.load(Ordering::SeqCst)).step_by(7) {
        at.store(flipped, Ordering::SeqCst);
        match counted(&*spoilt, &whole).await {
            Ok((rows, _)) => {
                read += 1;
                assert_eq!(rows.num_rows(), 5, "byte {flipped}");
            }
            Err(error) => {
                refused += 1;
                assert_ne!(error.kind(), ErrorKind::Internal, "byte {flipped}: {error:?}");
            }
        }
    }
    println!("{read} read, {refused} refused");
    assert!(read > 10 && refused > 10, "{read} read, {refused} refused");
}
