//! The words that all layers share.

pub mod cluster;
pub mod cluster_setting;
pub mod decision;
pub mod drbd;
pub mod fence_device;
pub mod fencing;
pub mod hardware_address;
pub mod health;
pub mod heartbeat;
pub mod identity;
pub mod journal;
pub mod keys;
pub mod maybe_milliseconds;
pub mod medium;
pub mod milliseconds;
pub mod peer_message;
pub mod promise;
pub mod readiness;
pub mod status;
pub mod token;
pub mod voter_list;
pub mod votes;
pub mod webhook;

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The version of the JSON that `hactl` prints, in its field `schema`. Fields and words are only added; where one changes its
/// meaning or goes away, this number grows.
pub const JSON_VERSION: u32 = 1;

/// An instant on this machine's own clock, in nanoseconds since its boot, time asleep included
/// (`CLOCK_BOOTTIME`). Never compared with another machine's.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Time(pub u64);

impl Time {
    /// The boot of the machine; no later than any other time.
    pub const ZERO: Time = Time(0);
    /// No instant reaches it: a lease without end, a deadline that never comes.
    pub const NEVER: Time = Time(u64::MAX);

    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    fn add(self, d: Duration) -> Time {
        Time(
            self.0
                .saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl Sub<Duration> for Time {
    type Output = Time;
    fn sub(self, d: Duration) -> Time {
        Time(
            self.0
                .saturating_sub(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

/// Grows by one at each start of a node's daemon and never falls.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub u64);

/// Numbers the heartbeats of one generation, from 1.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Sequence(pub u64);

/// Numbers the ownerships of one group over the whole cluster; a new claim is greater than all seen.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Term(pub u64);

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text as it is.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// A cluster member: what `uname -n` says there, in lower case.
    NodeName
}
name! {
    /// A resource group: the first resource word of its line in haresources, as written there.
    GroupName
}
name! {
    /// One path for heartbeats: the interface it uses, with the medium where one interface has several.
    LinkName
}

impl NodeName {
    /// Lower-cases, as heartbeat does.
    pub fn new(name: &str) -> Self {
        NodeName(name.to_lowercase().into())
    }
}

impl GroupName {
    /// Keeps the word exactly as haresources has it.
    pub fn new(name: &str) -> Self {
        GroupName(name.into())
    }
}

impl LinkName {
    /// Keeps the name as it is.
    pub fn new(name: &str) -> Self {
        LinkName(name.into())
    }

    /// The path through a ping node or ping group.
    pub fn relay(ping: &str) -> Self {
        LinkName(format!("via {ping}").into())
    }

    /// How something travels on it: `on eth0`, `via 10.0.0.254`.
    pub fn by(&self) -> String {
        if self.is_relay() {
            self.0.to_string()
        } else {
            format!("on {}", self.0)
        }
    }

    /// Whether it goes through a ping node.
    pub fn is_relay(&self) -> bool {
        self.0.starts_with("via ")
    }
}
