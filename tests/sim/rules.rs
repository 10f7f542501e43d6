//! One engine among peers that say what a test wants. Here are the rules of `src/engine/PROTOCOL.md` that a whole cluster
//! keeps even if one of them is broken, because another rule catches the consequence.

mod alone;
mod changes;
mod fencing;
mod machines;
mod rights;
mod standbys;

use had::engine::{Call, Command, Event, OrderId, Outcome};
use had::model::hardware_address::HardwareAddress;
use had::model::health::Policy;
use had::model::heartbeat::GroupState;
use had::model::{NodeName, Sequence, Term};
use had::sim::World;

use std::time::Duration;

use crate::{ms, secs};
use alone::{Alone, Broken, cluster, g, pair, recognition, report};

#[test]
fn rule_1_of_two_holders_the_one_that_keeps_is_recognised() {
    let mut a = Alone::among(&["b", "c", "d"]);
    a.says("b", report(GroupState::Online, 1));
    a.run_for(secs(1));
    assert_eq!(a.ours().to, Some(recognition("b", 1, 1, true)));
    a.says("c", report(GroupState::Online, 5));
    a.says("d", report(GroupState::Online, 3));
    a.run_for(secs(1));
    a.says("b", report(GroupState::Offline, 1));
    a.run_for(secs(1));
    assert_eq!(a.ours().to, Some(recognition("d", 1, 3, true)));
}

#[test]
fn rule_1_who_claims_recognises_itself() {
    let mut a = Alone::among(&["b", "c"]);
    a.run_for(secs(1));
    a.says("c", report(GroupState::Claiming, 9));
    a.run_for(ms(300));
    let ours = a.ours();
    assert_eq!(ours.state, GroupState::Claiming);
    assert_eq!(ours.to, Some(recognition("a", 2, ours.term.0, false)));
}

#[test]
fn rule_3_a_claim_takes_a_term_above_all_that_were_seen() {
    let mut a = Alone::among(&["b", "c"]);
    a.says("b", report(GroupState::Offline, 41));
    a.run_for(secs(1));
    assert_eq!(a.ours().state, GroupState::Claiming);
    assert_eq!(a.ours().term, Term(42));
}

#[test]
fn rule_3_a_term_is_used_when_it_is_on_disk() {
    let mut a = Alone::with(&["b", "c"], Broken::Disk);
    a.run_for(secs(1));
    assert_eq!(a.ours().state, GroupState::Offline);
    for version in std::mem::take(&mut a.saves) {
        a.tell(Event::Saved { version });
    }
    assert_eq!(a.ours().state, GroupState::Claiming);
}

#[test]
fn rule_4_a_claim_ends_when_a_peer_recognises_a_node_that_we_do_not_hear() {
    let mut a = Alone::among(&["b", "c"]);
    a.run_for(secs(1));
    assert_eq!(a.ours().state, GroupState::Claiming);
    a.voice("b").silent = true;
    a.run_for(secs(3));
    assert_eq!(a.ours().state, GroupState::Claiming);
    let mut hearsay = report(GroupState::Offline, 0);
    hearsay.to = Some(recognition("b", 1, 1, true));
    a.says("c", hearsay);
    a.run_for(ms(300));
    assert_eq!(a.ours().state, GroupState::Offline);
}

#[test]
fn rule_5_an_agreement_to_an_older_life_does_not_count() {
    let mut a = Alone::among(&["b", "c"]);
    a.run_for(secs(1));
    let term = a.ours().term.0;
    a.agrees("c");
    a.voice("b").report.to = Some(recognition("a", 1, term, false));
    a.run_for(secs(1));
    assert!(!a.started);
    a.agrees("b");
    a.run_for(ms(300));
    assert!(a.started);
}

#[test]
fn rule_5_a_node_that_was_not_heard_yet_is_waited_for() {
    let mut a = Alone::among(&["b", "c"]);
    a.run_for(secs(1));
    assert_eq!(a.ours().state, GroupState::Claiming);
    let with_d = cluster(&["a", "b", "c", "d"]);
    a.tell(Event::Reconfigured(Box::new(with_d)));
    a.agrees("b");
    a.agrees("c");
    a.run_for(secs(1));
    assert!(!a.started);
}

