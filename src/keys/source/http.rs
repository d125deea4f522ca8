//! One GET of a document over HTTP.
//!
//! Owns what a fetch may do: no proxy from the environment, no redirect to another origin, no decompression, a limit
//! on time and size, and the bearer token for the configured origin only.

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, HeaderMap, HeaderValue, LOCATION};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Certificate, Client, ClientBuilder, Response, StatusCode, Url};

use super::address::{ForbiddenAddress, PublicResolver};
use super::{Fetched, too_large};
use crate::config::Jwks;
use crate::keys::outcome::{FetchError, RefreshResult};

/// Key sets do not move often: three hops are more than any provider uses.
const MAX_REDIRECTS: usize = 3;

/// How to reach what one provider serves.
#[derive(Debug)]
pub(in crate::keys) struct Provider {
    /// The configured address; why it cannot be used where it cannot.
    configured: Result<Url, FetchError>,
    /// For addresses that the operator wrote.
    client: Result<Client, FetchError>,
    ca: Option<Vec<u8>>,
    token_file: Option<PathBuf>,
    timeout: Duration,
    max_bytes: usize,
}

impl Provider {
    pub(super) fn new(url: &str, jwks: &Jwks) -> Self {
        let configured = Url::parse(url).map_err(|error| {
            let detail = format!("the configured address is no URL: {error}");
            FetchError::new(RefreshResult::Unreachable, detail)
        });
        Self {
            configured,
            client: build(builder(jwks.timeout), jwks.ca.as_deref()),
            ca: jwks.ca.clone(),
            token_file: jwks.token_file.clone(),
            timeout: jwks.timeout,
            max_bytes: jwks.max_bytes,
        }
    }

    /// The configured address.
    pub(super) fn configured(&self) -> Result<&Url, FetchError> {
        self.configured.as_ref().map_err(Clone::clone)
    }

    /// A client that connects to public addresses only, whatever a name resolves to.
    pub(super) fn public_client(&self) -> Result<Client, FetchError> {
        let builder = builder(self.timeout).dns_resolver(Arc::new(PublicResolver));
        build(builder, self.ca.as_deref())
    }

    /// The client for addresses that the operator wrote.
    pub(super) fn client(&self) -> Result<&Client, FetchError> {
        self.client.as_ref().map_err(Clone::clone)
    }

    /// Fetches the configured address itself.
    pub(super) async fn fetch_configured(&self) -> Result<Fetched, FetchError> {
        self.get(self.client()?, self.configured()?).await
    }

    /// Bounds a whole fetch, however many requests it takes, by `timeout`.
    pub(super) async fn within_timeout(
        &self,
        fetch: impl Future<Output = Result<Fetched, FetchError>>,
    ) -> Result<Fetched, FetchError> {
        tokio::time::timeout(self.timeout, fetch)
            .await
            .unwrap_or_else(|_| match &self.configured {
                Ok(url) => Err(timed_out().at(url)),
                Err(_) => Err(timed_out()),
            })
    }

    /// Gets `url`. The bearer token goes with it only to the configured origin.
    pub(super) async fn get(&self, client: &Client, url: &Url) -> Result<Fetched, FetchError> {
        self.try_get(client, url)
            .await
            .map_err(|error| error.at(url))
    }

    async fn try_get(&self, client: &Client, url: &Url) -> Result<Fetched, FetchError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(path) = &self.token_file
            && self.configured()?.origin() == url.origin()
        {
            headers.insert(AUTHORIZATION, bearer(path).await?);
        }
        let request = client.get(url.clone()).headers(headers);
        let response = request.send().await.map_err(of_transport)?;
        check_status(&response)?;
        let max_age = max_age(response.headers());
        let document = self.body(response).await?;
        Ok(Fetched { document, max_age })
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, FetchError> {
        let announced = response.content_length().unwrap_or_default();
        if usize::try_from(announced).map_or(true, |announced| announced > self.max_bytes) {
            return Err(too_large());
        }
        let mut document = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(of_transport)? {
            if document.len() + chunk.len() > self.max_bytes {
                return Err(too_large());
            }
            document.extend_from_slice(&chunk);
        }
        Ok(document)
    }
}

fn builder(timeout: Duration) -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        .referer(false)
        .redirect(Policy::custom(follow_at_home))
        .timeout(timeout)
        .connect_timeout(timeout)
        // Fetches are minutes apart: a kept connection would only be found dead.
        .pool_max_idle_per_host(0)
}

fn build(builder: ClientBuilder, ca: Option<&[u8]>) -> Result<Client, FetchError> {
    let builder = match ca.map(Certificate::from_pem_bundle) {
        None => Ok(builder),
        Some(Ok(roots)) => Ok(builder.tls_certs_only(roots)),
        Some(Err(error)) => Err(error),
    };
    builder.and_then(ClientBuilder::build).map_err(|error| {
        let detail = format!("no client can be made: {}", causes(&error.without_url()));
        FetchError::new(RefreshResult::Unreachable, detail)
    })
}

/// Follows a redirect within the origin; any other ends the fetch with the redirect itself as the answer.
fn follow_at_home(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let hops = attempt.previous().len();
    let at_home = attempt
        .previous()
        .first()
        .is_some_and(|first| first.origin() == attempt.url().origin());
    if at_home && hops <= MAX_REDIRECTS {
        attempt.follow()
    } else {
        attempt.stop()
    }
}

fn check_status(response: &Response) -> Result<(), FetchError> {
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(());
    }
    if status.is_redirection() && response.headers().contains_key(LOCATION) {
        let detail = format!("the answer redirects ({status}) to another origin or too often");
        return Err(FetchError::new(RefreshResult::Redirect, detail));
    }
    let detail = format!("the answer has status {}", status.as_u16());
    Err(FetchError::new(RefreshResult::Status, detail))
}

async fn bearer(path: &Path) -> Result<HeaderValue, FetchError> {
    let unreadable =
        |detail: &str| FetchError::new(RefreshResult::Unreachable, format!("token_file {detail}"));
    let content = tokio::fs::read(path)
        .await
        .map_err(|error| unreadable(&format!("cannot be read: {}", error.kind())))?;
    let value = [b"Bearer ", content.trim_ascii()].concat();
    let mut value = HeaderValue::from_bytes(&value)
        .map_err(|_| unreadable("holds bytes that no header may carry"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn max_age(headers: &HeaderMap) -> Option<Duration> {
    headers
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|directive| directive.split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("max-age"))
        .find_map(|(_, seconds)| seconds.trim().trim_matches('"').parse().ok())
        .map(Duration::from_secs)
}

fn timed_out() -> FetchError {
    FetchError::new(RefreshResult::Timeout, "no whole answer within `timeout`")
}

fn of_transport(error: reqwest::Error) -> FetchError {
    // The URL may carry a query string, which no log may show.
    let error = error.without_url();
    if is_forbidden(&error) {
        let detail = "the name resolves to no public address";
        return FetchError::new(RefreshResult::ForbiddenAddress, detail);
    }
    if error.is_timeout() {
        return timed_out();
    }
    FetchError::new(RefreshResult::Unreachable, causes(&error))
}

fn is_forbidden(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.is::<ForbiddenAddress>() {
            return true;
        }
        cause = inner.source();
    }
    false
}

/// How much of an error's text is kept: it may quote a name from the peer's certificate.
const MAX_DETAIL_CHARS: usize = 400;

/// The error and what lies below it, which is where a refused connection or a bad certificate is named.
fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text.chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .take(MAX_DETAIL_CHARS)
        .collect()
}
