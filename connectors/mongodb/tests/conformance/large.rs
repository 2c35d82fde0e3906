//! Documents at the limits of what a server keeps.

use bson::{Bson, Document, RawDocumentBuf, doc};

use crate::fixture::{all, fixture, open, read, scan};

/// Bytes of the largest document.
const LARGEST: usize = 16 << 20;

#[tokio::test]
async fn documents_of_the_largest_size_are_read_and_each_is_one_row() {
    let Some(fixture) = fixture("largest").await else { return };
    let of = |n: i32, length: usize| doc! { "_id": n, "a": "y".repeat(length), "n": n };
    let around = RawDocumentBuf::try_from(&of(0, 0)).expect("bson").as_bytes().len();
    for n in 0..3 {
        let document = of(n, LARGEST - around);
        assert_eq!(RawDocumentBuf::try_from(&document).expect("bson").as_bytes().len(), LARGEST);
        fixture.fill("t", vec![document]).await;
    }
    fixture.fill("t", vec![of(3, 1)]).await;
    let rows = read(&*fixture.source, &fixture.scan("t").await).await.expect("read");
    assert_eq!(all(&rows, "n"), ["0", "1", "2", "3"]);
    let lengths: Vec<usize> = all(&rows, "a").iter().map(String::len).collect();
    assert_eq!(lengths, [LARGEST - around, LARGEST - around, LARGEST - around, 1]);
}

#[tokio::test]
async fn documents_and_lists_a_hundred_levels_deep_are_read_whole() {
    let Some(fixture) = fixture("hundred").await else { return };
    let documents = (0..98).fold(Bson::Int32(7), |inner, _| Bson::Document(doc! { "d": inner }));
    let lists = (0..98).fold(Bson::Int32(7), |inner, _| Bson::Array(vec![inner]));
    let stored: Vec<Document> = vec![doc! { "_id": 1, "d": documents.clone(), "l": lists.clone() }, doc! { "_id": 2 }];
    fixture.fill("t", stored).await;
    let source = open(&fixture.url, &[("document_column", "_document".into())]);
    let rows = read(&*source, &scan(&*source, fixture.name("t")).await).await.expect("read");
    // Eight levels are structs and lists, and the others JSON in the last of them.
    let (documents, lists) = (&all(&rows, "d")[0], &all(&rows, "l")[0]);
    assert_eq!(documents.matches("{\"d\":").count(), 90, "{documents}");
    assert!(documents.starts_with("{d: {d: ") && documents.contains('7'), "{documents}");
    assert_eq!((lists.matches('[').count(), lists.matches(']').count()), (98, 98), "{lists}");
    let whole = format!(
        "{{\"_id\":1,\"d\":{}7{},\"l\":{}7{}}}",
        "{\"d\":".repeat(98),
        "}".repeat(98),
        "[".repeat(98),
        "]".repeat(98)
    );
    assert_eq!(all(&rows, "_document"), [whole.as_str(), "{\"_id\":2}"]);
}
