//! HTTP/2 towards clients, from outside: what of it reaches an upstream, what does not, and how a connection ends.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;
mod tls_support;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::channel::{Channel, Sender};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use support::{Gateway, Reply, Server, corp, eventually, token};
use tls_support::{Authority, client};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

const NAME: &str = "api.example.com";

type Body = BoxBody<Bytes, Infallible>;

/// A gateway that takes HTTP/2, and what stands around it.
struct House {
    gateway: Gateway,
    upstream: Server,
    _provider: Server,
    authority: Authority,
}

/// A client's connection.
struct Client {
    sender: SendRequest<Body>,
    /// Ends with the connection.
    connection: JoinHandle<hyper::Result<()>>,
}

impl House {
    /// On plain connections; `server` is added to `[server]`.
    fn plain(server: &str) -> Self {
        Self::new(&format!("h2c = true\n{server}"))
    }

    fn secure(server: &str) -> Self {
        let tls = "[server.tls]\ncertificate = \"server.crt\"\nprivate_key = \"server.key\"";
        Self::new(&format!("{server}\n{tls}"))
    }

    fn new(server: &str) -> Self {
        let authority = Authority::new("Test CA");
        let folder = Arc::new(tempfile::tempdir().unwrap());
        authority.issue(&[NAME]).write(folder.path(), "server");
        let (upstream, provider) = (Server::echo(), Server::keys(vec![corp().jwk(support::KID)]));
        let top = format!("[server]\nlisten = [\"127.0.0.1:0\"]\n{server}\n");
        let routes = "path = \"/*\"\nupstream = \"api\"";
        let text = support::configuration(&top, &provider, "", &upstream, routes);
        let gateway = Gateway::written_in(folder, &text);
        eventually("ready", || gateway.admin_get("/readyz").status == 200);
        Self {
            gateway,
            upstream,
            _provider: provider,
            authority,
        }
    }

    fn address(&self) -> SocketAddr {
        self.gateway.public
    }

    async fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address()).await.unwrap();
        Client::over(stream).await
    }

    /// With the protocol that was agreed on.
    async fn secure_stream(&self, offered: &[&[u8]]) -> tokio_rustls::client::TlsStream<TcpStream> {
        let mut config = ClientConfig::clone(&client(&self.authority));
        config.alpn_protocols = offered.iter().map(|protocol| protocol.to_vec()).collect();
        let stream = TcpStream::connect(self.address()).await.unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(ServerName::try_from(NAME).unwrap(), stream)
            .await
            .unwrap()
    }
}

impl Client {
    async fn over(
        stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    ) -> Self {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
        Self {
            sender,
            connection: tokio::spawn(connection),
        }
    }

    async fn send(&mut self, request: Request<Body>) -> (Response<()>, Vec<u8>, HeaderMap) {
        let response = self.sender.send_request(request).await.unwrap();
        read(response).await
    }

    /// Waits until the connection is over.
    async fn ended(self) -> bool {
        let waiting = tokio::time::timeout(Duration::from_secs(20), self.connection);
        waiting.await.is_ok()
    }
}

async fn read(response: Response<Incoming>) -> (Response<()>, Vec<u8>, HeaderMap) {
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().cloned().unwrap_or_default();
    let bytes = body.to_bytes().to_vec();
    (Response::from_parts(head, ()), bytes, trailers)
}

fn builder(method: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(format!("https://{NAME}/orders?x=1"))
        .header("authorization", format!("Bearer {}", token(json!({}))))
}

fn nothing() -> Body {
    Empty::new().boxed()
}

fn good() -> Request<Body> {
    builder("GET").body(nothing()).unwrap()
}

fn reason(body: &[u8]) -> String {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    problem["reason"].as_str().unwrap_or_default().to_owned()
}

