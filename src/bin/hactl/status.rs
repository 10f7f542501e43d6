//! The status as text, for tired eyes: one line that says whether all is well, then everything in the order
//! of the files, and each thing that is not as it should be on a line of its own that begins with `!`.

mod health;

use std::time::Duration;

use had::model::NodeName;
use had::model::heartbeat::{GroupState, Phase};
use had::model::status::{
    GroupStatus, LinkStatus, Liveness, NodeStatus, QuorumStatus, ResourceState, ResourceStatus,
    Spread, Status,
};

use crate::screen::{Screen, Tone};
use had::text::duration_for_people;

/// The whole page.
pub fn render(status: &Status, screen: Screen) -> String {
    let mut page = Page {
        screen,
        text: String::new(),
        problems: 0,
    };
    page.node_phase(status);
    page.heading("Nodes");
    let width = widest(status.nodes.iter().map(|node| node.name.as_str()));
    for node in &status.nodes {
        page.node(node, width);
    }
    page.pings(status);
    page.quorum(&status.quorum);
    page.heading(&format!("Groups, with their resources on {}", status.node));
    for group in &status.groups {
        page.group(group, status);
    }
    if status.groups.is_empty() {
        page.line(Tone::Plain, "  ", "none in haresources");
    }
    page.lateness(status);
    page.checks(&status.checks);
    page.counters(status);
    page.headline(status) + &page.text
}

/// Who has what, a line for each group: what is left to say after a command.
pub fn owners(status: &Status, screen: Screen) -> String {
    let width = widest(status.groups.iter().map(|group| group.name.as_str()));
    let line = |group: &GroupStatus| {
        let (tone, place) = place(group);
        let first = format!("  {}  ", pad(group.name.as_str(), width));
        screen.wrap(tone, &first, &place)
    };
    status.groups.iter().map(line).collect()
}

struct Page {
    screen: Screen,
    text: String,
    problems: usize,
}

impl Page {
    fn line(&mut self, tone: Tone, first: &str, text: &str) {
        self.text += &self.screen.wrap(tone, first, text);
    }

    fn problem(&mut self, indent: usize, text: &str) {
        self.problems += 1;
        self.line(Tone::Bad, &format!("{}! ", " ".repeat(indent)), text);
    }

    fn heading(&mut self, text: &str) {
        self.text.push('\n');
        self.line(Tone::Heading, "", text);
    }

    /// What was refused or lost: strangers on the wire, mostly. The usual counts are left to `--json`.
    fn counters(&mut self, status: &Status) {
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
        self.heading("Counted since the daemon started");
        for (name, count) in shown {
            self.line(Tone::Plain, "  ", &format!("{count} {name}"));
        }
    }

    /// How late the node itself acts: what every other time rests upon.
    fn lateness(&mut self, status: &Status) {
        let Some(late) = &status.lateness else {
            return;
        };
        self.heading(&format!(
            "Lateness of {}, of its own deadlines",
            status.node
        ));
        let spread = |s: &Spread| {
            let [p50, p999, max] = [s.p50, s.p999, s.max].map(milliseconds);
            format!("median {p50}, 99.9 % {p999}, at most {max}")
        };
        let recent = format!("in the last minute: {}", spread(&late.recent));
        let life = format!("since the start: {}", spread(&late.life));
        self.line(Tone::Plain, "  ", &recent);
        self.line(Tone::Plain, "  ", &life);
        if late.recent.max * 2 >= late.carries {
            let text = format!(
                "the times of ha.cf carry {}: see the log of this node for what to do",
                milliseconds(late.carries)
            );
            // No problem yet, and gone in a minute; but red, for the next may be one.
            self.line(Tone::Bad, "  ", &text);
        }
    }

    /// Comes first, but is known last.
    fn headline(&self, status: &Status) -> String {
        let (tone, verdict) = match self.problems {
            0 => (Tone::Good, "all is well".to_owned()),
            1 => (Tone::Bad, "1 problem, marked with !".to_owned()),
            n => (Tone::Bad, format!("{n} problems, marked with !")),
        };
        let text = format!("The cluster as {} sees it: {verdict}", status.node);
        self.screen.wrap(tone, "", &text)
    }

    fn node_phase(&mut self, status: &Status) {
        let waiting = status.waiting.as_deref();
        match status.phase {
            Phase::Active => {}
            Phase::Init => {
                let for_what = waiting.unwrap_or("the other nodes");
                let text = format!("this node does not take part yet; it waits for {for_what}");
                self.problem(0, &text);
            }
            Phase::Leaving => self.problem(0, "this node is leaving: it gives up its groups"),
            Phase::Left => self.problem(0, "this node has left"),
        }
    }

    fn node(&mut self, node: &NodeStatus, width: usize) {
        let first = format!("  {}  ", pad(node.name.as_str(), width));
        let indent = first.len();
        let mut facts = vec![node.liveness.as_str().to_owned()];
        if let Some(silent) = node.silent_for {
            facts.push(format!("heard {} ago", duration_for_people(silent)));
        }
        // What a node reached that is not heard any more is past.
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
        self.line(tone, &first, &facts.join(", "));
        // A node that is not heard at all is heard on none of its links.
        let heard = matches!(node.liveness, Liveness::Active | Liveness::Late);
        for link in node.links.iter().filter(|_| heard) {
            self.link(link, indent);
        }
        if bad {
            self.unheard(node, indent);
        }
        for note in &node.notes {
            self.problem(indent, note);
        }
    }

