//! A lab in which a page is followed: its machines, and what is done on them.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use had::lab::{ExecOutput, Iface, Lab, LabPlan, NodePlan, PingPlan};
use tempfile::TempDir;

use crate::elsewhere::{Instead, instead};
use crate::page::{Step, steps};

const HAD: &str = env!("CARGO_BIN_EXE_had");
const HACTL: &str = env!("CARGO_BIN_EXE_hactl");
const HAD_WEB: &str = env!("CARGO_BIN_EXE_had-web");

/// How long a command may run, and how long one that shows something is repeated until it shows what the page says.
const DEADLINE: Duration = Duration::from_secs(150);

/// Commands that only show something. Their readers wait until the answer comes, and so does the test.
fn only_shows(line: &str) -> bool {
    let mut words = line
        .split_whitespace()
        .filter(|w| !w.starts_with(['-', '/']));
    match words.next() {
        Some("hactl") => matches!(words.next(), Some("status" | "why" | "history" | "drbd")),
        Some(program) => ["ip", "curl", "cat", "grep"].contains(&program),
        None => false,
    }
}

/// The files and times of the cluster that most pages begin with.
pub const HA_CF: &str = "node alice bob
ucast eth0 192.168.1.11
ucast eth0 192.168.1.12
ping 192.168.1.1
keepalive 200ms
warntime 1
deadtime 3
initdead 6
auto_failback off
monitor * every 2s
";
pub const HARESOURCES: &str = "alice 192.168.1.100/24/eth0 nginx\n";
const AUTHKEYS: &str = "auth 1\n1 sha256 the-first-secret-of-this-cluster\n";

/// Gives a machine folders of its own where the machines of a lab share those of this machine. What the lab has mounted
/// below them stays in its place.
const OWN_FOLDERS: &str = "set -e
own() {
    top=$1 keep=$2 at=/run/own$1
    mkdir -p $at/upper $at/work $at/keep
    mount --bind $keep $at/keep
    mount -t overlay overlay -o lowerdir=$top,upperdir=$at/upper,workdir=$at/work $top
    mkdir -p $keep
    mount --bind $at/keep $keep
}
own /etc /etc/ha.d
own /var/lib /var/lib/had
mount -t tmpfs tmpfs /usr/local/sbin
mount -t tmpfs tmpfs /root
mount -t tmpfs -o mode=1777 tmpfs /tmp
";

/// What there is before a page is read.
pub struct Scene {
    /// The machines, in the order of their addresses 192.168.1.11, .12 and so on.
    pub machines: &'static [&'static str],
    /// Those that form the cluster already.
    pub members: &'static [&'static str],
    /// The files of that cluster.
    pub ha_cf: &'static str,
    /// The same.
    pub haresources: &'static str,
    /// A program in /usr/local/sbin of each machine: its name and its text, in which `SHARED` is a folder that all machines
    /// share.
    pub program: Option<(&'static str, &'static str)>,
    /// What another manager has started on each machine, as a script; then no daemon runs yet.
    pub left_behind: Option<&'static str>,
}

/// alice and bob run a web server.
pub const PAIR: Scene = Scene {
    machines: &["alice", "bob"],
    members: &["alice", "bob"],
    ha_cf: HA_CF,
    haresources: HARESOURCES,
    program: None,
    left_behind: None,
};

/// The lab, while a page is followed.
pub struct World {
    lab: Lab,
    scene: Scene,
    /// The configuration of the first cluster.
    _folder: TempDir,
    /// A folder that all machines share.
    shared: TempDir,
}

/// Follows a page from its beginning to its end.
pub fn follow(page: &str, scene: Scene) {
    let world = World::new(page, scene);
    let steps = steps(page);
    let typed = steps.iter().filter(|s| matches!(s, Step::Type { .. }));
    assert!(typed.count() > 2, "{page} has nothing to type");
    for step in &steps {
        world.take(step);
    }
}

impl World {
    fn new(page: &str, scene: Scene) -> World {
        let folder = tempfile::tempdir().unwrap();
        if !scene.members.is_empty() {
            write(folder.path(), "ha.cf", scene.ha_cf);
            write(folder.path(), "haresources", scene.haresources);
            write(folder.path(), "authkeys", AUTHKEYS);
        }
        let lab = Lab::up(&plan(page, &scene, folder.path())).unwrap();
        let world = World {
            lab,
            scene,
            _folder: folder,
            shared: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
        };
        for machine in world.scene.machines {
            world.prepare(machine);
        }
        if let Some(script) = world.scene.left_behind {
            for machine in world.scene.machines {
                world.must(machine, script);
            }
            return world;
        }
        for member in world.scene.members {
            world.lab.start_had(member).unwrap();
        }
        if let Some(first) = world.scene.members.first() {
            world.shows(
                first,
                "hactl status --brief",
                &["no problem: ...".to_owned()],
            );
        }
        world
    }

