//! The terminal that a program writes to.

use std::os::fd::{AsFd, AsRawFd};

/// How large a terminal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Characters in a line.
    pub columns: usize,
    /// Lines.
    pub rows: usize,
}

/// How large it is; none when it is no terminal or does not know.
pub fn size(output: impl AsFd) -> Option<Size> {
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
    (result == 0 && size.ws_col > 0 && size.ws_row > 0).then(|| Size {
        columns: usize::from(size.ws_col),
        rows: usize::from(size.ws_row),
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_no_terminal_has_no_size() {
        let null = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(super::size(&null), None);
    }
}
