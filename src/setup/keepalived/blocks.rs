//! Words to nested blocks: `keyword values {`, lines, `}`. A brace that is missing or too many is remarked, and what stands
//! there is read as it was meant.

use super::lexer::{Line, Word, may_have_password};
use crate::text::{Place, Problems};

/// Deeper blocks are not keepalived's.
const MAX_DEPTH: usize = 16;

/// The keywords that begin a block of the file itself, and never stand in another block.
const OUTER: [&str; 10] = [
    "global_defs",
    "vrrp_instance",
    "vrrp_sync_group",
    "vrrp_script",
    "vrrp_track_process",
    "vrrp_track_file",
    "virtual_server",
    "virtual_server_group",
    "static_ipaddress",
    "static_routes",
];

/// A line, and the block below it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its words; the first is the keyword.
    pub words: Vec<Word>,
    /// The lines of its block.
    pub body: Vec<Entry>,
}

impl Entry {
    /// Its first word.
    pub fn keyword(&self) -> &str {
        self.words.first().map_or("", |w| w.text.as_str())
    }

    /// Its first word for people, without what may be a password.
    fn shown(&self) -> String {
        match self.keyword() {
            "authentication" => "authentication".to_owned(),
            word if may_have_password(word) => "auth***".to_owned(),
            word => crate::text::one_line(word, 40),
        }
    }

    /// The place of its first word.
    pub fn place(&self) -> Place {
        let first = self.words.first().map(|w| w.place.clone());
        first.unwrap_or_else(|| Place::whole(std::path::Path::new("")))
    }

    /// The first value.
    pub fn value(&self) -> Option<&Word> {
        self.words.get(1)
    }
}

/// Builds the blocks of a file.
pub fn build(lines: Vec<Line>, report: &mut Problems) -> Vec<Entry> {
    let mut builder = Builder {
        open: Vec::new(),
        done: Vec::new(),
        report,
    };
    for line in lines {
        builder.add(line);
    }
    builder.finish()
}

struct Builder<'r> {
    /// The blocks that are open, the innermost last: each with the lines before it on its level.
    open: Vec<(Entry, Vec<Entry>)>,
    /// The lines of the present level.
    done: Vec<Entry>,
    report: &'r mut Problems,
}

impl Builder<'_> {
    fn add(&mut self, line: Line) {
        let first = line.words.first().map_or("", |w| w.text.as_str());
        let begins_block =
            line.words.last().is_some_and(|w| w.is_brace("{")) || line.words.len() > 1;
        if !self.open.is_empty() && OUTER.contains(&first) && begins_block {
            self.close_all(&line.place());
        }
        let mut words = Vec::new();
        for word in line.words {
            if word.is_brace("{") {
                self.begin(std::mem::take(&mut words), &word);
            } else if word.is_brace("}") {
                self.flush(std::mem::take(&mut words));
                self.end(&word);
            } else {
                words.push(word);
            }
        }
        self.flush(words);
    }

    fn flush(&mut self, words: Vec<Word>) {
        if !words.is_empty() {
            self.done.push(Entry {
                words,
                body: Vec::new(),
            });
        }
    }

    fn begin(&mut self, words: Vec<Word>, brace: &Word) {
        if self.open.len() >= MAX_DEPTH {
            return self
                .report
                .warning(&brace.place, "this block is too deep", "");
        }
        let entry = if words.is_empty() {
            // The brace stands on a line of its own, below what it belongs to.
            self.done.pop()
        } else {
            Some(Entry {
                words,
                body: Vec::new(),
            })
        };
        let Some(entry) = entry else {
            return self
                .report
                .warning(&brace.place, "`{` belongs to no keyword", "");
        };
        let before = std::mem::take(&mut self.done);
        self.open.push((entry, before));
    }

    fn end(&mut self, brace: &Word) {
        if self.open.is_empty() {
            let message = "`}` closes no block: keepalived reads the rest of the file all the same";
            return self.report.warning(&brace.place, message, "");
        }
        self.close();
    }

    fn close(&mut self) {
        if let Some((mut entry, before)) = self.open.pop() {
            entry.body.append(&mut self.done);
            self.done = before;
            self.done.push(entry);
        }
    }

    /// Closes what is open before a block that cannot stand in it, or before the end.
    fn close_all(&mut self, before: &Place) {
        while let Some((entry, _)) = self.open.last() {
            let message = format!(
                "the block `{}` is not closed; it is read as if `}}` stood before line {}",
                entry.shown(),
                before.line
            );
            self.report.warning(&entry.place(), message, "");
            self.close();
        }
    }

    fn finish(mut self) -> Vec<Entry> {
        while let Some((entry, _)) = self.open.last() {
            let message = format!(
                "the block `{}` is not closed at the end of the file",
                entry.shown()
            );
            self.report.warning(&entry.place(), message, "");
            self.close();
        }
        self.done
    }
}
