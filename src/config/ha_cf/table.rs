//! The table of all directives.

use super::{
    Directive, HaCfReader, compare, fence, health, media, members, notify, programs, timing,
};

/// How a directive is treated.
pub(super) enum DirectiveRule {
    /// It has one value and may occur once.
    Value(ValueForm),
    /// The same, but heartbeat does not know it, so it is not passed to scripts.
    NewValue(ValueForm),
    /// It has one value, which is checked and has no effect: why.
    NoEffect(ValueForm, &'static str),
    /// It has a syntax of its own.
    Custom(fn(&mut HaCfReader<'_>, &Directive<'_>)),
    /// It is refused: why, and what to do.
    Refused(&'static str, &'static str),
}

/// The form of a single value.
pub(super) enum ValueForm {
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
    /// A size on disk, or off, which is zero.
    Size,
}

impl ValueForm {
    /// The words after "needs".
    pub fn wanted(&self) -> String {
        match self {
            ValueForm::Time | ValueForm::Delay => "a time".to_owned(),
            ValueForm::Flag => "on or off".to_owned(),
            ValueForm::Number(least, most) => format!("a number from {least} to {most}"),
            ValueForm::OneOf(words) => format!("one of {}", words.join(", ")),
            ValueForm::Text => "a word".to_owned(),
            ValueForm::Path => "a path".to_owned(),
            ValueForm::Size => "off or a size from 1M to 1G".to_owned(),
        }
    }

