//! The arguments of `mysqld`: `[::DEFAULTS-FILE[::DATADIR[::SOCKET[::USER]]]]`. `-` leaves an argument to the server's own
//! configuration, because haresources has no empty arguments.

use std::path::{Path, PathBuf};

use crate::text::Mistake;

const USAGE: &str = "write mysqld, or mysqld::/etc/mysql/shop.cnf::/srv/shop/data::/run/mysqld/shop.sock::mysql, with - for what the server's own configuration sets";

/// The given arguments. The server's configuration sets the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerArguments {
    /// The file that replaces the system's configuration.
    pub defaults: Option<PathBuf>,
    /// The data directory.
    pub datadir: Option<PathBuf>,
    /// The socket.
    pub socket: Option<PathBuf>,
    /// The account that the server runs under.
    pub user: Option<String>,
}

impl ServerArguments {
    /// Parses the arguments. The machine is not checked.
    pub fn parse(args: &[String]) -> Result<Self, Mistake> {
        if let Some(extra) = args.get(4) {
            let message = format!("`{extra}` is one argument too many for mysqld");
            return Err(Mistake::new(message).help(USAGE));
        }
        let given = |nth: usize| args.get(nth).filter(|word| *word != "-");
        let path = |nth: usize, what: &str| given(nth).map(|w| absolute(w, what)).transpose();
        Ok(ServerArguments {
            defaults: path(0, "the defaults file")?,
            datadir: path(1, "the data directory")?,
            socket: path(2, "the socket")?,
            user: given(3).cloned(),
        })
    }
}

fn absolute(word: &str, what: &str) -> Result<PathBuf, Mistake> {
    if Path::new(word).is_absolute() {
        return Ok(word.into());
    }
    let message = format!("{what} `{word}` is not an absolute path");
    Err(Mistake::new(message).help(USAGE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<ServerArguments, Mistake> {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        ServerArguments::parse(&words)
    }

    #[test]
    fn a_dash_leaves_an_argument_to_the_servers_configuration() {
        assert_eq!(parse(&[]), Ok(ServerArguments::default()));
        let args = parse(&["-", "/srv/db", "-", "mysql"]).unwrap();
        assert_eq!((args.defaults, args.socket), (None, None));
        assert_eq!(args.datadir.unwrap(), Path::new("/srv/db"));
        assert_eq!(args.user.as_deref(), Some("mysql"));
    }

    #[test]
    fn wrong_arguments_are_named() {
        let mistake = parse(&["my.cnf"]).unwrap_err();
        assert_eq!(
            mistake.message,
            "the defaults file `my.cnf` is not an absolute path"
        );
        let mistake = parse(&["-", "-", "-", "-", "x"]).unwrap_err();
        assert_eq!(mistake.message, "`x` is one argument too many for mysqld");
    }
}
