//! Checks a `Filesystem` before it is started: its device, its directory and its type must exist, and no other may use the same.

use std::fs;
use std::path::Path;

use super::arguments::{MountArguments, Source};
use super::identity::block_device;
use super::mountinfo::MountTable;
use crate::agent::exec::system_tool;
use crate::model::token::Token;
use crate::text::Mistake;

/// Checks the machine. `earlier` are the members before it in its group, which may provide the device or the directory.
/// Returns a note about a device that does not exist yet.
pub fn check_machine(args: &MountArguments, earlier: &[Token]) -> Result<Option<String>, Mistake> {
    if let Some(kind) = &args.kind {
        check_type(kind)?;
    }
    let note = check_device(args, earlier)?;
    let directory = &args.directory;
    // A file system that is mounted already is not accessed: it may hang.
    let mounted = MountTable::read().is_ok_and(|table| table.top(directory).is_some());
    if !mounted && !directory.is_dir() && !inside_earlier(directory, earlier) {
        let shown = directory.display();
        let message = format!("there is no directory {shown} to mount on");
        return Err(Mistake::new(message).help(format!("mkdir -p {shown}")));
    }
    Ok(note)
}

fn check_device(args: &MountArguments, earlier: &[Token]) -> Result<Option<String>, Mistake> {
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
    // Addresses provide no devices; any other resource might.
    let maker = earlier.iter().rev().find(|t| !t.name.starts_with("IP"));
    if let (Some(maker), Source::Device(_)) = (maker, &args.source) {
        return Ok(Some(format!(
            "{shown} does not exist yet; {} must provide it",
            maker.text
        )));
    }
    let what = match args.source {
        Source::Device(_) => "block device",
        Source::Bind(_) => "directory",
        _ => "file",
    };
    Err(Mistake::new(format!("there is no {what} {shown}"))
        .help("lsblk lists the devices of this machine; LABEL=... and UUID=... do not change"))
}

/// Whether the path is inside an earlier `Filesystem` of the group.
fn inside_earlier(path: &Path, earlier: &[Token]) -> bool {
    let mut others = earlier.iter().filter(|t| t.name == "Filesystem");
    others.any(|t| {
        MountArguments::parse(&t.args).is_ok_and(|other| path.starts_with(other.directory))
    })
}

/// Checks that the kernel has the type, can load it, or has a helper for it.
fn check_type(kind: &str) -> Result<(), Mistake> {
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
        _ => "/proc/filesystems lists the types of this kernel; without a type mount(8) detects it",
    };
    Err(Mistake::new(message).help(help))
}

/// Whether the kernel has a module for a type.
fn loadable(kind: &str) -> bool {
    let release = nix::sys::utsname::uname().map(|u| u.release().to_owned());
    let Ok(release) = release else { return false };
    let path = Path::new("/lib/modules")
        .join(release)
        .join("modules.alias");
    let wanted = format!("alias fs-{kind} ");
    fs::read_to_string(path).is_ok_and(|text| text.lines().any(|l| l.starts_with(&wanted)))
}

/// `Filesystem` words that use the device or the directory of an earlier one: the index in the list, and the mistake.
pub fn find_clashes(tokens: &[&Token]) -> Vec<(usize, Mistake)> {
    let parsed = |t: &Token| {
        MountArguments::parse(&t.args)
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
            } else if later.source == other.source && (later.is_exclusive() || other.is_exclusive())
            {
                later.source.to_string()
            } else {
                continue;
            };
            let message = format!("{what} is already used by {}", token.text);
            let help = "each group mounts and unmounts independently, so two resources cannot share a device or a directory";
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
        check_machine(&MountArguments::parse(&token(word).args).unwrap(), &earlier)
    }

    #[test]
    fn a_device_that_is_not_there_must_come_from_an_earlier_member() {
        let word = "Filesystem::/dev/drbd_none::/tmp";
        let mistake = look(word, &["IPaddr::10.0.0.1"]).unwrap_err();
        assert_eq!(mistake.message, "there is no block device /dev/drbd_none");
        let note = look(word, &["drbddisk::db", "IPaddr::10.0.0.1"]).unwrap();
        let wanted = "/dev/drbd_none does not exist yet; drbddisk::db must provide it";
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
        assert!(check_type("proc").is_ok());
        let mistake = check_type("exg4").unwrap_err();
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
        let found = find_clashes(&tokens.iter().collect::<Vec<_>>());
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
