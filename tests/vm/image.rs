//! What the guests boot: a kernel, an initramfs and one root image for all, made of Debian's packages. The packages are
//! downloaded by apt and unpacked; none of their scripts runs, and nothing is installed on this machine.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use crate::command::{finish, run};
use crate::initramfs;

const KERNEL: &str = "linux-image-cloud-amd64";
/// With what they depend on, the whole of a guest. `systemd` is there for those that boot it, `heartbeat` for the
/// comparison with it.
const PACKAGES: [&str; 34] = [
    "bash",
    "bsdutils",
    "busybox-static",
    "coreutils",
    "dash",
    "debianutils",
    "drbd-utils",
    "e2fsprogs",
    "findutils",
    "gawk",
    "grep",
    "gzip",
    "heartbeat",
    "hostname",
    "iproute2",
    "iputils-arping",
    "iputils-ping",
    "kmod",
    "mariadb-client-core",
    "mariadb-server-core",
    "mawk",
    "mount",
    "net-tools",
    "nftables",
    "procps",
    "psmisc",
    "qemu-guest-agent",
    "resource-agents",
    "sed",
    "systemd",
    "sysvinit-utils",
    "tar",
    "tcpdump",
    "util-linux",
];
const FOLDERS: [&str; 16] = [
    "usr/bin",
    "usr/sbin",
    "usr/lib",
    "usr/lib64",
    "etc",
    "var/log",
    "var/tmp",
    "var/lib/heartbeat",
    "var/lib/drbd",
    "run",
    "tmp",
    "proc",
    "sys",
    "dev",
    "root",
    "mnt",
];
/// Nobody reads them in a guest.
const NOT_NEEDED: [&str; 7] = ["doc", "man", "locale", "info", "lintian", "bug", "icons"];
const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash
nobody:x:65534:65534:nobody:/:/bin/false
hacluster:x:101:101::/var/lib/heartbeat:/bin/false
mysql:x:102:102::/nonexistent:/bin/false
";
const GROUP: &str =
    "root:x:0:\ntty:x:5:\ndisk:x:6:\nnogroup:x:65534:\nhaclient:x:101:\nmysql:x:102:\n";
const NSSWITCH: &str = "passwd: files\ngroup: files\nhosts: files\n";
/// The log on the console outlives the guest, the one on its disk outlives a boot.
const JOURNALD: &str =
    "[Journal]\nForwardToConsole=yes\nMaxLevelConsole=info\nStorage=persistent\nRateLimitBurst=0\n";

/// Where the parts of a boot are.
#[derive(Clone)]
pub struct Image {
    pub kernel: PathBuf,
    pub initramfs: PathBuf,
    pub root: PathBuf,
}

/// The image, built unless it is in the cache: `$HAD_VM_CACHE`, or `target/vm`.
pub fn image() -> Image {
    let default = || Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("vm");
    let cache = std::env::var_os("HAD_VM_CACHE").map_or_else(default, PathBuf::from);
    fs::create_dir_all(&cache).unwrap();
    let home = cache.join(format!("image-{}", recipe()));
    if !home.join("root.img").exists() {
        let packages = download(&cache);
        forget_older(&cache);
        let work = tempfile::tempdir_in(&cache).unwrap();
        build(&packages, work.path());
        fs::rename(work.path().join("out"), &home).unwrap();
    }
    Image {
        kernel: home.join("vmlinuz"),
        initramfs: home.join("initramfs"),
        root: home.join("root.img"),
    }
}

/// One image is enough to keep.
fn forget_older(cache: &Path) {
    for path in entries(cache) {
        let name = path.file_name().unwrap().to_string_lossy();
        if name.starts_with("image-") {
            fs::remove_dir_all(&path).unwrap();
        }
    }
}

fn guest(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vm/guest")
        .join(name)
}

/// A short name for all that goes into an image.
fn recipe() -> String {
    let mut digest = Sha256::new();
    digest.update(include_str!("image.rs"));
    digest.update(include_str!("initramfs.rs"));
    let mut files: Vec<PathBuf> = entries(&guest(""));
    files.sort();
    for file in files {
        digest.update(fs::read(file).unwrap());
    }
    short(&digest.finalize())
}

fn short(digest: &[u8]) -> String {
    let number = digest.iter().take(6).fold(0, |n, b| n << 8 | u64::from(*b));
    format!("{number:012x}")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    found.map(|e| e.unwrap().path()).collect()
}

/// The packages of this Debian with all they need, in a folder; the kernel's in one below.
fn download(cache: &Path) -> PathBuf {
    let digest = Sha256::digest(PACKAGES.concat());
    let home = cache.join(format!("packages-{}", short(&digest)));
    if home.join("complete").exists() {
        return home;
    }
    println!("vm: downloading packages");
    fs::create_dir_all(home.join("partial")).unwrap();
    fs::create_dir_all(home.join("kernel")).unwrap();
    // To apt this machine has no package, so that it fetches every one.
    let nothing = home.join("status");
    fs::write(&nothing, "").unwrap();
    let options = [
        format!("Dir::State::status={}", nothing.display()),
        format!("Dir::Cache::archives={}/", home.display()),
        "APT::Install-Recommends=false".to_owned(),
        "APT::Sandbox::User=root".to_owned(),
        "Debug::NoLocking=true".to_owned(),
    ];
    let mut apt = apt("apt-get");
    apt.args(["install", "-y", "--download-only"]);
    for option in &options {
        apt.args(["-o", option]);
    }
    finish(apt.args(PACKAGES));
    let mut apt = self::apt("apt-get");
    apt.args(["download", "-o", "APT::Sandbox::User=root", &kernel()]);
    finish(apt.current_dir(home.join("kernel")));
    fs::write(home.join("complete"), "").unwrap();
    home
}

