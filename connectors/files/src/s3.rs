//! The client of S3: explicit options only, and every wait bounded.

use std::sync::Arc;
use std::time::Duration;

use connector_spi::{Error, Result};
use object_store::aws::AmazonS3Builder;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use crate::config::Bucket;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);
const RETRIES: usize = 3;

pub(crate) fn client(bucket: &Bucket) -> Result<Arc<dyn ObjectStore>> {
    let backoff =
        BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(3), base: 2.0 };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&bucket.name)
        .with_region(&bucket.region)
        .with_allow_http(bucket.allow_http)
        // Names with dots do not fit the certificate of a host of their own.
        .with_virtual_hosted_style_request(bucket.endpoint.is_none() && !bucket.name.contains('.'))
        .with_retry(RetryConfig { backoff, max_retries: RETRIES, retry_timeout: RETRY_TIMEOUT })
        .with_client_options(
            ClientOptions::new()
                .with_allow_http(bucket.allow_http)
                .with_connect_timeout(CONNECT_TIMEOUT)
                .with_timeout(REQUEST_TIMEOUT),
        );
    if let Some(endpoint) = &bucket.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    builder = match &bucket.keys {
        // Without keys the client would ask the environment and the instance for some.
        None => builder.with_skip_signature(true),
        Some(keys) => {
            let builder = builder.with_access_key_id(&keys.id).with_secret_access_key(keys.secret.expose());
            match &keys.token {
                Some(token) => builder.with_token(token.expose()),
                None => builder,
            }
        }
    };
    let store =
        builder.build().map_err(|error| Error::invalid(format!("the S3 options do not make a client: {error}")))?;
    Ok(Arc::new(store))
}
