//! Checks a `Filesystem` before it is started: its type must exist, and no other may use the same device or directory. Its own
//! device and directory may appear later.

use std::fs;
use std::path::Path;

use super::arguments::{MountArguments, Source};
use super::identity::{MountIdentity, block_device};
use super::misplaced;
use super::mountinfo::MountTable;
use crate::agent::exec::system_tool;
use crate::model::token::Token;
use crate::text::Mistake;

/// Checks what cannot change while the machine runs. `earlier` are the members before it in its group, which may provide the
/// device. Returns a note about a device that does not exist yet.
pub fn check_machine(args: &MountArguments, earlier: &[Token]) -> Result<Option<String>, Mistake> {
    if let Some(kind) = &args.kind {
        check_type(kind)?;
    }
    let (Source::Device(path), Some(maker)) = (&args.source, maker(earlier)) else {
        return Ok(None);
    };
    let missing = block_device(path).is_none();
    Ok(missing.then(|| {
        let shown = path.display();
        format!("{shown} does not exist yet; {maker} must provide it")
    }))
}

/// Remarks about the arguments of a word that can be used all the same.
pub fn remarks(args: &[String], earlier: &[Token]) -> Vec<Mistake> {
    let Ok(args) = MountArguments::parse(args) else {
        return Vec::new(); // a mistake of its own
    };
    let missing = find_missing(&args, earlier).map(Mistake::until_it_appears);
    missing.into_iter().chain(find_misplaced(&args)).collect()
}

/// A remark about a device that somebody has mounted elsewhere.
pub fn find_misplaced(args: &MountArguments) -> Option<Mistake> {
    let Source::Device(path) = &args.source else {
        return None;
    };
    let identity = MountIdentity::with_path(args, Some(path.clone()));
    let table = MountTable::read().ok()?;
    let elsewhere = identity.find_elsewhere(args, &table)?;
    Some(Mistake::new(misplaced(args, elsewhere)))
}

/// What is missing on this machine and not provided by an earlier member of the group: the device or the directory.
pub fn find_missing(args: &MountArguments, earlier: &[Token]) -> Option<Mistake> {
    if let Some(mistake) = missing_source(args, earlier) {
        return Some(mistake);
    }
    let directory = &args.directory;
    // A file system that is mounted already is not accessed: it may hang.
    let mounted = MountTable::read().is_ok_and(|table| table.top(directory).is_some());
    if mounted || directory.is_dir() || inside_earlier(directory, earlier) {
        return None;
    }
    let shown = directory.display();
    let message = format!("there is no directory {shown} to mount on");
    Some(Mistake::new(message).help(format!("mkdir -p {shown}")))
}

fn missing_source(args: &MountArguments, earlier: &[Token]) -> Option<Mistake> {
    let (what, path) = match &args.source {
        Source::Device(path) if block_device(path).is_none() && maker(earlier).is_none() => {
            ("block device", path)
        }
        Source::Image(path) if !path.exists() => ("file", path),
        Source::Bind(path) if !path.exists() => ("directory", path),
        _ => return None,
    };
    if what != "block device" && inside_earlier(path, earlier) {
        return None;
    }
    let mistake = Mistake::new(format!("there is no {what} {}", path.display()));
    Some(
        mistake
            .help("lsblk lists the devices of this machine; LABEL=... and UUID=... do not change"),
    )
}

/// The member that may provide a device. Addresses provide none; any other resource might.
fn maker(earlier: &[Token]) -> Option<&str> {
    let mut makers = earlier.iter().rev().filter(|t| !t.name.starts_with("IP"));
    makers.next().map(|t| t.text.as_str())
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

    fn look(word: &str, earlier: &[&str]) -> (Option<String>, Option<Mistake>) {
        let earlier: Vec<Token> = earlier.iter().map(|w| token(w)).collect();
        let args = MountArguments::parse(&token(word).args).unwrap();
        let note = check_machine(&args, &earlier).unwrap();
        (note, find_missing(&args, &earlier))
    }

    #[test]
    fn a_device_that_is_not_there_must_come_from_an_earlier_member() {
        let word = "Filesystem::/dev/drbd_none::/tmp";
        let (_, missing) = look(word, &["IPaddr::10.0.0.1"]);
        let text = missing.unwrap().message;
        assert_eq!(text, "there is no block device /dev/drbd_none");
        let (note, missing) = look(word, &["drbddisk::db", "IPaddr::10.0.0.1"]);
        let wanted = "/dev/drbd_none does not exist yet; drbddisk::db must provide it";
        assert_eq!((note.as_deref(), missing), (Some(wanted), None));
        // A file is no device.
        assert!(look("Filesystem::/etc/passwd::/tmp", &[]).1.is_some());
        let bind = "Filesystem::/nonexistent::/tmp::bind";
        assert!(look(bind, &["drbddisk::db"]).1.is_some());
    }

    #[test]
    fn a_directory_must_be_there_or_lie_in_an_earlier_mount() {
        let word = "Filesystem::t::/nonexistent/a/b::tmpfs";
        let (_, missing) = look(word, &[]);
        let help = missing.unwrap().help;
        assert_eq!(help.as_deref(), Some("mkdir -p /nonexistent/a/b"));
        let beside = look(word, &["Filesystem::t::/nonexistent/a2::tmpfs"]);
        assert!(beside.1.is_some());
        let inside = look(word, &["Filesystem::t::/nonexistent/a::tmpfs"]);
        assert_eq!(inside, (None, None));
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
