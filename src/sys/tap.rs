//! TAP devices: a network interface whose other end is a file descriptor.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

/// The number of `TUNSETIFF`, which the kernel declares with an int but reads as an `ifreq`.
const TUNSETIFF: nix::sys::ioctl::ioctl_num_type =
    nix::request_code_write!(b'T', 202, size_of::<libc::c_int>());

mod raw {
    #![allow(unsafe_code, missing_docs)]
    nix::ioctl_write_ptr_bad!(tun_set_iff, super::TUNSETIFF, libc::ifreq);
    nix::ioctl_write_ptr!(tun_set_carrier, b'T', 226, libc::c_int);
}

/// A TAP device. It exists in the network namespace in which it was created, until this is dropped.
#[derive(Debug)]
pub struct Tap(File);

impl Tap {
    /// Creates the device `name` in the network namespace of the calling thread. Reads and writes do not block.
    ///
    /// # Errors
    /// `/dev/net/tun` is missing or not accessible, the name is longer than 15 bytes or taken, or `CAP_NET_ADMIN`
    /// over the namespace is missing.
    pub fn create(name: &str) -> io::Result<Tap> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open("/dev/net/tun")?;
        let request = tap_request(name)?;
        // SAFETY: the descriptor is open and `request` is a whole `ifreq` that outlives the call.
        #[allow(unsafe_code)]
        unsafe { raw::tun_set_iff(file.as_raw_fd(), &raw const request) }?;
        Ok(Tap(file))
    }

    /// Sets whether the device has a carrier, as its namespace sees it.
    ///
    /// # Errors
    /// A kernel older than 5.0 does not know the request.
    pub fn set_carrier(&self, on: bool) -> io::Result<()> {
        let on = libc::c_int::from(on);
        // SAFETY: the descriptor is open and `on` is an int that outlives the call.
        #[allow(unsafe_code)]
        unsafe { raw::tun_set_carrier(self.0.as_raw_fd(), &raw const on) }?;
        Ok(())
    }

    /// Reads the next frame that the namespace sent; `WouldBlock` if there is none.
    ///
    /// # Errors
    /// As `read(2)`; `EBADFD` once the device has vanished with its namespace.
    pub fn receive(&self, frame: &mut [u8]) -> io::Result<usize> {
        Ok(nix::unistd::read(&self.0, frame)?)
    }

    /// Delivers a frame to the namespace, as if it came from the network.
    ///
    /// # Errors
    /// As `write(2)`; `EIO` while the interface is down.
    pub fn send(&self, frame: &[u8]) -> io::Result<usize> {
        Ok(nix::unistd::write(&self.0, frame)?)
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// An `ifreq` for a TAP device without packet-information header.
fn tap_request(name: &str) -> io::Result<libc::ifreq> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() >= libc::IFNAMSIZ || bytes.contains(&0) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "an interface name has 1 to 15 bytes, \"{name}\" has {}",
                bytes.len()
            ),
        ));
    }
    let mut ifr_name = [0; libc::IFNAMSIZ];
    for (to, from) in ifr_name.iter_mut().zip(bytes) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    let flags = libc::c_short::try_from(libc::IFF_TAP | libc::IFF_NO_PI)
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    Ok(libc::ifreq {
        ifr_name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags },
    })
}
