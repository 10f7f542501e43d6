//! A member that sends heartbeats of a version that this node cannot read. It lives, and what it runs is not known.

use super::Engine;
use super::membership::{mark_link_up, update_liveness};
use super::peer::{Hearing, Peer};
use crate::model::decision::{Because, What};
use crate::model::heartbeat::{GroupState, Phase, UnreadableHeartbeat};
use crate::model::{LinkName, Time};

impl Engine {
    /// It keeps the peer from being dead, and blocks as a state that is not known does. It frees and agrees to nothing.
    pub(super) fn take_unreadable(
        &mut self,
        now: Time,
        link: &LinkName,
        heartbeat: &UnreadableHeartbeat,
    ) {
        let mut notes = Vec::new();
        let name = &heartbeat.src;
        let Some(peer) = self.view.peers.iter_mut().find(|p| p.name == *name) else {
            return;
        };
        if !peer.take_unreadable(now, heartbeat) {
            self.old_heartbeats = self.old_heartbeats.saturating_add(1);
            return;
        }
        let called_dead = peer.is_confirmed_dead();
        for of in peer.links.iter_mut().filter(|l| l.name == *link) {
            of.last_heard = Some(now);
        }
        mark_link_up(peer, link, &mut notes);
        update_liveness(peer, now, Hearing::Newest, &mut notes);
        let first = !std::mem::replace(&mut peer.unreadable_reported, true);
        let records = notes.into_iter().map(super::Action::Record);
        self.round.out.extend(records);
        if called_dead {
            self.end_confirmed_death(name);
        }
        if first {
            let what = What::OtherVersion(name.clone(), heartbeat.in_words());
            self.round.record_node(what, Because::SaidSo);
        }
        self.update_joined();
    }
}

impl Peer {
    /// Takes it in, unless it is old.
    fn take_unreadable(&mut self, now: Time, heartbeat: &UnreadableHeartbeat) -> bool {
        let number = |h: &UnreadableHeartbeat| (h.generation, h.sequence);
        let newer = self
            .unreadable
            .as_ref()
            .is_none_or(|last| number(last) < number(heartbeat));
        let of_former_life = Some(heartbeat.generation) < self.generation;
        if !newer || of_former_life {
            return false;
        }
        self.unreadable = Some(heartbeat.clone());
        self.last_heard = now;
        self.refused = false;
        self.phase = Phase::Init;
        self.quorate = false;
        self.back_by = Time::ZERO;
        self.groups.retain(|_, r| r.state == GroupState::Stuck);
        if self.fresh {
            self.begin_unfresh(now);
        }
        true
    }

    /// What status says of it, after its name.
    pub fn unreadable_note(&self) -> Option<String> {
        let last = self.unreadable.as_ref().filter(|_| self.is_living())?;
        Some(format!(
            "{}; until then no group is started beside it",
            last.in_words()
        ))
    }
}
