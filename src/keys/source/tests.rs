use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Semaphore;

use super::*;
use crate::keys::provider_stub::{Answer, ProviderStub, issuer, key_set};

const ISSUER: &str = "https://id.example.com";

fn url_source(stub: &ProviderStub, path: &str) -> Issuer {
    issuer(KeySource::Url(stub.url(path)), ISSUER)
}

async fn result(source: &Source) -> Result<Vec<u8>, RefreshResult> {
    let fetched = source.fetch().await;
    fetched
        .map(|fetched| fetched.document)
        .map_err(|error| error.result)
}

async fn result_of(answer: Answer) -> Result<Vec<u8>, RefreshResult> {
    let stub = ProviderStub::start().await;
    stub.set("/jwks", answer);
    result(&Source::new(&url_source(&stub, "/jwks"))).await
}

#[tokio::test]
async fn an_answer_is_taken_as_it_is_with_its_max_age() {
    let stub = ProviderStub::start().await;
    let answer =
        Answer::ok(key_set("a")).header("cache-control", "public, Max-Age=\"90\", no-store");
    stub.set("/jwks", answer);
    let fetched = Source::new(&url_source(&stub, "/jwks"))
        .fetch()
        .await
        .unwrap();
    assert_eq!(fetched.document, key_set("a").into_bytes());
    assert_eq!(fetched.max_age, Some(Duration::from_secs(90)));
}

#[tokio::test]
async fn any_status_but_200_is_a_failure() {
    for status in [204, 206, 304, 400, 404, 500, 503] {
        let answer = Answer::status(status, "");
        assert_eq!(
            result_of(answer).await,
            Err(RefreshResult::Status),
            "{status}"
        );
    }
}

#[tokio::test]
async fn an_answer_may_be_as_large_as_the_limit_and_no_larger() {
    let limit = 64 * 1024;
    assert_eq!(
        result_of(Answer::ok(vec![b' '; limit]))
            .await
            .map(|body| body.len()),
        Ok(limit)
    );
    assert_eq!(
        result_of(Answer::ok(vec![b' '; limit + 1])).await,
        Err(RefreshResult::TooLarge)
    );
}

#[tokio::test]
async fn a_provider_that_is_not_there_is_unreachable() {
    let stub = ProviderStub::start().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let source = KeySource::Url(format!("http://{address}/jwks?key=hidden"));
    let error = Source::new(&issuer(source, ISSUER))
        .fetch()
        .await
        .unwrap_err();
    assert_eq!(error.result, RefreshResult::Unreachable);
    assert!(!error.detail.contains("hidden"), "{error}");
    let asked = format!("(asked http://{address}/jwks)");
    assert!(error.detail.ends_with(&asked), "{error}");
    assert_eq!(stub.hits("/jwks"), 0);
}

#[tokio::test]
async fn a_provider_that_does_not_answer_times_out() {
    let stub = ProviderStub::start().await;
    let never = Arc::new(Semaphore::new(0));
    stub.set("/jwks", Answer::ok("{}").held(&never));
    let mut issuer = url_source(&stub, "/jwks");
    issuer.jwks.timeout = Duration::from_millis(50);
    let error = Source::new(&issuer).fetch().await.unwrap_err();
    assert_eq!(error.result, RefreshResult::Timeout);
    assert!(error.detail.contains(&stub.url("/jwks")), "{error}");
}

#[tokio::test]
async fn a_redirect_is_followed_within_the_origin_only() {
    let (stub, other) = (ProviderStub::start().await, ProviderStub::start().await);
    other.set("/jwks", Answer::ok(key_set("other")));
    stub.set("/jwks", Answer::ok(key_set("a")));
    stub.set("/1", Answer::redirect("/2"));
    stub.set("/2", Answer::redirect(stub.url("/3")));
    stub.set("/3", Answer::redirect("/jwks"));
    stub.set("/0", Answer::redirect("/1"));
    stub.set("/away", Answer::redirect(other.url("/jwks")));
    stub.set(
        "/name",
        Answer::redirect(format!("http://localhost:{}/jwks", stub.port())),
    );
    stub.set("/loop", Answer::redirect("/loop"));
    let fetch = async |path: &str| result(&Source::new(&url_source(&stub, path))).await;
    assert_eq!(fetch("/1").await, Ok(key_set("a").into_bytes()));
    for path in ["/0", "/away", "/name", "/loop"] {
        assert_eq!(fetch(path).await, Err(RefreshResult::Redirect), "{path}");
    }
    assert_eq!(other.hits("/jwks"), 0);
}

#[tokio::test]
async fn the_token_file_is_read_at_each_fetch_and_sent() {
    let stub = ProviderStub::start().await;
    stub.set("/jwks", Answer::ok("{}"));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    let mut issuer = url_source(&stub, "/jwks");
    issuer.jwks.token_file = Some(path.clone());
    let source = Source::new(&issuer);
    assert_eq!(result(&source).await, Err(RefreshResult::Unreachable));
    for token in ["first\n", "second"] {
        std::fs::write(&path, token).unwrap();
        assert!(result(&source).await.is_ok());
    }
    let sent = ["Bearer first", "Bearer second"].map(|value| Some(value.to_owned()));
    assert_eq!(stub.authorizations(), sent);
}

