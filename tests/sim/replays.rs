//! Scripts that once broke a promise, each with a comment that says which and why.
//!
//! `HAD_REPLAY=FILE` runs any script and prints its timeline.

use std::fs;
use std::path::Path;

use had::sim::{FaultScript, run};

fn read(path: &Path) -> FaultScript {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    FaultScript::read(&text).unwrap_or_else(|problems| panic!("{}:\n{problems}", path.display()))
}

#[test]
fn what_once_broke_a_promise_breaks_none_now() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sim/replays");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    paths.sort();
    assert!(paths.len() > 2, "the scripts must be seen");
    let mut broken = String::new();
    for path in paths {
        let script = read(&path);
        let name = path.display();
        assert!(
            !script.notes.is_empty(),
            "{name} must begin with a comment that says what it broke"
        );
        let report = run(&script);
        assert_eq!(
            report.not_promised, None,
            "{name} proves nothing about owners"
        );
        assert!(
            report.unsettled.is_empty(),
            "{name}: {:?}",
            report.unsettled
        );
        if let Some(violation) = report.first() {
            broken += &format!("{name}: {violation}\n");
        }
    }
    assert!(broken.is_empty(), "{broken}");
}

#[test]
fn a_replay_of_any_script_tells_its_story() {
    let Ok(path) = std::env::var("HAD_REPLAY") else {
        return;
    };
    let report = run(&read(Path::new(&path)));
    println!("{}", report.story());
    println!(
        "violations: {:#?}\nunpromised: {:?}\nunsettled: {:?}",
        report.violations, report.not_promised, report.unsettled
    );
    for (group, downtime) in &report.groups {
        println!("{group}: {downtime:?}");
    }
}
