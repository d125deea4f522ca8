//! What is in force now: one configuration, the keys of its issuers, and the gate built from both.
//!
//! Owns how a configuration becomes a running gate, and how the next one takes its place without refusing anybody:
//! keys, caches and pools that stay valid are kept, and new keys are fetched before they are needed.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout_at};

use crate::config::{Config, Issuer};
use crate::gate::Gate;
use crate::keys::{IssuerKeys, Refresher};
use crate::proxy::Snapshot;
use crate::revocation::Ledger;
use crate::telemetry::{ConfiguredMetrics, Metrics};
use crate::time::Clock;
use crate::tls::Tickets;

/// How often a reload looks whether new keys have come.
const LOOK: Duration = Duration::from_millis(20);

/// What lives as long as the process.
#[derive(Debug)]
pub(super) struct State {
    pub(super) current: ArcSwap<Current>,
    /// What the workers read; swapped together with `current`.
    pub(super) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) clock: Clock,
    pub(super) draining: AtomicBool,
    /// By them TLS sessions are resumed, whatever is reloaded meanwhile.
    tickets: Tickets,
    /// Where keys survive a restart; `None` keeps nothing on disk.
    kept_in: Option<PathBuf>,
}

/// One configuration in force.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) config: Arc<Config>,
    pub(super) metrics: Arc<ConfiguredMetrics>,
    /// In the order of the configuration.
    pub(super) issuers: Vec<RunningIssuer>,
    pub(super) gate: Arc<Gate>,
}

/// An issuer whose keys are kept fresh.
#[derive(Clone, Debug)]
pub(super) struct RunningIssuer {
    pub(super) name: Arc<str>,
    pub(super) keys: Arc<IssuerKeys>,
    refresher: AbortHandle,
}

impl State {
    /// Builds everything from a first configuration and starts to fetch keys.
    pub(super) fn start(
        config: Config,
        keeps_files: bool,
        clock: Clock,
        metrics: Arc<Metrics>,
        ledger: Arc<Ledger>,
    ) -> Self {
        let state_dir = keeps_files.then(|| config.server.state_dir.clone());
        let issuers: Vec<_> = config
            .issuers
            .iter()
            .map(|issuer| run(issuer, state_dir.as_ref(), &clock, &[]))
            .collect();
        let gate = Arc::new(Gate::new(
            &config,
            keys_of(&issuers),
            Arc::clone(ledger.set()),
        ));
        let configured = Arc::new(metrics.configure(&config));
        let tickets = Tickets::new();
        let snapshot = Snapshot::new(
            &config,
            Arc::clone(&gate),
            Arc::clone(&configured),
            &tickets,
        );
        let current = Current {
            config: Arc::new(config),
            metrics: configured,
            issuers,
            gate,
        };
        Self {
            snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
            current: ArcSwap::from_pointee(current),
            metrics,
            ledger,
            clock,
            draining: AtomicBool::new(false),
            tickets,
            kept_in: state_dir,
        }
    }

    /// Puts a valid configuration in force. Requests go on with the one they began with.
    pub(super) async fn replace(&self, config: Config) {
        let before = self.current.load_full();
        let issuers: Vec<_> = config
            .issuers
            .iter()
            .map(|issuer| {
                let state_dir = self.kept_in.as_ref();
                kept(&before, issuer)
                    .unwrap_or_else(|| run(issuer, state_dir, &self.clock, &before.issuers))
            })
            .collect();
        self.await_keys(&config, &issuers).await;
        let gate = Gate::new(&config, keys_of(&issuers), Arc::clone(self.ledger.set()));
        let gate = Arc::new(gate.keeping_tokens_of(&before.gate, &before.config, &config));
        let configured = Arc::new(self.metrics.configure(&config));
        let snapshot = Snapshot::new(
            &config,
            Arc::clone(&gate),
            Arc::clone(&configured),
            &self.tickets,
        );
        let is_kept =
            |old: &RunningIssuer| issuers.iter().any(|new| Arc::ptr_eq(&new.keys, &old.keys));
        let gone: Vec<_> = before
            .issuers
            .iter()
            .filter(|old| !is_kept(old))
            .cloned()
            .collect();
        self.snapshot.store(Arc::new(snapshot));
        self.current.store(Arc::new(Current {
            config: Arc::new(config),
            metrics: configured,
            issuers,
            gate,
        }));
        for issuer in gone {
            issuer.refresher.abort();
        }
    }

    /// Waits until every new issuer's keys were fetched once, or its time is up: a reload shall refuse nobody.
    async fn await_keys(&self, config: &Config, issuers: &[RunningIssuer]) {
        let longest = config
            .issuers
            .iter()
            .map(|issuer| issuer.jwks.timeout)
            .max()
            .unwrap_or_default();
        let deadline = Instant::now() + longest;
        let all_tried = async {
            while !issuers
                .iter()
                .all(|issuer| issuer.keys.status(self.clock.now()).tried_once)
            {
                sleep(LOOK).await;
            }
        };
        if timeout_at(deadline, all_tried).await.is_err() {
            tracing::warn!(
                "a new issuer's keys could not be fetched yet; the configuration comes in force all the same"
            );
        }
    }

    /// Readiness falls; nothing else changes yet.
    pub(super) fn begin_drain(&self) {
        self.draining.store(true, Ordering::Release);
    }
}

/// Starts to keep the keys of `issuer` fresh, from those of the `earlier` issuer that had the same source: its provider
/// may be down by now.
fn run(
    issuer: &Issuer,
    state_dir: Option<&PathBuf>,
    clock: &Clock,
    earlier: &[RunningIssuer],
) -> RunningIssuer {
    let (refresher, keys) = Refresher::new(issuer, state_dir.map(PathBuf::as_path), clock.clone());
    for earlier in earlier {
        refresher.inherit(&earlier.keys);
    }
    RunningIssuer {
        name: issuer.name.as_str().into(),
        keys,
        refresher: tokio::spawn(refresher.run()).abort_handle(),
    }
}

/// The running issuer whose keys are those of `issuer`, whatever else of its section has changed.
fn kept(before: &Current, issuer: &Issuer) -> Option<RunningIssuer> {
    let has_same_keys = |old: &Issuer| {
        old.name == issuer.name
            && old.issuer == issuer.issuer
            && old.keys == issuer.keys
            && old.jwks == issuer.jwks
    };
    let place = before.config.issuers.iter().position(has_same_keys)?;
    before.issuers.get(place).cloned()
}

fn keys_of(issuers: &[RunningIssuer]) -> Vec<Arc<IssuerKeys>> {
    issuers
        .iter()
        .map(|issuer| Arc::clone(&issuer.keys))
        .collect()
}
