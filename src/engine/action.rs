//! All that the engine can order. Every order that takes time ends in an event.

use serde::{Deserialize, Serialize};

use super::event::{OrderId, PersistentState};
use crate::model::decision::Decision;
use crate::model::heartbeat::Heartbeat;
use crate::model::{GroupName, Time};

/// An order to the runtime.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Action {
    /// Send this on every link, now.
    Send(Box<Heartbeat>),
    /// Send an echo request to every ping node; each answer is an [`super::Event::Pong`].
    Ping,
    /// Do this to a group; ends in [`super::Event::Done`]. Never two at a time for one group.
    Run {
        /// The group.
        group: GroupName,
        /// Comes back in the event.
        order: OrderId,
        /// What to do.
        call: Call,
    },
    /// End what runs for this group at once (kill its process group); its `Done` still comes.
    Abort(GroupName),
    /// Ask on the wire who answers for the addresses of this group, again and again until told otherwise.
    WatchAddresses {
        /// The group.
        group: GroupName,
        /// Begin or end.
        on: bool,
    },
    /// Look at what runs of this group again and again, each look an [`super::Event::Monitored`]; or no longer. Any call
    /// on the group ends it too, before the call begins.
    Monitor {
        /// The group.
        group: GroupName,
        /// Begin or end.
        on: bool,
    },
    /// Announce the addresses of this group again (gratuitous ARP, neighbour advertisements).
    Announce(GroupName),
    /// From here on calls on this group are meant for its newest definition; nothing of the old one runs.
    Redefined(GroupName),
    /// The right to hold this group has been renewed until then, on our clock.
    Renew {
        /// The group.
        group: GroupName,
        /// When the right ends; [`Time::NEVER`] in maintenance. Where no votes are counted: until when no peer can have
        /// taken us for dead.
        until: Time,
    },
    /// Keep this beyond our life; ends in [`super::Event::Saved`].
    Save {
        /// Comes back in the event.
        version: u64,
        /// All of it; the newest replaces.
        kept: PersistentState,
    },
    /// Log, journal and show this.
    Record(Decision),
    /// A command came to its end.
    Reply {
        /// Of which command.
        id: u64,
        /// Whether it was done, and the sentence to show.
        result: Result<String, String>,
    },
    /// All is given up and said: end the process.
    Exit,
}

/// What to do to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Call {
    /// Look at every step; change nothing.
    Probe,
    /// Start this step, unless it already runs.
    Start(usize),
    /// Stop this step, whatever its state.
    Stop(usize),
}
