//! What can be told about a `Filesystem` before it is started: that its device, its directory and its type are there, and
//! that no other wants the same.

use std::fs;
use std::path::Path;

use super::arguments::{Arguments, Source};
use super::identity::block_device;
use super::mountinfo::Table;
use crate::agent::exec::system_tool;
use crate::model::token::Token;
use crate::text::Mistake;

/// Looks at the machine. `earlier` are the members before it in its group: they may make the device or the directory.
/// Returns what is missing only as yet.
pub fn machine(args: &Arguments, earlier: &[Token]) -> Result<Option<String>, Mistake> {
    if let Some(kind) = &args.kind {
        known(kind)?;
    }
    let later = device(args, earlier)?;
    let directory = &args.directory;
    // What is mounted there already is not touched: it may hang.
    let mounted = Table::read().is_ok_and(|table| table.top(directory).is_some());
    if !mounted && !directory.is_dir() && !inside_earlier(directory, earlier) {
        let shown = directory.display();
        let message = format!("there is no directory {shown} to mount on");
        return Err(Mistake::new(message).help(format!("mkdir -p {shown}")));
    }
    Ok(later)
}

fn device(args: &Arguments, earlier: &[Token]) -> Result<Option<String>, Mistake> {
    let (there, path) = match &args.source {
        Source::Device(path) => (block_device(path).is_some(), path),
        Source::Image(path) | Source::Bind(path) => (path.exists(), path),
        Source::Tag(_) | Source::Network(_) | Source::Virtual(_) => return Ok(None),
    };
    if there {
        return Ok(None);
    }
    let shown = path.display();
    if !matches!(args.source, Source::Device(_)) && inside_earlier(path, earlier) {
        return Ok(None);
    }
    // Addresses make no devices; anything else might.
    let maker = earlier.iter().rev().find(|t| !t.name.starts_with("IP"));
    if let (Some(maker), Source::Device(_)) = (maker, &args.source) {
        return Ok(Some(format!(
            "{shown} is not there now; {} must make it",
            maker.text
        )));
    }
    let what = match args.source {
        Source::Device(_) => "block device",
        Source::Bind(_) => "directory",
        _ => "file",
    };
    Err(Mistake::new(format!("there is no {what} {shown}"))
        .help("lsblk shows the devices of this machine; LABEL=... or UUID=... keep their names"))
}

/// Whether an earlier `Filesystem` of the group shows it.
fn inside_earlier(path: &Path, earlier: &[Token]) -> bool {
    let mut others = earlier.iter().filter(|t| t.name == "Filesystem");
    others.any(|t| Arguments::parse(&t.args).is_ok_and(|other| path.starts_with(other.directory)))
}

/// A type that the kernel has, can load, or leaves to a helper.
fn known(kind: &str) -> Result<(), Mistake> {
    let in_kernel = |kind: &str| {
        let text = fs::read_to_string("/proc/filesystems").unwrap_or_default();
        text.lines()
            .any(|l| l.split('\t').next_back() == Some(kind))
    };
    let base = kind.split('.').next().unwrap_or(kind);
    if in_kernel(base) || loadable(base) || system_tool::find(&[&format!("mount.{kind}")]).is_some()
    {
        return Ok(());
    }
    let message = format!("this machine knows no file system type `{kind}`");
    let help = match base {
        "nfs" | "nfs4" => "apt install nfs-common",
        "cifs" | "smb3" => "apt install cifs-utils",
        _ => {
            "`cat /proc/filesystems` shows what this kernel knows; leave the type away and mount(8) finds out"
        }
    };
    Err(Mistake::new(message).help(help))
}

/// Whether there is a module for it.
fn loadable(kind: &str) -> bool {
    let release = nix::sys::utsname::uname().map(|u| u.release().to_owned());
    let Ok(release) = release else { return false };
    let path = Path::new("/lib/modules")
        .join(release)
        .join("modules.alias");
    let wanted = format!("alias fs-{kind} ");
    fs::read_to_string(path).is_ok_and(|text| text.lines().any(|l| l.starts_with(&wanted)))
}

