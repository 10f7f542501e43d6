//! Checks a DRBD resource before it is used.

use std::process::Command;

use super::arguments;
use crate::agent::exec::system_tool;
use crate::model::token::Token;
use crate::text::Mistake;

/// The configuration of a resource, as `drbdadm dump` prints it.
///
/// # Errors
/// Why the resource cannot work on this machine.
pub fn read_config(resource: &str) -> Result<String, Mistake> {
    check_installed()?;
    run_drbdadm(&["dump", resource]).map_err(|error| {
        let message = format!("drbd.conf has no resource {resource} for this node: {error}");
        Mistake::new(message).help(list_resources())
    })
}

fn check_installed() -> Result<(), Mistake> {
    if system_tool::find(&["drbdadm"]).is_some() {
        return Ok(());
    }
    let mistake = Mistake::new("drbdadm is not installed on this machine");
    Err(mistake.help("install drbd-utils, and the kernel module drbd"))
}

/// The names of all resources of drbd.conf.
///
/// # Errors
/// There are none, or they cannot be read.
pub fn all_resources() -> Result<Vec<String>, Mistake> {
    check_installed()?;
    let names = run_drbdadm(&["sh-resources"])
        .map_err(|error| Mistake::new(format!("cannot read drbd.conf: {error}")))?;
    let names: Vec<String> = names.split_whitespace().map(str::to_owned).collect();
    if names.is_empty() {
        return Err(Mistake::new("drbd.conf has no resource for this node"));
    }
    Ok(names)
}

/// A word that names no resource: which ones it means.
pub fn remark_on_all(token: &Token) -> Option<Mistake> {
    let Ok(None) = arguments::parse_resource(&token.name, &token.args) else {
        return None;
    };
    let names = all_resources().ok()?;
    let each: Vec<String> = names
        .iter()
        .map(|n| format!("{}::{n}", token.name))
        .collect();
    let message = format!(
        "{} means all resources of drbd.conf, as with heartbeat: {}",
        token.text,
        names.join(" ")
    );
    Some(Mistake::new(message).help(format!(
        "name them, so that each is watched by itself: {}",
        each.join(" ")
    )))
}

/// The words of a group for whose stop on a dead node a takeover waits only shortly: DRBD resources that block writes on the
/// side that is cut off, and file systems on them. Each word comes with the configuration of its DRBD resource, if it is one.
pub fn guarded_words<'a>(
    members: impl Iterator<Item = (&'a Token, Option<&'a str>)>,
) -> Vec<String> {
    let mut words = Vec::new();
    let mut configs: Vec<&str> = Vec::new();
    for (token, config) in members {
        let device = token.args.first().map_or("", String::as_str);
        if let Some(config) = config.filter(|config| blocks_writes(config)) {
            words.push(token.text.clone());
            configs.push(config);
        } else if token.name == "Filesystem" && configs.iter().any(|c| has_device(c, device)) {
            words.push(token.text.clone());
        }
    }
    words
}

/// Whether a resource has this device: a line `device /dev/drbd1 minor 1;`.
fn has_device(dump: &str, device: &str) -> bool {
    let mut lines = dump.lines().map(|l| l.trim().trim_end_matches(';'));
    lines.any(|l| {
        let mut words = l.split_ascii_whitespace();
        words.next() == Some("device") && words.next() == Some(device)
    })
}

/// Whether DRBD blocks all writes after the loss of the peer until our handler has answered.
fn blocks_writes(dump: &str) -> bool {
    let always = |name: &str, is: fn(&str) -> bool| {
        let mut found = values(dump, name).peekable();
        found.peek().is_some() && found.all(is)
    };
    always("protocol", |v| v == "C")
        && always("fencing", |v| v == "resource-and-stonith")
        && always("fence-peer", |v| {
            v.contains("hactl") || v.contains("drbd-peer-outdater")
        })
}

/// All values of an option: for all resources, for this one, and for each of its connections.
fn values<'d>(dump: &'d str, name: &'d str) -> impl Iterator<Item = &'d str> {
    let lines = dump.lines().map(str::trim);
    let lines = lines.filter(move |l| l.split_ascii_whitespace().next() == Some(name));
    lines.filter_map(move |l| Some(l.strip_prefix(name)?.trim().trim_end_matches(';').trim()))
}

