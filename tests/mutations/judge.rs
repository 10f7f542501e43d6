//! Whether a mutation was caught.

use std::fmt;
use std::process::Output;

/// How a mutation was caught, or that it was not.
pub enum Verdict {
    /// A random run broke an invariant. Names it, with the number of runs that it took.
    Run(String),
    /// These scenarios failed.
    Scenarios(Vec<String>),
    /// The simulator did not end in time.
    Hung,
    /// Nothing caught it.
    Survived {
        /// Tests that passed.
        tests: usize,
    },
    /// It does not compile: the table has a mistake.
    NotBuilt(String),
}

impl Verdict {
    pub fn caught(&self) -> bool {
        // A run that did not end may only have been slow, and tests that died without a name may have lacked memory.
        match self {
            Verdict::Run(_) => true,
            Verdict::Scenarios(names) => !names.is_empty(),
            Verdict::Hung | Verdict::Survived { .. } | Verdict::NotBuilt(_) => false,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Run(how) => f.write_str(how),
            Verdict::Scenarios(names) => match names.split_first() {
                Some((first, [])) => write!(f, "scenario {first}"),
                Some((first, rest)) => write!(f, "scenario {first} and {} more", rest.len()),
                None => f.write_str("no (the tests died)"),
            },
            Verdict::Hung => f.write_str("no (the simulator did not end in time)"),
            Verdict::Survived { tests } => write!(f, "no ({tests} tests passed)"),
            Verdict::NotBuilt(text) => write!(f, "not built: {text}"),
        }
    }
}

/// Reads what the tests of the simulator printed.
pub fn read_verdict(output: &Output) -> Verdict {
    let text = String::from_utf8_lossy(&output.stdout);
    let mut caught = text.lines().filter_map(|l| l.split("caught: ").nth(1));
    if let Some(how) = caught.next() {
        return Verdict::Run(how.to_owned());
    }
    let ended = text.lines().filter_map(|l| l.strip_suffix(" --- FAILED"));
    // The dots of tests that passed may stand before it.
    let named = ended.filter_map(|l| l.split(['.', ' ']).next_back());
    if output.status.success() {
        return Verdict::Survived {
            tests: tests_passed(&text),
        };
    }
    Verdict::Scenarios(named.map(ToOwned::to_owned).collect())
}

fn tests_passed(text: &str) -> usize {
    let line = text.lines().find(|l| l.starts_with("test result: ok."));
    let words = line.and_then(|l| l.split_whitespace().nth(3));
    words.and_then(|n| n.parse().ok()).unwrap_or(0)
}
