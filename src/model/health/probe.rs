//! The probes of monitors and checks.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::text::duration_in_files;

/// A probe, as ha.cf gives it.
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
    /// `disk PATH free N`: a file system has room.
    Disk(DiskProbe),
    /// `mysql [SOCKET] [replica [lag T]]`: a database server answers.
    Mysql(MysqlProbe),
    /// The data of a DRBD resource here is the newest, as far as known. It is probed without a line in ha.cf.
    Drbd(String),
}

/// `disk PATH free N`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskProbe {
    /// A file or folder of the file system.
    pub path: PathBuf,
    /// How much must be free.
    pub free: FreeSpace,
}

/// How much of a file system must be free for ordinary users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreeSpace {
    /// So many MiB.
    Mebibytes(u64),
    /// So many of a hundred parts.
    Percent(u32),
}

/// `mysql [SOCKET] [replica [lag T]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MysqlProbe {
    /// The socket. `None` takes that of the server's own configuration.
    pub socket: Option<PathBuf>,
    /// What it must fulfil as a replica.
    pub replica: Option<Replica>,
}

/// What a replica must fulfil.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replica {
    /// Its replication is not broken. Its source may be unreachable.
    Intact,
    /// Its replication runs, and its lag is shorter than this.
    Within(Duration),
}

/// `http URL [status N] [contains TEXT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProbe {
    /// The address to connect to.
    pub server: SocketAddr,
    /// The host name in the URL, for the request.
    pub host: String,
    /// The path from `/` on.
    pub path: String,
    /// The wanted status. `None` accepts every 2xx and 3xx.
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
            Self::Disk(disk) => write!(f, "disk {} free {}", disk.path.display(), disk.free),
            Self::Mysql(mysql) => write!(f, "{mysql}"),
            Self::Drbd(resource) => write!(f, "drbd {resource}"),
        }
    }
}

impl fmt::Display for FreeSpace {
    /// In the words of ha.cf, in the largest unit without a fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Mebibytes(size) if size.is_multiple_of(1 << 20) => write!(f, "{}T", size >> 20),
            Self::Mebibytes(size) if size.is_multiple_of(1 << 10) => write!(f, "{}G", size >> 10),
            Self::Mebibytes(size) => write!(f, "{size}M"),
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
            Some(Replica::Within(lag)) => {
                write!(f, " replica lag {}", duration_in_files(lag))
            }
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
