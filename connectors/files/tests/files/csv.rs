//! CSV tables.

use connector_spi::{Absorbed, Op, Scan, TableName};

use crate::fixture::{CATALOG, Catalog, gzip, zstd};

fn many(rows: usize) -> String {
    (0..rows).fold("id,name,price\n".to_owned(), |text, at| text + &format!("{at},\"n {at}\nx\",{at}.5\n"))
}

#[tokio::test]
async fn types_are_taken_from_the_values() {
    let shop = Catalog::new();
    shop.write("t.csv", "i,f,b,d,t,s,n,big,odd\n1,1.5,true,2024-02-29,2024-02-29 10:00:00.25,x,,99999999999999999999,2024-13-45\n2,2,false,2024-03-01,2024-03-01T00:00:00,y,,1,2024-01-01\n");
    assert_eq!(
        shop.columns("t").await,
        "i int64, f float64, b boolean, d date32, t timestamp(µs), s utf8, n utf8, big utf8, odd utf8"
    );
    assert_eq!(
        shop.sql(&["t"], "SELECT * FROM t").await,
        "\
+---+-----+-------+------------+-------------------------+---+---+----------------------+------------+
| i | f   | b     | d          | t                       | s | n | big                  | odd        |
+---+-----+-------+------------+-------------------------+---+---+----------------------+------------+
| 1 | 1.5 | true  | 2024-02-29 | 2024-02-29T10:00:00.250 | x |   | 99999999999999999999 | 2024-13-45 |
| 2 | 2.0 | false | 2024-03-01 | 2024-03-01T00:00:00     | y |   | 1                    | 2024-01-01 |
+---+-----+-------+------------+-------------------------+---+---+----------------------+------------+"
    );
}

#[tokio::test]
async fn an_empty_field_is_null_in_every_column_quoted_or_not() {
    let shop = Catalog::new();
    shop.write("t.csv", "a,b,c\n1,,x\n,\"\",\"\"\n");
    let nulls = "SELECT count(a), count(b), count(c), count(*) FROM t";
    assert_eq!(
        shop.sql(&["t"], nulls).await.lines().nth(3),
        Some("| 1          | 0          | 1          | 2        |")
    );
}

