//! Writes the archive: under another name first, so that there is never half of one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::Part;

/// Refuses a place where nothing can be written, and a name that is taken: nothing is overwritten, and nothing is written into a
/// pipe or a device.
pub fn try_place(out: &Path) -> Result<(), String> {
    if out.symlink_metadata().is_err() {
        return Draft::new(out).map(drop).map_err(|e| refusal(out, &e));
    }
    let out = out.display();
    Err(format!(
        "{out} exists already; choose another name with --out FILE"
    ))
}

/// Writes the parts below a folder of that name. Only its owner may read the archive.
pub fn write(out: &Path, folder: &str, parts: &[Part]) -> Result<(), String> {
    let failed = |e: io::Error| refusal(out, &e);
    let draft = Draft::new(out).map_err(failed)?;
    draft.fill(folder, parts).map_err(failed)?;
    match fs::hard_link(&draft.path, out) {
        // Some file systems have no links.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => fs::rename(&draft.path, out),
        // A link does not replace a file that came into being meanwhile.
        result => result,
    }
    .map_err(failed)
}

fn refusal(out: &Path, error: &io::Error) -> String {
    let out = out.display();
    format!(
        "cannot write {out}: {error}; nothing was left there. Choose another place with --out FILE"
    )
}

/// The archive under its first name, which goes with this value.
struct Draft {
    path: PathBuf,
    /// Opened once, when it is made: in a folder of others the name may mean another file a moment later.
    file: File,
}

impl Draft {
    fn new(out: &Path) -> io::Result<Draft> {
        let name = out.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
        let draft = format!(".{}.{}", name.to_string_lossy(), std::process::id());
        let path = out.with_file_name(draft);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = options.open(&path)?;
        Ok(Draft { path, file })
    }

    fn fill(&self, folder: &str, parts: &[Part]) -> io::Result<()> {
        let file = GzEncoder::new(&self.file, Compression::default());
        let mut archive = tar::Builder::new(file);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs();
        for part in parts {
            let mut header = tar::Header::new_gnu();
            header.set_size(part.text.len() as u64);
            header.set_mode(0o600);
            header.set_mtime(now);
            let name = format!("{folder}/{}", part.name);
            archive.append_data(&mut header, name, part.text.as_bytes())?;
        }
        let mut file: &File = archive.into_inner()?.finish()?;
        file.flush()?;
        file.sync_all()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After a rename it is gone already.
        fs::remove_file(&self.path).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_the_place_of_the_draft_is_not_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, "kept").unwrap();
        let draft = Draft::new(&dir.path().join("a.tar.gz")).unwrap();
        fs::remove_file(&draft.path).unwrap();
        std::os::unix::fs::symlink(&victim, &draft.path).unwrap();
        let (name, text) = ("x".to_owned(), "secret".to_owned());
        draft.fill("folder", &[Part { name, text }]).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "kept");
        assert!(draft.file.metadata().unwrap().len() > 20);
    }
}
