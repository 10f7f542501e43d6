//! Blocks to the model: the file itself, `global_defs` and `vrrp_sync_group`.

use std::path::Path;

use super::blocks::Entry;
use super::model::{Manager, Notify, SyncGroup};
use super::{instance, keywords, servers, tracked};
use crate::text::{Place, Problems};

/// Blocks of one kind that are read.
const MAX_BLOCKS: usize = 1000;

const TOP: [&str; 6] = [
    "global_defs",
    "vrrp_instance",
    "vrrp_sync_group",
    "vrrp_script",
    "vrrp_track_process",
    "virtual_server",
];
const NOTIFY: [&str; 4] = ["notify", "notify_master", "notify_backup", "notify_fault"];

/// What the file of one node says.
pub fn read(entries: &[Entry], file: &Path, report: &mut Problems) -> Manager {
    let mut manager = Manager {
        file: file.to_owned(),
        router_id: None,
        instances: Vec::new(),
        sync_groups: Vec::new(),
        tracked: Vec::new(),
        refresh: None,
    };
    let mut version = 2;
    for entry in entries {
        match entry.keyword() {
            "global_defs" => version = read_global(entry, &mut manager, report).unwrap_or(version),
            "vrrp_instance" => {
                manager
                    .instances
                    .extend(instance::read(entry, version, report));
            }
            "vrrp_sync_group" => manager.sync_groups.extend(read_sync_group(entry, report)),
            "vrrp_script" | "vrrp_track_process" | "track_process" => {
                manager.tracked.extend(tracked::read(entry, report));
            }
            "virtual_server" => servers::read(entry, &mut manager, report),
            _ => keywords::remark(entry, keywords::TOP, &TOP, report),
        }
    }
    limit(&mut manager, file, report);
    judge_names(&manager, report);
    remark_on_password(&manager, report);
    remark_on_notify(&manager, report);
    manager
}

/// More is a mistake, and would take long.
fn limit(manager: &mut Manager, file: &Path, report: &mut Problems) {
    let most = manager.instances.len().max(manager.tracked.len());
    if most.max(manager.sync_groups.len()) > MAX_BLOCKS {
        let message = format!("there are more than {MAX_BLOCKS} blocks of one kind");
        report.error(&Place::whole(file), message, "");
    }
    manager.instances.truncate(MAX_BLOCKS);
    manager.tracked.truncate(MAX_BLOCKS);
    manager.sync_groups.truncate(MAX_BLOCKS);
}

/// Reads `global_defs`; gives back the version of VRRP if it sets one.
fn read_global(entry: &Entry, manager: &mut Manager, report: &mut Problems) -> Option<u32> {
    const READ: [&str; 3] = ["router_id", "vrrp_version", "vrrp_garp_master_refresh"];
    let mut version = None;
    for line in &entry.body {
        let number = || line.value().and_then(|w| w.text.parse::<u32>().ok());
        match line.keyword() {
            "router_id" => manager.router_id = line.value().cloned(),
            "vrrp_version" => version = number().filter(|n| matches!(n, 2 | 3)),
            "vrrp_garp_master_refresh" => manager.refresh = number().filter(|n| *n > 0),
            _ => keywords::remark(line, keywords::GLOBAL, &READ, report),
        }
    }
    version
}

fn read_sync_group(entry: &Entry, report: &mut Problems) -> Option<SyncGroup> {
    const READ: [&str; 4] = ["group", "track_script", "track_process", "track_interface"];
    let Some(name) = entry.value() else {
        report.warning(&entry.place(), "this group has no name", "");
        return None;
    };
    let mut group = SyncGroup {
        name: name.clone(),
        members: Vec::new(),
        tracks: Vec::new(),
        notify: Notify::default(),
    };
    for line in &entry.body {
        match line.keyword() {
            "group" => {
                let words = line.body.iter().flat_map(|row| &row.words);
                group.members.extend(words.cloned());
            }
            "track_script" | "track_process" | "track_interface" => {
                group.tracks.extend(tracked::read_tracks(line, report));
            }
            keyword if NOTIFY.contains(&keyword) => read_notify(line, &mut group.notify, report),
            _ => keywords::remark(line, keywords::SYNC_GROUP, &READ, report),
        }
    }
    Some(group)
}

