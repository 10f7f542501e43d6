//! The probes of monitors and checks.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
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
    /// `http URL` or `https URL`: a page is answered.
    Http(HttpProbe),
    /// `process NAME` or `process PIDFILE`: a process runs.
    Process(String),
    /// `link IFACE`: an interface is up and has its carrier.
    Link(String),
    /// `dns NAME at SERVER`: a name server gives an address.
    Dns(DnsProbe),
    /// `disk PATH free N`: a file system has room.
    Disk(DiskProbe),
    /// `mysql [SOCKET] [replica [lag T]]`: a database server answers.
    Mysql(DatabaseWishes),
    /// `postgres [SOCKET] [replica [lag T]]`: a server of PostgreSQL answers.
    Postgres(DatabaseWishes),
    /// `redis [ADDR:PORT] ...`: a server of Redis answers.
    Redis(RedisProbe),
    /// The data of a DRBD resource here is the newest, as far as known. It is probed without a line in ha.cf.
    Drbd(String),
}

/// `dns NAME at SERVER[:PORT] [expect ADDRESS]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsProbe {
    /// The name that is asked for.
    pub name: String,
    /// The name server.
    pub server: SocketAddr,
    /// The address that must be among the answers.
    pub expect: Option<IpAddr>,
}

impl fmt::Display for DnsProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dns {} at {}", self.name, self.server)?;
        match self.expect {
            Some(address) => write!(f, " expect {address}"),
            None => Ok(()),
        }
    }
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

/// `[SOCKET] [replica [lag T]]` of `mysql` and `postgres`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseWishes {
    /// The socket. `None` takes that of the server's own configuration, or the usual one.
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

/// `redis [ADDR:PORT] [role master|replica] [link up] [password @/FILE]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisProbe {
    /// Where it listens.
    pub server: SocketAddr,
    /// Whether the address stands in ha.cf.
    pub given: bool,
    /// The role that it must have.
    pub role: Option<RedisRole>,
    /// Whether it must be connected to its master.
    pub link_up: bool,
    /// The file with its password.
    pub password: Option<PathBuf>,
}

/// The role of a server of Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisRole {
    /// It takes changes.
    Master,
    /// It follows a master.
    Replica,
}

impl fmt::Display for RedisRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Master => "master",
            Self::Replica => "replica",
        })
    }
}

impl fmt::Display for RedisProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redis")?;
        if self.given {
            write!(f, " {}", self.server)?;
        }
        if let Some(role) = self.role {
            write!(f, " role {role}")?;
        }
        if self.link_up {
            f.write_str(" link up")?;
        }
        if let Some(file) = &self.password {
            write!(f, " password @{}", file.display())?;
        }
        Ok(())
    }
}

/// `http URL [at ADDRESS] [status N] [contains TEXT]`, or the same with `https`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProbe {
    /// The address to connect to.
    pub server: SocketAddr,
    /// Whether the address does not stand in the URL, but after `at`.
    pub at: bool,
    /// The host and the port in the URL, for the request.
    pub host: String,
    /// The path from `/` on.
    pub path: String,
    /// The wanted status. `None` accepts every 2xx and 3xx.
    pub status: Option<u16>,
    /// What the page must contain.
    pub contains: Option<String>,
    /// What `https` asks besides. `None` for `http`.
    pub tls: Option<TlsWishes>,
}

/// `[ca FILE] [days N]` of `https`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsWishes {
    /// The name for which the certificate must be: the host in the URL.
    pub name: String,
    /// The file of the authorities that are believed instead of those of the machine.
    pub ca: Option<PathBuf>,
    /// How many days the certificate must still be good for.
    pub days: Option<u32>,
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
            Self::Dns(dns) => write!(f, "{dns}"),
            Self::Redis(redis) => write!(f, "{redis}"),
            Self::Mysql(wishes) => write!(f, "mysql{wishes}"),
            Self::Postgres(wishes) => write!(f, "postgres{wishes}"),
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

impl fmt::Display for DatabaseWishes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
        let kind = if self.tls.is_some() { "https" } else { "http" };
        write!(f, "{kind} {kind}://{}{}", self.host, self.path)?;
        if self.at {
            write!(f, " at {}", self.server)?;
        }
        if let Some(status) = self.status {
            write!(f, " status {status}")?;
        }
        if let Some(text) = &self.contains {
            write!(f, " contains {text}")?;
        }
        if let Some(ca) = self.tls.as_ref().and_then(|t| t.ca.as_ref()) {
            write!(f, " ca {}", ca.display())?;
        }
        if let Some(days) = self.tls.as_ref().and_then(|t| t.days) {
            write!(f, " days {days}")?;
        }
        Ok(())
    }
}
