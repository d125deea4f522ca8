//! `[server]` and `[server.limits]`; `[server.tls]` has a file of its own.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use super::super::node::Text;
use super::super::quantity::LONGEST_DURATION;
use super::super::reader::Section;
use super::super::web_address::WebAddress;
use super::super::{ErrorDetail, Forwarded, Limits, Server};
use super::{address, tls};

/// Keys that are reserved.
pub(super) const LATER: [&str; 1] = ["proxy_protocol"];

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const MOST_CONNECTIONS: u32 = 10_000_000;
const MOST_WORKERS: u32 = 1024;
const MOST_STREAMS: u32 = 10_000;

pub(super) fn read(section: &mut Section<'_>) -> Option<Server> {
    let listen = read_listen(section);
    let workers = section.count("workers", 0, 0, MOST_WORKERS) as usize;
    let realm = read_realm(section);
    let state_dir = read_state_dir(section);
    if let Some(obstacle) = obstacle(&state_dir) {
        section.warn_at("state_dir", format!("{obstacle}, so that nothing survives a restart, name a directory that the gateway may write or create"));
    }
    let trusted_proxies = read_trusted_proxies(section);
    let families = [
        ("x-forwarded", Forwarded::XForwarded),
        ("forwarded", Forwarded::Forwarded),
        ("none", Forwarded::None),
    ];
    let forwarded = section.choice("forwarded", &families, Forwarded::XForwarded);
    let via = section.boolean("via", false);
    let h2c = section.boolean("h2c", false);
    let keep = [("refuse", false), ("keep", true)];
    let keep_encoded_slash = section.choice("encoded_slash", &keep, false);
    let keep_path_parameters = section.choice("path_parameters", &keep, false);
    let details = [
        ("full", ErrorDetail::Full),
        ("minimal", ErrorDetail::Minimal),
    ];
    let error_detail = section.choice("error_detail", &details, ErrorDetail::Full);
    let docs_url = read_docs_url(section);
    let drain_delay = section.duration(
        "drain_delay",
        Duration::ZERO,
        Duration::ZERO,
        LONGEST_DURATION,
    );
    let drain = section.duration("drain", 20 * SECOND, Duration::ZERO, LONGEST_DURATION);
    let tls = tls::read_server(section.section("tls"));
    let limits = read_limits(section.section("limits"));
    Some(Server {
        listen: listen?,
        workers,
        realm,
        state_dir,
        trusted_proxies,
        forwarded,
        via,
        h2c,
        keep_encoded_slash,
        keep_path_parameters,
        error_detail,
        docs_url,
        drain_delay,
        drain,
        tls,
        limits,
    })
}

fn read_listen(section: &mut Section<'_>) -> Option<Vec<std::net::SocketAddr>> {
    let expected = "an array of addresses such as [\"0.0.0.0:8080\"]";
    let Some(node) = section.value("listen") else {
        section.missing("listen", expected);
        return None;
    };
    let nodes = node.elements(expected)?;
    if nodes.is_empty() {
        node.fault(format!("is empty, expected {expected}"));
    }
    let mut listen = Vec::new();
    for text in nodes.into_iter().filter_map(|node| node.text("a string")) {
        let Some(address) = address::parse(&text) else {
            continue;
        };
        if listen
            .iter()
            .any(|earlier| address::collide(*earlier, address))
        {
            text.node
                .fault("is an address that the list already covers, expected each address once");
        }
        listen.push(address);
    }
    Some(listen)
}

fn read_realm(section: &mut Section<'_>) -> String {
    let default = || "portcullis".to_owned();
    let Some(text) = section.text("realm") else {
        return default();
    };
    let fits = |character: char| matches!(character, ' '..='~') && !"\"\\".contains(character);
    if !text.value.is_empty() && text.value.chars().all(fits) {
        return text.value.to_owned();
    }
    text.node
        .fault("cannot stand in a challenge, expected printable ASCII without \" and \\");
    default()
}

fn read_state_dir(section: &mut Section<'_>) -> PathBuf {
    let named = section.text("state_dir");
    if let Some(text) = &named {
        if text.value.is_empty() || text.value.contains('\0') {
            text.node
                .fault("is not a path, expected the path of a directory");
        }
        return section.report().resolve(text.value);
    }
    let beside = section.report().resolve("state");
    state_directory(std::env::var_os("STATE_DIRECTORY")).unwrap_or(beside)
}

