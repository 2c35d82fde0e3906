//! Splits: ranges of `_id` that every `_id` falls into, whatever its type, read at one point in time where the server can.

use bson::{Bson, Document, RawDocumentBuf, Timestamp, doc};
use connector_spi::{Error, Result, Scan, Split, Splits};
use futures::TryStreamExt;
use mongodb::options::SessionOptions;

use crate::client::{ANSWER, Deployment, in_time};
use crate::metadata::Facts;
use crate::request::{Part, is_served};

/// How many random `_id`s decide on the bounds of a split.
const SAMPLES: usize = 20;
/// No more than one document of so many is asked for: to find more, the server would read all.
const SPARSE: u64 = 25;

/// A split as it travels.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Token {
    pub(crate) part: Part,
    /// The point in time of a snapshot.
    pub(crate) at: Option<Timestamp>,
}

impl Token {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let wrong = |cause: String| Error::internal(format!("a split cannot be read: {cause}"));
        let raw = RawDocumentBuf::from_bytes(bytes.to_vec()).map_err(|cause| wrong(cause.to_string()))?;
        let mut token = Document::try_from(raw.as_ref()).map_err(|cause| wrong(cause.to_string()))?;
        let at = token.get_timestamp("at").ok();
        Ok(Self { part: Part { min: token.remove("min"), max: token.remove("max") }, at })
    }

    fn write(self) -> Result<Vec<u8>> {
        let mut token = Document::new();
        let bound = |name: &str, bound: Option<Bson>| bound.map(|bound| (name.to_owned(), bound));
        token.extend(bound("min", self.part.min));
        token.extend(bound("max", self.part.max));
        token.extend(bound("at", self.at.map(Bson::Timestamp)));
        let raw = RawDocumentBuf::try_from(&token);
        raw.map(RawDocumentBuf::into_bytes).map_err(|cause| Error::internal(format!("a split cannot be kept: {cause}")))
    }
}

/// Cuts a scan. Errors: what the server says of the sample.
pub(crate) async fn cut(deployment: &Deployment, scan: &Scan, wanted: usize) -> Result<Splits> {
    let facts = Facts::read(&scan.native);
    // How many documents pass a filter, the server does not say.
    let rows = facts.rows.filter(|_| scan.filters.is_empty());
    let most = facts.bytes.map_or(1, |bytes| bytes / deployment.settings.split_bytes);
    let count = wanted.min(usize::try_from(most).unwrap_or(usize::MAX));
    // An index serves the filter better than ranges of another one would.
    let served = scan.filters.iter().any(|filter| is_served(scan, &facts, filter));
    if count < 2 || !facts.has_ranges() || facts.ordered_alone || scan.limit.is_some() || served {
        return Ok(Splits::of(vec![Split { token: Vec::new(), rows, bytes: facts.bytes }]));
    }
    let sparse = facts.rows.map_or(0, |rows| rows / SPARSE);
    let samples = (count * SAMPLES).min(usize::try_from(sparse).unwrap_or(usize::MAX)).max(4 * count);
    // Without bounds there is one reader of all: slow, but it reads.
    let (bounds, at) = in_time(bounds(deployment, scan, count, samples).await)?.unwrap_or_default();
    let parts = bounds.len() as u64 + 1;
    let starts = std::iter::once(None).chain(bounds.iter().cloned().map(Some));
    let ends = bounds.iter().cloned().map(Some).chain(std::iter::once(None));
    let split = |(min, max)| {
        let token = Token { part: Part { min, max }, at }.write()?;
        let share = |all: Option<u64>| all.map(|all| all / parts);
        Ok(Split { token, rows: share(rows), bytes: share(facts.bytes) })
    };
    Ok(Splits::of(starts.zip(ends).map(split).collect::<Result<Vec<_>>>()?))
}

/// Bounds between parts of about one size, in the order of the index, and the time at which they were seen.
async fn bounds(
    deployment: &Deployment,
    scan: &Scan,
    parts: usize,
    size: usize,
) -> Result<(Vec<Bson>, Option<Timestamp>)> {
    let client = deployment.client().await?.clone();
    let collection = deployment.collection(&scan.table).await?;
    let (samples, at) = deployment
        .ask(Some(&scan.table), async move {
            let pipeline = [
                doc! { "$sample": { "size": i64::try_from(size).unwrap_or(i64::MAX) } },
                doc! { "$project": { "_id": 1 } },
                doc! { "$sort": { "_id": 1 } },
            ];
            let aggregate = || collection.aggregate(pipeline.clone()).max_time(ANSWER);
            let options = SessionOptions::builder().snapshot(true).build();
            let mut session = client.start_session().with_options(options).await?;
            let ids: mongodb::error::Result<Vec<Document>> =
                async { aggregate().session(&mut session).await?.stream(&mut session).try_collect().await }.await;
            match ids {
                Ok(ids) => Ok((ids, session.snapshot_time())),
                // A server on its own has no snapshots, and some refuse this sample in one.
                Err(_) => Ok((aggregate().await?.try_collect().await?, None)),
            }
        })
        .await?;
    let mut bounds: Vec<Bson> = Vec::with_capacity(parts);
    for at in 1..parts {
        let id = samples.get(at * samples.len() / parts).and_then(|sample| sample.get("_id"));
        if let Some(id) = id.filter(|id| bounds.last() != Some(id)) {
            bounds.push(id.clone());
        }
    }
    Ok((bounds, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_keeps_every_type_of_bound() {
        for id in [Bson::Null, Bson::Double(f64::INFINITY), Bson::Document(doc! { "a": 1 }), Bson::MinKey] {
            let token =
                Token { part: Part { min: Some(id), max: None }, at: Some(Timestamp { time: 7, increment: 9 }) };
            let bytes = token.clone().write().expect("kept");
            assert_eq!(Token::read(&bytes).expect("read"), token);
        }
        assert_eq!(Token::read(&[]).expect("read"), Token::default());
        assert!(Token::read(b"x").is_err());
    }
}