#[test]
fn rule_6_the_right_lasts_from_the_sending_of_what_is_confirmed() {
    let mut a = Alone::holding(&["b", "c"]);
    a.run_for(secs(1));
    // From now on both say that they do not hear us.
    let (at, last) = a.sent.last().cloned().unwrap();
    for voice in a.voices.values_mut() {
        voice.heard = Some(last.sequence);
    }
    a.run_for(secs(4));
    let until = a.right();
    assert!(until <= at + secs(2), "{until:?} after {at:?}");
}

#[test]
fn rule_6_nothing_is_started_without_a_right_although_all_agreed() {
    let mut a = Alone::among(&["b", "c", "d", "e"]);
    a.run_for(secs(1));
    for name in ["b", "d", "e"] {
        a.agrees(name);
    }
    a.run_for(ms(300));
    for name in ["b", "d", "e"] {
        a.voice(name).silent = true;
    }
    // They still live, but what they confirmed is older than a lease lasts.
    a.run_for(ms(1750));
    assert_eq!(a.ours().state, GroupState::Claiming);
    a.agrees("c");
    a.run_for(ms(100));
    assert!(!a.started);
}

#[test]
fn rule_8_the_agreement_of_a_deaf_peer_does_not_count() {
    let mut a = Alone::in_cluster(pair("a"), &["b"], Broken::Nothing);
    a.run_for(secs(1));
    assert_eq!(a.ours().state, GroupState::Claiming);
    a.deafen("b");
    a.run_for(ms(2500));
    a.agrees("b");
    a.run_for(secs(1));
    assert_eq!(a.ours().state, GroupState::Claiming);
    assert!(!a.started);
}

#[test]
fn rule_8_a_deaf_peer_has_no_vote() {
    let mut a = Alone::among(&["b", "c"]);
    a.run_for(secs(1));
    assert!(a.sent.last().unwrap().1.quorate);
    for name in ["b", "c"] {
        a.deafen(name);
    }
    a.run_for(ms(2500));
    assert!(!a.sent.last().unwrap().1.quorate);
}

#[test]
fn rule_8_a_deaf_peer_is_no_candidate() {
    let mut back_to_b = cluster(&["a", "b", "c"]);
    back_to_b.auto_failback = true;
    back_to_b.groups[0].preferred = NodeName::new("b");
    let mut a = Alone::in_cluster(back_to_b, &["b", "c"], Broken::Nothing);
    a.voice("b").report.can = false;
    a.run_for(secs(1));
    for time in [ms(600), ms(100)] {
        a.agrees("b");
        a.agrees("c");
        a.run_for(time);
    }
    assert_eq!(a.ours().state, GroupState::Online);
    a.deafen("b");
    a.run_for(ms(2500));
    a.voice("b").report.can = true;
    a.run_for(secs(1));
    assert_eq!(a.ours().state, GroupState::Online);
    assert_eq!(a.ours().offer, None);
    a.voice("b").heard = None;
    a.run_for(ms(500));
    assert!(a.ours().offer.is_some(), "it hears us again");
}

#[test]
fn rule_8_a_deaf_owner_with_quorum_is_given_way_to_whatever_its_term() {
    let mut a = Alone::holding(&["b", "c"]);
    a.run_for(secs(1));
    a.deafen("b");
    // A third node hears us and recognises us, so nobody will act without us.
    a.run_for(ms(2500));
    assert_eq!(a.ours().state, GroupState::Online);
    a.says("b", report(GroupState::Online, 99));
    a.run_for(ms(300));
    assert!(!a.ours().state.holds());
}

#[test]
fn rule_9_whoever_started_while_it_supported_us_shows_that_our_clock_stood_still() {
    let mut a = Alone::holding(&["b", "c"]);
    a.run_for(secs(1));
    a.says("b", report(GroupState::Online, 99));
    a.voice("b").report.to = Some(recognition("b", 1, 99, true));
    a.run_for(ms(300));
    assert!(!a.ours().state.holds());
}

#[test]
fn rule_9_nor_need_it_be_heard_itself() {
    let mut a = Alone::holding(&["b", "c"]);
    a.run_for(secs(1));
    a.voice("b").silent = true;
    a.run_for(secs(3));
    assert_eq!(a.ours().state, GroupState::Online);
    // c confirmed us until now, and knows of an owner that there can be only after deadtime without us.
    a.voice("c").report.to = Some(recognition("b", 1, 99, true));
    a.run_for(ms(300));
    assert!(!a.ours().state.holds());
}

