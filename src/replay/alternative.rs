//! The engine with other settings, and the outcomes that are assumed where the recording has none.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::player::{ReplayEvent, ReplayMoment, handle_or_catch};
use super::recorded_outcomes::RecordedOutcomes;
use super::recording_format::RecordedInput;
use crate::engine::{Action, Call, Engine, Event, OrderId, Outcome};
use crate::model::heartbeat::{GroupReport, GroupState, Heartbeat};
use crate::model::{GroupName, Sequence, Term, Time};

/// Sent heartbeats that are remembered because they may still be acknowledged.
const MAX_SENT: usize = 10_000;

/// An input that is due at some time.
struct DueEvent {
    event: Event,
    supposed: bool,
}

/// The engine with other settings, and the inputs that it waits for.
pub(super) struct AlternativeRun {
    /// None after it has ended or panicked.
    engine: Option<Engine>,
    outcomes: RecordedOutcomes,
    due: BTreeMap<(Time, u64), DueEvent>,
    count: u64,
    /// Groups whose addresses it probes.
    probes: BTreeMap<GroupName, Duration>,
    /// Groups whose addresses the recorded engine probes.
    recorded_probes: BTreeSet<GroupName>,
    /// Heartbeats that it sent.
    sent: SentHeartbeats,
    /// Heartbeats that the recorded engine sent.
    recorded_sent: SentHeartbeats,
    /// What it reports about each group.
    reports: BTreeMap<GroupName, (Term, GroupState)>,
    /// It has decided differently from the recorded engine.
    pub diverged: bool,
}

impl AlternativeRun {
    /// Starts with the first actions of the engine.
    pub fn new(
        engine: Engine,
        at: Time,
        first: Vec<Action>,
        outcomes: RecordedOutcomes,
    ) -> (AlternativeRun, Vec<ReplayMoment>) {
        let mut other = AlternativeRun {
            engine: Some(engine),
            outcomes,
            due: BTreeMap::new(),
            count: 0,
            probes: BTreeMap::new(),
            recorded_probes: BTreeSet::new(),
            sent: SentHeartbeats::default(),
            recorded_sent: SentHeartbeats::default(),
            reports: BTreeMap::new(),
            diverged: false,
        };
        let mut moments = Vec::new();
        other.perform(at, first, &mut moments);
        (other, moments)
    }

    pub fn engine(&self) -> Option<&Engine> {
        self.engine.as_ref()
    }

    /// Lets time pass until just before `at`: actions end, and deadlines come as long as the daemon was `awake` to see them.
    pub fn run_until(&mut self, at: Time, awake: Time, moments: &mut Vec<ReplayMoment>) {
        while let Some(engine) = &self.engine {
            let deadline = Some(engine.next_deadline()).filter(|t| *t < awake);
            let due = self.due.first_key_value().map(|((t, _), _)| *t);
            match (due.filter(|t| *t < at), deadline) {
                (Some(due), deadline) if deadline.is_none_or(|d| due <= d) => {
                    self.next_due(moments);
                }
                (_, Some(deadline)) => self.handle(deadline, Event::DeadlineReached, moments),
                (_, None) => return,
            }
        }
    }

    fn next_due(&mut self, moments: &mut Vec<ReplayMoment>) {
        let Some(((at, _), due)) = self.due.pop_first() else {
            return;
        };
        if let Event::AddressSilent { group, .. } = &due.event {
            let Some(every) = self.probes.get(group).copied() else {
                return;
            };
            self.probe_again(at, group.clone(), every);
            if self.recorded_probes.contains(group) {
                return; // The recording has the answer.
            }
        }
        self.handle_due(at, due, false, moments);
    }

    fn handle_due(&mut self, at: Time, due: DueEvent, more: bool, moments: &mut Vec<ReplayMoment>) {
        let seen = if due.supposed {
            ReplayEvent::Supposed(due.event.clone())
        } else {
            ReplayEvent::Input(due.event.clone())
        };
        moments.push((at, seen));
        self.handle_or_take(at, due.event, more, moments);
    }

