//! The check of a file system before it is mounted, as heartbeat's own `Filesystem` made it: only for types that do not
//! mend themselves from their journal when they are mounted, and only what `fsck -p` thinks safe. Nothing is ever forced.

use std::path::Path;

use super::arguments::Arguments;
use crate::agent::exec::system_tool;
use crate::agent::{AgentError, Limits};

/// Types whose journal, or nature, makes a check before a mount needless.
const NEVER: [&str; 21] = [
    "ext3", "ext4", "xfs", "btrfs", "jfs", "reiserfs", "f2fs", "nilfs2", "ocfs2", "gfs2",
    "bcachefs", "zfs", "ntfs", "ntfs3", "vfat", "exfat", "iso9660", "udf", "squashfs", "erofs",
    "lustre",
];
/// Exit codes of fsck(8) from here on mean that errors are left.
const LEFT: i32 = 4;

/// Checks the device if its type wants it.
pub async fn before_mount(
    args: &Arguments,
    device: &Path,
    limits: &Limits,
) -> Result<(), AgentError> {
    if !args.writable() {
        return Ok(());
    }
    let kind = match &args.kind {
        Some(kind) => Some(kind.clone()),
        None => detected(device, limits).await?,
    };
    let Some(kind) = kind.filter(|k| !NEVER.contains(&k.as_str())) else {
        return Ok(()); // what is unknown here is for mount(8) to judge
    };
    if system_tool::find(&[&format!("fsck.{kind}")]).is_none() {
        tracing::info!(device = %device.display(), "not checked before the mount: there is no fsck.{kind}");
        return Ok(());
    }
    let words = [
        "-T".as_ref(),
        "-t".as_ref(),
        kind.as_ref(),
        "-p".as_ref(),
        device.as_os_str(),
    ];
    let done = system_tool::run("fsck", &words, limits).await?;
    match done.code {
        Some(0) => Ok(()),
        Some(code) if code < LEFT => {
            tracing::warn!(device = %device.display(), "fsck mended the file system: {}", done.said);
            Ok(())
        }
        _ => Err(AgentError::Failed(format!(
            "{0} has errors that fsck -p does not mend by itself: {1}; look at it with: fsck -t {kind} {0}",
            device.display(),
            done.said
        ))),
    }
}

/// The type that is written on a device.
async fn detected(device: &Path, limits: &Limits) -> Result<Option<String>, AgentError> {
    let words = ["-p", "-o", "value", "-s", "TYPE", "--"].map(std::ffi::OsStr::new);
    let words: Vec<_> = words.into_iter().chain([device.as_os_str()]).collect();
    let done = system_tool::run("blkid", &words, limits).await?;
    let kind = done.output.trim().to_owned();
    Ok((done.code == Some(0) && !kind.is_empty()).then_some(kind))
}
