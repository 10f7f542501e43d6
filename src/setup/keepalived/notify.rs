//! The programs that keepalived called: one script calls them with the arguments that they expect.

use std::fmt::Write as _;

use super::command::{command_line, command_line_with, shell_quote};
use super::convert::group_name;
use super::model::{Manager, Notify};
use super::nodes::Node;
use super::routers::RouterGroup;
use crate::setup::folder::NewFile;

/// Its name below the folder.
pub const SCRIPT: &str = "notify.d/keepalived";

const HEAD: &str = "#!/bin/sh
# Calls the programs that keepalived called, with the arguments that they expect. Made by `hactl import keepalived`.
# had runs this after a group has become online, offline, failed or stuck on this node.
case $HA_NOTIFY_TO in
    online) state=MASTER ;;
    offline) state=BACKUP ;;
    *) state=FAULT ;;
esac
";

/// Who is called about one group on one node.
struct Caller<'m> {
    kind: &'static str,
    name: &'m str,
    priority: u32,
    notify: &'m Notify,
}

/// The script, if there is a program to call.
pub fn scripts(groups: &[RouterGroup<'_>], managers: &[Manager], nodes: &[Node]) -> Vec<NewFile> {
    let mut text = String::new();
    for group in groups {
        let Some(name) = group_name(group, managers) else {
            continue;
        };
        for (node, there) in nodes.iter().enumerate() {
            let callers = callers(group, node, managers);
            let calls: String = callers.iter().map(calls).collect();
            if !calls.is_empty() {
                let (host, name) = (shell_quote(&there.name), shell_quote(&name));
                // A write to a string does not fail.
                writeln!(
                    text,
                    "\nif [ \"$HA_CURHOST\" = {host} ] && [ \"$HA_NOTIFY_GROUP\" = {name} ]; then\n{calls}fi"
                )
                .ok();
            }
        }
    }
    if text.is_empty() {
        return Vec::new();
    }
    vec![NewFile::script(SCRIPT, format!("{HEAD}{text}"))]
}

fn callers<'m>(group: &RouterGroup<'m>, node: usize, managers: &'m [Manager]) -> Vec<Caller<'m>> {
    let mut all = Vec::new();
    let sync = group.sync.and_then(|sync| {
        let there = managers.get(node)?.sync_groups.iter();
        there.into_iter().find(|g| g.name.text == sync.name.text)
    });
    if let Some(sync) = sync {
        all.push(Caller {
            kind: "GROUP",
            name: &sync.name.text,
            priority: 0,
            notify: &sync.notify,
        });
    }
    for router in &group.routers {
        let instance = router.instances.get(node).copied().flatten();
        if let Some(instance) = instance {
            all.push(Caller {
                kind: "INSTANCE",
                name: &instance.name.text,
                priority: instance.priority,
                notify: &instance.notify,
            });
        }
    }
    all.retain(|caller| !caller.notify.is_empty());
    all
}

/// The lines that call the programs of one instance.
fn calls(caller: &Caller<'_>) -> String {
    let notify = caller.notify;
    let mut text = String::new();
    for (state, program) in [
        ("MASTER", &notify.master),
        ("BACKUP", &notify.backup),
        ("FAULT", &notify.fault),
    ] {
        if let Some(program) = program {
            let line = command_line(&program.text);
            text += &format!("    if [ \"$state\" = {state} ]; then\n        {line}\n    fi\n");
        }
    }
    if let Some(program) = &notify.any {
        let arguments = format!(
            "{} {} \"$state\" {}",
            caller.kind,
            shell_quote(caller.name),
            caller.priority
        );
        text += &format!("    {}\n", command_line_with(&program.text, &arguments));
    }
    text
}
