//! Gives the corpus and then mutations to one reader, and keeps what does it harm.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use had::sim::Random;

use crate::mutate::mutated;

/// A reader that is not done with one input by then hangs, or takes more than its size can justify.
const LONGEST: Duration = Duration::from_secs(60);

/// What is tried: its name is that of its folder in the corpus.
pub struct Target<'a> {
    pub name: &'static str,
    /// Runs without `HAD_FUZZ_RUNS`.
    pub runs: u64,
    /// Valid inputs.
    pub examples: Vec<Vec<u8>>,
    /// Words with a meaning to the reader.
    pub words: &'a [&'a str],
}

impl Target<'_> {
    /// Tries it; `attempt` panics where something is wrong.
    pub fn fuzz(&self, mut attempt: impl FnMut(&[u8])) {
        let guard = Guard::new(self.name);
        for (path, bytes) in corpus(self.name) {
            println!("{}", path.display());
            guard.attempt(&bytes, "in the corpus", &mut attempt);
        }
        for example in &self.examples {
            guard.attempt(example, "an example", &mut attempt);
        }
        let seed = number("HAD_FUZZ_SEED").unwrap_or_else(from_clock);
        let runs = number("HAD_FUZZ_RUNS").unwrap_or(self.runs);
        println!("{}: HAD_FUZZ_SEED={seed} HAD_FUZZ_RUNS={runs}", self.name);
        for seed in (0..runs).map(|n| seed.wrapping_add(n)) {
            let mut random = Random::new(seed);
            let bytes = mutated(&mut random, &self.examples, self.words);
            let which = format!("HAD_FUZZ_SEED={seed} HAD_FUZZ_RUNS=1");
            guard.attempt(&bytes, &which, &mut attempt);
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable}: {text}")),
    )
}

fn from_clock() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(now.unwrap().as_nanos() & u128::from(u64::MAX)).unwrap()
}

/// What is kept for a target, in the order of the names.
fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let files = fs::read_dir(folder.join(name)).unwrap_or_else(|e| panic!("corpus {name}: {e}"));
    let mut paths: Vec<PathBuf> = files.map(|f| f.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "the corpus of {name} is empty");
    let read = |path: PathBuf| (path.clone(), fs::read(path).unwrap());
    paths.into_iter().map(read).collect()
}

/// The input that is being tried, and since when.
type Present = Arc<Mutex<Option<(Instant, Vec<u8>)>>>;

/// Keeps an eye on the input that is being tried: neither a panic nor a hang loses it.
struct Guard {
    name: &'static str,
    present: Present,
}

impl Guard {
    fn new(name: &'static str) -> Guard {
        let present: Present = Arc::default();
        let watched = Arc::clone(&present);
        std::thread::spawn(move || {
            while Arc::strong_count(&watched) > 1 {
                std::thread::sleep(Duration::from_millis(500));
                let present = watched.lock().unwrap().clone();
                if let Some((_, bytes)) = present.filter(|(since, _)| since.elapsed() > LONGEST) {
                    let path = keep(name, &bytes);
                    eprintln!("{name}: no end after {LONGEST:?}: {}", path.display());
                    std::process::abort();
                }
            }
        });
        Guard { name, present }
    }

    fn attempt(&self, bytes: &[u8], which: &str, attempt: &mut impl FnMut(&[u8])) {
        *self.present.lock().unwrap() = Some((Instant::now(), bytes.to_vec()));
        let result = catch_unwind(AssertUnwindSafe(|| attempt(bytes)));
        *self.present.lock().unwrap() = None;
        if result.is_err() {
            let path = keep(self.name, bytes);
            panic!("{} does harm ({which}): {}", self.name, path.display());
        }
    }
}

/// Writes an input to a file.
fn keep(name: &str, bytes: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}-{}", from_clock()));
    fs::write(&path, bytes).unwrap();
    path
}

/// The same number for the same bytes: what a target draws further depends on its input alone.
pub fn number_of(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
