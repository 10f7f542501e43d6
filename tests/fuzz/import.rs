//! Files of keepalived: whatever stands in them, the import says in words that do no harm what it thinks of them; and what it
//! writes has no errors.

use std::path::{Path, PathBuf};

use had::setup::folder;
use had::setup::keepalived::source::Files;
use had::setup::keepalived::{Wanted, import};
use had::text::printable_char;

use crate::harness::Target;

const RUNS: u64 = 500;

/// Both nodes have this text, and include it, and their scripts have it too.
struct Everywhere(String);

impl Files for Everywhere {
    fn read(&self, _path: &Path) -> Result<String, String> {
        Ok(self.0.clone())
    }

    fn matching(&self, pattern: &str) -> Vec<PathBuf> {
        vec![PathBuf::from(pattern)]
    }
}

fn is_conf(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|e| e == "conf")
}

/// The inputs of the cases in `tests/import`.
fn examples() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import");
    let mut found = Vec::new();
    for name in ["published.txt", "shapes.txt"] {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        for part in text.split("\n-- ") {
            if let Some((name, body)) = part.split_once('\n')
                && is_conf(name)
            {
                found.push(body.as_bytes().to_vec());
            }
        }
    }
    assert!(found.len() > 20);
    found
}

fn try_import(bytes: &[u8]) {
    let wanted = Wanted {
        files: ["a.conf", "b.conf"].map(PathBuf::from).to_vec(),
        nodes: [("a", "10.0.0.1"), ("b", "10.0.0.2")]
            .map(|(name, address)| (name.to_owned(), vec![address.parse().unwrap()]))
            .to_vec(),
        pings: Vec::new(),
    };
    let files = Everywhere(String::from_utf8_lossy(bytes).into_owned());
    let imported = import(&wanted, &files);
    let report = imported.problems.to_string();
    assert!(report.len() < 1 << 20, "{} bytes", report.len());
    let steers =
        |c: &char| *c != '\n' && printable_char(*c) != *c && *c != char::REPLACEMENT_CHARACTER;
    let obeyed = report.chars().find(steers);
    assert_eq!(obeyed, None, "a terminal would obey {report:?}");
    let Some(draft) = imported.draft else {
        assert!(!report.is_empty(), "refused without a word");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let mut files = folder::files(&draft).unwrap();
    files.extend(imported.scripts);
    assert_eq!(folder::write(dir.path(), &files), Ok(()));
    for script in files.iter().filter(|f| f.text.starts_with("#!")) {
        let path = dir.path().join(&script.name);
        let output = std::process::Command::new("sh")
            .arg("-n")
            .arg(path)
            .output();
        assert!(output.unwrap().status.success(), "{}", script.text);
    }
}

#[test]
fn no_file_of_keepalived_does_harm() {
    let target = Target {
        name: "import",
        runs: RUNS,
        examples: examples(),
        words: &[
            "vrrp_instance V {\n",
            "vrrp_instance ",
            "vrrp_sync_group G {\n",
            "vrrp_script s {\n",
            "virtual_server 10.0.0.9 80 {\n",
            "virtual_ipaddress {\n",
            "track_script {\n",
            "group {\n",
            "}\n",
            "{\n",
            "{",
            "}",
            "\"",
            "'",
            "!",
            "#",
            "interface eth0\n",
            "interface eth0/1\n",
            "state MASTER\n",
            "priority 255\n",
            "advert_int 0.01\n",
            "advert_int 86400\n",
            "interval 86400\n",
            "fall 99999999\n",
            "timeout 0\n",
            "preempt_delay 1000\n",
            "garp_master_refresh 1\n",
            "garp_master_refresh 4294967295\n",
            "10.0.0.9/24 dev eth1 label eth1:x\n",
            "fd00::9/64 label eth0:6\n",
            "10.0.0.9/24 brd 10.0.0.255\n",
            "127.0.0.1\n",
            "224.0.0.1\n",
            "0.0.0.0/0\n",
            "script \"every fall rise\"\n",
            "script \"/x '$(y)'\"\n",
            "script </dev/tcp/::1/1\n",
            "notify \"/x\" y\n",
            "notify_master \"'\"\n",
            "include x\n",
            "@a ",
            "@^b ",
            "$X=$X$X\n",
            "${X}",
            "$",
            "weight -254\n",
            "auth_pass secret\n",
            "process /usr/sbin/x y\n",
            "real_server 10.0.0.1 3306 {\n",
            "MISC_CHECK {\nmisc_path x\n",
            "HTTP_GET {\nurl {\npath a b\n",
        ],
    };
    target.fuzz(try_import);
}

/// Size alone makes nothing slow.
#[test]
fn long_files_of_keepalived_are_judged_in_time() {
    let whole = "vrrp_instance V {\ninterface eth0\nvirtual_ipaddress {\n";
    for (head, line) in [
        ("", "x"),
        ("", "{\n"),
        ("", "a {\n"),
        ("", "vrrp_instance V {\n"),
        ("", "vrrp_script s {\nscript x\n}\n"),
        ("", "vrrp_sync_group G {\ngroup { V }\n"),
        ("vrrp_instance V {\ntrack_script {\n", "s\n"),
        ("vrrp_instance V {\ntrack_interface {\n", "eth1\n"),
        (whole, "10.0.0.9/24\n"),
        (
            "",
            "vrrp_instance V {\ninterface eth0\nvirtual_ipaddress {\n10.0.0.9/24\n}\n}\n",
        ),
        ("", "\"$A"),
    ] {
        let text = head.to_owned() + &line.repeat((1 << 20) / line.len());
        let begin = std::time::Instant::now();
        try_import(text.as_bytes());
        let took = begin.elapsed();
        assert!(took.as_secs() < 60, "{line:?}: {took:?}");
        println!("{line:?}: {took:?}");
    }
    let mut many = whole.to_owned();
    for n in 0..900 {
        many += &format!("10.{}.{}.9/24\n", n / 256, n % 256);
    }
    try_import(many.as_bytes());
    many += &"10.9.9.9/24\n".repeat(10_000);
    try_import(many.as_bytes());
}
