//! Rules 30 and 32: who sends under a name, and which machine that is.

use std::time::Duration;

use had::engine::Command;
use had::model::cluster::Cluster;
use had::model::heartbeat::GroupState;
use had::model::identity::{Identity, Instance};

use super::alone::{Alone, Broken, cluster, g, report, without_addresses};
use crate::{ms, secs};

/// How long a stop of the storage may take.
const STOP: Duration = Duration::from_secs(20);

/// Three nodes, and a group on shared storage.
fn on_storage() -> Cluster {
    let mut three = without_addresses(cluster(&["a", "b", "c"]));
    let storage = three.groups[0].steps.last_mut().unwrap();
    (storage.shared_storage, storage.removal, storage.stop) = (true, STOP, STOP);
    three
}

/// The daemon of b dies while b has the group, and b is taken for dead. Nobody can ask its machine: no address is known.
fn after_the_death_of_the_owner() -> Alone {
    let mut a = Alone::in_cluster(on_storage(), &["b", "c"], Broken::Nothing);
    a.says("b", report(GroupState::Online, 1));
    a.run_for(secs(1));
    a.voice("b").silent = true;
    a.run_for(secs(3));
    assert!(a.believes_dead("b"));
    a
}

#[test]
fn rule_30_the_second_machine_of_a_name_gives_way_when_a_peer_says_so() {
    let mut a = Alone::identified(cluster(&["a", "b", "c"]), &["b", "c"]);
    a.run_with_agreement(&["b", "c"], secs(2));
    assert_eq!(a.ours().state, GroupState::Online);
    // The other machine of the name is not heard here.
    a.voice("b").first = Some(Instance(8));
    a.run_for(ms(600));
    assert_eq!(a.ours().state, GroupState::Offline, "it stops");
    a.run_for(secs(10));
    assert_eq!(a.ours().state, GroupState::Offline, "and claims nothing");
    // It is gone.
    a.voice("b").first = None;
    a.run_for(secs(3));
    a.run_with_agreement(&["b", "c"], secs(2));
    assert_eq!(a.ours().state, GroupState::Online);
}

#[test]
fn rule_32_a_machine_that_nobody_can_ask_is_waited_for_twice_the_stop_deadlines() {
    let mut a = after_the_death_of_the_owner();
    a.run_with_agreement(&["c"], secs(36));
    assert!(!a.started, "{:?}", a.ours());
    a.run_with_agreement(&["c"], secs(5));
    assert!(a.started, "{:?}", a.ours());
}

#[test]
fn rule_32_what_a_node_says_by_another_configuration_frees_nothing() {
    for (digest, frees) in [(1, true), (2, false)] {
        let mut a = after_the_death_of_the_owner();
        // Nothing is claimed here while b is heard.
        a.command(Command::Standby {
            groups: vec![g()],
            lasting: true,
        });
        a.says("b", report(GroupState::Offline, 1));
        let b = a.voice("b");
        (b.silent, b.life, b.digest) = (false, 2, digest);
        a.run_for(secs(2));
        a.voice("b").silent = true;
        a.run_for(secs(3));
        a.command(Command::Takeover {
            groups: vec![g()],
            force: false,
        });
        a.run_with_agreement(&["c"], STOP);
        assert_eq!(a.started, frees, "{:?}", a.ours());
    }
}

/// Who a life of b is.
fn life(own: u64, before: Option<u64>) -> Identity {
    Identity {
        instance: Some(Instance(own)),
        succeeds: before.map(Instance),
    }
}

/// The daemon of b is killed while b has the group, and a next life of b is heard.
fn after_the_next_life(a: &mut Alone, identity: Identity, tells: bool) {
    a.says("b", report(GroupState::Online, 1));
    a.voice("b").identity = life(1, None);
    a.run_for(secs(1));
    a.voice("b").silent = true;
    a.run_for(secs(3));
    a.says("b", report(GroupState::Offline, 1));
    let b = a.voice("b");
    (b.silent, b.life, b.tells) = (false, 2, tells);
    b.identity = identity;
    a.run_for(secs(1));
}

#[test]
fn rule_32_the_next_life_in_the_same_boot_speaks_for_its_machine() {
    for (before, frees) in [(Some(1), true), (None, false)] {
        let mut a = Alone::in_cluster(on_storage(), &["b", "c"], Broken::Nothing);
        after_the_next_life(&mut a, life(2, before), true);
        a.run_with_agreement(&["b", "c"], secs(5));
        assert_eq!(a.started, frees, "{:?}", a.ours());
    }
}

#[test]
fn rule_32_the_next_life_in_the_same_boot_frees_nothing_that_it_does_not_name() {
    let mut a = Alone::in_cluster(on_storage(), &["b", "c"], Broken::Nothing);
    after_the_next_life(&mut a, life(2, Some(1)), false);
    a.voice("b").silent = true;
    a.run_for(secs(3));
    a.run_with_agreement(&["c"], STOP);
    assert!(!a.started, "{:?}", a.ours());
}
