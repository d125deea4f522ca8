//! Where an issuer's keys come from, and getting them once.
//!
//! Owns the reading of one document, bounded in time and size. Neither a token nor its header has a say in what is
//! read. Knows nothing of when to fetch or of what the keys are for.

mod address;
mod discovery;
mod http;
#[cfg(test)]
mod tests;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::outcome::{FetchError, RefreshResult};
use crate::config::{Issuer, KeySource};
use discovery::Discovery;
use http::Provider;

/// One issuer's source of keys.
#[derive(Debug)]
pub(super) enum Source {
    /// A shared secret: nothing to fetch.
    Secret,
    /// `jwks_file`
    File { path: PathBuf, max_bytes: usize },
    /// `jwks_uri`
    Url(Provider),
    /// `discovery`
    Discovery(Discovery),
}

/// A document as it came.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fetched {
    pub(super) document: Vec<u8>,
    /// `max-age` of Cache-Control (RFC 9111 §5.2.2.1).
    pub(super) max_age: Option<Duration>,
}

impl Source {
    pub(super) fn new(issuer: &Issuer) -> Self {
        let jwks = &issuer.jwks;
        match &issuer.keys {
            KeySource::HmacSecret(_) => Self::Secret,
            KeySource::File(path) => Self::File {
                path: path.clone(),
                max_bytes: jwks.max_bytes,
            },
            KeySource::Url(url) => Self::Url(Provider::new(url, jwks)),
            KeySource::Discovery => Self::Discovery(Discovery::new(issuer.issuer.as_str(), jwks)),
        }
    }

    /// Gets the document once. Dropping the future leaves nothing behind.
    pub(super) async fn fetch(&self) -> Result<Fetched, FetchError> {
        match self {
            Self::Secret => Err(FetchError::new(
                RefreshResult::Unreachable,
                "a secret is not fetched",
            )),
            Self::File { path, max_bytes } => read_file_elsewhere(path.clone(), *max_bytes).await,
            Self::Url(provider) => provider.within_timeout(provider.fetch_configured()).await,
            Self::Discovery(discovery) => discovery.fetch().await,
        }
    }
}

async fn read_file_elsewhere(path: PathBuf, max_bytes: usize) -> Result<Fetched, FetchError> {
    tokio::task::spawn_blocking(move || read_file(&path, max_bytes))
        .await
        .unwrap_or_else(|_| {
            Err(FetchError::new(
                RefreshResult::Unreachable,
                "reading the file was cut short",
            ))
        })
}

/// Reads a key file, at most `max_bytes` of it.
pub(super) fn read_file(path: &Path, max_bytes: usize) -> Result<Fetched, FetchError> {
    let mut document = Vec::new();
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX);
    std::fs::File::open(path)
        .and_then(|file| {
            file.take(limit.saturating_add(1))
                .read_to_end(&mut document)
        })
        .map_err(|error| {
            let detail = format!("the key file cannot be read: {}", error.kind());
            FetchError::new(RefreshResult::Unreachable, detail)
        })?;
    if document.len() > max_bytes {
        return Err(too_large());
    }
    Ok(Fetched {
        document,
        max_age: None,
    })
}

fn too_large() -> FetchError {
    FetchError::new(
        RefreshResult::TooLarge,
        "the answer is larger than `max_bytes`",
    )
}
