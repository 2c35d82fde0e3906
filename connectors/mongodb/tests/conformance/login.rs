//! Who may read what, over TLS, and what is said to whom may not: against a server that asks for logins.

use std::time::{Duration, Instant};

use connector_spi::{Error, ErrorKind, TableName};

use crate::fixture::{all, open, read, said, scan};

/// What must not be shown, as the url writes it and as it is.
const PASSWORDS: [&str; 3] = ["pa%3Ass%2Fw%40rd", "pa:ss/w@rd", "sentinel"];

/// The server, as it is reached without a user.
struct Login {
    /// `user:password`.
    reader: String,
    address: String,
    /// What follows the address: TLS with the right authority.
    options: String,
    /// Where the certificates are.
    folder: String,
}

fn login() -> Option<Login> {
    let (url, state) = (said("TRIBUTARY_TEST_MONGODB_LOGIN_URL")?, said("TRIBUTARY_TEST_STATE")?);
    let (reader, rest) = url.strip_prefix("mongodb://").and_then(|url| url.split_once('@')).expect("a user");
    let (address, options) = rest.split_once('/').expect("options");
    let (reader, address) = (reader.to_owned(), address.to_owned());
    Some(Login { reader, address, options: format!("/{options}"), folder: format!("{state}/tls") })
}

impl Login {
    /// As `user:password@`, or nobody.
    fn url(&self, who: &str) -> String {
        format!("mongodb://{who}{}{}", self.address, self.options)
    }

    fn reader(&self) -> String {
        self.url(&format!("{}@", self.reader))
    }

    /// The url of who shows a certificate.
    fn with_certificate(&self, name: &str) -> String {
        let url = self.url("").replace("&authSource=admin", "&authSource=%24external&authMechanism=MONGODB-X509");
        format!("{url}&tlsCertificateKeyFile={}", format!("{}/{name}-login.pem", self.folder).replace('/', "%2F"))
    }

    /// The error of a table that cannot be described; it comes in time, names the server, and shows no password.
    async fn refused(&self, url: &str, more: &[(&str, serde_json::Value)], table: &TableName) -> Error {
        let start = Instant::now();
        let error = open(url, more).table(table).await.expect_err("refused");
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
        let shown = format!("{error:?} {error} {:?} {:?}", error.hint_text(), error.detail_text());
        assert!(!PASSWORDS.iter().any(|password| shown.contains(password)), "{shown}");
        println!("{shown}");
        error
    }

    /// The error of a login.
    async fn no_login(&self, url: &str, more: &[(&str, serde_json::Value)]) {
        let error = self.refused(url, more, &book()).await;
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
        assert_eq!(error.message(), format!("MongoDB at {} refused the login", self.address));
        assert_eq!(error.hint_text(), Some("Check user, password and authSource of the catalog."));
    }
}

fn book() -> TableName {
    TableName::new("library", "book")
}

#[tokio::test]
async fn the_right_password_reads_what_its_user_may_and_nothing_else() {
    let Some(login) = login() else { return };
    let source = open(&login.reader(), &[("database", "library".into())]);
    let schemas = source.list().await.expect("listed");
    assert_eq!(schemas.iter().map(|schema| schema.name.as_str()).collect::<Vec<_>>(), ["library"]);
    let rows = read(&*source, &scan(&*source, book()).await).await.expect("read");
    assert_eq!(all(&rows, "title"), ["book 0", "book 1", "book 2"]);
    assert!(source.table(&TableName::new("library", "nothing")).await.expect("asked").is_none());
    // A user and a password of the catalog stand in place of the url's.
    let (user, password) = ("auditor".into(), PASSWORDS[1].into());
    let source = open(&login.url("nobody:sentinel@"), &[("user", user), ("password", password)]);
    assert_eq!(read(&*source, &scan(&*source, book()).await).await.expect("read").num_rows(), 3);
    for table in ["secret", "nothing"] {
        let error = login.refused(&login.reader(), &[], &TableName::new("vault", table)).await;
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
        assert!(error.message().contains("vault") && error.message().contains(&login.address), "{error:?}");
        assert!(error.hint_text().is_some_and(|hint| hint.contains("\"read\"")), "{error:?}");
    }
}

