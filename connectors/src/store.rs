//! Object stores of file catalogs, built on each node from the catalog; never from SQL text.

use std::sync::Arc;

use connector_spi::Error;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreRegistry;
use object_store::ObjectStore;
use url::Url;

use crate::Catalogs;
use crate::error::to_datafusion;

/// Resolves `catalog://<name>` and nothing else: no `file://`, no `http://`.
#[derive(Debug)]
pub(crate) struct CatalogStores {
    pub(crate) catalogs: Arc<Catalogs>,
}

impl ObjectStoreRegistry for CatalogStores {
    fn register_store(&self, _: &Url, _: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        let refused = || {
            Error::new(connector_spi::ErrorKind::PermissionDenied, format!("location \"{url}\" cannot be read"))
                .hint("Files are read through catalogs; CREATE CATALOG … USING files makes one.")
        };
        if url.scheme() != "catalog" {
            return Err(to_datafusion(refused()));
        }
        let name = url.host_str().unwrap_or_default();
        let source = self.catalogs.get(name).and_then(|catalog| catalog.source()).map_err(to_datafusion)?;
        source.object_store().map_err(to_datafusion)?.ok_or_else(|| to_datafusion(refused()))
    }
}
