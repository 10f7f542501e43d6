//! What a cluster may lose, by a crash, an orderly stop or a boot without it, so that the rest runs its groups. The README and
//! had(7) print the rows of this table.

use std::fs;

use crate::*;
use had::engine::Command;
use had::model::cluster::QuorumPolicy;
use had::sim::World;

const NAMES: [&str; 5] = ["alice", "bob", "carol", "dave", "eve"];
const GATEWAY: &str = "gateway";

/// A row as it is printed: the cluster, what it goes on without, and what ends it.
type Printed = [&'static str; 3];

const TWO: Printed = ["two nodes", "either one", "both"];
const THREE: Printed = [
    "two nodes with a ping node or a witness; three nodes",
    "any one of the three",
    "any two",
];
const FOUR: Printed = [
    "four nodes",
    "any one; or two without the first in ha.cf",
    "the first and another",
];
const FIVE: Printed = ["five nodes", "any two", "any three"];

/// One kind of cluster.
struct Row {
    printed: Printed,
    /// Nodes, without a witness.
    nodes: usize,
    third: Third,
    /// Whether the rest runs the groups without these members.
    survives: fn(lost: &[&str]) -> bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Third {
    None,
    PingNode,
    Witness,
}

const TABLE: [Row; 6] = [
    row(TWO, 2, Third::None, |lost| lost.len() < 2),
    row(THREE, 2, Third::PingNode, |lost| lost.len() < 2),
    row(THREE, 2, Third::Witness, |lost| lost.len() < 2),
    row(THREE, 3, Third::None, |lost| lost.len() < 2),
    row(FOUR, 4, Third::None, |lost| {
        lost.len() < 2 || lost.len() == 2 && !lost.contains(&NAMES[0])
    }),
    row(FIVE, 5, Third::None, |lost| lost.len() < 3),
];

const fn row(printed: Printed, nodes: usize, third: Third, survives: fn(&[&str]) -> bool) -> Row {
    Row {
        printed,
        nodes,
        third,
        survives,
    }
}

/// The ways to lose a member.
#[derive(Clone, Copy, Debug)]
enum Loss {
    Crash,
    OrderlyStop,
    NotBooted,
}

impl Row {
    fn world(&self) -> World {
        let mut names = NAMES[..self.nodes].to_vec();
        let mut votes = QuorumPolicy::Stop;
        match self.third {
            Third::Witness => names.push("witness"),
            Third::None if self.nodes == 2 => votes = QuorumPolicy::Off,
            _ => {}
        }
        let mut world = World::new(&names);
        match self.third {
            Third::Witness => world = world.witness("witness"),
            Third::PingNode => world = world.ping(GATEWAY),
            Third::None => {}
        }
        world
            .group("db", "alice", 0)
            .with(move |c| c.quorum = votes)
    }

    fn members(&self) -> Vec<&'static str> {
        let third = match self.third {
            Third::None => None,
            Third::PingNode => Some(GATEWAY),
            Third::Witness => Some("witness"),
        };
        NAMES[..self.nodes].iter().copied().chain(third).collect()
    }

    /// The nodes that run the group in the end.
    fn owners_without(&self, lost: &[&str], how: Loss) -> (World, usize) {
        let mut world = self.world();
        let nodes: Vec<_> = self.members();
        let nodes: Vec<_> = nodes.into_iter().filter(|m| *m != GATEWAY).collect();
        let is_missing = |node: &str| matches!(how, Loss::NotBooted) && lost.contains(&node);
        if matches!(how, Loss::NotBooted) && lost.contains(&GATEWAY) {
            blind(&mut world, self.nodes);
        }
        for node in nodes.iter().filter(|n| !is_missing(n)) {
            world.start(node);
        }
        world.run_for(secs(15));
        for member in lost.iter().filter(|m| !is_missing(m)) {
            match how {
                _ if *member == GATEWAY => blind(&mut world, self.nodes),
                Loss::Crash => world.crash(member),
                _ => {
                    world.command(member, Command::Leave);
                    world.run_for(secs(5));
                }
            }
        }
        world.run_for(secs(20));
        let owners = world.runs_on("db").len();
        (world, owners)
    }
}

fn blind(world: &mut World, nodes: usize) {
    for node in &NAMES[..nodes] {
        world.set_ping_visible(node, 0, false);
    }
}

fn subsets<'a>(members: &[&'a str]) -> Vec<Vec<&'a str>> {
    let all = 0..1_u32 << members.len();
    let members_of = |mask: u32| {
        let chosen = members.iter().enumerate();
        let chosen = chosen.filter(|(nth, _)| mask & (1 << nth) != 0);
        chosen.map(|(_, member)| *member).collect()
    };
    all.map(members_of).collect()
}

#[test]
fn each_cluster_goes_on_and_stops_as_the_table_says() {
    for row in &TABLE {
        let members = row.members();
        let nodes = &NAMES[..row.nodes];
        for lost in subsets(&members) {
            if nodes.iter().all(|node| lost.contains(node)) {
                continue;
            }
            for how in [Loss::Crash, Loss::OrderlyStop, Loss::NotBooted] {
                let (world, owners) = row.owners_without(&lost, how);
                let wanted = usize::from((row.survives)(&lost));
                let what = format!("{} without {lost:?}: {how:?}", row.printed[0]);
                assert_eq!(owners, wanted, "{what}\n{}", story(&world));
                no_double(&world);
            }
        }
    }
}

#[test]
fn the_readme_and_the_manual_print_the_table() {
    let read = |path: &str| fs::read_to_string(path).unwrap();
    let (readme, manual) = (read("README.md"), read("packaging/man/had.7"));
    for row in &TABLE {
        let line = format!("| {} |\n", row.printed.join(" | "));
        assert!(readme.contains(&line), "{line}");
        let line = format!(".It {}\n", row.printed.join(" Ta "));
        assert!(manual.contains(&line), "{line}");
    }
}
