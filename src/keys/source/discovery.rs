//! Finding the key set through the issuer's metadata.
//!
//! Owns OpenID Connect Discovery 1.0 §4 and RFC 8414 §3, and where a metadata document may point: it comes from
//! outside, so it may name a public https address or the issuer's own host, and nothing inside our network.

use std::net::IpAddr;

use reqwest::{Client, Url};
use serde::Deserialize;

use super::Fetched;
use super::address::is_public;
use super::http::Provider;
use crate::config::Jwks;
use crate::keys::outcome::{FetchError, RefreshResult, quoted};

/// The two members of the metadata that matter here.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

/// An issuer whose metadata names its key set.
#[derive(Debug)]
pub(in crate::keys) struct Discovery {
    issuer: String,
    /// For the issuer's own host.
    provider: Provider,
    /// For wherever else the metadata points.
    public_client: Result<Client, FetchError>,
}

impl Discovery {
    pub(super) fn new(issuer: &str, jwks: &Jwks) -> Self {
        let provider = Provider::new(issuer, jwks);
        let public_client = provider.public_client();
        Self {
            issuer: issuer.to_owned(),
            provider,
            public_client,
        }
    }

    /// Reads the metadata and then the key set, within one `timeout`.
    pub(super) async fn fetch(&self) -> Result<Fetched, FetchError> {
        self.provider.within_timeout(self.fetch_unbounded()).await
    }

    async fn fetch_unbounded(&self) -> Result<Fetched, FetchError> {
        let jwks_uri = self.discover().await?;
        let home = self.provider.configured()?;
        let client = match judge(home, &jwks_uri)? {
            Destination::Home => self.provider.client()?,
            Destination::Elsewhere => self.public_client.as_ref().map_err(Clone::clone)?,
        };
        self.provider.get(client, &jwks_uri).await
    }

    /// The key set's address, from the first form of the metadata that can be read.
    async fn discover(&self) -> Result<Url, FetchError> {
        let [openid, oauth] = metadata_urls(self.provider.configured()?);
        let first = match self.metadata(&openid).await {
            Err(error) if is_unreadable(error.result) => error,
            settled => return settled,
        };
        match self.metadata(&oauth).await {
            Err(second) if is_unreadable(second.result) => Err(first),
            settled => settled,
        }
    }

    async fn metadata(&self, url: &Url) -> Result<Url, FetchError> {
        let fetched = self.provider.get(self.provider.client()?, url).await?;
        let malformed = |detail: &str| FetchError::new(RefreshResult::Malformed, detail);
        let metadata: Metadata = serde_json::from_slice(&fetched.document).map_err(|_| {
            malformed("the metadata is not a JSON object with `issuer` and `jwks_uri`").at(url)
        })?;
        // OpenID Connect Discovery 1.0 §4.3: exactly equal, or the document speaks for somebody else.
        if metadata.issuer != self.issuer {
            let detail = format!(
                "the metadata names the issuer \"{}\", the configuration \"{}\"",
                quoted(&metadata.issuer),
                self.issuer
            );
            return Err(FetchError::new(RefreshResult::IssuerMismatch, detail).at(url));
        }
        Url::parse(&metadata.jwks_uri)
            .map_err(|_| malformed("the metadata's `jwks_uri` is no absolute URL").at(url))
    }
}

/// Whether a failure leaves it open that the metadata stands at the other place.
fn is_unreadable(result: RefreshResult) -> bool {
    matches!(
        result,
        RefreshResult::Status
            | RefreshResult::Redirect
            | RefreshResult::TooLarge
            | RefreshResult::Malformed
    )
}

/// Where the metadata may stand: appended to the issuer (OpenID Connect), or inserted before its path (RFC 8414 §3.1).
fn metadata_urls(issuer: &Url) -> [Url; 2] {
    let path = issuer.path();
    let path = path.strip_suffix('/').unwrap_or(path);
    [
        format!("{path}/.well-known/openid-configuration"),
        format!("/.well-known/oauth-authorization-server{path}"),
    ]
    .map(|path| {
        let mut url = issuer.clone();
        url.set_path(&path);
        url.set_query(None);
        url.set_fragment(None);
        url
    })
}

