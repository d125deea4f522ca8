//! A permissive HTTP/1.1 server that records what it gets and answers what it is told: an API behind the gateway, or
//! a provider's key set.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

/// A request as it came over the wire.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: String,
    pub target: String,
    /// As written, in order.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// Which connection it came on, counted from 0.
    pub connection: usize,
}

impl Received {
    pub fn all(&self, name: &str) -> Vec<&str> {
        let is_named = |(header, _): &&(String, String)| header.eq_ignore_ascii_case(name);
        self.headers
            .iter()
            .filter(is_named)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }
}

/// What to do about a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// 200 with that JSON.
    Json(Value),
    /// That status, no body.
    Status(u16),
    /// Those bytes, then the connection goes on.
    Bytes(Vec<u8>),
    /// Those bytes, then the connection is closed.
    BytesAndClose(Vec<u8>),
    /// Nothing, and the connection stays open until the client leaves.
    Hang,
    /// Nothing, and the connection is closed.
    Close,
}

type Handler = dyn Fn(&Received) -> Reply + Send + Sync;

pub struct Server {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    handler: Mutex<Arc<Handler>>,
    received: Mutex<Vec<Received>>,
    changed: Condvar,
}

impl Server {
    pub fn start(handler: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address"), handler)
    }

    pub fn start_at(
        address: SocketAddr,
        handler: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start_over(address, Some, handler)
    }

    /// Speaks through what `wrap` makes of each connection.
    pub fn start_over<S: Read + Write>(
        address: SocketAddr,
        wrap: impl Fn(TcpStream) -> Option<S> + Send + Sync + 'static,
        handler: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let wrap = Arc::new(wrap);
        let listener = TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            handler: Mutex::new(Arc::new(handler)),
            received: Mutex::default(),
            changed: Condvar::new(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let shared = Arc::clone(&accepting);
                let Ok(stream) = stream else { return };
                let wrap = Arc::clone(&wrap);
                std::thread::spawn(move || {
                    if let Some(stream) = wrap(stream) {
                        converse(stream, number, &shared);
                    }
                });
            }
        });
        Self { address, shared }
    }

    /// Answers with what it received: method, target, headers, length of the body.
    pub fn echo() -> Self {
        Self::start(|request| {
            Reply::Json(json!({
                "method": request.method, "target": request.target, "headers": request.headers,
                "body_bytes": request.body.len(),
            }))
        })
    }

    /// A provider's key set at `/jwks`, with discovery for the issuer `http://ADDRESS`.
    pub fn keys(keys: Vec<Value>) -> Self {
        let server = Self::start(|_| Reply::Status(503));
        server.serve_keys(keys);
        server
    }

    /// Replaces the key set.
    pub fn serve_keys(&self, keys: Vec<Value>) {
        let issuer = self.url();
        self.answer(move |request| match request.target.as_str() {
            "/jwks" => Reply::Json(json!({ "keys": keys })),
            "/.well-known/openid-configuration" => {
                Reply::Json(json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/jwks") }))
            }
            _ => Reply::Status(404),
        });
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on answers so.
    pub fn answer(&self, handler: impl Fn(&Received) -> Reply + Send + Sync + 'static) {
        *self.shared.handler.lock().expect("a lock") = Arc::new(handler);
    }

    /// Every request so far.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().expect("a lock").clone()
    }

    pub fn last(&self) -> Received {
        self.received().pop().expect("a request")
    }

    pub fn count(&self) -> usize {
        self.shared.received.lock().expect("a lock").len()
    }

    /// Waits until that many requests have come.
    pub fn wait_for(&self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        let mut received = self.shared.received.lock().expect("a lock");
        while received.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "{} of {count} requests came",
                received.len()
            );
            received = self
                .shared
                .changed
                .wait_timeout(received, left)
                .expect("a lock")
                .0;
        }
    }
}

fn converse<S: Read + Write>(stream: S, number: usize, shared: &Shared) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader, number) {
        {
            let mut received = shared.received.lock().expect("a lock");
            received.push(request.clone());
            shared.changed.notify_all();
        }
        let handler = Arc::clone(&shared.handler.lock().expect("a lock"));
        let (bytes, goes_on) = match handler(&request) {
            Reply::Json(body) => (with_body(200, &body.to_string()), true),
            Reply::Status(status) => (with_body(status, ""), true),
            Reply::Bytes(bytes) => (bytes, true),
            Reply::BytesAndClose(bytes) => (bytes, false),
            Reply::Close => (Vec::new(), false),
            Reply::Hang => {
                let mut rest = Vec::new();
                drop(reader.read_to_end(&mut rest));
                return;
            }
        };
        if reader.get_mut().write_all(&bytes).is_err() || !goes_on {
            return;
        }
    }
}

fn with_body(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

fn line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = Vec::new();
    let length = reader.read_until(b'\n', &mut line).ok()?;
    (length > 0).then(|| {
        String::from_utf8_lossy(&line)
            .trim_end_matches(['\r', '\n'])
            .to_owned()
    })
}

fn fields(reader: &mut impl BufRead) -> Option<Vec<(String, String)>> {
    let mut fields = Vec::new();
    loop {
        let line = line(reader)?;
        if line.is_empty() {
            return Some(fields);
        }
        let (name, value) = line.split_once(':')?;
        fields.push((name.to_owned(), value.trim().to_owned()));
    }
}

fn read_request(reader: &mut impl BufRead, connection: usize) -> Option<Received> {
    let first = line(reader)?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut request = Received {
        method,
        target,
        headers: fields(reader)?,
        body: Vec::new(),
        trailers: Vec::new(),
        connection,
    };
    if request.header("transfer-encoding").is_some() {
        loop {
            let size = usize::from_str_radix(line(reader)?.split(';').next()?.trim(), 16).ok()?;
            if size == 0 {
                request.trailers = fields(reader)?;
                break;
            }
            let start = request.body.len();
            request.body.resize(start + size, 0);
            reader.read_exact(&mut request.body[start..]).ok()?;
            line(reader)?;
        }
    } else if let Some(length) = request.header("content-length") {
        let mut body = vec![0; length.parse().ok()?];
        reader.read_exact(&mut body).ok()?;
        request.body = body;
    }
    Some(request)
}
