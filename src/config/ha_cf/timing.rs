//! The times and how they must stand to each other; failback and quorum.

use std::time::Duration;

use super::table::Shape;
use super::{Reader, Setting, Statement, Value};
use crate::config::values::boolean;
use crate::model::cluster::{QuorumPolicy, Timing};
use crate::text::{Place, duration_in_files};

const SECOND: Duration = Duration::from_secs(1);
/// Below this a late scheduler could make two owners (the margin must cover how late a due action may run).
const LEAST_MARGIN: Duration = Duration::from_millis(100);

/// One time: as set, or the default.
#[derive(Clone)]
struct Given {
    name: &'static str,
    time: Duration,
    place: Option<Place>,
}

impl Given {
    /// `name (time)`.
    fn named(&self) -> String {
        format!("{} ({})", self.name, duration_in_files(self.time))
    }

    /// Where it comes from, for the help of a problem at another line.
    fn origin(&self) -> String {
        match &self.place {
            Some(place) => format!("{} is set on line {}", self.name, place.line),
            None => format!(
                "{} is {} by default",
                self.name,
                duration_in_files(self.time)
            ),
        }
    }
}

/// All times as far as they could be read: none for one whose line is broken.
struct Times {
    keepalive: Option<Given>,
    warntime: Option<Given>,
    deadtime: Option<Given>,
    initdead: Option<Given>,
    deadping: Option<Given>,
}

/// Works out the times and the quorum policy, and judges them.
pub(super) fn settle(reader: &mut Reader<'_>) -> (Timing, QuorumPolicy) {
    let keepalive = given(reader, "keepalive", SECOND);
    let deadtime = given(reader, "deadtime", SECOND * 30);
    let dead = deadtime.as_ref().map_or(SECOND * 30, |g| g.time);
    let times = Times {
        warntime: given(reader, "warntime", dead / 2),
        initdead: given(reader, "initdead", usual_initdead(dead)),
        deadping: given(reader, "deadping", dead),
        keepalive,
        deadtime,
    };
    judge_order(reader, &times);
    let or = |given: &Option<Given>, default| given.as_ref().map_or(default, |g| g.time);
    let keep = or(&times.keepalive, SECOND);
    let usual = Timing::usual_margin(keep, dead);
    let timing = Timing {
        keepalive: keep,
        warntime: or(&times.warntime, dead / 2),
        deadtime: dead,
        initdead: or(&times.initdead, dead),
        deadping: or(&times.deadping, dead),
        margin: reader.duration("margin").unwrap_or(usual),
    };
    let quorum = quorum(reader);
    if times.keepalive.is_some()
        && times.warntime.is_some()
        && times.deadtime.is_some()
        && quorum != QuorumPolicy::Off
    {
        judge_margin(reader, &timing, &times);
    }
    (timing, quorum)
}

/// None where the line that sets it is broken: then nothing must be concluded from it.
fn given(reader: &Reader<'_>, name: &'static str, default: Duration) -> Option<Given> {
    let Some(setting) = reader.settings.get(name) else {
        let time = default;
        return Some(Given {
            name,
            time,
            place: None,
        });
    };
    let place = Some(setting.place.clone());
    let time = reader.duration(name)?;
    Some(Given { name, time, place })
}

/// Heartbeat's default: never under ten seconds, because a machine that boots hears nothing for a while.
pub(super) fn usual_initdead(deadtime: Duration) -> Duration {
    if deadtime < SECOND * 6 {
        SECOND * 12
    } else if deadtime <= SECOND * 10 {
        deadtime * 2
    } else {
        deadtime
    }
}

