//! Whether a server replicates, and how far it is behind its source.

use std::path::Path;

use super::query::{self, QueryAnswer};
use crate::agent::{AgentError, Limits};
use crate::text::one_line;

/// The statement of MariaDB, of MySQL, and of older versions of both. Each server knows one of them.
const STATEMENTS: [&str; 3] = [
    "SHOW ALL SLAVES STATUS",
    "SHOW REPLICA STATUS",
    "SHOW SLAVE STATUS",
];
/// The error of a server that does not know a statement.
const UNKNOWN_STATEMENT: &str = "ERROR 1064 ";
/// How many characters of the server's error are shown.
const MAX_ERROR_CHARS: usize = 200;

/// The state of replication.
#[derive(Debug, PartialEq, Eq)]
pub enum Replication {
    /// It works, and is this many seconds behind; the most of several sources.
    Behind(u64),
    /// Nothing is wrong here, but the source is away or the lag is unknown.
    Unknown(String),
    /// It has stopped and will not continue by itself.
    Broken(String),
}

/// Asks a server. An error means that it gave no answer about replication.
pub async fn query_replication(
    socket: &Path,
    login: Option<&Path>,
    limits: &Limits,
) -> Result<Replication, AgentError> {
    for statement in STATEMENTS {
        match query::run_query(socket, login, statement, limits).await? {
            QueryAnswer::Rows(table) => return Ok(worst_row(&table)),
            QueryAnswer::Alive(why) if why.contains(UNKNOWN_STATEMENT) => {}
            QueryAnswer::Full(why) => return Ok(Replication::Unknown(why)),
            QueryAnswer::Alive(error) | QueryAnswer::None(error) => {
                return Err(AgentError::Failed(error));
            }
        }
    }
    let message = "the server supports none of the statements that show replication (SHOW REPLICA STATUS and its older forms)";
    Err(AgentError::Failed(message.to_owned()))
}

/// The worst state of all rows of a table whose first line has the names.
fn worst_row(table: &str) -> Replication {
    let mut lines = table.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    let mut worst = None;
    for line in lines {
        let values: Vec<&str> = line.split('\t').collect();
        let state = row_state(&ReplicationRow(&names, &values));
        worst = Some(match (worst, state) {
            (Some(Replication::Behind(a)), Replication::Behind(b)) => Replication::Behind(a.max(b)),
            (Some(worst @ Replication::Broken(_)), _)
            | (Some(worst @ Replication::Unknown(_)), Replication::Behind(_)) => worst,
            (_, state) => state,
        });
    }
    worst.unwrap_or_else(|| Replication::Broken("it is not a replica".to_owned()))
}

/// The names of the columns and their values. Newlines and tabs in values are escaped.
struct ReplicationRow<'a>(&'a [&'a str], &'a [&'a str]);

impl ReplicationRow<'_> {
    /// The value of the column with one of these names.
    fn get(&self, names: &[&str]) -> &str {
        let at = self.0.iter().position(|name| names.contains(name));
        at.and_then(|at| self.1.get(at)).copied().unwrap_or("NULL")
    }
}

fn row_state(row: &ReplicationRow<'_>) -> Replication {
    let from = one_line(row.get(&["Master_Host", "Source_Host"]), MAX_ERROR_CHARS);
    let with = |what: String, error: &str| match error {
        "" | "NULL" => what,
        error => format!("{what}: {}", one_line(error, MAX_ERROR_CHARS)),
    };
    // The applying thread comes first: while it is broken a good connection does not help.
    if row.get(&["Slave_SQL_Running", "Replica_SQL_Running"]) != "Yes" {
        let error = row.get(&["Last_SQL_Error"]);
        return Replication::Broken(with(format!("changes from {from} are not applied"), error));
    }
    let nothing = format!("no changes arrive from {from}");
    let error = row.get(&["Last_IO_Error"]);
    match row.get(&["Slave_IO_Running", "Replica_IO_Running"]) {
        "Yes" => {}
        "Connecting" | "Preparing" => return Replication::Unknown(with(nothing, error)),
        _ => return Replication::Broken(with(nothing, error)),
    }
    let seconds = row.get(&["Seconds_Behind_Master", "Seconds_Behind_Source"]);
    let unknown = |_| Replication::Unknown(format!("its lag behind {from} is not known"));
    seconds.parse().map_or_else(unknown, Replication::Behind)
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
            assert_eq!(worst_row(&table), Replication::Behind(wanted), "{table}");
        }
    }

    #[test]
    fn one_that_waits_for_what_is_away_is_told_from_one_that_is_broken() {
        let broken = |text: &str| Replication::Broken(text.to_owned());
        let unknown = |text: &str| Replication::Unknown(text.to_owned());
        let lag = "its lag behind db2 is not known";
        for (row, wanted) in [
            (
                "\tdb2\tYes\tNo\tNULL\t\tDuplicate entry \u{1b}[31m'7'",
                broken("changes from db2 are not applied: Duplicate entry \u{fffd}[31m'7'"),
            ),
            (
                "\tdb2\tConnecting\tNo\tNULL\tx\t",
                broken("changes from db2 are not applied"),
            ),
            (
                "\tdb2\tNo\tYes\tNULL\tits log is gone\t",
                broken("no changes arrive from db2: its log is gone"),
            ),
            (
                "\tdb2\tConnecting\tYes\t0\tcannot connect\t",
                unknown("no changes arrive from db2: cannot connect"),
            ),
            (
                "\tdb2\tPreparing\tYes\t0\t\t",
                unknown("no changes arrive from db2"),
            ),
            ("\tdb2\tYes\tYes\tNULL\t\t", unknown(lag)),
            ("\tdb2\tYes\tYes\t-1\t\t", unknown(lag)),
            ("", broken("changes from NULL are not applied")),
        ] {
            let well = "a\tdb3\tYes\tYes\t0\t\t";
            for table in [
                format!("{MARIADB}\n{well}\n{row}\n"),
                format!("{MARIADB}\n{row}\n{well}\n"),
            ] {
                assert_eq!(worst_row(&table), wanted, "{row}");
            }
        }
    }

    #[test]
    fn what_says_nothing_of_copying_is_no_replica() {
        assert_eq!(
            worst_row(""),
            Replication::Broken("it is not a replica".to_owned())
        );
        assert_eq!(worst_row(MARIADB), worst_row(""));
        let strange = worst_row("no\tsuch\tcolumns\n1\t2\t3\n");
        assert!(matches!(strange, Replication::Broken(_)), "{strange:?}");
        let error = "x".repeat(5000);
        let long = worst_row(&format!("{MARIADB}\n\tdb2\tYes\tNo\tNULL\t\t{error}\n"));
        assert!(matches!(long, Replication::Broken(text) if text.len() < 300));
    }
}
