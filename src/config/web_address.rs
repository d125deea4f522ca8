//! `http://` and `https://` addresses as the configuration writes them.
//!
//! Messages never repeat the address: it may hold a password.

use std::net::{IpAddr, Ipv4Addr};

use http::Uri;

/// An absolute HTTP address, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WebAddress {
    /// `https`
    pub(super) secure: bool,
    /// Lower-case; IPv6 keeps its brackets.
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// At least `/`.
    pub(super) path: String,
    pub(super) has_query: bool,
}

impl WebAddress {
    /// Reads `text`, or says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.contains('#') {
            return Err("holds a fragment (#)");
        }
        let (scheme, rest) = text.split_once("://").ok_or("is not an http(s) URL")?;
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err("holds a user name or password");
        }
        let uri: Uri = text.parse().map_err(|_| "is not a URL")?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err("is not an http(s) URL"),
        };
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        if !is_host(&host) {
            return Err("names no valid host");
        }
        let port = match authority.get(host.len()..) {
            Some("") => None,
            Some(port) => Some(port_after_colon(port).ok_or("has no valid port")?),
            None => return Err("names no valid host"),
        };
        Ok(Self {
            secure,
            host,
            port,
            path: uri.path().to_owned(),
            has_query: uri.query().is_some(),
        })
    }

    /// Whether what is sent there leaves this machine.
    pub(super) fn is_loopback(&self) -> bool {
        is_loopback(self.host.trim_start_matches('[').trim_end_matches(']'))
    }
}

/// Whether a lower-case name or an address without brackets is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// `:8080`, and no other spelling of it.
pub(super) fn port_after_colon(text: &str) -> Option<u16> {
    let digits = text.strip_prefix(':')?;
    let numeric = digits.chars().all(|character| character.is_ascii_digit());
    digits.parse().ok().filter(|port| numeric && *port != 0)
}

/// Whether `host` can stand in a URL or a Host header: a name, an IPv4 address, or an IPv6 address in brackets.
pub(super) fn is_host(host: &str) -> bool {
    if let Some(address) = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .chars()
                .all(|character| character.is_ascii_alphanumeric() || "-_".contains(character))
    };
    // A last label of digits makes it an IPv4 address (WHATWG URL §3.5), which then has to be a whole one.
    let last = host.rsplit('.').next().unwrap_or_default();
    let numeric = last.chars().all(|character| character.is_ascii_digit());
    host.len() <= 253
        && host.split('.').all(label)
        && (!numeric || host.parse::<Ipv4Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart() {
        let address = WebAddress::parse("http://Auth.Example.com:8443/a?b").unwrap();
        assert_eq!(address.host, "auth.example.com");
        assert_eq!(address.port, Some(8443));
        assert_eq!(address.path, "/a");
        assert!(address.has_query && !address.secure && !address.is_loopback());
        assert_eq!(WebAddress::parse("https://[::1]").unwrap().path, "/");
    }

    #[test]
    fn broken_addresses_are_refused() {
        for wrong in [
            "",
            "example.com",
            "ftp://example.com",
            "http://",
            "http://u:p@h/",
            "http://h/#f",
            "http://h:0/",
            "http://h:99999/",
            "http://h:/",
            "http://a b/",
            "http://-.:x",
            "http://1.2.3",
            "http:///x",
            "http://h:+1",
        ] {
            assert!(WebAddress::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn loopback_is_an_address_or_localhost() {
        for near in [
            "http://127.0.0.1:1",
            "http://127.9.9.9",
            "http://[::1]:2",
            "http://LOCALHOST/",
            "http://a.localhost",
        ] {
            assert!(WebAddress::parse(near).unwrap().is_loopback(), "{near}");
        }
        for far in [
            "http://10.0.0.1",
            "http://localhost.example.com",
            "http://[::2]",
        ] {
            assert!(!WebAddress::parse(far).unwrap().is_loopback(), "{far}");
        }
    }
}