#[tokio::test]
async fn a_database_that_does_not_exist_has_no_tables_for_whom_may_look() {
    let Some(login) = login() else { return };
    let source = open(&login.url(&format!("{}@", login.reader.replace("reader", "auditor"))), &[]);
    assert!(source.table(&TableName::new("nowhere", "t")).await.expect("asked").is_none());
    assert!(source.table(&TableName::new("vault", "secret")).await.expect("asked").is_some());
}

#[tokio::test]
async fn a_wrong_login_is_refused_and_no_password_is_shown() {
    let Some(login) = login() else { return };
    for who in ["reader:sentinel@", "reader:@", "nobody:sentinel@", "auditor:sentinel%2F@"] {
        login.no_login(&login.url(who), &[]).await;
    }
    login.no_login(&login.reader(), &[("password", "sentinel".into())]).await;
    login.no_login(&login.reader(), &[("user", "nobody".into())]).await;
    for source in ["library", "nowhere", "%24external"] {
        let url = login.reader().replace("authSource=admin", &format!("authSource={source}"));
        login.no_login(&url, &[]).await;
    }
}

#[tokio::test]
async fn who_gives_no_login_is_told_that_one_is_needed() {
    let Some(login) = login() else { return };
    let error = login.refused(&login.url(""), &[], &book()).await;
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
    assert_eq!(error.message(), format!("MongoDB at {} asks for a login", login.address));
    assert_eq!(error.hint_text(), Some("Give the catalog a user and a password."));
}

#[tokio::test]
async fn a_certificate_is_a_login_where_the_server_knows_its_user() {
    let Some(login) = login() else { return };
    let source = open(&login.with_certificate("reader"), &[]);
    assert_eq!(read(&*source, &scan(&*source, book()).await).await.expect("read").num_rows(), 3);
    // A certificate of an authority that the server does not know; none at all.
    let error = login.refused(&login.with_certificate("stranger"), &[], &book()).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.message().contains(&login.address), "{error:?}");
    let without = login.with_certificate("reader");
    let (without, _) = without.split_once("&tlsCertificateKeyFile").expect("a certificate");
    login.no_login(without, &[]).await;
}

#[tokio::test]
async fn a_server_that_cannot_show_who_it_is_gets_no_password() {
    let Some(login) = login() else { return };
    let other = login.reader().replace("ca.pem", "stranger.pem");
    let error = login.refused(&other, &[], &book()).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.message().contains(&login.address) && error.message().contains("certificate"), "{error:?}");
    assert!(error.hint_text().is_some_and(|hint| hint.contains("tlsCAFile")), "{error:?}");
    // The name of the certificate is another one.
    let named = login.reader().replace("127.0.0.1", "localhost");
    let error = login.refused(&named, &[], &book()).await;
    assert!(error.kind() == ErrorKind::Unavailable && error.message().contains("certificate"), "{error:?}");
    let error = login.refused(&login.reader().replace("ca.pem", "nothing.pem"), &[], &book()).await;
    assert!(error.kind() == ErrorKind::Invalid && error.message().contains("nothing.pem"), "{error:?}");
    let wrong = format!("{}&tlsCertificateKeyFile=%2Fnothing.pem", login.reader());
    assert_eq!(login.refused(&wrong, &[], &book()).await.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn two_sides_of_which_one_speaks_tls_do_not_wait_for_each_other() {
    let Some(login) = login() else { return };
    let plain = format!("mongodb://{}@{}/?directConnection=true", login.reader, login.address);
    let error = login.refused(&plain, &[], &book()).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.message().contains(&login.address), "{error:?}");
    assert_eq!(error.hint_text(), Some("Where the server speaks TLS, the url needs tls=true."));
    let Some(open) = said("TRIBUTARY_TEST_MONGODB_URL") else { return };
    let tls = open.replace("mongodb://", "mongodb://u:sentinel@") + "&tls=true";
    let error = login.refused(&tls, &[], &book()).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
}
