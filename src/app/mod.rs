//! The composition root: builds the graph from a configuration, starts it, swaps it, drains it.
//!
//! Owns the order of start and end, and every background task. The only module that knows all the others.

mod reload;
mod state;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use crate::config::{Config, Loaded};
use crate::proxy::{Drain, Listeners, Workers};
use crate::telemetry::{LogGuard, start_logging};
use reload::Watch;
use state::State;

/// How often expired revocations are swept out.
const SWEEP: Duration = Duration::from_secs(1);

/// Where the configuration came from.
#[derive(Debug)]
pub enum Source {
    /// A value: nothing is reread, and nothing is kept on disk.
    Fixed(Box<Config>),
    /// A file, and what it said: reread on SIGHUP and when it changes.
    File(PathBuf, Box<Loaded>),
}

/// Why the gateway cannot run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
}

/// A running gateway.
#[derive(Debug)]
pub struct App {
    state: Arc<State>,
    workers: Workers,
    public: Vec<SocketAddr>,
    admin: SocketAddr,
    file: Option<PathBuf>,
    tasks: Vec<JoinHandle<()>>,
    log: LogGuard,
}
