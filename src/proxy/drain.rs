//! How far a drain is, told to everything that one worker runs.
//!
//! Owns the phase and the list of who is to be woken when it changes. To ask costs nothing, because every connection
//! asks whenever it moves.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// How long a drain waits before it closes an idle connection: a request that is on its way when the drain begins is
/// still answered, and told that the connection closes.
pub(super) const GRACE: Duration = Duration::from_millis(100);

/// How far a drain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Connections are accepted.
    Running,
    /// None are accepted any more; open requests may finish.
    Closing,
    /// What is still open is cut.
    Cut,
}

/// The phase of one worker.
#[derive(Debug)]
pub(super) struct Drain {
    phase: Cell<Phase>,
    watching: RefCell<HashMap<u64, Waker>>,
    next: Cell<u64>,
}

impl Drain {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            phase: Cell::new(Phase::Running),
            watching: RefCell::default(),
            next: Cell::new(0),
        })
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Goes on to that phase, and wakes everyone who watches.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        for waker in self.watching.borrow().values() {
            waker.wake_by_ref();
        }
    }

    /// For one task.
    pub(super) fn watch(self: &Rc<Self>) -> DrainWatch {
        let number = self.next.get();
        self.next.set(number + 1);
        DrainWatch {
            drain: Rc::clone(self),
            number,
            waker: None,
        }
    }
}

/// What `future` gives; `None` if everything is cut before.
pub(super) async fn until_cut<F: Future>(drain: &mut DrainWatch, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| {
        if drain.poll(context) == Phase::Cut {
            return Poll::Ready(None);
        }
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// One task's view of a drain.
#[derive(Debug)]
pub(super) struct DrainWatch {
    drain: Rc<Drain>,
    number: u64,
    waker: Option<Waker>,
}

impl DrainWatch {
    /// The phase; the task is woken when it changes.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Phase {
        let waker = context.waker();
        if !self
            .waker
            .as_ref()
            .is_some_and(|held| held.will_wake(waker))
        {
            self.waker = Some(waker.clone());
            let mut watching = self.drain.watching.borrow_mut();
            watching.insert(self.number, waker.clone());
        }
        self.drain.phase()
    }

    /// Waits until the drain has begun.
    pub(super) async fn begun(&mut self) {
        poll_fn(|context| match self.poll(context) {
            Phase::Running => Poll::Pending,
            Phase::Closing | Phase::Cut => Poll::Ready(()),
        })
        .await;
    }
}

impl Drop for DrainWatch {
    fn drop(&mut self) {
        self.drain.watching.borrow_mut().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_watches_is_woken_and_nobody_is_kept() {
        let drain = Drain::new();
        let mut watch = drain.watch();
        let (begun, ()) = tokio::join!(watch.begun(), async { drain.enter(Phase::Closing) });
        assert_eq!((begun, drain.phase()), ((), Phase::Closing));
        drop(watch);
        assert!(drain.watching.borrow().is_empty());
    }
}
