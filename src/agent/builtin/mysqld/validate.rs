//! Checks a `mysqld` before it is started.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::User;

use super::arguments::ServerArguments;
use super::{query, settings};
use crate::agent::exec::system_tool;
use crate::model::token::Token;
use crate::text::Mistake;

/// Units of the packages. An enabled one starts the server at boot, on every node.
const UNITS: [&str; 3] = ["mariadb", "mysql", "mysqld"];

/// Checks the machine, but not the data directory, whose file system may not be mounted yet. Returns a note for an
/// administrator.
pub fn check_machine(
    args: &ServerArguments,
    login_file: &Path,
    earlier: &[Token],
) -> Result<Option<String>, Mistake> {
    if system_tool::find(&settings::SERVERS).is_none() {
        return Err(Mistake::new(settings::not_installed()));
    }
    if system_tool::find(&query::CLIENTS).is_none() {
        return Err(Mistake::new(query::no_client()));
    }
    check_login_file(login_file)?;
    if let Some(user) = &args.user
        && !matches!(User::from_name(user), Ok(Some(_)))
    {
        return Err(Mistake::new(format!(
            "there is no account `{user}` on this machine"
        )));
    }
    let mounts = earlier.iter().any(|t| t.name == "Filesystem");
    if let Some(path) = args.defaults.as_deref().filter(|p| !mounts && !p.exists()) {
        return Err(Mistake::new(format!(
            "there is no defaults file {}",
            path.display()
        )));
    }
    Ok(enabled_unit().filter(|_| args.datadir.is_none() && args.defaults.is_none()))
}

fn enabled_unit() -> Option<String> {
    let wants = Path::new("/etc/systemd/system/multi-user.target.wants");
    let mut units = UNITS.iter().map(|name| format!("{name}.service"));
    let unit = units.find(|unit| fs::symlink_metadata(wants.join(unit)).is_ok())?;
    Some(format!(
        "{unit} is also enabled and starts the server at boot on every node: systemctl disable --now {unit}"
    ))
}

/// Checks that only root can read the file with the client's login, which contains a password.
pub fn check_login_file(path: &Path) -> Result<(), Mistake> {
    let Ok(meta) = fs::metadata(path) else {
        return Ok(()); // it need not exist
    };
    let shown = path.display();
    if meta.uid() != 0 || meta.mode() & 0o077 != 0 {
        let (owner, mode) = (meta.uid(), meta.mode() & 0o7777);
        let message = format!(
            "{shown} contains a password and is accessible to users other than root (owner {owner}, mode {mode:04o})"
        );
        let help = format!("chown root {shown}; chmod 600 {shown}");
        return Err(Mistake::new(message).help(help));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_login_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mysqld.cnf");
        assert_eq!(check_login_file(&path), Ok(()));
        fs::write(&path, "[client]\npassword=x\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let mistake = check_login_file(&path).unwrap_err();
        assert!(mistake.message.contains("mode 0640"), "{mistake:?}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(check_login_file(&path), Ok(()));
    }
}
