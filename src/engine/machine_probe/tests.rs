use super::may_run::term_that_may_run;
use super::*;
use crate::model::cluster::{Cluster, Timing};
use crate::model::heartbeat::{GroupReport, GroupState};
use crate::model::status::Liveness;
use crate::model::{GroupName, Term};

const S: Duration = Duration::from_secs(1);
const STOPS: Duration = Duration::from_secs(60);

fn peer() -> Peer {
    let nodes = ["alice", "bob"].map(NodeName::new);
    let cluster = Cluster::new(&nodes, Timing::usual(S, S * 10));
    Peer::new(nodes[1].clone(), 1, &cluster, Time::ZERO, S)
}

fn db() -> GroupName {
    GroupName::new("db")
}

/// A machine that is asked since 100 s; its daemon is dead since 105 s.
fn asked() -> Machines {
    let mut machines = Machines::default();
    let mut out = Vec::new();
    machines.note(&peer().name, &db(), Some(Term(3)));
    machines.watch(&peer().name, true, at(100), &mut out);
    assert_eq!(out.len(), 1);
    machines
}

fn at(seconds: u32) -> Time {
    Time::ZERO + S * seconds
}

fn verdict(machines: &Machines, now: u32) -> MachineVerdict {
    machines.verdict(&peer(), at(105), at(now), STOPS * 2)
}

/// Requests go out each second.
fn ask(machines: &mut Machines, from: u32, to: u32) {
    for second in from..=to {
        machines.take_asked(&peer().name, at(second));
    }
}

#[test]
fn a_machine_that_cannot_be_asked_is_not_silent_before_its_stops_are_over() {
    let mut machines = asked();
    assert_eq!(verdict(&machines, 224), MachineVerdict::Pending);
    assert_eq!(verdict(&machines, 225), MachineVerdict::Silent);
    ask(&mut machines, 130, 138);
    assert_eq!(verdict(&machines, 139), MachineVerdict::Pending);
    // After a gap the ten seconds begin anew.
    ask(&mut machines, 145, 154);
    assert_eq!(verdict(&machines, 154), MachineVerdict::Pending);
    ask(&mut machines, 155, 155);
    assert_eq!(verdict(&machines, 155), MachineVerdict::Silent);
    assert_eq!(verdict(&machines, 158), MachineVerdict::Pending);
}

#[test]
fn a_silent_node_has_no_address_from_which_another_is_heard() {
    let mut machines = asked();
    let [one, two] = [1, 2].map(|n| IpAddr::from([10, 0, 0, n]));
    let name = peer().name;
    assert!(machines.learn_address(&name, one) && machines.learn_address(&name, two));
    assert!(!machines.learn_address(&name, one), "it is known");
    let mut out = Vec::new();
    assert!(machines.drop_address(&name, two, &mut out));
    let addresses = vec![one];
    assert_eq!(
        out,
        [Action::WatchMachine {
            node: name.clone(),
            addresses
        }]
    );
    assert!(!machines.drop_address(&name, two, &mut out));
    for last in 3..20 {
        machines.learn_address(&name, IpAddr::from([10, 0, 0, last]));
    }
    assert_eq!(machines.0[&name].record.addresses.len(), MAX_ADDRESSES);
}

#[test]
fn a_machine_is_silent_after_ten_seconds_without_any_answer() {
    let mut machines = asked();
    ask(&mut machines, 100, 120);
    assert_eq!(verdict(&machines, 109), MachineVerdict::Pending);
    assert_eq!(verdict(&machines, 110), MachineVerdict::Silent);
    machines.take_answer(&peer().name, MachineAnswer::Echo, at(108));
    assert_eq!(verdict(&machines, 117), MachineVerdict::Answers);
    assert_eq!(verdict(&machines, 118), MachineVerdict::Silent);
    // An answer to an older request is no news.
    machines.take_answer(&peer().name, MachineAnswer::Echo, at(104));
    assert_eq!(verdict(&machines, 117), MachineVerdict::Answers);
    let mut due = Vec::new();
    machines.add_deadlines(at(111), &mut due);
    assert_eq!(due, [at(118)]);
}

#[test]
fn hardware_addresses_alone_count_for_twice_the_stop_deadlines() {
    let mut machines = asked();
    let mut answer = |by, now| {
        machines.take_answer(&peer().name, by, at(now));
        verdict(&machines, now)
    };
    assert_eq!(
        answer(MachineAnswer::Neighbour, 224),
        MachineVerdict::Answers
    );
    assert_eq!(
        answer(MachineAnswer::Neighbour, 225),
        MachineVerdict::Silent
    );
    assert_eq!(answer(MachineAnswer::Echo, 1000), MachineVerdict::Answers);
    assert_eq!(
        answer(MachineAnswer::Neighbour, 1119),
        MachineVerdict::Answers
    );
    assert_eq!(
        answer(MachineAnswer::Neighbour, 1120),
        MachineVerdict::Silent
    );
}

#[test]
fn after_a_gap_it_is_asked_anew() {
    let mut machines = asked();
    machines.take_answer(&peer().name, MachineAnswer::Echo, at(110));
    machines.ask_anew(at(300));
    assert_eq!(verdict(&machines, 309), MachineVerdict::Pending);
    assert_eq!(verdict(&machines, 310), MachineVerdict::Silent);
}

#[test]
fn what_a_dead_peer_may_run_is_kept_until_another_has_it_under_a_later_term() {
    let mut peer = peer();
    peer.liveness = Liveness::Dead;
    let may_run = |held: Option<u64>| {
        let (known, held) = (Some(Term(3)), held.map(Term));
        term_that_may_run(&peer, &db(), known, held, false)
    };
    assert_eq!(may_run(None), Some(Term(3)));
    assert_eq!(may_run(Some(3)), Some(Term(3)));
    assert_eq!(may_run(Some(4)), None);
    assert_eq!(term_that_may_run(&peer, &db(), None, None, false), None);
    peer.liveness = Liveness::Left;
    assert_eq!(
        term_that_may_run(&peer, &db(), Some(Term(3)), None, false),
        None
    );
}

#[test]
fn what_a_living_peer_has_not_said_yet_stays_known() {
    let mut peer = peer();
    (peer.liveness, peer.fresh) = (Liveness::Active, true);
    let known = Some(Term(3));
    assert_eq!(term_that_may_run(&peer, &db(), known, None, false), known);
    let down = GroupReport {
        group: db(),
        state: GroupState::Offline,
        term: Term(3),
        can: true,
        offer: None,
        to: None,
    };
    peer.groups.insert(db(), down);
    assert_eq!(term_that_may_run(&peer, &db(), known, None, false), None);
}

#[test]
fn it_outlives_the_daemon_but_not_an_orderly_stop() {
    let machines = asked();
    assert!(machines.to_keep(true).is_empty());
    let kept = PersistentState {
        machines: machines.to_keep(false),
        ..PersistentState::default()
    };
    let again = Machines::restored(&kept, Time::ZERO);
    assert!(again.may_run(&peer().name, &db()));
    assert_eq!(verdict(&again, 500), MachineVerdict::Pending);
}

#[test]
fn few_addresses_are_remembered_and_no_group_that_is_gone() {
    let mut machines = asked();
    assert!(machines.retain(&[peer()], |g| *g == db()).is_empty());
    assert!(machines.may_run(&peer().name, &db()));
    assert!(machines.retain(&[peer()], |_| false).is_empty());
    assert!(!machines.may_run(&peer().name, &db()));
    assert_eq!(machines.retain(&[], |_| true), [peer().name]);
    assert!(machines.0.is_empty());
}