/// A body of parts that come when they are sent.
fn parts() -> (Sender<Bytes>, Body) {
    let (sender, body) = Channel::new(8);
    (sender, body.boxed())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_becomes_one_of_http_1_1_and_the_answer_one_of_http_2() {
    let house = House::secure("");
    let stream = house.secure_stream(&[b"h2", b"http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut client = Client::over(stream).await;
    let request = builder("GET")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("te", "trailers")
        .header("x_auth_subject", "admin")
        .header("x-forwarded-for", "6.6.6.6")
        .body(nothing());
    let (head, body, _) = client.send(request.unwrap()).await;
    assert_eq!(head.status(), StatusCode::OK, "{body:?}");
    assert!(head.headers().contains_key("x-request-id"));
    assert!(!head.headers().contains_key("connection"));
    let seen = house.upstream.last();
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("GET", "/orders?x=1")
    );
    assert_eq!(seen.all("host"), [NAME]);
    assert_eq!(seen.all("cookie"), ["a=1; b=2"]);
    assert_eq!(seen.all("x-auth-subject"), ["alice"]);
    assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.all("x-forwarded-proto"), ["https"]);
    assert_eq!(seen.all("x-forwarded-host"), [NAME]);
    for absent in [
        "te",
        "x_auth_subject",
        "transfer-encoding",
        "content-length",
    ] {
        assert_eq!(seen.all(absent), [""; 0], "{absent}");
    }
    let id = head.headers()["x-request-id"].to_str().unwrap();
    let record = house.gateway.record(id);
    assert_eq!(record["host"], NAME);
    assert_eq!(record["path"], "/orders");
    assert_eq!(record["status"], 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_wants_http_1_1_gets_it() {
    let house = House::secure("");
    let stream = house.secure_stream(&[b"http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_is_an_answer_like_any_and_the_connection_goes_on() {
    let house = House::plain("");
    let mut client = house.client().await;
    let request = Request::get(format!("http://{NAME}/orders")).body(nothing());
    let (head, body, _) = client.send(request.unwrap()).await;
    assert_eq!(head.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(reason(&body), "token_missing");
    assert_eq!(head.headers().get_all("www-authenticate").iter().count(), 1);
    let (head, ..) = client.send(good()).await;
    assert_eq!(head.status(), StatusCode::OK);
    assert!((house.gateway.metric("portcullis_requests_total", &[]) - 2.0).abs() < 0.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_one_connection_are_open_side_by_side() {
    let house = House::plain("workers = 1");
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(receiver);
    house.upstream.answer(move |_| {
        gate.lock().unwrap().recv().ok();
        Reply::Json(json!({ "is": "well" }))
    });
    let client = house.client().await;
    let open: Vec<_> = (0..50)
        .map(|_| {
            let mut sender = client.sender.clone();
            tokio::spawn(async move { sender.send_request(good()).await.unwrap().status() })
        })
        .collect();
    house.upstream.wait_for(50);
    drop(sender);
    for response in open {
        assert_eq!(response.await.unwrap(), StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_pass_both_ways_but_for_reserved_names() {
    let house = House::plain("");
    house.upstream.answer(|_| {
        let text = "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\nTrailer: grpc-status\r\n\r\n2\r\nok\r\n0\r\ngrpc-status: 0\r\nContent-Length: 7\r\n\r\n";
        Reply::Bytes(text.as_bytes().to_vec())
    });
    let mut client = house.client().await;
    let (mut sender, body) = parts();
    let mut trailers = HeaderMap::new();
    for (name, value) in [
        ("checksum", "1"),
        ("x-auth-subject", "admin"),
        ("authorization", "Bearer x"),
    ] {
        trailers.insert(name, value.parse().unwrap());
    }
    sender.send_data(Bytes::from("body")).await.unwrap();
    sender.send_trailers(trailers).await.unwrap();
    drop(sender);
    let (head, body, trailers) = client.send(builder("POST").body(body).unwrap()).await;
    assert_eq!(
        (head.status(), body.as_slice()),
        (StatusCode::OK, &b"ok"[..])
    );
    assert_eq!(trailers.get("grpc-status").unwrap(), "0");
    assert!(!trailers.contains_key("content-length"));
    let seen = house.upstream.last();
    assert_eq!(seen.body, b"body");
    assert_eq!(seen.trailers, [("checksum".to_owned(), "1".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn long_bodies_pass_both_ways_at_once() {
    let house = House::secure("");
    let sent: Vec<u8> = (0..3_000_000_u32).map(|at| at.to_be_bytes()[3]).collect();
    let expected = sent.clone();
    house.upstream.answer(move |request| {
        assert!(request.body == expected);
        let head = format!(
            "HTTP/1.1 200 X\r\nContent-Length: {}\r\n\r\n",
            expected.len()
        );
        Reply::Bytes([head.into_bytes(), expected.clone()].concat())
    });
    let stream = house.secure_stream(&[b"h2"]).await;
    let client = Client::over(stream).await;
    let exchanges: Vec<_> = (0..4)
        .map(|_| {
            let mut sender = client.sender.clone();
            let body = Full::new(Bytes::from(sent.clone())).boxed();
            tokio::spawn(async move {
                let request = builder("POST").body(body).unwrap();
                read(sender.send_request(request).await.unwrap()).await
            })
        })
        .collect();
    for exchange in exchanges {
        let (head, body, _) = exchange.await.unwrap();
        assert_eq!(head.status(), StatusCode::OK);
        assert!(body == sent);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_comes_while_the_body_is_still_sent_and_leaves_the_connection_usable() {
    let house = House::plain("");
    let mut client = house.client().await;
    let (mut sender, body) = parts();
    let request = Request::post(format!("http://{NAME}/orders")).body(body);
    sender
        .send_data(Bytes::from(vec![0; 10_000]))
        .await
        .unwrap();
    let (head, body, _) = client.send(request.unwrap()).await;
    assert_eq!(head.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(reason(&body), "token_missing");
    assert!(!head.headers().contains_key("connection"));
    let (head, ..) = client.send(good()).await;
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(house.upstream.count(), 1);
    drop(sender);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_has_its_limits_and_other_streams_do_not_suffer() {
    let house = House::plain("[server.limits]\nbody_bytes = \"1KiB\"\nbody_timeout = \"300ms\"");
    let mut client = house.client().await;
    let (mut sender, body) = parts();
    sender.send_data(Bytes::from(vec![0; 2000])).await.unwrap();
    let (head, body, _) = client.send(builder("POST").body(body).unwrap()).await;
    assert_eq!(
        (head.status(), reason(&body).as_str()),
        (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large")
    );
    drop(sender);
    let (mut sender, body) = parts();
    sender.send_data(Bytes::from("a")).await.unwrap();
    let (head, body, _) = client.send(builder("POST").body(body).unwrap()).await;
    assert_eq!(
        (head.status(), reason(&body).as_str()),
        (StatusCode::BAD_REQUEST, "request_malformed")
    );
    drop(sender);
    let (head, ..) = client.send(good()).await;
    assert_eq!(head.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn open_requests_are_not_timed_and_idle_connections_are() {
    let house =
        House::plain("[server.limits]\nidle_timeout = \"400ms\"\nheader_timeout = \"400ms\"");
    house.upstream.answer(|_| {
        std::thread::sleep(Duration::from_millis(1500));
        Reply::Status(204)
    });
    let mut client = house.client().await;
    let (head, ..) = client.send(good()).await;
    assert_eq!(head.status(), StatusCode::NO_CONTENT);
    let begun = Instant::now();
    assert!(client.ended().await);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    let connections = || {
        house
            .gateway
            .metric("portcullis_connections", &[("listener", "public")])
    };
    eventually("no connection", || connections() < 0.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_lets_open_requests_finish_and_takes_no_new_ones() {
    let house = House::plain("drain = \"20s\"\nworkers = 1");
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(receiver);
    house.upstream.answer(move |_| {
        gate.lock().unwrap().recv().ok();
        Reply::Json(json!({ "is": "well" }))
    });
    let idle = house.client().await;
    let client = house.client().await;
    let mut requests = client.sender.clone();
    let open = tokio::spawn(async move { requests.send_request(good()).await.unwrap().status() });
    house.upstream.wait_for(1);
    house.gateway.signal("TERM");
    assert!(idle.ended().await, "an idle connection ends at once");
    let mut late = client.sender.clone();
    drop(sender);
    assert_eq!(open.await.unwrap(), StatusCode::OK);
    assert!(client.ended().await);
    assert!(late.send_request(good()).await.is_err());
    let House { gateway, .. } = house;
    let begun = Instant::now();
    assert!(gateway.wait().success());
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn prior_knowledge_is_for_those_who_asked_for_it_and_leaves_http_1_1_alone() {
    let house = House::plain("");
    let (head, ..) = house.client().await.send(good()).await;
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(
        house.upstream.last().header("x-forwarded-proto"),
        Some("http")
    );
    for target in ["/orders", "/post"] {
        let response = house.gateway.get(target, &token(json!({})));
        assert_eq!(response.status, 200);
    }
    let post = support::Request::new("PRIMARY", "/orders").bearer(&token(json!({})));
    assert_eq!(
        house.gateway.send(&post).status,
        200,
        "a method that begins as the preface does"
    );

    let house = House::new("");
    let stream = TcpStream::connect(house.address()).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    assert!(sender.send_request(good()).await.is_err());
    assert_eq!(house.upstream.count(), 0);
}

#[test]
fn a_preface_that_stands_still_is_cut_off() {
    let house = House::plain("[server.limits]\nheader_timeout = \"300ms\"");
    let mut connection = support::Connection::open(house.address());
    connection.send(b"PRI * HT");
    assert!(connection.is_closed());
}
