//! How a file is executed, and what keeps it from being executed: an empty file, an interpreter that is gone, a first line
//! that ends with a carriage return.
//!
//! The kernel runs a file that begins with `#!` or is a binary. A text without `#!` is run with `/bin/sh`, because
//! heartbeat started scripts from a shell, which does the same.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use tokio::process::Command;

use crate::agent::exec::environment;
use crate::text::Mistake;

/// The shell for texts without `#!`.
const SHELL: &str = "/bin/sh";
/// As much of a first line as the kernel reads.
const MAX_HEAD_BYTES: u64 = 256;
/// The first bytes of a binary.
const ELF: &[u8] = b"\x7fELF";
/// Interpreters that read shell scripts.
const SHELLS: [&str; 6] = ["sh", "dash", "ash", "bash", "ksh", "zsh"];

/// What runs a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interpreter {
    /// The kernel itself: it is no script.
    Kernel,
    /// `/bin/sh`, because the text names no interpreter.
    Shell,
    /// The program that the first line names.
    Named(String),
}

impl Interpreter {
    /// The name of the shell that reads this file, if it is one.
    pub fn shell(&self) -> Option<&'static str> {
        let name = match self {
            Interpreter::Kernel => return None,
            Interpreter::Shell => "sh",
            Interpreter::Named(path) => path.rsplit('/').next()?,
        };
        SHELLS.into_iter().find(|shell| *shell == name)
    }
}

/// A command that runs this file. A file that cannot be read is left to the kernel, which says why.
pub fn command(path: &Path) -> Command {
    match read_head(path) {
        Ok(head) if is_text_without_interpreter(&head) => {
            let mut command = Command::new(SHELL);
            command.arg(path);
            command
        }
        _ => Command::new(path),
    }
}

/// Checks that the file can be executed, and returns what runs it.
pub fn check(path: &Path) -> Result<Interpreter, Mistake> {
    let shown = path.display();
    let head = read_head(path).map_err(|e| Mistake::new(format!("cannot read {shown}: {e}")))?;
    if head.is_empty() {
        return Err(Mistake::new(format!(
            "{shown} is an empty file, so it can start nothing"
        )));
    }
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line).into_owned();
    let named = line.strip_prefix("#!");
    let text = named.is_some() || is_text_without_interpreter(&head);
    if text && line.ends_with('\r') {
        return Err(Mistake::new(format!(
            "{shown} cannot be executed: its first line ends with a carriage return (it was written on Windows)"
        ))
        .help(format!("sed -i 's/\\r$//' {shown}")));
    }
    match named {
        Some(interpreter) => check_interpreter(path, interpreter),
        None if text => Ok(Interpreter::Shell),
        None => Ok(Interpreter::Kernel),
    }
}

/// `line` is the first line without `#!`.
fn check_interpreter(path: &Path, line: &str) -> Result<Interpreter, Mistake> {
    let shown = path.display();
    let mut words = line.split_ascii_whitespace();
    let Some(program) = words.next() else {
        return Err(Mistake::new(format!(
            "{shown} cannot be executed: its first line names no interpreter"
        ))
        .help(format!("write #!{SHELL} there")));
    };
    if !is_program(Path::new(program)) {
        return Err(gone(path, program));
    }
    let of_env = words.next().filter(|_| program.ends_with("/env"));
    let Some(name) = of_env.filter(|word| !word.starts_with('-') && !word.contains('=')) else {
        return Ok(Interpreter::Named(program.to_owned()));
    };
    let mut folders = environment::PATH.split(':');
    if name.contains('/') || folders.any(|folder| is_program(&Path::new(folder).join(name))) {
        return Ok(Interpreter::Named(name.to_owned()));
    }
    Err(gone(path, name))
}

fn gone(path: &Path, program: &str) -> Mistake {
    Mistake::new(format!(
        "{} cannot be executed: its interpreter {program} is not on this machine",
        path.display()
    ))
    .help("install it, or name another one in the first line of the script")
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

fn is_text_without_interpreter(head: &[u8]) -> bool {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let text = !head.is_empty() && !line.contains(&0);
    text && !head.starts_with(b"#!") && !head.starts_with(ELF)
}

fn read_head(path: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path)?
        .take(MAX_HEAD_BYTES)
        .read_to_end(&mut head)?;
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::exec::testing::write_program;

    fn judged(text: &str) -> Result<Interpreter, Mistake> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("script");
        write_program(&path, text);
        check(&path)
    }

    #[test]
    fn the_first_line_names_what_runs_a_file() {
        let named = |program: &str| Interpreter::Named(program.to_owned());
        for (text, interpreter, shell) in [
            ("#!/bin/sh\nexit 0\n", named("/bin/sh"), Some("sh")),
            ("#! /bin/sh -e\n", named("/bin/sh"), Some("sh")),
            ("#!/usr/bin/env sh\n", named("sh"), Some("sh")),
            ("#!/usr/bin/env -S sh -e\n", named("/usr/bin/env"), None),
            (
                "case $1 in\nstart) :;;\nesac\n",
                Interpreter::Shell,
                Some("sh"),
            ),
            ("\n#!/bin/sh\n", Interpreter::Shell, Some("sh")),
            ("# a comment\n", Interpreter::Shell, Some("sh")),
            ("\u{7f}ELF\u{2}", Interpreter::Kernel, None),
            ("\u{1}\0\u{2}", Interpreter::Kernel, None),
        ] {
            let found = judged(text).unwrap();
            assert_eq!((found.shell(), found), (shell, interpreter), "{text:?}");
        }
    }

    #[test]
    fn what_cannot_be_executed_is_named_with_what_to_do() {
        for (text, wrong, help) in [
            ("", "is an empty file", ""),
            (
                "#!/bin/sh\r\nexit 0\r\n",
                "ends with a carriage return",
                "sed -i",
            ),
            ("echo running\r\n", "ends with a carriage return", "sed -i"),
            ("#!\n", "names no interpreter", "#!/bin/sh"),
            (
                "#!/opt/gone/python2\n",
                "interpreter /opt/gone/python2 is not",
                "install it",
            ),
            (
                "#!/usr/bin/env no-such-python\n",
                "interpreter no-such-python is not",
                "install it",
            ),
            (
                "#!/etc/passwd\n",
                "interpreter /etc/passwd is not",
                "install it",
            ),
        ] {
            let mistake = judged(text).unwrap_err();
            assert!(mistake.message.contains(wrong), "{text:?}: {mistake:?}");
            let given = mistake.help.unwrap_or_default();
            assert!(given.contains(help), "{text:?}: {given}");
        }
        assert!(check(Path::new("/nonexistent/script")).is_err());
    }

    #[tokio::test]
    async fn a_text_without_interpreter_is_run_by_the_shell() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("script");
        write_program(&path, "echo \"$0 $1\"\n");
        let output = command(&path).arg("start").output().await.unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said, format!("{} start\n", path.display()));
    }
}
