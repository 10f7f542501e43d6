//! Reads the programs to run: children; their environment; and the deadlines of actions.

use std::path::Path;
use std::time::Duration;

use super::health::read_duration;
use super::{Directive, HaCfReader};
use crate::config::values::boolean;
use crate::config::{Respawn, TakeoverWaitRule, TimeoutRule};
use crate::text::SourceWord;
use crate::text::did_you_mean;

/// Programs of heartbeat that need its client protocol, which `had` does not have.
const CLIENTS: [&str; 8] = [
    "dopd",
    "ccm",
    "pingd",
    "hbagent",
    "cib",
    "crmd",
    "mgmtd",
    "quorumdtest",
];

pub(super) fn read_respawn(reader: &mut HaCfReader<'_>, directive: &Directive<'_>) {
    read_child(reader, directive, false);
}

pub(super) fn read_failfast(reader: &mut HaCfReader<'_>, directive: &Directive<'_>) {
    read_child(reader, directive, true);
}

fn read_child(reader: &mut HaCfReader<'_>, directive: &Directive<'_>, failfast: bool) {
    let words = directive.plain_values();
    let [user, command, ..] = words.as_slice() else {
        let message = format!("{} needs a user and a command", directive.name.quoted());
        return reader.report.error(
            &directive.name.place,
            message,
            "for example: respawn root /usr/local/sbin/watcher -v",
        );
    };
    if !command.text.starts_with('/') {
        let message = format!("{} is not the whole path of a program", command.quoted());
        return reader
            .report
            .error(&command.place, message, "begin it with `/`");
    }
    let program = Path::new(&command.text);
    let base = program.file_name().and_then(|n| n.to_str()).unwrap_or("");
    if base == "ipfail" {
        reader.lists.ipfail = Some(command.place.clone());
        return;
    }
    if CLIENTS.contains(&base) {
        let message = format!("`{base}` is not run: it needs heartbeat's client protocol");
        return reader.report.warning(
            &command.place,
            message,
            "remove the line; the manual says what takes its place",
        );
    }
    let user_known = (reader.machine.user_exists)(&user.text);
    if !user_known {
        let message = format!("there is no user {}", user.quoted());
        reader.report.error(&user.place, message, "");
    }
    if !(reader.machine.executable)(program) {
        let message = format!("{} is not an executable file", command.quoted());
        return reader.report.error(&command.place, message, "");
    }
    if user_known {
        let place = command.place.clone();
        let user = user.text.clone();
        let command = words.iter().skip(1).map(|w| w.text.clone()).collect();
        reader.lists.respawn.push(Respawn {
            user,
            command,
            failfast,
            place,
        });
    }
}

pub(super) fn read_apiauth(reader: &mut HaCfReader<'_>, directive: &Directive<'_>) {
    let words = directive.plain_values();
    let Some((client, rights)) = words.split_first() else {
        let message = "`apiauth` needs a client and uid= or gid=";
        return reader.report.error(&directive.name.place, message, "");
    };
    if !reader.claim_name("apiauth", &client.text, &client.place) {
        return;
    }
    if rights.is_empty() {
        let message = format!("`apiauth {}` needs uid= or gid=", client.text);
        return reader.report.error(&client.place, message, "");
    }
    for right in rights {
        let list = right
            .text
            .strip_prefix("uid=")
            .or_else(|| right.text.strip_prefix("gid="));
        if list.is_none_or(str::is_empty) {
            let message = format!(
                "{} is not uid= or gid= with a list of names",
                right.quoted()
            );
            return reader.report.error(
                &right.place,
                message,
                "for example: gid=haclient uid=hacluster",
            );
        }
    }
    // ipfail is part of the daemon, and nearly every file of heartbeat has this line. It is not worth a warning.
    if client.text != "ipfail" {
        let message = "`apiauth` has no effect: there is no client protocol";
        reader.report.warning(
            &directive.name.place,
            message,
            "root and the group haclient may control the daemon",
        );
    }
}

pub(super) fn read_env(reader: &mut HaCfReader<'_>, directive: &Directive<'_>) {
    if directive.values.is_empty() {
        return reader
            .report
            .error(&directive.name.place, "`env` needs NAME=value", "");
    }
    for word in &directive.values {
        let Some((name, value)) = word
            .text
            .split_once('=')
            .filter(|(n, _)| is_variable_name(n))
        else {
            let message = format!("{} is not NAME=value", word.quoted());
            reader.report.error(
                &word.place,
                message,
                "a name has letters, digits and `_`; scripts get it as HA_NAME",
            );
            continue;
        };
        if reader.claim_name("env", name, &word.place) {
            reader.lists.env.push((name.to_owned(), value.to_owned()));
        }
    }
}

fn is_variable_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// `timeout NAME start 120s stop 60s`
pub(super) fn read_timeout(reader: &mut HaCfReader<'_>, directive: &Directive<'_>) {
    let Some((name, pairs)) = directive.values.split_first() else {
        let message = "`timeout` needs a resource (or *) and times";
        return reader.report.error(
            &directive.name.place,
            message,
            "for example: timeout drbddisk start 120s stop 60s",
        );
    };
    if !reader.claim_name("timeout", &name.text, &name.place) {
        return;
    }
    let mut rule = TimeoutRule {
        name: name.text.clone(),
        start: None,
        stop: None,
        monitor: None,
    };
    if pairs.is_empty() {
        let message = format!("`timeout {}` sets nothing", name.text);
        return reader.report.error(
            &name.place,
            message,
            "add start, stop or monitor with a time",
        );
    }
    for pair in pairs.chunks(2) {
        if read_deadline(reader, &mut rule, pair).is_none() {
            return;
        }
    }
    reader.lists.timeouts.push((rule, name.place.clone()));
}

fn read_deadline(
    reader: &mut HaCfReader<'_>,
    rule: &mut TimeoutRule,
    pair: &[SourceWord],
) -> Option<()> {
    let action = pair.first()?;
    let slot: &mut Option<Duration> = match action.text.as_str() {
        "start" => &mut rule.start,
        "stop" => &mut rule.stop,
        "monitor" => &mut rule.monitor,
        _ => {
            let help = did_you_mean(&action.text, ["start", "stop", "monitor"]);
            let message = format!(
                "{} is none of `start`, `stop` and `monitor`",
                action.quoted()
            );
            reader.report.error(&action.place, message, help);
            return None;
        }
    };
    let word = reader.option_value(pair, "a time")?;
    reader.refuse_second(action, slot.is_some())?;
    *slot = Some(read_duration(reader, word)?);
    Some(())
}

/// `takeover_waits RESOURCE yes|no`
pub(super) fn read_takeover_waits(reader: &mut HaCfReader<'_>, directive: &Directive<'_>) {
    let help = "for example: takeover_waits myscript yes";
    let [name, answer] = directive.values.as_slice() else {
        let message = "`takeover_waits` needs a resource, and yes or no";
        return reader.report.error(&directive.name.place, message, help);
    };
    let Some(waits) = boolean(&answer.text) else {
        let message = format!("{} is neither yes nor no", answer.quoted());
        return reader.report.error(&answer.place, message, help);
    };
    if reader.claim_name("takeover_waits", &name.text, &name.place) {
        let rule = TakeoverWaitRule {
            name: name.text.clone(),
            waits,
        };
        reader.lists.takeover_waits.push((rule, name.place.clone()));
    }
}
