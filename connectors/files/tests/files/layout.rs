//! Which files are which tables, and what is never read.

use connector_spi::TableName;

use crate::fixture::{Catalog, open};

async fn names(shop: &Catalog) -> Vec<String> {
    let entries = shop.source.list().await.expect("lists");
    entries
        .iter()
        .flat_map(|schema| schema.tables.iter().map(move |table| format!("{}.{}", schema.name, table.name)))
        .collect()
}

#[tokio::test]
async fn files_and_folders_right_under_the_location_are_tables_of_main() {
    let shop = Catalog::new();
    for name in ["b.csv", "A b.parquet", "c.x.json.gz", "d/1.csv", "README.md", "_tmp/1.csv", ".hidden.csv", "é#%.csv"]
    {
        shop.write(name, "a\n1\n");
    }
    assert_eq!(names(&shop).await, ["main.A b", "main.b", "main.c.x", "main.d", "main.é#%"]);
    assert_eq!(shop.value(&["b"], "SELECT a FROM b").await, "1");
    assert_eq!(shop.text("é#%", 1).await.expect("reads")[0].num_rows(), 1);
}

#[tokio::test]
async fn with_schemas_the_first_level_is_schemas() {
    let shop = Catalog::with(&[("schemas", "true")]);
    shop.write("sales/orders.csv", "a\n1\n");
    shop.write("sales/items/1.csv", "a\n2\n");
    shop.write("stock/parts.csv", "a\n3\n");
    shop.write("loose.csv", "a\n4\n");
    assert_eq!(names(&shop).await, ["sales.items", "sales.orders", "stock.parts"]);
    assert_eq!(shop.text("sales.items", 1).await.expect("reads")[0].num_rows(), 1);
    for (schema, table) in
        [("main", "loose"), ("no", "orders"), ("sales", "no"), ("..", "x"), ("sales", "../stock/parts")]
    {
        assert!(
            shop.source.table(&TableName::new(schema, table)).await.expect("answers").is_none(),
            "{schema}.{table}"
        );
    }
}

#[tokio::test]
async fn a_table_that_is_not_there_is_none() {
    let shop = Catalog::new();
    shop.write("orders.csv", "a\n1\n");
    for table in ["ordrs", "Orders", "orders.csv", "", ".", "..", "/etc/passwd", "../x", "_x"] {
        assert!(shop.source.table(&TableName::new("main", table)).await.expect("answers").is_none(), "{table}");
    }
    assert!(shop.source.table(&TableName::new("other", "orders")).await.expect("answers").is_none());
}

#[tokio::test]
async fn two_files_of_one_name_are_refused_when_used() {
    let shop = Catalog::new();
    shop.write("a.csv", "x\n1\n");
    shop.write("a.json", "{\"x\":1}\n");
    assert_eq!(names(&shop).await, ["main.a"]);
    let error =
        "BAD_DATA: table \"main.a\" of catalog \"shop\" is ambiguous: \"a.csv\" and \"a.json\" both have this name";
    assert_eq!(shop.error("a").await, error);
}

#[tokio::test]
async fn a_folder_holds_files_of_one_format_only() {
    let shop = Catalog::new();
    shop.write("mixed/1.csv", "x\n1\n");
    shop.write("mixed/2.json", "{}\n");
    shop.write("odd/1.csv", "x\n1\n");
    shop.write("odd/notes.txt", "x");
    shop.write("hive/day=1/1.csv", "x\n1\n");
    std::fs::create_dir(shop.path("empty")).expect("made");
    for (table, error) in [
        (
            "mixed",
            "BAD_DATA: table folder \"mixed\" of catalog \"shop\" mixes formats: \"mixed/1.csv\" is CSV, \"mixed/2.json\" is NDJSON",
        ),
        (
            "odd",
            "BAD_DATA: table folder \"odd\" of catalog \"shop\" has file \"odd/notes.txt\", which is not Parquet, CSV or NDJSON by its name",
        ),
        ("hive", "UNSUPPORTED: table folder \"hive\" of catalog \"shop\" has partition folders such as \"day=1\""),
        ("empty", "BAD_DATA: table folder \"empty\" of catalog \"shop\" has no files"),
    ] {
        assert_eq!(shop.error(table).await, error);
    }
}

