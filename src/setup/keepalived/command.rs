//! A command of keepalived: as a probe of ha.cf where there is one that says the same, else as a program or a script.

use std::path::{Path, PathBuf};

use super::source::Files;
use crate::text::nearest;

/// Words that end a probe in ha.cf; an argument that looks like one would be read as one.
const OPTIONS: [&str; 8] = [
    "every", "timeout", "fall", "rise", "restart", "within", "owner", "lag",
];
/// Words that only a shell knows.
const SHELL_WORDS: [&str; 9] = [
    ".", ":", "command", "eval", "exec", "exit", "return", "source", "type",
];
/// What stands for the program that ends keepalived.
const ENDS: [&str; 4] = ["kill", "stop", "pkill", "killall"];

/// How ha.cf checks what a command checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// The words of a probe.
    Words(String),
    /// A script with this text.
    Script(String),
}

/// The probe for a command.
pub fn probe_of(command: &str) -> Probe {
    if let Some(words) = connection(command).or_else(|| process(command)) {
        return Probe::Words(words);
    }
    let words: Vec<&str> = command.split_whitespace().collect();
    let reserved = |word: &&&str| nearest(word, OPTIONS).is_some();
    if command.starts_with('/')
        && is_plain(command)
        && words.iter().skip(1).find(reserved).is_none()
    {
        return Probe::Words(format!("exec {}", words.join(" ")));
    }
    Probe::Script(check_line(command))
}

/// The command in place of the shell of its script: `pgrep web` would else find the script `checks/web` itself, and always pass.
fn check_line(command: &str) -> String {
    let line = command_line(command);
    match line.split(' ').next() {
        Some(first) if SHELL_WORDS.contains(&first) => line,
        _ => format!("exec {line}"),
    }
}

/// `</dev/tcp/ADDRESS/PORT`, by which bash connects.
fn connection(command: &str) -> Option<String> {
    let rest = command.trim().strip_prefix('<')?.trim_start();
    let (host, port) = rest.strip_prefix("/dev/tcp/")?.split_once('/')?;
    let port: u16 = port.parse().ok().filter(|p| *p > 0)?;
    let address: std::net::IpAddr = match host {
        "localhost" => "127.0.0.1".parse().ok()?,
        _ => host.parse().ok()?,
    };
    Some(format!("tcp {}", std::net::SocketAddr::new(address, port)))
}

/// `killall -0 NAME`, `pidof NAME`, `pgrep -x NAME`: whether a process of exactly that name runs. `pgrep NAME` and `pkill` find
/// parts of names, and `pidof -x` finds scripts by their files: the probe finds neither.
fn process(command: &str) -> Option<String> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let (program, rest) = words.split_first()?;
    let program = program.rsplit('/').next()?;
    let (("killall", ["-0", name] | ["-s", "0", name])
    | ("pidof", [name] | ["-s" | "-q", name])
    | ("pgrep", ["-x", name])) = (program, rest)
    else {
        return None;
    };
    // A pattern of pgrep: a dot and a plus would have a meaning of their own.
    let others: &[u8] = if program == "pgrep" { b"-_" } else { b"-_.+" };
    let plain = |b: u8| b.is_ascii_alphanumeric() || others.contains(&b);
    let good =
        name.bytes().all(plain) && !name.starts_with('-') && nearest(name, OPTIONS).is_none();
    good.then(|| format!("process {name}"))
}

/// Whether a shell and ha.cf read a text in the same way: words, and nothing with a meaning of its own.
fn is_plain(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.:=@%+ ".contains(c);
    text.chars().all(plain)
}

/// A command as a line of a shell script. What has quotation marks or the like goes to a shell of its own, so that a mistake in
/// it cannot break the script.
pub fn command_line(command: &str) -> String {
    let first = command.split_whitespace().next().unwrap_or("");
    if is_plain(command) && !first.contains('=') && !first.is_empty() {
        return command.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    let shell = if command.contains("/dev/tcp/") {
        "/bin/bash"
    } else {
        "/bin/sh"
    };
    format!("{shell} -c {} {shell}", shell_quote(command))
}

/// The command with arguments after its own.
pub fn command_line_with(command: &str, arguments: &str) -> String {
    let line = command_line(command);
    if line.contains(" -c '") {
        let line = command_line(&format!("{command} \"$@\""));
        return format!("{line} {arguments}");
    }
    format!("{line} {arguments}")
}

/// A text as one word of a shell.
pub fn shell_quote(text: &str) -> String {
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    format!("'{}'", line.replace('\'', "'\\''"))
}

/// Whether a command ends keepalived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Killer {
    /// It does: where it says so.
    Is(String),
    /// It does not.
    Not,
    /// It names a script that is not here.
    Unread(String),
}

