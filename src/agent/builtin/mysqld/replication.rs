//! Whether a server copies those that it is to copy, and how far it is behind.

use std::path::Path;

use super::query::{self, Answer};
use crate::agent::{AgentError, Limits};
use crate::text::one_line;

/// The same question to MariaDB, to MySQL, and to older ones of both: each knows one of them.
const QUESTIONS: [&str; 3] = [
    "SHOW ALL SLAVES STATUS",
    "SHOW REPLICA STATUS",
    "SHOW SLAVE STATUS",
];
/// What a server says to words that it does not know.
const NOT_UNDERSTOOD: &str = "ERROR 1064 ";
/// The most that is shown of an error of the server's.
const SHOWN: usize = 200;

/// What a server tells of its copying.
#[derive(Debug, PartialEq, Eq)]
pub enum Copying {
    /// It copies, and is so many seconds behind, of several servers behind the farthest ahead.
    Behind(u64),
    /// Nothing is wrong here, but what it copies is away, or how far it is behind is not known.
    Unknown(String),
    /// It does not copy, and will not go on by itself.
    Broken(String),
}

/// Asks. An error means that there was no answer about it.
pub async fn look(
    socket: &Path,
    login: Option<&Path>,
    limits: &Limits,
) -> Result<Copying, AgentError> {
    for question in QUESTIONS {
        match query::ask(socket, login, question, limits).await? {
            Answer::Rows(table) => return Ok(of_all(&table)),
            Answer::Alive(why) if why.contains(NOT_UNDERSTOOD) => {}
            Answer::Full(why) => return Ok(Copying::Unknown(why)),
            Answer::Alive(said) | Answer::None(said) => return Err(AgentError::Failed(said)),
        }
    }
    let message = "it understands no question about what it copies";
    Err(AgentError::Failed(message.to_owned()))
}

/// The worst of all rows of a table with a line of names.
fn of_all(table: &str) -> Copying {
    let mut lines = table.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    let mut worst = None;
    for line in lines {
        let values: Vec<&str> = line.split('\t').collect();
        let seen = of(&Row(&names, &values));
        worst = Some(match (worst, seen) {
            (Some(Copying::Behind(a)), Copying::Behind(b)) => Copying::Behind(a.max(b)),
            (Some(worst @ Copying::Broken(_)), _)
            | (Some(worst @ Copying::Unknown(_)), Copying::Behind(_)) => worst,
            (_, seen) => seen,
        });
    }
    worst.unwrap_or_else(|| Copying::Broken("it is no replica".to_owned()))
}

/// The names of the columns, and what stands in them. Newlines and tabs in values are escaped.
struct Row<'a>(&'a [&'a str], &'a [&'a str]);

impl Row<'_> {
    /// What stands in the column that has one of these names.
    fn get(&self, names: &[&str]) -> &str {
        let at = self.0.iter().position(|name| names.contains(name));
        at.and_then(|at| self.1.get(at)).copied().unwrap_or("NULL")
    }
}

fn of(row: &Row<'_>) -> Copying {
    let from = one_line(row.get(&["Master_Host", "Source_Host"]), SHOWN);
    let with = |what: String, error: &str| match error {
        "" | "NULL" => what,
        error => format!("{what}: {}", one_line(error, SHOWN)),
    };
    // The thread that applies first: once it is broken no good link helps.
    if row.get(&["Slave_SQL_Running", "Replica_SQL_Running"]) != "Yes" {
        let error = row.get(&["Last_SQL_Error"]);
        return Copying::Broken(with(
            format!("what comes from {from} is not applied"),
            error,
        ));
    }
    let nothing = format!("nothing comes from {from}");
    let error = row.get(&["Last_IO_Error"]);
    match row.get(&["Slave_IO_Running", "Replica_IO_Running"]) {
        "Yes" => {}
        "Connecting" | "Preparing" => return Copying::Unknown(with(nothing, error)),
        _ => return Copying::Broken(with(nothing, error)),
    }
    let seconds = row.get(&["Seconds_Behind_Master", "Seconds_Behind_Source"]);
    let unknown = |_| Copying::Unknown(format!("how far it is behind {from} is not known"));
    seconds.parse().map_or_else(unknown, Copying::Behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARIADB: &str = "Connection_name\tMaster_Host\tSlave_IO_Running\tSlave_SQL_Running\tSeconds_Behind_Master\tLast_IO_Error\tLast_SQL_Error";
    const MYSQL: &str = "Source_Host\tReplica_IO_Running\tReplica_SQL_Running\tSeconds_Behind_Source\tLast_IO_Error\tLast_SQL_Error";

    #[test]
    fn the_farthest_of_all_connections_counts() {
        for (table, wanted) in [
            (format!("{MARIADB}\n\tdb2\tYes\tYes\t0\t\t\n"), 0),
            (
                format!("{MARIADB}\na\tdb2\tYes\tYes\t3\t\t\nb\tdb3\tYes\tYes\t30\t\t\n"),
                30,
            ),
            (format!("{MYSQL}\ndb2\tYes\tYes\t7\t\t\n"), 7),
        ] {
            assert_eq!(of_all(&table), Copying::Behind(wanted), "{table}");
        }
    }

    #[test]
    fn one_that_waits_for_what_is_away_is_told_from_one_that_is_broken() {
        let broken = |text: &str| Copying::Broken(text.to_owned());
        let unknown = |text: &str| Copying::Unknown(text.to_owned());
        let lag = "how far it is behind db2 is not known";
        for (row, wanted) in [
            (
                "\tdb2\tYes\tNo\tNULL\t\tDuplicate entry \u{1b}[31m'7'",
                broken("what comes from db2 is not applied: Duplicate entry \u{fffd}[31m'7'"),
            ),
            (
                "\tdb2\tConnecting\tNo\tNULL\tx\t",
                broken("what comes from db2 is not applied"),
            ),
            (
                "\tdb2\tNo\tYes\tNULL\tits log is gone\t",
                broken("nothing comes from db2: its log is gone"),
            ),
            (
                "\tdb2\tConnecting\tYes\t0\tcannot connect\t",
                unknown("nothing comes from db2: cannot connect"),
            ),
            (
                "\tdb2\tPreparing\tYes\t0\t\t",
                unknown("nothing comes from db2"),
            ),
            ("\tdb2\tYes\tYes\tNULL\t\t", unknown(lag)),
            ("\tdb2\tYes\tYes\t-1\t\t", unknown(lag)),
            ("", broken("what comes from NULL is not applied")),
        ] {
            let well = "a\tdb3\tYes\tYes\t0\t\t";
            for table in [
                format!("{MARIADB}\n{well}\n{row}\n"),
                format!("{MARIADB}\n{row}\n{well}\n"),
            ] {
                assert_eq!(of_all(&table), wanted, "{row}");
            }
        }
    }

    #[test]
    fn what_says_nothing_of_copying_is_no_replica() {
        assert_eq!(of_all(""), Copying::Broken("it is no replica".to_owned()));
        assert_eq!(of_all(MARIADB), of_all(""));
        let strange = of_all("no\tsuch\tcolumns\n1\t2\t3\n");
        assert!(matches!(strange, Copying::Broken(_)), "{strange:?}");
        let error = "x".repeat(5000);
        let long = of_all(&format!("{MARIADB}\n\tdb2\tYes\tNo\tNULL\t\t{error}\n"));
        assert!(matches!(long, Copying::Broken(text) if text.len() < 300));
    }
}
