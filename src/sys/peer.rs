//! The process at the other end of a Unix socket.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// How many supplementary groups are read at most.
const MAX_GROUPS: usize = 4096;

/// The supplementary groups of the process at the other end, as they were when it connected
/// (`SO_PEERGROUPS`, socket(7)). For the effective user and group there is `SO_PEERCRED`, which
/// the socket types wrap already.
pub fn peer_groups(socket: impl AsFd) -> io::Result<Vec<u32>> {
    let mut groups = vec![0_u32; MAX_GROUPS];
    let size = groups.len() * size_of::<u32>();
    let mut len = libc::socklen_t::try_from(size).unwrap_or_default();
    // SAFETY: the buffer holds `len` bytes and the kernel writes at most `len` bytes of gid_t (u32)
    // into it; the descriptor is borrowed for the call.
    #[allow(unsafe_code)]
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    groups.truncate(usize::try_from(len).unwrap_or_default() / size_of::<u32>());
    Ok(groups)
}

#[cfg(test)]
mod tests {
    #[test]
    fn our_own_groups_are_reported() {
        let (here, _there) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut told = super::peer_groups(&here).unwrap();
        let mut own: Vec<u32> = nix::unistd::getgroups()
            .unwrap()
            .iter()
            .map(|g| g.as_raw())
            .collect();
        told.sort_unstable();
        own.sort_unstable();
        assert_eq!(told, own);
    }
}
