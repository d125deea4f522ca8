//! The pages say what is so: their configurations load, their links lead somewhere, and the names of metrics and reasons
//! are the code's.

#![expect(
    clippy::expect_used,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

#[path = "tls_support/certificates.rs"]
mod certificates;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use certificates::Authority;
use portcullis::config;
use portcullis::rejection::Rejection;

/// What a part of a configuration needs around it to be a whole one.
const FRAME: [(&str, &str); 4] = [
    ("[server]", "[server]\nlisten = [\"127.0.0.1:8080\"]\n"),
    (
        "[[issuer]]",
        "[[issuer]]\nname = \"corp\"\nissuer = \"https://id.example.com/\"\ndiscovery = true\n\
         audiences = [\"https://api.example.com\"]\nmax_lifetime = \"24h\"\n",
    ),
    (
        "[[upstream]]",
        "[[upstream]]\nname = \"api\"\nservers = [\"http://127.0.0.1:3000\"]\n",
    ),
    (
        "[[route]]",
        "[[route]]\npath = \"/frame\"\nupstream = \"api\"\nauth = \"none\"\n",
    ),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Markdown page of the project, with its text.
fn pages() -> Vec<(PathBuf, String)> {
    let folders = [
        root().to_owned(),
        root().join("docs"),
        root().join("deploy"),
    ];
    let files = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).expect("a folder of pages"))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let pages: Vec<_> = files
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a page in UTF-8");
            (path, text)
        })
        .collect();
    assert!(pages.len() >= 9, "pages are missing: {}", pages.len());
    pages
}

/// The fenced blocks of that language, each with the line it begins on.
fn blocks<'page>(page: &'page str, language: &str) -> Vec<(usize, &'page str)> {
    let opening = format!("```{language}\n");
    page.match_indices(&opening)
        .map(|(at, _)| {
            let rest = &page[at + opening.len()..];
            let end = rest.find("\n```").expect("every block is closed");
            (page[..at].lines().count() + 1, &rest[..=end])
        })
        .collect()
}

/// The page without its fenced blocks, where brackets mean other things.
fn prose(page: &str) -> String {
    let parts = page.split("\n```").enumerate();
    let outside = parts.filter(|(number, _)| number % 2 == 0);
    outside.map(|(_, part)| part).collect::<Vec<_>>().join("\n")
}

/// What the pages' configurations name lies in `tls`.
fn folder_with_certificates() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let tls = folder.path().join("tls");
    fs::create_dir(&tls).expect("a folder");
    let authority = Authority::new("CA");
    for name in ["server", "shop", "gateway"] {
        let pair = authority.issue(&[&format!("{name}.example.com")]);
        pair.write(&tls, name);
    }
    fs::write(tls.join("internal-ca.crt"), authority.certificate).expect("a file");
    folder
}

#[test]
fn every_configuration_in_the_pages_is_good_and_draws_no_warning() {
    let mut whole = 0;
    let folder = folder_with_certificates();
    for (path, page) in pages() {
        for (line, block) in blocks(&page, "toml") {
            whole += usize::from(block.contains("[server]"));
            let missing = FRAME.iter().filter(|(header, _)| !block.contains(header));
            let frame: String = missing.map(|(_, section)| *section).collect();
            let text = format!("{block}\n{frame}");
            let place = format!("{}:{line}", path.display());
            match config::load_text(&text, &folder.path().join("portcullis.toml")) {
                Ok(loaded) => assert_eq!(loaded.warnings, [], "{place}"),
                Err(faults) => panic!("{place}:\n{faults}"),
            }
        }
    }
    assert!(whole >= 6, "whole configurations found: {whole}");
}

/// The targets of `[text](target)`.
fn links(page: &str) -> Vec<&str> {
    page.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target)
        .collect()
}

