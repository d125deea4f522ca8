//! The access log: one record per request, written as a line by the worker that served it.
//!
//! Owns the way of those lines: each worker gathers its own and hands them to the log's writing thread in one
//! piece, so that a request costs no wake-up; nothing ever waits, and what does not fit is dropped and counted.
//! Must not know tokens: a record holds the token's id at most.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::{sleep, timeout_at};

use super::logging::LogSink;
use crate::config::LogFormat;
use crate::time::UnixTime;

mod line;
mod masking;
mod record;
mod suppression;

pub use record::AccessRecord;
use record::close_line;
use suppression::Suppressor;

/// How long lines gather.
const GATHER: Duration = Duration::from_millis(20);
/// Lines are handed over when there are so many bytes of them.
const CHUNK_BYTES: usize = 64 << 10;

/// The access log; each worker writes to a [`WorkerLog`] of it.
#[derive(Clone, Debug)]
pub struct AccessLog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    format: LogFormat,
    sink: LogSink,
    suppressor: Mutex<Suppressor>,
}

impl AccessLog {
    /// Lines in that form go to `sink`.
    pub fn new(format: LogFormat, sink: LogSink) -> Self {
        Self(Arc::new(Shared {
            format,
            sink,
            suppressor: Mutex::default(),
        }))
    }

    /// One worker's side.
    pub fn worker(&self) -> WorkerLog {
        WorkerLog {
            shared: Arc::clone(&self.0),
            gathered: RefCell::default(),
            is_awake: Cell::new(false),
            wake: Notify::new(),
            second: Cell::new((i64::MIN, [0; SECOND_LENGTH])),
        }
    }
}

impl Shared {
    fn suppressor(&self) -> MutexGuard<'_, Suppressor> {
        self.suppressor
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is held back is said at the latest when the log ends.
impl Drop for Shared {
    fn drop(&mut self) {
        let mut lines = Gathered::default();
        let format = self.format;
        self.suppressor()
            .end_windows(None, |line, count| lines.close(format, line, count));
        self.sink.send(lines.bytes, lines.count);
    }
}

/// Lines that wait to be handed over.
#[derive(Debug, Default)]
struct Gathered {
    bytes: Vec<u8>,
    count: u64,
}

impl Gathered {
    /// Takes in a line that was held back.
    fn close(&mut self, format: LogFormat, line: &[u8], suppressed: u64) {
        self.bytes.extend_from_slice(line);
        close_line(format, Some(suppressed), &mut self.bytes);
        self.count += 1;
    }
}

/// One worker's lines. What it gathered is handed over by [`WorkerLog::run`], and when it is dropped.
#[derive(Debug)]
pub struct WorkerLog {
    shared: Arc<Shared>,
    gathered: RefCell<Gathered>,
    /// [`WorkerLog::run`] knows that there is something to do.
    is_awake: Cell<bool>,
    wake: Notify,
    /// A second since the epoch, and its text.
    second: Cell<(i64, [u8; SECOND_LENGTH])>,
}

impl WorkerLog {
    /// Writes a record made at `now`, unless too many like it were written in this second. `at`: the same moment by the
    /// clock that only counts.
    pub fn record(&self, record: &AccessRecord<'_>, now: UnixTime, at: Instant) {
        let format = self.shared.format;
        let gathered = &mut *self.gathered.borrow_mut();
        let is_written = record.reason.is_none_or(|reason| {
            let held = || {
                let mut line = Vec::new();
                self.open_line(record, now, &mut line);
                line
            };
            let mut suppressor = self.shared.suppressor();
            suppressor.admit((reason, record.client), at, held, |line, count| {
                gathered.close(format, line, count);
            })
        });
        if is_written {
            self.open_line(record, now, &mut gathered.bytes);
            close_line(format, None, &mut gathered.bytes);
            gathered.count += 1;
        }
        if gathered.bytes.len() >= CHUNK_BYTES {
            self.hand_over(gathered);
        }
        if !self.is_awake.replace(true) {
            self.wake.notify_one();
        }
    }

    fn open_line(&self, record: &AccessRecord<'_>, now: UnixTime, line: &mut Vec<u8>) {
        let mut stamp = [0; STAMP_LENGTH];
        record.open_line(self.shared.format, self.timestamp(now, &mut stamp), line);
    }

    /// Hands over what gathers, for as long as it is polled; ends never.
    pub async fn run(&self) {
        loop {
            let window = self.shared.suppressor().next_end();
            match window {
                // Being woken early and late are the same to what follows.
                Some(end) => drop(timeout_at(end.into(), self.wake.notified()).await),
                None => self.wake.notified().await,
            }
            sleep(GATHER).await;
            self.is_awake.set(false);
            self.flush();
        }
    }

    fn flush(&self) {
        let gathered = &mut *self.gathered.borrow_mut();
        let format = self.shared.format;
        self.shared
            .suppressor()
            .end_windows(Some(Instant::now()), |line, count| {
                gathered.close(format, line, count);
            });
        self.hand_over(gathered);
    }

    fn hand_over(&self, gathered: &mut Gathered) {
        if gathered.bytes.is_empty() {
            return;
        }
        let next = Vec::with_capacity(gathered.bytes.len());
        let bytes = std::mem::replace(&mut gathered.bytes, next);
        self.shared
            .sink
            .send(bytes, std::mem::take(&mut gathered.count));
    }

    /// RFC 3339 in UTC, to the microsecond.
    fn timestamp<'stamp>(
        &self,
        now: UnixTime,
        stamp: &'stamp mut [u8; STAMP_LENGTH],
    ) -> &'stamp [u8] {
        let (mut second, mut text) = self.second.get();
        if second != now.as_seconds() {
            second = now.as_seconds();
            for (to, from) in text.iter_mut().zip(now.to_rfc3339().bytes()) {
                *to = from;
            }
            self.second.set((second, text));
        }
        let mut micros = now.as_micros().rem_euclid(1_000_000).unsigned_abs();
        let (front, fraction) = stamp.split_at_mut(SECOND_LENGTH);
        front.copy_from_slice(&text);
        fraction.copy_from_slice(b".000000Z");
        for digit in fraction.iter_mut().take(7).skip(1).rev() {
            *digit = b'0' + u8::try_from(micros % 10).unwrap_or(0);
            micros /= 10;
        }
        stamp
    }
}

impl Drop for WorkerLog {
    fn drop(&mut self) {
        self.flush();
    }
}

/// `2026-11-24T08:15:00`
const SECOND_LENGTH: usize = 19;
/// `2026-11-24T08:15:00.000000Z`
const STAMP_LENGTH: usize = SECOND_LENGTH + 8;

#[cfg(test)]
mod tests;
