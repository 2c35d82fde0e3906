//! Cursors, sessions and servers that go away while a reader has not read all.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bson::{Document, RawDocument, doc};
use connector_spi::{BatchStream, Error, ErrorKind, Scan, Source};
use futures::StreamExt;

use crate::fixture::{Fixture, context, fixture, open, said};
use crate::proxy;

/// Nothing here takes longer, but for a server's start.
const MOST: Duration = Duration::from_secs(30);

/// The first question for more of a cursor waits until it is let go.
struct Held {
    url: String,
    question: Receiver<Vec<u8>>,
    go: SyncSender<()>,
}

async fn held(url: &str) -> Held {
    let ((said, question), (go, gone)) = (sync_channel(1), sync_channel(1));
    let gone = Mutex::new(Some(gone));
    let wait = move |asked: &[u8]| {
        if proxy::holds(asked, b"getMore\0")
            && let Some(gone) = gone.lock().expect("a lock").take()
        {
            said.send(asked.to_vec()).expect("a test");
            gone.recv_timeout(MOST * 2).expect("a word of the test");
        }
        true
    };
    Held { url: proxy::between(url, wait, |_| {}).await, question, go }
}

impl Held {
    /// A reader that has its first rows and waits for more, and what it asks.
    async fn reader(self, fixture: &Fixture) -> (Scan, Arc<dyn Source>, BatchStream, Vec<u8>, SyncSender<()>) {
        let scan = fixture.scan("t").await;
        let split = fixture.source.splits(&scan, 1).await.expect("a split").splits.remove(0);
        let source = open(&self.url, &[]);
        let mut rows = source.read(&scan, &split, context(8)).await.expect("a stream");
        assert_eq!(rows.next().await.expect("a batch").expect("rows").num_rows(), 8);
        let question = self.question;
        let asked = tokio::task::spawn_blocking(move || question.recv_timeout(MOST).expect("a question"));
        (scan, source, rows, asked.await.expect("a question"), self.go)
    }
}

/// All rows of a stream of which eight are read, or the error that it ends with.
async fn rest(mut rows: BatchStream) -> Result<usize, Error> {
    let mut read = 8;
    while let Some(batch) = tokio::time::timeout(MOST, rows.next()).await.expect("an end in time") {
        read += batch?.num_rows();
    }
    Ok(read)
}

/// The error with which a stream ends before its rows do.
async fn lost(rows: BatchStream) -> Error {
    let error = rest(rows).await.expect_err("not all of it");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    error
}

fn documents() -> Vec<Document> {
    (0..2000).map(|n| doc! { "_id": n, "pad": "x".repeat(50) }).collect()
}

#[tokio::test]
async fn a_cursor_that_is_killed_is_an_error_and_never_a_short_answer() {
    let Some(fixture) = fixture("killed").await else { return };
    fixture.fill("t", documents()).await;
    let (scan, source, rows, asked, go) = held(&fixture.url).await.reader(&fixture).await;
    let id = proxy::after(&asked, b"getMore\0").and_then(|rest| rest.first_chunk().copied()).expect("a cursor");
    let kill = doc! { "killCursors": "t", "cursors": [i64::from_le_bytes(id)] };
    let killed = fixture.database.run_command(kill).await.expect("an answer");
    assert!(killed.get_array("cursorsKilled").is_ok_and(|ids| ids.len() == 1), "{killed}");
    go.send(()).expect("a proxy");
    let error = lost(rows).await;
    let text = "the read of table \"conformance_killed.t\" was ended by the server: ";
    assert!(error.message().starts_with(text) && error.hint_text().is_some(), "{error:?}");
    assert_eq!(crate::fixture::read(&*source, &scan).await.expect("read").num_rows(), 2000);
}

#[tokio::test]
async fn a_session_that_is_killed_is_an_error_and_never_a_short_answer() {
    let Some(fixture) = fixture("ended").await else { return };
    fixture.fill("t", documents()).await;
    let (scan, source, rows, asked, go) = held(&fixture.url).await.reader(&fixture).await;
    let session = proxy::after(&asked, b"\x03lsid\0").expect("a session");
    let length = i32::from_le_bytes(*session.first_chunk().expect("a length"));
    let session = RawDocument::from_bytes(&session[..length as usize]).expect("a document");
    let kill = doc! { "killSessions": [Document::try_from(session).expect("a document")] };
    fixture.client.database("admin").run_command(kill).await.expect("killed");
    go.send(()).expect("a proxy");
    // The server of the tests lets the cursors of such a session live.
    match rest(rows).await {
        Ok(read) => assert_eq!(read, 2000),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
            assert!(error.message().contains("table \"conformance_ended.t\""), "{error:?}");
        }
    }
    assert_eq!(crate::fixture::read(&*source, &scan).await.expect("read").num_rows(), 2000);
}

