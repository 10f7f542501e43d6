//! A split brain that was forced by hand: found on both sides, shown, and repaired by the commands that are shown.

use super::database::has_all;
use crate::network::NAMES;
use crate::pair::Pair;

/// Each side wrote what the other lacks.
pub fn split_brain(pair: &mut Pair) {
    for name in ["test7", "test6"] {
        pair.stop_had(name);
    }
    pair.both("drbdadm disconnect db");
    for name in NAMES {
        pair.on(name).sh(&format!(
            "drbdadm primary --force db && mount /dev/drbd1 /database && echo {name} >/database/side && \
             umount /database && drbdadm secondary db"
        ));
    }
    pair.both("drbdadm connect db");
    for name in NAMES {
        pair.until_drbd(name, "cstate", "StandAlone");
    }
    for name in NAMES {
        pair.start_had(name);
    }
    for name in NAMES {
        pair.until_active(name);
    }
    for name in NAMES {
        pair.says(name, "split brain");
    }
    for name in NAMES {
        assert!(
            pair.drbd(name, "role").starts_with("Secondary"),
            "{name} began with half of the data"
        );
    }
    let view = pair.on("test6").sh("hactl drbd");
    println!("{view}");
    repair(pair, &view, "test7");
    for name in NAMES {
        pair.until_drbd(name, "dstate", "UpToDate/UpToDate");
    }
    pair.on("test6").run("hactl clear IPaddr; hactl takeover");
    pair.until_online("test6");
    has_all(pair, "test6");
    assert_eq!(pair.on("test6").sh("cat /database/side"), "test7\n");
}

/// Types what the view says for keeping one side.
fn repair(pair: &Pair, view: &str, keep: &str) {
    let choice = view.split("  to keep ").find(|part| part.starts_with(keep));
    let choice = choice.unwrap_or_else(|| panic!("no way to keep {keep}: {view}"));
    let mut typed = 0;
    for line in choice.lines().filter_map(|l| l.trim().strip_prefix("on ")) {
        let (name, commands) = line.split_once(':').unwrap();
        let commands = commands.split("   (").next().unwrap();
        let name = NAMES.iter().find(|n| **n == name).unwrap();
        let output = pair.on(name).run(commands);
        println!(
            "    {name}:{commands}: {} {}",
            output.code,
            output.stderr.trim()
        );
        typed += 1;
    }
    assert_eq!(typed, 2, "{choice}");
}