fn apt(program: &str) -> Command {
    let mut apt = Command::new(program);
    apt.env("LC_ALL", "C")
        .env("DEBIAN_FRONTEND", "noninteractive");
    apt
}

/// The package that the name without a version stands for.
fn kernel() -> String {
    let depends = finish(apt("apt-cache").args(["depends", "--important", KERNEL]));
    let mut words = depends.split_whitespace();
    let found = words.find(|w| w.starts_with("linux-image-") && *w != KERNEL);
    found
        .unwrap_or_else(|| panic!("{KERNEL} names no kernel: {depends}"))
        .to_owned()
}

fn build(packages: &Path, work: &Path) {
    println!("vm: building the image");
    let (root, out, kernel) = (work.join("root"), work.join("out"), work.join("kernel"));
    fs::create_dir(&out).unwrap();
    unpack(packages, &root);
    let deb = only(&packages.join("kernel"));
    run("dpkg-deb", &[Path::new("-x"), &deb, &kernel]);
    let modules = only(&kernel.join("lib/modules"));
    let version = modules.file_name().unwrap().to_str().unwrap();
    fs::copy(
        kernel.join(format!("boot/vmlinuz-{version}")),
        out.join("vmlinuz"),
    )
    .unwrap();
    fs::create_dir_all(root.join("usr/lib/modules")).unwrap();
    let place = root.join("usr/lib/modules").join(version);
    fs::rename(&modules, &place).unwrap();
    run(
        "depmod",
        &["-b".as_ref(), root.as_os_str(), version.as_ref()],
    );
    furnish(&root);
    let busybox = fs::read(root.join("bin/busybox")).unwrap();
    let init = fs::read(guest("initramfs-init")).unwrap();
    let archive = initramfs::archive(&busybox, &init, &place);
    fs::write(out.join("initramfs"), archive).unwrap();
    write_image(&root, &out.join("root.img"));
}

/// The one entry of a folder.
fn only(folder: &Path) -> PathBuf {
    let found = entries(folder);
    assert_eq!(found.len(), 1, "{}: {found:?}", folder.display());
    found[0].clone()
}

fn unpack(packages: &Path, root: &Path) {
    for folder in FOLDERS {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    for name in ["bin", "sbin", "lib", "lib64"] {
        symlink(format!("usr/{name}"), root.join(name)).unwrap();
    }
    let mut debs = entries(packages);
    debs.retain(|p| p.extension().is_some_and(|e| e == "deb"));
    debs.sort();
    for deb in debs {
        let mut dpkg = Command::new("dpkg-deb")
            .arg("--fsys-tarfile")
            .arg(&deb)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stream = dpkg.stdout.take().unwrap();
        let tar = Command::new("tar")
            .arg("-xC")
            .arg(root)
            .arg("--keep-directory-symlink")
            .stdin(stream)
            .status();
        let good = tar.unwrap().success() && dpkg.wait().unwrap().success();
        assert!(good, "cannot unpack {}", deb.display());
    }
    for name in NOT_NEEDED {
        drop(fs::remove_dir_all(root.join("usr/share").join(name)));
    }
}

/// What the packages' scripts would have done, and what makes it a guest of ours.
fn furnish(root: &Path) {
    let write = |name: &str, text: &str| {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("etc/passwd", PASSWD);
    write("etc/group", GROUP);
    write("etc/nsswitch.conf", NSSWITCH);
    write("etc/machine-id", "4ad0000000000000000000000000cafe\n");
    write("etc/systemd/journald.conf.d/guest.conf", JOURNALD);
    for (name, target) in [
        ("usr/bin/awk", "gawk"),
        ("usr/bin/sh", "dash"),
        ("usr/bin/which", "which.debianutils"),
        ("etc/mtab", "../proc/self/mounts"),
        ("usr/lib/guest/init", "/bin/busybox"),
        (
            "etc/systemd/system/default.target",
            "/lib/systemd/system/multi-user.target",
        ),
        ("etc/systemd/system/getty.target", "/dev/null"),
        ("etc/systemd/system/systemd-networkd.service", "/dev/null"),
    ] {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if path.symlink_metadata().is_err() {
            symlink(target, path).unwrap();
        }
    }
    let own = |name: &str, place: &str, mode: u32| {
        let place = root.join(place);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(guest(name), &place).unwrap();
        fs::set_permissions(place, fs::Permissions::from_mode(mode)).unwrap();
    };
    own("inittab", "etc/inittab", 0o644);
    own("boot", "usr/lib/guest/boot", 0o755);
    own("halt", "usr/lib/guest/halt", 0o755);
    for unit in ["guest-boot.service", "guest-agent.service"] {
        own(unit, &format!("etc/systemd/system/{unit}"), 0o644);
        let wanted = root.join("etc/systemd/system/multi-user.target.wants");
        fs::create_dir_all(&wanted).unwrap();
        symlink(format!("../{unit}"), wanted.join(unit)).unwrap();
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
}

/// Without a journal: nobody writes to it.
fn write_image(root: &Path, image: &Path) {
    let size = run("du", &["-sm".as_ref(), root.as_os_str()]);
    let size: u64 = size.split_whitespace().next().unwrap().parse().unwrap();
    let half = image.with_extension("half");
    finish(
        Command::new("mke2fs")
            .args(["-q", "-t", "ext4", "-O", "^has_journal", "-m", "0"])
            .args(["-E", "root_owner=0:0", "-d"])
            .args([root, &half])
            .arg(format!("{}M", size * 12 / 10 + 32)),
    );
    fs::rename(half, image).unwrap();
}
