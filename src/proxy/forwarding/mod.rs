//! Who the client is when other proxies stand in front, and how upstreams are told.
//!
//! Owns the one believed family of forwarding headers: it is read right to left through the trusted proxies to the first
//! untrusted hop, and what stands left of that hop, where anyone may write what he likes, is dropped.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use ipnet::IpNet;

use crate::config::{Forwarded, Server};

use super::upstream_connection::push_field;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The settings that bear on forwarding headers.
#[derive(Debug)]
pub(super) struct Forwarding {
    family: Forwarded,
    trusted: Vec<IpNet>,
    via: bool,
}

/// How a connection comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    Plain,
    Tls,
}

/// The peer of a connection, prepared once for all of its requests.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) address: IpAddr,
    text: HeaderValue,
    channel: Channel,
}

impl Peer {
    /// An IPv4 address that came in over an IPv6 socket is an IPv4 address.
    pub(super) fn new(address: SocketAddr, channel: Channel) -> Self {
        let address = address.ip().to_canonical();
        Self {
            address,
            channel,
            text: header_value(address.to_string()).unwrap_or(HeaderValue::from_static("unknown")),
        }
    }

    /// `client` as text; that of the peer itself is at hand.
    pub(super) fn text_of(&self, client: IpAddr) -> Cow<'_, str> {
        match self.text.to_str() {
            Ok(text) if client == self.address => Cow::Borrowed(text),
            _ => Cow::Owned(client.to_string()),
        }
    }
}

/// Where a request came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// The first hop that is not one of the trusted proxies.
    pub(super) client: IpAddr,
    /// The trusted proxies between that hop and the peer, in the order of the request's way, the peer excluded; empty
    /// where the client is the peer.
    between: Vec<IpAddr>,
    /// The client spoke TLS to us, or to the first trusted proxy.
    secure: bool,
    /// The host as a trusted proxy gives it.
    host: Option<HeaderValue>,
}

/// One element of a forwarding header, as written.
#[derive(Default)]
struct Hop {
    address: Option<IpAddr>,
    proto: Option<String>,
    host: Option<String>,
}

impl Forwarding {
    /// From `[server]`.
    pub(super) fn new(server: &Server) -> Self {
        Self {
            family: server.forwarded,
            trusted: server.trusted_proxies.clone(),
            via: server.via,
        }
    }

    /// Where a request with these headers came from.
    pub(super) fn origin(&self, peer: &Peer, headers: &HeaderMap) -> Origin {
        if !self.trusts(peer.address) {
            return Origin::of_peer(peer);
        }
        let hops = match self.family {
            Forwarded::XForwarded => x_forwarded_hops(headers),
            Forwarded::Forwarded => forwarded_hops(headers),
            Forwarded::None => Vec::new(),
        };
        self.walk(peer, &hops)
    }

    /// Right to left to the first untrusted hop, or to the last readable one.
    fn walk(&self, peer: &Peer, hops: &[Hop]) -> Origin {
        let mut origin = Origin::of_peer(peer);
        let mut passed = Vec::new();
        for hop in hops.iter().rev() {
            if !self.trusts(origin.client) {
                break;
            }
            // A peer that does not tell has the client speak as it speaks to us itself.
            let is_ours = origin.client == peer.address && passed.is_empty();
            origin.secure = match hop.proto.as_deref() {
                Some(proto) => proto.eq_ignore_ascii_case("https"),
                None => is_ours && origin.secure,
            };
            origin.host = hop.host.as_deref().and_then(believable_host);
            let Some(address) = hop.address else { break };
            passed.push(address);
            origin.client = address;
        }
        passed.pop();
        passed.reverse();
        origin.between = passed;
        origin
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|net| net.contains(&address))
    }

    /// Adds itself behind what the client's own proxies wrote, with the version that the request came in (RFC 9110 §7.6.3).
    pub(super) fn write_via(&self, out: &mut Vec<u8>, received: Version) {
        if self.via {
            let member: &[u8] = if received == Version::HTTP_2 {
                b"2.0 portcullis"
            } else {
                b"1.1 portcullis"
            };
            push_field(out, VIA.as_str(), member);
        }
    }

    /// Tells an upstream, on a request from which every forwarding header has been removed. `host`: the client's own.
    pub(super) fn write(
        &self,
        out: &mut Vec<u8>,
        origin: &Origin,
        peer: &Peer,
        host: Option<&HeaderValue>,
    ) {
        match self.family {
            Forwarded::XForwarded => write_x_forwarded(out, origin, peer, host),
            Forwarded::Forwarded => write_forwarded(out, origin, peer, host),
            Forwarded::None => {}
        }
    }
}

impl Origin {
    fn of_peer(peer: &Peer) -> Self {
        Self {
            client: peer.address,
            between: Vec::new(),
            secure: peer.channel == Channel::Tls,
            host: None,
        }
    }

