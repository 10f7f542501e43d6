//! Rule 27: heartbeats that bounce off a ping node. Two nodes that cannot reach each other but both reach a ping node would
//! both have its vote. So each also sends its heartbeats to the other through the ping node: as an echo request whose
//! answer goes to the other. Such a path is one more link of the peer, named `via` and the ping node.

use std::time::Duration;

use super::Engine;
use super::peer::{Peer, PeerLink};
use crate::model::cluster::Timing;
use crate::model::{NodeName, Time};

/// While nobody needs the relay, one heartbeat is relayed this often, so that status can tell whether it works.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
/// A relay is down when nothing came through for this long: two probes in a row were lost.
pub(super) const SILENCE_LIMIT: Duration = Duration::from_secs(25);
/// The time between two relayed datagrams: at most 20 a second, so that the ping node goes on answering pings.
const MIN_INTERVAL: Duration = Duration::from_millis(50);

impl Peer {
    /// Whether heartbeats to and from this peer must go through the ping nodes: because no other link brought one for
    /// warntime, or because the peer does not say that it hears us on another link. Also to one that has left: it may be
    /// back without its store, and must hear of its later generation.
    fn needs_relay(&self, now: Time, timing: &Timing) -> bool {
        let direct = || self.links.iter().filter(|l| !l.relay);
        let newest = direct().filter_map(|l| l.last_heard).max();
        let heard = newest.is_some_and(|at| now < at + timing.warntime);
        let hears_directly = |l: &PeerLink| self.hears_us_on.contains(&l.name);
        let hears_us = self.is_living()
            && now < self.unheard_since() + timing.warntime
            && direct().any(hears_directly);
        !(heard && hears_us)
    }

    /// Whether a heartbeat to it is to be relayed now: each one while that is needed, else one now and then. It is needed
    /// for deadtime more: by then the peer says of a link that is cut that it does not hear us on it.
    fn is_relay_due(&mut self, now: Time, timing: &Timing) -> bool {
        if now >= self.relay_until {
            self.relay_since = Time::NEVER;
        }
        if self.needs_relay(now, timing) {
            self.relay_until = now + self.dead_after(timing);
            self.relay_since = self.relay_since.min(now);
        }
        now < self.relay_until || now >= self.relayed_at + PROBE_INTERVAL
    }
}

impl Engine {
    /// The peers to which a heartbeat of so many parts is to be relayed now.
    pub(super) fn choose_relay_targets(&mut self, now: Time, parts: usize) -> Vec<NodeName> {
        let cluster = &self.view.cluster;
        if !cluster.relay || cluster.pings.is_empty() || now < self.next_relay {
            return Vec::new();
        }
        let timing = cluster.timing;
        let mut targets = Vec::new();
        for peer in &mut self.view.peers {
            if peer.is_relay_due(now, &timing) {
                peer.relayed_at = now;
                targets.push(peer.name.clone());
            }
        }
        let datagrams = u32::try_from(parts.saturating_mul(targets.len())).unwrap_or(u32::MAX);
        self.next_relay = now + MIN_INTERVAL * datagrams;
        targets
    }
}
