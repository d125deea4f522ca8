//! Tests of forwarding over real sockets: a raw client, hyper's server, an upstream under test and a raw API behind it.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::task::spawn_local;
use tokio::time::Instant;

use crate::config::{self, Limits};
use crate::rejection::Rejection;
use crate::telemetry::UpstreamErrorKind;

use super::activity::{Activity, ClientStream};
use super::body::{RequestBody, UpstreamBody};
use super::headers::ReservedNames;
use super::pool::{Pool, PoolKey};
use super::testing;
use super::timer::Timer;
use super::upstream::{OutgoingHead, RecycledMaps, Resources, Upstream};
use super::upstream_connection::push_field;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn run<F: Future>(future: F) -> F::Output {
    Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .unwrap()
        .block_on(async {
            tokio::time::timeout(Duration::from_secs(20), future)
                .await
                .unwrap()
        })
}

/// What an API does after reading a request.
#[derive(Clone, Copy)]
enum Step {
    Answer(&'static str),
    AnswerAndHangUp(&'static str),
    HangUp,
    Silence,
}

/// An API that takes one step a request, and tells what it got and on which connection.
struct Api {
    address: SocketAddr,
    seen: Rc<RefCell<Vec<(usize, String)>>>,
}

impl Api {
    async fn start(steps: &[Step]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Rc::<RefCell<Vec<(usize, String)>>>::default();
        let steps = Rc::new(RefCell::new(steps.to_vec()));
        let log = Rc::clone(&seen);
        spawn_local(async move {
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                spawn_local(serve(stream, number, Rc::clone(&steps), Rc::clone(&log)));
            }
        });
        Self { address, seen }
    }

    fn connections(&self) -> Vec<usize> {
        self.seen
            .borrow()
            .iter()
            .map(|(number, _)| *number)
            .collect()
    }

    fn request(&self, place: usize) -> String {
        self.seen.borrow()[place].1.clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    number: usize,
    steps: Rc<RefCell<Vec<Step>>>,
    log: Rc<RefCell<Vec<(usize, String)>>>,
) {
    while let Some(request) = read_request(&mut stream).await {
        log.borrow_mut().push((number, request));
        let step = steps.borrow_mut().remove(0);
        match step {
            Step::Answer(text) => stream.write_all(text.as_bytes()).await.unwrap(),
            Step::AnswerAndHangUp(text) => {
                stream.write_all(text.as_bytes()).await.unwrap();
                return;
            }
            Step::HangUp => return,
            Step::Silence => std::future::pending().await,
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut text = String::new();
    let mut bytes = [0; 4096];
    loop {
        let count = stream.read(&mut bytes).await.ok().filter(|it| *it > 0)?;
        text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        let is_chunked = text.contains("transfer-encoding: chunked");
        if text.ends_with("\r\n\r\n") && (!is_chunked || text.contains("\r\n0\r\n")) {
            return Some(text);
        }
    }
}

fn upstream(config: &config::Upstream) -> Upstream {
    Upstream::new(config, |server| {
        let key = PoolKey {
            host: server.host.clone(),
            port: server.port,
            keep_alive: config.keep_alive,
            tls: None,
        };
        Rc::new(Pool::new(key, None))
    })
}

fn head(method: &str) -> Parts {
    let request = Request::builder()
        .method(method)
        .uri("/a")
        .header("host", "h");
    request.body(()).unwrap().into_parts().0
}

type Sent = (Result<(u16, String), Rejection>, Vec<UpstreamErrorKind>);

/// Sends a request without a body and reads the answer to its end.
async fn send(upstream: &Upstream, method: &str) -> Sent {
    forward(upstream, head(method), RequestBody::empty()).await
}

async fn forward(upstream: &Upstream, head: Parts, body: RequestBody) -> Sent {
    let mut kinds = Vec::new();
    let outcome = sent(upstream, &head, body, |kind| kinds.push(kind)).await;
    let outcome = match outcome {
        Err(reason) => Err(reason),
        Ok(response) => {
            let status = response.status().as_u16();
            let mut body = response.into_body();
            let mut text = Vec::new();
            while let Some(frame) = body.frame().await {
                text.extend_from_slice(frame.unwrap().data_ref().unwrap());
            }
            Ok((status, String::from_utf8(text).unwrap()))
        }
    };
    (outcome, kinds)
}

/// Sends a request that looks as the client's did.
async fn sent(
    upstream: &Upstream,
    head: &Parts,
    body: RequestBody,
    on_error: impl FnMut(UpstreamErrorKind),
) -> Result<Response<UpstreamBody>, Rejection> {
    let write = |_: Option<&HeaderValue>, out: &mut Vec<u8>| {
        out.extend_from_slice(format!("{} /a HTTP/1.1\r\n", head.method).as_bytes());
        for (name, value) in &head.headers {
            if !matches!(*name, CONTENT_LENGTH | TRANSFER_ENCODING) {
                push_field(out, name.as_str(), value.as_bytes());
            }
        }
    };
    let outgoing = OutgoingHead {
        method: &head.method,
        has_length: head.headers.contains_key(CONTENT_LENGTH),
        write: &write,
    };
    let resources = Resources {
        recycled: &RecycledMaps::default(),
        timer: &Timer::default(),
    };
    upstream
        .send(&outgoing, body, resources, Instant::now(), on_error)
        .await
}

fn fine() -> (u16, String) {
    (200, "ok".to_owned())
}

#[test]
fn a_connection_is_used_again_once_the_answer_has_come() {
    run(async {
        let api = Api::start(&[Step::Answer(OK); 3]).await;
        let upstream = upstream(&testing::upstream(&[api.address]));
        for method in ["GET", "POST", "GET"] {
            assert_eq!(send(&upstream, method).await, (Ok(fine()), vec![]));
        }
        assert_eq!(api.connections(), [0, 0, 0]);
    });
}

#[test]
fn an_idempotent_request_is_sent_again_on_a_fresh_connection() {
    run(async {
        let api = Api::start(&[Step::Answer(OK), Step::HangUp, Step::Answer(OK)]).await;
        let upstream = upstream(&testing::upstream(&[api.address]));
        assert_eq!(send(&upstream, "GET").await, (Ok(fine()), vec![]));
        assert_eq!(
            send(&upstream, "GET").await,
            (Ok(fine()), vec![UpstreamErrorKind::Reset])
        );
        assert_eq!(api.connections(), [0, 0, 1]);
    });
}

#[test]
fn a_post_that_may_have_arrived_is_not_sent_again() {
    run(async {
        let api = Api::start(&[Step::HangUp, Step::Answer(OK)]).await;
        let upstream = upstream(&testing::upstream(&[api.address]));
        let broken = Err(Rejection::UpstreamUnreachable);
        assert_eq!(
            send(&upstream, "POST").await,
            (broken, vec![UpstreamErrorKind::Reset])
        );
        assert_eq!(api.connections(), [0]);
    });
}

#[test]
fn requests_survive_a_server_that_hung_up_on_idle_connections() {
    run(async {
        let api = Api::start(&[Step::AnswerAndHangUp(OK); 4]).await;
        let mut config = testing::upstream(&[api.address]);
        config.retries = 0;
        let upstream = upstream(&config);
        for method in ["GET", "POST", "GET", "POST"] {
            assert_eq!(
                send(&upstream, method).await,
                (Ok(fine()), vec![]),
                "{method}"
            );
        }
        assert_eq!(api.connections(), [0, 1, 2, 3]);
    });
}

#[test]
fn another_server_is_asked_when_one_refuses() {
    run(async {
        let api = Api::start(&[Step::Answer(OK); 2]).await;
        let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let nobody = refusing.local_addr().unwrap();
        drop(refusing);
        let both = upstream(&testing::upstream(&[nobody, api.address]));
        for _ in 0..2 {
            assert_eq!(send(&both, "POST").await.0, Ok(fine()));
        }
        let alone = upstream(&testing::upstream(&[nobody]));
        assert_eq!(
            send(&alone, "GET").await,
            (
                Err(Rejection::UpstreamUnreachable),
                vec![UpstreamErrorKind::Connect; 2]
            )
        );
    });
}

#[test]
fn a_silent_server_times_out_and_is_not_asked_again() {
    run(async {
        let api = Api::start(&[Step::Silence, Step::Answer(OK)]).await;
        let mut config = testing::upstream(&[api.address]);
        config.response_timeout = Duration::from_millis(50);
        let upstream = upstream(&config);
        assert_eq!(
            send(&upstream, "GET").await,
            (
                Err(Rejection::UpstreamTimeout),
                vec![UpstreamErrorKind::ResponseTimeout]
            )
        );
        assert_eq!(api.connections(), [0]);
    });
}

#[test]
fn answers_that_break_the_protocol_are_refused() {
    run(async {
        for text in [
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            "SSH-2.0-OpenSSH\r\n\r\n",
        ] {
            let api = Api::start(&[Step::AnswerAndHangUp(text)]).await;
            let upstream = upstream(&testing::upstream(&[api.address]));
            let (outcome, kinds) = send(&upstream, "GET").await;
            assert_eq!(outcome, Err(Rejection::UpstreamUnreachable), "{text}");
            assert_eq!(kinds, [UpstreamErrorKind::Protocol], "{text}");
        }
    });
}

#[test]
fn an_answer_that_breaks_off_does_not_end_well() {
    run(async {
        let cut = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel";
        let api = Api::start(&[Step::AnswerAndHangUp(cut)]).await;
        let upstream = upstream(&testing::upstream(&[api.address]));
        let response = sent(&upstream, &head("GET"), RequestBody::empty(), |_| {}).await;
        let mut body = response.unwrap().into_body();
        let mut last = None;
        while let Some(frame) = body.frame().await {
            last = Some(frame.is_ok());
        }
        assert_eq!(last, Some(false));
    });
}

/// What becomes of a raw request with a body, within `limits`; the client keeps its side open meanwhile.
async fn proxied(raw: &str, limits: Limits, api: &Api) -> Result<(u16, String), Rejection> {
    let (mut client, server) = tokio::io::duplex(64 << 10);
    let upstream = Rc::new(upstream(&testing::upstream(&[api.address])));
    let outcome = Rc::<RefCell<Option<_>>>::default();
    let result = Rc::clone(&outcome);
    let service = service_fn(move |request: Request<Incoming>| {
        let (upstream, result) = (Rc::clone(&upstream), Rc::clone(&result));
        async move {
            let (head, body) = request.into_parts();
            let reserved = Arc::new(ReservedNames::new(&testing::config()));
            let body = RequestBody::new(body, &limits, &reserved, || Activity::new().open());
            let (sent, _) = forward(&upstream, head, body).await;
            *result.borrow_mut() = Some(sent);
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    spawn_local(http1::Builder::new().serve_connection(TokioIo::new(server), service));
    client.write_all(raw.as_bytes()).await.unwrap();
    let mut answer = [0; 64];
    assert!(client.read(&mut answer).await.unwrap() > 0);
    outcome.take().unwrap()
}

#[test]
fn the_chunked_body_of_a_get_reaches_the_upstream_without_smuggled_trailers() {
    run(async {
        let api = Api::start(&[Step::Answer(OK)]).await;
        let raw = "GET /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: checksum, x-auth-subject\r\n\r\n\
                   5\r\nhello\r\n0\r\nchecksum: 7\r\nx-auth-subject: admin\r\n\r\n";
        assert_eq!(proxied(raw, testing::limits(), &api).await, Ok(fine()));
        let seen = api.request(0);
        assert!(seen.contains("transfer-encoding: chunked\r\n"), "{seen}");
        assert!(seen.contains("\r\n5\r\nhello\r\n0\r\n"), "{seen}");
        assert!(seen.contains("checksum: 7\r\n"), "{seen}");
        assert!(!seen.contains("admin"), "{seen}");
    });
}

#[test]
fn a_clients_faults_are_not_the_upstreams() {
    let small = Limits {
        body_bytes: Some(8),
        ..testing::limits()
    };
    let impatient = Limits {
        body_timeout: Duration::from_millis(50),
        ..testing::limits()
    };
    let start = "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (limits, rest, reason) in [
        (
            testing::limits(),
            "5\r\nhelloX",
            Rejection::RequestMalformed,
        ),
        (testing::limits(), "zz\r\n", Rejection::RequestMalformed),
        (
            small,
            "5\r\nhello\r\n5\r\nworld\r\n",
            Rejection::BodyTooLarge,
        ),
        (impatient, "5\r\nhel", Rejection::RequestMalformed),
    ] {
        run(async {
            let api = Api::start(&[Step::Answer(OK)]).await;
            let raw = format!("{start}{rest}");
            assert_eq!(proxied(&raw, limits, &api).await, Err(reason), "{rest}");
            assert!(api.seen.borrow().is_empty(), "the request was not whole");
        });
    }
}

#[test]
fn a_client_that_is_still_sending_gets_its_answer() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let activity = Activity::new();
        let _open = activity.begin_request(true);
        let mut server = ClientStream::new(stream, activity);
        let closing = spawn_local(async move {
            server.write_all(b"answer").await.unwrap();
            server.shutdown().await
        });
        client.write_all(&vec![0; 8 << 20]).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "answer");
        drop(client);
        closing.await.unwrap().unwrap();
    });
}
