//! The rules of the house: what reviewers would otherwise have to remember. Each failure names the rule's reason.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// What each layer may use of the others, `src/lib.rs` draws it.
const ARROWS: [(&str, &[&str]); 14] = [
    ("text", &[]),
    ("model", &["text"]),
    ("engine", &["model", "text"]),
    ("sys", &["model", "text"]),
    ("agent", &["sys", "model", "text"]),
    ("probe", &["agent", "sys", "model", "text"]),
    ("config", &["model", "text"]),
    (
        "assembly",
        &["agent", "config", "probe", "sys", "model", "text"],
    ),
    ("control", &["sys", "model", "text"]),
    ("store", &["engine", "replay", "sys", "model", "text"]),
    ("wire", &["model", "text"]),
    ("replay", &["engine", "model", "text"]),
    ("sim", &["engine", "model", "text"]),
    ("lab", &["sys", "model", "text"]),
];

/// What is not pure: it waits, looks at a clock, or touches the world. Hash maps are walked in another order each time.
const IMPURE: [&str; 22] = [
    "tokio",
    "futures",
    "async",
    "await",
    "Instant",
    "SystemTime",
    "std::fs",
    "std::env",
    "std::io",
    "std::os",
    "std::process",
    "std::thread",
    "UdpSocket",
    "TcpStream",
    "tracing",
    "nix",
    "libc",
    "socket2",
    "println",
    "eprintln",
    "HashMap",
    "HashSet",
];

/// At the top of the tree, besides names that begin with a dot.
const TOP: [&str; 10] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "ha.d",
    "packaging",
    "resource.d",
    "src",
    "tests",
];

/// A longer file has a second subject inside.
const LONGEST: usize = 500;
/// A page of scenarios has one subject, but many of it.
const LONGEST_TEST: usize = 700;

struct Source {
    /// From the top of the tree.
    path: String,
    text: String,
}

impl Source {
    /// Line numbers, and lines without their comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.text.lines().enumerate();
        numbered.map(|(n, line)| (n + 1, without_comment(line)))
    }

    /// The folder or file right below `src`.
    fn layer(&self) -> Option<&str> {
        let below = self.path.strip_prefix("src/")?;
        below.split('/').next()?.split('.').next()
    }
}

/// Cut at `//`, except in `://`.
fn without_comment(line: &str) -> &str {
    let start = line
        .match_indices("//")
        .find(|(at, _)| !line.get(..*at).is_some_and(|before| before.ends_with(':')));
    start.map_or(line, |(at, _)| &line[..at])
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for folder in ["src", "tests"] {
        gather(&top().join(folder), &mut found);
    }
    assert!(found.len() > 100, "the rules must see the sources");
    found
}

fn gather(folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(top()).unwrap().to_str().unwrap();
            found.push(Source {
                path: path.to_owned(),
                text,
            });
        }
    }
}

fn judge(why: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{why}\n  {}", broken.join("\n  "));
}

/// Whether `word` stands in `line` with no letter, digit or `_` right beside it.
fn has_word(line: &str, word: &str) -> bool {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !part(before) && !part(after)
    })
}

/// The modules named after `crate::` in a line, also in `crate::{a::b, c}`.
fn used(line: &str) -> Vec<&str> {
    let mut all = Vec::new();
    for (at, path) in line.match_indices("crate::") {
        let rest = &line[at + path.len()..];
        let names = match rest.strip_prefix('{') {
            Some(list) => list.split(',').map(str::trim).collect(),
            None => vec![rest],
        };
        for name in names {
            let end = name.find(|c: char| !c.is_alphanumeric() && c != '_');
            all.push(&name[..end.unwrap_or(name.len())]);
        }
    }
    all
}

#[test]
fn imports_point_to_the_right_only() {
    let layers: Vec<&str> = ARROWS.iter().map(|(layer, _)| *layer).collect();
    let mut broken = Vec::new();
    for source in sources() {
        let Some((layer, allowed)) = ARROWS.iter().find(|(l, _)| Some(*l) == source.layer()) else {
            continue;
        };
        for (number, line) in source.code() {
            for name in used(line) {
                let is_layer = layers.contains(&name) || name == "runtime";
                if is_layer && name != *layer && !allowed.contains(&name) {
                    broken.push(format!(
                        "{}:{number}: {layer} uses {name}: {line}",
                        source.path
                    ));
                }
            }
        }
    }
    judge(
        "A layer knows only those to its right (see src/lib.rs), so that each can be read, tested and replaced alone:",
        &broken,
    );
}

#[test]
fn every_layer_has_its_arrows() {
    let text = fs::read_to_string(top().join("src/lib.rs")).unwrap();
    let modules = text
        .lines()
        .filter_map(|l| l.strip_prefix("pub mod ")?.strip_suffix(';'));
    let unknown: Vec<String> = modules
        .filter(|m| *m != "runtime" && !ARROWS.iter().any(|(layer, _)| layer == m))
        .map(str::to_owned)
        .collect();
    judge(
        "A new layer needs its place among the arrows of tests/tidy.rs and src/lib.rs:",
        &unknown,
    );
}

