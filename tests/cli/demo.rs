//! `portcullis demo`: what it prints can be pasted, and does what the line above says.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::support::{Request, gateway::BINARY};

/// The running demo; ended with the test, whatever becomes of it.
struct Demo {
    child: Child,
    lines: Vec<String>,
}

impl Demo {
    /// In an empty folder, read up to its last line.
    fn start(folder: &std::path::Path) -> Self {
        let mut command = Command::new(BINARY);
        let mut child = command
            .arg("demo")
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary");
        let mut lines = Vec::new();
        for line in BufReader::new(child.stdout.take().expect("a pipe"))
            .lines()
            .map_while(Result::ok)
        {
            let is_last = line.starts_with("Ctrl-C");
            lines.push(line);
            if is_last {
                break;
            }
        }
        Self { child, lines }
    }

    /// Each comment's outcome, behind the arrow, with the command below it.
    fn scenes(&self) -> Vec<(&str, &str)> {
        let pairs = self.lines.iter().zip(self.lines.iter().skip(1));
        pairs
            .filter_map(|(title, line)| {
                Some((
                    title.strip_prefix("# ")?.split_once(" -> ")?.1,
                    line.as_str(),
                ))
            })
            .collect()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What `curl` would do: URL and at most one header, in single quotes.
fn perform(line: &str) -> crate::support::Response {
    let words = line
        .strip_prefix("curl -i ")
        .or_else(|| line.strip_prefix("curl -s "))
        .expect("curl");
    let (url, rest) = words.split_once(' ').unwrap_or((words, ""));
    let (address, path) = url
        .strip_prefix("http://")
        .expect("http")
        .split_once('/')
        .expect("a path");
    let mut request = Request::get(&format!("/{path}"));
    if let Some(header) = rest.strip_prefix("-H '") {
        let (name, value) = header
            .strip_suffix('\'')
            .expect("a quote")
            .split_once(": ")
            .expect("a header");
        request = request.header(name, value);
    }
    request.send(address.parse().expect("an address"))
}

/// Performs each line, compares it with what was said of it, and gives back the reasons of those that were refused.
fn refusals(shown: &[(&str, &str)]) -> Vec<String> {
    let mut reasons = Vec::new();
    for (outcome, line) in shown {
        let response = perform(line);
        let (status, said) = outcome.split_once([' ', ',']).expect("a status and more");
        assert_eq!(
            response.status.to_string(),
            status,
            "{outcome}: {response:?}"
        );
        if status == "200" {
            assert!(
                response.text().contains("alice"),
                "the API sees who calls: {response:?}"
            );
        } else {
            assert_eq!(response.reason(), said, "{response:?}");
            reasons.push(said.to_owned());
        }
    }
    reasons
}

#[test]
fn every_line_of_the_demo_does_what_it_says_and_ctrl_c_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Demo::start(folder.path());
    let (shown, refused): (Vec<_>, Vec<_>) = demo
        .scenes()
        .into_iter()
        .partition(|(_, line)| line.contains("curl -i"));
    let reasons = refusals(&shown);
    let wanted = [
        "token_missing",
        "token_expired",
        "signature_invalid",
        "audience_mismatch",
        "scope_insufficient",
        "token_revoked",
    ];
    assert_eq!(reasons, wanted);
    assert_eq!((shown.len(), refused.len()), (7, 1));
    let metrics = perform(refused[0].1).text();
    let counted: Vec<&str> = metrics
        .lines()
        .filter(|line| line.contains("rejections_total{") && line.ends_with(" 1"))
        .collect();
    for reason in wanted {
        assert!(
            counted.iter().any(|line| line.contains(reason)),
            "{reason}: {counted:?}"
        );
    }

    assert!(
        Command::new("kill")
            .arg("-INT")
            .arg(demo.child.id().to_string())
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(demo.child.wait().unwrap().code(), Some(0));
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing is left on disk"
    );
}

#[test]
fn two_demos_run_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (Demo::start(folder.path()), Demo::start(folder.path()));
    for demo in [&one, &two] {
        assert_eq!(perform(demo.scenes()[0].1).status, 200);
    }
}
