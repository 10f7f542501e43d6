//! The end of a long file: what happened last matters most.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use had::sys::foreign_file::open_regular;

/// The last bytes of a regular file, from the beginning of a line, and whether something before them is left out.
pub fn read_end(path: &Path, max: u64) -> io::Result<(String, bool)> {
    let mut file = open_regular(path)?;
    let start = file.metadata()?.len().saturating_sub(max);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    // It may grow meanwhile.
    file.take(max).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if start == 0 {
        return Ok((text, false));
    }
    let rest = text.split_once('\n').map_or("", |(_, rest)| rest);
    Ok((rest.to_owned(), true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_long_file_begins_with_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "first\nsecond\nthird\n").unwrap();
        let read = |max| read_end(&path, max).unwrap();
        assert_eq!(read(100), ("first\nsecond\nthird\n".to_owned(), false));
        assert_eq!(read(15), ("second\nthird\n".to_owned(), true));
        assert_eq!(read(9), ("third\n".to_owned(), true));
        assert_eq!(read(3), (String::new(), true));
    }
}
