//! The words of decisions, as the log, the journal and `hactl` show them: `GROUP: DECISION: REASON`.

use std::fmt;
use std::time::Duration;

use super::{Because, Decision, What};
use crate::model::health::needs_of;
use crate::text::duration_for_people;

impl Decision {
    /// The reason in words. `None` where the decision says it all by itself.
    pub fn reason(&self) -> Option<String> {
        Some(match (&self.what, &self.because) {
            (What::LinkUp(..) | What::PingUp(_) | What::PingIsMember(..), Because::Heard)
            | (What::QuorumGained { .. } | What::QuorumLost { .. }, Because::VotesCounted)
            | (
                What::PeerDeaf(_)
                | What::ConfigDiffers(_)
                | What::OtherVersion(..)
                | What::VotersAgreed
                | What::RunsAt(_)
                | What::DaemonStarted(_)
                | What::DaemonEnded(_)
                | What::Reloaded(_)
                | What::AddressesRestored(_)
                | What::PacketsRejected(_),
                Because::SaidSo,
            )
            | (What::VotersChange(_), Because::Reconfigured)
            | (What::Commanded(_) | What::Drilled { .. }, Because::Administrator)
            | (What::Gap(_), Because::NodeWasStopped) => return None,
            (What::PingDown(_), Because::SilentFor(time)) => {
                format!("no reply for {}", duration_for_people(*time))
            }
            (What::Leaving, Because::Administrator) => "the daemon was told to stop".to_owned(),
            (What::Online, Because::Finished) => "all its resources are started".to_owned(),
            (What::Offline, Because::Finished) => "all its resources are stopped".to_owned(),
            (What::FailbackWaits(node), Because::NotReady(text)) => {
                format!("failback_when on {node} says: {text}")
            }
            (_, because) => because.to_string(),
        })
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(group) = &self.group {
            write!(f, "{group}: ")?;
        }
        write!(f, "{}", self.what)?;
        if let Some(reason) = self.reason() {
            write!(f, ": {reason}")?;
        }
        if let (What::Stuck, Some(group)) = (&self.what, &self.group) {
            write!(f, "; stop it by hand, then run hactl clear {group}")?;
        }
        Ok(())
    }
}

