//! The arguments of `Filesystem`, in heartbeat's order: `DEVICE::DIRECTORY[::TYPE[::OPTIONS]]`.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use crate::text::Mistake;

/// What is shown when the arguments cannot be used.
const USAGE: &str =
    "write Filesystem::/dev/drbd1::/srv/db::ext4, with mount options after another `::` if wanted";
/// Types without a source: the word in its place is only a label.
const WITHOUT_SOURCE: [&str; 3] = ["tmpfs", "ramfs", "overlay"];
const NETWORK_TYPES: [&str; 6] = ["nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph"];
const TAGS: [&str; 4] = ["LABEL", "UUID", "PARTLABEL", "PARTUUID"];

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A block device by its path.
    Device(PathBuf),
    /// A block device by its label or UUID, as in `LABEL=db`.
    Tag(String),
    /// A file with a file system; mount(8) creates the loop device.
    Image(PathBuf),
    /// A directory for a bind mount.
    Bind(PathBuf),
    /// `host:/path` or `//host/share`.
    Network(String),
    /// A file system of the kernel, such as `tmpfs`.
    Virtual(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Device(path) | Source::Image(path) | Source::Bind(path) => {
                write!(f, "{}", path.display())
            }
            Source::Tag(word) | Source::Network(word) | Source::Virtual(word) => f.write_str(word),
        }
    }
}

/// The parsed arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountArguments {
    /// What is mounted.
    pub source: Source,
    /// The mount point.
    pub directory: PathBuf,
    /// The type; none if mount(8) is to detect it.
    pub kind: Option<String>,
    /// The options, as mount(8) takes them after `-o`.
    pub options: Vec<String>,
}

impl MountArguments {
    /// Parses the arguments. The machine is not checked.
    pub fn parse(args: &[String]) -> Result<Self, Mistake> {
        let (device, directory, kind, options) = match args {
            [device, directory] => (device, directory, None, None),
            [device, directory, kind] => (device, directory, Some(kind), None),
            [device, directory, kind, options] => (device, directory, Some(kind), Some(options)),
            [_, _, _, _, extra, ..] => {
                let message = format!("`{extra}` is one argument too many for Filesystem");
                return Err(Mistake::new(message).help(USAGE));
            }
            [] | [_] => {
                let message = "Filesystem needs a device and a directory";
                return Err(Mistake::new(message).help(USAGE));
            }
        };
        let options: Vec<String> = options.map_or_else(Vec::new, |o| split_options(o));
        let mut kind = kind
            .filter(|k| !matches!(k.as_str(), "auto" | "none" | "bind"))
            .cloned();
        let asked = args.get(2).is_some_and(|k| k == "bind");
        let binds = asked || options.iter().any(|o| o == "bind" || o == "rbind");
        let source = parse_source(device, kind.as_deref(), binds, &options)?;
        if binds {
            kind = None;
        }
        Ok(MountArguments {
            source,
            directory: parse_path(directory, "the directory")?,
            kind,
            options: if asked && !options.iter().any(|o| o.ends_with("bind")) {
                std::iter::once("bind".to_owned()).chain(options).collect()
            } else {
                options
            },
        })
    }

    /// Whether an option is set.
    fn has_option(&self, name: &str) -> bool {
        self.options.iter().any(|o| o == name)
    }

    /// Whether it is mounted read-write.
    pub fn is_writable(&self) -> bool {
        !self.has_option("ro")
    }

    /// Whether the whole file system belongs to this resource, so that after a stop it must not be mounted anywhere. Not so
    /// for a bind mount or a subvolume.
    pub fn is_exclusive(&self) -> bool {
        let whole = matches!(
            self.source,
            Source::Device(_) | Source::Tag(_) | Source::Image(_)
        );
        whole && !self.options.iter().any(|o| o.starts_with("subvol"))
    }
}

impl fmt::Display for MountArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.source, self.directory.display())?;
        if let Some(kind) = &self.kind {
            write!(f, " type {kind}")?;
        }
        if !self.options.is_empty() {
            write!(f, " options {}", self.options.join(","))?;
        }
        Ok(())
    }
}

/// The options. Heartbeat's script allowed `-o` in front of them.
fn split_options(options: &str) -> Vec<String> {
    let options = options.strip_prefix("-o").unwrap_or(options).trim();
    let words = options.split(',').filter(|o| !o.is_empty());
    words.map(str::to_owned).collect()
}

