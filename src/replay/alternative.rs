//! The engine that would have been, with a world made up around it as far as the recording does not have one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::player::{ReplayEvent, ReplayMoment, handle};
use super::recorded_outcomes::RecordedOutcomes;
use crate::engine::{Action, Call, Engine, Event, OrderId, Outcome};
use crate::model::heartbeat::{GroupReport, GroupState, Heartbeat};
use crate::model::{GroupName, Sequence, Term, Time};

/// How often addresses are asked for, and how long an answer may take: as the daemon does.
const PROBE_EVERY: Duration = Duration::from_millis(50);
const PROBE_WINDOW: Duration = Duration::from_millis(45);
/// Heartbeats that may still be acknowledged.
const SENT: usize = 10_000;

/// Something that will be told.
struct DueEvent {
    event: Event,
    supposed: bool,
}

/// The engine and what it waits for.
pub(super) struct AlternativeRun {
    /// None when it has ended or failed.
    engine: Option<Engine>,
    answers: RecordedOutcomes,
    due: BTreeMap<(Time, u64), DueEvent>,
    count: u64,
    /// Groups whose addresses it asks for, and those that were really asked for.
    asks: BTreeSet<GroupName>,
    asked: BTreeSet<GroupName>,
    /// Heartbeats that it sent, and that were really sent.
    sends: SentHeartbeats,
    sent: SentHeartbeats,
    /// What it says of each group.
    says: BTreeMap<GroupName, (Term, GroupState)>,
    /// It has decided otherwise than the one that was.
    pub parted: bool,
}

impl AlternativeRun {
    /// With its first orders.
    pub fn new(
        engine: Engine,
        at: Time,
        first: Vec<Action>,
        answers: RecordedOutcomes,
    ) -> (AlternativeRun, Vec<ReplayMoment>) {
        let mut other = AlternativeRun {
            engine: Some(engine),
            answers,
            due: BTreeMap::new(),
            count: 0,
            asks: BTreeSet::new(),
            asked: BTreeSet::new(),
            sends: SentHeartbeats::default(),
            sent: SentHeartbeats::default(),
            says: BTreeMap::new(),
            parted: false,
        };
        let mut moments = Vec::new();
        other.perform(at, first, &mut moments);
        (other, moments)
    }

    pub fn engine(&self) -> Option<&Engine> {
        self.engine.as_ref()
    }

    /// Lets time pass until just before `at`: orders end, and deadlines come as long as the daemon was `awake` to see them.
    pub fn run_until(&mut self, at: Time, awake: Time, moments: &mut Vec<ReplayMoment>) {
        while let Some(engine) = &self.engine {
            let deadline = Some(engine.next_deadline()).filter(|t| *t < awake);
            let due = self.due.first_key_value().map(|((t, _), _)| *t);
            match (due.filter(|t| *t < at), deadline) {
                (Some(due), deadline) if deadline.is_none_or(|d| due <= d) => {
                    self.next_due(moments);
                }
                (_, Some(deadline)) => self.tell(deadline, Event::DeadlineReached, moments),
                (_, None) => return,
            }
        }
    }

    fn next_due(&mut self, moments: &mut Vec<ReplayMoment>) {
        let Some(((at, _), due)) = self.due.pop_first() else {
            return;
        };
        if let Event::AddressSilent { group, .. } = &due.event {
            if !self.asks.contains(group) {
                return;
            }
            self.ask_again(at, group.clone());
            if self.asked.contains(group) {
                return; // The recording tells.
            }
        }
        self.tell_due(at, due, moments);
    }

    fn tell_due(&mut self, at: Time, due: DueEvent, moments: &mut Vec<ReplayMoment>) {
        let seen = if due.supposed {
            ReplayEvent::Supposed(due.event.clone())
        } else {
            ReplayEvent::Input(due.event.clone())
        };
        moments.push((at, seen));
        self.tell(at, due.event, moments);
    }

    /// An order ended in truth: the first of its own ends that is due at this very moment is told, and only that one,
    /// so that those of one moment come in the order in which they came.
    fn answer(&mut self, at: Time, moments: &mut Vec<ReplayMoment>) {
        let ends = |due: &DueEvent| matches!(due.event, Event::Done { .. } | Event::Saved { .. });
        let mut now = self.due.range(..=(at, u64::MAX));
        let Some(key) = now.find(|(_, due)| ends(due)).map(|(key, _)| *key) else {
            return;
        };
        if let Some(due) = self.due.remove(&key) {
            self.tell_due(key.0, due, moments);
        }
    }

