//! The options of a files catalog: where the files are and how they are named as tables.

use std::path::{Component, Path, PathBuf};

use connector_spi::{Error, OptionKind, OptionSpec, Options, Result, Secret};
use url::Url;

pub(crate) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "location",
        kind: OptionKind::Text,
        doc: "Where the files are: file:///absolute/folder, a plain folder path, or s3://bucket/prefix.",
        default: None,
        required: true,
    },
    OptionSpec::optional(
        "schemas",
        OptionKind::Boolean,
        Some("false"),
        "Whether the folders right under the location are schemas; if not, there is one schema, main.",
    ),
    OptionSpec::optional("endpoint", OptionKind::Text, None, "S3: URL of the server, where it is not AWS."),
    OptionSpec::optional("region", OptionKind::Text, Some("us-east-1"), "S3: region of the bucket."),
    OptionSpec::optional("access_key_id", OptionKind::Text, None, "S3: access key; without it requests are anonymous."),
    OptionSpec::optional("secret_access_key", OptionKind::Secret, None, "S3: secret of the access key."),
    OptionSpec::optional("session_token", OptionKind::Secret, None, "S3: session token of temporary keys."),
    OptionSpec::optional(
        "allow_http",
        OptionKind::Boolean,
        Some("false"),
        "S3: whether the endpoint may be plain http.",
    ),
];

/// What a catalog's options say.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) location: Location,
    pub(crate) schemas: bool,
}

/// Where the files are.
#[derive(Debug, Clone)]
pub(crate) enum Location {
    /// A folder of this machine, absolute.
    Folder(PathBuf),
    /// A prefix of a bucket.
    Bucket(Bucket),
}

/// A prefix of a bucket and how to get at it.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    pub(crate) name: String,
    pub(crate) prefix: String,
    pub(crate) endpoint: Option<String>,
    pub(crate) region: String,
    pub(crate) keys: Option<Keys>,
    pub(crate) allow_http: bool,
}

/// Credentials of S3.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    pub(crate) id: String,
    pub(crate) secret: Secret,
    pub(crate) token: Option<Secret>,
}

impl Config {
    pub(crate) fn parse(options: &Options) -> Result<Self> {
        let text = options.text("location").unwrap_or_default();
        let location = match text.split_once("://") {
            Some(("file", _)) => Location::Folder(folder_of_url(text)?),
            Some(("s3", _)) => Location::Bucket(Bucket::parse(text, options)?),
            Some(("hdfs", _)) => {
                return Err(Error::unsupported("location hdfs:// is not supported yet")
                    .hint("Use file:///absolute/folder or s3://bucket/prefix."));
            }
            Some((scheme, _)) => {
                return Err(Error::invalid(format!("location scheme \"{scheme}\" is not known"))
                    .hint("Use file:///absolute/folder or s3://bucket/prefix."));
            }
            None if text.is_empty() => return Err(Error::invalid("option \"location\" is empty")),
            None => Location::Folder(absolute(Path::new(text))?),
        };
        if matches!(location, Location::Folder(_)) {
            let s3 = ["endpoint", "region", "access_key_id", "secret_access_key", "session_token"];
            if let Some(name) = s3.into_iter().find(|name| options.text(name).is_some()) {
                return Err(Error::invalid(format!("option \"{name}\" is for S3, but the location is a folder"))
                    .hint("Remove the option, or use a location of the form s3://bucket/prefix."));
            }
        }
        Ok(Self { location, schemas: options.boolean("schemas").unwrap_or(false) })
    }
}

impl Bucket {
    fn parse(text: &str, options: &Options) -> Result<Self> {
        let wrong = || {
            Error::invalid(format!("location \"{text}\" is not a bucket and a prefix"))
                .hint("Write s3://bucket/prefix; keys and server are options of their own.")
        };
        let rest = text.strip_prefix("s3://").ok_or_else(wrong)?;
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if name.is_empty() || !name.chars().all(fits) {
            return Err(wrong());
        }
        let prefix = prefix.trim_matches('/').to_owned();
        if prefix.split('/').any(|part| matches!(part, "." | "..")) || prefix.contains("//") {
            return Err(wrong());
        }
        let keys = match (options.text("access_key_id"), options.secret("secret_access_key")) {
            (Some(id), Some(secret)) => {
                Some(Keys { id: id.to_owned(), secret, token: options.secret("session_token") })
            }
            (None, None) => None,
            (Some(_), None) => return Err(Error::invalid("option \"secret_access_key\" is missing")),
            (None, Some(_)) => return Err(Error::invalid("option \"access_key_id\" is missing")),
        };
        if keys.is_none() && options.secret("session_token").is_some() {
            return Err(Error::invalid("option \"session_token\" needs \"access_key_id\" and \"secret_access_key\""));
        }
        let allow_http = options.boolean("allow_http").unwrap_or(false);
        let endpoint = options.text("endpoint").map(|endpoint| check_endpoint(endpoint, allow_http)).transpose()?;
        let region = options.text("region").unwrap_or("us-east-1").to_owned();
        Ok(Self { name: name.to_owned(), prefix, endpoint, region, keys, allow_http })
    }
}

