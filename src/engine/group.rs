//! One group on this node: its state, the rounds in which it is judged, and how work on it ends.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event::{OrderId, Outcome};
use super::placement::Candidate;
use super::round::Round;
use super::stack::{Ended, Stack};
use super::view::View;
use super::{Action, quorum};
use crate::model::cluster;
use crate::model::decision::{Because, What};
use crate::model::heartbeat::{GroupReport, GroupState, Recognition};
use crate::model::status::Liveness;
use crate::model::{NodeName, Term, Time};

/// After the first failure a group that no other node can run is tried again after this; the pause doubles.
const FIRST_RETRY: Duration = Duration::from_secs(30);
/// A failure counts no longer than this where no `monitor` says otherwise, and pauses grow no longer.
const FAILURE_EXPIRES: Duration = Duration::from_secs(600);

/// A right that has grown by less is not told anew.
const LEASE_STEP: Duration = Duration::from_millis(50);

/// One group on this node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Group {
    pub spec: cluster::Group,
    pub state: GroupState,
    pub term: Term,
    /// The greatest term seen from anybody.
    pub highest_term: Term,
    /// The one node recognised: published, and that is the promise.
    pub recognised: Option<Recognition>,
    pub offer: Option<Offer>,
    /// For each peer: when we sent what it acknowledged while it recognised us.
    pub supports: BTreeMap<NodeName, Time>,
    /// A right from before a restart or a gap in our time.
    pub right_from_before: Time,
    /// Since when it is published that we have it.
    #[serde(default)]
    pub held_since: Time,
    /// The end of the right as last told to the runtime.
    pub renewed: Time,
    pub stack: Stack,
    pub failure: Option<Failure>,
    /// Our own time stood still while it started: when it is up, it is first seen whose it is.
    pub stood_still: bool,
    /// What the last look found, while the state is `Unknown`.
    pub probe_result: Option<Ended>,
    /// A stop is wanted as soon as the running order has ended.
    pub pending_stop: Option<bool>,
    /// The stop that is under way ends no right: its addresses go when it is their turn.
    #[serde(default)]
    pub orderly: bool,
    /// Why it is being stopped.
    pub stopping_because: Option<Because>,
    pub standby: bool,
    pub yielding: bool,
    pub wanted: bool,
    pub forced: bool,
    pub maintenance: bool,
    pub watch: Watch,
    /// What runs is looked at again and again.
    pub watched: bool,
    /// It is being restarted in place.
    pub restarting: bool,
    /// Why it is not started, as last said.
    pub blocked_because: Option<Because>,
    /// Since when the preferred node could have it back; since when another node is better connected.
    pub failback_since: Option<Time>,
    pub better_since: Option<Time>,
    /// A preferred node that is not ready yet has been told of; why it runs on here, as last said.
    pub failback_held: bool,
    pub runs_on: Option<Because>,
    /// Another holder was seen while we keep it.
    pub contested: bool,
    /// Who else ran it while we did, until somebody has looked at what that made of its data.
    pub doubled: Option<NodeName>,
    /// Nobody touched it, when it was judged last.
    pub was_frozen: bool,
    /// The configuration no longer has it: stop it and forget it.
    pub removed: bool,
    /// A newer definition to be taken when nothing of the old one runs.
    pub replaced_by: Option<Box<cluster::Group>>,
}

/// To whom the group is offered, why, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Offer {
    pub to: NodeName,
    pub because: Because,
    pub since: Time,
}

/// A failure on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failure {
    pub text: String,
    pub count: u32,
    pub retry_at: Time,
    pub expires_at: Time,
}

/// The question on the wire whether somebody answers for the group's addresses.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Watch {
    pub on: bool,
    /// Since when it is asked.
    pub since: Time,
    pub answered: Option<(Time, String)>,
    pub silent_rounds: u32,
}

impl Group {
    pub fn new(spec: cluster::Group, term: Term, right_from_before: Time) -> Self {
        Group {
            stack: Stack::new(&spec),
            spec,
            state: GroupState::Unknown,
            term,
            highest_term: term,
            recognised: None,
            offer: None,
            supports: BTreeMap::new(),
            right_from_before,
            held_since: Time::ZERO,
            renewed: Time::ZERO,
            failure: None,
            stood_still: false,
            probe_result: None,
            pending_stop: None,
            orderly: false,
            stopping_because: None,
            standby: false,
            yielding: false,
            wanted: false,
            forced: false,
            maintenance: false,
            watch: Watch::default(),
            blocked_because: None,
            failback_since: None,
            better_since: None,
            failback_held: false,
            runs_on: None,
            watched: false,
            restarting: false,
            contested: false,
            doubled: None,
            was_frozen: false,
            removed: false,
            replaced_by: None,
        }
    }

