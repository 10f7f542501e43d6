//! What the old files really did, where it is not what they seem to say.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::checks::is_local;
use super::command::{Killer, manager_killer};
use super::model::{Instance, Manager, Tracked, TrackedKind};
use super::nodes::Node;
use super::routers::{Router, RouterGroup};
use super::source::Files;
use crate::text::{Place, Problems, duration_for_people, one_line};

/// Remarks on every virtual router, and on programs that kill keepalived.
pub fn remark_on_all(
    groups: &[RouterGroup<'_>],
    managers: &[Manager],
    nodes: &[Node],
    files: &dyn Files,
    report: &mut Problems,
) {
    for router in groups.iter().flat_map(|g| &g.routers) {
        let mut remarks = Remarks {
            router,
            nodes,
            report,
        };
        remarks.on_presence();
        remarks.on_what_must_agree();
        remarks.on_addresses();
        remarks.on_priorities();
        remarks.on_preemption();
        remarks.on_peers();
    }
    if let Some(router) = groups.iter().find_map(|g| g.routers.first()) {
        remark_on_detection(router, report);
    }
    for (manager, node) in managers.iter().zip(nodes) {
        for tracked in &manager.tracked {
            remark_on_killer(tracked, manager, node, files, report);
        }
    }
}

/// An instance and its node.
type There<'m> = (usize, &'m Instance);

struct Remarks<'r, 'm> {
    router: &'r Router<'m>,
    nodes: &'r [Node],
    report: &'r mut Problems,
}

const NEVER_HEARD: &str = "the nodes discarded each other's packets, so that both were MASTER and both had the addresses. Here they are one group";