#[test]
fn rule_9_one_that_has_not_heard_that_we_have_it_is_not_given_way_to() {
    let mut a = Alone::holding(&["b", "c"]);
    a.voice("b").silent = true;
    a.run_for(secs(3));
    assert!(a.believes_dead("b"));
    // What it heard last of us is older than a lease.
    a.voice("b").silent = false;
    a.voice("b").heard = Some(Sequence(1));
    a.says("b", report(GroupState::Online, 0));
    a.run_for(ms(300));
    assert_eq!(a.ours().state, GroupState::Online);
    a.voice("b").heard = None;
    a.run_for(ms(300));
    assert!(!a.ours().state.holds());
}

#[test]
fn rule_9_who_keeps_it_announces_it_when_the_contest_begins_and_ends() {
    let mut a = Alone::holding(&["b", "c"]);
    a.run_for(secs(1));
    // A third node hears us meanwhile.
    a.deafen("b");
    a.run_for(ms(2500));
    let before = a.announced;
    a.voice("b").heard = None;
    a.says("b", report(GroupState::Online, 99));
    a.run_for(ms(300));
    assert_eq!(a.announced - before, 1);
    a.agrees("b");
    a.voice("b").report.state = GroupState::Offline;
    a.run_for(ms(300));
    assert_eq!(a.ours().state, GroupState::Online);
    assert_eq!(a.announced - before, 2);
}

#[test]
fn rule_10_silence_from_before_an_answer_does_not_count() {
    let mut a = Alone::in_cluster(pair("a"), &["b"], Broken::Nothing);
    a.run_for(secs(1));
    a.voice("b").silent = true;
    let asked = a.now;
    a.run_for(secs(3));
    assert_eq!(a.ours().state, GroupState::Claiming);
    a.tell(Event::AddressAnswered {
        group: g(),
        who: "somebody".to_owned(),
        hardware: None,
    });
    for _ in 0..5 {
        a.tell(Event::AddressSilent {
            group: g(),
            sent: asked,
        });
    }
    a.run_for(ms(300));
    assert!(!a.started);
    let sent = a.now;
    for _ in 0..5 {
        a.tell(Event::AddressSilent { group: g(), sent });
    }
    a.run_for(ms(300));
    assert!(a.started);
}

fn hardware(last: u8) -> HardwareAddress {
    HardwareAddress([2, 0, 0, 0, 0, last])
}

/// Node a claims its group at a cold start, node b agrees, and this hardware address answers for the address of the group.
/// Returns how long the start was held.
fn held_by_answers_of(last: u8) -> Duration {
    let mut a = Alone::in_cluster(pair("a"), &["b"], Broken::Nothing);
    a.tell(Event::OwnHardware(vec![hardware(1)]));
    a.voice("b").hardware = vec![hardware(2)];
    a.run_for(ms(100));
    assert_eq!(a.ours().state, GroupState::Claiming);
    let begun = a.now;
    a.agrees("b");
    while !a.started && a.now.since(begun) < secs(60) {
        a.tell(Event::AddressAnswered {
            group: g(),
            who: "10.0.0.5 is answered by it".to_owned(),
            hardware: Some(hardware(last)),
        });
        a.run_for(ms(50));
    }
    assert!(a.started);
    a.now.since(begun)
}

#[test]
fn rule_33_a_foreign_machine_holds_a_cold_start_for_ten_seconds() {
    let held = held_by_answers_of(9);
    assert!(held >= ms(9800) && held <= secs(11), "{held:?}");
    let by_a_node = held_by_answers_of(2);
    assert!(by_a_node <= secs(1), "{by_a_node:?}");
}

#[test]
fn rule_11_nothing_is_promised_before_it_is_known_what_runs_here() {
    let mut a = Alone::with(&["b", "c"], Broken::Looks);
    a.says("b", report(GroupState::Claiming, 5));
    a.run_for(secs(1));
    assert_eq!(a.ours().state, GroupState::Unknown);
    assert_eq!(a.ours().to, None);
    a.says("b", report(GroupState::Online, 5));
    a.run_for(secs(1));
    assert_eq!(a.ours().to, Some(recognition("b", 1, 5, true)));
}

#[test]
fn rule_13_what_a_former_life_said_counts_no_more() {
    let mut a = Alone::among(&["b", "c"]);
    a.run_for(secs(1));
    a.agrees("b");
    a.run_for(ms(300));
    let b = a.voice("b");
    (b.life, b.tells) = (2, false);
    a.run_for(ms(300));
    a.agrees("c");
    a.run_for(secs(1));
    assert!(!a.started);
    a.voice("b").tells = true;
    a.agrees("b");
    a.run_for(ms(300));
    assert!(a.started);
}

