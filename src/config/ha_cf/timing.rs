//! Reads the times and checks them against each other; failback and quorum.

use std::time::Duration;

use super::table::ValueForm;
use super::{Directive, DirectiveValue, GivenDirective, HaCfReader};
use crate::config::values::boolean;
use crate::model::cluster::{QuorumPolicy, Timing};
use crate::text::{Place, duration_for_people, duration_in_files};

const SECOND: Duration = Duration::from_secs(1);
/// The margin must cover how late a due action may run. With less, a busy scheduler could cause two owners.
const MIN_MARGIN: Duration = Duration::from_millis(100);

/// A time as set, or its default.
#[derive(Clone)]
struct GivenTime {
    name: &'static str,
    time: Duration,
    place: Option<Place>,
}

impl GivenTime {
    /// `name (time)`.
    fn named(&self) -> String {
        format!("{} ({})", self.name, duration_for_people(self.time))
    }

    /// Where it was set, for the help of a problem on another line.
    fn origin(&self) -> String {
        match &self.place {
            Some(place) => format!("{} is set on line {}", self.name, place.line),
            None => format!(
                "{} is {} by default",
                self.name,
                duration_for_people(self.time)
            ),
        }
    }
}

/// All times. `None` where the line that sets it cannot be read.
struct GivenTimes {
    keepalive: Option<GivenTime>,
    warntime: Option<GivenTime>,
    deadtime: Option<GivenTime>,
    initdead: Option<GivenTime>,
    deadping: Option<GivenTime>,
}

/// Determines the times and the quorum policy, and checks them.
pub(super) fn read_timing(reader: &mut HaCfReader<'_>) -> (Timing, QuorumPolicy) {
    let keepalive = given_time(reader, "keepalive", SECOND);
    let deadtime = given_time(reader, "deadtime", SECOND * 30);
    let dead = deadtime.as_ref().map_or(SECOND * 30, |g| g.time);
    let times = GivenTimes {
        warntime: given_time(reader, "warntime", dead / 2),
        initdead: given_time(reader, "initdead", default_initdead(dead)),
        deadping: given_time(reader, "deadping", dead),
        keepalive,
        deadtime,
    };
    judge_order(reader, &times);
    let warntime = usable_warntime(reader, &times);
    let or = |given: &Option<GivenTime>, default| given.as_ref().map_or(default, |g| g.time);
    let keep = or(&times.keepalive, SECOND);
    let usual = Timing::usual_margin(keep, dead);
    let timing = Timing {
        keepalive: keep,
        warntime: warntime.unwrap_or(dead / 2),
        deadtime: dead,
        initdead: or(&times.initdead, dead),
        deadping: or(&times.deadping, dead),
        margin: reader.duration("margin").unwrap_or(usual),
    };
    let quorum = quorum_policy(reader);
    if times.keepalive.is_some()
        && times.warntime.is_some()
        && times.deadtime.is_some()
        && quorum != QuorumPolicy::Off
    {
        judge_margin(reader, &timing, &times);
    }
    (timing, quorum)
}

/// `None` where the line that sets it cannot be read. Then nothing is concluded from it.
fn given_time(reader: &HaCfReader<'_>, name: &'static str, default: Duration) -> Option<GivenTime> {
    let Some(setting) = reader.settings.get(name) else {
        let time = default;
        return Some(GivenTime {
            name,
            time,
            place: None,
        });
    };
    let place = Some(setting.place.clone());
    let time = reader.duration(name)?;
    Some(GivenTime { name, time, place })
}

/// Heartbeat's default. It is never under ten seconds, because a booting machine may hear nothing for that long.
pub(super) fn default_initdead(deadtime: Duration) -> Duration {
    if deadtime < SECOND * 6 {
        SECOND * 12
    } else if deadtime <= SECOND * 10 {
        deadtime * 2
    } else {
        deadtime
    }
}

fn judge_order(reader: &mut HaCfReader<'_>, times: &GivenTimes) {
    for dead in [&times.deadtime, &times.deadping] {
        if let (Some(dead), Some(keep)) = (dead, &times.keepalive)
            && dead.time <= keep.time * 2
            && (dead.name == "deadtime" || dead.place.is_some())
        {
            let message = format!("{} must be more than twice {}", dead.named(), keep.named());
            report_bad_order(reader, dead, keep, &message, "");
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
                "{} is short: a booting machine may hear nothing for 10 s",
                init.named()
            );
            reader.report.warning(
                place,
                message,
                "write 30s or more, so that a slow network is not taken for a dead peer",
            );
        }
    }
}

