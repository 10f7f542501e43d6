//! `hactl import keepalived`: what becomes of files of keepalived, and the exact remarks. The cases are in `import/*.txt`:
//!
//! ```text
//! == a title
//! -- nodes            NAME=ADDRESS,... in the order of the files; may be left out
//! -- ping             addresses; may be left out
//! -- a.conf           the file of the first node; b.conf and so on for the others; other files are included by these, or are scripts
//! -- says             the remarks, and "nothing" if nothing is written
//! -- out ha.cf        what is written, without comments; so for every file but authkeys
//! ```
//! What is written must pass `hactl check` without a warning, and every script the shell. With `HAD_BLESS=1` the outcomes are
//! written anew, to be read before they are committed. The files have the shapes of published setups and of keepalived's
//! manual, in our own words.
#![allow(clippy::unwrap_used, clippy::panic, clippy::format_push_string)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use had::assembly::check_elsewhere;
use had::setup::keepalived::source::Files;
use had::setup::keepalived::{Imported, Wanted, import};
use had::setup::{answers, folder};

/// The name of a part, and its text.
type Parts = Vec<(String, String)>;

struct Case {
    title: String,
    parts: Parts,
}

impl Case {
    fn all(text: &str) -> Vec<Case> {
        let mut cases: Vec<Case> = Vec::new();
        for line in text.lines() {
            if let Some(title) = line.strip_prefix("== ") {
                let title = title.to_owned();
                let parts = Vec::new();
                cases.push(Case { title, parts });
            } else if let Some(name) = line.strip_prefix("-- ") {
                let parts = &mut cases.last_mut().unwrap().parts;
                parts.push((name.to_owned(), String::new()));
            } else if let Some((_, text)) = cases.last_mut().and_then(|c| c.parts.last_mut()) {
                text.push_str(line);
                text.push('\n');
            }
        }
        cases
    }

    fn part(&self, name: &str) -> &str {
        let part = self.parts.iter().find(|(n, _)| n == name);
        part.map_or("", |(_, text)| text)
    }

    /// Without what comes out.
    fn inputs(&self) -> impl Iterator<Item = &(String, String)> {
        let out = |name: &str| name == "says" || name.starts_with("out ");
        self.parts.iter().filter(move |(name, _)| !out(name))
    }

    fn imported(&self) -> Imported {
        let words = |name| self.part(name).split_whitespace();
        let files = self.inputs().map(|(name, _)| name);
        let files = files
            .filter(|n| Path::new(n).extension().is_some_and(|e| e == "conf") && !n.contains('/'));
        let wanted = Wanted {
            files: files.map(PathBuf::from).collect(),
            nodes: words("nodes").map(|w| answers::node(w).unwrap()).collect(),
            pings: words("ping").map(|w| w.parse().unwrap()).collect(),
        };
        let files = Memory(self.inputs().cloned().collect());
        import(&wanted, &files)
    }

    /// The parts that come out.
    fn outcome(&self) -> Parts {
        let imported = self.imported();
        let mut says = imported.problems.to_string();
        let Some(draft) = &imported.draft else {
            says += "nothing\n";
            return vec![("says".to_owned(), says)];
        };
        let mut parts = vec![("says".to_owned(), says)];
        let dir = tempfile::tempdir().unwrap();
        let mut files = folder::files(draft).unwrap();
        files.extend(imported.scripts.iter().cloned());
        let written = folder::write(dir.path(), &files);
        assert_eq!(written, Ok(()), "{}", self.title);
        let (checked, good) = check_elsewhere(dir.path(), None);
        assert!(
            good && !checked.contains("warning: "),
            "{}: {checked}",
            self.title
        );
        for file in files.iter().filter(|f| f.name != "authkeys") {
            let is_script = file.text.starts_with("#!");
            let kept = |line: &&str| is_script || !(line.is_empty() || line.starts_with('#'));
            let text: Vec<&str> = file.text.lines().filter(kept).collect();
            parts.push((format!("out {}", file.name), text.join("\n") + "\n"));
            if is_script {
                let path = dir.path().join(&file.name);
                accepted_by_shell(&path);
                let mode = path.metadata().unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o700, "it may have passwords");
            }
        }
        parts
    }

    fn shown(&self, outcome: &Parts) -> String {
        let mut text = format!("== {}\n", self.title);
        for (name, part) in self.inputs().chain(outcome) {
            text += &format!("-- {name}\n{}\n", part.trim_end());
        }
        text + "\n"
    }
}

