//! The Redis of `[revocation]`: `url` and what stands beside it.

use super::super::named_file;
use super::super::node::Text;
use super::super::reader::Section;
use super::super::web_address::{is_host, is_loopback, port_after_colon};
use super::super::{Redis, RedisTls};

/// The keys that mean something with `store = "redis"` alone.
pub(super) const KEYS: [&str; 5] = ["ca", "password_file", "prefix", "url", "username"];

const DEFAULT_PORT: u16 = 6379;
const DEFAULT_PREFIX: &str = "portcullis";
const LONGEST_PREFIX: usize = 64;
const LONGEST_USERNAME: usize = 256;
const FORM: &str = "expected redis://HOST[:PORT][/DATABASE], or rediss:// for TLS";

/// Reads the keys of a store that is a Redis; `None` where something was reported.
pub(super) fn read(section: &mut Section<'_>) -> Option<Redis> {
    let address = section
        .required_text(
            "url",
            "the address of a Redis or Valkey, such as \"redis://127.0.0.1:6379/0\"",
        )
        .and_then(|text| read_url(&text));
    let prefix = match section.text("prefix") {
        Some(text) => read_prefix(&text),
        None => Some(DEFAULT_PREFIX.to_owned()),
    };
    let username = section.text("username");
    let password_file = section.text("password_file");
    let ca = section.text("ca");
    if username.is_some() && password_file.is_none() {
        section.missing("password_file", "the file with the password of username");
    }
    let username = username.as_ref().map(read_username);
    let password_file = password_file.as_ref().map(|text| {
        let (path, secret) = named_file::read_secret(text)?;
        if std::str::from_utf8(secret.expose()).is_err() {
            text.node
                .fault("names a file whose content is no UTF-8, expected the password as text");
            return None;
        }
        Some(path)
    });
    let certificates = ca.as_ref().map(named_file::read_certificates);
    let Address {
        is_secure,
        host,
        port,
        database,
    } = address?;
    if let (Some(text), false) = (&ca, is_secure) {
        text.node.fault(
            "has no effect with redis://, expected a url that begins with rediss://, or this key left out",
        );
    }
    let tls = RedisTls {
        ca: certificates.map_or(Some(None), |read| read.map(Some))?,
    };
    Some(Redis {
        host,
        port,
        database,
        tls: is_secure.then_some(tls),
        prefix: prefix?,
        username: username.map_or(Some(None), |read| read.map(Some))?,
        password_file: password_file.map_or(Some(None), |read| read.map(Some))?,
    })
}

