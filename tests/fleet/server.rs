//! A real redis-server on a free port, in a folder of its own, that can be killed, paused and lose what it held.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use tempfile::TempDir;

use super::support::eventually;

pub(super) struct Redis {
    pub(super) port: u16,
    pub(super) folder: TempDir,
    arguments: Vec<String>,
    child: Mutex<Option<Child>>,
}

impl Redis {
    /// One that forgets everything when it ends.
    pub(super) fn start() -> Self {
        Self::start_with(&[])
    }

    /// One that writes everything down at once.
    pub(super) fn start_durable() -> Self {
        Self::start_with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    pub(super) fn start_with(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let redis = Self {
            port,
            folder,
            arguments: arguments.iter().map(|it| (*it).to_owned()).collect(),
            child: Mutex::new(None),
        };
        redis.restart();
        redis
    }

    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    pub(super) fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// SIGKILL, and gone.
    pub(super) fn kill(&self) {
        let child = self.child.lock().expect("a lock").take();
        if let Some(mut child) = child {
            child.kill().expect("a child");
            child.wait().expect("an end");
        }
    }

    /// Starts it on the same port, with what is left in its folder.
    pub(super) fn restart(&self) {
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--loglevel", "warning"])
            .args(["--port", &self.port.to_string()])
            .arg("--dir")
            .arg(self.folder.path())
            .args(&self.arguments)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is missing: run scripts/test");
        *self.child.lock().expect("a lock") = Some(child);
        eventually("redis listens", || {
            TcpStream::connect_timeout(&self.address(), Duration::from_secs(1)).is_ok()
        });
    }

    /// The same, with nothing left.
    pub(super) fn restart_empty(&self) {
        self.kill();
        for entry in std::fs::read_dir(self.folder.path()).expect("a folder") {
            remove(&entry.expect("an entry").path());
        }
        self.restart();
    }

    /// It stops in the middle of whatever it does.
    pub(super) fn pause(&self) {
        self.signal("STOP");
    }

    pub(super) fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let child = self.child.lock().expect("a lock");
        let id = child.as_ref().expect("a running redis").id();
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(id.to_string())
            .status();
        assert!(status.expect("kill").success());
    }

    /// Asks it something; of a Redis without password and TLS.
    pub(super) fn ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        let client = redis::Client::open(self.url()).expect("a client");
        let mut connection = client.get_connection().expect("a connection");
        let mut asked = redis::cmd(command[0]);
        asked.arg(&command[1..]);
        asked.query(&mut connection).expect("an answer")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Ok(Some(mut child)) = self.child.lock().map(|mut child| child.take()) {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn remove(path: &Path) {
    if path.is_dir() {
        std::fs::remove_dir_all(path).expect("a folder that can be removed");
    } else {
        std::fs::remove_file(path).expect("a file that can be removed");
    }
}
