//! Reads `ha.cf`: one directive on a line, followed by its values. A comment begins with `#` anywhere.
//!
//! `table.rs` lists every directive, including all of heartbeat 3.0.6, and how it is treated.

mod compare;
mod fence;
mod health;
mod media;
mod members;
mod notify;
mod probe;
mod programs;
mod settings;
mod table;
mod timing;
pub mod what_if;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::fence::FenceLine;
use self::settings::{DirectiveValue, GivenDirective};
use self::table::DirectiveRule;
use super::HostFacts;
use super::{Config, HealthRules, Logging, NotifyRule, Respawn, TakeoverWaitRule, TimeoutRule};
use crate::model::cluster::{Cluster, PingNode, Timing};
use crate::model::keys::Keys;
use crate::model::medium::Medium;
use crate::model::{LinkName, NodeName};
use crate::text::nearest;
use crate::text::{Place, Problems, Severity};
use crate::text::{SourceLine, SourceWord, is_blank, split_lines};

/// What `ha.cf` says, as far as it could be read. It is incomplete where the report has errors.
#[derive(Clone, Debug)]
pub struct HaCf {
    /// The configuration, still without what the folder and the other files say.
    pub config: Config,
    /// What the other files are checked against, with its places.
    pub lists: Lists,
}

/// The directives that `ha.cf` may have several times.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    /// The members, witnesses too.
    pub nodes: Vec<(NodeName, Place)>,
    /// Those of them that are witnesses.
    pub witnesses: Vec<NodeName>,
    /// Whether a `node` line could not be read, so that a node may be missing above.
    pub nodes_unclear: bool,
    /// The media, each with the place that a problem points at.
    pub media: Vec<(Medium, Place)>,
    /// The ping nodes and ping groups.
    pub pings: Vec<PingNode>,
    /// Every address that is pinged, with its place.
    pub pinged: BTreeMap<IpAddr, Place>,
    /// The programs to run as children.
    pub respawn: Vec<Respawn>,
    /// Where ipfail is configured.
    pub ipfail: Option<Place>,
    /// The variables for scripts.
    pub env: Vec<(String, String)>,
    /// The deadlines of actions.
    pub timeouts: Vec<(TimeoutRule, Place)>,
    /// For which resources a takeover waits.
    pub takeover_waits: Vec<(TakeoverWaitRule, Place)>,
    /// The monitors and checks.
    pub health: HealthRules,
    /// How nodes are fenced.
    pub fence: Vec<FenceLine>,
    /// Whether a `fence` line could not be read.
    pub fence_unclear: bool,
    /// The programs that are notified.
    pub notify: Vec<NotifyRule>,
    /// What must have the same content on every node.
    pub compare: Vec<PathBuf>,
}

/// Reads the text of `ha.cf`.
pub fn parse(text: &str, file: &Path, machine: &HostFacts, report: &mut Problems) -> HaCf {
    let mut reader = HaCfReader {
        machine,
        report,
        whole: Place::whole(file),
        settings: BTreeMap::new(),
        once: BTreeMap::new(),
        directives: Vec::new(),
        lists: Lists::default(),
        media_seen: false,
        missing_interfaces: Vec::new(),
        serial_lines: Vec::new(),
    };
    let crlf = (Severity::Warning, "the CR is ignored");
    let mut commented = false;
    for line in split_lines(text, file, crlf, reader.report) {
        if reader.report.is_full() {
            break;
        }
        reader.read_line(&line, commented);
        commented = line.text.contains('#');
    }
    reader.finish()
}

struct HaCfReader<'a> {
    machine: &'a HostFacts,
    report: &'a mut Problems,
    whole: Place,
    settings: BTreeMap<&'static str, GivenDirective>,
    /// Names that may occur only once, with the line where each does: a kind of thing and its name.
    once: BTreeMap<(&'static str, String), usize>,
    directives: Vec<(String, String)>,
    lists: Lists,
    media_seen: bool,
    /// The interfaces that this machine does not have, with what may help.
    missing_interfaces: Vec<(SourceWord, String)>,
    /// The lines with a medium that is not IP.
    serial_lines: Vec<Place>,
}

/// A line with a directive.
struct Directive<'a> {
    line: &'a SourceLine,
    name: SourceWord,
    /// The values, split at blanks and commas.
    values: Vec<SourceWord>,
}

impl Directive<'_> {
    /// The values, split at blanks only.
    fn plain_values(&self) -> Vec<SourceWord> {
        self.line.words(is_blank).into_iter().skip(1).collect()
    }
}