    /// Judges the group once, with all that is known.
    pub fn decide(&mut self, now: Time, view: &View, round: &mut Round) {
        round.keep_ahead(&self.spec.name, self.highest_term);
        self.recognise(now, view);
        self.look_after_maintenance(view, round);
        match self.state {
            GroupState::Unknown => self.decide_unknown(now, view, round),
            GroupState::Offline => self.decide_offline(now, view, round),
            GroupState::Claiming => self.decide_claiming(now, view, round),
            GroupState::Starting | GroupState::Online => self.decide_holding(now, view, round),
            GroupState::Failed => self.decide_failed(now, view, round),
            GroupState::Stopping | GroupState::Stuck => {}
        }
        self.recognise(now, view);
        self.renew(now, view, round);
        self.watch_addresses(now, view, round);
        self.watch_health(view, round);
    }

    /// Whatever was done by hand meanwhile, or lost, is looked at before it is counted as ours.
    fn look_after_maintenance(&mut self, view: &View, round: &mut Round) {
        let frozen = self.frozen(view);
        let ended = std::mem::replace(&mut self.was_frozen, frozen) && !frozen;
        if ended && self.state == GroupState::Online && !self.stack.busy() {
            self.look(round);
        }
    }

    /// What is published of it.
    pub fn report(&self) -> GroupReport {
        GroupReport {
            group: self.spec.name.clone(),
            state: self.state,
            term: self.term,
            can: self.can(),
            offer: self.offer.as_ref().map(|o| o.to.clone()),
            to: self.recognised.clone(),
        }
    }

    /// Whether it may run here as far as its own past tells.
    pub fn can(&self) -> bool {
        !self.removed && !matches!(self.state, GroupState::Failed | GroupState::Stuck)
    }

    /// Whether nobody shall touch it. A dead node's word on that still counts.
    pub fn frozen(&self, view: &View) -> bool {
        self.maintenance || view.peers.iter().any(|p| p.maintains(&self.spec.name))
    }

    pub fn has_addresses(&self) -> bool {
        self.spec.steps.iter().any(|s| s.addresses)
    }

    /// Everybody as a candidate for it, in the order of ha.cf.
    pub fn candidates(&self, view: &View, round: &Round) -> Vec<Candidate> {
        let of = |name: &NodeName| match view.peer(name) {
            Some(peer) => view.candidate(peer, &self.spec.name, &self.spec.preferred),
            None => self.ourselves(view, round),
        };
        view.cluster.nodes.iter().map(of).collect()
    }

    fn ourselves(&self, view: &View, round: &Round) -> Candidate {
        let failed = self
            .failure
            .as_ref()
            .filter(|_| self.state == GroupState::Failed);
        let ineligible = match () {
            () if view.leaving => Some("is leaving".to_owned()),
            () if self.state == GroupState::Stuck => Some("could not stop it".to_owned()),
            () if failed.is_some() => Some("failed to run it".to_owned()),
            () if self.standby => Some("is in standby".to_owned()),
            () if !view.quorate => Some("has no quorum".to_owned()),
            // An administrator may know better than a check.
            () if self.forced => None,
            () => view.checks.ineligible(&self.spec.name),
        };
        Candidate {
            name: view.me().clone(),
            ineligible,
            yielding: self.yielding,
            wanted: self.wanted,
            preferred: self.spec.preferred == *view.me(),
            unready: None,
            reach: view.reach().answering,
            load: round.load,
        }
    }

    /// When our right to hold it ends.
    pub fn lease_end(&self, view: &View) -> Time {
        if !view.leases() {
            return Time::NEVER;
        }
        let counts = |name: &NodeName| {
            view.peer(name)
                .is_some_and(|p| p.liveness != Liveness::Left)
        };
        let peers = self
            .supports
            .iter()
            .filter(|(name, _)| counts(name))
            .map(|(_, at)| *at);
        let confirmed: Vec<Time> = peers
            .chain(view.pings.iter().filter_map(|p| p.answered))
            .collect();
        quorum::lease_end(&confirmed, view.total_votes(), &view.cluster.timing)
            .max(self.right_from_before)
    }

