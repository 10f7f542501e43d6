//! The page of `hactl status`: one line that says whether all is well, then everything in the order of the
//! configuration files. Every problem is on a line of its own that begins with `!`.

mod health;
mod last_switch;

use had::model::NodeName;
use had::model::heartbeat::GroupState;
use had::model::status::{
    GroupStatus, LinkStatus, Liveness, NodeStatus, QuorumStatus, ResourceState, ResourceStatus,
    Spread, StandbyStatus, Status,
};
use had::text::{count, duration_for_people};

use crate::screen::{Screen, Tone};

/// The whole page.
pub fn render_status(status: &Status, screen: Screen) -> String {
    let mut page = Page {
        screen,
        text: String::new(),
        problems: 0,
        unwatched: 0,
    };
    page.add_phase(status);
    page.add_heading("Nodes");
    let width = column_width(status.nodes.iter().map(|node| node.name.as_str()));
    for node in &status.nodes {
        page.add_node(node, width);
    }
    page.add_pings(status);
    page.add_quorum(status);
    let mut nodes = status.nodes.iter();
    let on_witness = nodes.any(|n| n.witness && n.name == status.node);
    let (heading, none) = if on_witness {
        ("Groups".to_owned(), "no node has named one yet")
    } else {
        let here = format!("Groups, with their resources on {}", status.node);
        (here, "none in haresources")
    };
    page.add_heading(&heading);
    for group in &status.groups {
        page.add_group(group, status);
    }
    if status.groups.is_empty() {
        page.add_line(Tone::Plain, "  ", none);
    }
    page.add_last_switches(status);
    page.add_scheduling_delay(status);
    page.add_checks(&status.checks);
    page.add_counters(status);
    page.headline(status) + &page.text
}

