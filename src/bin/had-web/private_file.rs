//! Files with secrets: the token of clients, and the key of the certificate.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// A longer file is something else.
const MAX_BYTES: u64 = 64 * 1024;
/// A shorter token can be guessed.
const MIN_TOKEN: usize = 16;

/// Reads a file that strangers can neither read nor change. Its group may read it, as systemd arranges for credentials.
pub fn read_private(path: &Path) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let file = File::open(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let meta = file
        .metadata()
        .map_err(|error| format!("cannot inspect {shown}: {error}"))?;
    if !meta.is_file() {
        return Err(format!("{shown} is not a file"));
    }
    let mode = meta.mode() & 0o7777;
    if mode & 0o037 != 0 {
        return Err(format!(
            "{shown} has mode {mode:04o}: others can read or change the secret in it; chmod 600 it and make a new secret"
        ));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot read {shown}: {error}"))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("{shown} is longer than {MAX_BYTES} bytes"));
    }
    Ok(bytes)
}

/// Reads a token: one word.
pub fn read_token(path: &Path) -> Result<String, String> {
    let bytes = read_private(path)?;
    let text = String::from_utf8(bytes).unwrap_or_default();
    let token = text.trim();
    let fits = token.len() >= MIN_TOKEN && token.bytes().all(|b| b.is_ascii_graphic());
    if !fits {
        return Err(format!(
            "{} must have one word of at least {MIN_TOKEN} letters and digits; make it with: openssl rand -hex 20",
            path.display()
        ));
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    fn token(text: &str, mode: u32) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        read_token(&path)
    }

    #[test]
    fn a_token_is_one_word_that_strangers_cannot_read() {
        let good = "0123456789abcdef0123";
        assert_eq!(token(&format!("{good}\n"), 0o600).as_deref(), Ok(good));
        assert_eq!(token(good, 0o440).as_deref(), Ok(good));
        for mode in [0o644, 0o604, 0o620] {
            assert!(token(good, mode).is_err_and(|t| t.contains("chmod 600")));
        }
        for text in ["", "short", "two words that are long enough"] {
            assert!(token(text, 0o600).is_err_and(|t| t.contains("one word")));
        }
        assert!(read_private(Path::new("/")).is_err());
    }
}
