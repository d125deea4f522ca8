//! Small messages leave in one plain write.
//!
//! Owns the choice: several short slices are copied together, because for a kernel a gathered write costs more than
//! the copy; long ones are gathered. Knows nothing of what is written.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

/// So many bytes are copied at most.
const COPIED: usize = 2048;

/// Writes as much of `slices` as the socket takes.
pub(super) fn poll_write_slices(
    stream: Pin<&mut TcpStream>,
    context: &mut Context<'_>,
    slices: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let mut filled = slices.iter().filter(|slice| !slice.is_empty());
    match (filled.next(), filled.next()) {
        (Some(only), None) => return stream.poll_write(context, only),
        (None, _) => return Poll::Ready(Ok(0)),
        (Some(_), Some(_)) => {}
    }
    let mut copy = [0; COPIED];
    let mut length = 0;
    for slice in slices {
        let end = length + slice.len();
        match copy.get_mut(length..end) {
            Some(place) => place.copy_from_slice(slice),
            None => return stream.poll_write_vectored(context, slices),
        }
        length = end;
    }
    stream.poll_write(context, copy.get(..length).unwrap_or_default())
}