#[test]
fn what_decides_is_pure() {
    let mut broken = Vec::new();
    for source in sources() {
        if !matches!(
            source.layer(),
            Some("engine" | "model" | "replay" | "sim" | "text")
        ) {
            continue;
        }
        for (number, line) in source.code() {
            for word in IMPURE.iter().filter(|word| has_word(line, word)) {
                broken.push(format!("{}:{number}: {word}: {line}", source.path));
            }
        }
    }
    judge(
        "The engine is plain data and functions, so that the daemon, the simulator and a replay decide alike:",
        &broken,
    );
}

#[test]
fn files_are_short() {
    let mut broken = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        let in_tests = source.path.starts_with("tests/") || source.path.ends_with("/tests.rs");
        let limit = if in_tests { LONGEST_TEST } else { LONGEST };
        if lines > limit {
            broken.push(format!("{}: {lines} lines, at most {limit}", source.path));
        }
    }
    judge("One subject to a file; look for the second one:", &broken);
}

#[test]
fn no_test_is_switched_off() {
    // Put together here, so that this file does not break the rule.
    let attribute = concat!("#[", "ignore");
    let mut broken = Vec::new();
    for source in sources() {
        for (number, line) in source.code() {
            if line.contains(attribute) {
                broken.push(format!("{}:{number}", source.path));
            }
        }
    }
    judge(
        "A test that is never run proves nothing and looks as if it did; mend it or remove it:",
        &broken,
    );
}

#[test]
fn only_sys_is_unsafe() {
    let allowance = concat!("allow(", "unsafe_code)");
    let mut broken = Vec::new();
    for source in sources() {
        for (number, line) in source.code() {
            if line.contains(allowance) && source.layer() != Some("sys") {
                broken.push(format!("{}:{number}", source.path));
            }
        }
    }
    judge(
        "What the compiler cannot check stays in one place, src/sys:",
        &broken,
    );
}

#[test]
fn the_top_of_the_tree_is_tidy() {
    let mut broken = Vec::new();
    for entry in fs::read_dir(top()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let hidden = name.starts_with('.') || name == "target";
        if !hidden && !TOP.contains(&name.as_str()) {
            broken.push(name);
        }
    }
    judge(
        "A newcomer reads the top of the tree first; it holds only the agreed names:",
        &broken,
    );
}

#[test]
fn the_rules_see_what_breaks_them() {
    assert_eq!(
        used("use crate::{a::b, c_d}; crate::model::X"),
        ["a", "c_d", "model"]
    );
    assert!(has_word("x.await?", "await"));
    assert!(!has_word("awaited", "await"));
    assert!(!has_word("tokio_like", "tokio"));
    assert_eq!(without_comment("a // tokio http://x"), "a ");
    assert_eq!(without_comment("\"http://x\""), "\"http://x\"");
}

/// Who may look at the wall clock, and what for.
const WALL_CLOCK: [(&str, &str); 9] = [
    ("src/sys/clock.rs", "reads it"),
    ("src/sys/local_time.rs", "reads it for people"),
    (
        "src/runtime/daemon.rs",
        "when a decision was made, for the journal",
    ),
    ("src/runtime/logging.rs", "before each line of the log"),
    (
        "src/runtime/send.rs",
        "the field `ts` of a heartbeat, at which nobody looks",
    ),
    (
        "src/store/state_file.rs",
        "a generation for who has none, greater than any before it",
    ),
    (
        "src/store/recording_writer.rs",
        "when a recording began, for who reads it",
    ),
    ("src/store/mod.rs", "the name of a file that is set aside"),
    ("src/bin/hactl/", "shows and reads times for people"),
];

#[test]
fn the_wall_clock_is_for_people() {
    let words = [
        "SystemTime",
        "UNIX_EPOCH",
        "CLOCK_REALTIME",
        "CLOCK_REALTIME_COARSE",
        "gettimeofday",
        "wall_seconds",
        "wall_milliseconds",
        "LocalTime",
    ];
    let mut broken = Vec::new();
    for source in sources() {
        let excused = WALL_CLOCK.iter().any(|(at, _)| source.path.starts_with(at));
        let counts = source.path.starts_with("src/") && source.layer() != Some("wire");
        if excused || !counts {
            continue;
        }
        for (number, line) in source.code() {
            for word in words.iter().filter(|word| has_word(line, word)) {
                broken.push(format!("{}:{number}: {word}: {line}", source.path));
            }
        }
    }
    judge(
        "The wall clock jumps; deadlines are on the clock of src/sys/clock.rs `now`. For what people see, say so in WALL_CLOCK:",
        &broken,
    );
}