    /// A machine as its package leaves it, or without any file of a cluster.
    fn prepare(&self, machine: &str) {
        self.must(machine, OWN_FOLDERS);
        if let Some((name, text)) = self.scene.program {
            let shared = self.shared.path().to_str().unwrap();
            let text = text.replace("SHARED", shared);
            self.write(machine, &format!("/usr/local/sbin/{name}"), &text);
        }
        let member = self.scene.members.contains(&machine);
        let others = "rm -f /etc/ha.d/ha.cf /etc/ha.d/haresources /etc/ha.d/authkeys";
        if !member {
            self.must(machine, others);
        }
    }

    fn must(&self, on: &str, line: &str) -> String {
        let output = self.run(on, line);
        assert!(output.success(), "{on}# {line}\n{}", told(&output));
        output.stdout
    }

    fn run(&self, on: &str, line: &str) -> ExecOutput {
        let words = ["sh", "-c", line];
        self.lab.exec_within(on, &words, DEADLINE).unwrap()
    }

    fn take(&self, step: &Step) {
        match step {
            Step::Write { path, text } => {
                for machine in self.scene.machines {
                    self.write(machine, path, text);
                }
            }
            Step::Type { on, line, prints } if on == "all" => {
                for machine in self.scene.machines {
                    self.type_on(machine, line, prints);
                }
            }
            Step::Type { on, line, prints } => self.type_on(on, line, prints),
        }
    }

    fn write(&self, machine: &str, path: &str, text: &str) {
        let mode = match text {
            _ if text.starts_with("#!") => "755",
            _ if path.ends_with("authkeys") || path.ends_with("had-web.token") => "600",
            _ => "644",
        };
        let folder = Path::new(path).parent().unwrap().display();
        self.must(
            machine,
            &format!(
                "mkdir -p {folder} && cat >{path} <<'THE-END'\n{text}THE-END\nchmod {mode} {path}"
            ),
        );
    }

    fn type_on(&self, on: &str, line: &str, prints: &[String]) {
        eprintln!("{on}# {line}");
        self.replace_if_off(on);
        if let Some(instead) = instead(line) {
            assert!(prints.is_empty(), "{line} is not run, so it prints nothing");
            self.act(on, instead);
        } else if only_shows(line) && !prints.is_empty() {
            self.shows(on, line, prints);
        } else {
            let output = self.run(on, line);
            let said = told(&output);
            let well = output.success() || !prints.is_empty();
            assert!(
                well && fits(&said, prints),
                "{on}# {line}\n{said}\nmust print {prints:#?}"
            );
        }
    }

    /// What is typed on a machine that was switched off is typed on the one that takes its place, with an empty disk.
    fn replace_if_off(&self, machine: &str) {
        let hosts = self.lab.status().unwrap().hosts;
        if hosts.iter().any(|h| h.name == machine && !h.alive) {
            self.lab.restart(machine).unwrap();
            self.must(machine, OWN_FOLDERS);
            self.must(
                machine,
                "rm -rf /var/lib/had/* /etc/ha.d/ha.cf /etc/ha.d/haresources /etc/ha.d/authkeys",
            );
        }
    }

