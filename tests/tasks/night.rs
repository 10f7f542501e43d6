//! had-night(7) has an entry for each problem that status can show, in the words of status; and hactl(8) lists them all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::page::source;

/// The files that make problems.
const SOURCES: [&str; 6] = [
    "src/model/status/problems.rs",
    "src/engine/status/notes.rs",
    "src/runtime/listeners.rs",
    "src/runtime/serve.rs",
    "src/runtime/counters.rs",
    STANDBYS,
];

/// What stops a standby. Most of it is a part of the sentence of `standby-lacks`.
const STANDBYS: &str = "src/engine/status/standbys.rs";
/// What status shows by itself of that, or with words of the node that looked.
const OF_STANDBYS: [&str; 5] = [
    "standby-lacks",
    "node-lacks",
    "no-route",
    "version-differs",
    "tree-differs",
];

/// What the text of a daemon of an earlier version is called, which sends no identifier.
const OF_EARLIER_VERSIONS: &str = "other";

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A source file without its tests.
fn code(path: &str) -> String {
    let text = read(path);
    text.split("#[cfg(test)]").next().unwrap().to_owned()
}

/// Whether a file makes problems must not be forgotten in the list above.
#[test]
fn every_file_that_makes_problems_is_known() {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let top = Path::new(env!("CARGO_MANIFEST_DIR"));
            let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
            let is_test = name.ends_with("tests.rs") || name.contains("/tests/");
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs")
                && !is_test
                && code(&name).contains("Note::new(")
            {
                assert!(SOURCES.contains(&name.as_str()), "{name} makes problems");
            }
        }
    }
}

/// Each kind of problem, with the sentences that stand beside it in the source; `...` is what differs.
fn problems() -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in SOURCES {
        let text = code(path);
        for call in calls(&text) {
            let mut literals = literals(call).into_iter().filter(|l| !l.is_empty());
            let Some(id) = literals.next() else {
                continue; // the call within the closure that the others use
            };
            assert!(is_id(&id), "{path}: not an identifier: {id}");
            if path == STANDBYS && !OF_STANDBYS.contains(&id.as_str()) {
                continue;
            }
            let sentences = found.entry(id).or_default();
            sentences.extend(literals.filter(|l| l.contains(' ')));
        }
    }
    for id in OF_STANDBYS {
        found.entry(id.to_owned()).or_default();
    }
    found.remove(OF_EARLIER_VERSIONS);
    assert!(
        found.len() > 40,
        "the sources were not understood: {found:?}"
    );
    found
}

fn is_id(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
}

/// What stands between the parentheses of each `Note::new(...)` and `note(...)`.
fn calls(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for start in ["Note::new(", " note("] {
        for (at, _) in text.match_indices(start) {
            let inside = &text[at + start.len()..];
            let mut depth = 1;
            let mut quoted = false;
            let end = inside.char_indices().find(|(_, c)| {
                match c {
                    '"' => quoted = !quoted,
                    '(' if !quoted => depth += 1,
                    ')' if !quoted => depth -= 1,
                    _ => {}
                }
                depth == 0
            });
            found.extend(end.map(|(end, _)| &inside[..end]));
        }
    }
    found
}

/// The literals of a piece of source, as people see them: no line breaks, `...` for each placeholder.
fn literals(code: &str) -> Vec<String> {
    let quoted = code.split('"').skip(1).step_by(2);
    quoted.map(seen).collect()
}

