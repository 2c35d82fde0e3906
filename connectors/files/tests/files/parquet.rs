//! Parquet tables.

use std::sync::Arc;

use connector_spi::TableName;
use datafusion::physical_plan::{displayable, execute_stream};
use futures::TryStreamExt;
use url::Url;

use crate::fixture::{CATALOG, Catalog, open};

#[tokio::test]
async fn a_file_is_a_table_with_exact_rows() {
    let shop = Catalog::new();
    shop.parquet("orders.parquet", "SELECT value AS id, 'n' || value AS name FROM generate_series(1, 1000)").await;
    assert_eq!(shop.columns("orders").await, "id int64, name utf8view");
    assert_eq!(shop.table("orders").await.expect("describes").statistics.rows, Some(1000));
    let query = "SELECT concat(count(*), ' ', sum(id), ' ', max(name)) FROM orders WHERE id > 10 AND name <> 'n20'";
    assert_eq!(shop.value(&["orders"], query).await, "989 500425 n999");
    assert_eq!(shop.value(&["orders"], "SELECT count(*) FROM (SELECT * FROM orders LIMIT 7)").await, "7");
}

#[tokio::test]
async fn files_are_united_by_name_and_widened() {
    let shop = Catalog::new();
    shop.parquet("t/1.parquet", "SELECT CAST(1 AS INT) AS a, 'x' AS b, CAST(1.5 AS FLOAT) AS f").await;
    shop.parquet("t/2.parquet", "SELECT 'y' AS b, CAST(5000000000 AS BIGINT) AS a, CAST(2.5 AS DOUBLE) AS f").await;
    shop.parquet("t/deep/3.parquet", "SELECT true AS c, CAST(3 AS SMALLINT) AS a").await;
    assert_eq!(shop.columns("t").await, "a int64, b utf8view, f float64, c boolean");
    let rows = "\
+------------+---+-----+------+
| a          | b | f   | c    |
+------------+---+-----+------+
| 1          | x | 1.5 |      |
| 3          |   |     | true |
| 5000000000 | y | 2.5 |      |
+------------+---+-----+------+";
    assert_eq!(shop.sql(&["t"], "SELECT * FROM t ORDER BY a").await, rows);
    assert_eq!(shop.value(&["t"], "SELECT count(*) FROM t WHERE a > 2").await, "2");
    assert_eq!(shop.value(&["t"], "SELECT count(*) FROM t WHERE b IS NULL").await, "1");
    assert_eq!(
        shop.value(&["t"], "SELECT concat(min(a), ' ', max(a), ' ', count(b), ' ', count(c)) FROM t").await,
        "1 5000000000 2 1"
    );
    // The answer does not depend on the order of the files.
    std::fs::rename(shop.path("t/1.parquet"), shop.path("t/9.parquet")).expect("renamed");
    assert_eq!(shop.sql(&["t"], "SELECT a, b, f, c FROM t ORDER BY a").await, rows);
}

#[tokio::test]
async fn a_struct_may_gain_a_field() {
    let shop = Catalog::new();
    shop.parquet("t/1.parquet", "SELECT 1 AS id, named_struct('x', 1) AS o").await;
    shop.parquet("t/2.parquet", "SELECT 2 AS id, named_struct('y', 'two', 'x', 2) AS o").await;
    assert_eq!(
        shop.sql(&["t"], "SELECT id, o['x'] AS x, o['y'] AS y FROM t ORDER BY id").await,
        "\
+----+---+-----+
| id | x | y   |
+----+---+-----+
| 1  | 1 |     |
| 2  | 2 | two |
+----+---+-----+"
    );
}

#[tokio::test]
async fn types_that_do_not_fit_name_both_files() {
    let shop = Catalog::new();
    shop.parquet("t/1.parquet", "SELECT 1 AS a").await;
    shop.parquet("t/2.parquet", "SELECT 'x' AS a").await;
    let error = "BAD_DATA: cannot read Parquet file \"t/2.parquet\" of catalog \"shop\": column \"a\" is utf8view, in \"t/1.parquet\" it is int64";
    assert_eq!(shop.error("t").await, error);
}

#[tokio::test]
async fn files_that_are_no_parquet_are_named() {
    let shop = Catalog::new();
    shop.parquet("good.parquet", "SELECT value AS a FROM generate_series(1, 1000)").await;
    let good = std::fs::read(shop.path("good.parquet")).expect("reads");
    shop.write("cut.parquet", &good[..good.len() - 10]);
    shop.write("tiny.parquet", &good[..6]);
    shop.write("zero.parquet", "");
    shop.write("text.parquet", "a,b\n1,2\n3,4\n");
    let mut broken = good.clone();
    let at = broken.len() - 40;
    broken[at..at + 20].fill(0xff);
    shop.write("footer.parquet", &broken);
    for name in ["cut", "tiny", "zero", "text", "footer"] {
        let error = shop.error(name).await;
        let cause = if name == "zero" { "it is empty" } else { "it is cut off, or not a Parquet file at all" };
        assert_eq!(
            error,
            format!("BAD_DATA: cannot read Parquet file \"{name}.parquet\" of catalog \"shop\": {cause}")
        );
    }
}

