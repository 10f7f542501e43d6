//! Every directive with what becomes of it.

use super::{Reader, Statement, health, media, members, programs, timing};

/// What becomes of a directive.
pub(super) enum Rule {
    /// One value, at most once.
    One(Shape),
    /// The same, and unknown to heartbeat 3.0.6: not passed on to scripts.
    Ours(Shape),
    /// One value, at most once, checked and then without effect: why.
    Idle(Shape, &'static str),
    /// A syntax of its own.
    Own(fn(&mut Reader<'_>, &Statement<'_>)),
    /// Refused: why, and what to do.
    Refused(&'static str, &'static str),
}

/// What the one value of a directive must be.
pub(super) enum Shape {
    /// A time above zero.
    Time,
    /// A time or zero.
    Delay,
    /// on or off.
    Flag,
    /// A whole number between two bounds.
    Number(u32, u32),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Any word.
    Text,
    /// A path from the root.
    Path,
    /// How much disk, or off, which is zero.
    Size,
}

impl Shape {
    /// For "needs ..." and "is not ...".
    pub fn wanted(&self) -> String {
        match self {
            Shape::Time | Shape::Delay => "a time".to_owned(),
            Shape::Flag => "on or off".to_owned(),
            Shape::Number(least, most) => format!("a number from {least} to {most}"),
            Shape::OneOf(words) => format!("one of {}", words.join(", ")),
            Shape::Text => "a word".to_owned(),
            Shape::Path => "a path".to_owned(),
            Shape::Size => "off or a size from 1M to 1G".to_owned(),
        }
    }
}

const BAUD: &[&str] = &[
    "9600", "19200", "38400", "57600", "115200", "230400", "460800",
];
const FACILITIES: &[&str] = &[
    "none", "auth", "authpriv", "cron", "daemon", "ftp", "kern", "lpr", "mail", "news", "syslog",
    "user", "uucp", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
const NO_SERIAL: &str = "heartbeats travel over IP here";
const USE_IP: &str = "use ucast, mcast or bcast on a second interface";
const NOT_BUILT: &str = "heartbeat itself was seldom built with it";
const NO_FENCING: &str =
    "fencing by plugins is not there, and to go on as if it were would be dangerous";
const FENCE_HELP: &str = "remove the line only if you accept a cluster without it; a ping node or a third node gives quorum instead";
const PACEMAKER: &str = "there is no Pacemaker here";

/// All of them.
const TABLE: &[(&str, Rule)] = &[
    // Who and how.
    ("node", Rule::Own(members::node)),
    ("ping", Rule::Own(members::ping)),
    ("ping6", Rule::Own(members::ping6)),
    ("ping_group", Rule::Own(members::ping_group)),
    ("bcast", Rule::Own(media::bcast)),
    ("udp", Rule::Own(media::udp)),
    ("ucast", Rule::Own(media::ucast)),
    ("ucast6", Rule::Own(media::ucast6)),
    ("mcast", Rule::Own(media::mcast)),
    ("mcast6", Rule::Own(media::mcast6)),
    ("udpport", Rule::Own(media::udpport_directive)),
    ("serial", Rule::Refused(NO_SERIAL, USE_IP)),
    ("baud", Rule::Idle(Shape::OneOf(BAUD), NO_SERIAL)),
    ("hbaping", Rule::Refused(NOT_BUILT, "use ping")),
    ("rds", Rule::Refused(NOT_BUILT, USE_IP)),
    ("tipc", Rule::Refused(NOT_BUILT, USE_IP)),
    ("openais", Rule::Refused(NOT_BUILT, USE_IP)),
    ("autojoin", Rule::Own(members::autojoin)),
    ("cluster", Rule::Own(members::cluster)),
    (
        "quorum_server",
        Rule::Idle(
            Shape::Text,
            "no such server is asked; use ping nodes or a third node",
        ),
    ),
    // When.
    ("keepalive", Rule::One(Shape::Time)),
    ("warntime", Rule::One(Shape::Time)),
    ("deadtime", Rule::One(Shape::Time)),
    ("initdead", Rule::One(Shape::Time)),
    ("deadping", Rule::One(Shape::Time)),
    ("margin", Rule::Ours(Shape::Time)),
    ("lease", Rule::Ours(Shape::Flag)),
    (
        "quorum",
        Rule::Ours(Shape::OneOf(&["stop", "freeze", "ignore", "off"])),
    ),
    ("auto_failback", Rule::Own(timing::auto_failback)),
    ("nice_failback", Rule::Own(timing::nice_failback)),
    ("failback_delay", Rule::Ours(Shape::Delay)),
    ("timeout", Rule::Own(programs::timeout)),
    ("monitor", Rule::Own(health::monitor)),
    ("check", Rule::Own(health::check)),
    ("failback_when", Rule::Own(health::failback_when)),
    ("notify", Rule::Own(programs::notify)),
    // Fencing.
    ("stonith", Rule::Refused(NO_FENCING, FENCE_HELP)),
    ("stonith_host", Rule::Refused(NO_FENCING, FENCE_HELP)),
    (
        "watchdog",
        Rule::Idle(Shape::Path, "the watchdog device is not used yet"),
    ),
    // Children and their world.
    ("respawn", Rule::Own(programs::respawn)),
    ("failfast", Rule::Own(programs::failfast)),
    ("apiauth", Rule::Own(programs::apiauth)),
    ("env", Rule::Own(programs::env)),
    // Logs.
    ("logfile", Rule::One(Shape::Path)),
    ("debugfile", Rule::One(Shape::Path)),
    ("logfacility", Rule::One(Shape::OneOf(FACILITIES))),
    ("debug", Rule::One(Shape::Number(0, 255))),
    ("log_badpack", Rule::One(Shape::Flag)),
    (
        "use_logd",
        Rule::Idle(
            Shape::Flag,
            "logs are written directly, as logfile, debugfile and logfacility say",
        ),
    ),
    (
        "conn_logd_time",
        Rule::Idle(Shape::Time, "logs are written directly"),
    ),
    (
        "syslogmsgfmt",
        Rule::Idle(Shape::Flag, "the log has one format"),
    ),
    ("record", Rule::Ours(Shape::Size)),
    // The process.
    ("realtime", Rule::One(Shape::Flag)),
    ("rtprio", Rule::One(Shape::Number(1, 99))),
    (
        "memreserve",
        Rule::Idle(
            Shape::Number(1, 999_999_999),
            "memory is locked, not reserved",
        ),
    ),
    (
        "coredumps",
        Rule::Idle(Shape::Flag, "the system decides about core files"),
    ),
    (
        "coreroot",
        Rule::Idle(Shape::Path, "the system decides about core files"),
    ),
    (
        "normalpoll",
        Rule::Idle(Shape::Flag, "there is nothing of the kind to choose"),
    ),
    (
        "use_apphbd",
        Rule::Idle(
            Shape::Flag,
            "there is no apphbd; systemd watches the daemon",
        ),
    ),
    // The protocol.
    ("hbgenmethod", Rule::One(Shape::OneOf(&["file", "time"]))),
    ("uuidfrom", Rule::One(Shape::OneOf(&["file", "nodename"]))),
    ("hopfudge", Rule::One(Shape::Number(0, 255))),
    (
        "msgfmt",
        Rule::Idle(
            Shape::OneOf(&["classic", "netstring"]),
            "heartbeats are always netstrings, as in 3.0.6",
        ),
    ),
    (
        "compression",
        Rule::Idle(
            Shape::OneOf(&["zlib", "bz2"]),
            "heartbeats are small and are not compressed",
        ),
    ),
    (
        "compression_threshold",
        Rule::Idle(
            Shape::Number(1, 999_999_999),
            "heartbeats are not compressed",
        ),
    ),
    (
        "traditional_compression",
        Rule::Idle(Shape::Flag, "heartbeats are not compressed"),
    ),
    (
        "max_rexmit_delay",
        Rule::Idle(
            Shape::Number(1, 999_999_999),
            "nothing is sent again: each heartbeat is complete",
        ),
    ),
    // Pacemaker.
    ("crm", Rule::Own(members::crm)),
    ("pacemaker", Rule::Own(members::crm)),
    ("crm_daemon_dir", Rule::Idle(Shape::Path, PACEMAKER)),
    ("crmd_spawns_pengine", Rule::Idle(Shape::Flag, PACEMAKER)),
    ("record_config_changes", Rule::Idle(Shape::Flag, PACEMAKER)),
    ("record_pengine_inputs", Rule::Idle(Shape::Flag, PACEMAKER)),
    ("enable_config_writes", Rule::Idle(Shape::Flag, PACEMAKER)),
];

/// What heartbeat records for scripts where ha.cf says nothing, besides the times.
pub(super) const DEFAULTS: [(&str, &str); 10] = [
    ("udpport", "694"),
    ("baud", "19200"),
    ("hopfudge", "1"),
    ("realtime", "true"),
    ("coredumps", "true"),
    ("log_badpack", "true"),
    ("hbgenmethod", "file"),
    ("uuidfrom", "file"),
    ("autojoin", "none"),
    ("cluster", "linux-ha"),
];

/// The rule of a directive.
pub(super) fn find(name: &str) -> Option<(&'static str, &'static Rule)> {
    TABLE.iter().find(|(n, _)| *n == name).map(|(n, r)| (*n, r))
}

/// The names of all.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_directive_has_two_rules() {
        let all: Vec<_> = names().collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }

    #[test]
    fn every_directive_of_heartbeat_has_a_rule() {
        let all = "node bcast udp ucast mcast ucast6 mcast6 serial ping ping6 ping_group hbaping rds tipc openais \
            udpport baud keepalive deadtime warntime initdead deadping auto_failback nice_failback stonith stonith_host \
            watchdog respawn failfast apiauth env logfile debugfile logfacility use_logd conn_logd_time syslogmsgfmt \
            debug log_badpack coredumps coreroot realtime rtprio memreserve hopfudge hbgenmethod uuidfrom autojoin \
            cluster quorum_server msgfmt compression compression_threshold traditional_compression max_rexmit_delay \
            normalpoll use_apphbd pacemaker crm crm_daemon_dir crmd_spawns_pengine record_config_changes \
            record_pengine_inputs enable_config_writes";
        for name in all.split_whitespace() {
            assert!(find(name).is_some(), "{name}");
        }
    }

    #[test]
    fn every_default_belongs_to_a_directive() {
        for (name, _) in DEFAULTS {
            assert!(find(name).is_some(), "{name}");
        }
    }
}