fn accepted_by_shell(script: &Path) {
    let output = Command::new("sh").arg("-n").arg(script).output().unwrap();
    assert!(output.status.success(), "{}: {output:?}", script.display());
}

/// Files by name.
struct Memory(BTreeMap<String, String>);

impl Files for Memory {
    fn read(&self, path: &Path) -> Result<String, String> {
        let name = path.to_string_lossy();
        let text = self.0.get(name.as_ref()).cloned();
        text.ok_or_else(|| "No such file or directory".to_owned())
    }

    fn matching(&self, pattern: &str) -> Vec<PathBuf> {
        let pattern = glob::Pattern::new(pattern);
        let names = self.0.keys();
        let found = names.filter(|n| pattern.as_ref().is_ok_and(|p| p.matches(n)));
        found.map(PathBuf::from).collect()
    }
}

#[test]
fn every_case_has_its_outcome() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import");
    let mut wrong = String::new();
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mut blessed = String::new();
        for case in Case::all(&fs::read_to_string(&path).unwrap()) {
            count += 1;
            let outcome = case.outcome();
            let outputs = |name: &str| name == "says" || name.starts_with("out ");
            let wanted: Parts = case
                .parts
                .iter()
                .filter(|(name, _)| outputs(name))
                .cloned()
                .collect();
            let trimmed = |parts: &Parts| -> Parts {
                let parts = parts.iter();
                parts
                    .map(|(n, t)| (n.clone(), t.trim_end().to_owned()))
                    .collect()
            };
            if trimmed(&wanted) != trimmed(&outcome) {
                wrong += &format!(
                    "{}: {}\n{}",
                    path.display(),
                    case.title,
                    case.shown(&outcome)
                );
            }
            blessed += &case.shown(&outcome);
        }
        if std::env::var_os("HAD_BLESS").is_some() {
            fs::write(&path, blessed).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count >= 20, "only {count} cases");
}

const ALICE: &str = "global_defs {\n  router_id alice\n}\ninclude conf.d/*.conf\n";
const VIP: &str = "vrrp_instance V {\n  interface eth0\n  virtual_router_id 7\n  @alice priority 150\n  @bob priority 100\n\
    virtual_ipaddress {\n    10.0.0.100/24\n  }\n}\n";

fn hactl(dir: &Path, words: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hactl"))
        .args(words.split_whitespace())
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8([&output.stdout[..], &output.stderr[..]].concat()).unwrap()
}

/// Files on a disk, which include others, to a folder that the simulator runs.
#[test]
fn one_file_for_all_nodes_is_imported_from_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("conf.d")).unwrap();
    fs::write(dir.path().join("keepalived.conf"), ALICE).unwrap();
    fs::write(dir.path().join("conf.d/v.conf"), VIP).unwrap();
    let words = "import keepalived keepalived.conf --node alice=10.0.0.1 --node bob=10.0.0.2 --ping 10.0.0.254 --out out";
    let output = hactl(dir.path(), words);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for wanted in [
        "\nno errors, 1 note: written to out: 2 nodes, 1 group, 0 scripts\n",
        "scp -rp out/{ha.cf,haresources,authkeys} root@10.0.0.2:/etc/ha.d/",
        "systemctl disable --now keepalived",
    ] {
        assert!(text.contains(wanted), "{wanted} is missing in\n{text}");
    }
    let output = hactl(dir.path(), "check --elsewhere out");
    let text = said(&output);
    assert!(
        text.starts_with("group on alice: 10.0.0.100/24/eth0\n") && text.ends_with("no errors\n"),
        "{text}"
    );
    let output = hactl(dir.path(), "sim out --runs 5 --seed 1 --faults crash");
    assert!(output.status.success(), "{}", said(&output));
    let output = hactl(dir.path(), words);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("out has ha.cf, haresources, authkeys already: nothing was written"),
        "{text}"
    );
    let output = hactl(dir.path(), &format!("{words} --force"));
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn nothing_usable_is_exit_code_1() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.conf"), "global_defs {\n}\n").unwrap();
    for (words, says) in [
        (
            "import keepalived a.conf a.conf --node a=10.0.0.1 --node b=10.0.0.2 --out out",
            "1 error: nothing was written",
        ),
        (
            "import keepalived a.conf missing.conf --out out",
            "error: missing.conf: cannot be read",
        ),
        (
            "import keepalived a.conf --out out",
            "this is the file of one node, and a cluster has at least two",
        ),
    ] {
        let output = hactl(dir.path(), words);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{words}: {text}");
        assert!(text.contains(says), "{words}: {text}");
        assert!(!dir.path().join("out").exists(), "{words}");
    }
}