/// Why nothing can be kept there. What does not exist yet may be another machine's, where it does.
fn obstacle(directory: &Path) -> Option<&'static str> {
    match std::fs::metadata(directory) {
        Ok(metadata) if !metadata.is_dir() => Some("is not a directory"),
        Ok(metadata) if metadata.permissions().readonly() => Some("may be written by nobody"),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            Some("lies in something that is not a directory")
        }
        _ => None,
    }
}

/// What systemd made for us (systemd.exec(5), `StateDirectory=`): the first, where there are several.
fn state_directory(variable: Option<OsString>) -> Option<PathBuf> {
    let variable = variable?;
    let Some(text) = variable.to_str() else {
        return Some(PathBuf::from(variable));
    };
    let first = text.split(':').next().filter(|first| !first.is_empty())?;
    Some(Path::new(first).to_owned())
}

const TRUSTS_ALL: &str =
    "trusts every address, so that any client can forge its own, name the networks of your proxies";

fn read_trusted_proxies(section: &mut Section<'_>) -> Vec<IpNet> {
    let texts = section.texts("trusted_proxies");
    let networks: Vec<IpNet> = texts.iter().filter_map(read_network).collect();
    let is_all = |network: &IpNet| network.prefix_len() == 0;
    if !networks.iter().any(is_all) && IpNet::aggregate(&networks).iter().any(is_all) {
        section.warn_at("trusted_proxies", TRUSTS_ALL);
    }
    networks
}

fn read_network(text: &Text<'_>) -> Option<IpNet> {
    let bare = || text.value.parse::<std::net::IpAddr>().ok().map(IpNet::from);
    let Some(network) = text.value.parse::<IpNet>().ok().or_else(bare) else {
        text.node.fault(
            "is not a network, expected an address or a CIDR such as \"10.0.0.0/8\" or \"fd00::/8\"",
        );
        return None;
    };
    if network.prefix_len() == 0 {
        text.node.warn(TRUSTS_ALL);
    }
    Some(network.trunc())
}

fn read_docs_url(section: &mut Section<'_>) -> Option<String> {
    let text = section.text("docs_url")?;
    let problem = match WebAddress::parse(text.value) {
        Ok(address) if address.has_query => "holds a query",
        Ok(_) => return Some(text.value.to_owned()),
        Err(problem) => problem,
    };
    text.node.fault(format!(
        "{problem}, expected an absolute http(s) URL without user, query and fragment"
    ));
    None
}

fn read_limits(mut section: Section<'_>) -> Limits {
    let kib = 1 << 10;
    let mib = 1 << 20;
    let bytes = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
    let limits = Limits {
        header_bytes: bytes(section.size("header_bytes", 32 * kib, kib, mib)),
        token_bytes: bytes(section.size("token_bytes", 16 * kib, 64, mib)),
        body_bytes: match section.size("body_bytes", 0, 0, u64::MAX) {
            0 => None,
            limit => Some(limit),
        },
        connections: section.count("connections", 10_000, 1, MOST_CONNECTIONS) as usize,
        streams: section.count("streams", 100, 1, MOST_STREAMS),
        header_timeout: section.duration(
            "header_timeout",
            10 * SECOND,
            MILLISECOND,
            LONGEST_DURATION,
        ),
        body_timeout: section.duration("body_timeout", 30 * SECOND, MILLISECOND, LONGEST_DURATION),
        idle_timeout: section.duration("idle_timeout", 75 * SECOND, MILLISECOND, LONGEST_DURATION),
    };
    section.finish(&[]);
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_state_directory_counts_and_an_empty_one_does_not() {
        let directory = |text: &str| state_directory(Some(OsString::from(text)));
        assert_eq!(
            directory("/var/lib/a:/var/lib/b"),
            Some(PathBuf::from("/var/lib/a"))
        );
        assert_eq!(directory("/var/lib/a"), Some(PathBuf::from("/var/lib/a")));
        assert_eq!(directory(""), None);
        assert_eq!(state_directory(None), None);
    }
}