#[tokio::test]
async fn a_missing_location_is_named() {
    let source = open(&[("location", "/no/such/folder")]).expect("opens without looking");
    let error = source.list().await.expect_err("fails").to_string();
    assert_eq!(error, "NOT_FOUND: folder \"/no/such/folder\" of catalog \"shop\" does not exist");
    let error = source.table(&TableName::new("main", "x")).await.expect_err("fails").to_string();
    assert_eq!(error, "NOT_FOUND: folder \"/no/such/folder\" of catalog \"shop\" does not exist");
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_never_leads_out_of_the_location() {
    use std::os::unix::fs::symlink;

    use object_store::ObjectStoreExt;
    use object_store::path::Path;

    let outside = tempfile::TempDir::new().expect("a folder");
    std::fs::write(outside.path().join("secret.csv"), "password\nsentinel\n").expect("written");
    let shop = Catalog::new();
    shop.write("real/1.csv", "a\n1\n");
    shop.write("part/1.csv", "a\n1\n");
    symlink(outside.path().join("secret.csv"), shop.path("secret.csv")).expect("linked");
    symlink(outside.path(), shop.path("folder")).expect("linked");
    symlink(outside.path().join("secret.csv"), shop.path("part/2.csv")).expect("linked");
    symlink(shop.path("real"), shop.path("inside")).expect("linked");
    symlink("/no/such/file", shop.path("broken.csv")).expect("linked");
    std::fs::create_dir(shop.path("circle")).expect("made");
    symlink(shop.path("circle"), shop.path("circle/again")).expect("linked");

    assert_eq!(names(&shop).await, ["main.circle", "main.inside", "main.part", "main.real"]);
    assert_eq!(shop.value(&["inside"], "SELECT a FROM inside").await, "1");
    let out = "it is a link that leads out of the location";
    for (table, file, reason) in [
        ("secret", "secret.csv", out),
        ("folder", "folder", out),
        ("part", "part/2.csv", out),
        ("broken", "broken.csv", "it is a link that leads nowhere"),
        ("circle", "circle/again", "it is a link in a circle"),
    ] {
        let expected = format!("PERMISSION_DENIED: cannot read file \"{file}\" of catalog \"shop\": {reason}");
        assert_eq!(shop.error(table).await, expected);
    }
    // Nor does the store that the engine is given, whatever it is asked for.
    let store = shop.source.object_store().expect("a store").expect("a store");
    for path in ["x/secret.csv", "x/folder/secret.csv", "x/part/2.csv", "x", "x/real"] {
        let answer = store.get(&Path::parse(path).expect("a path")).await;
        assert!(answer.is_err(), "{path} is refused");
        let answer = store.get_ranges(&Path::parse(path).expect("a path"), &[0..4, 4..8]).await;
        assert!(answer.is_err(), "{path} is refused");
    }
    for path in ["x/../secret.csv", "../etc/passwd", "x/./real/1.csv"] {
        assert!(Path::parse(path).is_err(), "{path} is no path");
    }
    // Percent signs are letters of names, not another spelling of dots.
    for path in ["x/%2e%2e/secret.csv", "x/%2fetc%2fpasswd"] {
        assert!(store.get(&Path::parse(path).expect("a path")).await.is_err(), "{path} is refused");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_pipe_is_no_file_and_nothing_waits_for_it() {
    let shop = Catalog::new();
    let made = std::process::Command::new("mkfifo").arg(shop.path("t.csv")).status().expect("mkfifo runs");
    assert!(made.success());
    assert_eq!(
        shop.error("t").await,
        "PERMISSION_DENIED: cannot read file \"t.csv\" of catalog \"shop\": it is not a plain file"
    );
}

#[tokio::test]
async fn the_catalog_is_read_only() {
    use object_store::ObjectStoreExt;
    let shop = Catalog::new();
    let store = shop.source.object_store().expect("a store").expect("a store");
    let path = object_store::path::Path::from("x/new.csv");
    assert!(store.put(&path, "a\n".into()).await.is_err());
    assert!(store.delete(&path).await.is_err());
    assert!(std::fs::read_dir(shop.folder.path()).expect("reads").next().is_none());
}