/// The anchors that headings have.
fn anchors(page: &str) -> BTreeSet<String> {
    prose(page)
        .lines()
        .filter_map(|line| {
            line.trim_start_matches('#')
                .strip_prefix(' ')
                .filter(|_| line.starts_with('#'))
        })
        .map(|heading| {
            let kept = heading
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.collect::<String>().to_lowercase().replace(' ', "-")
        })
        .collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_exist() {
    let mut checked = 0;
    for (path, page) in pages() {
        let text = prose(&page);
        for link in links(&text)
            .into_iter()
            .filter(|link| !link.contains("://"))
        {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                path.clone()
            } else {
                path.parent().expect("a folder").join(file)
            };
            assert!(target.exists(), "{}: {link}", path.display());
            if !anchor.is_empty() {
                let target = fs::read_to_string(&target).expect("a page");
                assert!(
                    anchors(&target).contains(anchor),
                    "{}: {link}",
                    path.display()
                );
            }
            checked += 1;
        }
    }
    assert!(checked >= 40, "links found: {checked}");
}

/// Words of the page that begin so.
fn words<'page>(page: &'page str, prefix: &str) -> BTreeSet<&'page str> {
    page.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with(prefix))
        .collect()
}

/// All of the code under `src/telemetry`, where every family of metrics is named.
fn telemetry() -> String {
    fn read(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                read(&path, text);
            } else {
                text.push_str(&fs::read_to_string(&path).expect("a source"));
            }
        }
    }
    let mut text = String::new();
    read(&root().join("src/telemetry"), &mut text);
    text
}

#[test]
fn every_metric_in_the_pages_is_one_of_the_code() {
    let code = telemetry();
    for (path, page) in pages() {
        for metric in words(&page, "portcullis_") {
            let name = metric.trim_start_matches("portcullis_");
            let is_known = name.is_empty() || code.contains(&format!("\"{name}\""));
            assert!(is_known, "{}: {metric}", path.display());
        }
    }
}

#[test]
fn every_metric_of_the_code_is_in_the_page_for_operators() {
    let page = fs::read_to_string(root().join("docs/operations.md")).expect("docs/operations.md");
    let code = telemetry();
    let makers = [
        "counters(",
        "counter(",
        "gauges(",
        "gauge(",
        "striped(",
        "histograms(",
    ];
    let names: BTreeSet<&str> = makers
        .iter()
        .flat_map(|maker| code.split(maker).skip(1))
        .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split_once('"'))
        .map(|(name, _)| name)
        .collect();
    assert!(names.len() >= 24, "families found: {names:?}");
    for name in names {
        let row = format!("| `portcullis_{name}` |");
        assert!(page.contains(&row), "{name} is not in docs/operations.md");
    }
}

#[test]
fn every_reason_in_a_query_or_a_log_line_is_one_of_the_code() {
    let mut checked = 0;
    let rules = ["recording.yaml", "alerts.yaml"].map(|name| {
        let path = root().join("deploy/prometheus").join(name);
        let text = fs::read_to_string(&path).expect("a rule file");
        (path, text)
    });
    for (path, page) in pages().into_iter().chain(rules) {
        for opening in ["reason=~\"", "reason=\"", "\"reason\":\""] {
            for rest in page.split(opening).skip(1) {
                let (reasons, _) = rest.split_once('"').expect("a closing quote");
                for reason in reasons.split('|') {
                    let is_known = Rejection::ALL.iter().any(|known| known.code() == reason);
                    assert!(is_known, "{}: {reason}", path.display());
                    checked += 1;
                }
            }
        }
    }
    assert!(checked >= 15, "reasons found: {checked}");
}

#[test]
fn the_pages_name_no_place_on_the_machine_they_were_written_on() {
    for (path, page) in pages() {
        for place in ["/work/", "/home/", "/root/", "/tmp/"] {
            assert!(!page.contains(place), "{}: {place}", path.display());
        }
    }
}

#[test]
fn every_alert_has_its_place_in_the_runbook_and_links_it() {
    let read = |path| fs::read_to_string(root().join(path)).expect(path);
    let (alerts, runbook) = (
        read("deploy/prometheus/alerts.yaml"),
        read("docs/runbook.md"),
    );
    let after = |prefix| {
        let lines = alerts.lines().map(str::trim);
        lines.filter_map(move |line| line.strip_prefix(prefix))
    };
    let names: Vec<&str> = after("- alert: ").collect();
    assert!(names.len() >= 28, "alerts found: {names:?}");
    let links: Vec<&str> = after("runbook_url: docs/runbook.md#").collect();
    let expected: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
    assert_eq!(links, expected, "each alert links its own place, in order");
    let places: Vec<&str> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .collect();
    assert_eq!(places, names, "the runbook has each alert, in order");
}
