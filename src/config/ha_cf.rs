//! `ha.cf`: one directive per line, its values after it, `#` begins a comment anywhere.
//!
//! Every directive that heartbeat 3.0.6 knows stands in `table.rs` with what becomes of it here.

mod health;
mod media;
mod members;
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

use self::settings::{Setting, Value};
use self::table::Rule;
use super::Machine;
use super::{HealthRules, Logging, NotifyRule, Respawn, TimeoutRule};
use crate::model::NodeName;
use crate::model::cluster::{PingNode, QuorumPolicy, Timing};
use crate::model::medium::Medium;
use crate::text::nearest;
use crate::text::{Place, Problems, Severity};
use crate::text::{SourceLine, SourceWord, is_blank, split_lines};

/// What `ha.cf` says, as far as it could be read: with errors in the report it is incomplete.
#[derive(Clone, Debug)]
pub struct HaCf {
    /// What may be said several times.
    pub lists: Lists,
    /// The times.
    pub timing: Timing,
    /// What a side without quorum does.
    pub quorum: QuorumPolicy,
    /// Whether groups go back to their preferred node.
    pub auto_failback: bool,
    /// How long that node must have been a candidate before.
    pub failback_delay: Duration,
    /// UDP port of `bcast` and `ucast` media.
    pub udpport: u16,
    /// Name of the cluster.
    pub cluster_name: String,
    /// Logs.
    pub logging: Logging,
    /// Whether the kernel has addresses on loan.
    pub lease: bool,
    /// Whether to run with real-time priority and locked memory.
    pub realtime: bool,
    /// The priority.
    pub rtprio: Option<i32>,
    /// Whether the generation comes from the clock.
    pub generation_from_clock: bool,
    /// Whether the uuid is made from the node's name.
    pub uuid_from_name: bool,
    /// Whether datagrams that cannot be read are logged.
    pub log_badpack: bool,
    /// How many bytes of disk may be taken to record what the engine is told.
    pub record: Option<u64>,
    /// Hops beyond the number of nodes that a heartbeat may take.
    pub hopfudge: u8,
    /// Every recorded directive as given, and heartbeat's defaults.
    pub directives: Vec<(String, String)>,
}

/// What `ha.cf` may say several times.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    /// The members.
    pub nodes: Vec<(NodeName, Place)>,
    /// Whether a `node` line could not be read, so that a node may be missing above.
    pub nodes_unclear: bool,
    /// The media; each with the place of the word to point at.
    pub media: Vec<(Medium, Place)>,
    /// Ping nodes and groups.
    pub pings: Vec<PingNode>,
    /// Every address that is asked, with its place.
    pub witnesses: BTreeMap<IpAddr, Place>,
    /// Children to run.
    pub respawn: Vec<Respawn>,
    /// Where ipfail is wished for.
    pub ipfail: Option<Place>,
    /// Variables for scripts.
    pub env: Vec<(String, String)>,
    /// Deadlines of actions.
    pub timeouts: Vec<(TimeoutRule, Place)>,
    /// What is watched.
    pub health: HealthRules,
    /// Who is told.
    pub notify: Vec<NotifyRule>,
}

/// Reads the text of `ha.cf`.
pub fn parse(text: &str, file: &Path, machine: &Machine, report: &mut Problems) -> HaCf {
    let mut reader = Reader {
        machine,
        report,
        whole: Place::whole(file),
        settings: BTreeMap::new(),
        once: BTreeMap::new(),
        directives: Vec::new(),
        lists: Lists::default(),
        media_seen: false,
        modern: Vec::new(),
    };
    let crlf = (Severity::Warning, "read as if they ended in LF alone");
    let mut commented = false;
    for line in split_lines(text, file, crlf, reader.report) {
        if reader.report.full() {
            break;
        }
        reader.line(&line, commented);
        commented = line.text.contains('#');
    }
    reader.finish()
}

struct Reader<'a> {
    machine: &'a Machine,
    report: &'a mut Problems,
    whole: Place,
    settings: BTreeMap<&'static str, Setting>,
    /// What was said already and may not be said again: a kind of thing and its name.
    once: BTreeMap<(&'static str, String), usize>,
    directives: Vec<(String, String)>,
    lists: Lists,
    media_seen: bool,
    /// Times written in a way that 3.0.6 does not read.
    modern: Vec<SourceWord>,
}

/// One line with a directive on it.
struct Statement<'a> {
    line: &'a SourceLine,
    name: SourceWord,
    /// The values, split at blanks and commas.
    values: Vec<SourceWord>,
}

impl Statement<'_> {
    /// The values, split at blanks only.
    fn plain_values(&self) -> Vec<SourceWord> {
        self.line.words(is_blank).into_iter().skip(1).collect()
    }
}

