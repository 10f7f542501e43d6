//! The files that a shell script reads with `.` before it does anything else. A shell ends where such a file is missing, with
//! no word about the service. After heartbeat's package is gone, that is `/etc/ha.d/shellfuncs`.
//!
//! Only what is certain counts: a line at the left margin, outside of `if`, `case`, loops, functions and here-documents, whose
//! path is absolute once known variables are replaced.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::environment::ScriptEnv;
use super::program::Interpreter;
use crate::sys::foreign_file::read_regular;
use crate::text::Mistake;

/// A longer script is not looked at.
const MAX_SCRIPT_BYTES: u64 = 1 << 20;

/// A file that a script reads and that does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingFile {
    line: usize,
    path: PathBuf,
    /// Whether the script ends there. bash goes on without the file, unless it is called `sh`.
    pub ends_the_script: bool,
}

impl MissingFile {
    /// For an administrator. `script` reads it.
    pub fn mistake(&self, script: &Path) -> Mistake {
        let (script, path) = (script.display(), self.path.display());
        let then = if self.ends_the_script {
            "so it ends there and does nothing"
        } else {
            "and goes on without it"
        };
        let message = format!(
            "{script} reads {path} in line {}, which does not exist, {then}",
            self.line
        );
        let name = self.path.file_name().unwrap_or_default();
        let help = if name == "shellfuncs" || name == "hto-mapfuncs" {
            format!(
                "copy the file {} of had there: see resource.d/README.md",
                name.display()
            )
        } else {
            "install the package that it belongs to, or remove the line".to_owned()
        };
        Mistake::new(message).help(help)
    }
}

/// The first file that a script reads for certain and that does not exist.
pub fn missing_file(
    script: &Path,
    interpreter: &Interpreter,
    env: &ScriptEnv,
) -> Option<MissingFile> {
    let shell = interpreter.shell()?;
    let text = read_regular(script, MAX_SCRIPT_BYTES).ok()?;
    let (line, path) = first_missing(&text, env.variables().into_iter().collect())?;
    Some(MissingFile {
        line,
        path,
        ends_the_script: shell != "bash" && shell != "zsh",
    })
}

fn first_missing(text: &str, variables: BTreeMap<String, String>) -> Option<(usize, PathBuf)> {
    let mut reader = Reader {
        variables,
        depth: 0,
        continued: false,
        document_end: None,
    };
    let mut numbered = (1..).zip(text.lines());
    numbered.find_map(|(number, line)| {
        let path = reader.read_line(line)?;
        (!path.exists()).then_some((number, path))
    })
}

/// What is known at a line of a script.
struct Reader {
    variables: BTreeMap<String, String>,
    /// How many `if`, `case`, loops and blocks are open.
    depth: usize,
    /// Whether the last line goes on in this one.
    continued: bool,
    /// The line that ends a here-document.
    document_end: Option<String>,
}

impl Reader {
    /// The file that this line reads for certain.
    fn read_line(&mut self, line: &str) -> Option<PathBuf> {
        if let Some(end) = &self.document_end {
            if line.trim_start_matches('\t') == end {
                self.document_end = None;
            }
            return None;
        }
        if line.trim_start().starts_with('#') || line.trim().is_empty() {
            return None;
        }
        let certain = self.depth == 0 && !self.continued && !line.starts_with([' ', '\t']);
        self.continued = ["\\", "&&", "||", "|"]
            .iter()
            .any(|end| line.trim_end().ends_with(end));
        self.document_end = here_document(line);
        self.count_blocks(line);
        if !certain || self.depth > 0 {
            return None;
        }
        self.assign(line);
        let words = line
            .strip_prefix(". ")
            .or_else(|| line.strip_prefix("source "))?;
        let mut words = words.split_ascii_whitespace();
        let path = self.expand(words.next()?)?;
        let alone = words
            .next()
            .is_none_or(|word| word.starts_with('#') || word == "||");
        (alone && path.starts_with('/')).then(|| PathBuf::from(path))
    }

    fn count_blocks(&mut self, line: &str) {
        for word in line.split(|c: char| c.is_ascii_whitespace() || c == ';') {
            match word {
                "if" | "case" | "while" | "until" | "for" | "select" => self.depth += 1,
                "fi" | "esac" | "done" | "}" | ")" => self.depth = self.depth.saturating_sub(1),
                _ if word.ends_with('{') || word == "(" => self.depth += 1,
                _ => {}
            }
        }
    }

    /// Notes `NAME=value`, `export NAME=value` and `: ${NAME=value}`.
    fn assign(&mut self, line: &str) {
        let line = line.split(" #").next().unwrap_or(line).trim_end();
        let default = line
            .strip_prefix(": ${")
            .and_then(|rest| rest.strip_suffix('}'));
        let whole = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = default.unwrap_or(whole).split_once('=') else {
            return;
        };
        let name = name.trim_end_matches(':');
        let known = self
            .variables
            .get(name)
            .is_some_and(|value| !value.is_empty());
        if !is_name(name) || (default.is_some() && known) {
            return;
        }
        match self.expand(value) {
            Some(value) => self.variables.insert(name.to_owned(), value),
            None => self.variables.remove(name),
        };
    }