#[tokio::test]
async fn broken_pages_are_an_error_of_the_query() {
    let shop = Catalog::new();
    shop.parquet("t.parquet", "SELECT value AS a, 'n' || value AS b FROM generate_series(1, 10000)").await;
    let mut bytes = std::fs::read(shop.path("t.parquet")).expect("reads");
    bytes[8..2000].fill(0xff);
    shop.write("t.parquet", bytes);
    let error = shop.context(&["t"]).await.sql("SELECT sum(a), max(b) FROM t").await.expect("plans").collect().await;
    assert!(error.expect_err("fails").to_string().contains("Parquet"));
}

#[tokio::test]
async fn nan_is_found_whatever_the_bounds_of_row_groups_say() {
    let shop = Catalog::new();
    shop.parquet("t/1.parquet", "SELECT * FROM (VALUES (CAST('NaN' AS DOUBLE), 1), (1.0, 2), (2.0, 3)) AS v (x, id)")
        .await;
    shop.parquet("t/2.parquet", "SELECT * FROM (VALUES (5.0, 4), (7.0, 5)) AS v (x, id)").await;
    for (condition, rows) in [
        ("x > 100", 1),
        ("x >= 100", 1),
        ("x = 'NaN'::double", 1),
        ("NOT x <= 100", 1),
        ("x > 6", 2),
        ("x < 2", 1),
        ("id > 4", 1),
    ] {
        let count = shop.value(&["t"], &format!("SELECT count(*) FROM t WHERE {condition}")).await;
        assert_eq!(count, rows.to_string(), "{condition}");
    }
    assert_eq!(shop.value(&["t"], "SELECT max(x) FROM t").await, "NaN");
    assert_eq!(shop.value(&["t"], "SELECT x FROM t ORDER BY x DESC LIMIT 1").await, "NaN");
    let join = "SELECT count(*) FROM t JOIN (SELECT 'NaN'::double AS y UNION ALL SELECT 7.0) AS u ON t.x = u.y";
    assert_eq!(shop.value(&["t"], join).await, "2");
}

#[tokio::test]
async fn row_groups_are_skipped_where_bounds_can_be_trusted() {
    let shop = Catalog::new();
    shop.parquet("t.parquet", "SELECT value AS id FROM generate_series(1, 3000000)").await;
    let context = shop.context(&["t"]).await;
    let frame = context.sql("SELECT id FROM t WHERE id > 2999990").await.expect("plans");
    let plan = frame.create_physical_plan().await.expect("plans");
    let rows =
        execute_stream(plan.clone(), context.task_ctx()).expect("starts").try_collect::<Vec<_>>().await.expect("runs");
    assert_eq!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>(), 10);
    let mut leaf = plan.clone();
    while let Some(child) = leaf.children().first().map(|child| Arc::clone(child)) {
        leaf = child;
    }
    let metrics = leaf.metrics().expect("metrics").aggregate_by_name().to_string();
    let read = metrics.split("bytes_scanned=").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or_default();
    assert!(read.ends_with(" K"), "only some pages of a file of 3.87 M are read: {metrics}");
}

#[tokio::test]
async fn one_file_is_cut_over_partitions_and_read_once() {
    let shop = Catalog::new();
    shop.parquet("t.parquet", "SELECT value AS id FROM generate_series(1, 100000)").await;
    let context = shop.context(&["t"]).await;
    let plan = context
        .sql("SELECT sum(id), count(id) FROM t")
        .await
        .expect("plans")
        .create_physical_plan()
        .await
        .expect("plans");
    let text = displayable(plan.as_ref()).indent(false).to_string();
    assert!(text.contains("3 groups"), "{text}");
    assert_eq!(shop.value(&["t"], "SELECT concat(sum(id), ' ', count(id)) FROM t").await, "5000050000 100000");
}

#[tokio::test]
async fn a_new_file_is_seen_by_the_next_query_and_a_changed_one_is_read_anew() {
    let shop = Catalog::new();
    shop.parquet("t/1.parquet", "SELECT 1 AS a").await;
    assert_eq!(shop.value(&["t"], "SELECT sum(a) FROM t").await, "1");
    shop.parquet("t/2.parquet", "SELECT 2 AS a").await;
    assert_eq!(shop.value(&["t"], "SELECT sum(a) FROM t").await, "3");
    shop.parquet("t/1.parquet", "SELECT 5 AS a").await;
    assert_eq!(shop.value(&["t"], "SELECT concat(sum(a), ' ', max(a)) FROM t").await, "7 5");
}