    /// Repeats a command until it prints what the page says.
    fn shows(&self, on: &str, line: &str, prints: &[String]) {
        let end = Instant::now() + DEADLINE;
        loop {
            let said = told(&self.run(on, line));
            if fits(&said, prints) {
                return;
            }
            let late = Instant::now() > end;
            assert!(
                !late,
                "{on}# {line}\n{said}\nmust print {prints:#?}\n{}",
                self.logs()
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn logs(&self) -> String {
        let tail = |machine: &&str| {
            let log = self.lab.log(machine).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(30)..].join("\n");
            format!("--- {machine}\n{tail}\n")
        };
        self.scene.machines.iter().map(tail).collect()
    }

    /// Does what stands for a command in a lab.
    fn act(&self, on: &str, instead: Instead) {
        match instead {
            Instead::Nothing => {}
            Instead::Start(unit) => self.start(on, &unit),
            Instead::Stop(unit) if unit == "had" => self.lab.stop_had(on).unwrap(),
            Instead::Stop(unit) => {
                let program = match unit.split_once('@') {
                    Some((_, name)) => format!("-f 'config /etc/[h]a.d-{name} '"),
                    None => format!("-x {unit}"),
                };
                self.must(
                    on,
                    &format!("pkill {program}; while pgrep {program}; do sleep 0.1; done"),
                );
            }
            Instead::Reboot => {
                self.lab.stop_had(on).unwrap();
                self.lab.crash(on).unwrap();
                self.lab.restart(on).unwrap();
                self.must(on, OWN_FOLDERS);
                self.lab.start_had(on).unwrap();
            }
            Instead::PowerOff => {
                if self.lab.had_pid(on).unwrap().is_some() {
                    self.lab.stop_had(on).unwrap();
                }
                self.lab.crash(on).unwrap();
            }
            Instead::Copy { files, to, folder } => self.copy(on, &files, &to, &folder),
            Instead::Unpack(folder) => {
                let programs = format!("{folder}/usr/sbin");
                self.must(
                    on,
                    &format!("mkdir -p {programs} && ln -s {HACTL} {programs}/hactl"),
                );
            }
        }
    }

    /// As the units say.
    fn start(&self, on: &str, unit: &str) {
        match unit.split_once('@') {
            None if unit == "had" => self.lab.start_had(on).unwrap(),
            None => self.start_web(on),
            Some((_, name)) => {
                let folders =
                    ["/etc/ha.d-", "/var/lib/had-", "/run/had-"].map(|f| format!("{f}{name}"));
                let [config, state, run] = &folders;
                self.must(on, &format!("mkdir -p {state} {run}"));
                let words = [HAD, "--config", config, "--state", state, "--run", run];
                self.lab.spawn(on, &words).unwrap();
            }
        }
    }

    /// With the options of the unit, or of a file of the administrator that replaces them.
    fn start_web(&self, on: &str) {
        let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/had-web.service");
        let mut text = fs::read_to_string(unit).unwrap();
        let more = "cat /etc/systemd/system/had-web.service.d/*.conf 2>/dev/null || true";
        text += &self.must(on, more);
        let mut lines = text.lines().filter_map(|l| l.strip_prefix("ExecStart="));
        let line = with_credentials(&text, lines.next_back().unwrap());
        let words = line.strip_prefix("/usr/sbin/had-web").unwrap();
        let words: Vec<&str> = [HAD_WEB]
            .into_iter()
            .chain(words.split_whitespace())
            .collect();
        self.lab.spawn(on, &words).unwrap();
    }

    fn copy(&self, from: &str, files: &str, to: &str, folder: &str) {
        let names = self.must(from, &format!("ls -d {files}"));
        for file in names.lines() {
            let text = self.must(from, &format!("cat {file}"));
            let name = Path::new(file).file_name().unwrap().to_str().unwrap();
            self.write(to, &format!("{folder}{name}"), &text);
        }
    }
}

/// In place of the folder of systemd, the files that it copies there.
fn with_credentials(unit: &str, line: &str) -> String {
    let loads = unit
        .lines()
        .filter_map(|l| l.strip_prefix("LoadCredential=")?.split_once(':'));
    loads.fold(line.to_owned(), |line, (name, path)| {
        line.replace(&format!("${{CREDENTIALS_DIRECTORY}}/{name}"), path)
    })
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn told(output: &ExecOutput) -> String {
    format!("{}{}", output.stdout, output.stderr)
}

fn plan(page: &str, scene: &Scene, config: &Path) -> LabPlan {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("resource.d");
    let node = |(name, last): (&&str, u8)| NodePlan {
        name: (*name).to_owned(),
        config_dir: config.to_owned(),
        ha_cf_lines: vec![],
        interfaces: vec![Iface {
            name: "eth0".to_owned(),
            segment: "lan".to_owned(),
            addresses: vec![(IpAddr::from([192, 168, 1, last]), 24)],
        }],
    };
    LabPlan {
        name: format!("{page}-{}", std::process::id()),
        nodes: scene.machines.iter().zip(11..).map(node).collect(),
        pings: vec![PingPlan {
            name: "gateway".to_owned(),
            segment: "lan".to_owned(),
            address: IpAddr::from([192, 168, 1, 1]),
            prefix: 24,
        }],
        client: vec![("lan".to_owned(), IpAddr::from([192, 168, 1, 200]), 24)],
        had: HAD.into(),
        hactl: HACTL.into(),
        start: false,
        restart: true,
        scripts: Some(scripts),
    }
}

/// Whether each expected line is there, in this order.
fn fits(said: &str, prints: &[String]) -> bool {
    let mut lines = said.lines();
    prints
        .iter()
        .all(|wanted| lines.any(|line| is_like(line.trim(), wanted)))
}

/// `...` stands for anything.
fn is_like(line: &str, pattern: &str) -> bool {
    let mut parts = pattern.split("...");
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else {
        return false;
    };
    let mut open = false;
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
        open = part.is_empty();
    }
    open || rest.is_empty()
}

#[test]
fn patterns_are_understood() {
    for (line, pattern, is) in [
        ("no problem: 1 of 1 groups running", "no problem: ...", true),
        ("a b c", "a ... c", true),
        ("a b c", "a ...", true),
        ("a b c", "... c", true),
        ("a b c", "a b", false),
        ("a b c", "... b", false),
        ("a b c", "a b c", true),
    ] {
        assert_eq!(is_like(line, pattern), is, "{line} {pattern}");
    }
    assert!(fits("a\nb\nc\n", &["a".to_owned(), "c".to_owned()]));
    assert!(!fits("a\nb\nc\n", &["c".to_owned(), "a".to_owned()]));
}
