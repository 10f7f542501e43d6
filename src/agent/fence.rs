//! Runs fence agents, as the `fence-agents` package has them: options as `name=value` lines on standard input, among them the
//! action; exit code 0 is success, and for `status` 0 is on, and 2 with the word `OFF` in the output is off. The machine counts
//! as off only when each part of a level was told so and says so.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::agent::exec::blocking::run_apart;
use crate::agent::exec::supervise::{self, Ended, Streams};
use crate::agent::exec::{failure, system_tool};
use crate::agent::{Abort, Limits};
use crate::model::NodeName;
use crate::model::fence_device::{FenceDevice, FenceLevel, FencePart, OptionValue};
use crate::model::fencing::{FenceCall, Power};
use crate::sys::foreign_file;

/// The deadline of a call that switches.
const SWITCH_TIMEOUT: Duration = Duration::from_secs(60);
/// The deadline of a call that only asks, and of reading a file.
const STATUS_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest file with the value of an option.
const MAX_VALUE_BYTES: u64 = 4096;
/// All options together fit into a pipe, which is filled before the agent starts.
const MAX_INPUT_BYTES: usize = 32 * 1024;
/// How many of the last lines of its output an error shows.
const SHOWN_LINES: usize = 2;
/// What an agent says of a machine by its exit code.
const EXIT_ON: i32 = 0;
const EXIT_OFF: i32 = 2;

/// Tells or asks the power switches of a node's machine. The levels are tried in order.
///
/// # Errors
/// What went wrong on every level.
pub async fn call_device(
    device: &FenceDevice,
    call: FenceCall,
    abort: &Abort,
) -> Result<Power, String> {
    let mut errors = Vec::new();
    for level in &device.levels {
        match call_level(level, &device.node, call, abort).await {
            Ok(power) => return Ok(power),
            Err(error) => errors.push(error),
        }
    }
    Err(errors.join("; then "))
}

async fn call_level(
    level: &FenceLevel,
    node: &NodeName,
    call: FenceCall,
    abort: &Abort,
) -> Result<Power, String> {
    if call != FenceCall::Status {
        for part in &level.parts {
            let (code, output) = run_agent(part, node, call, abort).await?;
            if code != 0 {
                return Err(format!(
                    "{}: {} failed with exit code {code}{output}",
                    part.agent,
                    call.as_str()
                ));
            }
        }
    }
    let mut all = Power::Off;
    for part in &level.parts {
        let power = ask_part(part, node, abort).await?;
        if call == FenceCall::Off && power == Power::On {
            return Err(format!(
                "{}: still on after it was switched off",
                part.agent
            ));
        }
        if power == Power::On {
            all = Power::On;
        }
    }
    Ok(all)
}

/// Whether one part has power.
///
/// # Errors
/// That it does not say.
pub async fn ask_part(part: &FencePart, node: &NodeName, abort: &Abort) -> Result<Power, String> {
    let (code, output) = run_agent(part, node, FenceCall::Status, abort).await?;
    match code {
        EXIT_ON => Ok(Power::On),
        EXIT_OFF if says_off(&output) => Ok(Power::Off),
        EXIT_OFF => Err(format!(
            "{}: status ended with exit code 2 and does not say OFF, as agents of fence-agents do: it may be an error{output}",
            part.agent
        )),
        _ => Err(format!(
            "{}: status failed with exit code {code}{output}",
            part.agent
        )),
    }
}

/// Shells and interpreters end with the same exit code where the agent itself is broken.
fn says_off(output: &str) -> bool {
    let mut words = output.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|word| word.eq_ignore_ascii_case("off"))
}

/// Its exit code, and the end of what it wrote.
async fn run_agent(
    part: &FencePart,
    node: &NodeName,
    call: FenceCall,
    abort: &Abort,
) -> Result<(i32, String), String> {
    let named = |text: String| format!("{}: {text}", part.agent);
    let (input, secrets) = input_of(part, node, call, abort).await.map_err(named)?;
    let input = filled_pipe(&input).map_err(|e| named(format!("cannot pass its options: {e}")))?;
    let mut command = Command::new(&part.program);
    command.current_dir("/").env_clear();
    command.envs([
        ("PATH", system_tool::PATH),
        ("LC_ALL", "C"),
        ("HOME", "/root"),
    ]);
    let timeout = match call {
        FenceCall::Status => STATUS_TIMEOUT,
        FenceCall::Off | FenceCall::On => SWITCH_TIMEOUT,
    };
    let limits = Limits::within(timeout, abort);
    let report = supervise::run_with_input(command, input, Streams::Merged, &limits)
        .await
        .map_err(|e| named(format!("cannot be run: {e}")))?;
    let mut output = report.output.last_lines(SHOWN_LINES);
    for secret in secrets.iter().filter(|s| !s.is_empty()) {
        output = output.replace(secret, "***");
    }
    match report.ended {
        Ended::Exited(status) => match status.code() {
            Some(code) if output.is_empty() => Ok((code, output)),
            Some(code) => Ok((code, format!(": {output}"))),
            None => Err(failure(&part.agent, report.ended, &output).to_string()),
        },
        other => {
            let what = format!("{} {}", part.agent, call.as_str());
            Err(failure(&what, other, &output).to_string())
        }
    }
}

/// What the agent reads, and the values that no text may show.
async fn input_of(
    part: &FencePart,
    node: &NodeName,
    call: FenceCall,
    abort: &Abort,
) -> Result<(String, Vec<String>), String> {
    let mut input = format!("action={}\nnodename={node}\n", call.as_str());
    let mut secrets = Vec::new();
    for (name, value) in &part.options {
        let value = match value {
            OptionValue::Plain(text) => text.clone(),
            OptionValue::File(path) => {
                let value = read_value(path, abort).await?;
                secrets.push(value.clone());
                value
            }
        };
        input.push_str(&format!("{name}={value}\n"));
    }
    if input.len() > MAX_INPUT_BYTES {
        return Err("its options are too long".to_owned());
    }
    Ok((input, secrets))
}

/// The first line of a file. The disk that it is on may hang.
async fn read_value(path: &Path, abort: &Abort) -> Result<String, String> {
    let shown = path.display().to_string();
    let limits = Limits::within(STATUS_TIMEOUT, abort);
    let path = path.to_owned();
    let what = format!("reading {shown}");
    let read = run_apart(&limits, &what, || async move {
        foreign_file::read_secret(&path, MAX_VALUE_BYTES)
    });
    let text = read.await.map_err(|e| e.to_string())?;
    let text = text.map_err(|e| format!("cannot read {shown}: {e}"))?;
    Ok(text.lines().next().unwrap_or("").to_owned())
}

/// A pipe with this text in it, and nothing after it.
fn filled_pipe(text: &str) -> io::Result<Stdio> {
    let (reader, mut writer) = io::pipe()?;
    writer.write_all(text.as_bytes())?;
    Ok(Stdio::from(reader))
}

#[cfg(test)]
mod tests;