/// Warns of each key of [`KEYS`] that it has no effect with another store: somebody may think that a fleet shares what it
/// does not.
pub(super) fn warn_of_all(section: &mut Section<'_>, store: &str) {
    for key in KEYS {
        if let Some(text) = section.text(key) {
            text.node.warn(format!(
                "has no effect with store = {store:?}, write store = \"redis\" or leave this key out"
            ));
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Address {
    is_secure: bool,
    /// A name or an address, IPv6 without brackets.
    host: String,
    port: u16,
    database: u32,
}

fn read_url(text: &Text<'_>) -> Option<Address> {
    match parse_url(text.value) {
        Ok(address) => {
            if !address.is_secure && !is_loopback(&address.host) {
                text.node.warn(
                    "sends revocations, and a password if there is one, over the network in clear text, use rediss://",
                );
            }
            Some(address)
        }
        Err(problem) => {
            text.node.fault(format!("{problem}, {FORM}"));
            None
        }
    }
}

/// Messages never repeat the address: it may hold a password.
fn parse_url(text: &str) -> Result<Address, &'static str> {
    let (scheme, rest) = text.split_once("://").ok_or("is no Redis URL")?;
    let is_secure = match scheme.to_ascii_lowercase().as_str() {
        "redis" => false,
        "rediss" => true,
        other => return Err(wrong_scheme(other)),
    };
    // Looked for first: a password may hold any of the characters that divide a URL.
    if rest.contains('@') {
        return Err(
            "holds a user name or password, which logs and process lists would show: write username and password_file beside it",
        );
    }
    if rest.contains(['?', '#']) {
        return Err("holds a query or fragment");
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.contains(',') {
        return Err("names several servers, and neither Sentinel nor Cluster is supported");
    }
    // The colons of an IPv6 address stand before the bracket.
    let end = authority.find(']').map_or(0, |bracket| bracket + 1);
    let (head, tail) = authority
        .split_at_checked(end)
        .ok_or("names no valid host")?;
    let length = tail.find(':').unwrap_or(tail.len());
    let (name, port) = tail.split_at_checked(length).ok_or("names no valid host")?;
    let host = format!("{head}{name}").to_ascii_lowercase();
    if !is_host(&host) {
        return Err("names no valid host");
    }
    let port = match port {
        "" => DEFAULT_PORT,
        port => port_after_colon(port).ok_or("has no valid port")?,
    };
    Ok(Address {
        is_secure,
        host: host.trim_matches(['[', ']']).to_owned(),
        port,
        database: parse_database(path).ok_or("has no valid database number")?,
    })
}

fn wrong_scheme(scheme: &str) -> &'static str {
    if scheme.contains("sentinel") || scheme.contains("cluster") {
        return "names a Sentinel or a Cluster, which are not supported: name a server, or a name that leads to the current master";
    }
    match scheme {
        "valkey" | "valkeys" => "is spelled redis:// or rediss:// for a Valkey too",
        "unix" | "redis+unix" | "redis+socket" => "names a Unix socket, which is not supported",
        _ => "is no Redis URL",
    }
}

fn parse_database(path: &str) -> Option<u32> {
    let is_number = path.bytes().all(|byte| byte.is_ascii_digit());
    match path {
        "" => Some(0),
        path if is_number => path.parse().ok().filter(|number| *number < 1 << 31),
        _ => None,
    }
}

fn read_prefix(text: &Text<'_>) -> Option<String> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._-:{}".contains(letter);
    if !(1..=LONGEST_PREFIX).contains(&text.value.len()) || !text.value.chars().all(is_plain) {
        text.node.fault(format!(
            "is no key prefix, expected 1 to {LONGEST_PREFIX} letters, digits and . _ - : {{ }}"
        ));
        return None;
    }
    Some(text.value.to_owned())
}

fn read_username(text: &Text<'_>) -> Option<String> {
    let is_visible = text
        .value
        .chars()
        .all(|letter| !letter.is_whitespace() && !letter.is_control());
    if !(1..=LONGEST_USERNAME).contains(&text.value.len()) || !is_visible {
        text.node.fault(format!(
            "is no user name of an ACL, expected 1 to {LONGEST_USERNAME} characters without blanks"
        ));
        return None;
    }
    Some(text.value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(is_secure: bool, host: &str, port: u16, database: u32) -> Address {
        let host = host.to_owned();
        Address {
            is_secure,
            host,
            port,
            database,
        }
    }

    #[test]
    fn an_address_is_taken_apart() {
        for (text, expected) in [
            (
                "redis://127.0.0.1:6379/0",
                address(false, "127.0.0.1", 6379, 0),
            ),
            ("redis://cache", address(false, "cache", 6379, 0)),
            (
                "REDISS://Cache.Example.com/",
                address(true, "cache.example.com", 6379, 0),
            ),
            ("rediss://[::1]:7000/15", address(true, "::1", 7000, 15)),
            ("redis://[::1]", address(false, "::1", 6379, 0)),
        ] {
            assert_eq!(parse_url(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn broken_addresses_are_refused_with_the_right_word() {
        for (text, word) in [
            ("", "no Redis URL"),
            ("127.0.0.1:6379", "no Redis URL"),
            ("http://h", "no Redis URL"),
            ("valkey://h", "for a Valkey too"),
            ("redis+sentinel://h", "Sentinel"),
            ("redis-cluster://h", "Cluster"),
            ("unix:///tmp/redis.sock", "Unix socket"),
            ("redis://a,b", "several servers"),
            ("redis://:secret@h", "password_file"),
            ("redis://u:sec/re?t@h", "password_file"),
            ("redis://", "no valid host"),
            ("redis://[::1", "no valid host"),
            ("redis://a b", "no valid host"),
            ("redis://h:0", "no valid port"),
            ("redis://h:99999", "no valid port"),
            ("redis://h/x", "no valid database"),
            ("redis://h/-1", "no valid database"),
            ("redis://h/1/2", "no valid database"),
            ("redis://h/0?protocol=3", "query"),
        ] {
            let problem = parse_url(text).unwrap_err();
            assert!(problem.contains(word), "{text}: {problem}");
        }
    }
}
