//! What changes under way: our own time (rule 12), our number (rule 13), the configuration (rules 25, 27 and 31).

use had::engine::{Command, Event};
use had::model::cluster::{Cluster, QuorumPolicy};
use had::model::heartbeat::GroupState;
use had::model::{Generation, NodeName};
use had::sim::World;

use super::alone::{Alone, Broken, cluster, report, without_addresses};
use crate::{ms, secs};

/// Nodes with a ping node, and a group that no address probe holds up.
fn with_gateway(names: &[&str]) -> Cluster {
    let world = World::new(names).group("g", "a", 0).ping("gateway");
    without_addresses(Cluster {
        me: NodeName::new("a"),
        ..world.cluster
    })
}

#[test]
fn rule_12_what_was_being_started_in_a_gap_gives_way_to_whoever_has_it() {
    let mut two = without_addresses(cluster(&["a", "b"]));
    two.quorum = QuorumPolicy::Off;
    let mut a = Alone::in_cluster(two, &["b"], Broken::Starts);
    a.voice("b").silent = true;
    a.run_for(secs(5));
    assert_eq!(a.ours().state, GroupState::Starting);
    // While our time stood still b has come up, heard nobody and started it, under a higher term than ours.
    a.now = a.now + secs(20);
    a.voice("b").silent = false;
    a.says("b", report(GroupState::Online, 9));
    a.run_for(ms(300));
    assert_eq!(a.ours().state, GroupState::Starting);
    a.mend();
    a.run_for(ms(300));
    assert!(!a.ours().state.holds());
}

#[test]
fn rule_13_a_number_that_a_peer_remembers_of_us_is_left_behind() {
    let mut a = Alone::with(&["b", "c"], Broken::Disk);
    a.voice("b").heard_life = 7;
    a.run_for(secs(1));
    let ours = |a: &Alone| a.sent.last().unwrap().1.generation;
    assert_eq!(ours(&a), Generation(2), "the next one is not on disk");
    for version in std::mem::take(&mut a.saves) {
        a.tell(Event::Saved { version });
    }
    a.run_for(ms(300));
    assert_eq!(ours(&a), Generation(8));
}

#[test]
fn rule_25_the_former_digest_is_published_while_the_former_definition_runs() {
    let mut a = Alone::holding(&["b", "c"]);
    let published = |a: &Alone| a.sent.last().unwrap().1.digest;
    let mut other = cluster(&["a", "b", "c"]);
    let former = std::mem::replace(&mut other.digest, 2);
    other.groups[0].steps[0].members = vec!["another".to_owned()];
    a.broken = Broken::Stops;
    a.tell(Event::Reconfigured(Box::new(other)));
    a.run_for(ms(500));
    assert_eq!(a.ours().state, GroupState::Stopping);
    assert_eq!(published(&a), former);
    a.mend();
    a.run_for(ms(300));
    assert_eq!(a.ours().state, GroupState::Offline);
    assert_eq!(published(&a), 2);
}

#[test]
fn rule_27_what_ping_nodes_answered_before_they_had_a_vote_does_not_count() {
    let three = with_gateway(&["a", "b", "c"]);
    let mut a = Alone::in_cluster(three, &["b", "c"], Broken::Nothing);
    a.run_for(secs(1));
    for voice in a.voices.values_mut() {
        voice.silent = true;
    }
    a.run_for(secs(4));
    assert!(a.believes_dead("b"));
    // Nothing was relayed to b until now, so b would not have been heard through the gateway.
    a.tell(Event::Reconfigured(Box::new(with_gateway(&["a", "b"]))));
    a.command(Command::Forget(NodeName::new("b")));
    a.run_for(ms(1500));
    assert_eq!(a.ours().state, GroupState::Claiming);
    assert!(!a.started);
    a.run_for(secs(1));
    assert!(a.started);
}

#[test]
fn rule_31_ping_nodes_have_no_vote_by_a_former_list_of_three() {
    let mut a = Alone::holding_in(with_gateway(&["a", "b", "c"]), &["b", "c"]);
    a.run_for(secs(1));
    let mut pair = with_gateway(&["a", "b"]);
    pair.digest = 2;
    a.tell(Event::Reconfigured(Box::new(pair)));
    // They have not read the new list, and are a majority of the former one.
    for voice in a.voices.values_mut() {
        voice.silent = true;
    }
    a.run_for(secs(2));
    assert!(!a.ours().state.holds());
}

/// A list of these nodes, and a configuration of its own.
fn with_list(nodes: &[&str], digest: u64) -> Event {
    let cluster = cluster(nodes);
    Event::Reconfigured(Box::new(Cluster { digest, ..cluster }))
}

/// Whom the change of the list waits for.
fn awaited(a: &Alone) -> String {
    let own = a
        .status()
        .nodes
        .into_iter()
        .find(|n| n.name.as_str() == "a");
    let mut notes = own.unwrap().notes;
    notes.retain(|n| n.starts_with("the list of voters changes"));
    notes.join("\n")
}

#[test]
fn rule_31_a_word_on_a_gone_node_is_about_one_change() {
    let mut a = Alone::among(&["b", "c", "d"]);
    a.run_for(secs(1));
    a.voice("b").silent = true;
    a.run_for(secs(4));
    a.tell(with_list(&["a", "b", "c", "d", "e"], 2));
    a.command(Command::Forget(NodeName::new("b")));
    a.run_for(ms(300));
    let first = "the list of voters changes: c and d have not shown";
    assert!(awaited(&a).starts_with(first), "{}", awaited(&a));
    a.tell(with_list(&["a", "b", "c", "d", "e", "f"], 3));
    a.run_for(ms(300));
    let next = "the list of voters changes: b and c and d and e have not shown";
    assert!(awaited(&a).starts_with(next), "{}", awaited(&a));
}

#[test]
fn rule_31_a_stop_is_judged_by_the_former_list_too() {
    let mut a = Alone::among(&["b", "c", "d", "e"]);
    a.run_for(secs(1));
    for name in ["d", "e"] {
        a.voice(name).silent = true;
    }
    a.run_for(secs(4));
    a.tell(with_list(&["a", "b", "c"], 2));
    a.run_for(ms(300));
    // By the new list they have two votes of three.
    a.command(Command::Stop);
    let refusal = a.replies.pop().unwrap().unwrap_err();
    let why = "b and c have 2 of 5 votes, 3 needed";
    assert!(refusal.contains(why), "{refusal}");
}
