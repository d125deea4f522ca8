//! The composition root: builds the graph from a configuration, starts it, swaps it, drains it.
//!
//! Owns the order of start and end, and every background task. The only module that knows all the others.

mod logout;
mod reload;
mod runtime;
mod state;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::interval;

use crate::config::{self, Config, Loaded, RevocationStore};
use crate::proxy::{Listeners, Shared, Workers};
use crate::revocation::{Ledger, Opening, Staleness, StoreFault};
use crate::telemetry::{AccessLog, LogGuard, Metrics, start_logging};
use crate::time::Clock;
use logout::LogoutDesk;
use reload::{Watch, fixed_at_start, weakenings};
use state::State;

/// How often expired revocations are swept out.
const SWEEP: Duration = Duration::from_secs(1);

/// How long the first requests wait for the revocations: a million take less.
const LOADING: Duration = Duration::from_secs(2);

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
    #[error("{0}")]
    Store(#[from] StoreFault),
}

/// A running gateway.
#[derive(Debug)]
pub struct App {
    state: Arc<State>,
    workers: Workers,
    public: Vec<SocketAddr>,
    admin: SocketAddr,
    /// On the file that is reread; `None` rereads nothing.
    watch: Option<Watch>,
    signals: Signals,
    /// Of the revocations, where it is not over yet; the gate does not decide before.
    opening: Option<Opening>,
    tasks: Vec<JoinHandle<()>>,
    // In this order: the access log's records end up in the log.
    _log: LogGuard,
}

impl App {
    /// Starts everything, on the runtime that calls it. Sockets are bound first: where one is taken, nothing else has happened.
    ///
    /// # Errors
    /// A socket that is taken, a thread that cannot be made, or a store of revocations that cannot be used.
    pub async fn start(source: Source) -> Result<Self, StartError> {
        let (config, warnings, watch) = match source {
            Source::Fixed(config) => (*config, Vec::new(), None),
            Source::File(path, loaded) => {
                let watch = Watch::new(path, &loaded);
                (loaded.config, loaded.warnings, Some(watch))
            }
        };
        // From here on no signal ends the process without a drain.
        let signals = Signals::new()?;
        let taken = |(address, error)| StartError::Listen(address, error);
        let listeners = Listeners::bind(&config.server.listen).map_err(taken)?;
        let admin = Listeners::bind(&[config.admin.listen]).map_err(taken)?;

        let metrics = Arc::new(Metrics::new());
        let (sink, log) = start_logging(&config.log, Arc::clone(&metrics))?;
        for warning in &warnings {
            tracing::warn!(warning = %warning, "configuration");
        }
        let access_log = AccessLog::new(config.log.format, sink);
        let clock = Clock::system();
        let count = worker_count(&config);
        metrics.config_read(true, clock.now());
        let keeps_files = watch.is_some();
        let (ledger, opening) = revocations(&config, keeps_files, &clock);
        let state = Arc::new(State::start(
            config,
            keeps_files,
            clock.clone(),
            Arc::clone(&metrics),
            Arc::new(ledger),
        ));
        let public = listeners.addresses();
        let (admin_address, admin_task) = runtime::serve_admin(admin, Arc::clone(&state))?;
        let opening = load(&state.ledger, opening).await?;
        let shared = Arc::new(Shared::new(
            Arc::clone(&state.snapshot),
            metrics,
            access_log,
            clock,
            Arc::new(LogoutDesk::of(&state)),
        ));
        let workers = Workers::spawn(count, &listeners, &shared)?;
        announce(&public, admin_address, count);
        Ok(Self {
            tasks: vec![admin_task, tokio::spawn(sweep(Arc::clone(&state)))],
            state,
            workers,
            public,
            admin: admin_address,
            watch,
            signals,
            opening,
            _log: log,
        })
    }

    /// Where requests are taken.
    pub fn public_addresses(&self) -> &[SocketAddr] {
        &self.public
    }

