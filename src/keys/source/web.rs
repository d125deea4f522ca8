//! One GET, within limits.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Certificate, Client, Response, StatusCode, Url, header};

use super::{FetchError, Fetched, RefreshResult};
use crate::config::Jwks;

/// Redirects that are followed, all of them to the same origin.
const MAX_REDIRECTS: usize = 3;

/// A client with one issuer's limits.
#[derive(Debug)]
pub(in crate::keys) struct Web {
    client: Result<Client, String>,
    max_bytes: usize,
    token_file: Option<PathBuf>,
}

impl Web {
    /// A client for addresses that the configuration names.
    pub(super) fn new(jwks: &Jwks) -> Self {
        Self::build(jwks, Client::builder(), jwks.token_file.clone())
    }

    /// A client for addresses that a document named: it reaches public ones only, and never sends the token file.
    pub(super) fn public_only(jwks: &Jwks) -> Self {
        Self::build(jwks, Client::builder().dns_resolver(PublicOnly), None)
    }

    fn build(jwks: &Jwks, builder: reqwest::ClientBuilder, token_file: Option<PathBuf>) -> Self {
        let builder = builder
            .no_proxy()
            .redirect(Policy::custom(same_origin))
            .connect_timeout(jwks.timeout)
            .timeout(jwks.timeout)
            .pool_max_idle_per_host(0)
            .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")));
        let builder = match &jwks.ca {
            None => Ok(builder),
            Some(pem) => {
                Certificate::from_pem_bundle(pem).map(|roots| builder.tls_certs_only(roots))
            }
        };
        let client = builder.and_then(reqwest::ClientBuilder::build);
        Self {
            client: client.map_err(|error| chain(&error)),
            max_bytes: jwks.max_bytes,
            token_file,
        }
    }

    /// Gets that URL.
    pub(super) async fn fetch(&self, url: &str) -> Result<Fetched, FetchError> {
        let unreachable =
            |detail: &str| FetchError::new(RefreshResult::Unreachable, format!("{url}: {detail}"));
        let client = self.client.as_ref().map_err(|detail| unreachable(detail))?;
        let mut request = client
            .get(url)
            .header(header::ACCEPT, "application/json, application/jwk-set+json");
        if let Some(token) = self.token().await? {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.map_err(|error| broken(url, &error))?;
        judge_status(url, response.status())?;
        let max_age = max_age(&response);
        let document = self.body(url, response).await?;
        Ok(Fetched { document, max_age })
    }

    /// The token file is read anew at every fetch: clusters rotate such tokens.
    async fn token(&self) -> Result<Option<String>, FetchError> {
        let Some(path) = &self.token_file else {
            return Ok(None);
        };
        let unreadable = |error| {
            FetchError::new(
                RefreshResult::Unreadable,
                format!("{}: {error}", path.display()),
            )
        };
        let token = tokio::fs::read_to_string(path).await.map_err(unreadable)?;
        Ok(Some(token.trim_end().to_owned()))
    }

    async fn body(&self, url: &str, mut response: Response) -> Result<Vec<u8>, FetchError> {
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| broken(url, &error))?
        {
            if body.len() + chunk.len() > self.max_bytes {
                let detail = format!("{url}: larger than max_bytes ({})", self.max_bytes);
                return Err(FetchError::new(RefreshResult::TooLarge, detail));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// Follows within the origin; elsewhere the redirect itself is the answer.
fn same_origin(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let is_home = attempt
        .previous()
        .first()
        .is_some_and(|first| first.origin() == attempt.url().origin());
    if is_home && attempt.previous().len() <= MAX_REDIRECTS {
        attempt.follow()
    } else {
        attempt.stop()
    }
}

fn judge_status(url: &str, status: StatusCode) -> Result<(), FetchError> {
    if status == StatusCode::OK {
        Ok(())
    } else if status.is_redirection() {
        let detail =
            format!("{url}: redirects elsewhere; only redirects to the same origin are followed");
        Err(FetchError::new(RefreshResult::Redirect, detail))
    } else {
        Err(FetchError::new(
            RefreshResult::Status,
            format!("{url}: status {}", status.as_u16()),
        ))
    }
}

fn broken(url: &str, error: &reqwest::Error) -> FetchError {
    if error.is_timeout() {
        return FetchError::new(
            RefreshResult::Timeout,
            format!("{url}: no complete answer in time"),
        );
    }
    let text = chain(error);
    let result = if text.contains(FORBIDDEN) {
        RefreshResult::ForbiddenAddress
    } else {
        RefreshResult::Unreachable
    };
    FetchError::new(result, format!("{url}: {text}"))
}

/// The innermost cause, which is what tells.
fn chain(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn max_age(response: &Response) -> Option<Duration> {
    let values = response.headers().get_all(header::CACHE_CONTROL);
    let directives = values
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    directives
        .filter_map(|directive| {
            directive
                .trim()
                .to_ascii_lowercase()
                .strip_prefix("max-age=")?
                .parse()
                .ok()
        })
        .map(Duration::from_secs)
        .next()
}

const FORBIDDEN: &str = "the name leads to an address that is not public";

/// Resolves names to public addresses only, at the moment of the connection, so that a name that changes its
/// address in between gains nothing.
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(FORBIDDEN.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Whether a document may lead to that URL: its name is judged when it is resolved, an address literal here.
pub(super) fn may_be_public(url: &Url) -> bool {
    match url
        .host_str()
        .map(|host| host.trim_matches(['[', ']']).parse::<IpAddr>())
    {
        Some(Ok(address)) => is_public(address),
        Some(Err(_)) => true,
        None => false,
    }
}

/// Not of this machine, its link, its site, or a cloud's metadata service.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            let is_shared = first == 100 && (64..128).contains(&second);
            !(address.is_loopback()
                || address.is_private()
                || address.is_link_local()
                || address.is_unspecified()
                || address.is_broadcast()
                || address.is_multicast()
                || first == 0
                || is_shared)
        }
        IpAddr::V6(address) => match address.to_ipv4_mapped().or_else(|| embedded(&address)) {
            Some(mapped) => is_public(IpAddr::V4(mapped)),
            None => {
                !(address.is_loopback()
                    || address.is_unspecified()
                    || address.is_multicast()
                    || address.is_unique_local()
                    || address.is_unicast_link_local())
            }
        },
    }
}

/// The IPv4 address behind a translator's prefix (RFC 6052 §2.1).
fn embedded(address: &std::net::Ipv6Addr) -> Option<std::net::Ipv4Addr> {
    match address.octets() {
        [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => Some([a, b, c, d].into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "172.16.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "224.0.0.1",
        ] {
            assert!(
                !is_public(address.parse().expect("an address")),
                "{address}"
            );
        }
        for address in ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"] {
            assert!(is_public(address.parse().expect("an address")), "{address}");
        }
    }
}
