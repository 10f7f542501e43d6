//! The settings of a server: the arguments, and for the rest its own configuration, which the program itself prints.

use std::path::{Path, PathBuf};

use super::arguments::ServerArguments;
use crate::agent::exec::system_tool;
use crate::agent::{AgentError, Limits};

/// Both names of the server.
pub const SERVERS: [&str; 2] = ["mariadbd", "mysqld"];
/// The folder of the log in Debian's packages, if it is not configured.
const LOG_DIR: &str = "/var/log/mysql";

/// The settings of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// The program.
    pub program: String,
    /// The data directory.
    pub datadir: PathBuf,
    /// The socket.
    pub socket: PathBuf,
    /// The account that it runs under.
    pub user: String,
    /// The error log.
    pub error_log: PathBuf,
    /// Its command line.
    pub command_line: Vec<String>,
}

/// Asks the server program. `None` if the defaults file does not exist: its file system is not mounted.
pub async fn discover(
    args: &ServerArguments,
    limits: &Limits,
) -> Result<Option<ServerSettings>, AgentError> {
    let program = system_tool::find(&SERVERS).ok_or_else(|| AgentError::Failed(not_installed()))?;
    if args.defaults.as_deref().is_some_and(|path| !path.exists()) {
        return Ok(None);
    }
    let mut words: Vec<String> = defaults_option(args).into_iter().collect();
    words.push("--print-defaults".to_owned());
    let done = system_tool::run(&program, &words, limits).await?;
    if done.code != Some(0) {
        return Err(AgentError::Failed(format!(
            "{program} cannot read its configuration: {}",
            done.message
        )));
    }
    Ok(Some(merge(program, args, &parse_defaults(&done.output))))
}

/// The message if no server is installed.
pub fn not_installed() -> String {
    "no database server is installed (neither mariadbd nor mysqld); apt install mariadb-server"
        .to_owned()
}

/// The option that must be the first on the command line.
fn defaults_option(args: &ServerArguments) -> Option<String> {
    let path = args.defaults.as_deref()?;
    Some(format!("--defaults-file={}", path.display()))
}

fn merge(
    program: String,
    args: &ServerArguments,
    configured: &ConfiguredOptions,
) -> ServerSettings {
    let datadir = args.datadir.clone().or_else(|| configured.path("datadir"));
    let datadir = datadir.unwrap_or_else(|| "/var/lib/mysql".into());
    let inside = |path: PathBuf| datadir.join(path);
    let socket = args.socket.clone();
    let socket = socket.or_else(|| configured.path("socket").map(inside));
    let user = args.user.clone().or_else(|| configured.get("user"));
    let logged = configured.path("log-error").map(inside);
    let mut line: Vec<String> = defaults_option(args).into_iter().collect();
    let mut add = |name: &str, value: &str| line.push(format!("--{name}={value}"));
    if let Some(path) = &args.datadir {
        add("datadir", &path.to_string_lossy());
    }
    if let Some(path) = &args.socket {
        add("socket", &path.to_string_lossy());
    }
    let user_name = user.unwrap_or_else(|| "mysql".to_owned());
    add("user", &user_name);
    let error_log = logged
        .clone()
        .unwrap_or_else(|| default_error_log(&datadir));
    if logged.is_none() {
        add("log-error", &error_log.to_string_lossy());
    }
    ServerSettings {
        program,
        socket: socket.unwrap_or_else(|| "/run/mysqld/mysqld.sock".into()),
        user: user_name,
        error_log,
        command_line: line,
        datadir,
    }
}

fn default_error_log(datadir: &Path) -> PathBuf {
    let dir = Path::new(LOG_DIR);
    if dir.is_dir() {
        dir.join("error.log")
    } else {
        datadir.join("mysqld.err")
    }
}

/// The options of the configuration, in order.
struct ConfiguredOptions(Vec<(String, String)>);

impl ConfiguredOptions {
    /// The value of an option; the last one counts.
    fn get(&self, name: &str) -> Option<String> {
        let mut found = self.0.iter().rev().filter(|(n, _)| n == name);
        found
            .next()
            .map(|(_, v)| v.clone())
            .filter(|v| !v.is_empty())
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }
}

/// Parses the output of `--print-defaults`: a sentence, then one line of `--name=value`. Values may have blanks; `_` and `-` in
/// names are the same.
fn parse_defaults(output: &str) -> ConfiguredOptions {
    let mut options = Vec::new();
    let lines = output.lines().filter(|l| l.starts_with("--"));
    for option in lines.flat_map(|l| l.split(" --")) {
        let option = option.trim_start_matches("--");
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        options.push((name.replace('_', "-"), value.trim_end().to_owned()));
    }
    ConfiguredOptions(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "mariadbd would have been started with the following arguments:
--socket=/run/mysqld/mysqld.sock --pid-file=/run/mysqld/mysqld.pid --basedir=/usr --bind-address=127.0.0.1 --log_error=my log.err --skip-name-resolve --datadir=/a --datadir=/srv/the data
";

    fn settings(args: &ServerArguments, printed: &str) -> ServerSettings {
        merge("/usr/sbin/mariadbd".into(), args, &parse_defaults(printed))
    }

    #[test]
    fn what_is_not_given_comes_from_the_configuration() {
        let found = settings(&ServerArguments::default(), PRINTED);
        assert_eq!(found.datadir, Path::new("/srv/the data"));
        assert_eq!(found.socket, Path::new("/run/mysqld/mysqld.sock"));
        assert_eq!(found.error_log, Path::new("/srv/the data/my log.err"));
        assert_eq!(found.command_line, ["--user=mysql"]);
    }

    #[test]
    fn what_is_given_wins_and_goes_on_the_command_line_defaults_file_first() {
        let args = ServerArguments {
            defaults: Some("/etc/shop.cnf".into()),
            datadir: Some("/srv/shop".into()),
            socket: Some("/run/shop.sock".into()),
            user: Some("shop".into()),
        };
        let found = settings(&args, PRINTED);
        assert_eq!(
            found.command_line,
            [
                "--defaults-file=/etc/shop.cnf",
                "--datadir=/srv/shop",
                "--socket=/run/shop.sock",
                "--user=shop"
            ]
        );
        assert_eq!(found.error_log, Path::new("/srv/shop/my log.err"));
    }

    #[test]
    fn an_empty_configuration_means_the_usual_places() {
        let found = settings(
            &ServerArguments::default(),
            "would have been started with:\n",
        );
        assert_eq!(found.datadir, Path::new("/var/lib/mysql"));
        assert_eq!(found.user, "mysql");
        let log = format!("--log-error={}", found.error_log.display());
        assert!(found.command_line.contains(&log));
    }
}
