//! The documents that are looked at before a collection's columns are decided.

use bson::{Document, RawBsonRef, RawDocumentBuf, doc};
use connector_spi::{Result, TableName};
use futures::TryStreamExt;
use mongodb::Collection;
use mongodb::raw_batch_cursor::RawBatchCursor;

use crate::client::{ANSWER, Deployment, in_time};
use crate::evidence::Seen;
use crate::metadata::Facts;

/// The first and the last documents of a large collection are looked at beside random ones.
const ENDS: u32 = 50;
const NO_RANDOM: &str = "the first by _id: random documents took too long to find; ";
const NO_ORDER: &str = "the first that came: the first by _id took too long to find; ";

/// Looks at all documents of a small collection; of a large one at the first, the last, and random ones. Where the server
/// does not find those in time, at more of the first; where it does not find the first, at those that it gives.
///
/// Errors: what the server says; `TIMEOUT` where it gives none.
pub(crate) async fn take(
    deployment: &Deployment,
    name: &TableName,
    collection: &Collection<RawDocumentBuf>,
    facts: &Facts,
) -> Result<Seen> {
    let wanted = deployment.settings.sample;
    let few = facts.rows.is_none_or(|rows| rows <= u64::from(wanted));
    let looker = Looker { deployment, name, collection };
    if few || !facts.has_ranges() {
        return looker.first(Seen::default(), Document::new(), wanted, 0).await;
    }
    let ends = ENDS.min(wanted.div_ceil(4));
    let Some(first) = in_time(looker.first(Seen::default(), doc! { "_id": 1 }, ends, 0).await)? else {
        let mut seen = looker.first(Seen::default(), Document::new(), wanted, 0).await?;
        seen.alone = Some(NO_ORDER);
        return Ok(seen);
    };
    let known = first.fields.len();
    let others = async {
        let both = looker.first(first.clone(), doc! { "_id": -1 }, ends, 0).await?;
        looker.random(both, wanted.saturating_sub(2 * ends).max(1)).await
    };
    let mut seen = match in_time(others.await)? {
        Some(seen) => seen,
        None => {
            let more = looker.first(first.clone(), doc! { "_id": 1 }, (wanted - ends).max(1), ends).await;
            let mut seen = in_time(more)?.unwrap_or(first);
            seen.alone = Some(NO_RANDOM);
            seen
        }
    };
    // Whichever documents were chosen, the columns have one order.
    seen.order_from(known);
    Ok(seen)
}

struct Looker<'a> {
    deployment: &'a Deployment,
    name: &'a TableName,
    collection: &'a Collection<RawDocumentBuf>,
}

impl Looker<'_> {
    /// Adds so many documents of an order, after some that are passed over.
    async fn first(&self, mut seen: Seen, sort: Document, limit: u32, skip: u32) -> Result<Seen> {
        let collection = self.collection.clone();
        let work = async move {
            let find = collection.find(Document::new()).skip(u64::from(skip)).limit(i64::from(limit));
            let find = if sort.is_empty() { find } else { find.sort(sort) };
            look(&mut seen, find.max_time(ANSWER).batch().await?, u32::MAX).await?;
            Ok(seen)
        };
        self.deployment.ask(Some(self.name), work).await
    }

    /// Adds so many random documents.
    async fn random(&self, mut seen: Seen, size: u32) -> Result<Seen> {
        let collection = self.collection.clone();
        let work = async move {
            let pipeline = [doc! { "$sample": { "size": i64::from(size) } }];
            look(&mut seen, collection.aggregate(pipeline).max_time(ANSWER).batch().await?, u32::MAX).await?;
            Ok(seen)
        };
        self.deployment.ask(Some(self.name), work).await
    }
}

/// Adds the documents of a cursor, batch by batch, until so many were seen in all.
pub(crate) async fn look(seen: &mut Seen, mut batches: RawBatchCursor, most: u32) -> mongodb::error::Result<()> {
    while seen.times < u64::from(most)
        && let Some(batch) = batches.try_next().await?
    {
        for item in batch.doc_slices()? {
            if let RawBsonRef::Document(document) = item? {
                seen.document(document).map_err(mongodb::error::Error::custom)?;
            }
        }
    }
    Ok(())
}
