//! A file with the parameters of one instance, `conf/OCF/TYPE/INSTANCE`: lines `OCF_RESKEY_name=value`.
//!
//! Heartbeat let a shell run it. Here only names and values are read. A line that needs a shell is refused.

use std::path::Path;

use super::notation::Given;
use crate::agent::exec::safe_path;
use crate::sys::foreign_file::read_regular;
use crate::text::Mistake;

/// A longer file is refused.
const MAX_FILE_BYTES: u64 = 64 * 1024;
/// Characters that are special to a shell outside of quotation marks.
const SHELL_CHARACTERS: &str = "$`\\\"'|&;<>()*?[]{}~! \t";

/// Reads the parameters of a file.
pub fn read(path: &Path) -> Result<Vec<Given>, Mistake> {
    safe_path::only_root_writes(path)?;
    let cannot = |e| Mistake::new(format!("cannot read {}: {e}", path.display()));
    let text = read_regular(path, MAX_FILE_BYTES).map_err(cannot)?;
    let mut given = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        given.push(parameter(line).ok_or_else(|| refused(path, number + 1, line))?);
    }
    Ok(given)
}

fn refused(path: &Path, number: usize, line: &str) -> Mistake {
    Mistake::new(format!(
        "{}:{number}: `{line}` is not NAME=value; the file is not run by a shell",
        path.display()
    ))
    .help("write OCF_RESKEY_name=value or OCF_RESKEY_name='value with spaces'")
}

fn parameter(line: &str) -> Option<Given> {
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    let (name, value) = line.split_once('=')?;
    let name = name.strip_prefix("OCF_RESKEY_").unwrap_or(name);
    let usual = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(usual) {
        return None;
    }
    Some(Given {
        name: name.to_owned(),
        value: unquoted(value)?,
        at: None,
    })
}

/// The value without quotation marks, if it has no special meaning to a shell. A comment may follow.
fn unquoted(text: &str) -> Option<String> {
    let (value, rest) = if let Some(quoted) = text.strip_prefix('\'') {
        quoted.split_once('\'')?
    } else if let Some(quoted) = text.strip_prefix('"') {
        let (value, rest) = quoted.split_once('"')?;
        if value.contains(['$', '`', '\\']) {
            return None;
        }
        (value, rest)
    } else {
        let end = text.find([' ', '\t']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        let value = value.strip_suffix(';').unwrap_or(value);
        if value.contains(|c| SHELL_CHARACTERS.contains(c)) {
            return None;
        }
        (value, rest)
    };
    let rest = rest.trim_start_matches([' ', '\t', ';']);
    (rest.is_empty() || rest.starts_with('#')).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(line: &str) -> Option<(String, String)> {
        parameter(line).map(|g| (g.name, g.value))
    }

    #[test]
    fn values_are_taken_as_a_shell_would_take_them() {
        for (line, name, text) in [
            ("OCF_RESKEY_ip=10.0.0.1", "ip", "10.0.0.1"),
            (
                "export OCF_RESKEY_ip=\"10.0.0.1\" # the first",
                "ip",
                "10.0.0.1",
            ),
            ("options='rw,x=1  two'", "options", "rw,x=1  two"),
            ("a=", "a", ""),
            ("a=b;", "a", "b"),
            ("url=http://x/y::z=1", "url", "http://x/y::z=1"),
        ] {
            assert_eq!(value(line), Some((name.into(), text.into())), "{line}");
        }
    }

    #[test]
    fn what_only_a_shell_understands_is_refused() {
        for line in [
            "a=$(date)",
            "a=`date`",
            "a=\"$HOME\"",
            "a=b c",
            "a='b",
            "a=b; rm -rf /",
            "if true",
            "a b=c",
            "=x",
            "a=b\\",
            "a=$x",
            "a='b'c",
        ] {
            assert_eq!(value(line), None, "{line}");
        }
    }

    #[test]
    fn a_mistake_is_named_with_file_and_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web");
        std::fs::write(&path, "# web\n\nOCF_RESKEY_port=80\n. /etc/default/web\n").unwrap();
        let message = read(&path).unwrap_err().message;
        assert!(
            message.contains("web:4: `. /etc/default/web` is not NAME=value"),
            "{message}"
        );
        std::fs::write(&path, "x".repeat(70_000)).unwrap();
        assert!(read(&path).unwrap_err().message.contains("longer than"));
        assert!(read(&dir.path().join("none")).is_err());
    }
}
