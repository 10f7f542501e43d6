//! Checks a file system before it is mounted, as heartbeat's `Filesystem` did: only types without a journal that repairs them
//! at the mount, and only repairs that `fsck -p` considers safe. Nothing is ever forced.

use std::path::Path;

use super::arguments::MountArguments;
use crate::agent::exec::system_tool;
use crate::agent::{AgentError, Limits};

/// Types that need no check before a mount.
const NO_CHECK: [&str; 21] = [
    "ext3", "ext4", "xfs", "btrfs", "jfs", "reiserfs", "f2fs", "nilfs2", "ocfs2", "gfs2",
    "bcachefs", "zfs", "ntfs", "ntfs3", "vfat", "exfat", "iso9660", "udf", "squashfs", "erofs",
    "lustre",
];
/// From this exit code on, fsck(8) left errors uncorrected.
const ERRORS_LEFT: i32 = 4;

/// Checks the device if its type needs it.
pub async fn before_mount(
    args: &MountArguments,
    device: &Path,
    limits: &Limits,
) -> Result<(), AgentError> {
    if !args.is_writable() {
        return Ok(());
    }
    let kind = match &args.kind {
        Some(kind) => Some(kind.clone()),
        None => detect_type(device, limits).await?,
    };
    let Some(kind) = kind.filter(|k| !NO_CHECK.contains(&k.as_str())) else {
        return Ok(()); // mount(8) decides about an unknown type
    };
    if system_tool::find(&[&format!("fsck.{kind}")]).is_none() {
        tracing::info!(
            "{} is not checked before the mount: there is no fsck.{kind}",
            device.display()
        );
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
        Some(code) if code < ERRORS_LEFT => {
            tracing::warn!(
                "fsck repaired the file system on {}: {}",
                device.display(),
                done.message
            );
            Ok(())
        }
        _ => Err(AgentError::Failed(format!(
            "{0} has errors that fsck -p cannot repair by itself: {1}; run by hand: fsck -t {kind} {0}",
            device.display(),
            done.message
        ))),
    }
}

/// The type of the file system on a device.
async fn detect_type(device: &Path, limits: &Limits) -> Result<Option<String>, AgentError> {
    let words = ["-p", "-o", "value", "-s", "TYPE", "--"].map(std::ffi::OsStr::new);
    let words: Vec<_> = words.into_iter().chain([device.as_os_str()]).collect();
    let done = system_tool::run("blkid", &words, limits).await?;
    let kind = done.output.trim().to_owned();
    Ok((done.code == Some(0) && !kind.is_empty()).then_some(kind))
}
