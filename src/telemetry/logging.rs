//! The log: one line per event on standard output, written by a thread of its own.
//!
//! Owns the global subscriber and its writer. A line that does not fit is dropped and counted: no request
//! ever waits for whoever reads the log. Nothing that a line is made of can end it, move the cursor of a
//! terminal or turn its text around.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

use super::metrics::Metrics;
use crate::config::{Log, LogFormat};

const QUEUE_CHUNKS: usize = 8192;
/// What waits to be written, at most: a reader that stands still costs no more memory than this.
const QUEUE_BYTES: usize = 16 << 20;
/// How long an ending process waits for a reader of the log that stands still.
const FLUSH_PATIENCE: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(10);

/// Keeps the log's writer alive; dropping it flushes what is left.
#[derive(Debug)]
pub struct LogGuard {
    queue: SyncSender<Message>,
    done: Receiver<()>,
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        let attempts = FLUSH_PATIENCE.as_millis() / RETRY.as_millis();
        for _ in 0..attempts {
            match self.queue.try_send(Message::Stop) {
                Err(TrySendError::Full(_)) => thread::sleep(RETRY),
                Ok(()) | Err(TrySendError::Disconnected(_)) => break,
            }
        }
        // The writer hangs up when it has flushed; a reader that stands still must not keep the process.
        self.done.recv_timeout(FLUSH_PATIENCE).ok();
    }
}

/// Installs the global subscriber writing to standard output, and gives back the way there for whole lines, and the
/// writer's guard; what does not fit is counted in `metrics`. A second call in one process changes nothing.
pub fn start_logging(config: &Log, metrics: Arc<Metrics>) -> io::Result<(LogSink, LogGuard)> {
    let (sink, guard) = LogSink::start(metrics, io::stdout())?;
    let writer = LineWriter {
        format: config.format,
        sink: sink.clone(),
    };
    let subscriber = subscriber(config, writer);
    if subscriber.try_init().is_err() {
        tracing::debug!("a log subscriber is installed already");
    }
    Ok((sink, guard))
}

/// `level` rules everything but the access log, which has a switch of its own.
fn subscriber(config: &Log, writer: LineWriter) -> Box<dyn tracing::Subscriber + Send + Sync> {
    let filter = EnvFilter::try_new(&config.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = fmt().with_env_filter(filter).with_writer(writer);
    match config.format {
        LogFormat::Text => Box::new(builder.with_ansi(false).finish()),
        LogFormat::Json => Box::new(
            builder
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false)
                .finish(),
        ),
    }
}

#[derive(Debug)]
enum Message {
    Lines(Vec<u8>),
    Stop,
}

/// Hands whole lines to the writing thread, and never waits for it.
#[derive(Clone, Debug)]
pub struct LogSink {
    queue: SyncSender<Message>,
    waiting: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
}

impl LogSink {
    pub(super) fn start(
        metrics: Arc<Metrics>,
        output: impl Write + Send + 'static,
    ) -> io::Result<(Self, LogGuard)> {
        let (queue, lines) = sync_channel(QUEUE_CHUNKS);
        let (finished, done) = sync_channel(0);
        let waiting = Arc::<AtomicUsize>::default();
        let written = Arc::clone(&waiting);
        thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || {
                write_lines(&lines, &written, io::BufWriter::new(output));
                drop(finished);
            })?;
        let guard = LogGuard {
            queue: queue.clone(),
            done,
        };
        let sink = Self {
            queue,
            waiting,
            metrics,
        };
        Ok((sink, guard))
    }

    /// Hands over `records` whole lines; where they do not fit, they are counted as dropped.
    pub(super) fn send(&self, lines: Vec<u8>, records: u64) {
        let length = lines.len();
        if length == 0 {
            return;
        }
        let before = self.waiting.fetch_add(length, Ordering::Relaxed);
        let fits = before < QUEUE_BYTES && self.queue.try_send(Message::Lines(lines)).is_ok();
        if !fits {
            self.waiting.fetch_sub(length, Ordering::Relaxed);
            self.metrics.log_records_dropped(records);
        }
    }
}

/// What the subscriber writes to.
#[derive(Clone, Debug)]
struct LineWriter {
    format: LogFormat,
    sink: LogSink,
}

impl<'writer> MakeWriter<'writer> for LineWriter {
    type Writer = &'writer Self;