/// One line for scripts and prompts: how many problems, where each group is, and the kinds of problems.
pub fn render_brief(status: &Status) -> String {
    let problems = status.problems();
    let running = status.groups.iter().filter(|g| g.runs()).count();
    let groups = count(status.groups.len(), "group");
    let mut text = match problems.len() {
        0 => "no problem".to_owned(),
        n => count(n, "problem"),
    };
    text += &format!(": {running} of {groups} running");
    let places: Vec<String> = status.groups.iter().map(brief_place).collect();
    if !places.is_empty() {
        text += &format!("; {}", places.join(", "));
    }
    let mut kinds: Vec<String> = Vec::new();
    for problem in &problems {
        let node = problem.node.as_ref().map(ToString::to_string);
        let about = node.or_else(|| problem.group.as_ref().map(ToString::to_string));
        let kind = about.map_or_else(
            || problem.id.to_string(),
            |about| format!("{} {about}", problem.id),
        );
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    if !kinds.is_empty() {
        text += &format!("; {}", kinds.join(", "));
    }
    text + "\n"
}

/// A group and its owner in a few words.
fn brief_place(group: &GroupStatus) -> String {
    let name = &group.name;
    let owners: Vec<&str> = group.owners.iter().map(NodeName::as_str).collect();
    match group
        .states
        .iter()
        .find(|(node, _)| group.owners.first() == Some(node))
    {
        _ if owners.is_empty() => format!("{name} nowhere"),
        Some((node, state)) if owners.len() == 1 && *state != GroupState::Online => {
            format!("{name} {} on {node}", state.as_str())
        }
        _ => format!("{name} on {}", owners.join(" and ")),
    }
}

/// The owner of each group, one line a group. Printed after a command.
pub fn render_owners(status: &Status, screen: Screen) -> String {
    let width = column_width(status.groups.iter().map(|group| group.name.as_str()));
    let line = |group: &GroupStatus| {
        let (tone, place) = place_of_group(group);
        let first = format!("  {}  ", pad(group.name.as_str(), width));
        screen.wrap(tone, &first, &place)
    };
    status.groups.iter().map(line).collect()
}

struct Page {
    screen: Screen,
    text: String,
    problems: usize,
    /// Running resources whose end nobody would notice.
    unwatched: usize,
}

impl Page {
    fn add_line(&mut self, tone: Tone, first: &str, text: &str) {
        self.text += &self.screen.wrap(tone, first, text);
    }

    fn add_problem(&mut self, indent: usize, text: &str) {
        self.problems += 1;
        self.add_line(Tone::Bad, &format!("{}! ", " ".repeat(indent)), text);
    }

    fn add_heading(&mut self, text: &str) {
        self.text.push('\n');
        self.add_line(Tone::Heading, "", text);
    }

    /// Counts of what was rejected or lost. The counts of normal operation are in `--json` only.
    fn add_counters(&mut self, status: &Status) {
        let usual = ["heartbeats sent", "heartbeats believed"];
        let odd = |name: &str| !usual.contains(&name);
        let shown: Vec<_> = status
            .counters
            .iter()
            .filter(|(name, _)| odd(name))
            .collect();
        if shown.is_empty() {
            return;
        }
        self.add_heading("Counted since the daemon started");
        for (name, count) in shown {
            self.add_line(Tone::Plain, "  ", &format!("{count} {name}"));
        }
    }

    /// How late this node itself acts. All timeouts depend on it.
    fn add_scheduling_delay(&mut self, status: &Status) {
        let Some(late) = &status.lateness else {
            return;
        };
        self.add_heading(&format!("Scheduling delay on {}", status.node));
        let spread = |s: &Spread| {
            let [p50, p999, max] = [s.p50, s.p999, s.max].map(duration_for_people);
            format!("median {p50}, 99.9th percentile {p999}, maximum {max}")
        };
        let recent = format!("last minute: {}", spread(&late.recent));
        let life = format!("since start: {}", spread(&late.life));
        self.add_line(Tone::Plain, "  ", &recent);
        self.add_line(Tone::Plain, "  ", &life);
        if late.recent.max * 2 >= late.carries {
            let text = format!(
                "the times in ha.cf tolerate a delay of {}; the log of this node says what to do",
                duration_for_people(late.carries)
            );
            // Not counted as a problem, for it passes within a minute. Red, because the next one may be a problem.
            self.add_line(Tone::Bad, "  ", &text);
        }
    }

    /// The first line of the page. Built last, because it counts the problems.
    fn headline(&self, status: &Status) -> String {
        let (tone, verdict) = match self.problems {
            0 if self.unwatched > 0 => {
                let unwatched = count(self.unwatched, "resource");
                let verb = if self.unwatched == 1 { "is" } else { "are" };
                let text = format!(
                    "no problem seen; {unwatched} {verb} not watched (see monitor in ha.cf)"
                );
                (Tone::Good, text)
            }
            0 => (Tone::Good, "all is well".to_owned()),
            1 => (Tone::Bad, "1 problem, marked with !".to_owned()),
            n => (Tone::Bad, format!("{n} problems, marked with !")),
        };
        let text = format!("The cluster as {} sees it: {verdict}", status.node);
        self.screen.wrap(tone, "", &text)
    }

    fn add_phase(&mut self, status: &Status) {
        if let Some(note) = status.phase_problem() {
            self.add_problem(0, &note);
        }
    }

    fn add_node(&mut self, node: &NodeStatus, width: usize) {
        let first = format!("  {}  ", pad(node.name.as_str(), width));
        let indent = first.len();
        let role = node.witness.then(|| "witness".to_owned());
        let mut facts: Vec<String> = role.into_iter().collect();
        facts.push(node.liveness.as_str().to_owned());
        if let Some(silent) = node.silent_for {
            facts.push(format!("heard {} ago", duration_for_people(silent)));
        }
        // What a silent node reached is out of date.
        let heard = matches!(
            node.liveness,
            Liveness::Here | Liveness::Active | Liveness::Late
        );
        if let Some(reach) = node.reach
            && reach.configured > 0
            && heard
        {
            let (answering, configured) = (reach.answering, reach.configured);
            facts.push(format!("reaches {answering} of {configured} ping nodes"));
        }
        let bad = matches!(
            node.liveness,
            Liveness::Init | Liveness::Late | Liveness::Dead
        );
        let tone = if bad { Tone::Bad } else { Tone::Plain };
        self.add_line(tone, &first, &facts.join(", "));
        // The links of a silent node add nothing.
        let heard = matches!(node.liveness, Liveness::Active | Liveness::Late);
        for link in node.links.iter().filter(|_| heard) {
            self.add_link(link, indent);
        }
        for note in node.silence().iter().chain(&node.notes) {
            self.add_problem(indent, note);
        }
    }

    fn add_link(&mut self, link: &LinkStatus, indent: usize) {
        let name = &link.link;
        if link.relay && !(link.hears && link.heard != Some(false)) {
            // The cluster works without it, so this is no problem.
            let text = format!(
                "{name}: nothing comes through: the network drops relayed heartbeats, or the other node has no known address in the network of the ping node; a cut between the nodes cannot be told from a crash"
            );
            return self.add_line(Tone::Plain, &" ".repeat(indent), &text);
        }
        if let Some(note) = link.problem() {
            return self.add_problem(indent, &note);
        }
        let text = match link.heard {
            None => "we hear it; not known yet whether it hears us",
            Some(_) => "up in both directions",
        };
        self.add_line(Tone::Plain, &" ".repeat(indent), &format!("{name}: {text}"));
    }

    fn add_pings(&mut self, status: &Status) {
        if status.pings.is_empty() {
            return;
        }
        self.add_heading("Ping nodes");
        let width = column_width(status.pings.iter().map(|ping| ping.name.as_str()));
        for ping in &status.pings {
            let name = pad(&ping.name, width);
            match ping.problem() {
                Some(note) => self.add_problem(0, &note),
                None => self.add_line(Tone::Plain, &format!("  {name}  "), "answers"),
            }
        }
    }

    fn add_quorum(&mut self, status: &Status) {
        self.add_heading("Quorum");
        let QuorumStatus { votes, total, .. } = status.quorum;
        let needed = total / 2 + 1;
        let text = match status.quorum_problem() {
            Some(note) => return self.add_problem(0, &note),
            None if !status.quorum.counted => "not used: votes are not counted".to_owned(),
            None if status.quorum.ignored => {
                format!("ignored: {votes} of {total} votes, which limit nothing")
            }
            None if votes < needed => format!(
                "held with {votes} of {total} votes: an administrator has confirmed that all other voters are dead"
            ),
            None => format!("held: {votes} of {total} votes, {needed} needed"),
        };
        self.add_line(Tone::Plain, "  ", &text);
    }

    fn add_group(&mut self, group: &GroupStatus, status: &Status) {
        let (tone, place) = place_of_group(group);
        if tone == Tone::Bad {
            self.add_problem(0, &format!("{} {place}", group.name));
        } else {
            self.add_line(tone, "  ", &format!("{} {place}", group.name));
        }
        let here = group.states.iter().find(|(node, _)| *node == status.node);
        let online = here.is_some_and(|(_, state)| *state == GroupState::Online);
        // What is stopped here runs on the owner.
        let elsewhere = !group.owners.is_empty() && !group.owners.contains(&status.node);
        let tokens = group.resources.iter().map(|r| r.token.as_str());
        let width = column_width(tokens);
        for resource in &group.resources {
            let place = if elsewhere { " here" } else { "" };
            self.add_resource(resource, width, online, place);
        }
        self.add_standbys(group);
        for note in &group.notes {
            self.add_problem(4, note);
        }
    }

    /// Who could take it over, and who could not.
    fn add_standbys(&mut self, group: &GroupStatus) {
        let ready = group.standbys.iter().filter(|s| s.ready);
        let ready: Vec<&str> = ready.map(|s| s.node.as_str()).collect();
        if !ready.is_empty() {
            let mut text = format!("ready to take it over: {}", ready.join(", "));
            if let Some(time) = group.takeover {
                text += &format!(" (after a crash in about {})", duration_for_people(time));
            }
            self.add_line(Tone::Plain, "      ", &text);
        }
        // One that has not said anything is as it was before this was said at all.
        let told = |s: &&StandbyStatus| !s.ready && s.is_known();
        for standby in group.standbys.iter().filter(told) {
            match standby.problem() {
                Some(problem) => self.add_problem(4, &problem),
                None => self.add_line(Tone::Plain, "      ", &standby.in_words()),
            }
        }
    }

    fn add_resource(
        &mut self,
        resource: &ResourceStatus,
        width: usize,
        must_run: bool,
        place: &str,
    ) {
        let token = pad(&resource.token, width);
        let word = format!("{}{place}", state_word(resource.state));
        let bad = resource.state == ResourceState::Failed
            || (must_run && resource.state != ResourceState::Running);
        let watched = resource.watch.as_ref().filter(|_| must_run);
        if !bad {
            let unwatched = must_run && resource.unwatched && !holds_nothing(&resource.token);
            let text = match watched.and_then(health::monitor_text) {
                Some(told) => format!("{word}; {told}"),
                None if unwatched => {
                    self.unwatched += 1;
                    format!("{word} when last looked at, not watched")
                }
                None => word,
            };
            return self.add_line(Tone::Plain, &format!("      {token}  "), &text);
        }
        let text = match &resource.error {
            Some(error) => format!("{word}: {error}"),
            None => word,
        };
        self.problems += 1;
        self.add_line(Tone::Bad, &format!("    ! {token}  "), &text);
    }
}

/// Whether a resource only does something at its start, so that there is nothing to watch.
fn holds_nothing(token: &str) -> bool {
    let name = token.split("::").next().unwrap_or(token);
    had::assembly::watch_plan::WITHOUT_STATUS.contains(&name)
}

/// Where a group is, and whether that is a problem.
fn place_of_group(group: &GroupStatus) -> (Tone, String) {
    let (mut tone, mut text) = match group.owners.as_slice() {
        [] => place_without_owner(group),
        [owner] => {
            let state = group.states.iter().find(|(node, _)| node == owner);
            let verb = match state.map(|(_, state)| *state) {
                Some(GroupState::Starting) => "is being started on",
                Some(GroupState::Stopping) => "is being stopped on",
                Some(GroupState::Stuck) => "is stuck on",
                _ => "runs on",
            };
            (Tone::Plain, format!("{verb} {owner}"))
        }
        several => {
            let names: Vec<&str> = several.iter().map(NodeName::as_str).collect();
            (Tone::Bad, format!("SPLIT: runs on {}", names.join(" and ")))
        }
    };
    // A witness does not know it.
    let is_known = !group.preferred.as_str().is_empty();
    if is_known && group.owners.first() != Some(&group.preferred) {
        text += &format!(", prefers {}", group.preferred);
    }
    for (node, state) in &group.states {
        let owner = group.owners.contains(node);
        match state {
            GroupState::Stuck => {
                tone = Tone::Bad;
                if !owner {
                    text += &format!("; a stop failed on {node}");
                }
            }
            GroupState::Failed => {
                tone = Tone::Bad;
                text += &format!("; failed on {node}");
            }
            GroupState::Unknown => text += &format!("; not checked yet on {node}"),
            GroupState::Claiming if !group.owners.is_empty() => {
                text += &format!("; claimed by {node}");
            }
            GroupState::Stopping | GroupState::Starting if !owner => {
                text += &format!("; {} on {node}", state.as_str());
            }
            GroupState::Offline
            | GroupState::Claiming
            | GroupState::Starting
            | GroupState::Stopping
            | GroupState::Online => {}
        }
    }
    (tone, text)
}

/// A group without an owner is about to be started, or it is down.
fn place_without_owner(group: &GroupStatus) -> (Tone, String) {
    let claimant = group
        .states
        .iter()
        .find(|(_, state)| *state == GroupState::Claiming);
    match claimant {
        Some((node, _)) => (Tone::Plain, format!("is about to be started on {node}")),
        None => (Tone::Bad, "runs nowhere".to_owned()),
    }
}

fn state_word(state: ResourceState) -> &'static str {
    match state {
        ResourceState::Unknown => "unknown",
        ResourceState::Stopped => "stopped",
        ResourceState::Starting => "starting",
        ResourceState::Running => "running",
        ResourceState::Stopping => "stopping",
        ResourceState::Failed => "failed",
    }
}

/// The width of a column of names. One very long name must not push all the others to the right.
fn column_width<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    let widest = names.map(|name| name.chars().count()).max();
    widest.unwrap_or_default().min(40)
}

fn pad(text: &str, width: usize) -> String {
    format!("{text:width$}")
}

#[cfg(test)]
mod tests;