    /// Tells the runtime how long the right lasts, when that has grown by a good part of a lease: what is kept of it
    /// serves a daemon that comes after us, and each time costs a file. A right that no votes limit is told for as long
    /// as no peer can take us for dead: so the kernel's loan of addresses ends with us, however we end.
    pub fn renew(&mut self, now: Time, view: &View, round: &mut Round) {
        // What was found running is held under the old right until it is known whose it is.
        let found = self.state == GroupState::Unknown && self.probe_result == Some(Ended::AllRun);
        // In an orderly stop the addresses have their turn like the rest, and are kept until then; unless another has it.
        let orderly = self.state == GroupState::Stopping
            && self.orderly
            && !view.living().any(|p| p.holds(&self.spec.name));
        let runs = matches!(self.state, GroupState::Starting | GroupState::Online);
        if !found && !runs && !orderly {
            self.renewed = Time::ZERO;
            return;
        }
        let t = &view.cluster.timing;
        let lease = t.deadtime.saturating_sub(t.margin);
        // In a stop nobody looks any more whether a peer is about to act without us.
        let buried = view
            .living()
            .map(|p| p.takes_us_for_dead_at(t))
            .filter(|_| orderly)
            .min();
        let until = match () {
            // In maintenance what runs shall outlive even the daemon.
            () if self.frozen(view) && !orderly => Time::NEVER,
            () => self
                .lease_end(view)
                .min(now + lease)
                .min(buried.unwrap_or(Time::NEVER)),
        };
        // Less than a keepalive, or scheduling that varies by a moment would leave out every other renewal.
        let step = (lease / 8).min(t.keepalive / 2).max(LEASE_STEP);
        let told =
            self.renewed == until || (self.renewed != Time::NEVER && until < self.renewed + step);
        if until == Time::NEVER && self.renewed != Time::NEVER || !told {
            self.renewed = until;
            let group = self.spec.name.clone();
            round.out.push(Action::Renew { group, until });
        }
    }

    /// Begins to stop it. The order that runs now is ended first.
    pub fn begin_stop(&mut self, because: Because, addresses_first: bool, round: &mut Round) {
        round.record(&self.spec.name, What::Stop, because.clone());
        self.state = GroupState::Stopping;
        self.restarting = false;
        self.orderly = !addresses_first;
        self.stopping_because = Some(because);
        if self.stack.busy() {
            self.pending_stop = Some(addresses_first);
            round.out.push(Action::Abort(self.spec.name.clone()));
        } else {
            self.stack.stop(
                addresses_first,
                &self.spec,
                &mut round.orders,
                &mut round.out,
            );
        }
    }

    /// Asks for a look at what runs.
    pub fn look(&mut self, round: &mut Round) {
        self.state = GroupState::Unknown;
        self.probe_result = None;
        self.stack
            .probe(&self.spec, &mut round.orders, &mut round.out);
    }

    /// An order has ended.
    pub fn done(&mut self, now: Time, order: OrderId, outcome: &Outcome, round: &mut Round) {
        if let Some(addresses_first) = self.pending_stop
            && self.stack.interrupted(order)
        {
            self.pending_stop = None;
            self.stack.stop(
                addresses_first,
                &self.spec,
                &mut round.orders,
                &mut round.out,
            );
            return;
        }
        match self.stack.done(
            order,
            outcome,
            &self.spec,
            &mut round.orders,
            &mut round.out,
        ) {
            Ended::NotYet => {}
            found @ (Ended::AllRun | Ended::NoneRuns | Ended::SomeRun(_)) => {
                self.probe_result = Some(found);
            }
            Ended::Up => self.up(round),
            Ended::StartFailed(text) => self.start_failed(now, text, round),
            Ended::Down => self.down(round),
            Ended::StopFailed(text) => {
                self.state = GroupState::Stuck;
                self.restarting = false;
                self.offer = None;
                round.record(&self.spec.name, What::Stuck, Because::Agent(text.clone()));
                self.failed(now, text);
            }
        }
    }

    fn up(&mut self, round: &mut Round) {
        self.state = GroupState::Online;
        if std::mem::take(&mut self.restarting) {
            // Wishes of administrators that came meanwhile stand.
        } else {
            self.failure = None;
            self.wanted = false;
            self.forced = false;
            self.yielding = false;
            self.blocked_because = None;
            round.save = true;
        }
        if std::mem::take(&mut self.stood_still) {
            self.state = GroupState::Unknown;
            self.probe_result = Some(Ended::AllRun);
        } else {
            round.record(&self.spec.name, What::Online, Because::Finished);
        }
    }

