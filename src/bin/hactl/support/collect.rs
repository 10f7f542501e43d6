//! Collects the parts of the archive.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use had::agent::exec::system_tool::PATH;
use had::assembly::own_name;
use had::store::recording_writer::recording_paths;
use had::sys::foreign_file::read_regular;
use had::text::printable;

use super::file_end::read_end;
use super::redact::Redactor;
use super::{Part, Support, command, journal_copy};
use crate::journal;

/// Time for a file, on a disk that may hang.
const FILE_TIME: Duration = Duration::from_secs(5);
/// Time for a program, and for the daemon to answer.
const PROGRAM_TIME: Duration = Duration::from_secs(20);
/// Time for `hactl check`, which asks agents.
const CHECK_TIME: Duration = Duration::from_secs(60);
/// A longer configuration file is left out.
const MAX_CONFIG: u64 = 1024 * 1024;
/// The end of a longer log or recording.
const MAX_LOG: u64 = 64 * 1024 * 1024;
/// Lines of the log, the newest.
const LOG_LINES: usize = 5000;

/// What has been collected so far.
pub struct Collector<'a> {
    args: &'a Support,
    socket: &'a Path,
    redactor: Redactor,
    parts: Vec<Part>,
    problems: Vec<String>,
}

/// The result of work that may hang; none when it took too long. The thread is abandoned then.
pub fn within<T: Send + 'static>(
    time: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, result) = channel();
    // Nobody listens any more after the deadline.
    thread::spawn(move || drop(done.send(work())));
    result.recv_timeout(time).ok()
}