/// heartbeat starts with a warntime that is not below deadtime, and never warns then; and with one that is not above keepalive,
/// and always warns. Here a node that hears nothing for warntime also counts as having stood still itself, which must not follow
/// from the usual pause between two heartbeats.
fn usable_warntime(reader: &mut HaCfReader<'_>, times: &GivenTimes) -> Option<Duration> {
    let warn = times.warntime.as_ref()?;
    let dead = times.deadtime.as_ref();
    let keep = times.keepalive.as_ref();
    let (wrong, limit, remedy) = match (dead, keep) {
        (Some(dead), _) if warn.time >= dead.time => ("is not below", dead, "a longer deadtime"),
        (_, Some(keep)) if warn.time <= keep.time && warn.place.is_some() => {
            ("is not above", keep, "a shorter keepalive")
        }
        _ => return Some(warn.time),
    };
    let used = dead?.time / 2;
    let message = format!(
        "{} {wrong} {}: {} is used",
        warn.named(),
        limit.named(),
        duration_for_people(used)
    );
    let place = warn.place.as_ref().or(limit.place.as_ref());
    let place = place.unwrap_or(&reader.whole).clone();
    let help = format!("write `warntime {}`, or {remedy}", duration_in_files(used));
    reader.report.warning(&place, message, help);
    Some(used)
}

/// Reports an error where `a` is set, otherwise where `b` is.
fn report_bad_order(
    reader: &mut HaCfReader<'_>,
    a: &GivenTime,
    b: &GivenTime,
    message: &str,
    advice: &str,
) {
    let (place, other) = match (&a.place, &b.place) {
        (Some(place), _) => (place, b),
        (None, Some(place)) => (place, a),
        (None, None) => (&reader.whole, b),
    };
    let help = format!("{}{advice}", other.origin());
    reader.report.error(&place.clone(), message, help);
}

/// The lease of an owner must survive a lost heartbeat and end before another node takes over.
fn judge_margin(reader: &mut HaCfReader<'_>, timing: &Timing, times: &GivenTimes) {
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
                "margin ({}) is too long for deadtime ({}): an owner could never renew its lease",
                duration_for_people(margin),
                duration_for_people(deadtime)
            );
            reader.report.error(
                place,
                message,
                "leave out the directive, or write a fifth of deadtime",
            );
            return;
        }
        if margin < MIN_MARGIN {
            let message = format!(
                "margin ({}) is short: if this machine is busy for longer, it may stop a group only after another node has started it",
                duration_for_people(margin)
            );
            reader.report.warning(place, message, "write 100ms or more");
        }
    }
    let Some(spare) = deadtime.checked_sub(margin) else {
        return;
    };
    if spare >= warntime + keepalive || deadtime <= keepalive * 2 {
        return;
    }
    let place = margin_place
        .or_else(|| times.deadtime.as_ref().and_then(|g| g.place.clone()))
        .or_else(|| times.warntime.as_ref().and_then(|g| g.place.clone()))
        .or_else(|| times.keepalive.as_ref().and_then(|g| g.place.clone()))
        .unwrap_or_else(|| reader.whole.clone());
    let message = format!(
        "deadtime ({}) minus margin ({}) is less than warntime ({}) plus keepalive ({}): one or two lost heartbeats could cost an owner its groups",
        duration_for_people(deadtime),
        duration_for_people(margin),
        duration_for_people(warntime),
        duration_for_people(keepalive)
    );
    let enough = enough_deadtime(timing, reader.settings.contains_key("margin"));
    let mut help = format!("deadtime {} or more leaves room", duration_in_files(enough));
    if let Some(less) = spare.checked_sub(keepalive).filter(|w| *w > keepalive) {
        help = format!("warntime {} or less, or {help}", duration_in_files(less));
    }
    reader.report.warning(&place, message, help);
}