/// A server of this test alone.
struct Server {
    folder: tempfile::TempDir,
    program: String,
    url: String,
    process: Child,
}

fn process(program: &str, url: &str, folder: &tempfile::TempDir) -> Child {
    let port = url.split(['/', ':']).nth(4).expect("a port");
    Command::new(program)
        .args(["--host", "127.0.0.1", "--port", port, "--cache-size", "64M", "--log-level", "ERROR", "--storage-path"])
        .arg(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a server")
}

impl Server {
    fn start() -> Option<Self> {
        let program = format!("{}/venv/bin/secantusd-py", said("TRIBUTARY_TEST_STATE")?);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("mongodb://{}/?directConnection=true", listener.local_addr().expect("an address"));
        drop(listener);
        let folder = tempfile::tempdir().expect("a folder");
        let process = process(&program, &url, &folder);
        Some(Self { folder, program, url, process })
    }

    /// A database, as soon as the server answers.
    async fn fixture(&self, name: &str) -> Fixture {
        let patient = format!("{}&serverSelectionTimeoutMS=60000", self.url);
        Fixture::at(patient, name).await
    }

    fn kill(&mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("gone");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_server_that_dies_is_an_error_and_the_next_query_works_when_it_is_back() {
    let Some(mut server) = Server::start() else { return };
    let fixture = server.fixture("dies").await;
    fixture.fill("t", documents()).await;
    let (scan, source, rows, _, go) = held(&server.url).await.reader(&fixture).await;
    server.kill();
    go.send(()).expect("a proxy");
    let error = lost(rows).await;
    assert!(error.message().contains("while table \"conformance_dies.t\" was read"), "{error:?}");
    let start = Instant::now();
    let error = source.table(&fixture.name("t")).await.expect_err("nobody");
    assert!(error.kind() == ErrorKind::Unavailable && start.elapsed() < Duration::from_secs(12), "{error:?}");
    server.process = process(&server.program, &server.url, &server.folder);
    let (start, rows) = (
        Instant::now(),
        loop {
            match crate::fixture::read(&*source, &scan).await {
                Ok(rows) => break rows,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}"),
            }
            assert!(start.elapsed() < MOST * 2, "the server does not come back");
            tokio::time::sleep(Duration::from_millis(100)).await;
        },
    );
    println!("back after {:?}", start.elapsed());
    assert_eq!(rows.num_rows(), 2000);
}

#[tokio::test]
async fn a_server_that_no_longer_answers_is_an_error_within_seconds() {
    // Its cursor stays open, which other tests would count.
    let Some(server) = Server::start() else { return };
    let fixture = server.fixture("frozen").await;
    fixture.fill("t", documents()).await;
    let frozen = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let ice = Arc::clone(&frozen);
    let asked = move |asked: &[u8]| {
        let more = proxy::holds(asked, b"getMore\0");
        !ice.fetch_or(more, std::sync::atomic::Ordering::SeqCst) && !more
    };
    // It is asked how it is more often than by default.
    let url = proxy::between(&fixture.url, asked, |_| {}).await + "&heartbeatFrequencyMS=500&connectTimeoutMS=1000";
    let source = open(&url, &[]);
    let scan = fixture.scan("t").await;
    let split = fixture.source.splits(&scan, 1).await.expect("a split").splits.remove(0);
    let mut rows = source.read(&scan, &split, context(8)).await.expect("a stream");
    assert_eq!(rows.next().await.expect("a batch").expect("rows").num_rows(), 8);
    let error = lost(rows).await;
    assert!(error.message().contains("table \"conformance_frozen.t\""), "{error:?}");
    frozen.store(false, std::sync::atomic::Ordering::SeqCst);
}

#[tokio::test]
async fn an_answer_that_ends_in_its_middle_is_an_error() {
    // Its cursor stays open, which other tests would count.
    let Some(server) = Server::start() else { return };
    let fixture = server.fixture("halved").await;
    fixture.fill("t", documents()).await;
    let half = |answer: &mut Vec<u8>| {
        if proxy::holds(answer, b"nextBatch\0") {
            answer.truncate(answer.len() / 2);
        }
    };
    let source = open(&proxy::between(&fixture.url, |_| true, half).await, &[]);
    let scan = fixture.scan("t").await;
    let split = fixture.source.splits(&scan, 1).await.expect("a split").splits.remove(0);
    let mut rows = source.read(&scan, &split, context(8)).await.expect("a stream");
    assert_eq!(rows.next().await.expect("a batch").expect("rows").num_rows(), 8);
    let error = lost(rows).await;
    assert!(error.message().contains("while table \"conformance_halved.t\" was read"), "{error:?}");
}