#[tokio::test]
async fn quotes_hold_separators_quotes_and_lines() {
    let shop = Catalog::new();
    shop.write(
        "t.csv",
        "\u{feff}a,\"b \"\"q\"\"\"\r\n\"x,y\",\"1\r\n2\"\r\n\"he said \"\"no\"\"\",5\" pipe\r\n\u{feff}z,w",
    );
    let table = shop.table("t").await.expect("describes");
    assert_eq!(table.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["a", "b \"q\""]);
    let batches = shop.text("t", 1).await.expect("reads");
    let text = arrow::util::pretty::pretty_format_batches(&batches).expect("prints").to_string();
    let cells = arrow::compute::concat_batches(&batches[0].schema(), &batches).expect("joins");
    let column = |at: usize| {
        use arrow::array::AsArray;
        cells.column(at).as_string::<i32>().iter().flatten().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(column(0), ["x,y", "he said \"no\"", "\u{feff}z"], "{text}");
    assert_eq!(column(1), ["1\r\n2", "5\" pipe", "w"], "{text}");
}

#[tokio::test]
async fn packed_files_and_several_members_read_as_plain_ones() {
    let shop = Catalog::new();
    let text = many(5000);
    let half = text.len() / 2;
    shop.write("plain.csv", &text);
    shop.write("gz.csv.gz", [gzip(&text.as_bytes()[..half]).await, gzip(&text.as_bytes()[half..]).await].concat());
    shop.write("zst.csv.zst", [zstd(&text.as_bytes()[..half]).await, zstd(&text.as_bytes()[half..]).await].concat());
    let sums = |name: &str| {
        format!("SELECT concat(count(*), ' ', sum(id), ' ', sum(price), ' ', count(DISTINCT name)) FROM {name}")
    };
    let plain = shop.value(&["plain"], &sums("plain")).await;
    assert_eq!(plain, "5000 12497500 12500000.0 5000");
    assert_eq!(shop.value(&["gz"], &sums("gz")).await, plain);
    assert_eq!(shop.value(&["zst"], &sums("zst")).await, plain);
}

#[tokio::test]
async fn a_cut_off_packed_file_is_an_error() {
    let shop = Catalog::new();
    let text = many(50_000);
    let (gz, zst) = (gzip(text.as_bytes()).await, zstd(text.as_bytes()).await);
    shop.write("gz.csv.gz", &gz[..gz.len() - 20]);
    shop.write("zst.csv.zst", &zst[..zst.len() - 20]);
    shop.write("no.csv.gz", "id\n1\n");
    for (table, file) in [("gz", "gz.csv.gz"), ("zst", "zst.csv.zst"), ("no", "no.csv.gz")] {
        let error = shop.error(table).await;
        let start = format!("BAD_DATA: cannot read CSV file \"{file}\" of catalog \"shop\": it cannot be unpacked: ");
        assert!(error.starts_with(&start), "{error}");
    }
}

#[tokio::test]
async fn files_of_a_folder_are_matched_by_the_names_in_their_headers() {
    let shop = Catalog::new();
    shop.write("t/1.csv", "a,b\n1,x\n");
    shop.write("t/2.csv", "b,a\ny,2.5\n");
    shop.write("t/deep/3.csv.gz", gzip(b"c,a\nz,3\n").await);
    shop.write("t/4.csv", "");
    shop.write("t/_SUCCESS", "");
    shop.write("t/.5.csv.crc", "x");
    assert_eq!(shop.columns("t").await, "a float64, b utf8, c utf8");
    assert_eq!(
        shop.sql(&["t"], "SELECT * FROM t ORDER BY a").await,
        "\
+-----+---+---+
| a   | b | c |
+-----+---+---+
| 1.0 | x |   |
| 2.5 | y |   |
| 3.0 |   | z |
+-----+---+---+"
    );
}

#[tokio::test]
async fn a_bad_row_is_named_with_file_and_line() {
    let shop = Catalog::new();
    for (name, content, cause) in [
        ("few", "a,b\n1,\"x\ny\"\n2\n", "line 4 has 1 value, the header has 2"),
        ("many", "a,b\n1,x\n\n2,y,z\n", "line 4 has 3 values, the header has 2"),
        ("twice", "a,a\n1,2\n", "its header line names column \"a\" twice"),
        ("open", "a,b\n1,x\n2,\"y\n3,z\n", "a quote in the record that begins in line 3 is not closed"),
        ("empty", "", "it is empty, not even a header line is there"),
    ] {
        shop.write(&format!("{name}.csv"), content);
        let expected = format!("BAD_DATA: cannot read CSV file \"{name}.csv\" of catalog \"shop\": {cause}");
        assert_eq!(shop.error(name).await, expected);
    }
    shop.write("latin.csv", b"a,b\n1,caf\xe9\n");
    let error = shop.error("latin").await;
    assert_eq!(error, "BAD_DATA: cannot read CSV file \"latin.csv\" of catalog \"shop\": line 2 is not valid UTF-8");
}

#[tokio::test]
async fn a_value_of_another_type_behind_the_sample_is_named_with_its_line_and_column() {
    let shop = Catalog::new();
    let text = (0..10_500).fold("id,qty\n".to_owned(), |text, at| text + &format!("{at},{at}\n"));
    shop.write("t.csv", text + "10500,abc\n10501,1\n");
    assert_eq!(shop.columns("t").await, "id int64, qty int64");
    let error = "BAD_DATA: cannot read CSV file \"t.csv\" of catalog \"shop\": line 10502, column \"qty\": \"abc\" is not a whole number";
    assert_eq!(shop.error("t").await, error);
    // A query that does not need the column does not stumble over it.
    let scan = Scan::new(CATALOG, TableName::new("main", "t"), &shop.table("t").await.expect("describes"));
    let Absorbed::Exact(scan) = shop.source.absorb(&scan, &Op::Columns(vec![0])) else { panic!("columns are taken") };
    let rows = shop.read(&scan, 1).await.expect("reads").iter().map(|batch| batch.num_rows()).sum::<usize>();
    assert_eq!(rows, 10_502);
}

#[tokio::test]
async fn columns_may_be_none_or_repeated_and_a_limit_holds_for_each_split() {
    let shop = Catalog::new();
    shop.write("t/1.csv", many(10));
    shop.write("t/2.csv", many(10));
    let all = Scan::new(CATALOG, TableName::new("main", "t"), &shop.table("t").await.expect("describes"));
    let rows = |batches: Vec<arrow::array::RecordBatch>| batches.iter().map(|batch| batch.num_rows()).sum::<usize>();
    let none = all.with_projection(Vec::new());
    assert_eq!(rows(shop.read(&none, 1).await.expect("reads")), 20);
    let twice = all.with_projection(vec![2, 0, 2]);
    assert_eq!(shop.read(&twice, 1).await.expect("reads")[0].num_columns(), 3);
    let Absorbed::Exact(limited) = shop.source.absorb(&all, &Op::Limit(4)) else { panic!("a limit is taken") };
    assert_eq!(rows(shop.read(&limited, 1).await.expect("reads")), 8);
    assert_eq!(rows(shop.read(&all.with_limit(0), 1).await.expect("reads")), 0);
}

#[tokio::test]
async fn a_file_that_changes_between_planning_and_reading_is_an_error() {
    let shop = Catalog::new();
    shop.write("t.csv", many(10));
    let scan = Scan::new(CATALOG, TableName::new("main", "t"), &shop.table("t").await.expect("describes"));
    let splits = shop.source.splits(&scan, 1).await.expect("splits").splits;
    shop.write("t.csv", many(11));
    let context = connector_spi::ReadContext { batch_rows: 100, counters: std::sync::Arc::default() };
    let stream = shop.source.read(&scan, &splits[0], context).await.expect("starts");
    let error = futures::TryStreamExt::try_collect::<Vec<_>>(stream).await.expect_err("fails");
    assert_eq!(error.to_string(), "SOURCE: file \"t.csv\" of catalog \"shop\" changed while it was read");
}

#[tokio::test]
async fn statistics_estimate_rows_and_know_bytes() {
    let shop = Catalog::new();
    let text = (0..100_000).fold("id\n".to_owned(), |text, at| text + &format!("{}\n", 100_000 + at));
    shop.write("t.csv", &text);
    let statistics = shop.table("t").await.expect("describes").statistics;
    assert_eq!(statistics.bytes, Some(text.len() as u64));
    assert!(statistics.rows.is_some_and(|rows| (99_000..=101_000).contains(&rows)), "{statistics:?}");
}