impl HaCfReader<'_> {
    fn read_line(&mut self, line: &SourceLine, after_comment: bool) {
        let mut values = line.words(|c| is_blank(c) || c == ',').into_iter();
        let Some(name) = values.next() else { return };
        let directive = Directive {
            line,
            name,
            values: values.collect(),
        };
        let rule = table::find(&directive.name.text);
        if rule.is_none() && directive.name.unreadable().is_none() {
            return self.report_unknown(&directive.name, after_comment);
        }
        let all = std::iter::once(&directive.name).chain(&directive.values);
        for word in all {
            if let Some((message, help)) = word.unreadable() {
                self.report.error(&word.place, message, help);
                let name = &directive.name;
                let odd = |c: char| !c.is_ascii_alphanumeric() && c != '_';
                let meant = name.text.split(odd).next().unwrap_or("");
                return self.assume_given(meant, &name.place);
            }
        }
        if let Some((name, rule)) = rule {
            self.apply_rule(name, rule, &directive);
        }
    }

    /// Remembers that a line which cannot be read seems to set `name`, so that its absence is not reported too.
    fn assume_given(&mut self, name: &str, place: &Place) {
        let slot = match name {
            "node" | "witness" => return self.lists.nodes_unclear = true,
            "bcast" | "udp" | "ucast" | "ucast6" | "mcast" | "mcast6" | "serial" => {
                return self.media_seen = true;
            }
            "ping" | "ping6" | "ping_group" => "ping",
            "nice_failback" => "auto_failback",
            "pacemaker" => "crm",
            other => other,
        };
        if let Some((slot, _)) = table::find(slot) {
            self.settings.entry(slot).or_insert(GivenDirective {
                value: None,
                place: place.clone(),
                guessed: true,
            });
        }
    }

    fn apply_rule(&mut self, name: &'static str, rule: &DirectiveRule, directive: &Directive) {
        match rule {
            DirectiveRule::Value(form) => {
                self.record(directive);
                self.read_once(name, form, directive);
            }
            DirectiveRule::NewValue(form) => {
                self.read_once(name, form, directive);
            }
            DirectiveRule::NoEffect(form, why) => {
                self.record(directive);
                if self.read_once(name, form, directive).is_some() {
                    let message = format!("`{name}` has no effect: {why}");
                    self.report.warning(&directive.name.place, message, "");
                }
            }
            DirectiveRule::Custom(read) => read(self, directive),
            DirectiveRule::Refused(why, help) => {
                self.assume_given(name, &directive.name.place);
                let message = format!("`{name}` is not supported: {why}");
                self.report.error(&directive.name.place, message, *help);
            }
        }
    }

    /// Refuses a name that occurs a second time. Returns whether this is the first time.
    fn claim_name(&mut self, kind: &'static str, name: &str, place: &Place) -> bool {
        match self.once.get(&(kind, name.to_owned())) {
            None => {
                self.once.insert((kind, name.to_owned()), place.line);
                true
            }
            Some(line) => {
                let message = format!("{kind} `{name}` is already on line {line}");
                self.report.error(place, message, "remove one of the two");
                false
            }
        }
    }

    /// Warns of a name that occurs a second time and changes nothing. Returns whether this is the first time.
    fn claim_or_ignore(&mut self, kind: &'static str, name: &str, place: &Place) -> bool {
        let before = self.once.get(&(kind, name.to_owned())).copied();
        let Some(line) = before else {
            return self.claim_name(kind, name, place);
        };
        let message =
            format!("{kind} `{name}` is already on line {line}; this one changes nothing");
        self.report.warning(place, message, "remove one of the two");
        false
    }

    fn report_unknown(&mut self, name: &SourceWord, after_comment: bool) {
        let word = &name.text;
        let stem = word.split(['=', ':']).next().unwrap_or("");
        let stem_known = stem.len() < word.len() && table::find(stem).is_some();
        let near = nearest(word, table::names());
        let help = if stem_known {
            format!("write `{stem}`, a space and the value: ha.cf has no `=` or `:`")
        } else if let Some(near) = near {
            format!("did you mean `{near}`?")
        } else if after_comment && name.place.column == 1 {
            "if this belongs to the comment on the line above, begin it with `#`".to_owned()
        } else {
            String::new()
        };
        if let Some(meant) = if stem_known { Some(stem) } else { near } {
            self.assume_given(meant, &name.place);
        }
        self.report.error(
            &name.place,
            format!("unknown directive {}", name.quoted()),
            help,
        );
    }

    fn finish(mut self) -> HaCf {
        self.judge_presence();
        media::report_missing_interfaces(&mut self);
        media::report_serial_lines(&mut self);
        let auto_failback = self.auto_failback();
        let (timing, quorum) = timing::read_timing(&mut self);
        let directives = self.with_defaults(&timing, auto_failback);
        media::name_links(&mut self.lists.media);
        let (nodes, pings) = (self.lists.nodes.len(), self.lists.pings.len());
        let relay_by_default = Cluster::relays_by_default(nodes, pings);
        let relay = self.flag("relay", relay_by_default);
        timing::check_relay(&mut self, relay, &timing);
        let (fence_devices, fencing) = fence::finish(&mut self);
        let follow_connectivity = self.follow_connectivity();
        let lists = &mut self.lists;
        let mut links: Vec<LinkName> = Vec::new();
        for (medium, _) in &lists.media {
            if !links.contains(&medium.link) {
                links.push(medium.link.clone());
            }
        }
        let config = Config {
            dir: PathBuf::new(),
            node: NodeName::new(""),
            groups: Vec::new(),
            keys: Keys::default(),
            digest: 0,
            directives,
            nodes: lists.nodes.iter().map(|(n, _)| n.clone()).collect(),
            witnesses: lists.witnesses.clone(),
            media: lists.media.iter().map(|(m, _)| m.clone()).collect(),
            links,
            pings: std::mem::take(&mut lists.pings),
            respawn: std::mem::take(&mut lists.respawn),
            notify: std::mem::take(&mut lists.notify),
            compare: std::mem::take(&mut lists.compare),
            env: std::mem::take(&mut lists.env),
            timeouts: lists.timeouts.iter().map(|(t, _)| t.clone()).collect(),
            takeover_waits: lists
                .takeover_waits
                .iter()
                .map(|(w, _)| w.clone())
                .collect(),
            health: std::mem::take(&mut lists.health),
            fence_devices,
            fencing,
            follow_connectivity,
            timing,
            quorum,
            auto_failback,
            failback_delay: self.duration("failback_delay").unwrap_or(Duration::ZERO),
            udpport: media::port_for_media(&self),
            cluster_name: self
                .text("cluster")
                .unwrap_or_else(|| "linux-ha".to_owned()),
            logging: Logging {
                logfile: self.text("logfile").map(PathBuf::from),
                debugfile: self.text("debugfile").map(PathBuf::from),
                logfacility: self.text("logfacility").filter(|f| f != "none"),
                debug: self.small_number("debug", 0),
            },
            lease: self.flag("lease", true),
            relay,
            realtime: self.flag("realtime", true),
            rtprio: self.number("rtprio").and_then(|n| i32::try_from(n).ok()),
            uuid_from_name: self.text("uuidfrom").is_some_and(|m| m == "nodename"),
            log_badpack: self.flag("log_badpack", true),
            record: self.number("record").filter(|n| *n > 0).map(u64::from),
            hopfudge: self.small_number("hopfudge", 1),
        };
        HaCf {
            config,
            lists: self.lists,
        }
    }

    fn judge_presence(&mut self) {
        if self.lists.nodes.is_empty() && !self.lists.nodes_unclear {
            self.report.error(
                &self.whole,
                "no `node` directive",
                "name every member: node alice bob",
            );
        }
        members::judge_witnesses(self);
        if !self.media_seen {
            self.report.error(
                &self.whole,
                "no `ucast`, `mcast` or `bcast` directive: heartbeats cannot be sent",
                "for example: ucast eth0 10.0.0.2",
            );
        }
    }

    /// `follow_connectivity`, or the line of heartbeat that asks for the same.
    fn follow_connectivity(&mut self) -> bool {
        let ipfail = self.lists.ipfail.clone();
        let line = self
            .settings
            .get("follow_connectivity")
            .map(|s| s.place.line);
        let follows = self.flag("follow_connectivity", ipfail.is_some());
        if let (Some(ipfail), Some(line), false) = (&ipfail, line, follows) {
            let message = format!("this has no effect: follow_connectivity is off (line {line})");
            self.report
                .warning(ipfail, message, "remove one of the two");
        }
        let asked = match self.settings.get("follow_connectivity") {
            Some(setting) => Some(setting.place.clone()),
            None => ipfail,
        };
        if let Some(place) = asked.filter(|_| follows)
            && self.lists.pings.is_empty()
            && !self.settings.contains_key("ping")
        {
            self.report.warning(
                &place,
                "this compares how many ping nodes each node reaches, but there are none",
                "add one, such as the gateway: ping 10.0.0.254",
            );
        }
        follows
    }

    fn auto_failback(&mut self) -> bool {
        match self.settings.get("auto_failback") {
            None => {
                let message = "`auto_failback` is not set: groups stay where they are (off)";
                self.report.warning(
                    &self.whole,
                    message,
                    "write `auto_failback on` or `auto_failback off`",
                );
                false
            }
            Some(_) => self.flag("auto_failback", false),
        }
    }

    /// Adds the values that heartbeat passes to scripts for directives that ha.cf does not have.
    fn with_defaults(&mut self, timing: &Timing, auto_failback: bool) -> Vec<(String, String)> {
        let mut all = std::mem::take(&mut self.directives);
        let millis = |d: Duration| format!("{}ms", d.as_millis());
        let derived = [
            ("keepalive", millis(timing.keepalive)),
            ("deadtime", millis(timing.deadtime)),
            ("warntime", millis(timing.warntime)),
            ("initdead", millis(timing.initdead)),
            ("deadping", millis(timing.deadping)),
            (
                "auto_failback",
                if auto_failback { "on" } else { "off" }.to_owned(),
            ),
        ];
        let fixed = table::DEFAULTS.map(|(name, value)| (name, value.to_owned()));
        for (name, value) in derived.into_iter().chain(fixed) {
            if !all.iter().any(|(n, _)| n == name) {
                all.push((name.to_owned(), value));
            }
        }
        all
    }
}
