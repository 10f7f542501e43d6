//! Reads a page: what is typed, on which machine, what it must print, and the files that it shows.
//!
//! In a display of a page each line is one of these, and nothing else:
//!
//! * `alice# hactl check`: typed on alice; `all#` means every machine of the page, one after the other, and `client$` a machine
//!   outside the cluster;
//! * a line below a command: printed by it, with `...` for anything;
//! * in a display whose first or second line is `# /etc/ha.d/ha.cf` or another path: the whole text of that file, the
//!   same on every machine of the page.

use std::fs;
use std::path::Path;

/// What a page has its reader do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something is typed.
    Type {
        on: String,
        line: String,
        prints: Vec<String>,
    },
    /// A file is written on every machine.
    Write { path: String, text: String },
}

/// All steps of a page, in order.
pub fn steps(name: &str) -> Vec<Step> {
    let mut found = Vec::new();
    for display in displays(&source(name)) {
        match path_of(&display) {
            Some(path) => found.push(Step::Write {
                path,
                text: display.join("\n") + "\n",
            }),
            None => found.extend(typed(name, &display)),
        }
    }
    found
}

/// The text of a page.
pub fn source(name: &str) -> String {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/man");
    let path = top.join(format!("{name}.7"));
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The lines of each `.Bd -literal` and `.Dl`.
fn displays(page: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut open: Option<Vec<String>> = None;
    for line in page.lines() {
        match &mut open {
            Some(_) if line == ".Ed" => found.extend(open.take()),
            Some(display) => display.push(unescaped(line)),
            None if line.starts_with(".Bd -literal") => open = Some(Vec::new()),
            None => found.extend(line.strip_prefix(".Dl ").map(|l| vec![unescaped(l)])),
        }
    }
    assert!(open.is_none(), "a display without its end");
    found
}

/// As it is seen.
fn unescaped(line: &str) -> String {
    line.replace("\\&", "").replace("\\e", "\\")
}

/// The file that a display shows.
fn path_of(display: &[String]) -> Option<String> {
    let mut head = display.iter().take(2);
    let path = head.find_map(|l| l.strip_prefix("# /"))?;
    let path = path.split([',', ' ']).next()?;
    Some(format!("/{path}"))
}

fn typed(page: &str, display: &[String]) -> Vec<Step> {
    let mut found: Vec<Step> = Vec::new();
    for text in &joined(display) {
        if let Some((on, line)) = prompt(text) {
            let prints = Vec::new();
            let (on, line) = (on.to_owned(), line.to_owned());
            found.push(Step::Type { on, line, prints });
        } else if let Some(Step::Type { prints, .. }) = found.last_mut() {
            prints.push(text.trim().to_owned());
        } else {
            panic!("{page}: neither typed, nor printed by what is above it, nor a file: {text}");
        }
    }
    found
}

/// A line that ends with a backslash goes on with the next one.
fn joined(display: &[String]) -> Vec<String> {
    let text = display.join("\n").replace("\\\n", "");
    text.lines().map(str::to_owned).collect()
}

/// `alice# hactl check` is typed on alice.
fn prompt(text: &str) -> Option<(&str, &str)> {
    let at = text.find(['#', '$'])?;
    let (on, rest) = text.split_at(at);
    let name = !on.is_empty() && on.bytes().all(|b| b.is_ascii_lowercase());
    let line = rest.get(1..)?.strip_prefix(' ')?;
    name.then_some((on, line))
}

#[test]
fn a_page_is_understood() {
    assert_eq!(prompt("alice# hactl check"), Some(("alice", "hactl check")));
    assert_eq!(prompt("client$ curl a"), Some(("client", "curl a")));
    for other in ["# a comment", "  alice  here", "node alice", "All is well"] {
        assert_eq!(prompt(other), None, "{other}");
    }
    let page = ".Dl all# true\ntext\n.Bd -literal -offset indent\n# /etc/ha.d/ha.cf, on all\nnode a\n.Ed\n";
    let found = displays(page);
    assert_eq!(found.len(), 2);
    assert_eq!(path_of(&found[1]).unwrap(), "/etc/ha.d/ha.cf");
    assert_eq!(path_of(&found[0]), None);
}

#[test]
#[should_panic(expected = "neither typed")]
fn a_line_of_no_kind_is_refused() {
    typed("page", &["hactl check".to_owned()]);
}
