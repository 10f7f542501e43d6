//! The first file system of a guest: busybox, and the modules that its disks need.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Needed before the root is mounted.
const MODULES: [&str; 3] = ["virtio_pci", "virtio_blk", "overlay"];
const FOLDER: u32 = 0o40755;
const PROGRAM: u32 = 0o100_755;
const PLAIN: u32 = 0o100_644;

/// Busybox, what it is to run, and the modules from their folder: an archive as the kernel reads it.
pub fn archive(busybox: &[u8], init: &[u8], modules: &Path) -> Vec<u8> {
    let mut archive = Archive::default();
    archive.add("bin", FOLDER, &[]);
    archive.add("modules", FOLDER, &[]);
    archive.add("bin/busybox", PROGRAM, busybox);
    archive.add("init", PROGRAM, init);
    let mut order = String::new();
    for path in load_order(modules) {
        let name = path.rsplit('/').next().unwrap();
        order.push_str(&format!("{name}\n"));
        let content = fs::read(modules.join(&path)).unwrap();
        archive.add(&format!("modules/{name}"), PLAIN, &content);
    }
    archive.add("modules/order", PLAIN, order.as_bytes());
    archive.add("TRAILER!!!", 0, &[]);
    archive.bytes
}

/// The paths of the modules, each after those it needs. One that is not there is built into the kernel.
fn load_order(modules: &Path) -> Vec<String> {
    let text = fs::read_to_string(modules.join("modules.dep")).unwrap();
    let mut needs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, rest) in text.lines().filter_map(|l| l.split_once(':')) {
        let all = std::iter::once(path).chain(rest.split_whitespace());
        let name = path.rsplit('/').next().unwrap();
        let name = name.split('.').next().unwrap().replace('-', "_");
        needs.insert(name, all.map(str::to_owned).collect());
    }
    let mut order: Vec<String> = Vec::new();
    for path in MODULES
        .iter()
        .flat_map(|m| needs.get(*m).into_iter().flatten().rev())
    {
        if !order.contains(path) {
            order.push(path.clone());
        }
    }
    order
}

/// A cpio archive in the format `newc`.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let (size, length) = (content.len(), name.len() + 1);
        // Inode, mode, owner, group, links, time, size, two devices of two numbers, length of the name, no checksum.
        let head = format!(
            "070701{:08X}{mode:08X}{:08X}{:08X}{:08X}{:08X}{size:08X}{:08X}{:08X}{:08X}{:08X}{length:08X}{:08X}",
            self.entries, 0, 0, 1, 0, 0, 0, 0, 0, 0
        );
        self.bytes.extend(head.bytes());
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        let whole = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(whole, 0);
    }
}