fn seen(literal: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for c in literal.chars() {
        match c {
            '{' => {
                inside = true;
                text += "...";
            }
            '}' => inside = false,
            '\\' => {}
            _ if !inside => text.push(c),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The entries of the page: the identifier of each, and the words of status below it.
fn entries() -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut id = String::new();
    for line in source("had-night").lines() {
        if let Some(name) = line.strip_prefix(".It Sy ") {
            name.clone_into(&mut id);
            found.entry(id.clone()).or_default();
        } else if let Some(words) = line.strip_prefix(".D1 \\&! ") {
            found
                .entry(id.clone())
                .or_default()
                .insert(words.to_owned());
        }
    }
    found
}

#[test]
fn every_problem_has_an_entry_in_its_words() {
    let entries = entries();
    for (id, sentences) in problems() {
        let Some(words) = entries.get(&id) else {
            panic!("had-night(7) does not say what to do about {id}: {sentences:?}");
        };
        assert!(
            !words.is_empty(),
            "had-night(7) does not have the words of {id}: {sentences:?}"
        );
        for sentence in sentences {
            let there = words.iter().any(|w| same_words(w, &sentence));
            assert!(there, "had-night(7), {id}, lacks: {sentence}");
        }
    }
}

/// What does not differ is the same; the page may end earlier with `...`, and may give an example for what differs.
fn same_words(page: &str, source: &str) -> bool {
    let mut rest = page.trim_end_matches("...");
    for part in source.split("...").filter(|p| !p.is_empty()) {
        match rest.find(part.trim()) {
            Some(at) => rest = &rest[at + part.trim().len()..],
            // The end of the sentence, which the page leaves out.
            None => return page.ends_with("...") && part.trim().starts_with(rest.trim()),
        }
    }
    true
}

/// Words that status no longer prints would mislead.
#[test]
fn every_entry_is_a_problem_and_every_word_is_printed() {
    let known = problems();
    let mut printed = String::new();
    for path in SOURCES.iter().copied().chain([
        "src/engine/identity.rs",
        "src/engine/fencing/status.rs",
        "src/engine/voters.rs",
        "src/engine/other_version.rs",
        "src/model/decision/wording.rs",
        "src/model/stop_reason.rs",
        "src/runtime/readiness.rs",
        "src/runtime/readiness/disk.rs",
    ]) {
        if Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists() {
            printed += &literals(&code(path)).join("\n");
            printed.push('\n');
        }
    }
    for (id, words) in entries() {
        assert!(known.contains_key(&id), "status has no problem {id}");
        for part in words.iter().flat_map(|w| w.split("...")) {
            let there = part.trim().is_empty() || printed.contains(part.trim());
            assert!(there, "status does not print this about {id}: {part}");
        }
    }
    for words in source("had-night")
        .lines()
        .filter_map(|l| l.strip_prefix(".It Ql "))
    {
        let parts = words.split("alice").map(str::trim);
        let mut parts = parts.filter(|p| !printed.contains(p));
        assert_eq!(parts.next(), None, "status does not print: {words}");
    }
}

/// The reasons why a group does not run are many; the longer ones have their own advice.
#[test]
fn reasons_that_name_a_machine_have_an_entry() {
    let page = source("had-night");
    for words in [
        "which is no node of this cluster",
        "which is no longer in ha.cf, still runs it",
        "a second machine that calls itself",
        "another machine has this node's name",
        "another machine has the name",
        "is silent but its machine answers",
    ] {
        let there = page
            .lines()
            .any(|l| l.starts_with(".It Ql ") && l.contains(words));
        assert!(
            there && code("src/model/decision/wording.rs").contains(words),
            "{words}"
        );
    }
}

#[test]
fn hactl_lists_every_problem_and_each_has_an_entry() {
    let page = read("packaging/man/hactl.8");
    let list = page.split(".It this node").nth(1).unwrap();
    let list = list.split(".El").next().unwrap();
    let words: BTreeSet<&str> = list.split([' ', '\n', ',']).collect();
    for id in problems().keys() {
        assert!(words.contains(id.as_str()), "hactl(8) does not list {id}");
    }
    let entries = entries();
    let lists = list.lines().filter_map(|l| l.strip_prefix(".Ql "));
    for id in lists
        .flat_map(|l| l.split([' ', ',']))
        .filter(|id| !id.is_empty())
    {
        assert!(entries.contains_key(id), "had-night(7) has no entry {id}");
    }
}

#[test]
fn sources_are_understood() {
    let text = "notes.push(Note::new(\"a-b\", format!(\"is ({x}) \\\n   there\")));\nlet mut note = |id| 1;\n note(x, \"c\", \"d e\".to_owned());";
    let found = calls(text);
    assert_eq!(found.len(), 2);
    assert_eq!(literals(found[0]), ["a-b", "is (...) there"]);
    assert_eq!(literals(found[1]), ["c", "d e"]);
    assert!(same_words("is (7) there; more", "is (...) there"));
    assert!(same_words(
        "failed here: ...",
        "failed here: ...; repair it"
    ));
    assert!(!same_words(
        "failed there: ...",
        "failed here: ...; repair it"
    ));
}