impl Reader<'_> {
    fn line(&mut self, line: &SourceLine, after_comment: bool) {
        let mut values = line.words(|c| is_blank(c) || c == ',').into_iter();
        let Some(name) = values.next() else { return };
        let statement = Statement {
            line,
            name,
            values: values.collect(),
        };
        let rule = table::find(&statement.name.text);
        if rule.is_none() && statement.name.unreadable().is_none() {
            return self.unknown(&statement.name, after_comment);
        }
        let all = std::iter::once(&statement.name).chain(&statement.values);
        for word in all {
            if let Some((message, help)) = word.unreadable() {
                self.report.error(&word.place, message, help);
                let name = &statement.name;
                let odd = |c: char| !c.is_ascii_alphanumeric() && c != '_';
                let meant = name.text.split(odd).next().unwrap_or("");
                return self.meant(meant, &name.place);
            }
        }
        if let Some((name, rule)) = rule {
            self.apply(name, rule, &statement);
        }
    }

    /// Remembers that `name` was meant on a line that cannot be read, so that nothing is said about its absence.
    fn meant(&mut self, name: &str, place: &Place) {
        let slot = match name {
            "node" => return self.lists.nodes_unclear = true,
            "bcast" | "udp" | "ucast" | "ucast6" | "mcast" | "mcast6" | "serial" => {
                return self.media_seen = true;
            }
            "ping" | "ping6" | "ping_group" => "ping",
            "nice_failback" => "auto_failback",
            "pacemaker" => "crm",
            other => other,
        };
        if let Some((slot, _)) = table::find(slot) {
            self.settings.entry(slot).or_insert(Setting {
                value: None,
                place: place.clone(),
                guessed: true,
            });
        }
    }

    fn apply(&mut self, name: &'static str, rule: &Rule, statement: &Statement) {
        match rule {
            Rule::One(shape) => {
                self.record(statement);
                self.one(name, shape, true, statement);
            }
            Rule::Ours(shape) => {
                self.one(name, shape, false, statement);
            }
            Rule::Idle(shape, why) => {
                self.record(statement);
                if self.one(name, shape, true, statement).is_some() {
                    let message = format!("`{name}` has no effect: {why}");
                    self.report.warning(&statement.name.place, message, "");
                }
            }
            Rule::Own(read) => read(self, statement),
            Rule::Refused(why, help) => {
                self.meant(name, &statement.name.place);
                let message = format!("`{name}` is not supported: {why}");
                self.report.error(&statement.name.place, message, *help);
            }
        }
    }

    /// Refuses a second mention of a thing. Whether it is the first.
    fn first(&mut self, kind: &'static str, name: &str, place: &Place) -> bool {
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

    fn unknown(&mut self, name: &SourceWord, after_comment: bool) {
        let word = &name.text;
        let stem = word.split(['=', ':']).next().unwrap_or("");
        let stem_known = stem.len() < word.len() && table::find(stem).is_some();
        let near = nearest(word, table::names());
        let help = if stem_known {
            format!("write `{stem}`, a blank and the value: ha.cf has no `=` or `:`")
        } else if let Some(near) = near {
            format!("did you mean `{near}`?")
        } else if after_comment && name.place.column == 1 {
            "if this belongs to the comment on the line above, begin it with `#`".to_owned()
        } else {
            String::new()
        };
        if let Some(meant) = if stem_known { Some(stem) } else { near } {
            self.meant(meant, &name.place);
        }
        self.report.error(
            &name.place,
            format!("unknown directive {}", name.quoted()),
            help,
        );
    }

    fn finish(mut self) -> HaCf {
        self.judge_presence();
        self.note_modern_times();
        let auto_failback = self.auto_failback();
        let (timing, quorum) = timing::settle(&mut self);
        let directives = self.with_defaults(&timing, auto_failback);
        media::name_links(&mut self.lists.media);
        HaCf {
            timing,
            quorum,
            auto_failback,
            failback_delay: self.duration("failback_delay").unwrap_or(Duration::ZERO),
            udpport: media::udpport(&self),
            cluster_name: self
                .text("cluster")
                .unwrap_or_else(|| "linux-ha".to_owned()),
            logging: Logging {
                logfile: self.text("logfile").map(PathBuf::from),
                debugfile: self.text("debugfile").map(PathBuf::from),
                logfacility: self.text("logfacility").filter(|f| f != "none"),
                debug: self.small("debug", 0),
            },
            lease: self.flag("lease", true),
            realtime: self.flag("realtime", true),
            rtprio: self.number("rtprio").and_then(|n| i32::try_from(n).ok()),
            generation_from_clock: self.text("hbgenmethod").is_some_and(|m| m == "time"),
            uuid_from_name: self.text("uuidfrom").is_some_and(|m| m == "nodename"),
            log_badpack: self.flag("log_badpack", true),
            record: self.number("record").filter(|n| *n > 0).map(u64::from),
            hopfudge: self.small("hopfudge", 1),
            directives,
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
        if !self.media_seen {
            self.report.error(
                &self.whole,
                "no medium: nothing says how heartbeats travel",
                "for example: ucast eth0 10.0.0.2",
            );
        }
        if let Some(ipfail) = &self.lists.ipfail
            && self.lists.pings.is_empty()
            && !self.settings.contains_key("ping")
        {
            self.report.warning(
                ipfail,
                "ipfail compares ping nodes, but there are none",
                "add one: ping followed by the address of the gateway",
            );
        }
    }

    fn note_modern_times(&mut self) {
        if let Some(word) = self.modern.first() {
            let others = match self.modern.len() - 1 {
                0 => String::new(),
                n => format!(" (and {n} more like it)"),
            };
            let message = format!("heartbeat 3.0.6 does not read {}{others}", word.quoted());
            self.report.note(
                &word.place,
                message,
                "write plain seconds or ms while a 3.0.6 node uses this file",
            );
        }
    }

    fn auto_failback(&mut self) -> bool {
        match self.settings.get("auto_failback") {
            None => {
                let message = "`auto_failback` is not set: groups stay where they are (off)";
                self.report.warning(&self.whole, message, "say `auto_failback off` or `auto_failback on`; heartbeat took `legacy`, much like on");
                false
            }
            Some(_) => self.flag("auto_failback", false),
        }
    }

    /// What heartbeat records by itself where ha.cf is silent.
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