    /// An action ended in the recording: of the own actions that end at this time, exactly the first ends now, so that
    /// they keep their order.
    fn end_next(&mut self, at: Time, more: bool, moments: &mut Vec<ReplayMoment>) {
        let ends = |due: &DueEvent| matches!(due.event, Event::Done { .. } | Event::Saved { .. });
        let mut now = self.due.range(..=(at, u64::MAX));
        let Some(key) = now.find(|(_, due)| ends(due)).map(|(key, _)| *key) else {
            return;
        };
        if let Some(due) = self.due.remove(&key) {
            self.handle_due(key.0, due, more, moments);
        }
    }

    /// Notes what the recorded engine sent and probed.
    pub fn learn(&mut self, was: &[ReplayMoment]) {
        for (at, seen) in was {
            match seen {
                ReplayEvent::Ordered(Action::Send(heartbeat)) => {
                    self.recorded_sent.note(heartbeat.sequence, *at);
                }
                ReplayEvent::Ordered(Action::WatchAddresses { group, every }) => {
                    set_member(&mut self.recorded_probes, group, every.is_some());
                }
                _ => {}
            }
        }
    }

    /// Handles a recorded input. Outcomes of recorded actions are left out: its own actions have their own.
    pub fn recorded_input(&mut self, input: RecordedInput, moments: &mut Vec<ReplayMoment>) {
        let (at, more) = (input.at, input.more);
        let event = match input.event {
            Event::Done { .. } | Event::Saved { .. } => return self.end_next(at, more, moments),
            Event::Heard {
                link,
                from,
                mut heartbeat,
            } => {
                self.translate_acknowledged(&mut heartbeat);
                if let Some(engine) = &self.engine {
                    // The settings are tried on all nodes.
                    heartbeat.deadtime = engine.cluster().timing.deadtime;
                }
                if self.diverged {
                    self.translate_recognition(&mut heartbeat);
                }
                Event::Heard {
                    link,
                    from,
                    heartbeat,
                }
            }
            event => event,
        };
        self.handle_or_take(at, event, more, moments);
    }

    /// The own heartbeats have other numbers here: a peer acknowledges the one that it would have heard.
    fn translate_acknowledged(&self, heartbeat: &mut Heartbeat) {
        let Some(me) = self.engine.as_ref().map(Engine::name) else {
            return;
        };
        for heard in heartbeat.heard.iter_mut().filter(|h| h.node == *me) {
            if let Some(at) = self.recorded_sent.when(heard.sequence) {
                heard.sequence = self
                    .sent
                    .newest_at(at)
                    .unwrap_or(self.recorded_sent.number_before());
            }
        }
    }

    /// A peer recognised the claim that was really made. A claim of this engine is assumed to be recognised no sooner than
    /// that one, and a group that it does not claim not at all.
    fn translate_recognition(&self, heartbeat: &mut Heartbeat) {
        let Some(me) = self.engine.as_ref().map(Engine::name) else {
            return;
        };
        for report in &mut heartbeat.groups {
            let ours = self.reports.get(&report.group);
            let ours = ours.filter(|(_, s)| s.holds() || *s == GroupState::Claiming);
            match (&mut report.to, ours) {
                (Some(to), Some((term, _))) if to.node == *me => to.term = *term,
                (Some(to), None) if to.node == *me => report.to = None,
                _ => {}
            }
        }
    }

    fn handle(&mut self, at: Time, event: Event, moments: &mut Vec<ReplayMoment>) {
        self.handle_or_take(at, event, false, moments);
    }

    /// Only takes the event in if `more` follows.
    fn handle_or_take(
        &mut self,
        at: Time,
        event: Event,
        more: bool,
        moments: &mut Vec<ReplayMoment>,
    ) {
        let Some(engine) = &mut self.engine else {
            return;
        };
        match handle_or_catch(engine, at, event, more) {
            Ok(actions) => self.perform(at, actions, moments),
            Err(text) => {
                self.engine = None;
                moments.push((at, ReplayEvent::Fails(text)));
            }
        }
    }