fn check_endpoint(endpoint: &str, allow_http: bool) -> Result<String> {
    let wrong = || {
        Error::invalid("option \"endpoint\" is not the URL of a server")
            .hint("Write https://host or https://host:port.")
    };
    let url = Url::parse(endpoint).map_err(|_| wrong())?;
    if url.host_str().is_none() || !url.username().is_empty() || url.password().is_some() {
        return Err(wrong());
    }
    match url.scheme() {
        "https" => {}
        "http" if allow_http => {}
        "http" => {
            return Err(Error::invalid("option \"endpoint\" is plain http, which is not allowed")
                .hint("Use https, or set allow_http = true for a server on a trusted network."));
        }
        _ => return Err(wrong()),
    }
    Ok(endpoint.trim_end_matches('/').to_owned())
}

fn folder_of_url(text: &str) -> Result<PathBuf> {
    let wrong = || {
        Error::invalid(format!("location \"{text}\" is not the URL of a folder"))
            .hint("Write file:///absolute/folder, with three slashes.")
    };
    let url = Url::parse(text).map_err(|_| wrong())?;
    if url.host_str().is_some_and(|host| host != "localhost") {
        return Err(wrong());
    }
    absolute(&url.to_file_path().map_err(|()| wrong())?)
}

/// The folder as an absolute path without `.` and `..`, by its text alone.
fn absolute(path: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(path)
        .map_err(|error| Error::invalid(format!("location \"{}\" has no absolute path: {error}", path.display())))?;
    if path.to_str().is_none() {
        return Err(Error::invalid("option \"location\" is not valid UTF-8"));
    }
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    Ok(plain)
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<Config> {
        let values = pairs.iter().map(|(k, v)| ((*k).to_owned(), Value::from(*v))).collect::<BTreeMap<_, _>>();
        Config::parse(&Options::check(OPTIONS, values)?)
    }

    fn refused(pairs: &[(&str, &str)]) -> String {
        parse(pairs).expect_err("refused").to_string()
    }

    #[test]
    fn a_file_url_and_a_plain_path_name_the_same_folder() {
        for text in ["file:///data/a%20b", "/data/a b", "/data/x/../a b/."] {
            let Location::Folder(folder) = parse(&[("location", text)]).expect("parses").location else {
                panic!("{text} is a folder");
            };
            assert_eq!(folder, Path::new("/data/a b"), "{text}");
        }
    }

    #[test]
    fn a_relative_path_is_resolved_against_the_current_folder() {
        let Location::Folder(folder) = parse(&[("location", "data")]).expect("parses").location else {
            panic!("a folder");
        };
        assert!(folder.is_absolute() && folder.ends_with("data"));
    }

    #[test]
    fn a_bucket_has_a_name_and_a_prefix() {
        let Location::Bucket(bucket) = parse(&[("location", "s3://lake/a/b/")]).expect("parses").location else {
            panic!("a bucket");
        };
        assert_eq!(
            (bucket.name.as_str(), bucket.prefix.as_str(), bucket.region.as_str()),
            ("lake", "a/b", "us-east-1")
        );
        assert!(bucket.keys.is_none());
    }

    #[test]
    fn hdfs_is_not_supported_yet() {
        assert_eq!(refused(&[("location", "hdfs://name/x")]), "UNSUPPORTED: location hdfs:// is not supported yet");
    }

    #[test]
    fn other_places_are_refused() {
        for text in ["http://169.254.169.254/x", "FILE:///etc", "ftp://x/y", "S3://b/p"] {
            assert!(refused(&[("location", text)]).starts_with("INVALID: location scheme"), "{text}");
        }
        for text in ["s3://bucket@host/x", "s3:///x", "s3://b:80/x", "s3://b/a/../c", "s3://b/a//c"] {
            assert!(refused(&[("location", text)]).contains("is not a bucket and a prefix"), "{text}");
        }
        assert!(refused(&[("location", "file://host/x")]).contains("is not the URL of a folder"));
        assert_eq!(refused(&[("location", "")]), "INVALID: option \"location\" is empty");
    }

    #[test]
    fn half_a_pair_of_keys_is_refused() {
        let error = refused(&[("location", "s3://b"), ("access_key_id", "k")]);
        assert_eq!(error, "INVALID: option \"secret_access_key\" is missing");
        let error = refused(&[("location", "s3://b"), ("session_token", "t")]);
        assert_eq!(error, "INVALID: option \"session_token\" needs \"access_key_id\" and \"secret_access_key\"");
    }

    #[test]
    fn a_plain_http_endpoint_must_be_allowed() {
        let error = refused(&[("location", "s3://b"), ("endpoint", "http://127.0.0.1:1")]);
        assert_eq!(error, "INVALID: option \"endpoint\" is plain http, which is not allowed");
        parse(&[("location", "s3://b"), ("endpoint", "http://127.0.0.1:1"), ("allow_http", "true")]).expect("allowed");
    }

    #[test]
    fn a_folder_takes_no_option_of_s3() {
        let error = refused(&[("location", "/x"), ("endpoint", "https://h")]);
        assert_eq!(error, "INVALID: option \"endpoint\" is for S3, but the location is a folder");
    }
}