/// Whether there is time, from the moment at which a peer is late, for a relayed heartbeat and its acknowledgement to keep a
/// lease. Rule 27: relayed datagrams are at least 50 ms apart.
pub(super) fn check_relay(reader: &mut HaCfReader<'_>, relay: bool, timing: &Timing) {
    let exchange = timing.keepalive.max(Duration::from_millis(50)) * 2;
    let need = timing.warntime + exchange;
    if relay && timing.lease() < need && timing.lease() >= timing.warntime + timing.keepalive {
        let message = format!(
            "a cut between the nodes may stop groups before relayed heartbeats arrive: deadtime - margin ({}) is less than warntime and two heartbeats ({})",
            duration_for_people(timing.lease()),
            duration_for_people(need)
        );
        let help = "use a shorter warntime or a longer deadtime";
        reader.report.note(&reader.whole, message, help);
    }
}

/// The shortest deadtime that fits the other times.
fn enough_deadtime(timing: &Timing, margin_is_set: bool) -> Duration {
    let need = timing.warntime + timing.keepalive;
    if margin_is_set {
        return need + timing.margin;
    }
    let least = (timing.keepalive * 2).max(MIN_MARGIN);
    (need + least).max(need + need / 4)
}

fn quorum_policy(reader: &mut HaCfReader<'_>) -> QuorumPolicy {
    let nodes = reader.lists.nodes.len();
    let arbiter =
        nodes > 2 || !reader.lists.pings.is_empty() || reader.settings.contains_key("ping");
    let alone = nodes == 2 && !arbiter && !reader.lists.nodes_unclear;
    advise_on_ping_nodes(reader);
    let set = reader
        .text("quorum")
        .and_then(|word| QuorumPolicy::parse(&word));
    match set {
        Some(policy @ (QuorumPolicy::Stop | QuorumPolicy::Freeze)) => {
            warn_of_no_arbiter(reader, alone);
            policy
        }
        Some(policy) => policy,
        None if arbiter => QuorumPolicy::Stop,
        None => {
            if alone && !reader.settings.contains_key("quorum") {
                let message = "two nodes without a ping node have no arbiter: votes are not counted (quorum off)";
                reader.report.note(
                    &reader.whole,
                    message,
                    "add a ping node, such as the gateway: it tells a dead peer from a cut cable",
                );
            }
            QuorumPolicy::Off
        }
    }
}

/// The ping nodes of a pair are its arbiter, for a node that reaches more than half of them.
fn advise_on_ping_nodes(reader: &mut HaCfReader<'_>) {
    let (nodes, pings) = (reader.lists.nodes.len(), reader.lists.pings.len());
    if nodes == 2 && pings > 0 && pings.is_multiple_of(2) && !reader.lists.nodes_unclear {
        let message = format!(
            "{pings} ping nodes: when a node is alone, it goes on only while it reaches {} of them",
            pings / 2 + 1
        );
        let help = "use one or three, or put several addresses into one ping_group";
        reader.report.note(&reader.whole, message, help);
    }
}

fn warn_of_no_arbiter(reader: &mut HaCfReader<'_>, alone: bool) {
    if let (true, Some(setting)) = (alone, reader.settings.get("quorum")) {
        let message =
            "two nodes without a ping node: the loss of either takes quorum from the other";
        reader.report.warning(
            &setting.place,
            message,
            "add a ping node, such as the gateway, a witness or a third node",
        );
    }
}

pub(super) fn read_auto_failback(reader: &mut HaCfReader<'_>, directive: &Directive<'_>) {
    reader.record(directive);
    read_failback(reader, directive, |word| match boolean(word) {
        None if word.eq_ignore_ascii_case("legacy") => Some((true, "`legacy` is treated as `on`")),
        on => on.map(|on| (on, "")),
    });
}

/// The old directive has the opposite meaning: "nice" was not to take groups back.
pub(super) fn read_nice_failback(reader: &mut HaCfReader<'_>, directive: &Directive<'_>) {
    reader.record(directive);
    read_failback(reader, directive, |word| {
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

fn read_failback(
    reader: &mut HaCfReader<'_>,
    directive: &Directive<'_>,
    read: fn(&str) -> Option<(bool, &'static str)>,
) {
    let value = reader.read_once("auto_failback", &ValueForm::Text, directive);
    let (Some(DirectiveValue::Text(text)), Some(word)) = (value, directive.values.first()) else {
        return;
    };
    let meaning = read(&text);
    match meaning {
        None => {
            let message = format!("{} is neither `on` nor `off`", word.quoted());
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
    let value = meaning.map(|(on, _)| DirectiveValue::Flag(on));
    let place = word.place.clone();
    reader.settings.insert(
        "auto_failback",
        GivenDirective {
            value,
            place,
            guessed: false,
        },
    );
}