/// Whether it is a line about a program that is called.
pub fn is_notify(keyword: &str) -> bool {
    NOTIFY.contains(&keyword)
}

/// Reads a line about a program that is called. What stands after it is the user and the group as whom it ran.
pub fn read_notify(line: &Entry, notify: &mut Notify, report: &mut Problems) {
    let Some(program) = line.value() else {
        let message = format!("`{}` names no program", line.keyword());
        return report.warning(&line.place(), message, "");
    };
    let slot = match line.keyword() {
        "notify" => &mut notify.any,
        "notify_master" => &mut notify.master,
        "notify_backup" => &mut notify.backup,
        _ => &mut notify.fault,
    };
    *slot = Some(program.clone());
    if let Some(user) = line.words.get(2) {
        let message = format!("{} runs as root here", crate::text::quote(&program.text));
        report.note(&user.place, message, "");
    }
}

/// Instances with one name, or one number on one interface, and groups that name what is not there.
fn judge_names(manager: &Manager, report: &mut Problems) {
    let all = &manager.instances;
    for (nth, instance) in all.iter().enumerate() {
        for before in all.iter().take(nth) {
            if before.name.text == instance.name.text {
                same_again(
                    &instance.name.place,
                    "the name of an instance",
                    &before.name.place,
                    report,
                );
            }
            let number = |i: &super::model::Instance| i.router_id.as_ref().map(|w| w.text.clone());
            let interface =
                |i: &super::model::Instance| i.interface.as_ref().map(|w| w.text.clone());
            let six =
                |i: &super::model::Instance| i.addresses.first().is_some_and(|a| a.ip.is_ipv6());
            if let (Some(router_id), true) =
                (&instance.router_id, number(before) == number(instance))
                && interface(before) == interface(instance)
                && six(before) == six(instance)
            {
                same_again(
                    &router_id.place,
                    "virtual_router_id on this interface",
                    &before.name.place,
                    report,
                );
            }
        }
    }
    for group in &manager.sync_groups {
        for member in group
            .members
            .iter()
            .filter(|m| manager.instance(&m.text).is_none())
        {
            let message = format!(
                "there is no vrrp_instance {}",
                crate::text::quote(&member.text)
            );
            report.warning(&member.place, message, "");
        }
    }
}

fn same_again(place: &Place, what: &str, before: &Place, report: &mut Problems) {
    let message = format!(
        "{what} is used by the instance on line {} already",
        before.line
    );
    report.warning(
        place,
        message,
        "keepalived refuses such a file, or the two disturb each other",
    );
}

/// Once for a file.
fn remark_on_password(manager: &Manager, report: &mut Problems) {
    let first = manager.instances.iter().find_map(|i| i.auth_pass.as_ref());
    if let Some(word) = first {
        let message = "the password is not taken over: authkeys has a new random key";
        let help =
            "auth_pass goes over the network in clear, so it keeps nobody out who can listen";
        report.note(&word.place, message, help);
    }
}

/// What is different for each program that is called.
fn remark_on_notify(manager: &Manager, report: &mut Problems) {
    let instances = manager.instances.iter().map(|i| &i.notify);
    let groups = manager.sync_groups.iter().map(|g| &g.notify);
    for notify in instances.chain(groups) {
        for (program, when) in [
            (
                &notify.any,
                "after the whole group has started, stopped or failed here",
            ),
            (&notify.master, "after the whole group has started here"),
            (
                &notify.backup,
                "after the whole group has stopped here, and not when had starts without it",
            ),
            (
                &notify.fault,
                "only when the group has failed here or is stuck: a check or an interface that fails stops the group, which is notify_backup",
            ),
        ] {
            if let Some(program) = program {
                let message = format!("this is called from notify.d/keepalived, {when}");
                let help = "the programs of a group have 30 s together, then they are killed; what starts and stops a service belongs into haresources, beside the address";
                report.note(&program.place, message, help);
            }
        }
    }
}
