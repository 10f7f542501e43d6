//! The content of a file, or of all files below a folder, as a digest: `compare` in ha.cf.
//!
//! Names, contents, the targets of symbolic links and whether a file can be executed count; owners and times do not. A file is
//! read again only when its time, size or inode has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::sys::foreign_file;

/// A tree with more files is not compared: that would take long, every time.
const MAX_ENTRIES: usize = 20_000;
/// The same for the size of all files.
const MAX_BYTES: u64 = 256 << 20;
/// A tree is not deeper than this.
const MAX_DEPTH: usize = 64;

type Sum = [u8; 32];

/// The files of a tree.
type Files = BTreeMap<PathBuf, (Stamp, Sum)>;

/// Reads trees, and remembers the files of each as they were at the last walk.
#[derive(Default)]
pub struct TreeReader {
    trees: BTreeMap<PathBuf, Files>,
}

/// What changes when a file does.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(file: &Metadata) -> Stamp {
        Stamp {
            inode: (file.dev(), file.ino()),
            size: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

/// One walk.
#[derive(Default)]
struct Walk {
    known: Files,
    files: Files,
    sum: Sha256,
    entries: usize,
    bytes: u64,
}

impl TreeReader {
    /// Forgets other trees.
    pub fn keep_only(&mut self, roots: &[PathBuf]) {
        self.trees.retain(|root, _| roots.contains(root));
    }

    /// The digest of a file, or of all below a folder.
    ///
    /// # Errors
    /// Why it cannot be read, or that it is too much to be compared.
    pub fn read(&mut self, root: &Path) -> Result<u32, String> {
        let mut walk = Walk {
            known: self.trees.remove(root).unwrap_or_default(),
            ..Walk::default()
        };
        // The path itself may be a link to where the files are.
        let found = fs::metadata(root).map_err(|e| failed(root, &e))?;
        let done = walk.add(root, Path::new(""), &found, 0);
        self.trees.insert(root.to_owned(), walk.files);
        done?;
        let sum = walk.sum.finalize();
        let first = sum.iter().take(4);
        Ok(first.fold(0, |number, byte| (number << 8) | u32::from(*byte)))
    }
}

impl Walk {
    fn file_sum(&mut self, path: &Path, file: &Metadata) -> io::Result<Sum> {
        let stamp = Stamp::of(file);
        let known = self.known.get(path).filter(|(known, _)| *known == stamp);
        let sum = match known {
            Some((_, sum)) => *sum,
            None => sum_of(path)?,
        };
        self.files.insert(path.to_owned(), (stamp, sum));
        Ok(sum)
    }

    fn add(
        &mut self,
        path: &Path,
        name: &Path,
        found: &Metadata,
        depth: usize,
    ) -> Result<(), String> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES || depth > MAX_DEPTH {
            return Err(format!(
                "there are too many files to compare, more than {MAX_ENTRIES}"
            ));
        }
        let kind = found.file_type();
        if kind.is_dir() {
            self.note(b'd', name, b"");
            self.add_folder(path, name, depth)
        } else if kind.is_file() {
            self.bytes = self.bytes.saturating_add(found.len());
            if self.bytes > MAX_BYTES {
                let limit = MAX_BYTES >> 20;
                return Err(format!(
                    "the files are too large to compare, more than {limit} MiB"
                ));
            }
            let sum = match self.file_sum(path, found) {
                Ok(sum) => sum,
                // What is removed at this moment is as if it had not been there.
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(e) => return Err(failed(path, &e)),
            };
            let can_run = found.permissions().mode() & 0o111 != 0;
            self.note(if can_run { b'x' } else { b'f' }, name, &sum);
            Ok(())
        } else if kind.is_symlink() {
            let target = fs::read_link(path).map_err(|e| failed(path, &e))?;
            self.note(b'l', name, target.as_os_str().as_bytes());
            Ok(())
        } else {
            // A pipe, a socket or a device has no content.
            self.note(b'o', name, b"");
            Ok(())
        }
    }

    fn add_folder(&mut self, path: &Path, name: &Path, depth: usize) -> Result<(), String> {
        let entries = fs::read_dir(path).map_err(|e| failed(path, &e))?;
        let mut names = BTreeSet::new();
        for entry in entries {
            let entry = entry.map_err(|e| failed(path, &e))?;
            names.insert(entry.file_name());
            if names.len() > MAX_ENTRIES {
                break;
            }
        }
        for child in names {
            let path = path.join(&child);
            match fs::symlink_metadata(&path) {
                Ok(found) => self.add(&path, &name.join(&child), &found, depth + 1)?,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(failed(&path, &e)),
            }
        }
        Ok(())
    }

    /// Each part with its length, so that two different trees have different digests.
    fn note(&mut self, kind: u8, name: &Path, content: &[u8]) {
        let name = name.as_os_str().as_bytes();
        self.sum.update([kind]);
        for part in [name, content] {
            self.sum.update(part.len().to_be_bytes());
            self.sum.update(part);
        }
    }
}

