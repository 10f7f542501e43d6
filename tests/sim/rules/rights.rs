//! How long a right lasts: rules 6, 8, 11 and 27.

use had::engine::Event;
use had::model::cluster::{QuorumPolicy, Timing};
use had::model::heartbeat::GroupState;
use had::sim::World;

use super::alone::{Alone, cluster, pair};
use crate::{ms, secs};

#[test]
fn rule_6_the_answer_of_a_ping_node_counts_from_its_question() {
    let mut a = Alone::holding_in(pair("a"), &["b"]);
    a.voice("b").silent = true;
    a.gateway = false;
    // From now on each answer comes late. When b is dead they hold the right alone.
    let late = ms(600);
    for _ in 0..15 {
        a.run_for(ms(200));
        let sent = a.now - late;
        a.tell(Event::Pong { ping: 0, sent });
    }
    let (until, ends) = (a.right(), a.now - late + ms(1600));
    assert!(until > ends - ms(200), "the answers count");
    assert!(until <= ends, "{until:?} after {ends:?}");
}

#[test]
fn rule_6_a_longer_deadtime_counts_when_the_peers_have_heard_of_it() {
    let mut a = Alone::holding(&["b", "c"]);
    a.run_for(secs(1));
    let (at, last) = a.sent.last().cloned().unwrap();
    for voice in a.voices.values_mut() {
        voice.heard = Some(last.sequence);
    }
    let mut slower = cluster(&["a", "b", "c"]);
    slower.timing = Timing {
        warntime: ms(600),
        ..Timing::usual(ms(200), secs(10))
    };
    a.tell(Event::Reconfigured(Box::new(slower)));
    a.run_for(secs(1));
    let until = a.right();
    assert!(until <= at + ms(1600), "{until:?} after {at:?}");
    for voice in a.voices.values_mut() {
        voice.heard = None;
    }
    a.run_for(ms(500));
    assert!(a.right() > a.now + secs(5), "now they have heard of it");
}

#[test]
fn rule_8_who_could_start_it_alone_is_not_waited_for_until_it_does() {
    let mut two = cluster(&["a", "b"]);
    two.quorum = QuorumPolicy::Off;
    let mut a = Alone::holding_in(two, &["b"]);
    a.run_for(secs(1));
    let (at, _) = a.sent.last().cloned().unwrap();
    a.deafen("b");
    // b takes us for dead after two seconds. A right ends 400 ms sooner, in the kernel too.
    a.run_for(ms(1300));
    assert_eq!(a.ours().state, GroupState::Online);
    let until = a.right();
    assert!(until <= at + ms(1600), "{until:?} after {at:?}");
    a.run_for(ms(500));
    assert!(!a.ours().state.holds());
}

#[test]
fn rule_11_a_right_that_was_stretched_for_a_restart_is_cut_to_the_usual_time() {
    let stored = World::BEGIN + secs(30);
    let names = ["b", "c"];
    let mut a = Alone::restarted(cluster(&["a", "b", "c"]), &names, stored);
    a.run_for(secs(1));
    assert_eq!(a.ours().state, GroupState::Online, "it is adopted");
    // They count deadtime from what they heard last of the new life.
    for voice in a.voices.values_mut() {
        voice.silent = true;
    }
    a.run_for(ms(1800));
    assert!(!a.ours().state.holds());
}

#[test]
fn rule_27_an_answer_counts_only_where_the_peer_would_have_heard_us_too() {
    let mut a = Alone::holding_in(pair("a"), &["b"]);
    a.run_for(secs(1));
    let (at, _) = a.sent.last().cloned().unwrap();
    a.deafen("b");
    // Until warntime nothing is relayed to b, so it may reach the ping node and not hear of us.
    a.run_for(ms(550));
    let until = a.right();
    assert!(until <= at + ms(1600), "{until:?} after {at:?}");
    a.run_for(ms(1250));
    assert_eq!(a.ours().state, GroupState::Online);
    assert!(a.right() > at + secs(2), "what is relayed, it would hear");
}