    /// The words after a value that has another form.
    pub fn refusal(&self) -> String {
        match self {
            ValueForm::Flag => "is neither `on` nor `off`".to_owned(),
            ValueForm::Size => "is neither `off` nor a size from 1M to 1G".to_owned(),
            other => format!("is not {}", other.wanted()),
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
pub(super) const NO_SERIAL: &str = "heartbeats are sent over IP only";
pub(super) const USE_IP: &str = "use ucast, mcast or bcast on a second interface";
const NOT_BUILT: &str = "had does not implement it";
const NO_FENCING: &str = "the daemon has no STONITH plugins, and running without the fencing that this file asks for could destroy data";
const FENCE_HELP: &str = "write a `fence` line for each node, with an agent of the package fence-agents: fence alice fence_ipmilan ip=10.0.5.1 username=admin lanplus=1";
const PACEMAKER: &str = "had does not work with Pacemaker";

/// All directives.
const TABLE: &[(&str, DirectiveRule)] = &[
    // Members and media.
    ("node", DirectiveRule::Custom(members::read_node)),
    ("witness", DirectiveRule::Custom(members::read_witness)),
    ("ping", DirectiveRule::Custom(members::read_ping)),
    ("ping6", DirectiveRule::Custom(members::read_ping6)),
    (
        "ping_group",
        DirectiveRule::Custom(members::read_ping_group),
    ),
    ("bcast", DirectiveRule::Custom(media::read_bcast)),
    ("udp", DirectiveRule::Custom(media::read_udp)),
    ("ucast", DirectiveRule::Custom(media::read_ucast)),
    ("ucast6", DirectiveRule::Custom(media::read_ucast6)),
    ("mcast", DirectiveRule::Custom(media::read_mcast)),
    ("mcast6", DirectiveRule::Custom(media::read_mcast6)),
    ("udpport", DirectiveRule::Custom(media::read_udpport)),
    ("serial", DirectiveRule::Custom(media::read_serial)),
    (
        "baud",
        DirectiveRule::NoEffect(ValueForm::OneOf(BAUD), NO_SERIAL),
    ),
    ("hbaping", DirectiveRule::Refused(NOT_BUILT, "use ping")),
    ("rds", DirectiveRule::Refused(NOT_BUILT, USE_IP)),
    ("tipc", DirectiveRule::Refused(NOT_BUILT, USE_IP)),
    ("openais", DirectiveRule::Refused(NOT_BUILT, USE_IP)),
    ("autojoin", DirectiveRule::Custom(members::read_autojoin)),
    ("cluster", DirectiveRule::Custom(members::read_cluster)),
    (
        "quorum_server",
        DirectiveRule::NoEffect(
            ValueForm::Text,
            "quorum servers are not supported; use a witness, ping nodes or a third node",
        ),
    ),
    // Times, quorum, failback and health.
    ("keepalive", DirectiveRule::Value(ValueForm::Time)),
    ("warntime", DirectiveRule::Value(ValueForm::Time)),
    ("deadtime", DirectiveRule::Value(ValueForm::Time)),
    ("initdead", DirectiveRule::Value(ValueForm::Time)),
    ("deadping", DirectiveRule::Value(ValueForm::Time)),
    ("margin", DirectiveRule::NewValue(ValueForm::Time)),
    ("lease", DirectiveRule::NewValue(ValueForm::Flag)),
    ("relay", DirectiveRule::NewValue(ValueForm::Flag)),
    (
        "quorum",
        DirectiveRule::NewValue(ValueForm::OneOf(&["stop", "freeze", "ignore", "off"])),
    ),
    (
        "auto_failback",
        DirectiveRule::Custom(timing::read_auto_failback),
    ),
    (
        "nice_failback",
        DirectiveRule::Custom(timing::read_nice_failback),
    ),
    ("failback_delay", DirectiveRule::NewValue(ValueForm::Delay)),
    (
        "follow_connectivity",
        DirectiveRule::NewValue(ValueForm::Flag),
    ),
    ("timeout", DirectiveRule::Custom(programs::read_timeout)),
    (
        "takeover_waits",
        DirectiveRule::Custom(programs::read_takeover_waits),
    ),
    ("monitor", DirectiveRule::Custom(health::read_monitor)),
    ("check", DirectiveRule::Custom(health::read_check)),
    (
        "failback_when",
        DirectiveRule::Custom(health::read_failback_when),
    ),
    ("notify", DirectiveRule::Custom(notify::read_notify)),
    ("compare", DirectiveRule::Custom(compare::read_compare)),
    // Fencing.
    ("fence", DirectiveRule::Custom(fence::read_fence)),
    (
        "fence_action",
        DirectiveRule::NewValue(ValueForm::OneOf(&["reboot", "off"])),
    ),
    ("fence_delay", DirectiveRule::NewValue(ValueForm::Delay)),
    (
        "fence_for",
        DirectiveRule::NewValue(ValueForm::OneOf(&["storage", "all"])),
    ),
    ("stonith", DirectiveRule::Refused(NO_FENCING, FENCE_HELP)),
    (
        "stonith_host",
        DirectiveRule::Refused(NO_FENCING, FENCE_HELP),
    ),
    (
        "watchdog",
        DirectiveRule::NoEffect(ValueForm::Path, "watchdog devices are not used"),
    ),
    // Programs.
    ("respawn", DirectiveRule::Custom(programs::read_respawn)),
    ("failfast", DirectiveRule::Custom(programs::read_failfast)),
    ("apiauth", DirectiveRule::Custom(programs::read_apiauth)),
    ("env", DirectiveRule::Custom(programs::read_env)),
    // Logs.
    ("logfile", DirectiveRule::Value(ValueForm::Path)),
    ("debugfile", DirectiveRule::Value(ValueForm::Path)),
    (
        "logfacility",
        DirectiveRule::Value(ValueForm::OneOf(FACILITIES)),
    ),
    ("debug", DirectiveRule::Value(ValueForm::Number(0, 255))),
    ("log_badpack", DirectiveRule::Value(ValueForm::Flag)),
    (
        "use_logd",
        DirectiveRule::NoEffect(
            ValueForm::Flag,
            "logs are written directly, as logfile, debugfile and logfacility say",
        ),
    ),
    (
        "conn_logd_time",
        DirectiveRule::NoEffect(ValueForm::Time, "logs are written directly"),
    ),
    (
        "syslogmsgfmt",
        DirectiveRule::NoEffect(ValueForm::Flag, "the log has one format"),
    ),
    ("record", DirectiveRule::NewValue(ValueForm::Size)),
    // The process.
    ("realtime", DirectiveRule::Value(ValueForm::Flag)),
    ("rtprio", DirectiveRule::Value(ValueForm::Number(1, 99))),
    (
        "memreserve",
        DirectiveRule::NoEffect(
            ValueForm::Number(1, 999_999_999),
            "memory is locked, not reserved",
        ),
    ),
    (
        "coredumps",
        DirectiveRule::NoEffect(
            ValueForm::Flag,
            "core dumps follow the limits and core_pattern of the system (systemd: LimitCORE=)",
        ),
    ),
    (
        "coreroot",
        DirectiveRule::NoEffect(
            ValueForm::Path,
            "core dumps follow the limits and core_pattern of the system (systemd: LimitCORE=)",
        ),
    ),
    (
        "normalpoll",
        DirectiveRule::NoEffect(ValueForm::Flag, "there is only one way to poll"),
    ),
    (
        "use_apphbd",
        DirectiveRule::NoEffect(
            ValueForm::Flag,
            "apphbd is not used; the service manager restarts the daemon",
        ),
    ),
    // The protocol.
    (
        "hbgenmethod",
        DirectiveRule::Value(ValueForm::OneOf(&["file", "time"])),
    ),
    (
        "uuidfrom",
        DirectiveRule::Value(ValueForm::OneOf(&["file", "nodename"])),
    ),
    ("hopfudge", DirectiveRule::Value(ValueForm::Number(0, 255))),
    (
        "msgfmt",
        DirectiveRule::NoEffect(
            ValueForm::OneOf(&["classic", "netstring"]),
            "heartbeats are always sent as netstrings",
        ),
    ),
    (
        "compression",
        DirectiveRule::NoEffect(
            ValueForm::OneOf(&["zlib", "bz2"]),
            "heartbeats are small and are not compressed",
        ),
    ),
    (
        "compression_threshold",
        DirectiveRule::NoEffect(
            ValueForm::Number(1, 999_999_999),
            "heartbeats are not compressed",
        ),
    ),
    (
        "traditional_compression",
        DirectiveRule::NoEffect(ValueForm::Flag, "heartbeats are not compressed"),
    ),
    (
        "max_rexmit_delay",
        DirectiveRule::NoEffect(
            ValueForm::Number(1, 999_999_999),
            "heartbeats are not retransmitted: each one is complete",
        ),
    ),
    // Pacemaker.
    ("crm", DirectiveRule::Custom(members::read_crm)),
    ("pacemaker", DirectiveRule::Custom(members::read_crm)),
    (
        "crm_daemon_dir",
        DirectiveRule::NoEffect(ValueForm::Path, PACEMAKER),
    ),
    (
        "crmd_spawns_pengine",
        DirectiveRule::NoEffect(ValueForm::Flag, PACEMAKER),
    ),
    (
        "record_config_changes",
        DirectiveRule::NoEffect(ValueForm::Flag, PACEMAKER),
    ),
    (
        "record_pengine_inputs",
        DirectiveRule::NoEffect(ValueForm::Flag, PACEMAKER),
    ),
    (
        "enable_config_writes",
        DirectiveRule::NoEffect(ValueForm::Flag, PACEMAKER),
    ),
];

/// What heartbeat passes to scripts where ha.cf has no such directive, besides the times.
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

/// Whether heartbeat knows this directive, too.
pub(super) fn is_of_heartbeat(name: &str) -> bool {
    find(name).is_some_and(|(_, rule)| !matches!(rule, DirectiveRule::NewValue(_)))
}

/// The directive of that name.
pub(super) fn find(name: &str) -> Option<(&'static str, &'static DirectiveRule)> {
    TABLE.iter().find(|(n, _)| *n == name).map(|(n, r)| (*n, r))
}

/// The names of all directives.
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