    const fn proto(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// The client and the trusted hops after it, the peer last.
    fn chain(&self, peer: &Peer) -> impl Iterator<Item = IpAddr> {
        let beyond_peer = (self.client != peer.address || !self.between.is_empty())
            .then_some(self.client)
            .into_iter();
        beyond_peer
            .chain(self.between.iter().copied())
            .chain([peer.address])
    }
}

fn write_x_forwarded(out: &mut Vec<u8>, origin: &Origin, peer: &Peer, host: Option<&HeaderValue>) {
    if origin.client == peer.address && origin.between.is_empty() {
        push_field(out, X_FORWARDED_FOR.as_str(), peer.text.as_bytes());
    } else {
        let addresses: Vec<_> = origin.chain(peer).map(|hop| hop.to_string()).collect();
        push_field(
            out,
            X_FORWARDED_FOR.as_str(),
            addresses.join(", ").as_bytes(),
        );
    }
    push_field(out, X_FORWARDED_PROTO.as_str(), origin.proto().as_bytes());
    if let Some(host) = origin.host.as_ref().or(host) {
        push_field(out, X_FORWARDED_HOST.as_str(), host.as_bytes());
    }
}

/// RFC 7239 §4: one element a hop; what is known of the client's own request stands in the first.
fn write_forwarded(out: &mut Vec<u8>, origin: &Origin, peer: &Peer, host: Option<&HeaderValue>) {
    let mut text = String::new();
    for (place, hop) in origin.chain(peer).enumerate() {
        if place > 0 {
            text.push_str(", ");
        }
        let element = match hop {
            IpAddr::V4(address) => format!("for={address}"),
            IpAddr::V6(address) => format!("for=\"[{address}]\""),
        };
        text.push_str(&element);
        if place == 0 {
            text.push_str(";proto=");
            text.push_str(origin.proto());
            let host = origin.host.as_ref().or(host);
            if let Some(host) = host.and_then(|host| host.to_str().ok()) {
                push_host(&mut text, host);
            }
        }
    }
    push_field(out, FORWARDED.as_str(), text.as_bytes());
}

/// A host with a port or brackets is no token and has to be quoted (RFC 7239 §4).
fn push_host(text: &mut String, host: &str) {
    if believable_host(host).is_none() {
        return;
    }
    let is_token = host
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    text.push_str(";host=");
    let quote = if is_token { "" } else { "\"" };
    text.push_str(quote);
    text.push_str(host);
    text.push_str(quote);
}

/// A host that can stand in a header without being read as something else.
fn believable_host(host: &str) -> Option<HeaderValue> {
    let is_plain = !host.is_empty()
        && host.bytes().all(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']')
        });
    is_plain.then(|| HeaderValue::from_str(host).ok()).flatten()
}

fn header_value(text: String) -> Option<HeaderValue> {
    HeaderValue::try_from(text).ok()
}

/// The members of all lines of that name; a line that is no text spoils what stands left of it.
fn members<'headers>(
    headers: &'headers HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'headers str> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|line| line.to_str().unwrap_or("\u{0}").split(','))
        .map(str::trim)
}

fn x_forwarded_hops(headers: &HeaderMap) -> Vec<Hop> {
    let addresses: Vec<_> = members(headers, &X_FORWARDED_FOR)
        .map(parse_address)
        .collect();
    let protos: Vec<_> = members(headers, &X_FORWARDED_PROTO).collect();
    let hosts: Vec<_> = members(headers, &X_FORWARDED_HOST).collect();
    // A proxy may tell the protocol alone.
    let count = addresses.len().max(1);
    addresses
        .into_iter()
        .chain([None])
        .take(count)
        .enumerate()
        .map(|(place, address)| Hop {
            address,
            proto: aligned(&protos, place, count),
            host: aligned(&hosts, place, count),
        })
        .collect()
}

/// The value beside the hop where every hop wrote one; else the last, which the trusted peer wrote.
fn aligned(values: &[&str], place: usize, count: usize) -> Option<String> {
    let value = if values.len() == count {
        values.get(place)
    } else {
        values.last()
    };
    value.map(|value| (*value).to_owned())
}

/// RFC 7239 §4. An element that cannot be read has no address, and ends the walk.
fn forwarded_hops(headers: &HeaderMap) -> Vec<Hop> {
    headers
        .get_all(FORWARDED)
        .iter()
        .flat_map(|line| split_outside_quotes(line.to_str().unwrap_or("\u{0}"), ','))
        .map(forwarded_hop)
        .collect()
}

fn forwarded_hop(element: &str) -> Hop {
    let mut hop = Hop::default();
    for pair in split_outside_quotes(element, ';') {
        let Some((name, value)) = pair.split_once('=') else {
            continue;
        };
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "for" => hop.address = parse_address(value),
            "proto" => hop.proto = Some(value.to_owned()),
            "host" => hop.host = Some(value.to_owned()),
            _ => {}
        }
    }
    hop
}

fn split_outside_quotes(text: &str, separator: char) -> Vec<&str> {
    let mut is_quoted = false;
    text.split(move |character| {
        is_quoted ^= character == '"';
        character == separator && !is_quoted
    })
    .collect()
}

/// `192.0.2.1`, `192.0.2.1:443`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:443`.
fn parse_address(text: &str) -> Option<IpAddr> {
    let bracketed = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address = bracketed.unwrap_or(text).parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    address
        .or_else(with_port)
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests;
