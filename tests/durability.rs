//! The embedded store with real processes: what was acknowledged holds after a kill, a handover, a full disk, a damaged
//! file; and what all of it looks like from outside.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    clippy::format_collect,
    clippy::format_push_string,
    reason = "a test fails by panicking, and what a metric counts, a float holds exactly"
)]

mod support;

#[path = "durability/crash.rs"]
mod crash;
#[path = "durability/damage.rs"]
mod damage;
#[path = "durability/full_disk.rs"]
mod full_disk;
#[path = "durability/handover.rs"]
mod handover;
#[path = "durability/transfer.rs"]
mod transfer;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use serde_json::{Value, json};
use support::gateway::BINARY;
use support::{Gateway, KID, Response, Server, configuration, corp, token};
use tempfile::TempDir;

/// A folder with a configuration, and what a gateway needs around it.
struct Place {
    folder: Arc<TempDir>,
    _servers: [Server; 2],
}

impl Place {
    /// `top`: other sections.
    fn new(top: &str) -> Self {
        let (upstream, provider) = (Server::echo(), Server::keys(vec![corp().jwk(KID)]));
        let route = "path = \"/*\"\nupstream = \"api\"";
        let mut text = configuration(top, &provider, "", &upstream, route);
        let mut before = String::new();
        for (section, keys) in [
            ("[server]", "listen = [\"127.0.0.1:0\"]"),
            ("[admin]", "listen = \"127.0.0.1:0\""),
            ("[log]", "format = \"json\""),
        ] {
            if text.contains(section) {
                text = text.replace(section, &format!("{section}\n{keys}"));
            } else {
                before += &format!("{section}\n{keys}\n");
            }
        }
        let folder = Arc::new(tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join("portcullis.toml"), before + &text).unwrap();
        Self {
            folder,
            _servers: [upstream, provider],
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("portcullis.toml")
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("state/revocations.redb")
    }

    /// Without waiting until it is ready.
    fn start(&self) -> Gateway {
        Gateway::start_in(Arc::clone(&self.folder))
    }

    fn start_ready(&self) -> Gateway {
        let gateway = self.start();
        wait_ready(&gateway);
        gateway
    }

    /// A gateway that is to end by itself, to its end.
    fn run_to_end(&self) -> Output {
        self.run(&["serve"])
    }

    /// A command with `--config`, to its end.
    fn run(&self, arguments: &[&str]) -> Output {
        run(arguments, &self.path(), &[])
    }
}

fn run(arguments: &[&str], config: &Path, more: &[&str]) -> Output {
    Command::new(BINARY)
        .args(arguments)
        .arg("--config")
        .arg(config)
        .args(more)
        .env_remove("STATE_DIRECTORY")
        .stdin(Stdio::null())
        .output()
        .expect("the binary")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn wait_ready(gateway: &Gateway) {
    support::eventually("ready", || gateway.admin_get("/readyz").status == 200);
}

fn revoke(gateway: &Gateway, jti: &str) -> Response {
    gateway.admin_post("/api/revocations", &json!({"jti": jti, "issuer": "corp"}))
}

fn outcome(gateway: &Gateway, jti: &str) -> String {
    gateway.get("/", &token(json!({"jti": jti}))).outcome()
}

fn listed(gateway: &Gateway) -> Vec<Value> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = gateway.admin_get(&format!("/api/revocations?limit=1000&cursor={cursor}"));
        let page = page.json();
        all.extend(page["revocations"].as_array().unwrap().iter().cloned());
        match page["cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => return all,
        }
    }
}
