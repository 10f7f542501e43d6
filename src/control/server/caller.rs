//! Who calls, and what that allows.

use std::fs;
use std::io;

use tokio::net::UnixStream;

use crate::sys::peer;

/// Members of this group may command, as they could with heartbeat.
const GROUP: &str = "haclient";

/// The process at the other end, as it was when it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its effective user.
    pub uid: u32,
    /// Its number, where the kernel tells.
    pub pid: Option<i32>,
    may_command: bool,
}

impl Caller {
    /// Asks the kernel. An error means that the client is gone already.
    pub fn of(stream: &UnixStream) -> io::Result<Caller> {
        let credentials = stream.peer_cred()?;
        let uid = credentials.uid();
        let may_command = uid == 0 || {
            let mut groups = peer::peer_groups(stream)?;
            groups.push(credentials.gid());
            // Read anew each time: the group may be made while we run.
            let file = fs::read_to_string("/etc/group").unwrap_or_default();
            gid_of(GROUP, &file).is_some_and(|gid| groups.contains(&gid))
        };
        Ok(Caller {
            uid,
            pid: credentials.pid(),
            may_command,
        })
    }

    /// Whether this is root or a member of `haclient`.
    pub fn may_command(self) -> bool {
        self.may_command
    }
}

/// A group's number in the text of group(5).
fn gid_of(name: &str, file: &str) -> Option<u32> {
    file.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next() == Some(name);
        let gid = fields.nth(1)?.parse().ok()?;
        found.then_some(gid)
    })
}

#[cfg(test)]
mod tests {
    use super::gid_of;

    #[test]
    fn the_group_file_is_read_and_its_odd_lines_survived() {
        let file = "root:x:0:\n\nbroken\nodd:x:minus:\nhaclient2:x:7:\nhaclient:x:104:carol,dave\n";
        assert_eq!(gid_of("haclient", file), Some(104));
        assert_eq!(gid_of("hacl", file), None);
        assert_eq!(gid_of("odd", file), None);
    }
}