fn judge_order(reader: &mut Reader<'_>, times: &Times) {
    for dead in [&times.deadtime, &times.deadping] {
        if let (Some(dead), Some(keep)) = (dead, &times.keepalive)
            && dead.time <= keep.time * 2
            && (dead.name == "deadtime" || dead.place.is_some())
        {
            let message = format!("{} must be more than twice {}", dead.named(), keep.named());
            complain(reader, dead, keep, &message, "");
        }
    }
    if let (Some(warn), Some(dead)) = (&times.warntime, &times.deadtime) {
        if warn.time >= dead.time {
            let message = format!("{} must exceed {}", dead.named(), warn.named());
            complain(
                reader,
                dead,
                warn,
                &message,
                "; a usual choice is deadtime = 2 x warntime",
            );
        } else if let (Some(keep), Some(place)) = (&times.keepalive, &warn.place)
            && warn.time <= keep.time
        {
            let message = format!(
                "{} should exceed {}: every heartbeat would be late",
                warn.named(),
                keep.named()
            );
            reader.report.warning(place, message, keep.origin());
        }
    }
    if let (Some(init), Some(dead)) = (&times.initdead, &times.deadtime)
        && let Some(place) = &init.place
    {
        if init.time < dead.time {
            let message = format!("{} must not be less than {}", init.named(), dead.named());
            reader.report.error(place, message, dead.origin());
        } else if init.time < SECOND * 10 {
            let message = format!(
                "{} is short: a booting machine may hear nothing for 10s",
                init.named()
            );
            reader.report.warning(place, message, "a usual choice is 30s or more, so that a slow network is not taken for a dead peer");
        }
    }
}

/// An error where `a` is set, or else where `b` is.
fn complain(reader: &mut Reader<'_>, a: &Given, b: &Given, message: &str, advice: &str) {
    let (place, other) = match (&a.place, &b.place) {
        (Some(place), _) => (place, b),
        (None, Some(place)) => (place, a),
        (None, None) => (&reader.whole, b),
    };
    let help = format!("{}{advice}", other.origin());
    reader.report.error(&place.clone(), message, help);
}

/// The lease of an owner must outlive a lost heartbeat, and must end before the survivor begins.
fn judge_margin(reader: &mut Reader<'_>, timing: &Timing, times: &Times) {
    let Timing {
        keepalive,
        warntime,
        deadtime,
        margin,
        ..
    } = *timing;
    let margin_place = reader.settings.get("margin").map(|s| s.place.clone());
    if let Some(place) = &margin_place {
        if margin + keepalive >= deadtime {
            let message = format!(
                "margin ({}) leaves nothing of deadtime ({}): an owner could never renew its right",
                duration_in_files(margin),
                duration_in_files(deadtime)
            );
            reader.report.error(
                place,
                message,
                "leave the directive out, or take a fifth of deadtime",
            );
            return;
        }
        if margin < LEAST_MARGIN {
            let message = format!(
                "margin ({}) is short: a busy machine may act later than that",
                duration_in_files(margin)
            );
            reader
                .report
                .warning(place, message, "100ms or more is safe");
        }
    }
    let Some(spare) = deadtime.checked_sub(margin) else {
        return;
    };
    if spare >= warntime + keepalive || warntime >= deadtime || deadtime <= keepalive * 2 {
        return;
    }
    let place = margin_place
        .or_else(|| times.deadtime.as_ref().and_then(|g| g.place.clone()))
        .or_else(|| times.warntime.as_ref().and_then(|g| g.place.clone()))
        .or_else(|| times.keepalive.as_ref().and_then(|g| g.place.clone()))
        .unwrap_or_else(|| reader.whole.clone());
    let message = format!(
        "deadtime ({}) less the margin ({}) is under warntime ({}) plus keepalive ({}): a lost heartbeat or two could cost an owner its groups",
        duration_in_files(deadtime),
        duration_in_files(margin),
        duration_in_files(warntime),
        duration_in_files(keepalive)
    );
    let enough = enough_deadtime(timing, reader.settings.contains_key("margin"));
    let mut help = format!("deadtime {} or more leaves room", duration_in_files(enough));
    if let Some(less) = spare.checked_sub(keepalive).filter(|w| *w > keepalive) {
        help = format!("warntime {} or less, or {help}", duration_in_files(less));
    }
    reader.report.warning(&place, message, help);
}

