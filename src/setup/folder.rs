//! Writes the files of a new configuration. They are made in a folder of their own and checked there; only then they take their
//! places, so that a folder never has half of a configuration.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::draft::Draft;
use crate::assembly::check_elsewhere;

/// The bytes of a new key.
const KEY_BYTES: usize = 32;

/// A file of a new configuration.
#[derive(Clone, Debug)]
pub struct NewFile {
    /// Its name below the folder.
    pub name: String,
    /// What it says.
    pub text: String,
    /// Who may read and run it.
    pub mode: u32,
}

impl NewFile {
    /// A script. The daemon runs it as root; nobody else may read it, because its commands may have passwords.
    pub fn script(name: &str, text: String) -> Self {
        NewFile {
            name: name.to_owned(),
            text,
            mode: 0o700,
        }
    }
}

/// The three files of a draft, with a key that nobody has had before.
///
/// # Errors
/// The kernel gives no random numbers.
pub fn files(draft: &Draft) -> Result<Vec<NewFile>, String> {
    let secret = new_secret().map_err(|e| format!("cannot read /dev/urandom: {e}"))?;
    let file = |name: &str, text: String, mode| NewFile {
        name: name.to_owned(),
        text,
        mode,
    };
    Ok(vec![
        file("ha.cf", draft.ha_cf(), 0o644),
        file("haresources", draft.haresources(), 0o644),
        file("authkeys", draft.authkeys(&secret), 0o600),
    ])
}

/// A random key in hexadecimal digits.
fn new_secret() -> io::Result<String> {
    let mut bytes = [0; KEY_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}")))
}

/// Refuses a folder that has one of these files already.
///
/// # Errors
/// Which ones it has.
pub fn refuse_existing(dir: &Path, files: &[NewFile]) -> Result<(), String> {
    let there = files
        .iter()
        .filter(|f| dir.join(&f.name).symlink_metadata().is_ok());
    let names: Vec<&str> = there.map(|f| f.name.as_str()).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} has {} already: nothing was written. Choose another folder with --out DIR, or replace what is there with --force",
        dir.display(),
        names.join(", ")
    ))
}

/// Writes the files into a folder, which is made if it is missing. Other files stay as they are; one of the same name is replaced.
///
/// # Errors
/// What could not be written, or what is wrong with the files.
pub fn write(dir: &Path, files: &[NewFile]) -> Result<(), String> {
    let failed = |path: &Path, e: io::Error| format!("cannot write {}: {e}", path.display());
    fs::create_dir_all(dir).map_err(|e| failed(dir, e))?;
    let stage = Stage::new(dir).map_err(|e| failed(dir, e))?;
    for file in files {
        let path = stage.0.join(&file.name);
        write_file(&path, file).map_err(|e| failed(&path, e))?;
    }
    let (text, good) = check_elsewhere(&stage.0, None);
    if !good {
        let text = text.replace(&format!("{}/", stage.0.display()), "");
        return Err(format!(
            "nothing was written, because it would not work:\n{text}"
        ));
    }
    for file in files {
        let path = dir.join(&file.name);
        make_parent(&path, 0o755)
            .and_then(|()| fs::rename(stage.0.join(&file.name), &path))
            .map_err(|e| failed(&path, e))?;
    }
    Ok(())
}

fn make_parent(path: &Path, mode: u32) -> io::Result<()> {
    match path.parent() {
        Some(parent) => DirBuilder::new().recursive(true).mode(mode).create(parent),
        None => Ok(()),
    }
}

/// Nobody else can read the file at any time if its mode says so.
fn write_file(path: &Path, file: &NewFile) -> io::Result<()> {
    make_parent(path, 0o700)?;
    let mut options = OpenOptions::new();
    let mut written = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    written.write_all(file.text.as_bytes())?;
    written.set_permissions(fs::Permissions::from_mode(file.mode))?;
    written.sync_all()
}

/// A folder of its own below another, which goes with this value.
struct Stage(PathBuf);

impl Stage {
    fn new(dir: &Path) -> io::Result<Self> {
        let path = dir.join(format!(".new-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Stage(path))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What is left of it does no harm: no program reads it.
        fs::remove_dir_all(&self.0).ok();
    }
}
