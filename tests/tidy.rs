//! Rules that reviewers would otherwise have to remember. Each failure gives the reason for its rule.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The other layers that each layer uses; `src/lib.rs` draws them.
const ARROWS: [(&str, &[&str]); 15] = [
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
    ("setup", &["assembly", "agent", "config", "model", "text"]),
    ("control", &["sys", "model", "text"]),
    ("store", &["engine", "replay", "sys", "model", "text"]),
    ("wire", &["model", "text"]),
    ("replay", &["engine", "model", "text"]),
    ("sim", &["engine", "model", "text"]),
    ("lab", &["sys", "model", "text"]),
];

/// What pure code must not use: it waits, reads a clock, or does I/O. Hash maps are here because their order is random.
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

/// The names at the top of the tree, besides those that begin with a dot.
const TOP_LEVEL_NAMES: [&str; 10] = [
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

/// A longer file has a second subject.
const MAX_LINES: usize = 500;
/// A file of scenarios has one subject but may be longer.
const MAX_TEST_LINES: usize = 700;

struct Source {
    /// Relative to the top of the tree.
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
        collect_sources(&top().join(folder), &mut found);
    }
    assert!(found.len() > 100, "the sources must be found");
    found
}

fn collect_sources(folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() {
            collect_sources(&path, found);
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

/// Fails with the reason of the rule and the places that break it.
fn assert_none(why: &str, broken: &[String]) {
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

/// The modules after `crate::` in a line, also in `crate::{a::b, c}`.
fn used_modules(line: &str) -> Vec<&str> {
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
            for name in used_modules(line) {
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
    assert_none(
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
    assert_none(
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
    assert_none(
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
        let limit = if in_tests { MAX_TEST_LINES } else { MAX_LINES };
        if lines > limit {
            broken.push(format!("{}: {lines} lines, at most {limit}", source.path));
        }
    }
    assert_none("One subject to a file; look for the second one:", &broken);
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
    assert_none(
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
    assert_none(
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
        if !hidden && !TOP_LEVEL_NAMES.contains(&name.as_str()) {
            broken.push(name);
        }
    }
    assert_none(
        "A newcomer reads the top of the tree first; it holds only the agreed names:",
        &broken,
    );
}

/// The identifiers in a line, each with what comes before and after it.
fn identifiers(line: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let starts = line
        .char_indices()
        .filter(move |(at, c)| part(*c) && !line[..*at].chars().next_back().is_some_and(part));
    starts.map(move |(start, _)| {
        let length = line[start..].find(|c| !part(c));
        let end = length.map_or(line.len(), |length| start + length);
        (&line[start..end], &line[..start], &line[end..])
    })
}

/// The kind and name of the public item that a line declares.
fn public_item(line: &str) -> Option<(&str, &str)> {
    let rest = line.trim_start().strip_prefix("pub")?;
    let rest = match rest.strip_prefix('(') {
        Some(scope) => scope.split_once(')')?.1,
        None => rest,
    };
    let words = rest.split_whitespace();
    let words: Vec<&str> = words
        .filter(|w| !matches!(*w, "async" | "unsafe"))
        .collect();
    let (kind, name) = match words[..] {
        ["const", "fn", name, ..] => ("fn", name),
        [
            kind @ ("fn" | "struct" | "enum" | "trait" | "type" | "const" | "static"),
            name,
            ..,
        ] => (kind, name),
        _ => return None,
    };
    Some((kind, identifiers(name).next()?.0))
}

#[test]
fn what_is_public_is_used_elsewhere() {
    let sources = sources();
    let mut files_of: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for source in &sources {
        for (name, ..) in source.code().flat_map(|(_, line)| identifiers(line)) {
            files_of.entry(name).or_default().push(&source.path);
        }
    }
    let mut broken = Vec::new();
    for source in sources.iter().filter(|s| s.path.starts_with("src/")) {
        for (number, line) in source.code() {
            let Some((kind, name)) = public_item(line) else {
                continue;
            };
            // A type may be public only because a public function returns it.
            let used = match kind {
                "fn" | "const" | "static" => files_of[name].iter().any(|f| *f != source.path),
                _ => files_of[name].len() > 1,
            };
            if !used {
                broken.push(format!("{}:{number}: {kind} {name}", source.path));
            }
        }
    }
    assert_none(
        "What only its own file uses is private, and what nobody uses is removed (the compiler cannot tell for `pub`):",
        &broken,
    );
}

/// The public fields of structs that are not read by serde or clap.
fn public_fields(source: &Source) -> Vec<(usize, &str)> {
    let mut fields = Vec::new();
    let (mut derived, mut inside) = (false, false);
    for (number, line) in source.code() {
        let trimmed = line.trim_start();
        if trimmed.starts_with("#[derive(") {
            derived = ["Serialize", "Args", "Parser"]
                .iter()
                .any(|d| has_word(line, d));
        } else if has_word(line, "struct") && line.ends_with('{') {
            inside = !derived;
        } else if trimmed.starts_with('}') {
            (derived, inside) = (false, false);
        } else if inside && trimmed.starts_with("pub") {
            let name = identifiers(line).find(|(_, _, after)| after.starts_with(": "));
            fields.extend(name.map(|(name, ..)| (number, name)));
        }
    }
    fields
}

/// Whether this occurrence of a field can be a read: it is neither a declaration, an initialisation nor an assignment.
fn may_read(before: &str, after: &str) -> bool {
    let initialised = after.starts_with(':') && !after.starts_with("::");
    let assigned = before.ends_with('.') && (after.starts_with(" = ") || after.starts_with(" += "));
    !initialised && !assigned
}

#[test]
fn what_is_written_is_read() {
    let sources = sources();
    let mut read = BTreeSet::new();
    for (_, line) in sources.iter().flat_map(Source::code) {
        let names = identifiers(line).filter(|(_, before, after)| may_read(before, after));
        read.extend(names.map(|(name, ..)| name));
    }
    let mut broken = Vec::new();
    for source in sources.iter().filter(|s| s.path.starts_with("src/")) {
        let unread = public_fields(source).into_iter();
        let unread = unread.filter(|(_, name)| !read.contains(name));
        broken.extend(unread.map(|(number, name)| format!("{}:{number}: {name}", source.path)));
    }
    assert_none("A field that nobody reads is removed:", &broken);
}

#[test]
fn the_rules_see_what_breaks_them() {
    assert_eq!(
        used_modules("use crate::{a::b, c_d}; crate::model::X"),
        ["a", "c_d", "model"]
    );
    let item = public_item("    pub(super) const fn a_b<T>(x: T) {");
    assert_eq!(item, Some(("fn", "a_b")));
    let reads = |line| identifiers(line).filter(|(_, b, a)| may_read(b, a)).count();
    assert_eq!(
        (reads("x: y"), reads("a.x = y"), reads("a.x == y")),
        (1, 2, 3)
    );
    assert!(has_word("x.await?", "await"));
    assert!(!has_word("awaited", "await"));
    assert!(!has_word("tokio_like", "tokio"));
    assert_eq!(without_comment("a // tokio http://x"), "a ");
    assert_eq!(without_comment("\"http://x\""), "\"http://x\"");
}

/// The files that may read the wall clock, and what for.
const WALL_CLOCK: [(&str, &str); 12] = [
    ("src/sys/clock.rs", "reads it"),
    ("src/sys/local_time.rs", "reads it for people"),
    (
        "src/runtime/daemon.rs",
        "when a decision was made, for the journal",
    ),
    ("src/runtime/logging.rs", "before each line of the log"),
    (
        "src/runtime/send.rs",
        "the field `ts` of a heartbeat, which nobody reads",
    ),
    (
        "src/store/state_file.rs",
        "the generation, greater than any before it",
    ),
    ("src/sys/tls.rs", "certificates end by it"),
    ("src/runtime/notify.rs", "when it happened, for a receiver"),
    (
        "src/runtime/webhook",
        "what a receiver judges the age of a request by",
    ),
    ("src/store/recording_writer.rs", "when a recording started"),
    ("src/store/mod.rs", "the new name of a damaged file"),
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
    assert_none(
        "The wall clock jumps; deadlines are on the clock of src/sys/clock.rs `now`. For what people see, say so in WALL_CLOCK:",
        &broken,
    );
}