/// Whether a command, or the script that it names, ends keepalived.
pub fn manager_killer(command: &str, file: &Path, files: &dyn Files) -> Killer {
    if ends_keepalived(command) {
        return Killer::Is("this command".to_owned());
    }
    let Some(script) = command
        .split_whitespace()
        .next()
        .filter(|w| w.starts_with('/'))
    else {
        return Killer::Not;
    };
    let Some((path, text)) = script_text(script, file, files) else {
        let of_system = ["/bin/", "/usr/bin/", "/sbin/", "/usr/sbin/"];
        let known = of_system.iter().any(|folder| script.starts_with(folder));
        return if known {
            Killer::Not
        } else {
            Killer::Unread(script.to_owned())
        };
    };
    match text
        .lines()
        .enumerate()
        .find(|(_, line)| ends_keepalived(line))
    {
        Some((nth, _)) => Killer::Is(format!("{}, line {},", path.display(), nth + 1)),
        None => Killer::Not,
    }
}

/// The text of a script: as it lies beside the configuration, or where it belongs.
fn script_text(script: &str, file: &Path, files: &dyn Files) -> Option<(PathBuf, String)> {
    let script = Path::new(script);
    let beside = file.with_file_name(script.file_name()?);
    let found = files.read(&beside).map(|text| (beside, text));
    let there = || files.read(script).map(|text| (script.to_owned(), text));
    found.or_else(|_| there()).ok()
}

fn ends_keepalived(line: &str) -> bool {
    let line = line.trim_start();
    let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric()).collect();
    !line.starts_with('#')
        && words.contains(&"keepalived")
        && words.iter().any(|w| ENDS.contains(w))
        && !line.contains("-0 ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Probe {
        Probe::Words(text.to_owned())
    }

    #[test]
    fn commands_that_ha_cf_has_a_probe_for() {
        for (command, probe) in [
            ("killall -0 nginx", "process nginx"),
            ("/usr/bin/killall -0 haproxy", "process haproxy"),
            ("pidof mysqld", "process mysqld"),
            ("pgrep -x mysqld", "process mysqld"),
            ("</dev/tcp/127.0.0.1/80", "tcp 127.0.0.1:80"),
            ("< /dev/tcp/::1/80", "tcp [::1]:80"),
            (
                "/etc/keepalived/check.sh 80",
                "exec /etc/keepalived/check.sh 80",
            ),
        ] {
            assert_eq!(probe_of(command), words(probe), "{command}");
        }
        for command in [
            "/x every 2s",
            "/x 'a b'",
            "curl -s http://localhost/",
            "/x | grep y",
            "A=1 /x",
            "/x #",
            "",
            "/x risee",
            "pgrep nginx",
            "pgrep -x php8.2",
            "pkill -0 nginx",
            "pkill -x -0 nginx",
            "pidof -x check.py",
        ] {
            assert!(matches!(probe_of(command), Probe::Script(_)), "{command}");
        }
    }

    #[test]
    fn no_command_breaks_a_script() {
        assert_eq!(check_line("pgrep web"), "exec pgrep web");
        assert_eq!(check_line("exit 0"), "exit 0");
        assert_eq!(command_line("curl -s x"), "curl -s x");
        assert_eq!(command_line("a 'b"), "/bin/sh -c 'a '\\''b' /bin/sh");
        assert_eq!(
            command_line_with("/n.sh", "A \"$state\""),
            "/n.sh A \"$state\""
        );
        assert_eq!(
            command_line_with("/n.sh \"x y\"", "A"),
            "/bin/sh -c '/n.sh \"x y\" \"$@\"' /bin/sh A"
        );
    }

    #[test]
    fn a_command_that_ends_the_manager_is_known() {
        for yes in [
            "pkill keepalived",
            "systemctl stop keepalived",
            "kill `pidof keepalived`",
            "/etc/init.d/keepalived stop",
        ] {
            assert!(ends_keepalived(yes), "{yes}");
        }
        for no in [
            "killall -0 keepalived",
            "# pkill keepalived",
            "systemctl restart nginx",
            "echo keepalived",
        ] {
            assert!(!ends_keepalived(no), "{no}");
        }
    }
}
