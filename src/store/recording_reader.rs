//! Reads what [`super::recording_writer`] wrote: one file, or both files of a folder.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::recording_writer::recording_paths;
use crate::replay::recording_format::{RecordingDecoder, RecordingItem, is_recording};

/// The writer never writes a longer line.
const MAX_LINE_BYTES: u64 = 256 * 1024 * 1024;

/// The open files of a recording; each begins like one.
#[derive(Debug)]
pub struct RecordingReader {
    files: Vec<RecordingFile>,
}

#[derive(Debug)]
struct RecordingFile {
    path: PathBuf,
    file: File,
    /// Its length when it was opened; a daemon may still be writing.
    len: u64,
    /// Device and inode.
    id: (u64, u64),
}

impl RecordingReader {
    /// Opens a file, or the files of a folder.
    ///
    /// # Errors
    /// Why nothing can be read, for an administrator.
    pub fn open(path: &Path) -> Result<RecordingReader, String> {
        let named = |e: io::Error| format!("{}: {e}", path.display());
        if std::fs::metadata(path).map_err(named)?.is_dir() {
            let files = in_folder(path)?;
            return Ok(RecordingReader { files });
        }
        let file = open_file(path)?;
        let file = file.ok_or(format!(
            "{} is empty: nothing is recorded in it",
            path.display()
        ))?;
        Ok(RecordingReader { files: vec![file] })
    }

    /// The items of all files, in order.
    pub fn items(&self) -> impl Iterator<Item = RecordingItem> + '_ {
        self.files.iter().flat_map(RecordingFile::lines)
    }
}

fn in_folder(folder: &Path) -> Result<Vec<RecordingFile>, String> {
    let [older, newer] = recording_paths(folder);
    let mut files = Vec::new();
    // The newer one first. If the daemon just makes it the older one, it is opened twice and not missed.
    for path in [newer, older].iter().filter(|path| path.exists()) {
        if let Some(file) = open_file(path)? {
            files.insert(0, file);
        }
    }
    let ids: Vec<_> = files.iter().map(|p| p.id).collect();
    if let [a, b] = ids.as_slice()
        && a == b
    {
        files.pop();
    }
    if files.is_empty() {
        return Err(format!(
            "there is no recording in {}; to get one, write `record 16M` into ha.cf and run hactl reload",
            folder.display()
        ));
    }
    Ok(files)
}

/// Opens one file; none when it is empty.
fn open_file(path: &Path) -> Result<Option<RecordingFile>, String> {
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
        return Err(format!("{} is not a recording of had", path.display()));
    }
    Ok(Some(RecordingFile {
        path: path.to_owned(),
        file,
        len: meta.len(),
        id: (meta.dev(), meta.ino()),
    }))
}

impl RecordingFile {
    fn lines(&self) -> RecordingLines<'_> {
        let rest = FileTail {
            file: &self.file,
            at: 0,
        };
        RecordingLines {
            path: &self.path,
            rest: Some(BufReader::new(rest).take(self.len)),
            number: 0,
            decoder: RecordingDecoder::default(),
        }
    }
}

/// Reads a file from a position on, independently of other readers of the same file.
struct FileTail<'a> {
    file: &'a File,
    at: u64,
}

impl io::Read for FileTail<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(into, self.at)?;
        self.at = self.at.saturating_add(u64::try_from(read).unwrap_or(0));
        Ok(read)
    }
}

/// Decodes the lines of one file.
struct RecordingLines<'a> {
    path: &'a Path,
    /// None after a read error.
    rest: Option<io::Take<BufReader<FileTail<'a>>>>,
    number: usize,
    decoder: RecordingDecoder,
}

impl RecordingLines<'_> {
    /// The next line; none at the end.
    fn next_line(&mut self) -> io::Result<Option<String>> {
        let Some(rest) = &mut self.rest else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        rest.by_ref()
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut bytes)?;
        self.number = self.number.saturating_add(1);
        if bytes.is_empty() {
            return Ok(None);
        }
        if bytes.pop() != Some(b'\n') {
            let text = "the line is cut off; what came after it is lost";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let invalid = |e| io::Error::new(io::ErrorKind::InvalidData, e);
        String::from_utf8(bytes).map(Some).map_err(invalid)
    }

    fn unreadable(&self, why: &str) -> RecordingItem {
        RecordingItem::Unreadable(format!("{}:{}: {why}", self.path.display(), self.number))
    }
}

impl Iterator for RecordingLines<'_> {
    type Item = RecordingItem;

    fn next(&mut self) -> Option<RecordingItem> {
        loop {
            let decoded = match self.next_line() {
                Ok(Some(text)) => self.decoder.line(&text),
                Ok(None) => return None,
                Err(e) => {
                    // A bad line may be followed by good ones, but after a read error reading ends: it would fail forever.
                    if e.kind() != io::ErrorKind::InvalidData {
                        self.rest = None;
                    }
                    self.decoder.skip_to_next_state();
                    return Some(self.unreadable(&e.to_string()));
                }
            };
            match decoded {
                Some(Ok(item)) => return Some(item),
                Some(Err(why)) => return Some(self.unreadable(&why)),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
