//! The two files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::files;
use crate::engine::ActionDigest;
use crate::engine::Event;
use crate::model::Time;
use crate::model::decision::Level;
use crate::replay::recording_format::{RecordingEncoder, RecordingStart};

/// Lines are gathered for so long, or until they are so many bytes.
const GATHER: Duration = Duration::from_secs(1);
const GATHERED: usize = 64 * 1024;
/// After an error the disk is tried again.
pub(super) const AGAIN: Duration = Duration::from_secs(60);

/// What is on disk and what is on its way there.
pub(super) struct RecordingFiles {
    older: PathBuf,
    newer: PathBuf,
    /// What one file may hold.
    half: u64,
    /// The newer one, with its length.
    file: Option<(File, u64)>,
    gathered: Vec<u8>,
    since: Instant,
    encoder: RecordingEncoder,
    /// Whether there is a state that events can follow.
    follows: bool,
    /// Tells the feed that a state is wanted.
    wanted: Arc<AtomicBool>,
    /// A state was asked for, to begin a new file with.
    turning: bool,
    /// When the disk is tried again.
    again: Option<Instant>,
    /// Its failure has been told.
    told: bool,
    say: Box<dyn Fn(Level, String) + Send>,
}

impl RecordingFiles {
    pub fn new(
        folder: &Path,
        size: u64,
        wanted: Arc<AtomicBool>,
        say: Box<dyn Fn(Level, String) + Send>,
    ) -> RecordingFiles {
        let [older, newer] = files(folder);
        RecordingFiles {
            older,
            newer,
            half: size / 2,
            file: None,
            gathered: Vec::new(),
            since: Instant::now(),
            encoder: RecordingEncoder::default(),
            follows: false,
            wanted,
            turning: false,
            again: None,
            told: false,
            say,
        }
    }

    /// Takes a state: in a new file, where this one is nearly full.
    pub fn begin(&mut self, begin: &RecordingStart, now: Instant) {
        self.follows = false;
        match self.encoder.start_line(begin) {
            // A state that fills the file leaves no room for what follows.
            Ok(line) if as_u64(line.len()) > self.half / 2 => self.too_small(line.len()),
            Ok(line) => {
                let written = self.write_begin(&line);
                self.judge(written, now);
            }
            Err(e) => self.judge(Err(e.into()), now),
        }
    }

    fn write_begin(&mut self, line: &[u8]) -> io::Result<()> {
        self.flush()?;
        if self.file.is_none() {
            self.give_up_too_long()?;
            self.file = Some(open(&self.newer)?);
        }
        let len = self.file.as_ref().map_or(0, |(_, len)| *len);
        if len > 0 && len + as_u64(line.len()) > self.nearly_full() {
            self.turn()?;
        }
        self.gathered.extend_from_slice(line);
        self.flush()?;
        self.turning = false;
        self.follows = true;
        Ok(())
    }

    /// The newer file becomes the older one.
    fn turn(&mut self) -> io::Result<()> {
        self.file = None;
        fs::rename(&self.newer, &self.older)?;
        self.file = Some(open(&self.newer)?);
        Ok(())
    }

    /// The size may have been lowered since these were written.
    fn give_up_too_long(&self) -> io::Result<()> {
        for path in [&self.older, &self.newer] {
            if fs::metadata(path).is_ok_and(|m| m.len() > self.half) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn nearly_full(&self) -> u64 {
        self.half - self.half / 8
    }

    /// Takes an event. Where there is no room it is dropped: the next state tells how many.
    pub fn event(&mut self, at: Time, event: Event, digest: ActionDigest) {
        if !self.follows {
            return;
        }
        let Ok(line) = self.encoder.input_line(at, event, digest) else {
            self.follows = false;
            return self.wanted.store(true, Ordering::Relaxed);
        };
        let written = self.file.as_ref().map_or(0, |(_, len)| *len);
        let len = written + as_u64(self.gathered.len() + line.len());
        self.follows = len <= self.half;
        if len > self.nearly_full() && !self.turning {
            self.turning = true;
            self.wanted.store(true, Ordering::Relaxed);
        }
        if self.follows {
            self.gathered.extend_from_slice(&line);
        }
        if self.gathered.len() >= GATHERED {
            let flushed = self.flush();
            self.judge(flushed, Instant::now());
        }
    }

    /// Nothing waits to be taken: writes what has been gathered for long enough, or all at the end.
    pub fn rest(&mut self, now: Instant, last: bool) {
        if last || now.duration_since(self.since) >= GATHER {
            let flushed = self.flush();
            self.judge(flushed, now);
        }
        if self.again.is_some_and(|again| now >= again) {
            self.again = None;
            self.wanted.store(true, Ordering::Relaxed);
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.since = Instant::now();
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
            // No half of a line, and no state that lacks its events; when that fails too, a reader will notice.
            file.set_len(*len).ok();
        }
        written
    }

    fn judge(&mut self, result: io::Result<()>, now: Instant) {
        match result {
            Ok(()) if self.told && self.follows => {
                self.told = false;
                let text = format!("{} is written again", self.newer.display());
                (self.say)(Level::Info, text);
            }
            Ok(()) => {}
            Err(e) => {
                self.file = None;
                self.follows = false;
                self.again = Some(now + AGAIN);
                self.tell(format!(
                    "cannot record in {}: {e}; had goes on without and tries again each minute; mend the disk, or say `record off` in ha.cf",
                    self.newer.display()
                ));
            }
        }
    }

    fn too_small(&mut self, state: usize) {
        let least = as_u64(state).saturating_mul(8).div_ceil(1024 * 1024);
        self.tell(format!(
            "nothing is recorded: `record` in ha.cf is too small for so many groups; at least {least}M is needed"
        ));
    }

    /// Once, until it is well again.
    fn tell(&mut self, text: String) {
        if !std::mem::replace(&mut self.told, true) {
            (self.say)(Level::Warning, text);
        }
    }
}

/// Opens a file to add to it, and its length. A line that a loss of power has cut off is ended.
fn open(path: &Path) -> io::Result<(File, u64)> {
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