    fn make_writer(&'writer self) -> Self::Writer {
        self
    }
}

/// The formatter writes each event as one whole line.
impl Write for &LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.sink.send(harmless(line, self.format), 1);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_lines(lines: &Receiver<Message>, waiting: &AtomicUsize, mut output: impl Write) {
    // An output that is gone (a closed pipe) is no reason to stop serving: what follows is dropped.
    let write = |lines: Vec<u8>, output: &mut dyn Write| {
        drop(output.write_all(&lines));
        waiting.fetch_sub(lines.len(), Ordering::Relaxed);
    };
    while let Ok(Message::Lines(first)) = lines.recv() {
        write(first, &mut output);
        loop {
            match lines.try_recv() {
                Ok(Message::Lines(more)) => write(more, &mut output),
                Ok(Message::Stop) => {
                    drop(output.flush());
                    return;
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        drop(output.flush());
    }
}

/// The line with every control, line-separating and direction-changing character escaped, but the newline at its end.
fn harmless(line: &[u8], format: LogFormat) -> Vec<u8> {
    let (content, end) = match line.split_last() {
        Some((b'\n', content)) => (content, "\n"),
        _ => (line, ""),
    };
    let is_plain = |byte: &u8| matches!(byte, 0x20..=0x7e);
    if content.iter().all(is_plain) {
        return line.to_vec();
    }
    let mut escaped = String::with_capacity(line.len() + 16);
    for character in String::from_utf8_lossy(content).chars() {
        if !is_harmful(character) {
            escaped.push(character);
        } else if format == LogFormat::Json {
            // Inside a JSON string by necessity, and all of them are in the basic plane.
            let code = u32::from(character);
            escaped.push_str("\\u");
            escaped.extend(
                [12, 8, 4, 0].map(|shift| char::from_digit(code >> shift & 15, 16).unwrap_or('0')),
            );
        } else {
            escaped.extend(character.escape_default());
        }
    }
    escaped.push_str(end);
    escaped.into_bytes()
}

pub(super) fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{061c}'
            | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::Value;

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What `log` writes, once the guard has flushed it.
    fn written(format: LogFormat, log: impl FnOnce()) -> String {
        let output = Shared::default();
        let config = Log {
            format,
            level: "info".to_owned(),
            access: true,
        };
        let metrics = Arc::new(Metrics::new());
        let (sink, guard) = LogSink::start(metrics, output.clone()).unwrap();
        let writer = LineWriter { format, sink };
        tracing::subscriber::with_default(subscriber(&config, writer), log);
        drop(guard);
        String::from_utf8(output.0.lock().unwrap().clone()).unwrap()
    }

    const EVIL: &str = "a\nb\u{1b}[2J\u{2028}\u{202e}\u{7f}\u{9b}é";

    #[test]
    fn json_is_one_flat_object_a_line() {
        let text = written(LogFormat::Json, || {
            tracing::info!(target: "portcullis::audit", path = EVIL, client = %EVIL, "request");
            tracing::debug!("below the level");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            !text.contains(|c: char| c != '\n' && is_harmful(c)),
            "{text}"
        );
        let object: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(object["message"], "request");
        assert_eq!(object["level"], "INFO");
        assert_eq!(object["target"], "portcullis::audit");
        assert_eq!(object["path"], EVIL);
        assert!(object["timestamp"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn text_cannot_be_forged_by_a_value() {
        let text = written(LogFormat::Text, || {
            tracing::info!(path = EVIL, client = %EVIL, "mes\nsage");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            !text.contains(|c: char| c != '\n' && is_harmful(c)),
            "{text}"
        );
        assert!(text.contains('é'), "{text}");
    }

    #[test]
    fn lines_that_do_not_fit_are_counted_and_nobody_waits() {
        let (queue, _lines) = sync_channel(1);
        let metrics = Arc::new(Metrics::new());
        let sink = LogSink {
            queue,
            waiting: Arc::default(),
            metrics: Arc::clone(&metrics),
        };
        sink.send(b"line\n".to_vec(), 1);
        sink.send(b"line\nline\n".to_vec(), 2);
        let text = metrics.render(&super::super::PulledValues::default());
        assert!(
            text.contains("portcullis_log_records_dropped_total 2\n"),
            "{text}"
        );
    }
}
