//! `hactl restart`: the program that is going to run reads the configuration first. With an error in it no daemon would come
//! back, and the other nodes would take over after having waited. So then the running one goes on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::daemon::Daemon;
use super::reload::ReloadProgress;
use super::serve::ReplySender;
use crate::agent::exec::blocking::run_apart;
use crate::agent::exec::system_tool;
use crate::agent::{Abort, Limits};
use crate::assembly::reload_plan::refusals;
use crate::control::api::{Refusal, RefusalCode};
use crate::engine::{Asker, Command};

/// For how long the peers wait for this node.
const RESTART_WITHIN: Duration = Duration::from_secs(30);
/// Time for the other program to read the configuration.
const CHECK_TIMEOUT: Duration = Duration::from_secs(25);
/// What the kernel adds to the path of a program that was replaced while it runs.
const REPLACED: &str = " (deleted)";
/// The exit code of a program that does not know an option: an older version, which cannot check.
const EXIT_USAGE: i32 = 2;

impl Daemon {
    /// Has the configuration checked and judged, and then restarts. With `force` it is not judged.
    pub(super) fn begin_restart(&mut self, force: bool, asker: Asker, reply: ReplySender) {
        let folder = self.folders.config.clone();
        let progress = self.reload.progress();
        let judge = self.read_and_judge();
        tokio::spawn(async move {
            let mut result = match next_program() {
                Ok(program) => check_configuration(&program, &folder).await,
                Err(text) => Err(text),
            };
            if result.is_ok() && !force {
                result = judge
                    .await
                    .map_or_else(|e| not_judged(&e), |(_, against)| refuse(&against));
            }
            drop(progress.send(ReloadProgress::RestartChecked {
                asker,
                reply,
                result,
            }));
        });
    }

    /// Restarts, unless the next daemon would not start.
    pub(super) fn restart_if_good(
        &mut self,
        asker: Asker,
        reply: ReplySender,
        result: Result<(), String>,
    ) {
        match result {
            Ok(()) => {
                let back_within = RESTART_WITHIN;
                self.give_command(Command::Restart { back_within }, asker, reply);
            }
            // The client may have gone away.
            Err(text) => drop(reply.send(Err(Refusal::new(RefusalCode::Refused, text)))),
        }
    }
}

/// Refuses a restart that would read files with reasons against them.
fn refuse(against: &[String]) -> Result<(), String> {
    if against.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{}\nnothing was done; to restart all the same: hactl restart --force",
        refusals(against).join("\n")
    ))
}

/// Refuses a restart with files that only the next program can read.
fn not_judged(error: &str) -> Result<(), String> {
    Err(format!(
        "the running daemon cannot read the new configuration, so it does not know whether a restart costs quorum; nothing was done; to restart all the same: hactl restart --force\n{error}"
    ))
}

/// The program that the service manager starts: the file at the place of ours, which may have been replaced.
fn next_program() -> Result<PathBuf, String> {
    let ours = std::env::current_exe()
        .map_err(|e| format!("cannot find the program of the daemon: {e}; nothing was done"))?;
    let text = ours.to_string_lossy();
    Ok(PathBuf::from(text.strip_suffix(REPLACED).unwrap_or(&text)))
}

/// Whether that program would start with the files in this folder.
async fn check_configuration(program: &Path, folder: &Path) -> Result<(), String> {
    let limits = Limits::within(CHECK_TIMEOUT, &Abort::new());
    let name = program.to_string_lossy().into_owned();
    let args = ["--check".as_ref(), "--config".as_ref(), folder.as_os_str()];
    let args = args.map(std::ffi::OsStr::to_owned);
    let (run_name, run_limits) = (name.clone(), limits.clone());
    let check = move || async move { system_tool::run(&run_name, &args, &run_limits).await };
    let refused = |text: &str| {
        format!(
            "{name} would not start; nothing was done, and the running daemon goes on:\n{}",
            text.trim_end()
        )
    };
    match run_apart(&limits, "the check of the configuration", check).await {
        Ok(Ok(tool)) => match tool.code {
            Some(0 | EXIT_USAGE) => Ok(()),
            _ if tool.output.trim().is_empty() => Err(refused(&tool.message)),
            _ => Err(refused(&tool.output)),
        },
        Ok(Err(error)) | Err(error) => Err(refused(&error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_restart_is_refused_with_each_reason_against_the_new_files() {
        assert_eq!(refuse(&[]), Ok(()));
        let said = refuse(&["votes go".to_owned(), "bob is heard".to_owned()]).unwrap_err();
        assert_eq!(
            said,
            "refused without --force: votes go\nrefused without --force: bob is heard\n\
             nothing was done; to restart all the same: hactl restart --force"
        );
    }

    #[tokio::test]
    async fn a_restart_depends_on_what_the_next_program_says() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("had");
        for (script, refused) in [
            ("exit 0", None),
            ("echo unknown option >&2; exit 2", None),
            (
                "echo \"$1 $2: 1 error\"; exit 1",
                Some("--check --config: 1 error"),
            ),
            ("echo it is broken >&2; exit 127", Some("it is broken")),
            ("kill -9 $$", Some("would not start")),
        ] {
            fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
            let result = check_configuration(&program, folder.path()).await;
            match refused {
                None => assert_eq!(result, Ok(()), "{script}"),
                Some(text) => {
                    let said = result.unwrap_err();
                    assert!(said.contains(text), "{script}: {said}");
                    assert!(said.contains("the running daemon goes on"), "{said}");
                }
            }
        }
        let missing = check_configuration(&folder.path().join("none"), folder.path()).await;
        assert!(missing.unwrap_err().contains("cannot run"));
    }
}
