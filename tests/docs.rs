//! The manual says what the programs do: no directive, subcommand or option without its words, none invented.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use had::model::promise::{ClusterShape, Exception};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn help(program: &str, words: &[&str]) -> String {
    let output = Command::new(program)
        .args(words)
        .arg("--help")
        .output()
        .unwrap();
    assert!(output.status.success(), "{words:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn hactl(words: &[&str]) -> String {
    help(env!("CARGO_BIN_EXE_hactl"), words)
}

/// The names below `Commands:`.
fn subcommands(help: &str) -> Vec<String> {
    let below = help.lines().skip_while(|l| *l != "Commands:").skip(1);
    let names = below
        .take_while(|l| !l.is_empty())
        .filter_map(|l| l.split_whitespace().next());
    let names: Vec<String> = names.filter(|n| *n != "help").map(str::to_owned).collect();
    assert!(!names.is_empty(), "{help}");
    names
}

/// The long options of a help text, without those that every command has.
fn options(help: &str) -> BTreeSet<String> {
    let lines = help
        .lines()
        .map(str::trim_start)
        .filter(|l| l.starts_with('-'));
    let words = lines.flat_map(str::split_whitespace);
    let long = words.filter_map(|w| w.strip_prefix("--"));
    long.filter(|name| !matches!(*name, "help" | "version"))
        .map(str::to_owned)
        .collect()
}