    /// Takes note of what was really sent and asked for.
    pub fn learn(&mut self, was: &[ReplayMoment]) {
        for (at, seen) in was {
            match seen {
                ReplayEvent::Ordered(Action::Send(heartbeat)) => {
                    self.sent.note(heartbeat.sequence, *at);
                }
                ReplayEvent::Ordered(Action::WatchAddresses { group, on }) => {
                    set(&mut self.asked, group, *on);
                }
                _ => {}
            }
        }
    }

    /// Hears what was recorded. What came of orders is left out: its own orders are answered otherwise.
    pub fn hear(&mut self, at: Time, event: Event, moments: &mut Vec<ReplayMoment>) {
        let event = match event {
            Event::Done { .. } | Event::Saved { .. } => return self.answer(at, moments),
            Event::Heard {
                link,
                mut heartbeat,
            } => {
                self.translate(&mut heartbeat);
                if self.parted {
                    self.translate_recognition(&mut heartbeat);
                }
                Event::Heard { link, heartbeat }
            }
            event => event,
        };
        self.tell(at, event, moments);
    }

    /// The numbers of our heartbeats are others here: what a peer acknowledges is the one that it would have heard.
    fn translate(&self, heartbeat: &mut Heartbeat) {
        let Some(me) = self.engine.as_ref().map(Engine::name) else {
            return;
        };
        for heard in heartbeat.heard.iter_mut().filter(|h| h.node == *me) {
            if let Some(at) = self.sent.when(heard.sequence) {
                heard.sequence = self.sends.newest_at(at).unwrap_or(self.sent.before());
            }
        }
    }

    /// A peer recognised the claim that was really made. Of a claim that would have been made it is supposed that it
    /// would be recognised no sooner than that one; and what would not have been claimed, not at all.
    fn translate_recognition(&self, heartbeat: &mut Heartbeat) {
        let Some(me) = self.engine.as_ref().map(Engine::name) else {
            return;
        };
        for report in &mut heartbeat.groups {
            let ours = self.says.get(&report.group);
            let ours = ours.filter(|(_, s)| s.holds() || *s == GroupState::Claiming);
            match (&mut report.to, ours) {
                (Some(to), Some((term, _))) if to.node == *me => to.term = *term,
                (Some(to), None) if to.node == *me => report.to = None,
                _ => {}
            }
        }
    }

    fn tell(&mut self, at: Time, event: Event, moments: &mut Vec<ReplayMoment>) {
        let Some(engine) = &mut self.engine else {
            return;
        };
        match handle(engine, at, event) {
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
                    self.sends.note(heartbeat.sequence, at);
                    let says = |r: &GroupReport| (r.group.clone(), (r.term, r.state));
                    self.says.extend(heartbeat.groups.iter().map(says));
                }
                Action::Run { group, order, call } => self.run(at, group, *order, *call),
                Action::Abort(group) => self.abort(at, group),
                Action::Save { version, .. } => {
                    if let Some(after) = self.answers.to_save(at, *version) {
                        let event = Event::Saved { version: *version };
                        self.later(at + after, event, false);
                    }
                }
                Action::WatchAddresses { group, on } => {
                    set(&mut self.asks, group, *on);
                    if *on {
                        self.ask_again(at, group.clone());
                    }
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
        let Some(answer) = self.answers.to_run(at, group, call, steps) else {
            return;
        };
        let event = Event::Done {
            group: group.clone(),
            order,
            outcome: answer.outcome,
        };
        self.later(at + answer.after, event, answer.supposed);
    }

    /// What runs for a group fails at once.
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
            let outcome = Outcome::Failed("ended by order".to_owned());
            let event = Event::Done {
                group,
                order,
                outcome,
            };
            self.later(key.0.min(at + Duration::from_millis(1)), event, true);
        }
    }

    fn ask_again(&mut self, at: Time, group: GroupName) {
        let ends = at + PROBE_EVERY;
        let sent = ends - PROBE_WINDOW;
        let waits = |due: &DueEvent| matches!(&due.event, Event::AddressSilent { group: g, .. } if *g == group);
        if !self.due.values().any(waits) {
            self.later(ends, Event::AddressSilent { group, sent }, true);
        }
    }

    fn later(&mut self, at: Time, event: Event, supposed: bool) {
        self.count = self.count.saturating_add(1);
        self.due
            .insert((at, self.count), DueEvent { event, supposed });
    }
}

fn set(all: &mut BTreeSet<GroupName>, group: &GroupName, on: bool) {
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
        if self.0.len() > SENT {
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

    /// The one before all of these.
    fn before(&self) -> Sequence {
        Sequence(self.0.front().map_or(0, |(s, _)| s.0.saturating_sub(1)))
    }
}
