//! The kernel's log, as `/dev/kmsg` gives it (Documentation/ABI/testing/dev-kmsg).

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

/// The longest record that the kernel hands out.
const LONGEST: usize = 8192;
/// More records than a kernel keeps are not read: one that is written to faster than we read would hold us for ever.
const MOST: usize = 100_000;

/// One line of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it was written, on the clock that stands still while the machine sleeps.
    pub at: Duration,
    /// What it says.
    pub text: String,
}

/// All that is kept of it, the oldest first. Never waits.
///
/// # Errors
/// When it cannot be read at all, as in some containers.
pub fn read() -> io::Result<Vec<Line>> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open("/dev/kmsg")?;
    let mut lines = Vec::new();
    let mut record = [0; LONGEST];
    for _ in 0..MOST {
        match file.read(&mut record) {
            Ok(0) => break,
            Ok(length) => lines.extend(record.get(..length).and_then(parse)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            // The oldest was overwritten while we read, or a signal came: the next read goes on.
            Err(e) if e.raw_os_error() == Some(libc::EPIPE) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(lines)
}

/// `PRIORITY,SEQUENCE,MICROSECONDS,FLAGS;TEXT`, with more lines about the device below.
fn parse(record: &[u8]) -> Option<Line> {
    let record = String::from_utf8_lossy(record);
    let (prefix, text) = record.split_once(';')?;
    let microseconds = prefix.split(',').nth(2)?.parse().ok()?;
    Some(Line {
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
