//! What is only remarked of a `virtual_server` whose check is taken over.

use super::keywords::{MAIL, ROOT, Row, Treatment};

use Treatment::{Note, Quiet, Warning};

const FORWARDS: &str = "it says how connections are forwarded, and had forwards none";
const QUORUM: &str = "it is for several real servers, and here the only one is this machine";
const CALLED: &str =
    "a program of `notify` in ha.cf is called when the group has started or stopped";
const FIRST: &str = "a check that has not passed once counts as failed here too";
const BINDS: &str = "the check takes any address of this machine as its source";
const VHOST: &str = "the request asks for the address: to name a host, write a check with curl, `check NAME exec PROGRAM`";
const PAGE: &str = "the page is not compared: `contains WORD` of the probe http looks for one word";
const NO_PROBE: &str = "there is no such probe: write a program, and `check NAME exec PROGRAM`";
const RETRIES: &str = "the time between two checks is `every`, also after a failure";

/// Of `virtual_server`.
pub const VIRTUAL: &[Row] = &[
    ("lb_algo", Note(FORWARDS)),
    ("lvs_sched", Note(FORWARDS)),
    ("lb_kind", Note(FORWARDS)),
    ("lvs_method", Note(FORWARDS)),
    ("protocol", Note(FORWARDS)),
    ("ip_family", Quiet),
    ("nat_mask", Note(FORWARDS)),
    ("persistence_timeout", Note(FORWARDS)),
    ("persistence_granularity", Note(FORWARDS)),
    ("persistence_engine", Note(FORWARDS)),
    ("hashed", Note(FORWARDS)),
    ("ops", Note(FORWARDS)),
    ("flag-1", Note(FORWARDS)),
    ("flag-2", Note(FORWARDS)),
    ("flag-3", Note(FORWARDS)),
    ("weight", Note(FORWARDS)),
    ("virtualhost", Warning(VHOST)),
    ("sorry_server", Warning(FORWARDS)),
    ("sorry_server_inhibit", Note(FORWARDS)),
    ("sorry_server_lvs_method", Note(FORWARDS)),
    ("inhibit_on_failure", Note(FORWARDS)),
    (
        "ha_suspend",
        Note("a check runs on every node, with and without the address"),
    ),
    ("alpha", Note(FIRST)),
    ("omega", Note(FORWARDS)),
    ("quorum", Note(QUORUM)),
    ("quorum_up", Warning(CALLED)),
    ("quorum_down", Warning(CALLED)),
    ("hysteresis", Note(QUORUM)),
    ("smtp_alert", Note(MAIL)),
    ("delay_before_retry", Note(RETRIES)),
    ("warmup", Quiet),
    ("log_all_failures", Quiet),
    ("snmp_name", Quiet),
];

/// Of `real_server`.
pub const REAL: &[Row] = &[
    ("weight", Note(FORWARDS)),
    ("lvs_method", Note(FORWARDS)),
    ("uthreshold", Note(FORWARDS)),
    ("lthreshold", Note(FORWARDS)),
    ("inhibit_on_failure", Note(FORWARDS)),
    ("virtualhost", Warning(VHOST)),
    ("notify_up", Warning(CALLED)),
    ("alpha", Note(FIRST)),
    ("smtp_alert", Note(MAIL)),
    ("delay_before_retry", Note(RETRIES)),
    ("warmup", Quiet),
    ("log_all_failures", Quiet),
    ("snmp_name", Quiet),
    ("SMTP_CHECK", Warning(NO_PROBE)),
    ("DNS_CHECK", Warning(NO_PROBE)),
    ("UDP_CHECK", Warning(NO_PROBE)),
    ("PING_CHECK", Warning(NO_PROBE)),
    ("FILE_CHECK", Warning(NO_PROBE)),
    ("BFD_CHECK", Warning(NO_PROBE)),
];

/// Of the check in it.
pub const CHECK: &[Row] = &[
    (
        "connect_ip",
        Warning(
            "the check asks the loopback address: if the service listens only here, write this address into its line in ha.cf",
        ),
    ),
    ("bindto", Note(BINDS)),
    ("bind_port", Note(BINDS)),
    ("bind_if", Note(BINDS)),
    ("fwmark", Note(BINDS)),
    ("virtualhost", Warning(VHOST)),
    ("http_protocol", Quiet),
    ("enable_sni", Quiet),
    ("tls_compliant", Quiet),
    ("fast_recovery", Quiet),
    ("delay_before_retry", Note(RETRIES)),
    ("warmup", Quiet),
    ("alpha", Note(FIRST)),
    ("log_all_failures", Quiet),
    (
        "misc_dynamic",
        Warning("an exit code from 2 on was a success with another weight; here it is a failure"),
    ),
    ("user", Note(ROOT)),
];

/// Of a page in `HTTP_GET`.
pub const URL: &[Row] = &[
    ("digest", Warning(PAGE)),
    ("regex", Warning(PAGE)),
    ("regex_no_match", Quiet),
    ("regex_options", Quiet),
    ("regex_stack", Quiet),
    ("virtualhost", Warning(VHOST)),
    ("tls_compliant", Quiet),
];
