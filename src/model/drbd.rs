//! DRBD in its own words: what the kernel says of a replicated device, here and at its peer.
//!
//! The words are those of `drbdsetup events2`, which are the same with the modules 8.4 and 9 (drbdsetup(8)). A word that
//! is not known is kept as it is, and is never a good one.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One word of the kernel for each meaning.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $word:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        pub enum $name {
            $($(#[$of])* $word,)*
            /// A word that we do not know.
            Other(String),
        }

        impl From<String> for $name {
            fn from(word: String) -> Self {
                match word.as_str() {
                    $(stringify!($word) => Self::$word,)*
                    _ => Self::Other(word),
                }
            }
        }

        impl From<$name> for String {
            fn from(word: $name) -> String {
                word.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$word => stringify!($word),)*
                    Self::Other(word) => word,
                })
            }
        }
    };
}

words! {
    /// Who may write.
    Role {
        /// This side may; by default no other at the same time.
        Primary,
        /// Only receives.
        Secondary,
        /// Of a peer that is not connected.
        Unknown,
    }
}

words! {
    /// What the data of one disk is worth.
    Disk {
        /// There is none: detached, or it failed.
        Diskless,
        /// Its meta-data is being read.
        Attaching,
        /// It is being given up.
        Detaching,
        /// It failed a moment ago.
        Failed,
        /// It is being compared with the peer's.
        Negotiating,
        /// In the midst of a synchronisation, or never synchronised.
        Inconsistent,
        /// In itself whole, but older than the peer's.
        Outdated,
        /// Of a peer that is not connected.
        DUnknown,
        /// In itself whole; whether it is the newest only the peer can tell.
        Consistent,
        /// In itself whole and, as far as known here, the newest.
        UpToDate,
    }
}

words! {
    /// The replication link.
    Connection {
        /// Given up: by hand, or because both sides have data that the other lacks.
        StandAlone,
        /// Being given up.
        Disconnecting,
        /// Between two tries.
        Unconnected,
        /// Lost: no answer.
        Timeout,
        /// Lost.
        BrokenPipe,
        /// Lost.
        NetworkFailure,
        /// Lost: the peer speaks nonsense.
        ProtocolError,
        /// Lost: the peer goes.
        TearDown,
        /// The peer is looked for.
        Connecting,
        /// It stands.
        Connected,
    }
}

/// One resource of drbd.conf as the kernel of one node has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct State {
    /// This side's.
    pub role: Role,
    /// Writes wait: for a peer to be fenced, or for a quorum.
    pub suspended: bool,
    /// This side's disks; one for most.
    pub volumes: Vec<Volume>,
    /// The other sides; one for most.
    pub peers: Vec<Peer>,
}

/// One disk of this side.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Volume {
    /// Its number within the resource.
    pub volume: u32,
    /// It is `/dev/drbdMINOR`.
    pub minor: u32,
    /// What its data is worth.
    pub disk: Disk,
}

/// Another side as seen from this one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Peer {
    /// The link to it.
    pub connection: Connection,
    /// What it does.
    pub role: Role,
    /// Its disks.
    pub volumes: Vec<PeerVolume>,
}

/// One disk of another side as seen from this one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PeerVolume {
    /// Its number within the resource.
    pub volume: u32,
    /// What its data is worth.
    pub disk: Disk,
    /// `Established`, `SyncSource`, `SyncTarget`, `Off` and others.
    pub replication: String,
    /// So many KiB differ from this side's, as far as known.
    pub out_of_sync: u64,
}

/// What one node tells of a resource to whoever asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Standing {
    /// Nothing where the resource is not up.
    pub state: Option<State>,
    /// This side wrote what no other has: it is ahead of them.
    pub ahead: bool,
    /// So many seconds ago it began to write what no other has, where the kernel's log still tells.
    pub ahead_for: Option<u64>,
    /// The kernel found that both sides are ahead of each other.
    pub split_brain: bool,
}

impl State {
    /// Whether every disk of this side is the newest.
    pub fn up_to_date(&self) -> bool {
        !self.volumes.is_empty() && self.volumes.iter().all(|v| v.disk == Disk::UpToDate)
    }

    /// Whether this side has any disk.
    pub fn has_disk(&self) -> bool {
        let there = |d: &Disk| !matches!(d, Disk::Diskless | Disk::Failed | Disk::Detaching);
        self.volumes.iter().any(|v| there(&v.disk))
    }

    /// Whether some other side is connected.
    pub fn connected(&self) -> bool {
        let stands = |p: &Peer| p.connection == Connection::Connected;
        self.peers.iter().any(stands)
    }

    /// Whether a link was given up.
    pub fn stands_alone(&self) -> bool {
        let alone = |p: &Peer| p.connection == Connection::StandAlone;
        self.peers.iter().any(alone)
    }

    /// Whether a connected side writes.
    pub fn peer_is_primary(&self) -> bool {
        self.peers.iter().any(|p| p.role == Role::Primary)
    }

    /// Whether this side is being brought up to date by another.
    pub fn is_synced_from_peer(&self) -> bool {
        let mut all = self.peers.iter().flat_map(|p| &p.volumes);
        all.any(|v| v.replication.contains("SyncTarget") || v.replication.contains("WFSync"))
    }

    /// How many KiB differ between the sides, as far as known here.
    pub fn out_of_sync(&self) -> u64 {
        let all = self.peers.iter().flat_map(|p| &p.volumes);
        all.map(|v| v.out_of_sync).fold(0, u64::saturating_add)
    }
}

impl fmt::Display for State {
    /// `Primary, UpToDate, Connected to Secondary, UpToDate`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {}",
            self.role,
            worst(self.volumes.iter().map(|v| &v.disk))
        )?;
        for peer in &self.peers {
            if peer.connection == Connection::Connected {
                let disk = worst(peer.volumes.iter().map(|v| &v.disk));
                write!(f, ", Connected to {}, {disk}", peer.role)?;
            } else {
                write!(f, ", not connected ({})", peer.connection)?;
            }
        }
        if self.suspended {
            f.write_str(", writes are suspended")?;
        }
        Ok(())
    }
}

/// The first disk that is not good, else any.
fn worst<'a>(mut disks: impl Iterator<Item = &'a Disk> + Clone) -> String {
    let bad = disks.clone().find(|d| **d != Disk::UpToDate);
    let shown = bad.or_else(|| disks.next());
    shown.map_or_else(|| "no disk".to_owned(), ToString::to_string)
}
