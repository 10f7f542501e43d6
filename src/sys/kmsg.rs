//! The kernel's log, as `/dev/kmsg` gives it (Documentation/ABI/testing/dev-kmsg).

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

/// The longest record that the kernel returns.
const MAX_RECORD_BYTES: usize = 8192;
/// More records than any kernel keeps. The limit ends a read of a log that grows faster than it is read.
const MAX_RECORDS: usize = 100_000;

/// One line of the kernel's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelLogLine {
    /// When it was written, on the clock that does not run while the machine is suspended.
    pub at: Duration,
    /// The text.
    pub text: String,
}

/// Reads the whole log, oldest line first. Never blocks.
///
/// # Errors
/// The log cannot be read, as in some containers.
pub fn read() -> io::Result<Vec<KernelLogLine>> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open("/dev/kmsg")?;
    let mut lines = Vec::new();
    let mut record = [0; MAX_RECORD_BYTES];
    for _ in 0..MAX_RECORDS {
        match file.read(&mut record) {
            Ok(0) => break,
            Ok(length) => lines.extend(record.get(..length).and_then(parse)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            // The oldest record was overwritten, or a signal came: the next read continues.
            Err(e) if e.raw_os_error() == Some(libc::EPIPE) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(lines)
}

/// `PRIORITY,SEQUENCE,MICROSECONDS,FLAGS;TEXT`, with more lines about the device below.
fn parse(record: &[u8]) -> Option<KernelLogLine> {
    let record = String::from_utf8_lossy(record);
    let (prefix, text) = record.split_once(';')?;
    let microseconds = prefix.split(',').nth(2)?.parse().ok()?;
    Some(KernelLogLine {
        at: Duration::from_micros(microseconds),
        text: text.lines().next().unwrap_or_default().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_a_time_and_a_line() {
        let record =
            b"6,1234,43843591,-;drbd db: conn( Unconnected -> WFConnection ) \n SUBSYSTEM=block\n";
        let line = parse(record).unwrap();
        assert_eq!(line.at, Duration::from_micros(43_843_591));
        assert_eq!(line.text, "drbd db: conn( Unconnected -> WFConnection ) ");
        for bad in [&b""[..], b";", b"6,1,x,-;text", b"\xff\xfe"] {
            assert_eq!(parse(bad), None);
        }
    }
}