    /// Where operators ask.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Runs until SIGTERM or SIGINT, reloads on SIGHUP and when the file changes, then drains.
    ///
    /// # Errors
    /// A store of revocations that cannot be used.
    pub async fn run_until_signal(mut self) -> Result<ExitCode, StoreFault> {
        let Signals {
            mut terminate,
            mut interrupt,
            hangup,
        } = self.signals;
        let ledger = Arc::clone(&self.state.ledger);
        let unusable = async {
            if let Some(opening) = self.opening {
                match opening.wait().await {
                    Ok(()) => ledger.loaded(),
                    Err(fault) => return fault,
                }
            }
            std::future::pending().await
        };
        let reloads = reload_forever(Arc::clone(&self.state), self.watch.take(), hangup);
        let is_graceful = tokio::select! {
            _ = terminate.recv() => true,
            _ = interrupt.recv() => false,
            () = reloads => false,
            fault = unusable => return Err(fault),
        };
        let state = Arc::clone(&self.state);
        let drained = drain(state, self.workers, &self.tasks, is_graceful);
        tokio::select! {
            () = drained => return Ok(ExitCode::SUCCESS),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("stopped by a second signal; what was open is cut off");
        Ok(ExitCode::FAILURE)
    }
}

/// What the process is told from outside.
#[derive(Debug)]
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// Readiness falls first; where there is time, connections are still accepted for `drain_delay`, so that a load
/// balancer sees it. Then open requests may finish.
async fn drain(
    state: Arc<State>,
    workers: Workers,
    tasks: &[JoinHandle<()>],
    waits_for_balancers: bool,
) {
    let server = state.current.load().config.server.clone();
    state.begin_drain();
    state.ledger.close().await;
    tracing::info!("draining");
    if waits_for_balancers {
        tokio::time::sleep(server.drain_delay).await;
    }
    let cut_off = workers.drain(server.drain).await;
    for task in tasks {
        task.abort();
    }
    tracing::info!(cut_off, "stopped");
}

/// Where revocations are kept. A configuration that is no file keeps nothing on disk.
fn revocations(config: &Config, keeps_files: bool, clock: &Clock) -> (Ledger, Opening) {
    let (server, revocation) = (&config.server, &config.revocation);
    match &revocation.store {
        RevocationStore::Embedded if keeps_files => {
            Ledger::embedded(&server.state_dir, server.drain, clock.clone())
        }
        RevocationStore::Redis(redis) if keeps_files => {
            let staleness = Staleness {
                on_stale: revocation.on_stale,
                max_stale: revocation.max_stale,
            };
            let (directory, wait) = (&server.state_dir, server.drain);
            Ledger::redis(redis.clone(), staleness, directory, wait, clock.clone())
        }
        RevocationStore::Embedded | RevocationStore::Redis(_) | RevocationStore::Memory => {
            (Ledger::in_memory(), Opening::done())
        }
    }
}

/// Gives the revocations a moment to load before any request is taken: until then connections wait in the listener's
/// queue, where afterwards they would be answered 503. What takes longer goes on.
async fn load(ledger: &Ledger, mut opening: Opening) -> Result<Option<Opening>, StoreFault> {
    match opening.wait_within(LOADING).await {
        Some(outcome) => {
            outcome?;
            ledger.loaded();
            Ok(None)
        }
        None => Ok(Some(opening)),
    }
}

fn worker_count(config: &Config) -> usize {
    match config.server.workers {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        count => count,
    }
}

fn announce(public: &[SocketAddr], admin: SocketAddr, workers: usize) {
    tracing::info!(version = env!("CARGO_PKG_VERSION"), workers, "started");
    for address in public {
        tracing::info!(listener = "public", address = %address, "listening");
    }
    tracing::info!(listener = "admin", address = %admin, "listening");
}

async fn sweep(state: Arc<State>) {
    let mut tick = interval(SWEEP);
    loop {
        tick.tick().await;
        state.ledger.sweep(state.clock.now());
    }
}

/// Reloads whenever it is asked to, or the file changes. Never ends; without a file it never acts.
async fn reload_forever(state: Arc<State>, watch: Option<Watch>, mut hangup: Signal) {
    let Some(mut watch) = watch else {
        return std::future::pending().await;
    };
    let started = Arc::clone(&state.current.load().config);
    loop {
        let asked = tokio::select! {
            asked = hangup.recv() => asked.is_some(),
            () = watch.changed() => true,
        };
        if !asked {
            return std::future::pending().await;
        }
        watch.acknowledge().await;
        if let Some(loaded) = reload(&state, &started, watch.path()).await {
            watch.follow(&loaded);
        }
    }
}

/// A wrong configuration changes nothing, and says why; a good one is given back. `started`: what the process runs with
/// until its end.
async fn reload(state: &State, started: &Config, path: &std::path::Path) -> Option<Loaded> {
    let loaded = match config::load(path) {
        Ok(loaded) => loaded,
        Err(faults) => {
            for fault in faults.to_string().lines() {
                tracing::error!(
                    fault,
                    "the new configuration is wrong; the old one stays in force"
                );
            }
            state.metrics.config_read(false, state.clock.now());
            return None;
        }
    };
    for warning in &loaded.warnings {
        tracing::warn!(warning = %warning, "configuration");
    }
    let before = state.current.load_full();
    for weakening in weakenings(&before.config, &loaded.config) {
        tracing::warn!(
            weakening,
            "the new configuration asks less than the old one"
        );
    }
    for key in fixed_at_start(started, &loaded.config) {
        tracing::warn!(key, "a changed key takes effect at the next start only");
    }
    state.replace(loaded.config.clone()).await;
    state.metrics.config_read(true, state.clock.now());
    tracing::info!("configuration reloaded");
    Some(loaded)
}
