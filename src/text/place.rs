//! Where something stands in a file.

use std::path::Path;
use std::sync::Arc;

/// A word of a file, or the file as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<Path>,
    /// The line, from 1; 0 means the file as a whole.
    pub line: usize,
    /// The first character on the line, from 1.
    pub column: usize,
    /// The number of characters.
    pub width: usize,
    /// The whole line, with secrets masked.
    pub text: Arc<str>,
}

impl Place {
    /// The file as a whole.
    pub fn whole(file: &Path) -> Self {
        Place {
            file: file.into(),
            line: 0,
            column: 0,
            width: 0,
            text: "".into(),
        }
    }

    /// Some characters of this place: the first, from 0, and how many. `None` means all of it.
    #[must_use]
    pub fn part(&self, characters: Option<(usize, usize)>) -> Self {
        let (first, width) = characters.unwrap_or((0, self.width));
        Place {
            column: self.column.saturating_add(first),
            width,
            ..self.clone()
        }
    }
}
