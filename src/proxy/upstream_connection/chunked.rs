//! Bodies whose length is not known beforehand: chunked transfer coding as it is read (RFC 9112 §7.1).
//!
//! Owns the grammar, taken strictly: what another reader might understand otherwise is an error. Knows no sockets.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;

use super::response::trailers;

/// So many hexadecimal digits hold every length.
const MAX_DIGITS: usize = 16;
/// The line before a chunk, extensions included, in bytes.
const MAX_LINE: usize = 4 << 10;
/// All trailers, in bytes.
const MAX_TRAILERS: usize = 16 << 10;

/// The coding is broken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// What can be read next.
#[derive(Debug, PartialEq)]
pub(super) enum Part {
    Data(Bytes),
    /// The end, and the trailers where there are some.
    End(Option<HeaderMap>),
    /// More has to come first.
    Incomplete,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Size,
    Data { left: u64 },
    DataEnd,
    Trailers,
}

/// Reads one body.
#[derive(Debug)]
pub(super) struct Decoder(State);

impl Decoder {
    pub(super) const fn new() -> Self {
        Self(State::Size)
    }

    /// Whether a body that begins so can be read, as far as can be told by now.
    pub(super) fn may_begin(buffer: &[u8]) -> bool {
        match line(buffer, MAX_LINE) {
            Ok(Some(length)) => size_of(buffer.get(..length).unwrap_or_default()).is_ok(),
            Ok(None) => true,
            Err(Malformed) => false,
        }
    }

    /// Takes the next part out of `buffer`; after the end it is not to be asked again.
    pub(super) fn decode(&mut self, buffer: &mut BytesMut) -> Result<Part, Malformed> {
        loop {
            self.0 = match self.0 {
                State::Size => match line(buffer, MAX_LINE)? {
                    Some(length) => {
                        let size = size_of(buffer.get(..length).unwrap_or_default())?;
                        buffer.advance(length + 2);
                        match size {
                            0 => State::Trailers,
                            left => State::Data { left },
                        }
                    }
                    None => return Ok(Part::Incomplete),
                },
                State::Data { .. } if buffer.is_empty() => return Ok(Part::Incomplete),
                State::Data { left } => return Ok(Part::Data(self.data(left, buffer))),
                State::DataEnd => match line(buffer, 0)? {
                    Some(_) => {
                        buffer.advance(2);
                        State::Size
                    }
                    None => return Ok(Part::Incomplete),
                },
                State::Trailers => return end(buffer),
            };
        }
    }

    fn data(&mut self, left: u64, buffer: &mut BytesMut) -> Bytes {
        let length = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        self.0 = match left - length as u64 {
            0 => State::DataEnd,
            left => State::Data { left },
        };
        buffer.split_to(length).freeze()
    }
}

/// The length of the line that `buffer` begins with, its CRLF not counted; `None` if it is not whole yet. A line end of
/// any other form is an error.
fn line(buffer: &[u8], longest: usize) -> Result<Option<usize>, Malformed> {
    match buffer.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
        Some(end) if end > longest => Err(Malformed),
        Some(end) => match (buffer.get(end), buffer.get(end + 1)) {
            (Some(b'\r'), Some(b'\n')) => Ok(Some(end)),
            (Some(b'\r'), None) => Ok(None),
            _ => Err(Malformed),
        },
        None if buffer.len() > longest => Err(Malformed),
        None => Ok(None),
    }
}

/// `chunk-size [ chunk-ext ]`; an extension is passed over.
fn size_of(line: &[u8]) -> Result<u64, Malformed> {
    let size = match line.split(|byte| *byte == b';').next() {
        Some(size) if size.len() < line.len() => size.trim_ascii_end(),
        _ => line,
    };
    if !(1..=MAX_DIGITS).contains(&size.len()) {
        return Err(Malformed);
    }
    size.iter().try_fold(0, |sum, digit| {
        let digit = char::from(*digit).to_digit(16).ok_or(Malformed)?;
        Ok(sum << 4 | u64::from(digit))
    })
}

fn end(buffer: &mut BytesMut) -> Result<Part, Malformed> {
    if buffer.starts_with(b"\r\n") {
        buffer.advance(2);
        return Ok(Part::End(None));
    }
    let Some(length) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
        let is_too_long = buffer.len() > MAX_TRAILERS;
        return if is_too_long {
            Err(Malformed)
        } else {
            Ok(Part::Incomplete)
        };
    };
    if length > MAX_TRAILERS {
        return Err(Malformed);
    }
    let block = buffer.split_to(length + 4);
    Ok(Part::End(Some(trailers(&block).ok_or(Malformed)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read when so many bytes come at a time: the data, and the trailers at the end.
    fn decoded(text: &str, step: usize) -> Result<(String, Option<HeaderMap>), Malformed> {
        let mut decoder = Decoder::new();
        let mut buffer = BytesMut::new();
        let mut data = Vec::new();
        for bytes in text.as_bytes().chunks(step) {
            buffer.extend_from_slice(bytes);
            loop {
                match decoder.decode(&mut buffer)? {
                    Part::Data(part) => data.extend_from_slice(&part),
                    Part::Incomplete => break,
                    Part::End(trailers) => {
                        assert!(buffer.is_empty(), "something is left");
                        return Ok((String::from_utf8(data).unwrap(), trailers));
                    }
                }
            }
        }
        Err(Malformed)
    }

    #[test]
    fn chunks_are_joined_however_they_come() {
        let text = "5\r\nhello\r\n0a;name=\"v\"\r\n, world!!!\r\n0\r\n\r\n";
        for step in 1..text.len() {
            let (data, trailers) = decoded(text, step).unwrap();
            assert_eq!((data.as_str(), trailers), ("hello, world!!!", None));
        }
    }

    #[test]
    fn trailers_come_with_the_end() {
        let text = "1\r\na\r\n0\r\nChecksum: 7\r\nContent-Length: 5\r\n\r\n";
        for step in [1, 7, text.len()] {
            let trailers = decoded(text, step).unwrap().1.unwrap();
            assert_eq!(trailers.len(), 1);
            assert_eq!(trailers["checksum"], "7");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_malformed() {
        for text in [
            "\r\n",
            "g\r\n",
            "-1\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "5 \r\nhello\r\n0\r\n\r\n",
            " 5\r\nhello\r\n0\r\n\r\n",
            "5\nhello\r\n0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhelloX\r\n0\r\n\r\n",
            "5;a\nb\r\nhello\r\n0\r\n\r\n",
            "10000000000000000\r\n",
            ";\r\n",
            "0\r\nno colon\r\n\r\n",
            "0\r\na : b\r\n\r\n",
        ] {
            assert_eq!(decoded(text, 3), Err(Malformed), "{text:?}");
        }
        let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(MAX_LINE));
        assert_eq!(decoded(&long, 100), Err(Malformed));
        let long = format!("0\r\na: {}\r\n\r\n", "x".repeat(MAX_TRAILERS));
        assert_eq!(decoded(&long, 100), Err(Malformed));
    }
}
