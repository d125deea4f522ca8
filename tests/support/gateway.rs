//! The real binary, running from a configuration file in a folder of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::http::{Request, Response};

const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(5);

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_portcullis");

/// Runs a command of the binary to its end, with that standard input.
pub fn command(arguments: &[&str], input: &str) -> Output {
    use std::io::Write;
    let mut child = Command::new(BINARY)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary");
    let mut stdin = child.stdin.take().expect("a pipe");
    drop(stdin.write_all(input.as_bytes()));
    drop(stdin);
    child.wait_with_output().expect("an end")
}

/// Asks again and again until it is so, or too late.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "it never came about: {what}");
        std::thread::sleep(LOOK);
    }
}

pub struct Gateway {
    pub public: SocketAddr,
    pub admin: SocketAddr,
    folder: Arc<TempDir>,
    child: Child,
    log: Arc<Log>,
}

#[derive(Default)]
struct Log {
    lines: Mutex<Vec<Value>>,
    written: Mutex<String>,
    grown: Condvar,
}

impl Log {
    fn wait<T>(&self, what: &str, mut find: impl FnMut(&[Value]) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.lines.lock().expect("a lock");
        loop {
            if let Some(found) = find(&lines) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "not in the log: {what}; {lines:#?}");
            lines = self.grown.wait_timeout(lines, left).expect("a lock").0;
        }
    }
}

impl Gateway {
    /// Starts with that configuration, to which listeners on free ports and a JSON log are added, and waits until it is
    /// ready. `$FOLDER` in the text stands for the configuration's folder.
    pub fn start(configuration: &str) -> Self {
        let gateway = Self::start_unready(configuration);
        eventually("ready", || gateway.admin_get("/readyz").status == 200);
        gateway
    }

    /// The same, without waiting until every issuer was tried.
    pub fn start_unready(configuration: &str) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        write_configuration(folder.path(), configuration);
        Self::start_in(folder)
    }

    /// The same, in a folder that holds other files already.
    pub fn written_in(folder: Arc<TempDir>, configuration: &str) -> Self {
        write_configuration(folder.path(), configuration);
        Self::start_in(folder)
    }

    /// Starts with the configuration that is in that folder already.
    pub fn start_in(folder: Arc<TempDir>) -> Self {
        let path = folder.path().join("portcullis.toml");
        Self::spawn(folder, Command::new(BINARY).arg("--config").arg(path))
    }

    /// Starts by a command of the caller's, which must run the binary with the folder's configuration.
    pub fn spawn(folder: Arc<TempDir>, command: &mut Command) -> Self {
        let mut child = command
            .env_remove("STATE_DIRECTORY")
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the binary");
        let log = Arc::<Log>::default();
        let (reading, output) = (Arc::clone(&log), child.stdout.take().expect("a pipe"));
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                reading
                    .written
                    .lock()
                    .expect("a lock")
                    .extend([line.as_str(), "\n"]);
                let record = serde_json::from_str(&line).unwrap_or(Value::String(line));
                reading.lines.lock().expect("a lock").push(record);
                reading.grown.notify_all();
            }
        });
        let address = |listener: &str| {
            log.wait("listening", |lines| {
                let record = lines.iter().find(|record| record["listener"] == listener)?;
                record["address"].as_str()?.parse().ok()
            })
        };
        Self {
            public: address("public"),
            admin: address("admin"),
            folder,
            child,
            log,
        }
    }

    pub fn folder(&self) -> Arc<TempDir> {
        Arc::clone(&self.folder)
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("portcullis.toml")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes another configuration over the first, listeners and all as before.
    pub fn rewrite(&self, configuration: &str) {
        write_configuration(self.folder.path(), configuration);
    }

    /// Sends SIGHUP and waits until the new configuration was taken over, or refused.
    pub fn reload(&self) {
        let before = self.log.lines.lock().expect("a lock").len();
        self.signal("HUP");
        self.log.wait("a reload", |lines| {
            let is_end = |record: &Value| {
                let message = record["message"].as_str().unwrap_or_default();
                message == "configuration reloaded"
                    || message.starts_with("the new configuration is wrong")
            };
            lines[before.min(lines.len())..]
                .iter()
                .any(is_end)
                .then_some(())
        });
    }

    pub fn send(&self, request: &Request) -> Response {
        request.send(self.public)
    }

    pub fn get(&self, target: &str, token: &str) -> Response {
        self.send(&Request::get(target).bearer(token))
    }

    pub fn admin_get(&self, target: &str) -> Response {
        Request::get(target).send(self.admin)
    }

    pub fn admin_post(&self, target: &str, body: &Value) -> Response {
        Request::new("POST", target).json(body).send(self.admin)
    }

    /// The value of a metric with all those labels in that order of writing; 0 if it is not there.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let text = self.admin_get("/metrics").text();
        let has_all = |line: &str| {
            labels
                .iter()
                .all(|(label, value)| line.contains(&format!("{label}=\"{value}\"")))
        };
        let is_meant = |line: &&str| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
                && has_all(line)
        };
        text.lines()
            .filter(is_meant)
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .fold(0.0, |sum, value| sum + value)
    }

    /// The access record of the request of that id.
    pub fn record(&self, request_id: &str) -> Value {
        self.log.wait(request_id, |lines| {
            lines
                .iter()
                .find(|record| record["request_id"] == request_id)
                .cloned()
        })
    }

    /// Waits for a record that is so.
    pub fn wait_for_record(&self, what: &str, is_meant: impl Fn(&Value) -> bool) -> Value {
        self.log.wait(what, |lines| {
            lines.iter().find(|record| is_meant(record)).cloned()
        })
    }

    /// Everything logged so far.
    pub fn log_text(&self) -> String {
        let lines = self.log.lines.lock().expect("a lock");
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// The same, byte for byte as it was written.
    pub fn log_as_written(&self) -> String {
        self.log.written.lock().expect("a lock").clone()
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.pid().to_string())
            .status();
        assert!(status.expect("kill").success());
    }

    /// Waits until the process has ended.
    pub fn wait(mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < deadline, "the gateway did not end");
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Puts listeners and log in front of `configuration` where it does not speak of them itself.
fn write_configuration(folder: &Path, configuration: &str) {
    let mut text = String::new();
    if !configuration.contains("[server]") {
        text += "[server]\nlisten = [\"127.0.0.1:0\"]\n";
    }
    if !configuration.contains("[admin]") {
        text += "[admin]\nlisten = \"127.0.0.1:0\"\n";
    }
    if !configuration.contains("[log]") {
        text += "[log]\nformat = \"json\"\n";
    }
    text += &configuration.replace("$FOLDER", &folder.display().to_string());
    std::fs::write(folder.join("portcullis.toml"), text).expect("a writable folder");
}
