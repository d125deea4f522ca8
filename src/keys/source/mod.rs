//! Fetching a key set: by URL, by discovery, from a file.
//!
//! Owns the only outbound requests that keys cause, and their limits: time, size, redirects, addresses. Neither a
//! token nor its header ever chooses where a fetch goes.

mod discovery;
mod web;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::config::{Issuer, Jwks, KeySource};
use discovery::Discovery;
use web::Web;

/// How a fetch ended: the `result` label of `jwks_refreshes_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RefreshResult {
    /// Keys came.
    Success,
    /// No connection, or it broke; TLS faults too.
    Unreachable,
    /// Not all in within `timeout`.
    Timeout,
    /// Another status than 200.
    Status,
    /// A redirect to another origin, or too many.
    Redirect,
    /// Larger than `max_bytes`.
    TooLarge,
    /// Not a key set, or not a discovery document.
    Malformed,
    /// A key set without a single usable key.
    NoKeys,
    /// The discovery document is another issuer's.
    IssuerMismatch,
    /// The discovery document leads to an address that it may not lead to.
    ForbiddenAddress,
    /// A file cannot be read.
    Unreadable,
}

impl RefreshResult {
    /// Every result, in the order of the enum.
    pub const ALL: [Self; 11] = [
        Self::Success,
        Self::Unreachable,
        Self::Timeout,
        Self::Status,
        Self::Redirect,
        Self::TooLarge,
        Self::Malformed,
        Self::NoKeys,
        Self::IssuerMismatch,
        Self::ForbiddenAddress,
        Self::Unreadable,
    ];

    /// The label's value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Status => "status",
            Self::Redirect => "redirect",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::NoKeys => "no_keys",
            Self::IssuerMismatch => "issuer_mismatch",
            Self::ForbiddenAddress => "forbidden_address",
            Self::Unreadable => "unreadable",
        }
    }
}

/// Why a fetch gave nothing.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub(super) struct FetchError {
    /// The label.
    pub(super) result: RefreshResult,
    /// For the operator: where, and what. Holds nothing that the other side sent.
    pub(super) detail: String,
}

impl FetchError {
    pub(super) fn new(result: RefreshResult, detail: impl Into<String>) -> Self {
        Self {
            result,
            detail: detail.into(),
        }
    }
}

/// What a fetch gave.
#[derive(Debug)]
pub(super) struct Fetched {
    /// The document, not read yet.
    pub(super) document: Vec<u8>,
    /// How long the provider says it holds (`Cache-Control: max-age`, RFC 9111 §5.2.2.1).
    pub(super) max_age: Option<Duration>,
}

/// Where one issuer's keys are fetched from.
#[derive(Debug)]
pub(super) enum Source {
    Url { web: Web, url: String },
    Discovery(Box<Discovery>),
    File(FileSource),
}

impl Source {
    /// The source that the issuer's section names; `None` for a shared secret, which is not fetched.
    pub(super) fn new(issuer: &Issuer) -> Option<Self> {
        let jwks = &issuer.jwks;
        match &issuer.keys {
            KeySource::Url(url) => Some(Self::Url {
                web: Web::new(jwks),
                url: url.clone(),
            }),
            KeySource::Discovery => {
                let discovery = Discovery::new(issuer.issuer.as_str(), jwks);
                Some(Self::Discovery(Box::new(discovery)))
            }
            KeySource::File(path) => Some(Self::File(FileSource::new(path.clone(), jwks))),
            KeySource::HmacSecret(_) => None,
        }
    }

    /// Fetches once; `jwks.timeout` is the caller's to keep.
    pub(super) async fn fetch(&mut self) -> Result<Fetched, FetchError> {
        match self {
            Self::Url { web, url } => web.fetch(url).await,
            Self::Discovery(discovery) => discovery.fetch().await,
            Self::File(file) => file.fetch().await,
        }
    }

    /// Where the keys come from, for operators and for the snapshot on disk.
    pub(super) fn location(&self) -> String {
        match self {
            Self::Url { url, .. } => url.clone(),
            Self::Discovery(discovery) => discovery.location(),
            Self::File(file) => file.path.display().to_string(),
        }
    }

    /// Waits until the source says that it changed, which only a file does. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        match self {
            Self::File(file) => file.changed().await,
            Self::Url { .. } | Self::Discovery(_) => std::future::pending().await,
        }
    }
}

/// A key set in a file.
#[derive(Debug)]
pub(super) struct FileSource {
    path: PathBuf,
    max_bytes: usize,
    seen: Option<Stamp>,
}

/// Enough to see that a file is another one, symlinks followed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

/// How often a file is looked at.
const LOOK: Duration = Duration::from_secs(1);

impl FileSource {
    fn new(path: PathBuf, jwks: &Jwks) -> Self {
        Self {
            path,
            max_bytes: jwks.max_bytes,
            seen: None,
        }
    }

    async fn fetch(&mut self) -> Result<Fetched, FetchError> {
        self.seen = self.stamp().await;
        let unreadable = |error| {
            let detail = format!("{}: {error}", self.path.display());
            FetchError::new(RefreshResult::Unreadable, detail)
        };
        let document = tokio::fs::read(&self.path).await.map_err(unreadable)?;
        if document.len() > self.max_bytes {
            let detail = format!("{}: larger than max_bytes", self.path.display());
            return Err(FetchError::new(RefreshResult::TooLarge, detail));
        }
        Ok(Fetched {
            document,
            max_age: None,
        })
    }

    async fn changed(&mut self) {
        while self.stamp().await == self.seen {
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn stamp(&self) -> Option<Stamp> {
        use std::os::unix::fs::MetadataExt;
        let metadata = tokio::fs::metadata(&self.path).await.ok()?;
        Some(Stamp {
            modified: metadata.modified().ok(),
            length: metadata.len(),
            inode: metadata.ino(),
        })
    }
}
