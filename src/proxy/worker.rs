//! The data plane: threads that share no mutable state, each with its own runtime and its own connections to upstreams.
//!
//! Owns starting and draining them, and what one worker keeps: its view of the configuration and its pools.

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::HeaderMap;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_local;
use tokio::time::{interval, timeout};

use crate::config::{RouteId, UpstreamServer};
use crate::telemetry::{
    AccessLog, AccessRecord, ConnectionGuard, HandshakeFailure, Listener, Metrics, WorkerLog,
};
use crate::time::{Clock, UnixTime};

use super::drain::{Drain, DrainWatch, Phase};
use super::listener::{Listeners, Slots, accept};
use super::logout::Logouts;
use super::pool::{Pool, PoolKey, PoolTls};
use super::snapshot::{ForwardingRule, Snapshot};
use super::upstream::{RecycledMaps, Upstream};

/// How often pools are looked through for connections that have been idle for too long.
const SWEEP: Duration = Duration::from_secs(1);
/// How long workers may take to end once everything is cut.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    snapshot: Arc<ArcSwap<Snapshot>>,
    metrics: Arc<Metrics>,
    access_log: AccessLog,
    clock: Clock,
    logouts: Arc<dyn Logouts>,
    slots: Arc<Slots>,
}

impl Shared {
    /// `snapshot` may be swapped at any time; a request keeps the one it began with.
    pub fn new(
        snapshot: Arc<ArcSwap<Snapshot>>,
        metrics: Arc<Metrics>,
        access_log: AccessLog,
        clock: Clock,
        logouts: Arc<dyn Logouts>,
    ) -> Self {
        Self {
            snapshot,
            metrics,
            access_log,
            clock,
            logouts,
            slots: Arc::default(),
        }
    }
}

/// The running data plane.
#[derive(Debug)]
pub struct Workers {
    phase: watch::Sender<Phase>,
    /// Ends when the last worker has.
    running: mpsc::Receiver<Infallible>,
    cut: Arc<AtomicUsize>,
}

/// What a worker's thread starts with.
struct Seed {
    listeners: Listeners,
    shared: Arc<Shared>,
    phase: watch::Receiver<Phase>,
    cut: Arc<AtomicUsize>,
    running: mpsc::Sender<Infallible>,
}

impl Workers {
    /// Starts `count` workers, at least one, on duplicates of `listeners`.
    ///
    /// # Errors
    /// When a socket cannot be duplicated or a thread or runtime cannot be made.
    pub fn spawn(count: usize, listeners: &Listeners, shared: &Arc<Shared>) -> io::Result<Self> {
        let (phase, _) = watch::channel(Phase::Running);
        let (alive, running) = mpsc::channel(1);
        let cut = Arc::<AtomicUsize>::default();
        for number in 0..count.max(1) {
            let seed = Seed {
                listeners: listeners.duplicate()?,
                shared: Arc::clone(shared),
                phase: phase.subscribe(),
                cut: Arc::clone(&cut),
                running: alive.clone(),
            };
            std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || run(seed))?;
        }
        Ok(Self {
            phase,
            running,
            cut,
        })
    }

    /// Stops accepting, lets open requests finish for as long as `within`, then cuts what is left; gives back how many
    /// requests were cut. The caller has dropped its own [`Listeners`], or new connections would wait in vain.
    pub async fn drain(mut self, within: Duration) -> usize {
        self.phase.send_replace(Phase::Closing);
        if timeout(within, self.running.recv()).await.is_err() {
            self.phase.send_replace(Phase::Cut);
            if timeout(LAST_WAIT, self.running.recv()).await.is_err() {
                tracing::warn!("a worker did not end");
            }
        }
        self.cut.load(Ordering::Acquire)
    }
}

fn run(seed: Seed) {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default());
    match runtime {
        Ok(runtime) => runtime.block_on(work(seed)),
        Err(error) => tracing::error!(%error, "a worker cannot start"),
    }
}

async fn work(seed: Seed) {
    let listeners = match seed.listeners.into_async() {
        Ok(listeners) => listeners,
        Err(error) => {
            tracing::error!(%error, "a worker cannot accept connections");
            return;
        }
    };
    let (alive, mut open) = mpsc::channel(1);
    let worker = Rc::new(Worker::new(seed.shared, seed.cut));
    for listener in listeners {
        spawn_local(accept(listener, Rc::clone(&worker), alive.clone()));
    }
    drop(alive);
    let sweeper = spawn_local(sweep(Rc::clone(&worker)));
    let follower = spawn_local(follow(Rc::clone(&worker), seed.phase));
    let logging = Rc::clone(&worker);
    let logger = spawn_local(async move { logging.log.run().await });
    // Nothing is ever sent: this ends when nobody accepts any more and no connection is left.
    open.recv().await;
    sweeper.abort();
    follower.abort();
    logger.abort();
    // The tasks that were ended hold the worker, and with it what it has not logged yet, until they are polled.
    for task in [sweeper, follower, logger] {
        task.await.ok();
    }
    drop(worker);
    drop(seed.running);
}

/// Hands the phase of the drain on to this worker's own connections, which so share no lock with other workers.
async fn follow(worker: Rc<Worker>, mut phase: watch::Receiver<Phase>) {
    while phase.changed().await.is_ok() {
        worker.drain.enter(*phase.borrow_and_update());
    }
    // Whoever started us is gone.
    worker.drain.enter(Phase::Cut);
}

