//! The two files of a recording: gathers lines, rotates the files, and recovers from errors of the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::recording_paths;
use crate::model::decision::Level;
use crate::replay::recording_format::{RecordedInput, RecordingEncoder, RecordingStart};

/// Gathered lines are written after this time,
const MAX_GATHER_TIME: Duration = Duration::from_secs(1);
/// or at this size.
const MAX_GATHERED_BYTES: usize = 64 * 1024;
/// After an error, the disk is tried again after this time.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(60);

/// The files and the lines that are not written yet.
pub(super) struct RecordingFiles {
    older: PathBuf,
    newer: PathBuf,
    /// The size limit of one file.
    max_file_bytes: u64,
    /// The newer file, when it is open, with its length.
    file: Option<(File, u64)>,
    gathered: Vec<u8>,
    flushed_at: Instant,
    encoder: RecordingEncoder,
    /// Whether a state is written that events can follow.
    has_state: bool,
    /// Asks the feed for a state.
    state_wanted: Arc<AtomicBool>,
    /// A state was asked for to start the next file with.
    rotating: bool,
    /// When to try the disk again after an error.
    retry_at: Option<Instant>,
    /// Whether the current failure is logged.
    failure_logged: bool,
    log: Box<dyn Fn(Level, String) + Send>,
}

impl RecordingFiles {
    pub fn new(
        folder: &Path,
        size: u64,
        state_wanted: Arc<AtomicBool>,
        log: Box<dyn Fn(Level, String) + Send>,
    ) -> RecordingFiles {
        let [older, newer] = recording_paths(folder);
        RecordingFiles {
            older,
            newer,
            max_file_bytes: size / 2,
            file: None,
            gathered: Vec::new(),
            flushed_at: Instant::now(),
            encoder: RecordingEncoder::default(),
            has_state: false,
            state_wanted,
            rotating: false,
            retry_at: None,
            failure_logged: false,
            log,
        }
    }

    /// Writes a state, into a new file when this one is nearly full.
    pub fn write_state(&mut self, begin: &RecordingStart, now: Instant) {
        self.has_state = false;
        match self.encoder.start_line(begin) {
            // A state of this size would leave no room for events.
            Ok(line) if as_u64(line.len()) > self.max_file_bytes / 2 => {
                self.log_too_small(line.len());
            }
            Ok(line) => {
                let written = self.write_state_line(&line);
                self.note_result(written, now);
            }
            Err(e) => self.note_result(Err(e.into()), now),
        }
    }

    fn write_state_line(&mut self, line: &[u8]) -> io::Result<()> {
        self.flush()?;
        if self.file.is_none() {
            self.remove_oversized()?;
            self.file = Some(open_to_append(&self.newer)?);
        }
        let len = self.file.as_ref().map_or(0, |(_, len)| *len);
        if len > 0 && len + as_u64(line.len()) > self.nearly_full() {
            self.rotate()?;
        }
        self.gathered.extend_from_slice(line);
        self.flush()?;
        self.rotating = false;
        self.has_state = true;
        Ok(())
    }

    /// The newer file becomes the older one.
    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        fs::rename(&self.newer, &self.older)?;
        self.file = Some(open_to_append(&self.newer)?);
        Ok(())
    }

    /// Removes files that are over the limit: it may have been lowered since they were written.
    fn remove_oversized(&self) -> io::Result<()> {
        for path in [&self.older, &self.newer] {
            if fs::metadata(path).is_ok_and(|m| m.len() > self.max_file_bytes) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn nearly_full(&self) -> u64 {
        self.max_file_bytes - self.max_file_bytes / 8
    }

    /// Writes an event. It is dropped when there is no room; the next state says how many were.
    pub fn write_event(&mut self, input: RecordedInput) {
        if !self.has_state {
            return;
        }
        let Ok(line) = self.encoder.input_line(input) else {
            self.has_state = false;
            return self.state_wanted.store(true, Ordering::Relaxed);
        };
        let written = self.file.as_ref().map_or(0, |(_, len)| *len);
        let len = written + as_u64(self.gathered.len() + line.len());
        self.has_state = len <= self.max_file_bytes;
        if len > self.nearly_full() && !self.rotating {
            self.rotating = true;
            self.state_wanted.store(true, Ordering::Relaxed);
        }
        if self.has_state {
            self.gathered.extend_from_slice(&line);
        }
        if self.gathered.len() >= MAX_GATHERED_BYTES {
            let flushed = self.flush();
            self.note_result(flushed, Instant::now());
        }
    }

    /// Called when the queue is empty: writes what was gathered for long enough, or everything at the end.
    pub fn flush_if_due(&mut self, now: Instant, last: bool) {
        if last || now.duration_since(self.flushed_at) >= MAX_GATHER_TIME {
            let flushed = self.flush();
            self.note_result(flushed, now);
        }
        if self.retry_at.is_some_and(|at| now >= at) {
            self.retry_at = None;
            self.state_wanted.store(true, Ordering::Relaxed);
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flushed_at = Instant::now();
        if self.gathered.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.gathered);
        let Some((file, len)) = &mut self.file else {
            return Ok(());
        };
        let written = file.write_all(&bytes);
        if written.is_ok() {
            *len += as_u64(bytes.len());
        } else {
            // Leaves neither half a line nor a state without its events. If that fails, too, the reader notices.
            file.set_len(*len).ok();
        }
        written
    }

    fn note_result(&mut self, result: io::Result<()>, now: Instant) {
        match result {
            Ok(()) if self.failure_logged && self.has_state => {
                self.failure_logged = false;
                let text = format!("recording to {} works again", self.newer.display());
                (self.log)(Level::Info, text);
            }
            Ok(()) => {}
            Err(e) => {
                self.file = None;
                self.has_state = false;
                self.retry_at = Some(now + RETRY_AFTER);
                self.log_failure(format!(
                    "cannot write the recording {}: {e}; the daemon continues without it and tries again every minute. Check the disk, or set `record off` in ha.cf",
                    self.newer.display()
                ));
            }
        }
    }

    fn log_too_small(&mut self, state: usize) {
        let least = as_u64(state).saturating_mul(8).div_ceil(1024 * 1024);
        self.log_failure(format!(
            "recording is off: `record` in ha.cf is too small for this number of groups; set it to at least {least}M"
        ));
    }

    /// Logs a failure once, until recording works again.
    fn log_failure(&mut self, text: String) {
        if !std::mem::replace(&mut self.failure_logged, true) {
            (self.log)(Level::Warning, text);
        }
    }
}

/// Opens a file to append to it, with its length. A line that a power cut left incomplete is ended.
fn open_to_append(path: &Path) -> io::Result<(File, u64)> {
    let mut options = OpenOptions::new();
    options.append(true).read(true).create(true).mode(0o600);
    let mut file = options.open(path)?;
    let mut len = file.seek(SeekFrom::End(0))?;
    if len > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
            len += 1;
        }
    }
    Ok((file, len))
}

fn as_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