fn sum_of(path: &Path) -> io::Result<Sum> {
    let mut content = foreign_file::open_regular(path)?.take(MAX_BYTES);
    let (mut sum, mut buffer) = (Sha256::new(), [0; 16 * 1024]);
    loop {
        let count = content.read(&mut buffer)?;
        let Some(read) = buffer.get(..count).filter(|read| !read.is_empty()) else {
            return Ok(sum.finalize().into());
        };
        sum.update(read);
    }
}

fn failed(path: &Path, error: &io::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    type Change = fn(&Path);

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A folder with a bit of everything.
    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("conf.d/a"), "one");
        write(&dir.path().join("main"), "two");
        symlink("conf.d/a", dir.path().join("link")).unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        dir
    }

    fn digest(dir: &tempfile::TempDir) -> u32 {
        TreeReader::default().read(dir.path()).unwrap()
    }

    #[test]
    fn equal_trees_have_equal_digests_wherever_they_are() {
        let (one, other) = (folder(), folder());
        assert_eq!(digest(&one), digest(&other));
    }

    #[test]
    fn every_difference_counts() {
        let before = digest(&folder());
        let changes: [(&str, Change); 7] = [
            ("content", |p| write(&p.join("conf.d/a"), "eno")),
            ("a name", |p| {
                fs::rename(p.join("main"), p.join("mainly")).unwrap();
            }),
            ("a new file", |p| write(&p.join("conf.d/b"), "")),
            ("an empty folder", |p| {
                fs::create_dir(p.join("conf.d/empty")).unwrap();
            }),
            ("a removed file", |p| {
                fs::remove_file(p.join("main")).unwrap();
            }),
            ("a link", |p| {
                fs::remove_file(p.join("link")).unwrap();
                symlink("main", p.join("link")).unwrap();
            }),
            ("a mode", |p| {
                fs::set_permissions(p.join("main"), fs::Permissions::from_mode(0o755)).unwrap();
            }),
        ];
        let mut seen = vec![before];
        for (what, change) in changes {
            let dir = folder();
            change(dir.path());
            let now = digest(&dir);
            assert!(!seen.contains(&now), "{what}");
            seen.push(now);
        }
    }

    #[test]
    fn a_known_file_is_read_again_when_it_changes() {
        let dir = folder();
        let mut reader = TreeReader::default();
        let first = reader.read(dir.path()).unwrap();
        assert_eq!(reader.read(dir.path()).unwrap(), first);
        write(&dir.path().join("main"), "other");
        assert_ne!(reader.read(dir.path()).unwrap(), first);
        write(&dir.path().join("main"), "two");
        assert_eq!(reader.read(dir.path()).unwrap(), first);
        assert_eq!(reader.trees[dir.path()].len(), 2);
        // What is gone is forgotten.
        fs::remove_file(dir.path().join("main")).unwrap();
        reader.read(dir.path()).unwrap();
        assert_eq!(reader.trees[dir.path()].len(), 1);
        reader.keep_only(&[]);
        assert!(reader.trees.is_empty());
    }

    #[test]
    fn what_cannot_be_compared_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let gone = TreeReader::default().read(&dir.path().join("gone"));
        assert!(gone.unwrap_err().contains("No such file"));
        let large = fs::File::create(dir.path().join("large")).unwrap();
        large.set_len(MAX_BYTES + 1).unwrap();
        let error = TreeReader::default().read(dir.path()).unwrap_err();
        assert!(error.contains("too large"), "{error}");
        // A file alone is a tree too.
        write(&dir.path().join("file"), "x");
        assert!(TreeReader::default().read(&dir.path().join("file")).is_ok());
    }
}
