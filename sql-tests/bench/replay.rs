//! A server of MongoDB's wire protocol that replays batches made beforehand, and readers of it: what a client can take in, whatever a server can give.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};
use bson::oid::ObjectId;
use bson::{Bson, DateTime, Decimal128, Document, RawArrayBuf, RawDocument, RawDocumentBuf, doc, rawdoc};
use connector_mongodb::Mongodb;
use connector_spi::{Connector, Options, ReadContext, ReadCounters, Scan, TableName};
use futures::TryStreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Documents of a batch: about 16 MB, as servers send them.
const BATCH: usize = 50_000;

/// Usage: replay serve DOCUMENTS (prints its address), or replay limit|ours|document URL (prints how many documents it read).
#[tokio::main]
async fn main() -> Result<()> {
    let usage = "usage: replay serve DOCUMENTS | replay limit|ours|document URL";
    let mut args = std::env::args().skip(1);
    let (what, with) = (args.next().context(usage)?, args.next().context(usage)?);
    match what.as_str() {
        "serve" => serve(with.parse()?).await,
        "limit" | "document" => {
            let collection =
                mongodb::Client::with_uri_str(&with).await?.database("bench").collection::<Document>("orders");
            let mut read = 0;
            if what == "limit" {
                let mut batches = collection.find(doc! {}).batch().await?;
                while let Some(batch) = batches.try_next().await? {
                    read += batch.doc_slices()?.into_iter().count();
                }
            } else {
                let mut documents = collection.find(doc! {}).await?;
                while let Some(document) = documents.try_next().await? {
                    read += usize::from(!document.is_empty());
                }
            }
            println!("{read}");
            Ok(())
        }
        "ours" => {
            let options =
                Options::check(Mongodb.options(), BTreeMap::from([("url".to_owned(), with.as_str().into())]))?;
            let source = Mongodb.open("bench", &options)?;
            let name = TableName::new("bench", "orders");
            let table = source.table(&name).await?.context("no such table")?;
            let scan = Scan::new("bench", name, &table);
            let split = source.splits(&scan, 1).await?.splits.remove(0);
            let context = ReadContext { batch_rows: 8192, counters: Arc::new(ReadCounters::default()) };
            let mut rows = 0;
            let mut batches = source.read(&scan, &split, context).await?;
            while let Some(batch) = batches.try_next().await? {
                rows += batch.num_rows();
            }
            println!("{rows}");
            Ok(())
        }
        _ => bail!(usage),
    }
}

