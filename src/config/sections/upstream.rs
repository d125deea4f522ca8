//! `[[upstream]]`.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::node::Text;
use super::super::quantity::LONGEST_DURATION;
use super::super::reader::{NOT_YET, Section};
use super::super::web_address::WebAddress;
use super::super::{Upstream, UpstreamHost, UpstreamServer};
use super::{Named, address, label, tls};

const LATER: [&str; 3] = ["balance", "health", "max_connections"];
const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MOST_RETRIES: u32 = 10;

/// `own`: where this gateway listens.
pub(super) fn read_all(sections: Vec<Section<'_>>, own: &[SocketAddr]) -> Named<Upstream> {
    let mut upstreams = Named {
        entries: Vec::new(),
    };
    for mut section in sections {
        let name = section.required_text("name", "the name by which routes refer to this upstream");
        if let Some(text) = &name {
            label::check(text, &[], &upstreams.names());
        }
        let name = name.map(|text| text.value.to_owned());
        let upstream = read(section, name.clone(), own);
        upstreams.entries.push((name, upstream));
    }
    upstreams
}

fn read(mut section: Section<'_>, name: Option<String>, own: &[SocketAddr]) -> Option<Upstream> {
    let servers = read_servers(&mut section, own);
    let hosts = [
        ("preserve", UpstreamHost::Preserve),
        ("upstream", UpstreamHost::Upstream),
    ];
    let mut timeout = |key, default| section.duration(key, default, MILLISECOND, LONGEST_DURATION);
    let connect_timeout = timeout("connect_timeout", 2 * SECOND);
    let response_timeout = timeout("response_timeout", 30 * SECOND);
    let keep_alive = timeout("keep_alive", 4 * SECOND);
    let retries = section.count("retries", 1, 0, MOST_RETRIES);
    let host = section.choice("host", &hosts, UpstreamHost::Preserve);
    let is_secure = servers.iter().any(|server| server.secure);
    let tls = tls::read_upstream(&mut section, is_secure);
    section.finish(&LATER);
    Some(Upstream {
        name: name?,
        servers,
        connect_timeout,
        response_timeout,
        keep_alive,
        retries,
        host,
        tls: tls.tls,
        server_name: tls.server_name,
    })
}

fn read_servers(section: &mut Section<'_>, own: &[SocketAddr]) -> Vec<UpstreamServer> {
    let expected = "at least one server such as [\"http://127.0.0.1:3000\"]";
    let Some(node) = section.value("servers") else {
        section.missing("servers", expected);
        return Vec::new();
    };
    let Some(nodes) = node.elements("an array of strings") else {
        return Vec::new();
    };
    if nodes.is_empty() {
        node.fault(format!("is empty, expected {expected}"));
    }
    let mut servers = Vec::new();
    for text in nodes.into_iter().filter_map(|node| node.text("a string")) {
        let Some(server) = read_server(&text) else {
            continue;
        };
        if servers.contains(&server) {
            text.node
                .fault("is listed twice, expected each server once");
        }
        if own
            .iter()
            .any(|listen| address::reaches(&server.host, server.port, *listen))
        {
            text.node.fault(
                "is where this gateway listens itself, expected the address of the API behind it",
            );
        }
        servers.push(server);
    }
    servers
}

fn read_server(text: &Text<'_>) -> Option<UpstreamServer> {
    let lower = text.value.to_ascii_lowercase();
    if ["h2c:", "unix:"]
        .iter()
        .any(|scheme| lower.starts_with(scheme))
    {
        text.node.fault(NOT_YET.replace(
            "this key to be left out",
            "http://HOST[:PORT] or https://HOST[:PORT]",
        ));
        return None;
    }
    let problem = match WebAddress::parse(text.value) {
        Ok(address) if address.has_query => "holds a query",
        Ok(address) if address.path != "/" => "holds a path",
        Ok(address) => return Some(server(&address)),
        Err(problem) => problem,
    };
    text.node.fault(format!(
        "{problem}, expected http://HOST[:PORT] or https://HOST[:PORT] without user, path and query"
    ));
    None
}

fn server(address: &WebAddress) -> UpstreamServer {
    let bare = address.host.trim_start_matches('[').trim_end_matches(']');
    UpstreamServer {
        host: bare.to_owned(),
        port: address
            .port
            .unwrap_or(if address.secure { 443 } else { 80 }),
        authority: match address.port {
            Some(port) => format!("{}:{port}", address.host),
            None => address.host.clone(),
        },
        secure: address.secure,
    }
}