#[tokio::test]
async fn catalogs_with_files_of_one_name_size_and_time_do_not_share_footers() {
    let (first, second) = (Catalog::new(), Catalog::new());
    for (shop, value) in [(&first, 1), (&second, 2)] {
        shop.parquet("t.parquet", &format!("SELECT {value} AS a")).await;
    }
    let time = std::fs::metadata(first.path("t.parquet")).expect("there").modified().expect("a time");
    std::fs::File::options()
        .write(true)
        .open(second.path("t.parquet"))
        .expect("opens")
        .set_modified(time)
        .expect("set");
    let context = first.context(&["t"]).await;
    let count = async |table: &str, value: i32| {
        let frame = context.sql(&format!("SELECT a FROM {table} WHERE a = {value}")).await.expect("plans");
        frame.count().await.expect("runs")
    };
    assert_eq!(count("t", 1).await, 1);
    // The catalog is dropped and made anew under its old name, in the same process.
    let store = second.source.object_store().expect("a store").expect("a store");
    context.register_object_store(&Url::parse(&format!("catalog://{CATALOG}")).expect("a URL"), store);
    context.register_table("u", second.table("t").await.expect("describes").files.expect("files")).expect("registers");
    assert_eq!(count("u", 2).await, 1);
    assert_eq!(count("u", 1).await, 0);
}

#[tokio::test]
async fn the_second_description_reads_no_footer() {
    let shop = Catalog::new();
    shop.parquet("t.parquet", "SELECT 1 AS a").await;
    shop.table("t").await.expect("describes");
    let time = std::fs::metadata(shop.path("t.parquet")).expect("there").modified().expect("a time");
    let size = std::fs::metadata(shop.path("t.parquet")).expect("there").len();
    shop.write("t.parquet", vec![0_u8; size as usize]);
    std::fs::File::options().write(true).open(shop.path("t.parquet")).expect("opens").set_modified(time).expect("set");
    assert_eq!(shop.columns("t").await, "a int64");
}

#[tokio::test]
async fn reading_a_parquet_table_through_the_contract_is_refused() {
    let shop = Catalog::new();
    shop.parquet("t.parquet", "SELECT 1 AS a").await;
    assert_eq!(shop.text("t", 1).await.expect_err("fails").kind().code(), "INTERNAL");
}

#[tokio::test]
async fn names_are_kept_exactly() {
    let shop = Catalog::new();
    shop.parquet("Ö x.1.parquet", "SELECT 1 AS \"A b\", 2 AS a").await;
    let source = open(&[("location", &format!("file://{}", shop.folder.path().display()))]).expect("opens");
    let table = source.table(&TableName::new("main", "Ö x.1")).await.expect("answers").expect("there");
    assert_eq!(table.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["A b", "a"]);
    let context = shop.context(&[]).await;
    context.register_table("t", table.files.expect("files")).expect("registers");
    assert_eq!(context.sql("SELECT \"A b\" + a FROM t").await.expect("plans").count().await.expect("runs"), 1);
}

#[tokio::test]
async fn a_scan_that_travels_to_a_worker_reads_the_same_rows() {
    use datafusion_proto::bytes::{physical_plan_from_bytes, physical_plan_to_bytes};
    let shop = Catalog::new();
    shop.parquet("t/1 é.parquet", "SELECT CAST(value AS INT) AS a, 'n' || value AS b FROM generate_series(1, 1000)")
        .await;
    shop.parquet("t/2#3%.parquet", "SELECT CAST('NaN' AS DOUBLE) AS x, value AS a FROM generate_series(1001, 2000)")
        .await;
    shop.parquet("t/3.parquet", "SELECT 1.5 AS x, value AS a FROM generate_series(2001, 2100)").await;
    for query in [
        "SELECT concat(count(*), ' ', sum(a), ' ', count(b), ' ', max(b)) FROM t",
        "SELECT concat(count(*), ' ', sum(a)) FROM t WHERE x > 100 AND a < 1500",
        "SELECT concat(count(*), ' ', sum(a)) FROM t WHERE b = 'n7' OR a > 1990",
    ] {
        let context = shop.context(&["t"]).await;
        let plan = context.sql(query).await.expect("plans").create_physical_plan().await.expect("plans");
        let bytes = physical_plan_to_bytes(plan).expect("encodes");
        let worker = shop.context(&[]).await;
        let plan = physical_plan_from_bytes(&bytes, &worker.task_ctx()).expect("decodes");
        let rows =
            execute_stream(plan, worker.task_ctx()).expect("starts").try_collect::<Vec<_>>().await.expect("runs");
        let there = arrow::util::pretty::pretty_format_batches(&rows).expect("prints").to_string();
        assert_eq!(there, shop.sql(&["t"], query).await, "{query}");
        assert!(!there.contains("| 0 "), "{there}");
    }
}

#[tokio::test]
async fn a_file_that_vanishes_is_named_by_an_error_of_ours() {
    let shop = Catalog::new();
    shop.parquet("t.parquet", "SELECT value AS a FROM generate_series(1, 1000)").await;
    let context = shop.context(&["t"]).await;
    let frame = context.sql("SELECT sum(a) FROM t").await.expect("plans");
    std::fs::remove_file(shop.path("t.parquet")).expect("removed");
    let error = frame.collect().await.expect_err("fails");
    let mut cause = Some(&error as &(dyn std::error::Error + 'static));
    while let Some(error) = cause {
        if let Some(ours) = error.downcast_ref::<connector_spi::Error>() {
            assert_eq!(ours.to_string(), "NOT_FOUND: file \"t.parquet\" of catalog \"shop\" does not exist");
            return;
        }
        cause = error.source();
    }
    panic!("no error of ours in {error:?}");
}