/// Documents like TPC-H's orders.
fn document(at: usize) -> Document {
    let mut id = [0; 12];
    id[4..].copy_from_slice(&(at as u64).to_be_bytes());
    let price: Decimal128 =
        format!("{}.{:02}", at * 37 % 500_000, at % 100).parse().unwrap_or(Decimal128::from_bytes([0; 16]));
    let pick = |from: [&'static str; 3]| from[at % 3];
    doc! {
        "_id": ObjectId::from_bytes(id), "o_orderkey": at as i64 * 4, "o_custkey": (at * 31 % 150_000) as i64, "o_orderstatus": pick(["O", "F", "P"]),
        "o_totalprice": price, "o_orderdate": DateTime::from_millis(694_224_000_000 + (at as i64 % 2400) * 86_400_000), "o_weight": at as f64 / 7.0,
        "o_orderpriority": pick(["1-URGENT", "2-HIGH", "5-LOW"]), "o_clerk": format!("Clerk#{:09}", at % 1000), "o_shippriority": 0_i32,
        "o_comment": &"final deposits sleep furiously after the carefully regular packages"[..19 + at % 48],
    }
}

struct Recorded {
    /// Replies to find and getMore, in order; the last one says that there is no more.
    replies: Vec<RawDocumentBuf>,
    /// A few documents, for samples.
    few: RawDocumentBuf,
    documents: usize,
    bytes: usize,
    /// Which reply follows; there is one reader at a time, over any of its connections.
    next: AtomicUsize,
}

fn recorded(documents: usize) -> Result<Recorded> {
    let (mut replies, mut bytes) = (Vec::new(), 0);
    let reply = |name: &str, from: usize, to: usize, id: i64| -> Result<RawDocumentBuf> {
        let mut items = RawArrayBuf::new();
        for at in from..to {
            items.push(RawDocumentBuf::try_from(&document(at))?);
        }
        let mut cursor = RawDocumentBuf::new();
        cursor.append(<&bson::raw::CStr>::try_from(name)?, items);
        cursor.append(bson::raw::cstr!("id"), id);
        cursor.append(bson::raw::cstr!("ns"), "bench.orders");
        Ok(rawdoc! { "cursor": cursor, "ok": 1.0 })
    };
    let mut from = 0;
    while from < documents {
        let to = documents.min(from + if from == 0 { 101 } else { BATCH });
        let made =
            reply(if from == 0 { "firstBatch" } else { "nextBatch" }, from, to, if to == documents { 0 } else { 7 })?;
        bytes += made.as_bytes().len();
        replies.push(made);
        from = to;
    }
    Ok(Recorded {
        replies,
        few: reply("firstBatch", 0, 200.min(documents), 0)?,
        documents,
        bytes,
        next: AtomicUsize::new(0),
    })
}

async fn serve(documents: usize) -> Result<()> {
    let recorded = Arc::new(recorded(documents)?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("mongodb://{}/?directConnection=true {}", listener.local_addr()?, recorded.bytes);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let recorded = Arc::clone(&recorded);
        // A client that goes away ends its own connection.
        tokio::spawn(async move { connection(stream, &recorded).await.ok() });
    }
}

async fn connection(mut stream: TcpStream, recorded: &Recorded) -> Result<()> {
    loop {
        let mut header = [0; 16];
        stream.read_exact(&mut header).await?;
        let number = |at: usize| i32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (length, id, code) = (usize::try_from(number(0))?, number(4), number(12));
        let mut body = vec![0; length.checked_sub(16).context("a short message")?];
        stream.read_exact(&mut body).await?;
        // OP_QUERY begins with flags, a name, and two numbers; OP_MSG with flags and the kind of its section.
        let start = match code {
            2004 => 4 + body[4..].iter().position(|byte| *byte == 0).context("no name")? + 1 + 8,
            _ => 5,
        };
        let end = start + i32::from_le_bytes(body[start..start + 4].try_into()?) as usize;
        let command = RawDocument::from_bytes(&body[start..end])?;
        let answer = answer(command, recorded)?;
        let answer = answer.as_ref();
        let before: &[u8] =
            if code == 2004 { &[8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] } else { &[0, 0, 0, 0, 0] };
        if code == 2004 {
            let mut before = before.to_vec();
            before[16] = 1;
            send(&mut stream, id, 1, &before, answer).await?;
        } else {
            send(&mut stream, id, 2013, before, answer).await?;
        }
    }
}

async fn send(stream: &mut TcpStream, to: i32, code: i32, before: &[u8], body: &RawDocument) -> Result<()> {
    let length = i32::try_from(16 + before.len() + body.as_bytes().len())?;
    let mut head = Vec::with_capacity(64);
    for number in [length, 1, to, code] {
        head.extend_from_slice(&number.to_le_bytes());
    }
    head.extend_from_slice(before);
    stream.write_all(&head).await?;
    Ok(stream.write_all(body.as_bytes()).await?)
}

enum Answer<'a> {
    Made(RawDocumentBuf),
    Recorded(&'a RawDocumentBuf),
}

impl Answer<'_> {
    fn as_ref(&self) -> &RawDocument {
        match self {
            Self::Made(document) => document,
            Self::Recorded(document) => document,
        }
    }
}

fn answer<'a>(command: &RawDocument, recorded: &'a Recorded) -> Result<Answer<'a>> {
    let (name, _) = command.iter().next().context("an empty command")??;
    let listed =
        |entry: Document| doc! { "cursor": { "firstBatch": [entry], "id": 0_i64, "ns": "bench.orders" }, "ok": 1.0 };
    let made = match name.as_str() {
        "hello" | "isMaster" | "ismaster" => doc! {
            "helloOk": true, "isWritablePrimary": true, "ismaster": true, "maxBsonObjectSize": 16 << 20, "maxMessageSizeBytes": 48_000_000,
            "maxWriteBatchSize": 100_000, "localTime": DateTime::now(), "logicalSessionTimeoutMinutes": 30, "minWireVersion": 0,
            "maxWireVersion": 21, "readOnly": false, "ok": 1.0,
        },
        "listCollections" => {
            listed(doc! { "name": "orders", "type": "collection", "options": {}, "info": { "readOnly": false } })
        }
        "listIndexes" => listed(doc! { "v": 2, "key": { "_id": 1 }, "name": "_id_" }),
        "collStats" => doc! { "count": recorded.documents as i64, "size": recorded.bytes as i64, "ok": 1.0 },
        "aggregate" => return Ok(Answer::Recorded(&recorded.few)),
        "find" if command.get("limit")?.is_some() => return Ok(Answer::Recorded(&recorded.few)),
        "find" => {
            recorded.next.store(1, Ordering::Relaxed);
            return recorded.replies.first().map(Answer::Recorded).context("nothing recorded");
        }
        "getMore" => {
            let at = recorded.next.fetch_add(1, Ordering::Relaxed);
            return recorded.replies.get(at).map(Answer::Recorded).context("read to the end");
        }
        _ => doc! { "ok": Bson::Double(1.0) },
    };
    Ok(Answer::Made(RawDocumentBuf::try_from(&made)?))
}
