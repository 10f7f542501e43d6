//! Reads `disk PATH free N`.

use std::path::PathBuf;

use super::super::HaCfReader;
use super::super::health::OPTIONS;
use crate::config::values::number;
use crate::model::health::{DiskProbe, FreeSpace, Probe};
use crate::text::{SourceWord, did_you_mean};

const EXAMPLE: &str = "for example: disk /var/lib/mysql free 5G, or free 10%";
/// With this many of a unit the arithmetic is far from overflow.
const MAX_COUNT: u32 = 1_000_000;

pub(super) fn read_disk(
    reader: &mut HaCfReader<'_>,
    kind: &SourceWord,
    rest: &[SourceWord],
) -> Option<Probe> {
    let Some((path, wishes)) = rest.split_first() else {
        let message = "`disk` needs a path, and how much must be free";
        reader.report.error(&kind.place, message, EXAMPLE);
        return None;
    };
    if !path.text.starts_with('/') {
        let message = format!("{} is not a whole path", path.quoted());
        reader
            .report
            .error(&path.place, message, "begin it with `/`");
        return None;
    }
    let size = match wishes {
        [word, size] if word.text == "free" => size,
        [] => {
            let message = format!("how much must be free of {}?", path.quoted());
            reader.report.error(&path.place, message, EXAMPLE);
            return None;
        }
        [word] if word.text == "free" => {
            reader
                .report
                .error(&word.place, "`free` needs a size", EXAMPLE);
            return None;
        }
        [word, _, more, ..] if word.text == "free" => {
            let help = did_you_mean(&more.text, OPTIONS);
            let message = format!("`free` takes one size; {} is too many", more.quoted());
            reader.report.error(&more.place, message, help);
            return None;
        }
        [word, ..] => {
            let message = format!("expected `free`, found {}", word.quoted());
            let help = did_you_mean(&word.text, ["free"].into_iter().chain(OPTIONS));
            reader.report.error(&word.place, message, help);
            return None;
        }
    };
    let Some(free) = free_space(&size.text) else {
        let message = format!("{} is no size", size.quoted());
        let help = "write a whole number with M, G or T, or from 1% to 99%";
        reader.report.error(&size.place, message, help);
        return None;
    };
    let path = PathBuf::from(&path.text);
    Some(Probe::Disk(DiskProbe { path, free }))
}

/// `500M`, `5G`, `2T`, `10%`.
fn free_space(word: &str) -> Option<FreeSpace> {
    if let Some(percent) = word.strip_suffix('%') {
        return number(percent, 1, 99).map(FreeSpace::Percent);
    }
    let shift = match word.chars().next_back()? {
        'M' | 'm' => 0,
        'G' | 'g' => 10,
        'T' | 't' => 20,
        _ => return None,
    };
    let digits = word.get(..word.len().checked_sub(1)?)?;
    let count = number(digits, 1, MAX_COUNT)?;
    Some(FreeSpace::Mebibytes(u64::from(count) << shift))
}
