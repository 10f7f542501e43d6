//! Builds the simulator with a fault in its engine. It is a small package of its own, made of the pure modules.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::judge::{self, Verdict};
use crate::table::Mutation;

/// The modules that do not touch the system.
const PURE: [&str; 4] = ["model", "text", "engine", "sim"];
/// The one file of another room that the scenarios use, with its room.
const ALONE: (&str, &str) = ("control", "select");
/// Random runs of each class, at first and when nothing was caught.
const FEW_RUNS: &str = "40";
const MANY_RUNS: &str = "200";
/// A fault may make the engine loop for ever. Without that, no try takes longer than this.
const PATIENCE: Duration = Duration::from_secs(600);
const MORE_PATIENCE: Duration = Duration::from_secs(1200);
/// What the pure modules and their tests need of the tree's dependencies.
const DEPENDENCIES: [&str; 4] = ["serde", "serde_json", "strsim", "thiserror"];
const TEST_DEPENDENCIES: [&str; 1] = ["proptest"];
/// A mutant differs in one line, so most of the last build is used again. Hence a level that builds in seconds.
const PROFILE: &str = "[profile.dev]\nopt-level = 1\nincremental = true\ndebug = false\noverflow-checks = true\n[workspace]\n";

/// The folder in which mutants are built and tried.
pub struct Workshop {
    home: PathBuf,
}

impl Workshop {
    pub fn new() -> Workshop {
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutations");
        let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
        for old in ["src", "tests"] {
            drop(fs::remove_dir_all(home.join(old)));
        }
        for module in PURE {
            copy(
                &tree.join("src").join(module),
                &home.join("src").join(module),
            );
        }
        copy(&tree.join("tests/sim"), &home.join("tests/sim"));
        without_recordings(&home.join("tests/sim/main.rs"));
        // A scenario compares its table with these texts.
        copy(&tree.join("packaging/man"), &home.join("packaging/man"));
        fs::copy(tree.join("README.md"), home.join("README.md")).unwrap();
        let (room, file) = ALONE;
        let path = Path::new("src").join(room).join(file).with_extension("rs");
        fs::create_dir_all(home.join("src").join(room)).unwrap();
        fs::copy(tree.join(&path), home.join(&path)).unwrap();
        let modules = PURE.map(|m| format!("pub mod {m};\n")).concat()
            + &format!("pub mod {room} {{ pub mod {file}; }}\n");
        fs::write(home.join("src/lib.rs"), modules).unwrap();
        fs::write(home.join("Cargo.toml"), manifest(tree)).unwrap();
        fs::copy(tree.join("Cargo.lock"), home.join("Cargo.lock")).unwrap();
        Workshop { home }
    }

    /// Tries the engine with one fault, or as it is.
    pub fn run(&self, mutation: Option<&Mutation>) -> Verdict {
        let sound = mutation.map(|m| (self.path(m), fs::read_to_string(self.path(m)).unwrap()));
        if let (Some(m), Some((path, text))) = (mutation, &sound) {
            fs::write(path, text.replacen(m.find, m.replace, 1)).unwrap();
        }
        let verdict = self
            .build()
            .map_or_else(Verdict::NotBuilt, |()| self.try_engine(mutation.is_some()));
        if let Some((path, text)) = sound {
            fs::write(path, text).unwrap();
        }
        verdict
    }

    fn path(&self, mutation: &Mutation) -> PathBuf {
        self.home.join("src/engine").join(mutation.file)
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .current_dir(&self.home)
            .args(["test", "--quiet", "--offline", "--test", "sim"])
            .args(arguments)
            .env("CARGO_TARGET_DIR", self.home.join("target"))
            .env("RUSTFLAGS", "--cap-lints allow")
            .env_remove("HAD_MUTATIONS")
            .stdin(Stdio::null());
        cargo
    }

    fn build(&self) -> Result<(), String> {
        let output = self.cargo(&["--no-run"]).output().unwrap();
        let text = || String::from_utf8_lossy(&output.stderr).into_owned();
        output.status.success().then_some(()).ok_or_else(text)
    }

