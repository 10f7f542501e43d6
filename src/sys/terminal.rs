//! The size of the terminal.

use std::os::fd::{AsFd, AsRawFd};

/// The size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Characters per line.
    pub columns: usize,
    /// Lines.
    pub rows: usize,
}

/// The size of a terminal; `None` if the output is not a terminal or the size is unknown.
pub fn terminal_size(output: impl AsFd) -> Option<TerminalSize> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let fd = output.as_fd().as_raw_fd();
    // SAFETY: TIOCGWINSZ writes one `winsize`, to which the pointer points; the descriptor is borrowed.
    #[allow(unsafe_code)]
    let result = unsafe { libc::ioctl(fd, libc::TIOCGWINSZ, &raw mut size) };
    (result == 0 && size.ws_col > 0 && size.ws_row > 0).then(|| TerminalSize {
        columns: usize::from(size.ws_col),
        rows: usize::from(size.ws_row),
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_file_has_no_terminal_size() {
        let null = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(super::terminal_size(&null), None);
    }
}
