//! HTTP/2 as a client speaks it who writes every frame himself, and may write wrong ones (RFC 9113, RFC 7541).

#![allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "each suite takes what it needs, and a test fails by panicking"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::support::http::connect;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub const NO_ERROR: u32 = 0;
pub const PROTOCOL_ERROR: u32 = 1;
pub const REFUSED_STREAM: u32 = 7;
pub const ENHANCE_YOUR_CALM: u32 = 11;

#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The error that a `RST_STREAM` or a `GOAWAY` names.
    pub fn error(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("four bytes"))
    }

    pub fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }
}

/// A connection on which nothing has been read yet.
pub struct Raw<S = TcpStream> {
    pub stream: S,
}

impl Raw {
    /// With the preface and empty settings sent.
    pub fn open(address: SocketAddr) -> Self {
        Self::over(connect(address))
    }
}

impl<S: Read + Write> Raw<S> {
    pub fn over(stream: S) -> Self {
        let mut raw = Self { stream };
        raw.stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .expect("a preface");
        raw.send(SETTINGS, 0, 0, &[]);
        raw
    }

    /// Whether it could be written.
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        let length = u32::try_from(payload.len()).expect("a short payload");
        let mut frame = length.to_be_bytes()[1..].to_vec();
        frame.extend_from_slice(&[kind, flags]);
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        self.stream.write_all(&frame).is_ok()
    }

    /// A request without a body; `lines` are all of its fields, pseudo-fields first.
    pub fn request(&mut self, stream: u32, lines: &[(&str, &str)]) -> bool {
        let flags = END_HEADERS | END_STREAM;
        self.send(HEADERS, flags, stream, &block(lines))
    }

    /// The next frame; `None` if the other side closed.
    pub fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).ok()?;
        let frame = Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload,
        };
        if frame.kind == SETTINGS && frame.flags == 0 {
            self.send(SETTINGS, 1, 0, &[]);
        }
        if frame.kind == PING && frame.flags == 0 {
            let payload = frame.payload.clone();
            self.send(PING, 1, 0, &payload);
        }
        Some(frame)
    }

    /// The next frame that is so; `None` if the other side closed before.
    pub fn find(&mut self, is_meant: impl Fn(&Frame) -> bool) -> Option<Frame> {
        loop {
            let frame = self.frame()?;
            if is_meant(&frame) {
                return Some(frame);
            }
        }
    }

    /// What ends that stream: its body if it was answered, or the error.
    pub fn outcome(&mut self, stream: u32) -> Result<String, u32> {
        let mut body = Vec::new();
        loop {
            let Some(frame) = self.frame() else {
                return Err(u32::MAX);
            };
            match frame.kind {
                GOAWAY if frame.error() != NO_ERROR => return Err(frame.error()),
                RST_STREAM if frame.stream == stream => return Err(frame.error()),
                DATA if frame.stream == stream => body.extend_from_slice(&frame.payload),
                _ => {}
            }
            if frame.stream == stream && frame.ends_stream() {
                return Ok(String::from_utf8_lossy(&body).into_owned());
            }
        }
    }

    /// The settings that the other side announces.
    pub fn settings(&mut self) -> Vec<(u16, u32)> {
        let frame = self.find(|frame| frame.kind == SETTINGS && frame.flags == 0);
        let payload = frame.expect("settings").payload;
        let setting = |six: &[u8]| {
            let number = u16::from_be_bytes([six[0], six[1]]);
            (number, u32::from_be_bytes([six[2], six[3], six[4], six[5]]))
        };
        payload.chunks_exact(6).map(setting).collect()
    }
}

/// Fields as literals that nobody has to remember (RFC 7541 §6.2.2).
pub fn block(lines: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in lines {
        block.push(0);
        for text in [name, value] {
            push_length(text.len(), &mut block);
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// RFC 7541 §5.1, with seven bits in the first byte.
fn push_length(length: usize, block: &mut Vec<u8>) {
    let byte = |number: usize| u8::try_from(number).expect("a byte");
    if length < 127 {
        block.push(byte(length));
        return;
    }
    block.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        block.push(byte(rest % 128 + 128));
        rest /= 128;
    }
    block.push(byte(rest));
}
