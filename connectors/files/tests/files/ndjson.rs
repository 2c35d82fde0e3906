//! NDJSON tables.

use crate::fixture::{Catalog, gzip, zstd};

#[tokio::test]
async fn columns_come_in_the_order_in_which_keys_are_met() {
    let shop = Catalog::new();
    shop.write(
        "t.ndjson",
        "{\"z\":1,\"a\":\"x\"}\r\n\r\n{\"a\":null,\"m\":true,\"z\":2}\n{\"big\":18446744073709551615}",
    );
    assert_eq!(shop.columns("t").await, "z int64, a utf8, m boolean, big decimal128(20, 0)");
    assert_eq!(
        shop.sql(&["t"], "SELECT * FROM t").await,
        "\
+---+---+------+----------------------+
| z | a | m    | big                  |
+---+---+------+----------------------+
| 1 | x |      |                      |
| 2 |   | true |                      |
|   |   |      | 18446744073709551615 |
+---+---+------+----------------------+"
    );
}

#[tokio::test]
async fn nested_values_and_mixed_scalars_are_read() {
    let shop = Catalog::new();
    shop.write(
        "t.jsonl",
        "{\"o\":{\"x\":1,\"l\":[1,2]},\"m\":1,\"f\":1,\"e\":[]}\n{\"o\":{\"y\":\"s\"},\"m\":\"one\",\"f\":1.5,\"e\":[]}\n{\"o\":null,\"m\":true,\"f\":-0.0,\"e\":null}\n",
    );
    assert_eq!(
        shop.sql(&["t"], "SELECT o['x'] AS x, o['l'][2] AS l, o['y'] AS y, m, f, e FROM t").await,
        "\
+---+---+---+------+------+----+
| x | l | y | m    | f    | e  |
+---+---+---+------+------+----+
| 1 | 2 |   | 1    | 1.0  | [] |
|   |   | s | one  | 1.5  | [] |
|   |   |   | true | -0.0 |    |
+---+---+---+------+------+----+"
    );
}

#[tokio::test]
async fn packed_files_read_as_plain_ones() {
    let shop = Catalog::new();
    let text = (0..5000).fold(String::new(), |text, at| text + &format!("{{\"id\":{at}}}\n"));
    shop.write("t/a.json", &text);
    shop.write("t/b.ndjson.gz", gzip(text.as_bytes()).await);
    shop.write("t/c.jsonl.zst", zstd(text.as_bytes()).await);
    assert_eq!(shop.value(&["t"], "SELECT concat(count(*), ' ', sum(id)) FROM t").await, "15000 37492500");
}

#[tokio::test]
async fn a_large_file_is_read_in_parts_and_every_line_once() {
    let shop = Catalog::new();
    let pad = "x".repeat(2000);
    let text = (0..20_000).fold(String::new(), |text, at| text + &format!("{{\"id\":{at},\"pad\":\"{pad}\"}}\n"));
    shop.write("t.ndjson", &text);
    let table = shop.table("t").await.expect("describes");
    let scan =
        connector_spi::Scan::new("shop", connector_spi::TableName::new("main", "t"), &table).with_projection(vec![0]);
    let splits = shop.source.splits(&scan, 8).await.expect("splits").splits;
    assert_eq!(splits.len(), 3);
    assert_eq!(splits.iter().filter_map(|split| split.bytes).sum::<u64>(), text.len() as u64);
    assert_eq!(
        shop.value(&["t"], "SELECT concat(count(*), ' ', sum(id), ' ', count(DISTINCT id)) FROM t").await,
        "20000 199990000 20000"
    );
}

#[tokio::test]
async fn a_bad_line_is_named() {
    let shop = Catalog::new();
    for (name, content, cause) in [
        ("syntax", "{\"a\":1}\n{\"a\":\n", "line 2 is not a JSON object: EOF while parsing a value"),
        ("array", "{\"a\":1}\n\n[1]\n", "line 3 is not a JSON object"),
        ("mixed", "{\"a\":1}\n{\"a\":{\"b\":1}}\n", "line 2, column \"a\": objects, arrays and plain values are mixed"),
        ("empty", "\n", "it has no JSON object, so that its columns are not known"),
    ] {
        shop.write(&format!("{name}.ndjson"), content);
        let expected = format!("BAD_DATA: cannot read NDJSON file \"{name}.ndjson\" of catalog \"shop\": {cause}");
        assert_eq!(shop.error(name).await, expected);
    }
}

#[tokio::test]
async fn a_value_behind_the_sample_is_never_cut_to_fit() {
    let shop = Catalog::new();
    let text = (0..10_100).fold(String::new(), |text, at| text + &format!("{{\"id\":{at},\"o\":{{\"n\":[{at}]}}}}\n"));
    shop.write("half.ndjson", text.clone() + "{\"id\":1.5}\n");
    shop.write("deep.ndjson", text.clone() + "{\"o\":{\"n\":[2.5]}}\n");
    shop.write("cut.ndjson", text + "{\"id\":1\n");
    let start =
        |name: &str| format!("BAD_DATA: cannot read NDJSON file \"{name}.ndjson\" of catalog \"shop\": line 10101");
    let error = shop.error("half").await;
    assert!(error.starts_with(&(start("half") + ", column \"id\" is not a whole number: ")), "{error}");
    let error = shop.error("deep").await;
    assert!(error.starts_with(&(start("deep") + ", column \"o\" is not an object: ")), "{error}");
    let error = shop.error("cut").await;
    assert!(error.starts_with(&(start("cut") + " is not a JSON object: ")), "{error}");
}

#[tokio::test]
async fn files_whose_columns_do_not_fit_are_both_named() {
    let shop = Catalog::new();
    shop.write("t/a.json", "{\"x\":1}\n");
    shop.write("t/b.json", "{\"x\":[1]}\n");
    let error = "BAD_DATA: cannot read NDJSON file \"t/b.json\" of catalog \"shop\": column \"x\" does not fit the one of \"t/a.json\"";
    assert_eq!(shop.error("t").await, error);
}
