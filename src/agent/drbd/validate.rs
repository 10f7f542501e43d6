//! What can be told about a DRBD resource before it is used.

use std::process::Command;

use crate::agent::address::Mistake;
use crate::agent::tool;

/// Looks at the machine. Returns what an administrator should know.
///
/// # Errors
/// Why it can never work here.
pub fn machine(resource: &str) -> Result<Option<String>, Mistake> {
    if tool::find(&["drbdadm"]).is_none() {
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

/// What is missing in the configuration of a resource, as `drbdadm dump` prints it.
fn remark(resource: &str, dump: &str) -> Option<String> {
    let value = |name: &str| {
        let mut lines = dump.lines().map(str::trim);
        let line = lines.find(|l| l.split_ascii_whitespace().next() == Some(name))?;
        let value = line.strip_prefix(name)?.trim();
        Some(value.trim_end_matches(';').trim().to_owned())
    };
    let fencing = value("fencing").filter(|f| f != "dont-care");
    match (fencing, value("fence-peer")) {
        (Some(_), Some(_)) => None,
        (None, _) => Some(format!(
            "{resource} says no `fencing`: where only its replication link is cut, the old data of the other side is marked as such no sooner than when it is wanted; write `fencing resource-and-stonith;` into `net` (with the module 8.4 into `disk`) and `handlers {{ fence-peer \"/usr/sbin/hactl drbd fence-peer\"; }}`, drbd.conf(5)"
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
        .env("PATH", tool::PATH)
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
        let fencing = "        fencing          resource-only;\n";
        let handler = "        fence-peer       \"/usr/sbin/hactl drbd fence-peer\";\n";
        assert!(with("").unwrap().contains("says no `fencing`"));
        assert!(
            with("        fencing  dont-care;\n")
                .unwrap()
                .contains("says no `fencing`")
        );
        assert!(with(fencing).unwrap().contains("names no handler"));
        assert_eq!(with(&format!("{fencing}{handler}")), None);
    }
}
