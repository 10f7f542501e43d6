//! What cannot run in a lab: the whole list, each with its reason, and what is judged and done in its place.

use std::path::Path;
use std::process::Command;

/// What happens in the lab in place of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instead {
    /// Nothing: its effect is of no importance for what follows.
    Nothing,
    /// The daemon of a unit is started: of `had`, of another cluster (`had@web`), or had-web.
    Start(String),
    /// The daemon of a unit is stopped.
    Stop(String),
    /// The machine stops its daemon in order, and boots; then its daemon starts.
    Reboot,
    /// The machine is switched off.
    PowerOff,
    /// The programs of a package are unpacked below this folder.
    Unpack(String),
    /// Files are copied to a folder of another machine.
    Copy {
        files: String,
        to: String,
        folder: String,
    },
}

/// The first word of what cannot run, why, and who judges the rest of the line.
type Judge = fn(&[&str]) -> Result<Instead, String>;
const ELSEWHERE: &[(&str, &str, Judge)] = &[
    ("systemctl", "a lab has no systemd", systemctl),
    (
        "journalctl",
        "a lab has no systemd, so nobody keeps its logs there",
        journalctl,
    ),
    ("scp", "the machines of a lab have no sshd", scp),
    (
        "apt",
        "packages are not installed in a lab; tests/packages installs them",
        apt,
    ),
    (
        "dpkg-deb",
        "there is no package in a lab; tests/packages unpacks one",
        dpkg_deb,
    ),
    ("docker", "the tests have no container engine", docker),
    ("reboot", "a lab boots its machines from outside", reboot),
    (
        "poweroff",
        "a lab switches its machines off from outside",
        poweroff,
    ),
];

/// What happens in place of a line, if it cannot run in a lab. A line that is wrong fails the test.
pub fn instead(line: &str) -> Option<Instead> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (first, rest) = words.split_first()?;
    let (_, why, judge) = ELSEWHERE.iter().find(|(name, ..)| name == first)?;
    let judged = judge(rest);
    let judged = judged.unwrap_or_else(|e| panic!("{line}: {e} (not run: {why})"));
    Some(judged)
}

/// Verbs are those of the systemctl of this machine, and units of had are those of the packages.
fn systemctl(words: &[&str]) -> Result<Instead, String> {
    let (options, words): (Vec<&str>, Vec<&str>) = words.iter().partition(|w| w.starts_with('-'));
    let [verb, units @ ..] = words.as_slice() else {
        return Err("no verb".to_owned());
    };
    let help = Command::new("systemctl").arg("--help").output();
    let help = help.map_err(|e| format!("systemctl (apt install systemd): {e}"))?;
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let known = |word: &str| help.split_whitespace().any(|w| w == word);
    for word in options.iter().chain([verb]) {
        if !known(word) {
            return Err(format!("systemctl has no {word}"));
        }
    }
    for unit in units {
        unit_exists(unit)?;
    }
    let now = options.contains(&"--now");
    let ours: Vec<&&str> = units.iter().filter(|u| u.starts_with("had")).collect();
    let [unit] = ours.as_slice() else {
        return Ok(Instead::Nothing);
    };
    let unit = (**unit).to_owned();
    Ok(match *verb {
        // A page asks for the state of a daemon that does not run.
        "status" if unit == "had" => Instead::Stop(unit),
        "start" => Instead::Start(unit),
        "enable" if now => Instead::Start(unit),
        "stop" => Instead::Stop(unit),
        "disable" if now => Instead::Stop(unit),
        _ => Instead::Nothing,
    })
}

/// Services that are not of this source.
const OTHER_UNITS: [&str; 2] = ["nginx", "keepalived"];

fn unit_exists(unit: &str) -> Result<(), String> {
    let template = unit.split_once('@').map(|(name, _)| format!("{name}@"));
    let file = format!("{}.service", template.as_deref().unwrap_or(unit));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    if OTHER_UNITS.contains(&unit) || folder.join(&file).exists() {
        return Ok(());
    }
    Err(format!("there is no packaging/{file}"))
}

/// The last lines of a unit.
fn journalctl(words: &[&str]) -> Result<Instead, String> {
    match words {
        ["-u", unit, "-n", number] if number.parse::<u32>().is_ok() => {
            unit_exists(unit).map(|()| Instead::Nothing)
        }
        _ => Err("options that are not expected here".to_owned()),
    }
}

