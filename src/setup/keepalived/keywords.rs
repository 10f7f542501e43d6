//! What is only remarked, or needs no remark: the keywords of keepalived that have no counterpart.

use super::blocks::Entry;
use super::lexer::may_have_password;
use crate::text::{Place, Problems, Severity, did_you_mean, one_line, quote};

/// A keyword, and how it is remarked.
pub type Row = (&'static str, Treatment);

/// How a keyword without a counterpart is remarked.
#[derive(Clone, Copy, Debug)]
pub enum Treatment {
    /// It needs no remark: had does it by itself, or it only belongs to a line that is remarked.
    Quiet,
    /// What there is instead.
    Note(&'static str),
    /// The same, where something is lost.
    Warning(&'static str),
}

use Treatment::{Note, Quiet, Warning};

/// Mail.
pub const MAIL: &str =
    "had sends no mail: let a program of `notify` in ha.cf do it, or put MailTo into haresources";
/// Users of scripts.
pub const ROOT: &str = "scripts run as root here, and must not be writable by anybody else";
const FIFO: &str = "there is no FIFO: the program that reads it can be a `notify` of ha.cf, which gets the group and its state in HA_NOTIFY_GROUP and HA_NOTIFY_TO";
const GARP: &str = "had announces an address several times by itself, and again when the hardware address or the carrier changes";
const ROUTES: &str = "had adds no routes or rules: write a script of resource.d that does, and put it after the address in haresources";
const BFD: &str = "there is no BFD: ping nodes and checks show whether the network is reached";
const FILE: &str =
    "a value in a file has no counterpart: write a check that reads it, `check NAME exec PROGRAM`";
const VMAC: &str = "there is no virtual MAC: the address moves with gratuitous ARP";
const STOP: &str = "a stop is not told apart: `notify` in ha.cf says that the group is offline";
const LVS: &str = "had is no load balancer: this needs HAProxy, nginx or ipvsadm";

/// Of the file itself.
pub const TOP: &[Row] = &[
    (
        "static_ipaddress",
        Warning("had adds no lasting addresses: let the network configuration of the system do it"),
    ),
    (
        "static_routes",
        Warning("had adds no lasting routes: let the network configuration of the system do it"),
    ),
    (
        "static_rules",
        Warning("had adds no lasting rules: let the network configuration of the system do it"),
    ),
    ("static_track_group", Note(ROUTES)),
    ("track_group", Note(ROUTES)),
    ("vrrp_track_file", Warning(FILE)),
    ("track_file", Warning(FILE)),
    ("bfd_instance", Warning(BFD)),
    ("virtual_server_group", Warning(LVS)),
    ("SSL", Note(LVS)),
    (
        "net_namespace",
        Warning("had runs in the namespace in which it is started"),
    ),
    ("namespace_with_ipsets", Quiet),
    ("linkbeat_interfaces", Quiet),
    ("linkbeat_use_polling", Quiet),
    (
        "interface_up_down_delays",
        Note("an interface that fails counts after a second"),
    ),
    ("garp_group", Note(GARP)),
    ("use_pid_dir", Quiet),
];

/// Of `global_defs`.
pub const GLOBAL: &[Row] = &[
    ("notification_email", Note(MAIL)),
    ("notification_email_from", Quiet),
    ("smtp_server", Quiet),
    ("smtp_helo_name", Quiet),
    ("smtp_connect_timeout", Quiet),
    ("email_faults", Quiet),
    ("no_email_faults", Quiet),
    ("smtp_alert", Note(MAIL)),
    ("smtp_alert_vrrp", Note(MAIL)),
    ("smtp_alert_checker", Quiet),
    ("lvs_id", Quiet),
    ("router_id", Quiet),
    ("script_user", Note(ROOT)),
    ("enable_script_security", Quiet),
    ("notify_fifo", Warning(FIFO)),
    ("notify_fifo_script", Quiet),
    ("vrrp_notify_fifo", Warning(FIFO)),
    ("vrrp_notify_fifo_script", Quiet),
    ("lvs_notify_fifo", Note(LVS)),
    ("lvs_notify_fifo_script", Quiet),
    ("notify_priority_changes", Quiet),
    ("fifo_write_vrrp_states_on_reload", Quiet),
    (
        "startup_script",
        Note("write a unit of systemd that runs before had.service"),
    ),
    (
        "shutdown_script",
        Note("write a unit of systemd that runs after had.service"),
    ),
    ("startup_script_timeout", Quiet),
    ("shutdown_script_timeout", Quiet),
    (
        "vrrp_mcast_group4",
        Note("heartbeats go to each node by itself (ucast); ha.cf has mcast too"),
    ),
    (
        "vrrp_mcast_group6",
        Note("heartbeats go to each node by itself (ucast6); ha.cf has mcast6 too"),
    ),
    ("vrrp_garp_master_delay", Note(GARP)),
    ("vrrp_garp_master_repeat", Quiet),
    ("vrrp_garp_master_refresh_repeat", Quiet),
    ("vrrp_garp_lower_prio_delay", Quiet),
    ("vrrp_garp_lower_prio_repeat", Quiet),
    ("vrrp_garp_interval", Quiet),
    ("vrrp_gna_interval", Quiet),
    ("vrrp_garp_extra_if", Quiet),
    ("vrrp_lower_prio_no_advert", Quiet),
    ("vrrp_higher_prio_send_advert", Quiet),
    ("vrrp_strict", Quiet),
    ("vrrp_iptables", Quiet),
    ("vrrp_ipsets", Quiet),
    ("vrrp_nftables", Quiet),
    ("vrrp_skip_check_adv_addr", Quiet),
    ("vrrp_check_unicast_src", Quiet),
    (
        "vrrp_rt_priority",
        Note("the heartbeat thread asks for real-time priority by itself; see rtprio in ha.cf"),
    ),
    (
        "vrrp_priority",
        Note("the heartbeat thread asks for real-time priority by itself; see rtprio in ha.cf"),
    ),
    ("vrrp_no_swap", Quiet),
    ("vrrp_rlimit_rttime", Quiet),
    ("vrrp_cpu_affinity", Quiet),
    ("vrrp_process_name", Quiet),
    (
        "vrrp_startup_delay",
        Note("initdead in ha.cf is how long a node listens before it takes anything"),
    ),
    (
        "vrrp_down_timer_adverts",
        Note("deadtime in ha.cf is how much silence is a failure"),
    ),
    ("default_interface", Quiet),
    ("nftables", Quiet),
    ("checker_priority", Quiet),
    ("checker_log_all_failures", Quiet),
    ("lvs_sync_daemon", Note(LVS)),
    ("lvs_flush", Quiet),
    ("lvs_timeouts", Note(LVS)),
    ("child_wait_time", Quiet),
    ("dynamic_interfaces", Quiet),
    ("disable_local_igmp", Quiet),
    ("enable_dbus", Note("hactl and its JSON show the state")),
    (
        "enable_snmp_vrrp",
        Note("hactl and its JSON show the state"),
    ),
    (
        "enable_snmp_keepalived",
        Note("hactl and its JSON show the state"),
    ),
    ("enable_traps", Quiet),
    ("reload_time_file", Quiet),
    ("max_auto_priority", Quiet),
    ("process_names", Quiet),
    ("snmp_socket", Quiet),
    ("umask", Quiet),
    (
        "net_namespace",
        Warning("had runs in the namespace in which it is started"),
    ),
    ("use_pid_dir", Quiet),
];

/// Of `vrrp_instance`.
pub const INSTANCE: &[Row] = &[
    ("use_vmac", Note(VMAC)),
    ("vmac_xmit_base", Quiet),
    ("use_ipvlan", Note(VMAC)),
    ("native_ipv6", Quiet),
    (
        "dont_track_primary",
        Note(
            "had always needs the interface of an address: a node without it does not take the group",
        ),
    ),
    ("track_src_ip", Quiet),
    ("lvs_sync_daemon_interface", Note(LVS)),
    ("lvs_sync_daemon_inteface", Note(LVS)),
    ("garp_master_delay", Note(GARP)),
    ("garp_master_repeat", Quiet),
    ("garp_master_refresh_repeat", Quiet),
    ("garp_lower_prio_delay", Quiet),
    ("garp_lower_prio_repeat", Quiet),
    ("garp_extra_if", Quiet),
    (
        "down_timer_adverts",
        Note("deadtime in ha.cf is how much silence is a failure"),
    ),
    ("lower_prio_no_advert", Quiet),
    ("higher_prio_send_advert", Quiet),
    ("unicast_fault_no_peer", Quiet),
    ("check_unicast_src", Quiet),
    ("virtual_routes", Warning(ROUTES)),
    ("virtual_rules", Warning(ROUTES)),
    ("track_file", Warning(FILE)),
    ("track_bfd", Warning(BFD)),
    ("smtp_alert", Note(MAIL)),
    ("notify_stop", Note(STOP)),
    ("notify_deleted", Note(STOP)),
    (
        "notify_master_rx_lower_pri",
        Note("had says in its log and in `hactl status` when a group ran on two nodes"),
    ),
    ("notify_priority_changes", Quiet),
    ("strict_mode", Quiet),
    ("skip_check_adv_addr", Quiet),
    ("accept", Quiet),
    (
        "no_accept",
        Warning("had has no packet filter: who has the address also answers on it"),
    ),
    ("debug", Quiet),
    ("linkbeat_use_polling", Quiet),
    ("mcast_dst_ip", Quiet),
    ("old_unicast_checksum", Quiet),
    (
        "promote_secondaries",
        Note(
            "set net.ipv4.conf.all.promote_secondaries in sysctl.conf if addresses of one network come and go",
        ),
    ),
    ("version", Quiet),
];

/// Of `vrrp_sync_group`.
pub const SYNC_GROUP: &[Row] = &[
    ("smtp_alert", Note(MAIL)),
    ("track_file", Warning(FILE)),
    ("track_bfd", Warning(BFD)),
    ("global_tracking", Quiet),
    ("sync_group_tracking_weight", Quiet),
    ("notify_stop", Note(STOP)),
    ("notify_priority_changes", Quiet),
];

/// Of `vrrp_script`.
pub const SCRIPT: &[Row] = &[
    ("user", Note(ROOT)),
    (
        "init_fail",
        Note("a check that has not passed once counts as failed here too"),
    ),
    ("init_file", Quiet),
];

/// Of `vrrp_track_process`.
pub const PROCESS: &[Row] = &[
    ("quorum", Warning("one such process is enough here")),
    (
        "quorum_max",
        Warning("how many there are at most is not checked"),
    ),
    ("delay", Note("the end of a process is noticed at once")),
    (
        "terminate_delay",
        Note("the end of a process is noticed at once"),
    ),
    ("fork_delay", Quiet),
    ("param_match", Quiet),
    (
        "full_command",
        Note("only the name of the program is compared"),
    ),
];

/// Remarks on a line that nothing else reads. `read` are the keywords that are read in this block.
pub fn remark(entry: &Entry, rows: &[Row], read: &[&str], report: &mut Problems) {
    let keyword = entry.keyword();
    let row = rows.iter().find(|(name, _)| *name == keyword);
    let mut add = |severity, text: &str| {
        let message = format!("`{keyword}` has no counterpart");
        report.add(severity, &entry.place(), message, text);
    };
    match row {
        Some((_, Note(text))) => add(Severity::Note, text),
        Some((_, Warning(text))) => add(Severity::Warning, text),
        Some((_, Quiet)) => {}
        None => {
            let known: Vec<&str> = rows
                .iter()
                .map(|(n, _)| *n)
                .chain(read.iter().copied())
                .collect();
            report_unknown(
                &entry.place(),
                keyword,
                &known,
                !entry.body.is_empty(),
                report,
            );
        }
    }
}

/// An unknown keyword, which keepalived ignores with a line in its log. `block` says whether a block follows it.
pub fn report_unknown(
    place: &Place,
    word: &str,
    known: &[&str],
    block: bool,
    report: &mut Problems,
) {
    if may_have_password(word) {
        return report_unnamed(place, report);
    }
    let rest = if block { ", with its block" } else { "" };
    let message = format!(
        "unknown keyword {}: keepalived ignores it{rest}",
        quote(word)
    );
    let joined = known.iter().find_map(|k| {
        let rest = word.strip_prefix(k)?;
        rest.starts_with(|c: char| c.is_ascii_uppercase() || c.is_ascii_digit())
            .then_some((k, rest))
    });
    let help = match joined {
        Some((keyword, rest)) => format!("a blank is missing: {keyword} {}", one_line(rest, 40)),
        None => did_you_mean(word, known.iter().copied()),
    };
    report.warning(place, message, help);
}

/// An unknown keyword that may be, or have, a password.
pub fn report_unnamed(place: &Place, report: &mut Problems) {
    let message = "unknown keyword, which keepalived ignores; it is not shown, because it may have a password";
    let help = "`authentication` has auth_type and auth_pass, each with a blank and a value";
    report.warning(place, message, help);
}
