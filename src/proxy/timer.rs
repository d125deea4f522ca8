//! A time limit that is set for every request and hardly ever reached.
//!
//! Owns one timer of the runtime for many limits, one after the other: a later limit leaves it where it is, and when
//! it fires too early it is set anew. So a request costs no entry in the runtime's wheel.

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

/// For one limit at a time.
#[derive(Debug, Default)]
pub(super) struct Timer(RefCell<Option<Pin<Box<Sleep>>>>);

impl Timer {
    /// Ready at `deadline`.
    pub(super) fn poll(&self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        let mut held = self.0.borrow_mut();
        let sleep = held.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(context));
            if sleep.deadline() >= deadline || Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_limit_is_kept_whichever_came_before() {
        let timer = Timer::default();
        for seconds in [5, 1, 30, 2, 2] {
            let begun = Instant::now();
            let limit = Duration::from_secs(seconds);
            poll_fn(|context| timer.poll(begun + limit, context)).await;
            let took = begun.elapsed();
            assert!(
                took >= limit && took < limit + Duration::from_millis(5),
                "{took:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_was_not_reached_shortens_no_later_one() {
        let timer = Timer::default();
        let limit = Duration::from_secs(5);
        for _ in 0..3 {
            let deadline = Instant::now() + limit;
            poll_fn(|context| {
                assert!(timer.poll(deadline, context).is_pending());
                Poll::Ready(())
            })
            .await;
            tokio::time::advance(Duration::from_secs(2)).await;
        }
        let begun = Instant::now();
        poll_fn(|context| timer.poll(begun + limit, context)).await;
        assert!(begun.elapsed() >= limit);
    }
}
