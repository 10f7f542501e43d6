//! A handle of a process. A pid may be reused for another process; a pidfd always means the same one.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::sys::signal::Signal;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A handle of a process.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// A handle of the process that has this pid now.
    ///
    /// # Errors
    /// `ESRCH` if there is none.
    pub fn open(pid: i32) -> io::Result<PidFd> {
        // SAFETY: two integers go in, and a new descriptor or -1 comes out.
        #[allow(unsafe_code)]
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let fd = i32::try_from(fd).unwrap_or(-1);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made it, and nobody else knows it.
        #[allow(unsafe_code)]
        Ok(PidFd(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sends it a signal. It is no error if the process has already ended.
    ///
    /// # Errors
    /// The error of the kernel, such as `EPERM`.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let no_details: *const libc::siginfo_t = std::ptr::null();
        // SAFETY: integers and a null pointer go in, which the call takes for "none".
        #[allow(unsafe_code)]
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.as_raw_fd(),
                signal as i32,
                no_details,
                0,
            )
        };
        match io::Error::last_os_error() {
            _ if result == 0 => Ok(()),
            gone if gone.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            error => Err(error),
        }
    }

    /// Waits until it has ended. A zombie has ended.
    ///
    /// # Errors
    /// The kernel cannot watch it.
    pub async fn ended(&self) -> io::Result<()> {
        let copy = self.0.try_clone()?;
        // SAFETY: an owned descriptor stays the same and open for as long as it is owned.
        #[allow(unsafe_code)]
        let watched = unsafe { AsyncFd::register_with_interest(copy, Interest::READABLE) };
        watched?.readable().await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn an_end_is_seen_and_a_signal_to_the_dead_is_no_error() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let process = PidFd::open(i32::try_from(child.id()).unwrap()).unwrap();
        process.signal(Signal::SIGKILL).unwrap();
        process.ended().await.unwrap();
        child.wait().unwrap();
        process.signal(Signal::SIGKILL).unwrap();
    }

    #[test]
    fn nobody_has_the_greatest_number() {
        assert_eq!(
            PidFd::open(i32::MAX).unwrap_err().raw_os_error(),
            Some(libc::ESRCH)
        );
    }
}