/// What is missing in the configuration of a resource.
pub fn remark(resource: &str, dump: &str) -> Option<String> {
    let fencing = values(dump, "fencing").find(|f| *f != "dont-care");
    match (fencing, values(dump, "fence-peer").next()) {
        (Some(_), Some(_)) if !blocks_writes(dump) => Some(format!(
            "{resource} does not have all of `protocol C`, `fencing resource-and-stonith` and `fence-peer \"/usr/sbin/hactl drbd fence-peer\"`; with them a takeover from a dead node waits at most ten seconds for the stop of file systems on it and what uses them"
        )),
        (Some(_), Some(_)) => None,
        (None, _) => Some(format!(
            "{resource} has no `fencing`: when its replication link is cut, the peer's data is not marked as outdated until a node wants to become Primary, and every takeover from a dead node waits until the stop timeouts of what uses the resource have passed; write `fencing resource-and-stonith;` into `net` (with the module 8.4 into `disk`) and `handlers {{ fence-peer \"/usr/sbin/hactl drbd fence-peer\"; }}`, see drbd.conf(5)"
        )),
        (Some(_), None) => Some(format!(
            "{resource} has `fencing` but no handler: write `handlers {{ fence-peer \"/usr/sbin/hactl drbd fence-peer\"; }}`"
        )),
    }
}

fn list_resources() -> String {
    match run_drbdadm(&["sh-resources"]) {
        Ok(names) if !names.trim().is_empty() => format!("its resources are {}", names.trim()),
        _ => "see drbdadm dump".to_owned(),
    }
}

/// Runs drbdadm. Returns its output, or its error message.
fn run_drbdadm(words: &[&str]) -> Result<String, String> {
    let output = Command::new("drbdadm")
        .args(words)
        .env("PATH", system_tool::PATH)
        .env("LC_ALL", "C")
        .output();
    let output = output.map_err(|e| e.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let message = text(&output.stderr);
    Err(message.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_fencing_is_remarked() {
        let with = |options: &str| {
            remark(
                "db",
                &format!("resource db {{\n    net {{\n        protocol  C;\n{options}    }}\n}}\n"),
            )
        };
        let fencing = "        fencing          resource-and-stonith;\n";
        let handler = "        fence-peer       \"/usr/sbin/hactl drbd fence-peer\";\n";
        assert!(with("").unwrap().contains("has no `fencing`"));
        assert!(
            with("        fencing  dont-care;\n")
                .unwrap()
                .contains("has no `fencing`")
        );
        assert!(with(fencing).unwrap().contains("but no handler"));
        assert_eq!(with(&format!("{fencing}{handler}")), None);
        let weaker = fencing.replace("resource-and-stonith", "resource-only");
        assert!(
            with(&format!("{weaker}{handler}"))
                .unwrap()
                .contains("waits at most ten")
        );
    }

    #[test]
    fn writes_are_blocked_only_if_all_options_agree() {
        let another = "connection {\n  net {\n    protocol A;\n  }\n}\n";
        let own = "resource db {\n  net {\n    protocol C;\n  }\n  disk {\n    fencing resource-and-stonith;\n  }\n  handlers {\n    fence-peer       \"/usr/sbin/hactl drbd fence-peer\";\n  }\n}\n";
        assert!(blocks_writes(own));
        assert!(!blocks_writes(&format!("{own}{another}")));
        assert!(has_device(
            "on a {\n   device  /dev/drbd1 minor 1;\n}",
            "/dev/drbd1"
        ));
        assert!(!has_device(
            "on a {\n   device  /dev/drbd1 minor 1;\n}",
            "/dev/drbd7"
        ));
        for (wanted, said) in [
            ("protocol C", "protocol A"),
            ("resource-and-stonith", "resource-only"),
            ("hactl drbd", "another"),
        ] {
            assert!(!blocks_writes(&own.replace(wanted, said)), "{said}");
        }
        assert!(!blocks_writes(""));
    }
}