/// The words that follow a macro at the beginning of an item: `.It Ic keepalive` gives `keepalive`.
fn items(page: &str, macro_name: &str) -> BTreeSet<String> {
    let start = format!(".It {macro_name} ");
    let items = page.lines().filter_map(|l| l.strip_prefix(&start));
    items
        .filter_map(|l| l.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// The names in the table of directives.
fn directives() -> BTreeSet<String> {
    let text = read("src/config/ha_cf/table.rs");
    let table = text.split("const TABLE").nth(1).unwrap();
    let table = table.split("\n];").next().unwrap();
    let rows = table.split('(').filter_map(|row| {
        let (name, rest) = row.trim_start().strip_prefix('"')?.split_once('"')?;
        let rule = rest.strip_prefix(',')?.trim_start();
        rule.starts_with("DirectiveRule::").then(|| name.to_owned())
    });
    let names: BTreeSet<String> = rows.collect();
    assert!(names.len() > 60, "the table was not understood: {names:?}");
    names
}

const UNITS: [&str; 2] = ["had.service", "had@.service"];

/// The settings of a section of a unit file.
fn unit_settings(unit: &str, section: &str) -> Vec<String> {
    let unit = read(&format!("packaging/{unit}"));
    let lines = unit.lines().skip_while(|l| *l != format!("[{section}]"));
    let lines = lines.skip(1).take_while(|l| !l.starts_with('['));
    lines
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

/// Each of these keeps the daemon alive, or its services when it is not.
#[test]
fn the_units_do_not_give_the_daemon_up() {
    for unit in UNITS {
        assert!(unit_settings(unit, "Unit").contains(&"StartLimitIntervalSec=0".to_owned()));
        let service = unit_settings(unit, "Service");
        for wanted in [
            "Type=notify",
            "Restart=always",
            "RestartSec=1s",
            "KillMode=process",
            "OOMPolicy=continue",
            "OOMScoreAdjust=-900",
            "TasksMax=infinity",
            "RuntimeDirectoryPreserve=restart",
            "StateDirectoryMode=0700",
        ] {
            let given = service.contains(&wanted.to_owned());
            assert!(given, "{unit}: {wanted}: {service:?}");
        }
    }
}

/// A daemon of another cluster differs in its folders alone.
#[test]
fn the_unit_for_more_clusters_has_folders_of_its_own() {
    for section in ["Unit", "Service", "Install"] {
        let template = unit_settings(UNITS[1], section);
        let plain = unit_settings(UNITS[0], section);
        let own: Vec<_> = template.iter().filter(|l| !plain.contains(l)).collect();
        let instance = own.iter().all(|line| line.contains("%i"));
        assert!(instance, "{own:?}");
        assert_eq!(template.len(), plain.len());
    }
    let start = unit_settings(UNITS[1], "Service");
    let start = start.iter().find(|l| l.starts_with("ExecStart=")).unwrap();
    for folder in ["--config", "--state", "--run"] {
        assert!(start.contains(folder), "{start}");
    }
}

/// With the program in the place where these tests have it.
#[test]
fn systemd_understands_the_units() {
    let folder = tempfile::tempdir().unwrap();
    let mut units = vec![(UNITS[0], UNITS[0]), (UNITS[1], "had@other.service")];
    if cfg!(feature = "web") {
        units.push(("had-web.service", "had-web.service"));
    }
    for (unit, started) in units {
        let path = folder.path().join(started);
        let text = read(&format!("packaging/{unit}"));
        let program = Path::new(env!("CARGO_BIN_EXE_had")).parent().unwrap();
        let text = text.replace("/usr/sbin", program.to_str().unwrap());
        fs::write(&path, text).unwrap();
        let verified = Command::new("systemd-analyze")
            .args(["verify", "--man=no"])
            .arg(&path)
            .output();
        let output = verified.expect("systemd-analyze (apt install systemd)");
        let said = String::from_utf8_lossy(&output.stderr);
        let ours: Vec<&str> = said.lines().filter(|l| l.contains(started)).collect();
        assert!(ours.is_empty(), "{ours:?}");
    }
}

/// It needs no right to anything, and takes nothing from the daemon.
#[test]
fn the_unit_of_had_web_is_locked_up() {
    let service = unit_settings("had-web.service", "Service");
    for wanted in ["DynamicUser=yes", "CapabilityBoundingSet=", "Nice=10"] {
        assert!(
            service.contains(&wanted.to_owned()),
            "{wanted}: {service:?}"
        );
    }
    // The daemon obeys the members of haclient.
    assert!(!service.iter().any(|l| l.starts_with("SupplementaryGroups")));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/had-web.service");
    let judged = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=20"])
        .arg(&path)
        .output();
    let output = judged.expect("systemd-analyze (apt install systemd)");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("Overall exposure level"), "{said}");
}

fn same(what: &str, programs: &BTreeSet<String>, manual: &BTreeSet<String>) {
    let missing: Vec<_> = programs.difference(manual).collect();
    let invented: Vec<_> = manual.difference(programs).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "{what}: missing in the manual {missing:?}, unknown to the program {invented:?}"
    );
}

#[test]
fn every_directive_is_in_its_page() {
    let page = read("packaging/man/ha.cf.5");
    same("ha.cf", &directives(), &items(&page, "Ic"));
}

#[test]
fn every_subcommand_of_hactl_is_in_its_page() {
    let page = read("packaging/man/hactl.8");
    let mut names: BTreeSet<String> = subcommands(&hactl(&[])).into_iter().collect();
    for nested in ["lab", "agent", "import"] {
        for name in subcommands(&hactl(&[nested])) {
            names.insert(format!("{nested}-{name}"));
        }
    }
    let mut manual = items(&page, "Cm");
    for nested in ["lab", "agent", "import"] {
        let below = items(&page, &format!("Cm {nested}"));
        manual.extend(below.into_iter().map(|name| format!("{nested}-{name}")));
    }
    same("hactl", &names, &manual);
}

#[test]
fn every_fault_of_a_simulation_script_is_in_its_page() {
    let page = read("packaging/man/hactl.8");
    for row in had::sim::FAULT_WORDS {
        let documented = |line: &str| {
            let mut words = line.split_whitespace();
            words.next().is_some_and(|w| w == ".It" || w == ".Li") && words.any(|w| w == row.word)
        };
        assert!(page.lines().any(documented), "{}", row.word);
    }
}

#[test]
fn every_option_is_in_its_page() {
    let page = read("packaging/man/hactl.8");
    let mut pages = vec![hactl(&[])];
    for name in subcommands(&hactl(&[])) {
        pages.push(hactl(&[&name]));
    }
    for nested in ["lab", "agent", "import"] {
        for name in subcommands(&hactl(&[nested])) {
            pages.push(hactl(&[nested, &name]));
        }
    }
    let all: BTreeSet<String> = pages.iter().flat_map(|p| options(p)).collect();
    documented(&page, &all);
    documented(
        &read("packaging/man/had.8"),
        &options(&help(env!("CARGO_BIN_EXE_had"), &[])),
    );
}

fn documented(page: &str, options: &BTreeSet<String>) {
    assert!(!options.is_empty());
    let words: BTreeSet<&str> = page.split_whitespace().collect();
    let missing: Vec<_> = options
        .iter()
        .filter(|o| !words.contains(format!("-{o}").as_str()))
        .collect();
    assert!(missing.is_empty(), "without a word: {missing:?}");
}

/// What a page shows as typed: in Markdown and in comments between backticks, in a man page after `.Ql` or in a display.
fn typed(path: &str) -> Vec<String> {
    let text = read(path);
    let lines = if path.starts_with("packaging/man") {
        text.replace("\n.Ql ", "\n").replace("\n.Dl ", "\n")
    } else {
        let quoted = text.split('`').skip(1).step_by(2);
        quoted.collect::<Vec<_>>().join("\n")
    };
    lines.lines().map(str::to_owned).collect()
}

/// Every file below a folder whose name ends so.
fn files_below(folder: &str, ends: &str) -> Vec<String> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![top.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(ends) {
                found.push(name);
            }
        }
    }
    found
}

