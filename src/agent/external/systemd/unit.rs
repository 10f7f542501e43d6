//! The names of units, and the output of `systemctl show`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::model::token::Token;
use crate::text::{Mistake, parse_duration};

/// The properties that are read.
pub const PROPERTIES: &str =
    "LoadState,ActiveState,SubState,UnitFileState,Result,TimeoutStartUSec,TimeoutStopUSec";
/// The types of units that can be started and stopped.
const SUFFIXES: [&str; 8] = [
    "service",
    "socket",
    "mount",
    "automount",
    "swap",
    "target",
    "timer",
    "path",
];

/// Where the unit files of a machine are.
pub const FOLDERS: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// Whether one of these folders has a service of this name.
pub fn has_service(name: &str, folders: &[PathBuf]) -> bool {
    let file = format!("{name}.service");
    folders.iter().any(|folder| folder.join(&file).is_file())
}

/// What systemd knows of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit(BTreeMap<String, String>);

/// Whether a unit runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitState {
    /// It runs.
    Running,
    /// It does not run; it may have failed.
    Stopped,
    /// It is starting or stopping.
    Between,
}

impl Unit {
    /// Reads lines `Name=value`.
    pub fn parse(text: &str) -> Self {
        let pairs = text.lines().filter_map(|l| l.split_once('='));
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        Unit(pairs.collect())
    }

    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// Whether it runs, by its `ActiveState`.
    pub fn state(&self) -> UnitState {
        match self.get("ActiveState") {
            "active" | "reloading" | "refreshing" => UnitState::Running,
            "inactive" | "failed" => UnitState::Stopped,
            _ => UnitState::Between,
        }
    }

    /// Checks that it can be a resource.
    pub fn check_usable(&self, name: &str) -> Result<(), Mistake> {
        match self.get("LoadState") {
            "loaded" => Ok(()),
            "not-found" => Err(Mistake::new(format!("there is no unit {name}"))
                .help("`systemctl list-unit-files` shows all units")),
            "masked" => Err(Mistake::new(format!(
                "unit {name} is masked, so it cannot be started"
            ))
            .help(format!("systemctl unmask {name}"))),
            other => Err(
                Mistake::new(format!("systemd cannot read unit {name}: {other}"))
                    .help(format!("systemctl status {name}")),
            ),
        }
    }

    /// Whether systemd starts it by itself at each boot.
    pub fn is_enabled(&self) -> bool {
        matches!(self.get("UnitFileState"), "enabled" | "enabled-runtime")
    }

    /// systemd's own deadlines of a start and a stop; none if there is no limit.
    pub fn timeouts(&self) -> (Option<Duration>, Option<Duration>) {
        (
            time_span(self.get("TimeoutStartUSec")),
            time_span(self.get("TimeoutStopUSec")),
        )
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.get("ActiveState"), self.get("SubState"))?;
        match self.get("Result") {
            "" | "success" => Ok(()),
            result => write!(f, ", result {result}"),
        }
    }
}

/// The unit, with its suffix, that a word such as `systemd::nginx` or `systemd:nginx` names. `None` for other words.
pub fn unit_name(token: &Token) -> Option<Result<String, Mistake>> {
    let rest = token.text.strip_prefix("systemd:")?;
    let name = rest.strip_prefix(':').unwrap_or(rest);
    Some(with_suffix(name))
}

fn with_suffix(name: &str) -> Result<String, Mistake> {
    let form = "the form is systemd::nginx or systemd::nginx.service";
    let usual =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '@' | '\\' | ':');
    if name.is_empty()
        || name.len() > 200
        || name.starts_with(['-', '.'])
        || !name.chars().all(usual)
        || name.contains("::")
    {
        return Err(Mistake::new(format!("`{name}` is not the name of a unit")).help(form));
    }
    let Some((stem, suffix)) = name.rsplit_once('.') else {
        return Ok(format!("{name}.service"));
    };
    if SUFFIXES.contains(&suffix) {
        return if stem.ends_with('@') {
            Err(
                Mistake::new(format!("{name} is a template; name an instance of it"))
                    .help(format!("for example systemd::{stem}1.{suffix}")),
            )
        } else {
            Ok(name.to_owned())
        };
    }
    Ok(format!("{name}.service"))
}