impl<'a> Collector<'a> {
    /// Nothing is collected yet.
    pub fn new(args: &'a Support, socket: &'a Path) -> Self {
        Collector {
            args,
            socket,
            redactor: Redactor::default(),
            parts: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Collects everything.
    pub fn collect(&mut self) {
        let log = self.add_configuration();
        self.add_machine();
        self.add_cluster();
        self.add_recording();
        self.add_log(log);
    }

    /// The parts, the problems among them, and the problems alone.
    pub fn finish(mut self) -> (Vec<Part>, Vec<String>) {
        let text = match self.problems.as_slice() {
            [] => "none\n".to_owned(),
            some => some.join("\n") + "\n",
        };
        self.add("problems.txt", text);
        (self.parts, self.problems)
    }

    fn add(&mut self, name: &str, text: String) {
        // Log files of two folders may have one name.
        let taken = |name: &String| self.parts.iter().any(|part| part.name == *name);
        let numbered = (2..).map(|n| format!("{name}-{n}"));
        let mut names = std::iter::once(name.to_owned()).chain(numbered);
        let name = names.find(|name| !taken(name)).unwrap_or_default();
        self.parts.push(Part { name, text });
    }

    fn add_problem(&mut self, name: &str, problem: &str) {
        let problem = self.redactor.hide(&format!("{name}: {problem}"));
        self.problems.push(printable(&problem));
    }

    fn read(&mut self, path: &Path, max: u64) -> Option<String> {
        self.read_by(path, move |path| read_regular(path, max))
    }

    fn read_by<T: Send + 'static>(
        &mut self,
        path: &Path,
        read: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Option<T> {
        let owned = path.to_owned();
        let problem = match within(FILE_TIME, move || read(&owned)) {
            Some(Ok(read)) => return Some(read),
            Some(Err(error)) => error.to_string(),
            None => format!("it could not be read within {} s", FILE_TIME.as_secs()),
        };
        self.add_problem(&path.display().to_string(), &problem);
        None
    }

    /// The end of a file that may be long.
    fn read_end(&mut self, path: &Path) -> Option<String> {
        let (text, cut) = self.read_by(path, |path| read_end(path, MAX_LOG))?;
        if cut {
            let size = MAX_LOG / (1024 * 1024);
            self.add_problem(
                &path.display().to_string(),
                &format!("it is long, so only its last {size} MiB are in the archive"),
            );
        }
        Some(text)
    }

    /// The two files without secrets. Returns the log files that ha.cf names.
    fn add_configuration(&mut self) -> Vec<PathBuf> {
        let dir = self.args.dir.clone();
        let names = ["ha.cf", "haresources"];
        let texts = names.map(|name| self.read(&dir.join(name), MAX_CONFIG));
        let known: Vec<&str> = texts.iter().flatten().map(String::as_str).collect();
        let (redactor, unread) = Redactor::learn(&dir, &known);
        self.redactor = redactor;
        for (path, why) in unread {
            let problem = format!("its words are not masked, because it cannot be read: {why}");
            self.add_problem(&path, &problem);
        }
        for (name, text) in names.iter().zip(&texts) {
            if let Some(text) = text {
                let text = self.redactor.hide_in_lines(text);
                self.add(&format!("config/{name}"), text);
            }
        }
        let ha_cf = texts.first().and_then(Option::as_deref);
        ha_cf.map(log_files).unwrap_or_default()
    }

    fn add_machine(&mut self) {
        let version = format!("hactl {}\n", env!("CARGO_PKG_VERSION"));
        self.add("version.txt", version);
        self.run("had-version.txt", "had", &["--version"]);
        self.run("uname.txt", "uname", &["-a"]);
        if let Some(text) = self.read(Path::new("/etc/os-release"), MAX_CONFIG) {
            self.add("os-release.txt", text);
        }
        for (name, folder) in [
            ("config-files.txt", &self.args.dir),
            ("state-files.txt", &self.args.state),
        ] {
            let folder = folder.display().to_string();
            self.run(name, "ls", &["-lAnR", "--", &folder]);
        }
        self.run("ip-address.txt", "ip", &["-d", "-s", "address"]);
        self.run("ip-route.txt", "ip", &["route", "show", "table", "all"]);
        self.run("ip-rule.txt", "ip", &["rule"]);
        let unit = self.args.unit.clone();
        // 3 and 4: it does not run, or there is none.
        let words = ["status", "--no-pager", "--full", "--lines=0", "--", &unit];
        self.run_as(
            "unit.txt",
            program("systemctl", &words),
            &[0, 3, 4],
            PROGRAM_TIME,
        );
    }

    fn add_cluster(&mut self) {
        let dir = self.args.dir.display().to_string();
        self.ask("check.txt", &["check", &dir], &[0, 1], CHECK_TIME);
        self.ask("status.txt", &["status"], &[0, 5, 6], PROGRAM_TIME);
        self.ask(
            "status.json",
            &["status", "--json"],
            &[0, 5, 6],
            PROGRAM_TIME,
        );
        self.ask(
            "history.txt",
            &["history", "-n", "1000"],
            &[0],
            PROGRAM_TIME,
        );
        if !self.ask("journal.jsonl", &["events", "--json"], &[0], PROGRAM_TIME) {
            self.add_journal_copy();
        }
    }

    /// The journal without its daemon.
    fn add_journal_copy(&mut self) {
        let folder = self.args.state.join("journal");
        let read = within(PROGRAM_TIME, move || journal_copy::read(&folder));
        let lines = match read {
            Some(Ok(entries)) => journal::json_lines(&entries, &own_name()).map_err(|f| f.text),
            Some(Err(problem)) => Err(problem),
            None => Err(format!(
                "the disk did not answer within {} s",
                PROGRAM_TIME.as_secs()
            )),
        };
        match lines {
            Ok(text) => {
                let text = self.redactor.hide(&text);
                self.add("journal-from-disk.jsonl", text);
            }
            Err(problem) => self.add_problem("journal-from-disk.jsonl", &problem),
        }
    }

    /// Both files. None is no problem: a daemon records only if it is told to.
    fn add_recording(&mut self) {
        let there = |path: &PathBuf| path.metadata().is_ok_and(|meta| meta.len() > 0);
        let paths = recording_paths(&self.args.state);
        for path in paths.iter().filter(|path| there(path)) {
            if let Some(text) = self.read_end(path) {
                let text = self.redactor.hide(&text);
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                self.add(&name, text);
            }
        }
    }

    fn add_log(&mut self, files: Vec<PathBuf>) {
        let (unit, lines) = (self.args.unit.clone(), LOG_LINES.to_string());
        let words = [
            "--no-pager",
            "-o",
            "short-iso-precise",
            "-n",
            &lines,
            "-u",
            &unit,
        ];
        self.run("log.txt", "journalctl", &words);
        for path in files {
            if let Some(text) = self.read_end(&path) {
                let skipped = text.lines().count().saturating_sub(LOG_LINES);
                let newest: Vec<&str> = text.lines().skip(skipped).collect();
                let text = self.redactor.hide(&(newest.join("\n") + "\n"));
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                self.add(&format!("logs/{name}"), text);
            }
        }
    }

    fn run(&mut self, name: &str, tool: &str, words: &[&str]) {
        self.run_as(name, program(tool, words), &[0], PROGRAM_TIME);
    }

    /// Runs this program with other words.
    fn ask(&mut self, name: &str, words: &[&str], good: &[i32], time: Duration) -> bool {
        let this = std::env::current_exe().unwrap_or_else(|_| "hactl".into());
        let mut command = Command::new(this);
        command.arg("--socket").arg(self.socket).args(words);
        self.run_as(name, command, good, time)
    }

    fn run_as(&mut self, name: &str, command: Command, good: &[i32], time: Duration) -> bool {
        let said = command::run(command, good, time);
        let text = self.redactor.hide(&said.text);
        if let Some(problem) = &said.problem {
            let last = text.lines().last().map(|line| format!(": {line}"));
            self.add_problem(name, &format!("{problem}{}", last.unwrap_or_default()));
        }
        if !text.is_empty() {
            self.add(name, text);
        }
        said.problem.is_none()
    }
}

fn program(tool: &str, words: &[&str]) -> Command {
    // The path of an ordinary user lacks the programs for root.
    let own = std::env::var("PATH").ok().filter(|path| !path.is_empty());
    let path = own.map_or_else(|| PATH.to_owned(), |own| format!("{own}:{PATH}"));
    let mut command = Command::new(tool);
    command.args(words).env("PATH", path);
    command
}

/// The log files that ha.cf names.
fn log_files(ha_cf: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for line in ha_cf.lines() {
        let mut words = line.split_whitespace();
        if let (Some("logfile" | "debugfile"), Some(path)) = (words.next(), words.next()) {
            let path = PathBuf::from(path);
            if !found.contains(&path) {
                found.push(path);
            }
        }
    }
    found
}