    /// A word with its variables replaced; `None` where it needs a shell.
    fn expand(&self, word: &str) -> Option<String> {
        let quoted = |mark| {
            word.strip_prefix(mark)
                .and_then(|rest| rest.strip_suffix(mark))
        };
        if let Some(literal) = quoted('\'') {
            return Some(literal.to_owned());
        }
        let mut rest = quoted('"').unwrap_or(word);
        let mut text = String::new();
        while let Some((before, after)) = rest.split_once('$') {
            text += before;
            let braced = after
                .strip_prefix('{')
                .and_then(|rest| rest.split_once('}'));
            let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let (name, tail) = braced.unwrap_or_else(|| after.split_at(end.unwrap_or(after.len())));
            text += self.variables.get(name)?;
            rest = tail;
        }
        text += rest;
        (!text.contains(['`', '$', '"', '\'', '\\', '*', '?', '(', ';', '&', '|', ' ']))
            .then_some(text)
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The line that ends the here-document that begins in this line.
fn here_document(line: &str) -> Option<String> {
    let (_, after) = line.split_once("<<")?;
    let word = after
        .trim_start_matches('-')
        .split_ascii_whitespace()
        .next()?;
    let word = word.trim_matches(['"', '\'', '\\', ';', ')']);
    is_name(word).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::exec::program;
    use crate::agent::exec::testing::write_program;
    use crate::model::NodeName;

    fn missing(text: &str) -> Option<(usize, String)> {
        let variables = [
            ("HA_DIR", "/etc/gone.d"),
            ("HA_FUNCS", "/etc/gone.d/shellfuncs"),
        ];
        let variables = variables.map(|(n, v)| (n.to_owned(), v.to_owned()));
        let (line, path) = first_missing(text, variables.into())?;
        Some((line, path.display().to_string()))
    }

    #[test]
    fn a_file_that_is_read_for_certain_is_found() {
        let gone = |line, path: &str| Some((line, path.to_owned()));
        for (text, found) in [
            (
                ". /etc/gone.d/shellfuncs",
                gone(1, "/etc/gone.d/shellfuncs"),
            ),
            ("#!/bin/sh\n\n. /gone/x # functions", gone(3, "/gone/x")),
            (". /gone/x || exit 1", gone(1, "/gone/x")),
            ("source \"/gone/x\"", gone(1, "/gone/x")),
            (". $HA_FUNCS", gone(1, "/etc/gone.d/shellfuncs")),
            (". ${HA_DIR}/shellfuncs", gone(1, "/etc/gone.d/shellfuncs")),
            (
                "DIR=/gone\nexport LIB=$DIR/lib\n. $LIB/x",
                gone(3, "/gone/lib/x"),
            ),
            (
                ": ${HA_DIR:=/other}\n: ${NEW=/gone}\n. $NEW/x",
                gone(3, "/gone/x"),
            ),
            ("if true\nthen\n:\nfi\n. /gone/x", gone(5, "/gone/x")),
            ("usage() {\necho x\n}\n. /gone/x", gone(4, "/gone/x")),
            (". /etc/passwd\n. /gone/x", gone(2, "/gone/x")),
        ] {
            assert_eq!(missing(text), found, "{text}");
        }
    }

    #[test]
    fn what_is_not_certain_is_left_alone() {
        for text in [
            "[ -f /gone/x ] && . /gone/x",
            "[ -f /gone/x ] &&\n. /gone/x",
            "if [ -f /gone/x ]; then\n. /gone/x\nfi",
            "test -f /gone/x && {\n. /gone/x\n}",
            "load() {\n. /gone/x\n}",
            "case $1 in\nstart)\n. /gone/x;;\nesac",
            "cat <<EOF\n. /gone/x\nEOF",
            "\t. /gone/x",
            ". ./functions",
            ". functions",
            ". $UNKNOWN/x",
            "DIR=$(dirname $0)\n. $DIR/x",
            "HA_DIR=`pwd`\n. $HA_DIR/x",
            ". /gone/x 2>/dev/null",
            "# . /gone/x",
        ] {
            assert_eq!(missing(text), None, "{text}");
        }
    }

    #[test]
    fn the_remedy_for_heartbeats_libraries_is_ours() {
        let dir = tempfile::tempdir().unwrap();
        let env = ScriptEnv::new(NodeName::new("a"), dir.path());
        let path = dir.path().join("script");
        for (shell, ends) in [("/bin/sh", true), ("/bin/bash", false)] {
            write_program(&path, &format!("#!{shell}\n. $HA_FUNCS\nha_log started\n"));
            let interpreter = program::check(&path).unwrap();
            let found = missing_file(&path, &interpreter, &env).unwrap();
            assert_eq!(found.ends_the_script, ends);
            let mistake = found.mistake(&path);
            assert!(
                mistake
                    .message
                    .contains("/shellfuncs in line 2, which does not exist")
            );
            assert!(
                mistake
                    .help
                    .unwrap()
                    .starts_with("copy the file shellfuncs of had")
            );
        }
        std::fs::write(dir.path().join("shellfuncs"), "").unwrap();
        let interpreter = program::check(&path).unwrap();
        assert_eq!(missing_file(&path, &interpreter, &env), None);
    }
}