impl<'m> Remarks<'_, 'm> {
    fn name(&self, node: usize) -> &str {
        self.nodes.get(node).map_or("", |n| n.name.as_str())
    }

    /// The first node's instance beside each of the others.
    fn pairs(&self) -> Vec<(There<'m>, There<'m>)> {
        let mut present = self.router.present();
        let first = present.next();
        first.map_or(Vec::new(), |first| {
            present.map(|other| (first, other)).collect()
        })
    }

    fn on_presence(&mut self) {
        let mut present = self.router.present();
        let (Some((node, instance)), None) = (present.next(), present.next()) else {
            return;
        };
        let message = format!(
            "only {} has this instance: with keepalived no other node took its addresses over",
            self.name(node)
        );
        let help = "here another node does; files that belong together have one name or one virtual_router_id for it";
        self.report.warning(&instance.name.place, message, help);
    }

    /// What a packet is refused for.
    fn on_what_must_agree(&mut self) {
        for ((a, first), (b, other)) in self.pairs() {
            let texts = |word: &Option<super::lexer::Word>| word.as_ref().map(|w| w.text.clone());
            let differ = |what: &str, one: String, two: String| {
                format!(
                    "{what} differs: {one} on {}, {two} on {}: {NEVER_HEARD}",
                    self.name(a),
                    self.name(b)
                )
            };
            let shown = |word: &Option<super::lexer::Word>| {
                word.as_ref()
                    .map_or("none".to_owned(), |w| one_line(&w.text, 20))
            };
            let mut found: Vec<(Place, String)> = Vec::new();
            let place = |word: &Option<super::lexer::Word>| {
                word.as_ref()
                    .map_or(other.name.place.clone(), |w| w.place.clone())
            };
            if texts(&first.router_id) != texts(&other.router_id) {
                let message = differ(
                    "virtual_router_id",
                    shown(&first.router_id),
                    shown(&other.router_id),
                );
                found.push((place(&other.router_id), message));
            }
            if first.version != other.version {
                let message = differ(
                    "the version of VRRP",
                    first.version.to_string(),
                    other.version.to_string(),
                );
                found.push((other.name.place.clone(), message));
            }
            // Version 2 compares eight characters of the password, and the time.
            let password = |i: &Instance| {
                let word = i.auth_pass.as_ref();
                word.map(|w| w.text.chars().take(8).collect::<String>())
            };
            if first.version == 2
                && (password(first) != password(other)
                    || texts(&first.auth_type) != texts(&other.auth_type))
            {
                let message = format!(
                    "the authentication differs between {} and {}: {NEVER_HEARD}",
                    self.name(a),
                    self.name(b)
                );
                found.push((place(&other.auth_pass), message));
            }
            if first.version == 2 && first.advert != other.advert {
                let message = differ(
                    "advert_int",
                    duration_for_people(first.advert),
                    duration_for_people(other.advert),
                );
                found.push((other.advert_place.clone(), message));
            }
            for (place, message) in found {
                self.report.warning(&place, message, "");
            }
        }
    }

    fn on_addresses(&mut self) {
        for ((a, first), (b, other)) in self.pairs() {
            let set = |i: &Instance| {
                i.addresses
                    .iter()
                    .map(|v| v.ip)
                    .collect::<BTreeSet<IpAddr>>()
            };
            let (here, there) = (set(first), set(other));
            for (owner, lacks, missing) in [
                (first, b, here.difference(&there)),
                (other, a, there.difference(&here)),
            ] {
                for ip in missing {
                    let place = owner.addresses.iter().find(|v| v.ip == *ip);
                    let place = place.map_or(owner.name.place.clone(), |v| v.place.clone());
                    let message = format!(
                        "{} does not have {ip}: keepalived does not move it there, and may refuse packets with other addresses than its own",
                        self.name(lacks)
                    );
                    let help = "here it moves with the others";
                    self.report.warning(&place, message, help);
                }
            }
            self.on_prefixes(first, (b, other));
        }
    }

    fn on_prefixes(&mut self, first: &Instance, (b, other): (usize, &Instance)) {
        for address in &other.addresses {
            let same = first.addresses.iter().find(|v| v.ip == address.ip);
            if let Some(same) = same.filter(|v| v.prefix != address.prefix) {
                let message = format!(
                    "{} has the prefix length {} on {}, and {} on the first node, which is taken",
                    address.ip,
                    address.prefix,
                    self.name(b),
                    same.prefix
                );
                let help =
                    "keepalived reads an address without a prefix length as one with the longest";
                self.report.warning(&address.place, message, help);
            }
        }
    }

    fn on_priorities(&mut self) {
        let (Some((p, preferred)), Some((s, second))) =
            (self.router.preferred(), self.router.second())
        else {
            return;
        };
        if preferred.priority == second.priority {
            let message = format!(
                "{} and {} have the same priority, {}: whoever was MASTER first stayed it; if both were, the one with the higher address did",
                self.name(p),
                self.name(s),
                second.priority
            );
            let help = format!(
                "here {} is preferred, and groups stay where they are",
                self.name(p)
            );
            return self.report.warning(&second.priority_place, message, help);
        }
        if let Some(place) = &second.state_master {
            let message = format!(
                "`state MASTER` on {} means nothing: {} has the higher priority and takes the addresses a moment after each start",
                self.name(s),
                self.name(p)
            );
            let help = format!("here {} is preferred", self.name(p));
            self.report.warning(place, message, help);
        }
    }

    fn on_preemption(&mut self) {
        let Some((preferred, _)) = self.router.preferred() else {
            return;
        };
        for (node, instance) in self.router.present() {
            let delay = instance.preempt_delay.as_ref().map(|(_, place)| place);
            let lines = [
                ("nopreempt", instance.nopreempt.as_ref()),
                ("preempt_delay", delay),
            ];
            for (name, place) in lines {
                if let Some(place) = place {
                    self.on_preemption_line(name, place, instance, node == preferred);
                }
            }
        }
    }

    fn on_preemption_line(
        &mut self,
        name: &str,
        place: &Place,
        instance: &Instance,
        is_preferred: bool,
    ) {
        if is_preferred && instance.state_master.is_some() {
            let mut message = format!("keepalived ignores `{name}` with `state MASTER`");
            if self.router.goes_back() {
                message += match name {
                    "nopreempt" => ": when this node returned, it took the addresses back",
                    _ => ": when this node returned, it took the addresses back at once",
                };
            }
            let help = match name {
                "nopreempt" => {
                    "here it has no effect either; what it seems to say is `auto_failback off`"
                }
                _ => "here it has no effect either; what it seems to say is failback_delay",
            };
            self.report.warning(place, message, help);
        } else if !is_preferred && self.router.goes_back() {
            let message = format!(
                "`{name}` does not keep the addresses here when the other node returns: only that node's own lines count"
            );
            let help = match name {
                "nopreempt" => "`auto_failback off` in ha.cf keeps groups where they are",
                _ => "failback_delay in ha.cf is what the line seems to say",
            };
            self.report.warning(place, message, help);
        }
    }

    /// A peer that is not told.
    fn on_peers(&mut self) {
        let present: Vec<(usize, &Instance)> = self.router.present().collect();
        for (node, instance) in &present {
            for (other, there) in present.iter().filter(|(n, _)| n != node) {
                let Some(source) = there.source else { continue };
                if !instance.peers.is_empty() && !instance.peers.contains(&source) {
                    let message = format!(
                        "unicast_peer on {} lacks {source}, from which {} sends: {} never heard it",
                        self.name(*node),
                        self.name(*other),
                        self.name(*other)
                    );
                    self.report
                        .warning(&instance.name.place, message, "here every node is told");
                }
            }
        }
    }
}