fn parse_source(
    word: &str,
    kind: Option<&str>,
    binds: bool,
    options: &[String],
) -> Result<Source, Mistake> {
    if let Some(label) = word.strip_prefix("-L") {
        return parse_tag("LABEL", label);
    }
    if let Some(uuid) = word.strip_prefix("-U") {
        return parse_tag("UUID", uuid);
    }
    if let Some((name, value)) = word.split_once('=')
        && TAGS.contains(&name)
    {
        return parse_tag(name, value);
    }
    if kind.is_some_and(|k| WITHOUT_SOURCE.contains(&k)) {
        return Ok(Source::Virtual(word.to_owned()));
    }
    let network = kind.is_some_and(|k| NETWORK_TYPES.contains(&k));
    if network || word.starts_with("//") || (!word.starts_with('/') && word.contains(":/")) {
        return Ok(Source::Network(word.to_owned()));
    }
    let path = parse_path(word, "the device")?;
    if binds {
        return Ok(Source::Bind(path));
    }
    let loops = options
        .iter()
        .any(|o| o == "loop" || o.starts_with("loop="));
    Ok(if loops {
        Source::Image(path)
    } else {
        Source::Device(path)
    })
}

fn parse_tag(name: &str, value: &str) -> Result<Source, Mistake> {
    if value.is_empty() {
        return Err(Mistake::new(format!("{name} has no value")).help(USAGE));
    }
    Ok(Source::Tag(format!("{name}={value}")))
}

/// An absolute path without `..` and without `/` at its end.
fn parse_path(word: &str, what: &str) -> Result<PathBuf, Mistake> {
    let path = Path::new(word);
    let wrong = if !path.is_absolute() {
        "is not an absolute path"
    } else if path.components().any(|c| c == Component::ParentDir) {
        "contains `..`"
    } else if path == Path::new("/") {
        "is the root directory"
    } else {
        return Ok(path.components().collect());
    };
    Err(Mistake::new(format!("{what} `{word}` {wrong}")).help(USAGE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(word: &str) -> Result<MountArguments, Mistake> {
        let args: Vec<String> = word.split("::").map(str::to_owned).collect();
        MountArguments::parse(&args)
    }

    #[test]
    fn each_way_to_name_what_is_mounted_is_told_from_the_others() {
        let path = |p: &str| PathBuf::from(p);
        let cases = [
            (
                "/dev/drbd1::/database::ext4",
                Source::Device(path("/dev/drbd1")),
            ),
            ("/dev/sdb1::/m", Source::Device(path("/dev/sdb1"))),
            ("LABEL=db::/m", Source::Tag("LABEL=db".into())),
            ("-Ldb::/m::ext4", Source::Tag("LABEL=db".into())),
            ("-Uabc-1::/m", Source::Tag("UUID=abc-1".into())),
            ("UUID=abc-1::/m", Source::Tag("UUID=abc-1".into())),
            ("/srv/x::/m::none::bind", Source::Bind(path("/srv/x"))),
            ("/srv/x::/m::bind", Source::Bind(path("/srv/x"))),
            ("/srv/x::/m::none::rbind,ro", Source::Bind(path("/srv/x"))),
            (
                "/srv/i.img::/m::ext4::loop",
                Source::Image(path("/srv/i.img")),
            ),
            (
                "filer:/vol/db::/m::nfs",
                Source::Network("filer:/vol/db".into()),
            ),
            ("filer:/vol/db::/m", Source::Network("filer:/vol/db".into())),
            (
                "//filer/share::/m::cifs",
                Source::Network("//filer/share".into()),
            ),
            ("tmpfs::/m::tmpfs::size=4m", Source::Virtual("tmpfs".into())),
        ];
        for (word, wanted) in cases {
            assert_eq!(parse(word).unwrap().source, wanted, "{word}");
        }
    }

    #[test]
    fn type_options_and_what_follows_from_them() {
        let args = parse("/dev/sdb1::/srv/::ext4::-o noatime,ro").unwrap();
        assert_eq!(args.directory, Path::new("/srv"));
        assert_eq!(args.kind.as_deref(), Some("ext4"));
        assert_eq!(args.options, ["noatime", "ro"]);
        assert!(!args.is_writable() && args.is_exclusive());
        let args = parse("/srv/x::/m::bind").unwrap();
        assert_eq!(
            (args.kind.clone(), args.options.join(",")),
            (None, "bind".into())
        );
        assert!(!args.is_exclusive());
        assert_eq!(parse("/dev/sdb1::/m::auto").unwrap().kind, None);
        assert!(
            !parse("/dev/sdb1::/m::btrfs::subvol=a")
                .unwrap()
                .is_exclusive()
        );
    }

    #[test]
    fn what_cannot_be_mounted_is_refused_with_a_remedy() {
        let cases = [
            ("/dev/sdb1", "needs a device and a directory"),
            ("sdb1::/m", "the device `sdb1` is not an absolute path"),
            ("/dev/sdb1::m", "the directory `m` is not an absolute path"),
            ("/dev/sdb1::/", "the directory `/` is the root directory"),
            ("/dev/sdb1::/a/../b", "contains `..`"),
            ("LABEL=::/m", "LABEL has no value"),
            ("/dev/sdb1::/m::ext4::ro::x", "`x` is one argument too many"),
        ];
        for (word, wanted) in cases {
            let mistake = parse(word).unwrap_err();
            assert!(mistake.message.contains(wanted), "{word}: {mistake:?}");
            assert!(mistake.help.is_some());
        }
    }
}
