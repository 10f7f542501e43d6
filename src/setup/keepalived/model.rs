//! What the files of one node say, as far as it matters here.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::lexer::Word;
use crate::text::{Place, Problems};

/// keepalived on one node.
#[derive(Clone, Debug)]
pub struct Manager {
    /// Its first file.
    pub file: PathBuf,
    /// `router_id`, often the name of the node.
    pub router_id: Option<Word>,
    /// The `vrrp_instance` blocks.
    pub instances: Vec<Instance>,
    /// The `vrrp_sync_group` blocks.
    pub sync_groups: Vec<SyncGroup>,
    /// `vrrp_script` and `vrrp_track_process` blocks, and the local services that `virtual_server` blocks check.
    pub tracked: Vec<Tracked>,
    /// `vrrp_garp_master_refresh`, in seconds.
    pub refresh: Option<u32>,
}

/// A `vrrp_instance`.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its name.
    pub name: Word,
    /// `interface`.
    pub interface: Option<Word>,
    /// `state MASTER`, if it says so.
    pub state_master: Option<Place>,
    /// `priority`, 100 if it says none.
    pub priority: u32,
    /// Where the priority is, or the name.
    pub priority_place: Place,
    /// `nopreempt`.
    pub nopreempt: Option<Place>,
    /// `preempt_delay`.
    pub preempt_delay: Option<(Duration, Place)>,
    /// `advert_int`, 1 s if it says none.
    pub advert: Duration,
    /// Where it is, or the name.
    pub advert_place: Place,
    /// `virtual_router_id`.
    pub router_id: Option<Word>,
    /// `auth_type`.
    pub auth_type: Option<Word>,
    /// `auth_pass`.
    pub auth_pass: Option<Word>,
    /// `unicast_src_ip` or `mcast_src_ip`.
    pub source: Option<IpAddr>,
    /// `unicast_peer`.
    pub peers: Vec<IpAddr>,
    /// `virtual_ipaddress` and `virtual_ipaddress_excluded`.
    pub addresses: Vec<VirtualAddress>,
    /// `track_script` and the like.
    pub tracks: Vec<Track>,
    /// `notify` and the like.
    pub notify: Notify,
    /// `garp_master_refresh`, in seconds.
    pub refresh: Option<u32>,
    /// The version of VRRP, 2 or 3.
    pub version: u32,
}

/// One address of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualAddress {
    /// The address.
    pub ip: IpAddr,
    /// Its prefix length; keepalived takes that of one address if there is none.
    pub prefix: u8,
    /// `dev`.
    pub device: Option<String>,
    /// `label`.
    pub label: Option<String>,
    /// `brd`.
    pub broadcast: Option<IpAddr>,
    /// Its place.
    pub place: Place,
}

/// A `vrrp_sync_group`.
#[derive(Clone, Debug)]
pub struct SyncGroup {
    /// Its name.
    pub name: Word,
    /// The names of its instances.
    pub members: Vec<Word>,
    /// `track_script` and the like.
    pub tracks: Vec<Track>,
    /// `notify` and the like.
    pub notify: Notify,
}

/// A word in `track_script`, `track_process` or `track_interface`.
#[derive(Clone, Debug)]
pub struct Track {
    /// What kind of thing is tracked.
    pub kind: TrackKind,
    /// Its name.
    pub name: Word,
    /// Its own weight here.
    pub weight: Option<i32>,
}

/// The kinds of things that are tracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TrackKind {
    /// `track_script`.
    Script,
    /// `track_process`.
    Process,
    /// `track_interface`.
    Interface,
}

/// Something that is watched.
#[derive(Clone, Debug)]
pub struct Tracked {
    /// What it is.
    pub kind: TrackedKind,
    /// Its name.
    pub name: Word,
    /// How often.
    pub interval: Duration,
    /// How long one check may take, if it says so.
    pub timeout: Option<Duration>,
    /// Failures in a row that count.
    pub fall: u32,
    /// Successes in a row that count.
    pub rise: u32,
    /// What a failure takes from the priority, or a success adds to it.
    pub weight: i32,
}

/// What is watched.
#[derive(Clone, Debug)]
pub enum TrackedKind {
    /// A command.
    Script(Word),
    /// A process, by name.
    Process(Word),
    /// A service of this machine: its port, and what is asked for.
    Service(Service),
}

/// A `real_server` that is this machine itself.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its address as written.
    pub address: IpAddr,
    /// Its port as written.
    pub real_port: u16,
    /// The port that is asked, which is another one with `connect_port`.
    pub port: u16,
    /// `HTTP_GET`: the path.
    pub http: Option<String>,
    /// `status_code`: the status of the page.
    pub status: Option<u16>,
    /// `MISC_CHECK`: the command.
    pub command: Option<Word>,
    /// `notify_down`.
    pub notify_down: Option<Word>,
    /// What is said if it is this machine.
    pub remarks: Problems,
}

/// The programs that are called.
#[derive(Clone, Debug, Default)]
pub struct Notify {
    /// `notify`: with the kind, the name, the state and the priority as arguments.
    pub any: Option<Word>,
    /// `notify_master`.
    pub master: Option<Word>,
    /// `notify_backup`.
    pub backup: Option<Word>,
    /// `notify_fault`.
    pub fault: Option<Word>,
}

impl Notify {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }

    /// Each of them.
    pub fn all(&self) -> impl Iterator<Item = &Word> {
        [&self.any, &self.master, &self.backup, &self.fault]
            .into_iter()
            .flatten()
    }
}

impl TrackedKind {
    /// By which list an instance names it. A service has no name.
    pub fn track_kind(&self) -> Option<TrackKind> {
        match self {
            TrackedKind::Script(_) => Some(TrackKind::Script),
            TrackedKind::Process(_) => Some(TrackKind::Process),
            TrackedKind::Service(_) => None,
        }
    }
}

impl Tracked {
    /// Whether both are of one kind and name, or services on one port.
    pub fn is_same_as(&self, other: &Tracked) -> bool {
        match (&self.kind, &other.kind) {
            (TrackedKind::Service(one), TrackedKind::Service(two)) => one.port == two.port,
            (one, two) => one.track_kind() == two.track_kind() && self.name.text == other.name.text,
        }
    }
}

impl Manager {
    /// The watched thing that a track names.
    pub fn find_tracked(&self, track: &Track) -> Option<&Tracked> {
        self.tracked.iter().find(|tracked| {
            tracked.kind.track_kind() == Some(track.kind) && tracked.name.text == track.name.text
        })
    }

    /// The instance of that name.
    pub fn instance(&self, name: &str) -> Option<&Instance> {
        self.instances.iter().find(|i| i.name.text == name)
    }

    /// The sync group that an instance belongs to.
    pub fn sync_group_of(&self, instance: &str) -> Option<&SyncGroup> {
        let has = |group: &&SyncGroup| group.members.iter().any(|m| m.text == instance);
        self.sync_groups.iter().find(has)
    }

    /// What counts for an instance: what it tracks itself, and what its group tracks.
    pub fn tracks_of<'m>(&'m self, instance: &'m Instance) -> impl Iterator<Item = &'m Track> {
        let group = self.sync_group_of(&instance.name.text);
        instance
            .tracks
            .iter()
            .chain(group.into_iter().flat_map(|g| &g.tracks))
    }
}