    fn start_failed(&mut self, now: Time, text: String, round: &mut Round) {
        self.failed(now, text.clone());
        self.begin_stop(Because::Agent(text), false, round);
    }

    /// Notes a failure; each one in a row doubles the pause before the next try.
    pub fn failed(&mut self, now: Time, text: String) {
        let count = self
            .failure
            .as_ref()
            .map_or(0, |f| f.count)
            .saturating_add(1);
        let pause = FIRST_RETRY * 2u32.saturating_pow(count.saturating_sub(1).min(10));
        let expires = self.failures_expire().unwrap_or(FAILURE_EXPIRES);
        self.failure = Some(Failure {
            text,
            count,
            retry_at: now + pause.min(expires),
            expires_at: now + expires,
        });
        self.wanted = false;
    }

    fn down(&mut self, round: &mut Round) {
        let because = self.stopping_because.take().unwrap_or(Because::Finished);
        self.supports.clear();
        self.right_from_before = Time::ZERO;
        self.contested = false;
        self.offer = None;
        // However long the stop took: the failure that made it counts. An old one was forgiven when it came up.
        let failed = self
            .failure
            .as_ref()
            .filter(|_| matches!(because, Because::Agent(_)));
        if let Some(failure) = failed {
            let text = Because::Agent(failure.text.clone());
            self.state = GroupState::Failed;
            round.record(&self.spec.name, What::Failed, text);
        } else {
            self.state = GroupState::Offline;
            round.record(&self.spec.name, What::Offline, because);
        }
        self.take_definition(round);
    }

    /// Nothing of the old definition runs: the newer one counts, for the agents too. Whether there was one.
    pub fn take_definition(&mut self, round: &mut Round) -> bool {
        let Some(spec) = self.replaced_by.take() else {
            return false;
        };
        self.spec = *spec;
        self.stack = Stack::new(&self.spec);
        round.out.push(Action::Redefined(self.spec.name.clone()));
        true
    }

    fn decide_failed(&mut self, now: Time, view: &View, round: &mut Round) {
        let Some(failure) = &self.failure else {
            self.state = GroupState::Offline;
            return;
        };
        let alone = || {
            let held = view.living().any(|p| p.holds(&self.spec.name));
            !held && super::placement::place(&self.candidates(view, round)).is_err()
        };
        if now >= failure.expires_at || (now >= failure.retry_at && alone()) {
            round.record(&self.spec.name, What::FailureExpired, Because::Expired);
            self.state = GroupState::Offline;
            self.decide_offline(now, view, round);
        }
    }

    /// Says why it is not started, once for each reason.
    pub fn report_blocked(&mut self, because: Because, round: &mut Round) {
        if self.blocked_because.as_ref() != Some(&because) {
            round.record(&self.spec.name, What::Held, because.clone());
            self.blocked_because = Some(because);
        }
    }

    /// The times at which it must be judged again without an event.
    pub fn deadlines(&self, now: Time, view: &View, all: &mut Vec<Time>) {
        let mut due = Vec::new();
        if let Some(f) = self
            .failure
            .as_ref()
            .filter(|_| self.state == GroupState::Failed)
        {
            due.push(f.expires_at);
            due.push(f.retry_at);
        }
        if matches!(
            self.state,
            GroupState::Starting | GroupState::Online | GroupState::Unknown
        ) {
            due.push(self.lease_end(view));
            let t = &view.cluster.timing;
            due.extend(view.living().map(|p| p.takes_us_for_dead_at(t)));
        }
        if let Some(offer) = &self.offer {
            due.push(offer.since + super::handover::patience(&view.cluster.timing));
        }
        if let Some(since) = self.failback_since {
            due.push(since + view.cluster.failback_delay);
        }
        if let Some(since) = self.better_since {
            due.push(since + view.cluster.timing.keepalive * 2);
        }
        if self.state == GroupState::Claiming {
            due.push(self.watch.since + super::claim::PROBE_PATIENCE);
            let dead = view.peers.iter().filter(|p| p.liveness == Liveness::Dead);
            due.extend(dead.map(|p| self.stopped_by(p, view)));
        }
        // What was due before was judged with every event. Not so the others' deadlines: silence is judged only at one.
        all.extend(due.into_iter().filter(|at| *at > now));
    }
}
