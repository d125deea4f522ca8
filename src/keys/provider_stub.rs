//! An identity provider for tests: a small HTTP server in the process that answers as it is told.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::algorithm::{Algorithm, AlgorithmSet};
use crate::config::{ClaimPath, Issuer, IssuerPattern, Jwks, KeySource};

/// Two public keys: RFC 8037 appendix A.2, and RFC 8032 §7.1 test 2.
const POINTS: [&str; 2] = [
    "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw",
];

/// A key set of one Ed25519 key of that kid.
pub(super) fn key_set(kid: &str) -> String {
    key_set_of(&[(kid, 0)])
}

/// A key set of the named kids, each with the first or second key.
pub(super) fn key_set_of(kids: &[(&str, usize)]) -> String {
    let keys: Vec<Value> = kids
        .iter()
        .map(
            |(kid, point)| json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": POINTS[*point]}),
        )
        .collect();
    json!({ "keys": keys }).to_string()
}

#[derive(Clone, Debug)]
pub(super) struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    /// Answers only as permits are given.
    gate: Option<Arc<Semaphore>>,
}

impl Answer {
    pub(super) fn ok(body: impl Into<Bytes>) -> Self {
        Self::status(200, body)
    }

    pub(super) fn status(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            gate: None,
        }
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn redirect(to: impl Into<String>) -> Self {
        Self::status(302, "").header("location", to)
    }

    pub(super) fn held(mut self, gate: &Arc<Semaphore>) -> Self {
        self.gate = Some(Arc::clone(gate));
        self
    }
}

#[derive(Debug, Default)]
struct State {
    answers: HashMap<String, Answer>,
    /// Path and Authorization of every request.
    requests: Vec<(String, Option<String>)>,
}

/// The server; it ends with the test's runtime.
#[derive(Clone, Debug)]
pub(super) struct ProviderStub {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl ProviderStub {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let stub = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::default(),
        };
        let serving = stub.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let stub = serving.clone();
                let service = service_fn(move |request| {
                    let stub = stub.clone();
                    async move { Ok::<_, Infallible>(stub.answer(&request).await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        stub
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(super) fn set(&self, path: &str, answer: Answer) {
        self.with_state(|state| state.answers.insert(path.to_owned(), answer));
    }

    pub(super) fn hits(&self, path: &str) -> usize {
        self.with_state(|state| {
            state
                .requests
                .iter()
                .filter(|(asked, _)| asked == path)
                .count()
        })
    }

    pub(super) fn authorizations(&self) -> Vec<Option<String>> {
        self.with_state(|state| {
            state
                .requests
                .iter()
                .map(|(_, value)| value.clone())
                .collect()
        })
    }

    fn with_state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let authorization = request.headers().get("authorization");
        let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
        let answer = self.with_state(|state| {
            state.requests.push((path.clone(), authorization));
            state.answers.get(&path).cloned()
        });
        let answer = answer.unwrap_or_else(|| Answer::status(404, "no such page"));
        if let Some(gate) = &answer.gate {
            gate.acquire().await.unwrap().forget();
        }
        let mut response = Response::builder().status(StatusCode::from_u16(answer.status).unwrap());
        for (name, value) in &answer.headers {
            response = response.header(*name, value);
        }
        response.body(Full::new(answer.body)).unwrap()
    }
}

/// An issuer with the contract's defaults, but for waits that suit a test.
pub(super) fn issuer(keys: KeySource, issuer: &str) -> Issuer {
    let claim = |name: &str| ClaimPath::Dotted(name.to_owned());
    Issuer {
        name: String::from("corp"),
        issuer: IssuerPattern::Exact(issuer.to_owned()),
        keys,
        audiences: vec![String::from("api")],
        algorithms: Algorithm::ALL.iter().copied().collect::<AlgorithmSet>(),
        token_types: Vec::new(),
        accept_id_tokens: false,
        leeway: Duration::from_secs(30),
        max_lifetime: None,
        required_claims: Vec::new(),
        audience_claim: claim("aud"),
        scope_claims: vec![claim("scope")],
        client_claims: vec![claim("client_id")],
        subject_claim: claim("sub"),
        jwks: Jwks {
            refresh: Duration::from_mins(10),
            cooldown: Duration::from_secs(10),
            wait: Duration::from_secs(20),
            timeout: Duration::from_secs(20),
            max_bytes: 64 * 1024,
            max_keys: 4,
            max_stale: Duration::from_hours(24),
            ca: None,
            token_file: None,
        },
        backchannel_logout: None,
    }
}
