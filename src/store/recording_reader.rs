//! Reads what [`super::recording_writer`] has written: one file, or both in their folder.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::recording_writer::files;
use crate::replay::recording_format::{RecordingDecoder, RecordingItem, is_recording};

/// A longer line is none of ours.
const LONGEST: u64 = 256 * 1024 * 1024;

/// Files that were opened and begin as they should.
#[derive(Debug)]
pub struct RecordingReader {
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    path: PathBuf,
    file: File,
    /// As long as it was when it was opened: a daemon may be writing.
    len: u64,
    /// Device and inode.
    id: (u64, u64),
}

impl RecordingReader {
    /// Opens a file, or the files of a folder.
    ///
    /// # Errors
    /// Why there is nothing to be read; the text is for the administrator.
    pub fn open(path: &Path) -> Result<RecordingReader, String> {
        let named = |e: io::Error| format!("{}: {e}", path.display());
        if std::fs::metadata(path).map_err(named)?.is_dir() {
            let parts = in_folder(path)?;
            return Ok(RecordingReader { parts });
        }
        let part = part(path)?;
        let part = part.ok_or(format!("{} is empty: nothing was recorded", path.display()))?;
        Ok(RecordingReader { parts: vec![part] })
    }

    /// All that they hold, in order.
    pub fn items(&self) -> impl Iterator<Item = RecordingItem> + '_ {
        self.parts.iter().flat_map(Part::lines)
    }
}

fn in_folder(folder: &Path) -> Result<Vec<Part>, String> {
    let [older, newer] = files(folder);
    let mut parts = Vec::new();
    // The newer first: when it takes the place of the older meanwhile, it is met twice and not missed.
    for path in [newer, older].iter().filter(|path| path.exists()) {
        if let Some(part) = part(path)? {
            parts.insert(0, part);
        }
    }
    let ids: Vec<_> = parts.iter().map(|p| p.id).collect();
    if let [a, b] = ids.as_slice()
        && a == b
    {
        parts.pop();
    }
    if parts.is_empty() {
        return Err(format!(
            "there is no recording in {}; `record 16M` in ha.cf makes the daemon write one",
            folder.display()
        ));
    }
    Ok(parts)
}

/// None when it is empty.
fn part(path: &Path) -> Result<Option<Part>, String> {
    let named = |e: io::Error| format!("{}: {e}", path.display());
    let file = File::open(path).map_err(named)?;
    let meta = file.metadata().map_err(named)?;
    let mut start = Vec::new();
    let read = (&file).take(64).read_to_end(&mut start);
    read.map_err(named)?;
    if start.is_empty() {
        return Ok(None);
    }
    if !is_recording(&start) {
        return Err(format!("{} is no recording of had", path.display()));
    }
    Ok(Some(Part {
        path: path.to_owned(),
        file,
        len: meta.len(),
        id: (meta.dev(), meta.ino()),
    }))
}

impl Part {
    fn lines(&self) -> Lines<'_> {
        let rest = Rest {
            file: &self.file,
            at: 0,
        };
        Lines {
            path: &self.path,
            rest: Some(BufReader::new(rest).take(self.len)),
            number: 0,
            decoder: RecordingDecoder::default(),
        }
    }
}

/// A file from some place on; others may read it too.
struct Rest<'a> {
    file: &'a File,
    at: u64,
}

impl io::Read for Rest<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(into, self.at)?;
        self.at = self.at.saturating_add(u64::try_from(read).unwrap_or(0));
        Ok(read)
    }
}

/// The lines of one file, understood.
struct Lines<'a> {
    path: &'a Path,
    /// None after an error.
    rest: Option<io::Take<BufReader<Rest<'a>>>>,
    number: usize,
    decoder: RecordingDecoder,
}

impl Lines<'_> {
    /// The next line; none at the end.
    fn line(&mut self) -> io::Result<Option<String>> {
        let Some(rest) = &mut self.rest else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        rest.by_ref().take(LONGEST).read_until(b'\n', &mut bytes)?;
        self.number = self.number.saturating_add(1);
        if bytes.is_empty() {
            return Ok(None);
        }
        if bytes.pop() != Some(b'\n') {
            let text = "it is cut off, and what came after it is lost";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let invalid = |e| io::Error::new(io::ErrorKind::InvalidData, e);
        String::from_utf8(bytes).map(Some).map_err(invalid)
    }

    fn at(&self, why: &str) -> RecordingItem {
        RecordingItem::Unreadable(format!("{}:{}: {why}", self.path.display(), self.number))
    }
}

impl Iterator for Lines<'_> {
    type Item = RecordingItem;

    fn next(&mut self) -> Option<RecordingItem> {
        loop {
            let said = match self.line() {
                Ok(Some(text)) => self.decoder.line(&text),
                Ok(None) => return None,
                Err(e) => {
                    // Bad content may be followed by good; a disk that does not read would be asked for ever.
                    if e.kind() != io::ErrorKind::InvalidData {
                        self.rest = None;
                    }
                    self.decoder.skip_to_next_state();
                    return Some(self.at(&e.to_string()));
                }
            };
            match said {
                Some(Ok(item)) => return Some(item),
                Some(Err(why)) => return Some(self.at(&why)),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