#[tokio::test]
async fn a_file_is_read_up_to_the_limit() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jwks.json");
    let source = Source::new(&issuer(KeySource::File(path.clone()), ISSUER));
    assert_eq!(result(&source).await, Err(RefreshResult::Unreachable));
    std::fs::write(&path, key_set("a")).unwrap();
    assert_eq!(result(&source).await, Ok(key_set("a").into_bytes()));
    std::fs::write(&path, vec![b' '; 64 * 1024 + 1]).unwrap();
    assert_eq!(result(&source).await, Err(RefreshResult::TooLarge));
}

const OPENID: &str = "/realm/.well-known/openid-configuration";
const OAUTH: &str = "/.well-known/oauth-authorization-server/realm";

/// A provider whose issuer is `/realm`, and what discovery at it gives.
struct Discovered {
    stub: ProviderStub,
    source: Source,
}

impl Discovered {
    async fn start() -> Self {
        let stub = ProviderStub::start().await;
        stub.set("/jwks", Answer::ok(key_set("a")));
        let issuer = issuer(KeySource::Discovery, &stub.url("/realm"));
        Self {
            source: Source::new(&issuer),
            stub,
        }
    }

    fn metadata(&self, path: &str, issuer: &str, jwks_uri: &str) {
        let metadata = json!({"issuer": issuer, "jwks_uri": jwks_uri, "token_endpoint": 7});
        self.stub.set(path, Answer::ok(metadata.to_string()));
    }
}

#[tokio::test]
async fn discovery_reads_either_form_of_the_metadata() {
    for path in [OPENID, OAUTH] {
        let discovered = Discovered::start().await;
        let (issuer, jwks) = (discovered.stub.url("/realm"), discovered.stub.url("/jwks"));
        discovered.metadata(path, &issuer, &jwks);
        assert_eq!(
            result(&discovered.source).await,
            Ok(key_set("a").into_bytes()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn discovery_passes_over_a_page_that_is_no_metadata() {
    let discovered = Discovered::start().await;
    discovered.stub.set(OPENID, Answer::ok("<html>"));
    assert_eq!(
        result(&discovered.source).await,
        Err(RefreshResult::Malformed)
    );
    let (issuer, jwks) = (discovered.stub.url("/realm"), discovered.stub.url("/jwks"));
    discovered.metadata(OAUTH, &issuer, &jwks);
    assert_eq!(
        result(&discovered.source).await,
        Ok(key_set("a").into_bytes())
    );
}

#[tokio::test]
async fn metadata_of_another_issuer_is_refused() {
    let discovered = Discovered::start().await;
    let (issuer, jwks) = (discovered.stub.url("/realm"), discovered.stub.url("/jwks"));
    discovered.metadata(OAUTH, &issuer, &jwks);
    discovered.metadata(OPENID, &format!("{issuer}/"), &jwks);
    assert_eq!(
        result(&discovered.source).await,
        Err(RefreshResult::IssuerMismatch)
    );
    assert_eq!(discovered.stub.hits("/jwks"), 0);
}

/// The one fact that mends it; it is the provider's text, so it is cut off and escaped.
#[tokio::test]
async fn an_error_says_which_issuer_the_metadata_names_and_where() {
    let discovered = Discovered::start().await;
    let jwks = discovered.stub.url("/jwks");
    let named = format!("https://other.example/\n\u{202e}{}", "x".repeat(5000));
    discovered.metadata(OPENID, &named, &jwks);
    let error = discovered.source.fetch().await.unwrap_err();
    assert_eq!(error.result, RefreshResult::IssuerMismatch);
    let said = &error.detail;
    for part in [
        "\"https://other.example/\\n\\u{202e}xxx",
        &discovered.stub.url("/realm"),
        &discovered.stub.url(OPENID),
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(said.len() < 1000 && said.is_ascii(), "{said}");
}

#[tokio::test]
async fn metadata_may_not_point_into_our_network() {
    let discovered = Discovered::start().await;
    let issuer = discovered.stub.url("/realm");
    let port = discovered.stub.port();
    for jwks in [
        format!("http://localhost:{port}/jwks"),
        format!("https://localhost:{port}/jwks"),
        format!("https://127.0.0.2:{port}/jwks"),
        format!("https://[::1]:{port}/jwks"),
        String::from("https://169.254.169.254/jwks"),
    ] {
        discovered.metadata(OPENID, &issuer, &jwks);
        let forbidden = Err(RefreshResult::ForbiddenAddress);
        assert_eq!(result(&discovered.source).await, forbidden, "{jwks}");
    }
    assert_eq!(discovered.stub.hits("/jwks"), 0);
}