    /// Says what is wrong with a node, where its notes do not.
    fn unheard(&mut self, node: &NodeStatus, indent: usize) {
        if !node.notes.is_empty() {
            return;
        }
        let dead;
        let text = match node.liveness {
            Liveness::Init => "not heard since this daemon started; is it running there?",
            Liveness::Late => "silent for longer than warntime",
            Liveness::Dead => {
                let links: Vec<&str> = node.links.iter().map(|l| l.link.as_str()).collect();
                let links = links.join(", ");
                dead = format!(
                    "silent for longer than deadtime on {links}; see to that machine and its links"
                );
                &dead
            }
            Liveness::Here | Liveness::Active | Liveness::Left => return,
        };
        self.problem(indent, text);
    }

    fn link(&mut self, link: &LinkStatus, indent: usize) {
        let name = &link.link;
        let text = match (link.hears, link.heard) {
            (true, Some(true)) => {
                let first = " ".repeat(indent);
                return self.line(Tone::Plain, &first, &format!("{name}: both ways"));
            }
            (true, None) => {
                let text = format!("{name}: we hear it; whether it hears us is not known yet");
                return self.line(Tone::Plain, &" ".repeat(indent), &text);
            }
            (true, Some(false)) => format!("{name}: we hear it, it does not hear us"),
            (false, Some(true)) => format!("{name}: it hears us, we do not hear it"),
            (false, Some(false) | None) => format!("{name}: down"),
        };
        self.problem(indent, &text);
    }

    fn pings(&mut self, status: &Status) {
        if status.pings.is_empty() {
            return;
        }
        self.heading("Ping nodes");
        let width = widest(status.pings.iter().map(|ping| ping.name.as_str()));
        for ping in &status.pings {
            let name = pad(&ping.name, width);
            if ping.up {
                self.line(Tone::Plain, &format!("  {name}  "), "answers");
            } else {
                self.problem(0, &format!("{name} does not answer"));
            }
        }
    }

    fn quorum(&mut self, quorum: &QuorumStatus) {
        self.heading("Quorum");
        let QuorumStatus { votes, total, .. } = quorum;
        if !quorum.counted {
            self.line(Tone::Plain, "  ", "votes are not counted");
        } else if quorum.held {
            let text = format!("held, with {votes} of {total} votes");
            self.line(Tone::Plain, "  ", &text);
        } else {
            let text = format!(
                "lost: {votes} of {total} votes, more than half are needed; this side must not run groups"
            );
            self.problem(0, &text);
        }
    }

    fn group(&mut self, group: &GroupStatus, status: &Status) {
        let (tone, place) = place(group);
        if tone == Tone::Bad {
            self.problem(0, &format!("{} {place}", group.name));
        } else {
            self.line(tone, "  ", &format!("{} {place}", group.name));
        }
        let here = group.states.iter().find(|(node, _)| *node == status.node);
        let online = here.is_some_and(|(_, state)| *state == GroupState::Online);
        let tokens = group.resources.iter().map(|r| r.token.as_str());
        let width = widest(tokens);
        for resource in &group.resources {
            self.resource(resource, width, online);
        }
        for note in &group.notes {
            self.problem(4, note);
        }
    }

    fn resource(&mut self, resource: &ResourceStatus, width: usize, must_run: bool) {
        let token = pad(&resource.token, width);
        let word = word(resource.state);
        let bad = resource.state == ResourceState::Failed
            || (must_run && resource.state != ResourceState::Running);
        let watched = resource.watch.as_ref().filter(|_| must_run);
        if !bad {
            let text = match watched.and_then(health::watched) {
                Some(told) => format!("{word}; {told}"),
                None => word.to_owned(),
            };
            return self.line(Tone::Plain, &format!("      {token}  "), &text);
        }
        let text = match &resource.error {
            Some(error) => format!("{word}: {error}"),
            None => word.to_owned(),
        };
        self.problems += 1;
        self.line(Tone::Bad, &format!("    ! {token}  "), &text);
    }
}

/// Where a group is, and whether that is bad.
fn place(group: &GroupStatus) -> (Tone, String) {
    let (mut tone, mut text) = match group.owners.as_slice() {
        [] => nowhere(group),
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
    if group.owners.first() != Some(&group.preferred) {
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
            GroupState::Unknown => text += &format!("; not looked for yet on {node}"),
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

/// A group without an owner is on its way, or it is down.
fn nowhere(group: &GroupStatus) -> (Tone, String) {
    let claimant = group
        .states
        .iter()
        .find(|(_, state)| *state == GroupState::Claiming);
    match claimant {
        Some((node, _)) => (Tone::Plain, format!("is about to be started on {node}")),
        None => (Tone::Bad, "runs nowhere".to_owned()),
    }
}

fn word(state: ResourceState) -> &'static str {
    match state {
        ResourceState::Unknown => "unknown",
        ResourceState::Stopped => "stopped",
        ResourceState::Starting => "starting",
        ResourceState::Running => "running",
        ResourceState::Stopping => "stopping",
        ResourceState::Failed => "failed",
    }
}

/// The width of a column. One very long name shall not push all the others to the right.
fn widest<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    let widest = names.map(|name| name.chars().count()).max();
    widest.unwrap_or_default().min(40)
}

fn pad(text: &str, width: usize) -> String {
    format!("{text:width$}")
}

/// Such as 0.12 ms.
fn milliseconds(d: Duration) -> String {
    format!("{:.2} ms", d.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests;
