//! stub
use crate::config::Log;

/// Keeps the log's writer alive; dropping it flushes what is left.
#[derive(Debug)]
pub struct LogGuard {}

/// Installs the global subscriber writing to standard output.
pub fn start_logging(_config: &Log) -> LogGuard {
    todo!()
}