#[test]
fn the_commands_that_the_texts_name_exist() {
    let known: BTreeSet<String> = subcommands(&hactl(&[])).into_iter().collect();
    let nested = |name: &str| subcommands(&hactl(&[name])).into_iter().collect();
    let below: [(&str, BTreeSet<String>); 3] =
        ["lab", "agent", "import"].map(|name| (name, nested(name)));
    let mut pages = vec!["README.md".to_owned(), "resource.d/README.md".to_owned()];
    pages.extend(files_below("packaging/man", ""));
    pages.extend(files_below("ha.d", ""));
    let mut seen = 0;
    for page in &pages {
        for line in typed(page) {
            // A command stands at the beginning of a line, or after ` -- `; elsewhere it is the name of a file.
            for part in line.split(" -- ").filter_map(|p| p.strip_prefix("hactl ")) {
                let mut words = part.split_whitespace();
                let first = words.next().unwrap();
                seen += 1;
                assert!(known.contains(first), "{page}: hactl {first}: {line}");
                if let Some((_, names)) = below.iter().find(|(name, _)| *name == first)
                    && let Some(second) = words.next()
                {
                    assert!(
                        names.contains(second),
                        "{page}: hactl {first} {second}: {line}"
                    );
                }
            }
        }
    }
    assert!(seen > 60, "the texts were not understood: {seen}");
}

/// The built-ins, as `hactl agent list` names them: a heading for each kind, and below it the names.
#[test]
fn every_built_in_is_named_where_resources_are_explained() {
    let output = Command::new(env!("CARGO_BIN_EXE_hactl"))
        .args(["agent", "list", "--dir", "ha.d"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let below = text
        .lines()
        .skip_while(|l| !l.starts_with("built-in"))
        .skip(1);
    let names: Vec<&str> = below
        .take_while(|l| l.starts_with(' '))
        .map(str::trim)
        .collect();
    assert!(names.len() > 8, "the list was not understood: {text}");
    let readme = read("resource.d/README.md");
    let manual = read("packaging/man/haresources.5");
    for name in names {
        assert!(
            readme.contains(&format!("`{name}`")),
            "resource.d/README.md: {name}"
        );
        let named = manual.lines().any(|l| {
            let words: Vec<&str> = l.split_whitespace().collect();
            words
                .windows(2)
                .any(|w| w == ["Cm", name] || w == [".Cm", name])
        });
        assert!(named, "haresources(5): {name}");
    }
}

#[test]
fn the_readme_is_short_and_every_example_has_one() {
    let lines = read("README.md").lines().count();
    assert!(
        lines <= 160,
        "{lines} lines: the manual has room for the rest"
    );
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("ha.d/examples");
    let listed = read("ha.d/examples/README.md");
    for entry in fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(path.join("README.md").exists(), "{name} has no README.md");
            assert!(
                listed.contains(&format!("({name}/README.md)")),
                "{name} is not listed"
            );
        }
    }
}

#[test]
fn pages_that_point_elsewhere_point_to_a_page() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/man");
    let pages: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    let mut pointers = 0;
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        if let Some(target) = text.strip_prefix(".so ") {
            let name = Path::new(target.trim()).file_name().unwrap();
            assert!(folder.join(name).exists(), "{}: {target}", page.display());
            pointers += 1;
        }
    }
    assert_eq!(
        pointers, 4,
        "hb_standby, hb_takeover, cl_status and drbd-peer-outdater are hactl"
    );
}

#[test]
fn the_first_cluster_of_the_readme_passes_check() {
    let readme = read("README.md");
    let example = readme.split("## Configure").nth(1).unwrap();
    let block = example.split("```\n").nth(1).unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme-cluster");
    fs::create_dir_all(&folder).unwrap();
    // Each file begins with a comment that names it.
    let mut files = Vec::new();
    for name in ["ha.cf", "haresources", "authkeys"] {
        let start = block.find(&format!("# {name}")).unwrap();
        files.push((name, start));
    }
    let ends = files.iter().skip(1).map(|(_, start)| *start);
    for ((name, start), end) in files.iter().zip(ends.chain([block.len()])) {
        fs::write(folder.join(name), &block[*start..end]).unwrap();
    }
    passes_check(&folder);
}

#[test]
fn the_examples_pass_check() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("ha.d");
    passes_check(&top);
    for entry in fs::read_dir(top.join("examples")).unwrap() {
        let folder = entry.unwrap().path();
        if folder.is_dir() {
            passes_check(&folder);
        }
    }
}