    fn perform(&mut self, at: Time, actions: Vec<Action>, moments: &mut Vec<ReplayMoment>) {
        for action in actions {
            match &action {
                Action::Send(heartbeat) => {
                    self.sent.note(heartbeat.sequence, at);
                    let says = |r: &GroupReport| (r.group.clone(), (r.term, r.state));
                    self.reports.extend(heartbeat.groups.iter().map(says));
                }
                Action::Run { group, order, call } => self.run(at, group, *order, *call),
                Action::Abort(group) => self.abort(at, group),
                Action::Save { version, .. } => {
                    if let Some(after) = self.outcomes.of_save(at, *version) {
                        let event = Event::Saved { version: *version };
                        self.schedule(at + after, event, false);
                    }
                }
                Action::WatchAddresses {
                    group,
                    every: Some(every),
                } => {
                    self.probes.insert(group.clone(), *every);
                    self.probe_again(at, group.clone(), *every);
                }
                Action::WatchAddresses { group, every: None } => {
                    self.probes.remove(group);
                }
                Action::Exit => self.engine = None,
                _ => {}
            }
            moments.push((at, ReplayEvent::Ordered(action)));
        }
    }

    fn run(&mut self, at: Time, group: &GroupName, order: OrderId, call: Call) {
        let groups = self.engine.iter().flat_map(|e| &e.cluster().groups);
        let steps = groups.filter(|g| g.name == *group).map(|g| g.steps.len());
        let steps = steps.sum();
        let Some(answer) = self.outcomes.of_call(at, group, call, steps) else {
            return;
        };
        let event = Event::Done {
            group: group.clone(),
            order,
            outcome: answer.outcome,
        };
        self.schedule(at + answer.after, event, answer.supposed);
    }

    /// Lets the running action of a group fail at once.
    fn abort(&mut self, at: Time, wanted: &GroupName) {
        let runs =
            |due: &DueEvent| matches!(&due.event, Event::Done { group, .. } if group == wanted);
        let found = self.due.iter().find(|(_, due)| runs(due));
        let Some(key) = found.map(|(key, _)| *key) else {
            return;
        };
        if let Some(DueEvent {
            event: Event::Done { group, order, .. },
            ..
        }) = self.due.remove(&key)
        {
            let outcome = Outcome::Failed("aborted".to_owned());
            let event = Event::Done {
                group,
                order,
                outcome,
            };
            self.schedule(key.0.min(at + Duration::from_millis(1)), event, true);
        }
    }

    fn probe_again(&mut self, at: Time, group: GroupName, every: Duration) {
        let ends = at + every;
        let sent = ends - every * 9 / 10;
        let waits = |due: &DueEvent| matches!(&due.event, Event::AddressSilent { group: g, .. } if *g == group);
        if !self.due.values().any(waits) {
            self.schedule(ends, Event::AddressSilent { group, sent }, true);
        }
    }

    fn schedule(&mut self, at: Time, event: Event, supposed: bool) {
        self.count = self.count.saturating_add(1);
        self.due
            .insert((at, self.count), DueEvent { event, supposed });
    }
}

fn set_member(all: &mut BTreeSet<GroupName>, group: &GroupName, on: bool) {
    if on {
        all.insert(group.clone());
    } else {
        all.remove(group);
    }
}

/// When each heartbeat was sent, oldest first.
#[derive(Default)]
struct SentHeartbeats(VecDeque<(Sequence, Time)>);

impl SentHeartbeats {
    fn note(&mut self, sequence: Sequence, at: Time) {
        // A new generation counts anew.
        if self.0.back().is_some_and(|(last, _)| *last >= sequence) {
            self.0.clear();
        }
        self.0.push_back((sequence, at));
        if self.0.len() > MAX_SENT {
            self.0.pop_front();
        }
    }

    fn when(&self, sequence: Sequence) -> Option<Time> {
        let at = self.0.binary_search_by_key(&sequence, |(s, _)| *s).ok()?;
        self.0.get(at).map(|(_, at)| *at)
    }

    fn newest_at(&self, time: Time) -> Option<Sequence> {
        let at = self.0.partition_point(|(_, at)| *at <= time);
        self.0.get(at.checked_sub(1)?).map(|(s, _)| *s)
    }

    /// The number before all of these.
    fn number_before(&self) -> Sequence {
        Sequence(self.0.front().map_or(0, |(s, _)| s.0.saturating_sub(1)))
    }
}
