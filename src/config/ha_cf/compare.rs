//! Reads `compare`: files that must have the same content on every node.

use std::path::{Component, Path, PathBuf};

use super::{Directive, HaCfReader};
use crate::model::readiness::MAX_TREES;
use crate::text::SourceWord;

/// `compare PATH...`
pub(super) fn read_compare(reader: &mut HaCfReader<'_>, directive: &Directive<'_>) {
    let words = directive.plain_values();
    if words.is_empty() {
        let message = "`compare` needs a file, or a folder";
        let help = "for example: compare /etc/nginx";
        return reader.report.error(&directive.name.place, message, help);
    }
    for word in &words {
        let path = Path::new(&word.text);
        let odd = |c: Component<'_>| matches!(c, Component::ParentDir | Component::CurDir);
        if !path.is_absolute() || path.components().any(odd) {
            let message = format!("{} is not a whole path", word.quoted());
            let help = "begin it with `/`, and write no `..`";
            reader.report.error(&word.place, message, help);
        } else if path == Path::new("/") {
            let message = "`/` is too much to compare";
            let help = "name the folders that groups need, such as /etc/nginx";
            reader.report.error(&word.place, message, help);
        } else if reader.lists.compare.len() >= MAX_TREES {
            let message = format!("more than {MAX_TREES} paths cannot be compared");
            let help = "name a folder that has several of them";
            return reader.report.error(&word.place, message, help);
        } else {
            add(reader, word);
        }
    }
}

/// Without a slash at its end: other nodes may write it otherwise.
fn add(reader: &mut HaCfReader<'_>, word: &SourceWord) {
    let path: PathBuf = Path::new(&word.text).components().collect();
    let name = path.display().to_string();
    if reader.claim_or_ignore("compare", &name, &word.place) {
        reader.lists.compare.push(path);
    }
}
