//! What can be told about a DRBD resource before it is used.

use std::process::Command;

use super::arguments;
use crate::agent::exec::system_tool;
use crate::agent::resolve::DRBD_NAMES;
use crate::model::token::Token;
use crate::text::Mistake;

/// Looks at the machine. Returns what an administrator should know.
///
/// # Errors
/// Why it can never work here.
pub fn machine(resource: &str) -> Result<Option<String>, Mistake> {
    if system_tool::find(&["drbdadm"]).is_none() {
        let mistake = Mistake::new("there is no drbdadm on this machine");
        return Err(mistake.help("install drbd-utils, and the kernel module drbd"));
    }
    let dump = match run(&["dump", resource]) {
        Ok(dump) => dump,
        Err(said) => {
            let message = format!("drbd.conf has no resource {resource} for this node: {said}");
            return Err(Mistake::new(message).help(known()));
        }
    };
    Ok(remark(resource, &dump))
}

/// The words of a group whose stop elsewhere a takeover need not wait for, because no other node can write what it then finds
/// here: DRBD resources whose old owner, once it is cut off, has no write confirmed before its daemon was asked, and what is
/// mounted of them.
pub fn guarded(tokens: &[&Token]) -> Vec<String> {
    let mut words = Vec::new();
    let mut dumps: Vec<String> = Vec::new();
    for token in tokens {
        let of_drbd = DRBD_NAMES.contains(&token.name.as_str());
        let resource = arguments::resource(&token.name, &token.args).ok();
        let dump = resource
            .filter(|_| of_drbd)
            .and_then(|r| run(&["dump", &r]).ok());
        let device = token.args.first().map_or("", String::as_str);
        if let Some(dump) = dump.filter(|dump| freezes(dump)) {
            words.push(token.text.clone());
            dumps.push(dump);
        } else if token.name == "Filesystem" && dumps.iter().any(|d| has_device(d, device)) {
            words.push(token.text.clone());
        }
    }
    words
}

/// Whether a resource has this device, as its lines `device /dev/drbd1 minor 1;` say.
fn has_device(dump: &str, device: &str) -> bool {
    let mut lines = dump.lines().map(|l| l.trim().trim_end_matches(';'));
    lines.any(|l| {
        let mut words = l.split_ascii_whitespace();
        words.next() == Some("device") && words.next() == Some(device)
    })
}

/// Whether a resource that loses its peer holds back all writes, those under way included, until our handler has spoken.
fn freezes(dump: &str) -> bool {
    let always = |name: &str, is: fn(&str) -> bool| {
        let mut said = values(dump, name).peekable();
        said.peek().is_some() && said.all(is)
    };
    always("protocol", |v| v == "C")
        && always("fencing", |v| v == "resource-and-stonith")
        && always("fence-peer", |v| {
            v.contains("hactl") || v.contains("drbd-peer-outdater")
        })
}

/// All that is said of an option: for all resources, for this one, for each of its connections.
fn values<'d>(dump: &'d str, name: &'d str) -> impl Iterator<Item = &'d str> {
    let lines = dump.lines().map(str::trim);
    let lines = lines.filter(move |l| l.split_ascii_whitespace().next() == Some(name));
    lines.filter_map(move |l| Some(l.strip_prefix(name)?.trim().trim_end_matches(';').trim()))
}

/// What is missing in the configuration of a resource, as `drbdadm dump` prints it.
fn remark(resource: &str, dump: &str) -> Option<String> {
    let fencing = values(dump, "fencing").find(|f| *f != "dont-care");
    match (fencing, values(dump, "fence-peer").next()) {
        (Some(_), Some(_)) if !freezes(dump) => Some(format!(
            "{resource} does not say `protocol C`, `fencing resource-and-stonith` and `fence-peer \"/usr/sbin/hactl drbd fence-peer\"`: with these no takeover from a dead node waits longer than ten seconds for the stop of file systems on it and what uses them"
        )),
        (Some(_), Some(_)) => None,
        (None, _) => Some(format!(
            "{resource} says no `fencing`: where only its replication link is cut, the old data of the other side is marked as such no sooner than when it is wanted, and every takeover from a dead node waits until that could have stopped what stands on it; write `fencing resource-and-stonith;` into `net` (with the module 8.4 into `disk`) and `handlers {{ fence-peer \"/usr/sbin/hactl drbd fence-peer\"; }}`, drbd.conf(5)"
        )),
        (Some(_), None) => Some(format!(
            "{resource} says `fencing` and names no handler: write `handlers {{ fence-peer \"/usr/sbin/hactl drbd fence-peer\"; }}`"
        )),
    }
}

fn known() -> String {
    match run(&["sh-resources"]) {
        Ok(names) if !names.trim().is_empty() => format!("it has {}", names.trim()),
        _ => "see drbdadm dump".to_owned(),
    }
}

/// What drbdadm prints; else what it says.
fn run(words: &[&str]) -> Result<String, String> {
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
    let said = text(&output.stderr);
    Err(said.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_old_data_from_being_used_is_missed() {
        let with = |options: &str| {
            remark(
                "db",
                &format!("resource db {{\n    net {{\n        protocol  C;\n{options}    }}\n}}\n"),
            )
        };
        let fencing = "        fencing          resource-and-stonith;\n";
        let handler = "        fence-peer       \"/usr/sbin/hactl drbd fence-peer\";\n";
        assert!(with("").unwrap().contains("says no `fencing`"));
        assert!(
            with("        fencing  dont-care;\n")
                .unwrap()
                .contains("says no `fencing`")
        );
        assert!(with(fencing).unwrap().contains("names no handler"));
        assert_eq!(with(&format!("{fencing}{handler}")), None);
        let weaker = fencing.replace("resource-and-stonith", "resource-only");
        assert!(
            with(&format!("{weaker}{handler}"))
                .unwrap()
                .contains("waits longer than ten")
        );
    }

    #[test]
    fn a_resource_freezes_when_all_that_is_said_of_it_agrees() {
        let another = "connection {\n  net {\n    protocol A;\n  }\n}\n";
        let own = "resource db {\n  net {\n    protocol C;\n  }\n  disk {\n    fencing resource-and-stonith;\n  }\n  handlers {\n    fence-peer       \"/usr/sbin/hactl drbd fence-peer\";\n  }\n}\n";
        assert!(freezes(own));
        assert!(!freezes(&format!("{own}{another}")));
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
            assert!(!freezes(&own.replace(wanted, said)), "{said}");
        }
        assert!(!freezes(""));
    }
}
