//! A client that sends exactly the bytes it is told to, and reads exactly one answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// More than any answer takes; what does not come by then does not come.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
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

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The status, and the reason where it is a rejection: `200`, `401 token_expired`.
    pub fn outcome(&self) -> String {
        format!("{} {}", self.status, self.reason())
            .trim_end()
            .to_owned()
    }

    /// The `reason` of a problem body; empty if the answer is none of the gateway's rejections.
    pub fn reason(&self) -> String {
        let problem: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        problem["reason"].as_str().unwrap_or_default().to_owned()
    }
}

/// One connection that is kept.
pub struct Connection<S = TcpStream> {
    reader: BufReader<S>,
}

/// A connection that waits for nothing longer than answers take.
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_nodelay(true).expect("no delay");
    stream
}

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        Self::over(connect(address))
    }
}

impl<S: Read + Write> Connection<S> {
    pub fn over(stream: S) -> Self {
        Self {
            reader: BufReader::new(stream),
        }
    }

    /// Sends; that the other side has closed shows when reading.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.reader.get_mut().write_all(bytes).is_ok()
    }

    /// The next answer; `None` if the other side closed instead. `to_head`: an answer to HEAD has no body.
    pub fn read(&mut self, to_head: bool) -> Option<Response> {
        loop {
            let mut response = self.read_head()?;
            if response.status == 100 {
                continue;
            }
            if !to_head && !matches!(response.status, 204 | 304) {
                response.body = self.read_body(&response)?;
            }
            return Some(response);
        }
    }

    fn read_head(&mut self) -> Option<Response> {
        let line = self.line()?;
        let status = line.split(' ').nth(1)?.parse().ok()?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            match line.split_once(':') {
                Some((name, value)) => headers.push((name.to_owned(), value.trim().to_owned())),
                None => break,
            }
        }
        Some(Response {
            status,
            headers,
            body: Vec::new(),
        })
    }

    fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        let length = self.reader.read_until(b'\n', &mut line).ok()?;
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        (length > 0).then_some(text)
    }

    fn read_body(&mut self, head: &Response) -> Option<Vec<u8>> {
        if head.header("transfer-encoding").is_some() {
            return self.read_chunks();
        }
        let mut body = Vec::new();
        match head.header("content-length") {
            Some(length) => {
                body.resize(length.parse().ok()?, 0);
                self.reader.read_exact(&mut body).ok()?;
            }
            None => {
                self.reader.read_to_end(&mut body).ok()?;
            }
        }
        Some(body)
    }

    /// Trailers are left out.
    fn read_chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = usize::from_str_radix(self.line()?.split(';').next()?.trim(), 16).ok()?;
            if size == 0 {
                while !self.line()?.is_empty() {}
                return Some(body);
            }
            let start = body.len();
            body.resize(start + size, 0);
            self.reader.read_exact(&mut body[start..]).ok()?;
            self.line()?;
        }
    }

    /// Whether the other side closes, within the time that answers are given.
    pub fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.reader.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }

    pub fn stream(&self) -> &S {
        self.reader.get_ref()
    }

    pub fn stream_mut(&mut self) -> &mut S {
        self.reader.get_mut()
    }
}

/// Sends those bytes on a connection of their own and reads one answer.
pub fn raw(address: SocketAddr, bytes: &[u8]) -> Option<Response> {
    let mut connection = Connection::open(address);
    connection.send(bytes);
    connection.read(bytes.starts_with(b"HEAD "))
}

/// A request under construction.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    pub fn json(mut self, body: &Value) -> Self {
        self.body = body.to_string().into_bytes();
        self.header("Content-Type", "application/json")
    }

    pub fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    pub fn bytes(&self, host: &str) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if !self
            .headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            text += &format!("Host: {host}\r\n");
        }
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        if !self.body.is_empty() {
            text += &format!("Content-Length: {}\r\n", self.body.len());
        }
        let mut bytes = (text + "\r\n").into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Sends on a connection of its own.
    pub fn send(&self, address: SocketAddr) -> Response {
        self.try_send(address)
            .unwrap_or_else(|| panic!("no answer to {} {}", self.method, self.target))
    }

    pub fn try_send(&self, address: SocketAddr) -> Option<Response> {
        raw(address, &self.bytes(&address.to_string()))
    }
}
