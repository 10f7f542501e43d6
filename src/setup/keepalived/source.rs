//! The files of one node: the first one, and what it includes.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::lexer::{Lexer, Line};
use crate::text::Problems;

/// A longer file is no configuration.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Files that include each other end here.
const MAX_FILES: usize = 64;
/// The depth of files that include files.
const MAX_DEPTH: usize = 8;
/// The longest pattern of file names.
const MAX_PATTERN_BYTES: usize = 255;
/// Lines of all files together.
const MAX_LINES: usize = 20_000;

/// The words that include other files, in all versions of keepalived.
const INCLUDES: [&str; 5] = ["include", "includer", "includem", "includew", "includeb"];

/// Where files come from.
pub trait Files {
    /// The text of a file.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn read(&self, path: &Path) -> Result<String, String>;

    /// The files that a pattern names, in the order of their names.
    fn matching(&self, pattern: &str) -> Vec<PathBuf>;
}

/// The disk of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> Result<String, String> {
        // An ordinary open of a pipe would wait for ever.
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_NONBLOCK);
        let file = options.open(path).map_err(|e| e.to_string())?;
        let meta = file.metadata().map_err(|e| e.to_string())?;
        if !meta.is_file() {
            return Err("it is not a regular file".to_owned());
        }
        let mut bytes = Vec::new();
        let mut limited = file.take(MAX_FILE_BYTES + 1);
        limited.read_to_end(&mut bytes).map_err(|e| e.to_string())?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(format!("it is longer than {MAX_FILE_BYTES} bytes"));
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn matching(&self, pattern: &str) -> Vec<PathBuf> {
        let paths = glob::glob(pattern).into_iter().flatten().flatten();
        paths.take(MAX_FILES).filter(|p| p.is_file()).collect()
    }
}

/// The lines of a text and of everything that it includes, for the node of that name.
pub fn read_lines(
    text: &str,
    path: &Path,
    node: &str,
    files: &dyn Files,
    report: &mut Problems,
) -> Vec<Line> {
    let mut reading = Reading {
        files,
        lexer: Lexer::new(node),
        lines: Vec::new(),
        number: 0,
    };
    reading.add(text, path, 0, report);
    reading.lines
}

struct Reading<'f> {
    files: &'f dyn Files,
    lexer: Lexer,
    lines: Vec<Line>,
    /// How many files were read.
    number: usize,
}

impl Reading<'_> {
    fn add(&mut self, text: &str, path: &Path, depth: usize, report: &mut Problems) {
        self.number += 1;
        for line in self.lexer.lines(text, path, report) {
            if self.lines.len() >= MAX_LINES {
                let message = "this is too long for a configuration; the rest is not read";
                return report.error(&line.place(), message, "");
            }
            let first = line.words.first().map_or("", |w| w.text.as_str());
            if INCLUDES.contains(&first) {
                self.include(&line, path, depth, report);
            } else {
                self.lines.push(line);
            }
        }
    }

    fn include(&mut self, line: &Line, path: &Path, depth: usize, report: &mut Problems) {
        let Some(pattern) = line.words.get(1) else {
            return report.warning(&line.place(), "`include` names no file", "");
        };
        if pattern.text.len() > MAX_PATTERN_BYTES {
            return report.warning(&pattern.place, "this is too long for a file name", "");
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        let wanted = folder.join(&pattern.text);
        let found = self.files.matching(&wanted.to_string_lossy());
        if found.is_empty() {
            let message = format!("no file is included: {} does not exist", wanted.display());
            let help = "copy it beside this file, as it is on the node";
            return report.warning(&pattern.place, message, help);
        }
        for included in found {
            if depth >= MAX_DEPTH || self.number >= MAX_FILES {
                let message = "too many files include each other";
                return report.error(&pattern.place, message, "");
            }
            match self.files.read(&included) {
                Ok(text) => self.add(&text, &included, depth + 1, report),
                Err(why) => {
                    let message = format!("{} cannot be read: {why}", included.display());
                    report.warning(&pattern.place, message, "");
                }
            }
        }
    }
}