/// The text of a unit's drop-in.
pub fn drop_in_text(name: &str) -> String {
    format!(
        "# Written by had, which starts and stops {name}; removed at the next boot.\n\
         # At shutdown the unit stops after the daemon, so that the daemon can stop it in the order of its group.\n\
         [Unit]\nBefore=had.service\n"
    )
}

/// A time as systemd prints it, `1min 30s`; none for `infinity`.
fn time_span(text: &str) -> Option<Duration> {
    let mut sum = Duration::ZERO;
    for word in text.split_whitespace() {
        sum = sum.checked_add(parse_duration(word)?)?;
    }
    (!sum.is_zero()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(active: &str, load: &str, file: &str) -> Unit {
        Unit::parse(&format!(
            "LoadState={load}\nActiveState={active}\nSubState=dead\nUnitFileState={file}\nResult=exit-code\nTimeoutStartUSec=1min 30s\nTimeoutStopUSec=infinity\n"
        ))
    }

    fn word(text: &str) -> Option<Result<String, Mistake>> {
        unit_name(&Token {
            text: text.to_owned(),
            name: String::new(),
            args: Vec::new(),
        })
    }

    #[test]
    fn states_are_read_as_systemd_means_them() {
        for (active, state) in [
            ("active", UnitState::Running),
            ("reloading", UnitState::Running),
            ("inactive", UnitState::Stopped),
            ("failed", UnitState::Stopped),
            ("activating", UnitState::Between),
            ("deactivating", UnitState::Between),
            ("maintenance", UnitState::Between),
            ("", UnitState::Between),
        ] {
            assert_eq!(unit(active, "loaded", "").state(), state, "{active}");
        }
        let shown = unit("failed", "loaded", "").to_string();
        assert_eq!(shown, "failed (dead), result exit-code");
    }

    #[test]
    fn what_cannot_be_a_resource_is_said() {
        let message = |load: &str| {
            unit("inactive", load, "")
                .check_usable("a.service")
                .map_err(|m| m.message)
        };
        assert_eq!(message("loaded"), Ok(()));
        for (load, text) in [
            ("not-found", "there is no unit"),
            ("masked", "is masked"),
            ("bad-setting", "bad-setting"),
            ("", "cannot read"),
        ] {
            assert!(message(load).unwrap_err().contains(text), "{load}");
        }
        assert!(unit("inactive", "loaded", "enabled").is_enabled());
        for file in ["disabled", "static", "", "indirect"] {
            assert!(!unit("inactive", "loaded", file).is_enabled(), "{file}");
        }
    }

    #[test]
    fn names_get_their_suffix() {
        for (text, name) in [
            ("systemd::nginx", "nginx.service"),
            ("systemd:nginx", "nginx.service"),
            ("systemd::nginx.service", "nginx.service"),
            ("systemd::srv.mount", "srv.mount"),
            ("systemd::php8.2-fpm", "php8.2-fpm.service"),
            ("systemd::getty@tty1", "getty@tty1.service"),
            ("systemd::srv-data\\x2d1.mount", "srv-data\\x2d1.mount"),
        ] {
            assert_eq!(word(text), Some(Ok(name.to_owned())), "{text}");
        }
        for bad in [
            "systemd::",
            "systemd::../x",
            "systemd::-H",
            "systemd::a::b",
            "systemd::a b",
            "systemd::vpn@.service",
        ] {
            assert!(word(bad).unwrap().is_err(), "{bad}");
        }
        assert_eq!(word("nginx"), None);
        assert_eq!(word("systemd"), None);
    }

    #[test]
    fn deadlines_are_read_as_systemd_prints_them() {
        let (start, stop) = unit("active", "loaded", "").timeouts();
        assert_eq!((start, stop), (Some(Duration::from_secs(90)), None));
        assert_eq!(
            time_span("1h 500ms"),
            Some(Duration::from_millis(3_600_500))
        );
        for bad in [
            "",
            "0",
            "x",
            "5 fortnights",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert_eq!(time_span(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_drop_in_orders_the_unit_before_the_daemon() {
        let text = drop_in_text("nginx.service");
        let section = text.lines().filter(|l| !l.starts_with('#'));
        assert_eq!(
            section.collect::<Vec<_>>(),
            ["[Unit]", "Before=had.service"]
        );
    }
}