fn passes_check(folder: &Path) {
    let output = Command::new(env!("CARGO_BIN_EXE_hactl"))
        .args(["check", "--elsewhere"])
        .arg(folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", folder.display());
}

/// The numbers in `Rule 3`, `rules 5, 6 and 10` or `rules 7-9`, wherever they stand in a text.
fn cited_rules(text: &str) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    for (at, word) in text.match_indices("ule") {
        let rest = &text[at + word.len()..];
        let rest = rest.strip_prefix('s').unwrap_or(rest);
        let list: String = rest
            .replace(" and ", " ")
            .chars()
            .take_while(|c| c.is_ascii_digit() || matches!(c, ' ' | ',' | '-'))
            .collect();
        found.extend(
            list.split([' ', ',', '-'])
                .filter_map(|n| n.parse::<u32>().ok()),
        );
    }
    found
}

/// The rules of PROTOCOL.md, by their headings.
fn protocol_rules(protocol: &str) -> BTreeSet<u32> {
    let headings = protocol.lines().filter_map(|l| l.strip_prefix("### Rule "));
    headings
        .map(|h| h.split(':').next().unwrap().parse().unwrap())
        .collect()
}

#[test]
fn rule_citations_are_understood() {
    for (text, wanted) in [
        ("/// Rule 3 (and rule 7 for", vec![3, 7]),
        ("// Rules 5, 6 and 10: what", vec![5, 6, 10]),
        ("a module of 12 rules", vec![]),
        ("the rules of 14", vec![]),
    ] {
        assert_eq!(Vec::from_iter(cited_rules(text)), wanted, "{text}");
    }
}

#[test]
fn every_cited_rule_is_in_the_protocol() {
    let protocol = read("src/engine/PROTOCOL.md");
    let rules = protocol_rules(&protocol);
    assert!(
        rules.len() > 20,
        "the protocol was not understood: {rules:?}"
    );
    let mut cited = cited_rules(&protocol);
    for file in files_below("src/engine", ".rs") {
        cited.extend(cited_rules(&read(&file)));
    }
    let mutations = read("tests/mutations/table.rs");
    cited.extend(cited_rules(&mutations));
    // The name of a mutation begins with the number of the rule that it breaks.
    let names = mutations
        .lines()
        .filter_map(|l| l.trim_start().strip_prefix('"'));
    cited.extend(names.filter_map(|l| l.split_once(": ")?.0.parse::<u32>().ok()));
    let unknown: Vec<_> = cited.difference(&rules).collect();
    assert!(cited.len() > 13, "the citations were not found: {cited:?}");
    assert!(
        unknown.is_empty(),
        "rules that PROTOCOL.md does not have: {unknown:?}"
    );
}

#[test]
fn the_files_of_the_protocol_exist() {
    let protocol = read("src/engine/PROTOCOL.md");
    let engine = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/engine");
    let table = protocol.split("## Where each rule is").nth(1).unwrap();
    let mut placed = BTreeSet::new();
    for row in table.lines().filter(|l| l.starts_with("| ")) {
        let (numbers, files) = row[2..].split_once(" | ").unwrap();
        placed.extend(numbers.split(", ").filter_map(|n| n.parse::<u32>().ok()));
        let quoted = files.split('`').skip(1).step_by(2);
        for file in quoted.filter(|word| word.split('.').nth(1) == Some("rs")) {
            assert!(engine.join(file).exists(), "{file}: {row}");
        }
    }
    assert_eq!(placed, protocol_rules(&protocol), "each rule has its files");
}

/// A text without markup and line breaks, and in lower case: the manual begins its items with capitals.
fn plain(text: &str) -> String {
    let words = text.split_whitespace().map(|w| w.replace("**", ""));
    let words: Vec<String> = words.filter(|w| !w.starts_with('.')).collect();
    words.join(" ").replace('`', "").to_lowercase()
}

#[test]
fn the_promise_is_the_same_in_every_text() {
    for page in ["README.md", "src/engine/PROTOCOL.md", "packaging/man/had.7"] {
        let text = plain(&read(page));
        for shape in ClusterShape::ALL {
            for words in [shape.name(), shape.one_owner()] {
                assert!(text.contains(&plain(words)), "{page} lacks: {words}");
            }
        }
        for exception in Exception::ALL {
            let words = exception.text();
            assert!(text.contains(&plain(words)), "{page} lacks: {words}");
        }
    }
    let readme = read("README.md");
    for shape in ClusterShape::ALL {
        let row = format!("| {} | {} |\n", shape.name(), shape.one_owner());
        assert!(readme.contains(&row), "README.md lacks the row: {row}");
    }
}
