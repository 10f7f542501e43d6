//! Reads `mysql` and `postgres`, which have the same form.

use std::path::PathBuf;

use super::super::HaCfReader;
use super::super::health::{OPTIONS, read_duration};
use crate::model::health::{DatabaseWishes, Probe, Replica};
use crate::text::{SourceWord, did_you_mean};

/// `mysql [SOCKET] [replica [lag T]]`, `postgres [SOCKET] [replica [lag T]]`
pub(super) fn read_database(
    reader: &mut HaCfReader<'_>,
    kind: &SourceWord,
    rest: &[SourceWord],
) -> Option<Probe> {
    let (socket, wishes) = match rest.split_first() {
        Some((word, wishes)) if word.text.starts_with('/') => {
            (Some(PathBuf::from(&word.text)), wishes)
        }
        _ => (None, rest),
    };
    let replica = match wishes.split_first() {
        None => None,
        Some((word, [])) if word.text == "replica" => Some(Replica::Intact),
        Some((word, [lag, rest @ ..])) if word.text == "replica" && lag.text == "lag" => {
            Some(read_lag(reader, kind, lag, rest)?)
        }
        Some((word, [wrong, ..])) if word.text == "replica" => {
            let all = ["lag"].into_iter().chain(OPTIONS);
            let help = did_you_mean(&wrong.text, all);
            let message = format!("expected `lag`, found {}", wrong.quoted());
            reader.report.error(&wrong.place, message, help);
            return None;
        }
        Some((word, _)) => {
            report_unknown_word(reader, kind, word);
            return None;
        }
    };
    let wishes = DatabaseWishes { socket, replica };
    Some(match kind.text.as_str() {
        "postgres" => Probe::Postgres(wishes),
        _ => Probe::Mysql(wishes),
    })
}

/// Reads the time after `lag`.
fn read_lag(
    reader: &mut HaCfReader<'_>,
    kind: &SourceWord,
    lag: &SourceWord,
    rest: &[SourceWord],
) -> Option<Replica> {
    match rest {
        [time] => read_duration(reader, time).map(Replica::Within),
        [] => {
            let help = format!("for example: {} replica lag 5s", kind.text);
            reader.report.error(&lag.place, "`lag` needs a time", help);
            None
        }
        [_, more, ..] => {
            let help = did_you_mean(&more.text, OPTIONS);
            let message = format!("`lag` takes one time; {} is too many", more.quoted());
            reader.report.error(&more.place, message, help);
            None
        }
    }
}

fn report_unknown_word(reader: &mut HaCfReader<'_>, kind: &SourceWord, word: &SourceWord) {
    let all = ["replica"].into_iter().chain(OPTIONS);
    let help = match word.text.as_str() {
        "lag" => "write: replica lag ...".to_owned(),
        text if text.contains([':', '.', '/']) => {
            let example = match kind.text.as_str() {
                "postgres" => "postgres /run/postgresql/.s.PGSQL.5432",
                _ => "mysql /run/mysqld/mysqld.sock",
            };
            format!(
                "the server is asked through its socket on this node; write its whole path: {example}"
            )
        }
        text => did_you_mean(text, all),
    };
    let message = format!(
        "{} is neither the path of a socket nor `replica`",
        word.quoted()
    );
    reader.report.error(&word.place, message, help);
}
