//! The terminal that a program writes to.

use std::os::fd::{AsFd, AsRawFd};

/// How many columns it has; none when it is no terminal or does not know.
pub fn columns(output: impl AsFd) -> Option<usize> {
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
    (result == 0 && size.ws_col > 0).then(|| usize::from(size.ws_col))
}