    /// A few random runs come first, because they name the invariant. If they see nothing, the scenarios follow, and then
    /// many runs. The engine without a fault gets no more than the scenarios: `tests/run sim` tries the rest.
    fn try_engine(&self, mutant: bool) -> Verdict {
        let tries: [(&[&str], &str); 3] = [
            (&["promises::"], FEW_RUNS),
            (&["--skip", "promises::"], FEW_RUNS),
            (&["promises::"], MANY_RUNS),
        ];
        let (mut verdict, mut hung) = (Verdict::Survived { tests: 0 }, false);
        for (filter, runs) in tries {
            verdict = self.run_tests(filter, runs);
            if verdict.caught() || (!mutant && filter.len() > 1) {
                return verdict;
            }
            hung |= matches!(verdict, Verdict::Hung);
        }
        // What did not end says nothing, whatever else passed.
        if hung { Verdict::Hung } else { verdict }
    }

    fn run_tests(&self, filter: &[&str], runs: &str) -> Verdict {
        let mut cargo = self.cargo(&["--"]);
        cargo
            .args(filter)
            .args(["--test-threads", "2", "--nocapture"])
            .env("HAD_SWARM_HUNT", "1")
            .env("HAD_SWARM_FIRST", "1")
            .env("HAD_SWARM_RUNS", runs);
        let patience = if runs == MANY_RUNS {
            MORE_PATIENCE
        } else {
            PATIENCE
        };
        match output_within(cargo, patience) {
            Some(output) => judge::read_verdict(&output),
            None => Verdict::Hung,
        }
    }
}

/// A package with the dependencies as the tree has them.
fn manifest(tree: &Path) -> String {
    let text = fs::read_to_string(tree.join("Cargo.toml")).unwrap();
    let line_of = |name: &&str| {
        let begin = format!("{name} = ");
        let line = text.lines().find(|line| line.starts_with(&begin));
        format!(
            "{}\n",
            line.unwrap_or_else(|| panic!("Cargo.toml has no {name}"))
        )
    };
    let lines = |names: &[&str]| names.iter().map(line_of).collect::<String>();
    let head = "[package]\nname = \"had\"\nversion = \"0.0.0\"\nedition = \"2024\"\n";
    format!(
        "{head}[dependencies]\n{}[dev-dependencies]\n{}{PROFILE}",
        lines(&DEPENDENCIES),
        lines(&TEST_DEPENDENCIES)
    )
}

/// What a command printed, or nothing if it did not end in time and was killed.
fn output_within(mut command: Command, time: Duration) -> Option<Output> {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("output");
    let file = fs::File::create(&path).unwrap();
    command.stdout(file.try_clone().unwrap()).stderr(file);
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.spawn().unwrap();
    let end = Instant::now() + time;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            let stdout = fs::read(&path).unwrap();
            return Some(Output {
                status,
                stdout,
                stderr: Vec::new(),
            });
        }
        if Instant::now() > end {
            let group = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
            nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).unwrap();
            child.wait().unwrap();
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The scenarios use nothing of the tree that a mutant's package lacks. Checked without a build, so that an ordinary test
/// run notices it.
pub fn scenarios_use_only_what_is_pure() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sim");
    let (room, file) = ALONE;
    let alone = format!("{room}::{file}");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name() == Some("recording.rs".as_ref()) || path.is_dir() {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for used in text.split("had::").skip(1) {
            let pure = PURE.iter().any(|m| used.starts_with(&format!("{m}::")));
            assert!(
                pure || used.starts_with(&alone),
                "{} uses had::{}, which a mutant's package does not have",
                path.display(),
                used.lines().next().unwrap_or_default()
            );
        }
    }
}

/// Recordings are replayed with code that is not pure.
fn without_recordings(main: &Path) {
    let text = fs::read_to_string(main).unwrap();
    let without = text.replace("mod recording;\n", "");
    assert!(
        without.len() < text.len(),
        "the tests of recordings have moved"
    );
    fs::write(main, without).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