async fn sweep(worker: Rc<Worker>) {
    let mut tick = interval(SWEEP);
    loop {
        tick.tick().await;
        worker.sweep();
    }
}

/// One worker.
#[derive(Debug)]
pub(super) struct Worker {
    shared: Arc<Shared>,
    log: WorkerLog,
    view: RefCell<Rc<View>>,
    pools: RefCell<HashMap<PoolKey, Rc<Pool>>>,
    drain: Rc<Drain>,
    cut: Arc<AtomicUsize>,
}

/// A worker's side of one configuration.
#[derive(Debug)]
pub(super) struct View {
    pub(super) snapshot: Arc<Snapshot>,
    upstreams: Vec<Upstream>,
    recycled: RecycledMaps,
}

impl View {
    /// Maps of headers whose memory waits for the next response.
    pub(super) fn recycled(&self) -> &RecycledMaps {
        &self.recycled
    }

    /// Takes back the memory of a map of headers.
    pub(super) fn recycle(&self, headers: HeaderMap) {
        self.recycled.give(headers);
    }

    /// What forwarding does on that route, and to where.
    pub(super) fn way(&self, route: RouteId) -> Option<(&ForwardingRule, &Upstream)> {
        let rule = self.snapshot.route(route)?;
        Some((rule, self.upstreams.get(rule.upstream.index())?))
    }
}

impl Worker {
    fn new(shared: Arc<Shared>, cut: Arc<AtomicUsize>) -> Self {
        let mut pools = HashMap::new();
        let view = view_of(shared.snapshot.load_full(), &mut pools);
        Self {
            log: shared.access_log.worker(),
            shared,
            view: RefCell::new(Rc::new(view)),
            pools: RefCell::new(pools),
            drain: Drain::new(),
            cut,
        }
    }

    /// The configuration that is in force now.
    pub(super) fn view(&self) -> Rc<View> {
        let current = self.shared.snapshot.load();
        let held = Rc::clone(&self.view.borrow());
        if Arc::ptr_eq(&held.snapshot, &current) {
            return held;
        }
        let mut pools = self.pools.borrow_mut();
        let fresh = Rc::new(view_of(Arc::clone(&current), &mut pools));
        *self.view.borrow_mut() = Rc::clone(&fresh);
        fresh
    }

    /// The wall clock.
    pub(super) fn now(&self) -> UnixTime {
        self.shared.clock.now()
    }

    /// Where logouts are put in force.
    pub(super) fn logouts(&self) -> &dyn Logouts {
        &*self.shared.logouts
    }

    /// Writes a record of a request that is over at `now`, which is the moment `at`.
    pub(super) fn log(&self, record: &AccessRecord<'_>, now: UnixTime, at: Instant) {
        self.log.record(record, now, at);
    }

    /// Counts an open connection.
    pub(super) fn count_connection(&self) -> ConnectionGuard {
        self.shared.metrics.connection(Listener::Public)
    }

    pub(super) fn count_failed_handshake(&self, failure: HandshakeFailure) {
        self.shared.metrics.handshake_failed(failure);
    }

    pub(super) fn slots(&self) -> &Arc<Slots> {
        &self.shared.slots
    }

    pub(super) fn connection_limit(&self) -> usize {
        self.shared.snapshot.load().limits.connections
    }

    /// A drain has begun: every answer ends its connection.
    pub(super) fn is_closing(&self) -> bool {
        self.drain.phase() != Phase::Running
    }

    /// The drain is over: whatever is still open is cut.
    pub(super) fn is_cutting(&self) -> bool {
        self.drain.phase() == Phase::Cut
    }

    /// Follows the drain.
    pub(super) fn watch_drain(&self) -> DrainWatch {
        self.drain.watch()
    }

    /// A connection was cut, and so many requests with it.
    pub(super) fn note_cut(&self, requests: usize) {
        self.cut.fetch_add(requests, Ordering::AcqRel);
    }

    fn sweep(&self) {
        for pool in self.pools.borrow().values() {
            pool.sweep();
        }
    }
}

/// Pools whose server and settings stay are kept; those of servers that are no longer named die with their last request.
fn view_of(snapshot: Arc<Snapshot>, pools: &mut HashMap<PoolKey, Rc<Pool>>) -> View {
    let mut kept = HashMap::new();
    let upstreams = snapshot
        .upstreams
        .iter()
        .map(|upstream| {
            Upstream::new(upstream, |server: &UpstreamServer| {
                let tls = PoolTls::of(upstream, server);
                let key = PoolKey {
                    host: server.host.clone(),
                    port: server.port,
                    keep_alive: upstream.keep_alive,
                    tls: tls.as_ref().map(PoolTls::key),
                };
                let pool = kept.entry(key.clone()).or_insert_with(|| {
                    let known = pools.remove(&key);
                    known.unwrap_or_else(|| Rc::new(Pool::new(key, tls)))
                });
                Rc::clone(pool)
            })
        })
        .collect();
    *pools = kept;
    View {
        snapshot,
        upstreams,
        recycled: RecycledMaps::default(),
    }
}