/// How fast keepalived was.
fn remark_on_detection(router: &Router<'_>, report: &mut Problems) {
    let Some((_, second)) = router.second() else {
        return;
    };
    let unit = if second.version == 2 {
        Duration::from_secs(1)
    } else {
        second.advert
    };
    let skew = unit * (256 - second.priority.min(255)) / 256;
    let tenths = (second.advert * 3 + skew).as_millis() / 100;
    let down = Duration::from_millis(
        u64::try_from(tenths)
            .unwrap_or(u64::MAX)
            .saturating_mul(100),
    );
    let message = format!(
        "keepalived took over after {} of silence",
        duration_for_people(down)
    );
    let help =
        "here it is deadtime in ha.cf; a node that is stopped in order hands over at once in both";
    report.note(&second.advert_place, message, help);
}

/// A program that ends keepalived itself, to make the other node take over.
fn remark_on_killer(
    tracked: &Tracked,
    manager: &Manager,
    node: &Node,
    files: &dyn Files,
    report: &mut Problems,
) {
    let (word, is_check) = match &tracked.kind {
        TrackedKind::Script(word) => (word, true),
        TrackedKind::Service(service) if is_local(service, node) => match &service.notify_down {
            Some(word) => (word, false),
            None => return,
        },
        _ => return,
    };
    let killer = manager_killer(&word.text, &manager.file, files);
    let (message, help) = match (killer, is_check) {
        (Killer::Is(place), true) => (
            format!(
                "{place} ends keepalived itself, so that the other node takes over; after that nothing watches this node any more"
            ),
            "here a failed check is enough: let the script end with `exit 1` there. As long as keepalived can be stopped it reports success",
        ),
        (Killer::Is(place), false) => (
            format!(
                "{place} ends keepalived itself, so that the other node takes over; after that nothing watches this node any more"
            ),
            "here the failed check alone moves the groups, and they can come back when it passes again",
        ),
        (Killer::Unread(script), true) => {
            let message = format!("{script} is not here, so it was not looked at");
            let help = "if it ends keepalived to make the other node take over, let it end with `exit 1` instead";
            return report.note(&word.place, message, help);
        }
        (_, false) => {
            let message = "`notify_down` has no counterpart";
            return report.note(
                &word.place,
                message,
                "here the failed check itself moves the groups",
            );
        }
        (Killer::Not, true) => return,
    };
    report.warning(&word.place, message, help);
}
