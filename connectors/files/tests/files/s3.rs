//! Tables in a bucket of a real server, where one is named by the environment.

use connector_spi::{Error, Source, TableName};
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::fixture::{Catalog, gzip, open};

struct Server {
    endpoint: String,
    key: String,
    secret: String,
    bucket: String,
}

/// The server of the environment; without one the test says so and does nothing, but in CI it fails.
fn server() -> Option<Server> {
    let variable = |name: &str| std::env::var(format!("TRIBUTARY_TEST_S3_{name}"));
    match (variable("ENDPOINT"), variable("KEY"), variable("SECRET"), variable("BUCKET")) {
        (Ok(endpoint), Ok(key), Ok(secret), Ok(bucket)) => Some(Server { endpoint, key, secret, bucket }),
        _ => {
            assert!(
                std::env::var_os("CI").is_none(),
                "TRIBUTARY_TEST_S3_ENDPOINT, _KEY, _SECRET and _BUCKET must be set in CI"
            );
            eprintln!("skipped: TRIBUTARY_TEST_S3_ENDPOINT, _KEY, _SECRET and _BUCKET are not set");
            None
        }
    }
}

impl Server {
    fn open(&self, location: &str, more: &[(&str, &str)]) -> std::sync::Arc<dyn Source> {
        let mut pairs = vec![("location", location), ("endpoint", &self.endpoint), ("allow_http", "true")];
        if !more.iter().any(|(key, _)| *key == "access_key_id") {
            pairs.extend([("access_key_id", self.key.as_str()), ("secret_access_key", self.secret.as_str())]);
        }
        pairs.extend(more.iter().filter(|(_, value)| !value.is_empty()));
        open(&pairs).expect("opens")
    }

    fn client(&self) -> impl ObjectStore {
        AmazonS3Builder::new()
            .with_endpoint(&self.endpoint)
            .with_allow_http(true)
            .with_bucket_name(&self.bucket)
            .with_access_key_id(&self.key)
            .with_secret_access_key(&self.secret)
            .with_region("us-east-1")
            .build()
            .expect("a client")
    }
}

async fn error(source: &dyn Source) -> Error {
    source.table(&TableName::new("main", "t")).await.expect_err("fails")
}

#[tokio::test]
async fn a_prefix_of_a_bucket_is_a_catalog() {
    let Some(server) = server() else { return };
    let shop = Catalog::new();
    shop.parquet("t.parquet", "SELECT value AS id FROM generate_series(1, 10000)").await;
    let client = server.client();
    let put = async |key: &str, bytes: Vec<u8>| {
        client.put(&Path::parse(key).expect("a path"), bytes.into()).await.expect("put");
    };
    put("files test/a/t.parquet", std::fs::read(shop.path("t.parquet")).expect("reads")).await;
    put("files test/a/many/1 é+%.csv", b"x\n1\n".to_vec()).await;
    put("files test/a/many/2.csv.gz", gzip(b"x\n2\n").await).await;
    put("files test/a/many/_tmp", b"x".to_vec()).await;
    put("files test/ab.csv", b"x\nnot in the prefix\n".to_vec()).await;
    let source = server.open(&format!("s3://{}/files test/a", server.bucket), &[]);
    let entries = source.list().await.expect("lists");
    assert_eq!(entries[0].tables.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["many", "t"]);
    let lake = Catalog { folder: shop.folder, source };
    assert_eq!(lake.value(&["t"], "SELECT concat(count(*), ' ', sum(id)) FROM t WHERE id > 5").await, "9995 50004985");
    assert_eq!(lake.value(&["many"], "SELECT sum(x) FROM many").await, "3");
    assert!(lake.source.table(&TableName::new("main", "no")).await.expect("answers").is_none());

    let source = server.open(&format!("s3://{}/files test", server.bucket), &[("schemas", "true")]);
    let entries = source.list().await.expect("lists");
    assert_eq!(entries.iter().map(|schema| schema.name.as_str()).collect::<Vec<_>>(), ["a"]);
}

#[tokio::test]
async fn what_the_server_refuses_is_named() {
    let Some(server) = server() else { return };
    let missing = error(server.open("s3://no-such-bucket", &[]).as_ref()).await;
    assert_eq!(missing.to_string(), "NOT_FOUND: bucket \"no-such-bucket\" of catalog \"shop\" does not exist");
    let location = format!("s3://{}", server.bucket);
    let key =
        error(server.open(&location, &[("access_key_id", "nobody"), ("secret_access_key", "sentinel")]).as_ref()).await;
    assert_eq!(key.to_string(), "UNAUTHENTICATED: S3 refused the access key of catalog \"shop\": InvalidAccessKeyId");
    let secret =
        error(server.open(&location, &[("access_key_id", &server.key), ("secret_access_key", "sentinel")]).as_ref())
            .await;
    assert_eq!(
        secret.to_string(),
        "UNAUTHENTICATED: S3 refused the access key of catalog \"shop\": SignatureDoesNotMatch"
    );
    assert!(!format!("{secret:?} {:?}", secret.hint_text()).contains("sentinel"));
    let nobody = error(server.open(&location, &[("access_key_id", "")]).as_ref()).await;
    assert_eq!(nobody.kind().code(), "PERMISSION_DENIED", "{nobody}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_soon() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let source = open(&[("location", "s3://lake"), ("endpoint", &endpoint), ("allow_http", "true")]).expect("opens");
    let start = std::time::Instant::now();
    let error = error(source.as_ref()).await.to_string();
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    assert_eq!(
        error,
        format!(
            "UNAVAILABLE: could not reach S3 at {endpoint} for catalog \"shop\": connection refused (os error 111)"
        )
    );
}
