//! A real Prometheus as a child process, and what it says.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::support::{Request, eventually};

/// It ends with this value.
pub(super) struct Prometheus {
    address: SocketAddr,
    child: Child,
    _folder: TempDir,
}

impl Prometheus {
    /// Scrapes that gateway and evaluates those rules, several times a second.
    pub(super) fn scraping(gateway: SocketAddr, rules: &[PathBuf]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let rules: Vec<_> = rules
            .iter()
            .map(|path| format!("  - {}", path.display()))
            .collect();
        let rules = rules.join("\n");
        let configuration = format!(
            "global:\n  scrape_interval: 500ms\n  scrape_timeout: 500ms\n  evaluation_interval: 500ms\n\
             rule_files:\n{rules}\nscrape_configs:\n  - job_name: portcullis\n    static_configs:\n      \
             - targets: ['{gateway}']\n"
        );
        let path = folder.path().join("prometheus.yaml");
        fs::write(&path, configuration).expect("a writable folder");
        let (address, child) = run(folder.path(), &path);
        Self {
            address,
            child,
            _folder: folder,
        }
    }

    /// What its API answers; an expression that is wrong fails the test.
    fn ask(&self, target: &str) -> Value {
        let response = Request::get(target).send(self.address);
        assert_eq!(response.status, 200, "{target}: {}", response.text());
        response.json()["data"].clone()
    }

    pub(super) fn has_result(&self, query: &str) -> bool {
        let query: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
        let data = self.ask(&format!("/api/v1/query?query={query}"));
        !data["result"].as_array().expect("a result").is_empty()
    }

    /// Every rule, with its query and how the last evaluation went.
    pub(super) fn rules(&self) -> Vec<Value> {
        let data = self.ask("/api/v1/rules");
        let groups = data["groups"].as_array().expect("groups").iter();
        groups
            .flat_map(|group| group["rules"].as_array().expect("rules").clone())
            .collect()
    }

    /// The names of the alerts that fire.
    pub(super) fn firing(&self) -> BTreeSet<String> {
        let data = self.ask("/api/v1/alerts");
        let alerts = data["alerts"].as_array().expect("alerts").iter();
        alerts
            .filter(|alert| alert["state"] == "firing")
            .filter_map(|alert| Some(alert["labels"]["alertname"].as_str()?.to_owned()))
            .collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Until it has a port: it cannot choose a free one by itself, and somebody else may take ours.
fn run(folder: &Path, configuration: &Path) -> (SocketAddr, Child) {
    loop {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("an address");
        drop(free);
        let log = fs::File::create(folder.join("log")).expect("a writable folder");
        let mut child = Command::new("prometheus")
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus is missing: run scripts/test");
        let mut has_ended = false;
        eventually("prometheus is ready, or has ended", || {
            has_ended = child.try_wait().expect("a child").is_some();
            has_ended || is_ready(address)
        });
        if !has_ended {
            return (address, child);
        }
        let log = fs::read_to_string(folder.join("log")).expect("a log");
        assert!(log.contains("address already in use"), "{log}");
    }
}

fn is_ready(address: SocketAddr) -> bool {
    std::net::TcpStream::connect(address).is_ok()
        && Request::get("/-/ready")
            .try_send(address)
            .is_some_and(|response| response.status == 200)
}

/// Copies of rule files, whose alerts fire at once.
pub(super) struct Copies {
    pub(super) files: Vec<PathBuf>,
    _folder: TempDir,
}

pub(super) fn without_waiting(files: &[PathBuf]) -> Copies {
    let folder = tempfile::tempdir().expect("a folder");
    let files = files.iter().map(|file| {
        let text = fs::read_to_string(file).expect("a rule file");
        let waits_not = |line: &&str| !line.trim_start().starts_with("for: ");
        let text: Vec<&str> = text.lines().filter(waits_not).collect();
        let copy = folder.path().join(file.file_name().expect("a name"));
        fs::write(&copy, text.join("\n")).expect("a writable folder");
        copy
    });
    Copies {
        files: files.collect(),
        _folder: folder,
    }
}

/// The metrics that an expression names, each with the label values it asks for.
pub(super) fn selectors(expression: &str) -> Vec<(&str, Vec<(&str, &str)>)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_:".contains(c);
    let mut rest = expression;
    let mut found = Vec::new();
    while let Some(start) = rest.find(is_name) {
        rest = &rest[start..];
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let name;
        (name, rest) = rest.split_at(end);
        if name.contains("portcullis_") || name.starts_with("process_") {
            let inside = rest.strip_prefix('{').and_then(|it| it.split_once('}'));
            let inside = inside.map_or("", |(inside, _)| inside);
            let matchers = inside.split(',').filter_map(|matcher| {
                let (label, value) = matcher.split_once('"')?;
                let label = label.trim().trim_end_matches(['=', '!', '~']);
                Some((label, value.trim_end_matches('"')))
            });
            found.push((name, matchers.collect()));
        }
    }
    found
}

#[test]
fn selectors_are_found_with_their_labels() {
    assert_eq!(
        selectors(
            "sum by (a) (rate(portcullis_x{a!=\"b|c\", d=~\"e\"}[5m])) > 2 * job:portcullis_y:rate5m"
        ),
        [
            ("portcullis_x", vec![("a", "b|c"), ("d", "e")]),
            ("job:portcullis_y:rate5m", vec![])
        ]
    );
}