#[test]
fn what_goes_up_in_order_comes_down_in_the_reverse() {
    let world = World::new(&["a", "b"]).group("g", "a", 2).ping("gateway");
    let mut a = Alone::in_cluster(world.cluster, &["b"], Broken::Nothing);
    a.run_for(secs(1));
    a.agrees("b");
    a.run_for(ms(300));
    a.command(Command::Leave);
    a.voice("b").report.can = false; // else it would be asked to take it first
    a.run_for(secs(6));
    let wanted = [
        Call::Probe,
        Call::Start(0),
        Call::Start(1),
        Call::Start(2),
        Call::Stop(2),
        Call::Stop(1),
        Call::Stop(0),
    ];
    assert_eq!(a.calls, wanted);
}

#[test]
fn the_end_of_an_order_that_is_not_ours_ends_nothing() {
    let mut a = Alone::with(&["b", "c"], Broken::Starts);
    a.run_for(secs(1));
    a.agrees("b");
    a.agrees("c");
    a.run_for(ms(300));
    assert_eq!(a.ours().state, GroupState::Starting);
    a.tell(Event::Done {
        group: g(),
        order: OrderId(99),
        outcome: Outcome::Succeeded,
    });
    a.run_for(ms(300));
    assert_eq!(a.ours().state, GroupState::Starting);
}

#[test]
fn one_good_look_does_not_forget_a_bad_one_where_rise_wants_two() {
    let mut three = cluster(&["a", "b", "c"]);
    three.groups[0].steps[0].policy = Some(Policy {
        fall: 2,
        rise: 2,
        restart: 1,
        within: secs(60),
    });
    let mut a = Alone::holding_in(three, &["b", "c"]);
    a.run_for(ms(100));
    for ill in [true, false, true] {
        assert!(!a.calls.contains(&Call::Stop(0)));
        let result = if ill { Err("ill".to_owned()) } else { Ok(()) };
        let (group, step) = (g(), 0);
        a.tell(Event::Monitored {
            group,
            step,
            result,
        });
    }
    assert!(a.calls.contains(&Call::Stop(0)), "restarted in place");
}

#[test]
fn two_failures_that_arrive_together_restart_it_in_place_once() {
    let mut three = cluster(&["a", "b", "c"]);
    three.groups[0].steps[0].policy = Some(Policy {
        fall: 1,
        rise: 1,
        restart: 1,
        within: secs(60),
    });
    let mut a = Alone::holding_in(three, &["b", "c"]);
    a.run_for(ms(100));
    let failure = || Event::Monitored {
        group: g(),
        step: 0,
        result: Err("ill".to_owned()),
    };
    a.take(failure());
    a.tell(failure());
    a.run_for(ms(300));
    assert_eq!(a.ours().state, GroupState::Online);
    let stops = a.calls.iter().filter(|c| **c == Call::Stop(0));
    assert_eq!(stops.count(), 1, "{:?}", a.calls);
}

#[test]
fn what_is_remembered_does_not_grow_with_time() {
    let mut a = Alone::holding(&["b", "c"]);
    a.run_for(secs(60));
    let before = a.burden();
    for on in [true, false].repeat(200) {
        let groups = vec![g()];
        a.command(Command::Maintenance { groups, on });
        a.run_for(ms(400));
    }
    a.run_for(secs(60));
    let after = a.burden();
    let wanted = (before.pending, before.saving);
    assert_eq!((after.pending, after.saving), wanted);
    assert!(after.sent <= before.sent + 5, "{before:?} {after:?}");
}

#[test]
fn a_life_that_came_back_early_is_waited_for_as_announced_until_it_has_looked() {
    for (looked, dead) in [(false, false), (true, true)] {
        let mut a = Alone::among(&["b", "c"]);
        a.voice("b").back_within = Some(secs(30));
        a.run_for(ms(300));
        let state = if looked {
            GroupState::Offline
        } else {
            GroupState::Unknown
        };
        let b = a.voice("b");
        (b.life, b.back_within, b.report.state) = (2, None, state);
        a.run_for(ms(300));
        a.voice("b").silent = true;
        a.run_for(secs(5));
        assert_eq!(a.believes_dead("b"), dead);
    }
}