/// As a line of the log has it after the group's name.
impl fmt::Display for What {
    #[allow(clippy::too_many_lines)] // one sentence for each decision
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerActive(n) => write!(f, "node {n} is active"),
            Self::PeerLate(n) => write!(f, "node {n} is late"),
            Self::PeerDead(n) => write!(f, "node {n} is dead"),
            Self::PeerLeft(n) => write!(f, "node {n} has left the cluster"),
            Self::PeerRestarted(n) => write!(f, "the daemon on {n} was restarted"),
            Self::PeerDeaf(n) => write!(
                f,
                "node {n} does not receive our heartbeats; check the firewall on {n} and the network path to it"
            ),
            Self::ConfigDiffers(n) => write!(
                f,
                "the configuration on {n} differs from ours; groups do not move until ha.cf and haresources agree"
            ),
            Self::OtherVersion(_, text) | Self::VotersChange(text) => f.write_str(text),
            Self::LinkUp(n, l) => write!(f, "node {n} is heard {}", l.by()),
            Self::LinkDown(n, l) => write!(f, "node {n} is not heard {}", l.by()),
            Self::PingUp(n) => write!(f, "ping node {n} answers"),
            Self::PingDown(n) => write!(f, "ping node {n} does not answer"),
            Self::PingIsMember(ping, node) => write!(
                f,
                "ping node {ping} is the machine of {node}, which sends heartbeats from its address: it has no vote"
            ),
            // With `quorum off` or `ignore` a side may act whatever it counts.
            Self::QuorumGained { votes, total } if *votes < votes_needed(*total) => {
                write!(f, "votes do not limit this node: quorum is off or ignored")
            }
            Self::QuorumGained { votes, total } => {
                write!(f, "quorum gained: {}", votes_of(*votes, *total))
            }
            Self::QuorumLost { votes, total } => {
                write!(f, "quorum lost: {}", votes_of(*votes, *total))
            }
            Self::VotersAgreed => write!(
                f,
                "the new list of nodes counts alone: no node can act by an old one any more"
            ),
            Self::Joined => write!(f, "this node takes part in the cluster"),
            Self::Gap(d) => write!(
                f,
                "this node was stopped for {} (paused VM, suspend or overload?); nothing it knew before is trusted",
                duration_for_people(*d)
            ),
            Self::Adopt(t) => write!(f, "kept running (term {})", t.0),
            Self::Claim(t) => write!(f, "claiming (term {})", t.0),
            Self::Withdraw => write!(f, "withdrew its claim"),
            Self::Start => write!(f, "starting here"),
            Self::Online => write!(f, "online"),
            Self::Stop => write!(f, "stopping here"),
            Self::Offline => write!(f, "offline"),
            Self::Offer(n) => write!(f, "offering it to {n}"),
            Self::OfferEnded(n) => write!(f, "withdrew its offer to {n}"),
            Self::Failed => write!(f, "failed here"),
            Self::Stuck => write!(f, "stuck: its stop failed, so it may still run here"),
            Self::FailureExpired => write!(f, "its failure here no longer counts"),
            Self::Held => write!(f, "not started"),
            Self::Commanded(c) => write!(f, "administrator command: {c}"),
            Self::Leaving => write!(f, "this node leaves the cluster and stops all its groups"),
            Self::Announced => write!(f, "announcing its addresses again"),
            Self::SharedName {
                node,
                first,
                second,
            } => write!(
                f,
                "two machines call themselves {node}: {first} and {second}"
            ),
            Self::SharedNameEnded(n) => write!(f, "only one machine calls itself {n} now"),
            Self::StaysOut => write!(f, "this node stays out of the cluster and stops its groups"),
            Self::QuorumOthersDead { votes, total } => {
                write!(f, "this side goes on with {votes} of {total} votes")
            }
            Self::CommandFailed(command) => write!(f, "{command} failed"),
            Self::RunsAt(n) => write!(f, "runs on {n}"),
            Self::DaemonStarted(version) => write!(f, "had {version} starts"),
            Self::DaemonEnded(how) => write!(f, "the daemon ends: {how}"),
            Self::Reloaded(changes) => write!(f, "the configuration was reloaded: {changes}"),
            Self::AddressesRestored(which) => write!(
                f,
                "restored {which}, which something else had removed; find out what else manages that interface"
            ),
            Self::PacketsRejected(counts) => write!(f, "packets were rejected: {counts}"),
            Self::NotDead(n) => write!(
                f,
                "node {n} lives, although an administrator said that it is dead (hactl fence confirm)"
            ),
            Self::FenceBegins(n) => write!(f, "fencing {n}: switching its machine off"),
            Self::Fenced(n) => write!(f, "{n} is fenced: its machine is off"),
            Self::FenceFailed(n) => write!(f, "fencing of {n} failed"),
            Self::FencedIsOn(n) => write!(f, "the machine of {n} was switched on again"),
            Self::FencedLives(n) => write!(
                f,
                "{n} was fenced and runs on: what was switched off is not its machine; correct its fence line in ha.cf"
            ),
            Self::PowerSwitchFails(n) => {
                write!(
                    f,
                    "the power switch of {n} fails, so {n} could not be fenced"
                )
            }
            Self::PowerSwitchAnswers(n) => write!(f, "the power switch of {n} answers again"),
            Self::FenceHeld(n) => write!(f, "{n} is not fenced from here"),
            Self::NewGeneration(g) => write!(f, "continuing with generation {g}"),
            Self::CheckFailed(c) => match needs_of(c) {
                Some(group) => write!(f, "this node lacks what {group} needs"),
                None => write!(f, "check {c} fails"),
            },
            Self::CheckPassed(c) => match needs_of(c) {
                Some(group) => write!(f, "this node has what {group} needs again"),
                None => write!(f, "check {c} passes"),
            },
            Self::LookFailed {
                resource,
                failing,
                fall,
            } => write!(
                f,
                "monitor of {resource} failed ({failing} of {fall} in a row)"
            ),
            Self::Restart {
                resource,
                count,
                of,
                within,
            } => write!(
                f,
                "restarting {resource} in place ({count} of {of} restarts within {})",
                duration_for_people(*within)
            ),
            Self::RunsOn => write!(f, "stays here"),
            Self::FailbackWaits(n) => write!(f, "does not go back to {n} yet"),
            Self::Drilled {
                to,
                gap,
                returned,
                back,
            } => {
                let time = |gap: &Option<Duration>| {
                    gap.map_or_else(String::new, |gap| {
                        format!(" in {}", duration_for_people(gap))
                    })
                };
                write!(f, "drill: {to} took over{}", time(gap))?;
                if *returned {
                    write!(f, ", back{}", time(back))?;
                }
                Ok(())
            }
        }
    }
}

