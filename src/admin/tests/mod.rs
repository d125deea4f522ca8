//! The admin listener over real sockets, with a made-up gateway behind it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::*;
use crate::algorithm::AlgorithmSet;
use crate::config::{Auth, ClaimPath, Issuer, IssuerPattern, Jwks, KeySource, Secret, Tenants};
use crate::telemetry::{Metrics, sample};
use crate::time::UnixTime;

mod access;
mod revoking;

const NOW: i64 = 1_900_000_000;
const TENANT: &str = "8d2f1c3e-0000-4000-8000-00000000abcd";

fn issuer(name: &str, pattern: IssuerPattern, max_lifetime: Option<Duration>) -> Issuer {
    let second = Duration::from_secs(1);
    Issuer {
        name: name.to_owned(),
        issuer: pattern,
        keys: KeySource::Discovery,
        audiences: vec!["api".to_owned()],
        algorithms: AlgorithmSet::default(),
        token_types: vec![],
        accept_id_tokens: false,
        leeway: Duration::from_secs(30),
        max_lifetime,
        required_claims: vec![],
        audience_claim: ClaimPath::Dotted("aud".to_owned()),
        scope_claims: vec![],
        client_claims: vec![],
        subject_claim: ClaimPath::Dotted("sub".to_owned()),
        jwks: Jwks {
            refresh: second,
            cooldown: second,
            wait: second,
            timeout: second,
            max_bytes: 1,
            max_keys: 1,
            max_stale: second,
            ca: None,
            token_file: None,
        },
        backchannel_logout: None,
    }
}

fn config() -> Config {
    let mut config = sample::config(&["orders"]);
    let template = |part: &str| part.to_owned();
    config.issuers = vec![
        issuer(
            "corp",
            IssuerPattern::Exact("https://id.example.com/".to_owned()),
            Some(Duration::from_hours(1)),
        ),
        issuer(
            "entra",
            IssuerPattern::Tenanted {
                template: template("https://login.example.com/{tid}/v2.0"),
                prefix: template("https://login.example.com/"),
                suffix: template("/v2.0"),
                tenants: Tenants::Only(vec![TENANT.to_owned()]),
            },
            None,
        ),
    ];
    for route in &mut config.routes {
        route.auth = Auth::Required;
        route.issuers = vec![IssuerId(0), IssuerId(1)];
    }
    config.admin.token = Some(Secret::from_file_content(b"s3cret\n".to_vec()));
    config.admin.hosts = vec!["portcullis.internal".to_owned()];
    config
}

struct Fake {
    config: Arc<Config>,
    metrics: Arc<ConfiguredMetrics>,
    phase: Phase,
    usable: AtomicU8,
    tried: bool,
}

impl Fake {
    fn new(config: Config, phase: Phase, usable: u8, tried: bool) -> Self {
        let config = Arc::new(config);
        Self {
            metrics: Arc::new(Arc::new(Metrics::new()).configure(&config)),
            config,
            phase,
            usable: AtomicU8::new(usable),
            tried,
        }
    }
}

impl Runtime for Fake {
    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config)
    }
    fn metrics(&self) -> Arc<ConfiguredMetrics> {
        Arc::clone(&self.metrics)
    }
    fn phase(&self) -> Phase {
        self.phase
    }
    fn issuers(&self) -> Vec<IssuerHealth> {
        let usable = usize::from(self.usable.load(Ordering::Relaxed));
        let issuers = self.config.issuers.iter().enumerate();
        issuers
            .map(|(place, issuer)| IssuerHealth {
                name: issuer.name.as_str().into(),
                keys: 2,
                age: Some(Duration::from_secs(5)),
                usable: place < usable,
                tried: self.tried,
            })
            .collect()
    }
    fn pulled(&self) -> PulledValues {
        PulledValues {
            cache_entries: 42,
            ..PulledValues::default()
        }
    }
    fn keys_named(&self, _issuer: IssuerId, name: &str) -> Vec<Thumbprint> {
        match name {
            "k1" => vec![Thumbprint([1; 32])],
            "shared" => vec![Thumbprint([1; 32]), Thumbprint([2; 32])],
            _ => vec![],
        }
    }
    fn operator<'a>(
        &'a self,
        _request: &'a Parts,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<Identity>, Refusal>> + Send + 'a>> {
        Box::pin(async {
            Err(Refusal {
                reason: Rejection::TokenMissing,
                issuer: IssuerLabel::None,
                retry_after: None,
            })
        })
    }
    fn explain<'a>(
        &'a self,
        token: &'a str,
        request: Option<Parts>,
    ) -> Pin<Box<dyn Future<Output = Value> + Send + 'a>> {
        Box::pin(async move {
            let request = request.map(|it| {
                let host = it.headers.get("host").unwrap().to_str().unwrap().to_owned();
                json!([it.method.as_str(), it.uri.to_string(), host])
            });
            json!({ "length": token.len(), "request": request })
        })
    }
}

struct Gateway {
    address: SocketAddr,
    _shutdown: oneshot::Sender<()>,
}

struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

impl Gateway {
    /// One whose listener is taken for a loopback one, or not.
    async fn start(is_loopback: bool) -> Self {
        Self::with(is_loopback, Phase::Running, 2, true).await
    }

    async fn with(is_loopback: bool, phase: Phase, usable: u8, tried: bool) -> Self {
        Self::running(Fake::new(config(), phase, usable, tried), is_loopback).await
    }

    async fn running(fake: Fake, is_loopback: bool) -> Self {
        let clock = Clock::from_fn(|| UnixTime::from_seconds(NOW));
        let revocations = Arc::new(Ledger::in_memory());
        let state = AdminState::new(Arc::new(fake), revocations, clock, is_loopback);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, ended) = oneshot::channel::<()>();
        tokio::spawn(serve(listener, Arc::new(state), async {
            ended.await.ok();
        }));
        Self {
            address,
            _shutdown: shutdown,
        }
    }

    /// Sends the bytes and reads to the end.
    async fn raw(&self, request: &str) -> Reply {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        Reply {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }

    async fn send(&self, method: &str, target: &str, headers: &str, body: &str) -> Reply {
        let length = body.len();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        );
        self.raw(&request).await
    }

    async fn get(&self, target: &str) -> Reply {
        self.send("GET", target, "", "").await
    }

    async fn post(&self, target: &str, body: &Value) -> Reply {
        let headers = "Content-Type: application/json\r\n";
        self.send("POST", target, headers, &body.to_string()).await
    }
}
