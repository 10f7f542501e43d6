//! Who a control client is and what it may do.

use std::io;

use tokio::net::UnixStream;

use crate::sys::foreign_file::read_regular;
use crate::sys::peer;

/// Members of this group may give commands, as with heartbeat.
const GROUP: &str = "haclient";
const GROUP_FILE: &str = "/etc/group";
/// The users of this machine, by name.
const PASSWD_FILE: &str = "/etc/passwd";
/// A longer group file counts as empty.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// The process of a client, as it was when it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its effective user.
    pub uid: u32,
    /// Its process ID, if known.
    pub pid: Option<i32>,
    may_command: bool,
}

impl Caller {
    /// Gets the credentials from the kernel. An error means that the client is already gone.
    pub fn from_stream(stream: &UnixStream) -> io::Result<Caller> {
        let credentials = stream.peer_cred()?;
        let uid = credentials.uid();
        let may_command = uid == 0 || {
            let mut groups = peer::peer_groups(stream)?;
            groups.push(credentials.gid());
            // Read each time, because the group may be created while had runs.
            let file = read_regular(GROUP_FILE.as_ref(), MAX_FILE_BYTES).unwrap_or_default();
            gid_of(GROUP, &file).is_some_and(|gid| groups.contains(&gid))
        };
        Ok(Caller {
            uid,
            pid: credentials.pid(),
            may_command,
        })
    }

    /// Its user, for the journal.
    pub fn user(self) -> String {
        let file = read_regular(PASSWD_FILE.as_ref(), MAX_FILE_BYTES).unwrap_or_default();
        name_of(self.uid, &file).unwrap_or_else(|| format!("user {}", self.uid))
    }

    /// Whether this is root or a member of `haclient`.
    pub fn may_command(self) -> bool {
        self.may_command
    }
}

/// The name of a user in the text of /etc/passwd.
fn name_of(uid: u32, file: &str) -> Option<String> {
    file.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let found: u32 = fields.nth(1)?.parse().ok()?;
        (found == uid).then(|| name.to_owned())
    })
}

/// The ID of a group in the text of /etc/group.
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
    use super::{gid_of, name_of};

    #[test]
    fn a_user_has_a_name_or_none() {
        let file = "root:x:0:0::/root:/bin/sh\nbroken\n:x:7::\ncarol:x:1000:1000::/:\n";
        assert_eq!(name_of(0, file).as_deref(), Some("root"));
        assert_eq!(name_of(1000, file).as_deref(), Some("carol"));
        assert_eq!(name_of(7, file), None);
    }

    #[test]
    fn odd_lines_of_the_group_file_are_skipped() {
        let file = "root:x:0:\n\nbroken\nodd:x:minus:\nhaclient2:x:7:\nhaclient:x:104:carol,dave\n";
        assert_eq!(gid_of("haclient", file), Some(104));
        assert_eq!(gid_of("hacl", file), None);
        assert_eq!(gid_of("odd", file), None);
    }
}