/// One or more files, and a folder of another machine.
fn scp(words: &[&str]) -> Result<Instead, String> {
    let plain: Vec<&str> = words
        .iter()
        .copied()
        .filter(|w| !w.starts_with('-'))
        .collect();
    if words.iter().any(|w| w.starts_with('-') && *w != "-p") {
        return Err("an option that is not expected here".to_owned());
    }
    let Some(([target], files)) = plain.split_last_chunk::<1>().map(|(f, t)| (t, f)) else {
        return Err("no target".to_owned());
    };
    let (to, folder) = target
        .split_once(':')
        .ok_or("the target names no machine")?;
    if files.is_empty() || !folder.ends_with('/') {
        return Err("files, and a folder that ends with a slash".to_owned());
    }
    Ok(Instead::Copy {
        files: files.join(" "),
        to: to.to_owned(),
        folder: folder.to_owned(),
    })
}

/// Packages of packaging/build, by the names that it gives them, or of the distribution.
fn apt(words: &[&str]) -> Result<Instead, String> {
    let [verb, packages @ ..] = words else {
        return Err("no verb".to_owned());
    };
    if !["install", "remove", "purge"].contains(verb) || packages.is_empty() {
        return Err("an apt command that is not expected here".to_owned());
    }
    let ours = [
        "./had_*.deb",
        "./had-web_*.deb",
        "had",
        "had-web",
        "heartbeat",
        "keepalived",
    ];
    let known = |p: &&&str| ours.contains(p) || is_package_file(p);
    match packages.iter().find(|p| !known(p)) {
        None => Ok(Instead::Nothing),
        Some(other) => Err(format!("{other} is no package that packaging/build makes")),
    }
}

/// A package, and a folder that begins with a slash.
fn dpkg_deb(words: &[&str]) -> Result<Instead, String> {
    match words {
        ["-x", package, folder]
            if is_package_file(&format!("./{package}")) && folder.starts_with('/') =>
        {
            Ok(Instead::Unpack((*folder).to_owned()))
        }
        _ => Err("options that are not expected here".to_owned()),
    }
}

/// `./had_0.2.0_amd64.deb`
fn is_package_file(word: &str) -> bool {
    let name = word.strip_prefix("./").and_then(|w| w.strip_suffix(".deb"));
    let parts: Vec<&str> = name.unwrap_or_default().split('_').collect();
    let is_version = |text: &str| text.split('.').all(|n| n.parse::<u32>().is_ok());
    matches!(parts.as_slice(), ["had" | "had-web", version, "amd64"] if is_version(version))
}

/// The options of `docker run` that a page may use, as version 28 has them.
const DOCKER_RUN: [&str; 10] = [
    "--detach",
    "--name",
    "--restart",
    "--init",
    "--network",
    "--uts",
    "--cap-add",
    "--stop-timeout",
    "--volume",
    "--hostname",
];

fn docker(words: &[&str]) -> Result<Instead, String> {
    let Some((&"run", words)) = words.split_first() else {
        return Err("a docker command that is not expected here".to_owned());
    };
    let mut options = words.iter().filter(|w| w.starts_with('-'));
    match options.find(|o| !DOCKER_RUN.contains(o)) {
        None => Ok(Instead::Nothing),
        Some(option) => Err(format!("docker run has no {option}")),
    }
}

fn reboot(words: &[&str]) -> Result<Instead, String> {
    words
        .is_empty()
        .then_some(Instead::Reboot)
        .ok_or_else(|| "with words".to_owned())
}

fn poweroff(words: &[&str]) -> Result<Instead, String> {
    words
        .is_empty()
        .then_some(Instead::PowerOff)
        .ok_or_else(|| "with words".to_owned())
}

#[test]
fn what_is_judged_is_judged() {
    let start = |unit: &str| Some(Instead::Start(unit.to_owned()));
    assert_eq!(instead("systemctl enable --now had"), start("had"));
    assert_eq!(instead("systemctl start had@web"), start("had@web"));
    assert_eq!(
        instead("systemctl disable --now nginx"),
        Some(Instead::Nothing)
    );
    assert_eq!(instead("hactl status"), None);
    assert_eq!(
        instead("apt install ./had_0.2.0_amd64.deb"),
        Some(Instead::Nothing)
    );
    for wrong in [
        "systemctl begin had",
        "systemctl start hda",
        "systemctl start --soon had",
        "scp a bob",
        "scp -r a bob:/etc/",
        "apt install ./hat.deb",
        "apt install ./had_new_amd64.deb",
        "journalctl -u hda -n 50",
        "apt upgrade",
        "reboot now",
    ] {
        let judged = std::panic::catch_unwind(|| instead(wrong));
        assert!(judged.is_err(), "{wrong}");
    }
}