/// Pairs of `Filesystem` words that want the same device or the same directory: the later by its place in the list, and
/// what is wrong.
pub fn clashes(tokens: &[&Token]) -> Vec<(usize, Mistake)> {
    let parsed = |t: &Token| {
        Arguments::parse(&t.args)
            .ok()
            .filter(|_| t.name == "Filesystem")
    };
    let all: Vec<_> = tokens.iter().map(|t| parsed(t)).collect();
    let mut found = Vec::new();
    for (nth, later) in all.iter().enumerate() {
        let earlier = all.iter().take(nth).zip(tokens);
        for (other, token) in earlier.filter_map(|(a, t)| Some((a.as_ref()?, t))) {
            let Some(later) = later else { continue };
            let what = if later.directory == other.directory {
                format!("directory {}", later.directory.display())
            } else if later.source == other.source && (later.exclusive() || other.exclusive()) {
                later.source.to_string()
            } else {
                continue;
            };
            let message = format!("{what} is already used by {}", token.text);
            let help = "each group mounts and unmounts on its own; two cannot share a device or a directory";
            found.push((nth, Mistake::new(message).help(help)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(word: &str) -> Token {
        let mut parts = word.split("::").map(str::to_owned);
        Token {
            text: word.to_owned(),
            name: parts.next().unwrap(),
            args: parts.collect(),
        }
    }

    fn look(word: &str, earlier: &[&str]) -> Result<Option<String>, Mistake> {
        let earlier: Vec<Token> = earlier.iter().map(|w| token(w)).collect();
        machine(&Arguments::parse(&token(word).args).unwrap(), &earlier)
    }

    #[test]
    fn a_device_that_is_not_there_must_come_from_an_earlier_member() {
        let word = "Filesystem::/dev/drbd_none::/tmp";
        let mistake = look(word, &["IPaddr::10.0.0.1"]).unwrap_err();
        assert_eq!(mistake.message, "there is no block device /dev/drbd_none");
        let note = look(word, &["drbddisk::db", "IPaddr::10.0.0.1"]).unwrap();
        let wanted = "/dev/drbd_none is not there now; drbddisk::db must make it";
        assert_eq!(note.as_deref(), Some(wanted));
        // A file is no device.
        assert!(look("Filesystem::/etc/passwd::/tmp", &[]).is_err());
        assert!(look("Filesystem::/nonexistent::/tmp::bind", &["drbddisk::db"]).is_err());
    }

    #[test]
    fn a_directory_must_be_there_or_lie_in_an_earlier_mount() {
        let word = "Filesystem::t::/nonexistent/a/b::tmpfs";
        let mistake = look(word, &[]).unwrap_err();
        assert_eq!(mistake.help.as_deref(), Some("mkdir -p /nonexistent/a/b"));
        assert!(look(word, &["Filesystem::t::/nonexistent/a2::tmpfs"]).is_err());
        let inside = look(word, &["Filesystem::t::/nonexistent/a::tmpfs"]);
        assert_eq!(inside, Ok(None));
    }

    #[test]
    fn a_type_that_nothing_here_knows_is_refused() {
        assert!(known("proc").is_ok());
        let mistake = known("exg4").unwrap_err();
        assert!(mistake.message.contains("`exg4`"));
    }

    #[test]
    fn two_that_want_the_same_are_found_across_groups() {
        let words = [
            "Filesystem::/dev/a::/srv/a::ext4",
            "nginx",
            "Filesystem::/dev/a::/srv/other",
            "Filesystem::/dev/c::/srv/a/",
            "Filesystem::/srv/x::/srv/y::bind",
            "Filesystem::/srv/x::/srv/z::bind",
            "Filesystem",
        ];
        let tokens: Vec<Token> = words.iter().map(|w| token(w)).collect();
        let found = clashes(&tokens.iter().collect::<Vec<_>>());
        let short: Vec<_> = found
            .iter()
            .map(|(n, m)| (*n, m.message.as_str()))
            .collect();
        let by = "is already used by Filesystem::/dev/a::/srv/a::ext4";
        assert_eq!(
            short,
            [
                (2, format!("/dev/a {by}").as_str()),
                (3, format!("directory /srv/a {by}").as_str())
            ]
        );
    }
}