/// Such as `1 of 3 votes, 2 needed`.
fn votes_of(votes: u32, total: u32) -> String {
    format!("{votes} of {total} votes, {} needed", votes_needed(total))
}

/// More than half.
fn votes_needed(total: u32) -> u32 {
    total / 2 + 1
}

/// The reason without its decision. [`Decision::reason`] knows better words for some pairs.
impl fmt::Display for Because {
    #[allow(clippy::too_many_lines)] // one sentence for each reason
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Heard => write!(f, "heartbeats arrive"),
            Self::HeardAgain => write!(f, "heartbeats arrive again"),
            Self::SilentFor(d) => write!(f, "nothing heard for {}", duration_for_people(*d)),
            Self::NeverHeard(d) => write!(
                f,
                "nothing heard since this daemon started {} ago",
                duration_for_people(*d)
            ),
            Self::SaidSo => write!(f, "its heartbeats say so"),
            Self::NewerGeneration => write!(f, "its heartbeats carry a higher generation"),
            Self::AllHeard => write!(f, "every other node is heard"),
            Self::Preferred => {
                write!(f, "no other node has it, and this is its preferred node")
            }
            Self::NextChoice(why) => write!(f, "no other node has it; {why}"),
            Self::AllAgreed => write!(f, "no other node objects"),
            Self::OwnerDead(n) => write!(f, "{n}, which ran it, is dead"),
            Self::BetterClaim(n) => write!(f, "{n} claims it too and comes first in ha.cf"),
            Self::HeldBy(n) => write!(f, "{n} has it"),
            Self::IllAt(n, why) => write!(f, "{n} offers it, because {n} {why}"),
            Self::Hearsay { peer, recognises } => write!(
                f,
                "{peer} reports that {recognises} has it, and this node cannot hear {recognises}"
            ),
            Self::SplitHealed { keeper } => {
                write!(
                    f,
                    "it ran on both nodes; {keeper} had it first and keeps it"
                )
            }
            Self::Overtaken(n) => write!(
                f,
                "{n} took it over while this machine and its clock were suspended"
            ),
            Self::Standby => write!(f, "this node is in standby for it"),
            Self::TakeoverBy(n) => write!(f, "an administrator told {n} to take it over"),
            Self::Failback(n) => write!(
                f,
                "auto_failback is on, and its preferred node {n} can run it"
            ),
            Self::BetterConnected(n) => write!(f, "{n} reaches more ping nodes"),
            Self::Leaving => write!(f, "this node leaves the cluster"),
            Self::NoQuorum => write!(f, "this side has no quorum"),
            Self::LeaseEnded => write!(
                f,
                "too few nodes and ping nodes confirmed in time that this node may run it"
            ),
            Self::Administrator => write!(f, "an administrator asked for it"),
            Self::FoundRunning => write!(f, "it already ran here, and no other node has it"),
            Self::FoundPartly(what) => write!(f, "only a part of it already ran here ({what})"),
            Self::Agent(text) => write!(f, "{text}"),
            Self::AddressAnswers(who) => write!(
                f,
                "split brain suspected: one of its addresses still answers ({who}); stop what runs there, or override with hactl takeover --force"
            ),
            Self::ForeignAnswers(who) => write!(
                f,
                "{who}, which is no node of this cluster: give that machine another address, or override with hactl takeover --force"
            ),
            Self::HeldByStranger(n) => write!(
                f,
                "{n}, which is no longer in ha.cf, still runs it: stop the daemon there, or add the node again"
            ),
            Self::HeldByNamesake(n) => {
                write!(
                    f,
                    "a second machine that calls itself {n} may still run it; give one of the two another name, or switch it off"
                )
            }
            Self::OtherMachine => write!(
                f,
                "another machine has this node's name and takes part; give one of the two another name, or switch it off"
            ),
            Self::SecondStaysOut(second) => write!(
                f,
                "{second} stays out of the cluster; give it another name, or switch it off"
            ),
            Self::OtherConfiguration(n) => write!(
                f,
                "it is new or changed here, and {n} still has another configuration: make ha.cf and haresources equal on all nodes, then run hactl reload on each"
            ),
            Self::PingGap => write!(
                f,
                "the ping node must first answer for deadtime without a gap, because the other node may have had its vote until then"
            ),
            Self::ProbeRuns => write!(f, "checking that no machine answers for its addresses"),
            Self::WaitsFor(n) => write!(f, "{n} has not agreed yet"),
            Self::StopsStill(n, time) => write!(
                f,
                "{n} may still be stopping it, for {} at most (timeout in ha.cf); if {n} is known to be off, do not wait: hactl takeover --force",
                duration_for_people(*time)
            ),
            Self::MachineAnswers(n) => write!(
                f,
                "the daemon of {n} is silent but its machine answers, so it may still run on shared storage there; start had on {n}; if it runs, a firewall or the network drops its heartbeats: allow their UDP port both ways; or power {n} off, or run hactl takeover --force"
            ),
            Self::FormerMachineAnswers(n, address) => write!(
                f,
                "another machine has the name {n} now, and the one that had it before answers ({address}): it may still run on shared storage there; power that machine off, or run hactl takeover --force"
            ),
            Self::MachineProbed(n) => {
                write!(
                    f,
                    "checking that the machine of {n}, whose daemon is silent, does not answer"
                )
            }
            Self::AwaitsFencing(n) => write!(
                f,
                "waits for fencing of {n}, which may run it; hactl fence status shows how far that is"
            ),
            Self::MayRunAt(n) => write!(f, "{n} is silent, and a group may run there"),
            Self::PowerSwitch => write!(f, "its power switch says so"),
            Self::HeardElsewhere(n) => write!(
                f,
                "{n} hears it; the link between it and this node is broken"
            ),
            Self::WrongMachine => write!(
                f,
                "it was fenced before and ran on, so its fence line names another machine"
            ),
            Self::NeverHeardSoAsk => write!(
                f,
                "this node has had no answer from it since its own start, so it may be the healthy one; its power switch is asked whether it is off"
            ),
            Self::UnawareAt(n) => write!(
                f,
                "it was in maintenance on {n} when {n} fell silent, so it may still run there; make sure that it does not, then run hactl clear with the name of the group on this node"
            ),
            Self::StuckAt(n) => write!(
                f,
                "its stop failed on {n}, which is dead now, so it may still run there; make sure that it does not, then run hactl clear with the name of the group on this node"
            ),
            Self::NoCandidate(why) => write!(f, "no node can run it: {why}"),
            Self::Unheard(n) => write!(
                f,
                "{n} does not receive our heartbeats and may take it over; check the firewall on {n} and the network path to it"
            ),
            Self::BetterTarget(n) => write!(f, "{n} should get it instead"),
            Self::Reconfigured => write!(f, "the configuration changed"),
            Self::StoreLost(n) => write!(
                f,
                "{n} knows a later generation of this node, so this node's state file was lost or is an old copy"
            ),
            Self::Healed => write!(f, "another node may have announced them"),
            Self::Expired => write!(f, "failures are remembered only for a limited time"),
            Self::Finished => write!(f, "all steps are done"),
            Self::CheckFails(check) => write!(f, "this node {check}"),
            Self::NobodyBetter { check, others } => {
                write!(
                    f,
                    "this node {check}, but no other node can run it: {others}"
                )
            }
            Self::NotReady(text) => write!(f, "failback_when there says: {text}"),
            Self::VotesCounted => write!(f, "the votes were counted"),
            Self::AllOthersDead => write!(
                f,
                "an administrator has confirmed that every other voter is dead (hactl fence confirm)"
            ),
            Self::VotersChange(text) => f.write_str(text),
            Self::NodeWasStopped => write!(
                f,
                "this node was stopped meanwhile, and another node may have taken it over"
            ),
            Self::WaitOver => write!(f, "every other node is heard, has left or counts as dead"),
            Self::OfferedBy(n) => write!(f, "{n} offers it"),
            Self::CannotRun(n, why) => write!(f, "{n} {why}"),
            Self::NoReasonToMove => write!(f, "there is no longer a reason to move it"),
            Self::MovedOften => write!(
                f,
                "it has moved three times within a minute, so it is not moved again until the minute is over"
            ),
            Self::Maintenance => write!(f, "it is in maintenance"),
            Self::GivenAway => write!(f, "an administrator told this node to give it away"),
            Self::NobodyElse => write!(f, "no other node can run it, so it is tried again here"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{GroupName, NodeName, Term};

    #[test]
    fn a_decision_is_a_sentence_with_a_true_reason() {
        let bob = || NodeName::new("bob");
        let web = GroupName::new("web");
        let group = |what, because| Decision::group(&web, what, because).to_string();
        let node = |what, because| Decision::node(what, because).to_string();
        let (votes, total) = (1, 3);
        let stopped = Duration::from_millis(40_700);
        for (said, expected) in [
            (
                node(What::QuorumLost { votes, total }, Because::VotesCounted),
                "quorum lost: 1 of 3 votes, 2 needed",
            ),
            (
                node(What::QuorumGained { votes, total }, Because::VotesCounted),
                "votes do not limit this node: quorum is off or ignored",
            ),
            (
                node(What::Gap(stopped), Because::NodeWasStopped),
                "this node was stopped for 40.7 s (paused VM, suspend or overload?); nothing it knew before is trusted",
            ),
            (
                node(
                    What::PingDown("10.0.0.254".into()),
                    Because::SilentFor(Duration::from_secs(10)),
                ),
                "ping node 10.0.0.254 does not answer: no reply for 10 s",
            ),
            (
                node(What::PingIsMember("10.0.0.2".into(), bob()), Because::Heard),
                "ping node 10.0.0.2 is the machine of bob, which sends heartbeats from its address: it has no vote",
            ),
            (
                group(
                    What::OfferEnded(bob()),
                    Because::CannotRun(bob(), "is dead".into()),
                ),
                "web: withdrew its offer to bob: bob is dead",
            ),
            (
                group(What::Claim(Term(4)), Because::OfferedBy(bob())),
                "web: claiming (term 4): bob offers it",
            ),
            (
                group(
                    What::Restart {
                        resource: "nginx".into(),
                        count: 1,
                        of: 3,
                        within: Duration::from_secs(600),
                    },
                    Because::Agent("it does not run".into()),
                ),
                "web: restarting nginx in place (1 of 3 restarts within 10 min): it does not run",
            ),
            (
                group(What::Commanded("standby".into()), Because::Administrator),
                "web: administrator command: standby",
            ),
            (
                group(What::Stuck, Because::Agent("busy".into())),
                "web: stuck: its stop failed, so it may still run here: busy; stop it by hand, then run hactl clear web",
            ),
        ] {
            assert_eq!(said, expected);
        }
    }
}