/// The least deadtime that leaves room with these other times.
fn enough_deadtime(timing: &Timing, margin_is_set: bool) -> Duration {
    let need = timing.warntime + timing.keepalive;
    if margin_is_set {
        return need + timing.margin;
    }
    let least = (timing.keepalive * 2).max(LEAST_MARGIN);
    (need + least).max(need + need / 4)
}

fn quorum(reader: &mut Reader<'_>) -> QuorumPolicy {
    let nodes = reader.lists.nodes.len();
    let arbiter =
        nodes > 2 || !reader.lists.pings.is_empty() || reader.settings.contains_key("ping");
    let alone = nodes == 2 && !arbiter && !reader.lists.nodes_unclear;
    match reader.text("quorum").as_deref() {
        Some("stop") => {
            warn_of_no_arbiter(reader, alone);
            QuorumPolicy::Stop
        }
        Some("freeze") => {
            warn_of_no_arbiter(reader, alone);
            QuorumPolicy::Freeze
        }
        Some("ignore") => QuorumPolicy::Ignore,
        Some(_) => QuorumPolicy::Off,
        None if arbiter => QuorumPolicy::Stop,
        None => {
            if alone && !reader.settings.contains_key("quorum") {
                let message = "two nodes without a ping node have no arbiter: votes are not counted (quorum off)";
                reader.report.note(
                    &reader.whole,
                    message,
                    "a ping node, such as the gateway, tells a dead peer from a cut cable",
                );
            }
            QuorumPolicy::Off
        }
    }
}

fn warn_of_no_arbiter(reader: &mut Reader<'_>, alone: bool) {
    if let (true, Some(setting)) = (alone, reader.settings.get("quorum")) {
        let message =
            "two nodes without a ping node: the loss of either takes quorum from the other";
        reader.report.warning(
            &setting.place,
            message,
            "add a ping node, such as the gateway, or a third node",
        );
    }
}

pub(super) fn auto_failback(reader: &mut Reader<'_>, statement: &Statement<'_>) {
    reader.record(statement);
    failback(reader, statement, |word| match boolean(word) {
        None if word.eq_ignore_ascii_case("legacy") => Some((true, "`legacy` is treated as `on`")),
        on => on.map(|on| (on, "")),
    });
}

/// Said the other way round: "nice" was not to take groups back.
pub(super) fn nice_failback(reader: &mut Reader<'_>, statement: &Statement<'_>) {
    reader.record(statement);
    failback(reader, statement, |word| {
        Some(if boolean(word)? {
            (
                false,
                "`nice_failback on` is treated as `auto_failback off`",
            )
        } else {
            (true, "`nice_failback off` is treated as `auto_failback on`")
        })
    });
}

fn failback(
    reader: &mut Reader<'_>,
    statement: &Statement<'_>,
    read: fn(&str) -> Option<(bool, &'static str)>,
) {
    let value = reader.one("auto_failback", &Shape::Text, true, statement);
    let (Some(Value::Text(text)), Some(word)) = (value, statement.values.first()) else {
        return;
    };
    let meaning = read(&text);
    match meaning {
        None => {
            let message = format!("{} is not on or off", word.quoted());
            reader.report.error(&word.place, message, "");
        }
        Some((_, "")) => {}
        Some((on, remark)) => {
            let help = if on {
                "write `auto_failback on`"
            } else {
                "write `auto_failback off`"
            };
            reader.report.warning(&word.place, remark, help);
        }
    }
    let value = meaning.map(|(on, _)| Value::Flag(on));
    let place = word.place.clone();
    reader.settings.insert(
        "auto_failback",
        Setting {
            value,
            place,
            guessed: false,
        },
    );
}