/// How an address that the metadata names is to be reached.
#[derive(Debug, PartialEq, Eq)]
enum Destination {
    /// The host that the operator configured.
    Home,
    /// A public address.
    Elsewhere,
}

fn judge(home: &Url, target: &Url) -> Result<Destination, FetchError> {
    let forbidden =
        |detail: &str| Err(FetchError::new(RefreshResult::ForbiddenAddress, detail).at(target));
    if target.scheme() != "https" && !(target.scheme() == "http" && home.scheme() == "http") {
        return forbidden("the metadata's `jwks_uri` is not https");
    }
    if home.host().is_some() && home.host() == target.host() {
        return Ok(Destination::Home);
    }
    if target.scheme() != "https" {
        return forbidden("the metadata's `jwks_uri` is plain http on another host");
    }
    if literal(target).is_some_and(|address| !is_public(address)) {
        return forbidden("the metadata's `jwks_uri` is no public address");
    }
    Ok(Destination::Elsewhere)
}

/// The address of a URL that names one; such a URL never reaches the resolver.
fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    bare.unwrap_or(host).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn metadata_is_sought_behind_and_before_the_path_of_the_issuer() {
        for (issuer, openid, oauth) in [
            (
                "https://id.example.com",
                "https://id.example.com/.well-known/openid-configuration",
                "https://id.example.com/.well-known/oauth-authorization-server",
            ),
            (
                "https://id.example.com/",
                "https://id.example.com/.well-known/openid-configuration",
                "https://id.example.com/.well-known/oauth-authorization-server",
            ),
            (
                "https://id.example.com/realms/a/",
                "https://id.example.com/realms/a/.well-known/openid-configuration",
                "https://id.example.com/.well-known/oauth-authorization-server/realms/a",
            ),
            (
                "https://id.example.com/a//",
                "https://id.example.com/a//.well-known/openid-configuration",
                "https://id.example.com/.well-known/oauth-authorization-server/a/",
            ),
        ] {
            assert_eq!(metadata_urls(&url(issuer)), [url(openid), url(oauth)]);
        }
    }

    #[test]
    fn metadata_may_point_home_or_to_public_https_only() {
        let judged = |home: &str, target: &str| {
            judge(&url(home), &url(target)).map_err(|error| error.result)
        };
        let forbidden = Err(RefreshResult::ForbiddenAddress);
        let home = "https://id.example.com/";
        assert_eq!(
            judged(home, "https://id.example.com/jwks"),
            Ok(Destination::Home)
        );
        assert_eq!(
            judged(home, "https://id.example.com:8443/jwks"),
            Ok(Destination::Home)
        );
        assert_eq!(
            judged(home, "https://keys.example.net/jwks"),
            Ok(Destination::Elsewhere)
        );
        assert_eq!(
            judged(home, "https://93.184.216.34/jwks"),
            Ok(Destination::Elsewhere)
        );
        for target in [
            "http://id.example.com/jwks",
            "http://keys.example.net/jwks",
            "https://127.0.0.1/jwks",
            "https://2130706433/jwks",
            "https://169.254.169.254/latest",
            "https://[::1]/jwks",
            "https://[::ffff:10.0.0.1]/jwks",
            "file:///etc/passwd",
        ] {
            assert_eq!(judged(home, target), forbidden, "{target}");
        }
        let plain = "http://127.0.0.1:8000/";
        assert_eq!(
            judged(plain, "http://127.0.0.1:8001/jwks"),
            Ok(Destination::Home)
        );
        assert_eq!(judged(plain, "http://127.0.0.2:8001/jwks"), forbidden);
    }
}
