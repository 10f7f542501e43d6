//! What is looked at while it runs, and what follows when it is not well.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::GroupName;

/// The name under which a node publishes what its `failback_when` says. No check can be called so.
pub const FAILBACK_WHEN: &str = "failback_when";

/// What failed looks at a running resource lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// So many failed looks in a row are believed.
    pub fall: u32,
    /// So many good looks in a row make earlier failed ones forgotten.
    pub rise: u32,
    /// It is restarted in place so many times at most ...
    pub restart: u32,
    /// ... within this time. A failure here is forgotten after it too.
    pub within: Duration,
}

/// The part of the health directives on which decisions rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Checks of this node.
    pub checks: Vec<CheckPolicy>,
    /// Whether `failback_when` has its say.
    pub failback_when: bool,
}

/// When a check of the node has failed, and when it has recovered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckPolicy {
    /// Its name in ha.cf.
    pub name: String,
    /// So many failures in a row are believed.
    pub fall: u32,
    /// So many successes in a row are believed after that.
    pub rise: u32,
    /// A node that fails it keeps what it has; it only takes nothing more.
    #[serde(default)]
    pub stays: bool,
    /// It bears on this group alone; on every group where there is none.
    #[serde(default)]
    pub group: Option<GroupName>,
}

/// A check that has not passed, as its node publishes it. What is not named is good.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FailedCheck {
    /// Its name, or [`FAILBACK_WHEN`].
    pub check: String,
    /// The one group on which it bears, where it does not on all.
    #[serde(default)]
    pub group: Option<GroupName>,
    /// It has had no result at all yet.
    pub pending: bool,
    /// What it said.
    pub text: String,
}

impl FailedCheck {
    /// Whether it keeps its node from being a candidate for a group.
    pub fn makes_ineligible(&self, group: &GroupName) -> bool {
        self.check != FAILBACK_WHEN && self.group.as_ref().is_none_or(|g| g == group)
    }
}

impl fmt::Display for FailedCheck {
    /// A sentence that goes on after the name of the node.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let check = &self.check;
        match (self.pending, self.text.as_str()) {
            (true, _) => write!(f, "has no result of check {check} yet"),
            (false, "") => write!(f, "fails check {check}"),
            (false, text) => write!(f, "fails check {check} ({text})"),
        }
    }
}

/// A way to look whether something is well, as ha.cf gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// `exec PATH ARG...`: a program that exits with 0.
    Exec(PathBuf, Vec<String>),
    /// `tcp ADDR:PORT`: a connection is accepted.
    Tcp(SocketAddr),
    /// `http URL`: a page is answered.
    Http(HttpProbe),
    /// `process NAME` or `process PIDFILE`: a process runs.
    Process(String),
    /// `link IFACE`: an interface is up and has its carrier.
    Link(String),
    /// `mysql [SOCKET] [replica [lag T]]`: a database server answers.
    Mysql(MysqlProbe),
    /// A DRBD resource of a group whose data is the newest, as far as known; nobody needs to ask for it in ha.cf.
    Drbd(String),
}

/// `mysql [SOCKET] [replica [lag T]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MysqlProbe {
    /// Where it answers; that of the server's own configuration where it is not said.
    pub socket: Option<PathBuf>,
    /// What is wanted of it as a replica.
    pub replica: Option<Replica>,
}

/// What is wanted of a server that copies another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replica {
    /// Its copying is not broken. What it copies may be away.
    Intact,
    /// It copies right now, and is less than this behind.
    Within(Duration),
}

/// `http URL [status N] [contains TEXT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProbe {
    /// Who is asked.
    pub server: SocketAddr,
    /// The same as the URL names it, for the server.
    pub host: String,
    /// From `/` on.
    pub path: String,
    /// The wanted status; any 2xx or 3xx where it is not said.
    pub status: Option<u16>,
    /// What the page must contain.
    pub contains: Option<String>,
}

impl fmt::Display for Probe {
    /// In the words of ha.cf.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exec(path, args) => {
                write!(f, "exec {}", path.display())?;
                args.iter().try_for_each(|arg| write!(f, " {arg}"))
            }
            Self::Tcp(place) => write!(f, "tcp {place}"),
            Self::Http(http) => write!(f, "{http}"),
            Self::Process(name) => write!(f, "process {name}"),
            Self::Link(name) => write!(f, "link {name}"),
            Self::Mysql(mysql) => write!(f, "{mysql}"),
            Self::Drbd(resource) => write!(f, "drbd {resource}"),
        }
    }
}

impl fmt::Display for MysqlProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mysql")?;
        if let Some(socket) = &self.socket {
            write!(f, " {}", socket.display())?;
        }
        match self.replica {
            Some(Replica::Within(lag)) => write!(f, " replica lag {lag:?}"),
            Some(Replica::Intact) => f.write_str(" replica"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for HttpProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http http://{}{}", self.host, self.path)?;
        if let Some(status) = self.status {
            write!(f, " status {status}")?;
        }
        if let Some(text) = &self.contains {
            write!(f, " contains {text}")?;
        }
        Ok(())
    }
}

/// How often something is looked at, and when a look that does not end has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// From one look to the next.
    pub every: Duration,
    /// The deadline of one.
    pub timeout: Duration,
}
