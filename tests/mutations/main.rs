//! Shows that the simulator finds what it looks for. Each fault of the table is put into a copy of the engine; the
//! simulator, built with that copy, must then see a promise broken.
//!
//! An ordinary test run only checks that the table still fits the engine. `tests/run mutations` tries every fault, or
//! those whose names contain one of some texts: `HAD_MUTATIONS='12:|memory' tests/run mutations`. It prints the invariant
//! or the scenario that caught each fault, and after how many random runs. `README.md` here has the last result.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fencing_rules;
mod judge;
mod later_rules;
mod table;
mod workshop;

use std::fs;
use std::path::Path;

use judge::Verdict;
use table::{Mutation, mutations};
use workshop::Workshop;

fn engine_file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/engine")
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // A test runner first asks which tests there are.
    if words.iter().any(|w| w == "--list") {
        if !words.iter().any(|w| w == "--ignored") {
            println!("each_mutation_has_one_place_and_a_name_of_its_own: test");
        }
        return;
    }
    each_mutation_has_one_place_and_a_name_of_its_own();
    workshop::scenarios_use_only_what_is_pure();
    if let Ok(wanted) = std::env::var("HAD_MUTATIONS") {
        every_mutation_is_caught(&wanted);
    }
}

fn each_mutation_has_one_place_and_a_name_of_its_own() {
    let mut names: Vec<&str> = mutations().map(|m| m.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(
        names.len(),
        mutations().count(),
        "two mutations have one name"
    );
    let lost: Vec<String> = mutations()
        .map(|m| (m, engine_file(m.file).matches(m.find).count()))
        .filter(|(_, found)| *found != 1)
        .map(|(m, found)| format!("{}: its text is {found} times in {}", m.name, m.file))
        .collect();
    assert!(lost.is_empty(), "{}", lost.join("\n"));
}

/// Builds the simulator with each of the wanted faults and tries it.
fn every_mutation_is_caught(wanted: &str) {
    let chosen: Vec<&Mutation> = mutations()
        .filter(|m| wanted.split('|').any(|w| m.name.contains(w)))
        .collect();
    assert!(!chosen.is_empty(), "no mutation is named like {wanted:?}");
    let workshop = Workshop::new();
    let sound = workshop.run(None);
    assert!(
        matches!(sound, Verdict::Survived { .. }),
        "the engine as it is does not pass: {sound}"
    );
    println!("| mutation | caught |\n|---|---|\n| none | {sound} |");
    let mut survivors = Vec::new();
    for mutation in chosen {
        let verdict = workshop.run(Some(mutation));
        println!("| {} | {verdict} |", mutation.name);
        if !verdict.caught() {
            survivors.push(mutation.name);
        }
    }
    assert!(
        survivors.is_empty(),
        "not caught:\n{}",
        survivors.join("\n")
    );
}
