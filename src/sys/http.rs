//! The head of a response of HTTP/1.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// How many bytes of the head of a response are read.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// How many bytes are read at once.
const READ_BYTES: usize = 8192;
/// What ends a head.
const END: &[u8] = b"\r\n\r\n";

/// Reads until the head is complete, and perhaps some more. Returns where the page begins; `None` if the head does not end.
///
/// # Errors
/// Those of the connection.
pub async fn read_head<S: AsyncRead + Unpin>(
    stream: &mut S,
    answer: &mut Vec<u8>,
) -> io::Result<Option<usize>> {
    loop {
        if let Some(at) = answer.windows(END.len()).position(|w| w == END) {
            return Ok(Some(at.saturating_add(END.len())));
        }
        if answer.len() > MAX_HEAD_BYTES || read(stream, answer).await? == 0 {
            return Ok(None);
        }
    }
}

/// Reads some more. Returns how many bytes.
///
/// # Errors
/// Those of the connection.
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S, into: &mut Vec<u8>) -> io::Result<usize> {
    into.reserve(READ_BYTES);
    stream.read_buf(into).await
}

/// The status in `HTTP/1.1 200 OK`: three digits, from 100 to 599.
pub fn parse_status(head: &[u8]) -> Option<u16> {
    let line = String::from_utf8_lossy(head);
    let (version, rest) = line.lines().next()?.split_once(' ')?;
    let number = rest.split(' ').next().filter(|n| n.len() == 3)?;
    let status = number.parse().ok().filter(|s| (100..600).contains(s))?;
    version.starts_with("HTTP/1.").then_some(status)
}
