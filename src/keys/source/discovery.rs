//! From an issuer to its key set: OpenID Connect Discovery 1.0 §4, then RFC 8414 §3.

use std::time::Duration;

use reqwest::Url;
use serde_json::Value;
use tokio::time::Instant;

use super::web::{Web, may_be_public};
use super::{FetchError, Fetched, RefreshResult};
use crate::config::Jwks;

/// One issuer's discovery.
#[derive(Debug)]
pub(in crate::keys) struct Discovery {
    issuer: String,
    /// For the issuer's own host, which the configuration names.
    home: Web,
    /// For hosts that the document names.
    abroad: Web,
    /// How long a document's word holds.
    refresh: Duration,
    found: Option<Found>,
}

#[derive(Debug)]
struct Found {
    jwks_uri: String,
    is_home: bool,
    at: Instant,
}

impl Discovery {
    pub(super) fn new(issuer: &str, jwks: &Jwks) -> Self {
        Self {
            issuer: issuer.to_owned(),
            home: Web::new(jwks),
            abroad: Web::public_only(jwks),
            refresh: jwks.refresh,
            found: None,
        }
    }

    pub(super) fn location(&self) -> String {
        format!("discovery of {}", self.issuer)
    }

    /// The key set. The document is asked again when it is as old as a background refresh, or after a failure.
    pub(super) async fn fetch(&mut self) -> Result<Fetched, FetchError> {
        let found = match self.found.take() {
            Some(found) if found.at.elapsed() < self.refresh => found,
            _ => self.discover().await?,
        };
        let web = if found.is_home {
            &self.home
        } else {
            &self.abroad
        };
        let fetched = web.fetch(&found.jwks_uri).await?;
        self.found = Some(found);
        Ok(fetched)
    }

    async fn discover(&self) -> Result<Found, FetchError> {
        let base = self.issuer.strip_suffix('/').unwrap_or(&self.issuer);
        let first = format!("{base}/.well-known/openid-configuration");
        match self.read(&first).await {
            Ok(found) => Ok(found),
            // A wrong document is an answer; a missing one sends us to the other place.
            Err(error)
                if matches!(
                    error.result,
                    RefreshResult::Status | RefreshResult::Malformed
                ) =>
            {
                let second = inserted(base)
                    .ok_or_else(|| FetchError::new(error.result, error.detail.clone()))?;
                self.read(&second).await.map_err(|_| error)
            }
            Err(error) => Err(error),
        }
    }

    async fn read(&self, url: &str) -> Result<Found, FetchError> {
        let malformed =
            |what: &str| FetchError::new(RefreshResult::Malformed, format!("{url}: {what}"));
        let fetched = self.home.fetch(url).await?;
        let document: Value = serde_json::from_slice(&fetched.document)
            .map_err(|_| malformed("not a JSON document"))?;
        let text = |name: &str| document.get(name).and_then(Value::as_str);
        // RFC 8414 §3.3: equal to the byte, or the document is of no use.
        if text("issuer").ok_or_else(|| malformed("no issuer"))? != self.issuer {
            let detail = format!(
                "{url}: its issuer is not equal to the byte to the configured one, {}",
                self.issuer
            );
            return Err(FetchError::new(RefreshResult::IssuerMismatch, detail));
        }
        let jwks_uri = text("jwks_uri").ok_or_else(|| malformed("no jwks_uri"))?;
        let is_home = self.judge(jwks_uri).ok_or_else(|| {
            let detail = format!(
                "{url}: its jwks_uri leads to an address that a document may not choose (plain http, or not public); \
                 if it is right, configure jwks_uri"
            );
            FetchError::new(RefreshResult::ForbiddenAddress, detail)
        })?;
        Ok(Found {
            jwks_uri: jwks_uri.to_owned(),
            is_home,
            at: Instant::now(),
        })
    }

    /// Whether a document's URL is the issuer's own host; `None` if it may not be asked at all.
    fn judge(&self, jwks_uri: &str) -> Option<bool> {
        let issuer = Url::parse(&self.issuer).ok()?;
        let target = Url::parse(jwks_uri).ok()?;
        let has_userinfo = !target.username().is_empty() || target.password().is_some();
        if has_userinfo || !matches!(target.scheme(), "http" | "https") {
            return None;
        }
        let is_encrypted = target.scheme() == "https";
        if target.host() == issuer.host() && (is_encrypted || issuer.scheme() == "http") {
            return Some(true);
        }
        (is_encrypted && may_be_public(&target)).then_some(false)
    }
}

/// RFC 8414 §3.1: the well-known part goes between host and path.
fn inserted(base: &str) -> Option<String> {
    let url = Url::parse(base).ok()?;
    let path = url.path().trim_end_matches('/');
    let origin = url.origin().ascii_serialization();
    Some(format!(
        "{origin}/.well-known/oauth-authorization-server{path}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_well_known_part_goes_between_host_and_path() {
        let expected =
            "https://id.example.com:8443/.well-known/oauth-authorization-server/realms/a";
        assert_eq!(
            inserted("https://id.example.com:8443/realms/a").as_deref(),
            Some(expected)
        );
        assert_eq!(
            inserted("https://id.example.com").as_deref(),
            Some("https://id.example.com/.well-known/oauth-authorization-server")
        );
    }
}
