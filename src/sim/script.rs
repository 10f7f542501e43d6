//! A script: the world in its header, then what happens to it and when. Printed and read in plain words, one thing a
//! line:
//!
//! ```text
//! nodes alice bob
//! ping 10.0.0.254
//! quorum stop
//! group 10.0.0.1 on alice
//! step address : 10.0.0.1
//! step script : drbddisk::r0
//! seed 17
//!
//! at 0s start alice
//! at 0s start bob
//! at 12.5s crash alice      # a word that begins with # begins a comment
//! ```

mod read;

use std::fmt;
use std::time::Duration;

use super::fault::Fault;
use super::script_words::ScriptError;
use super::setup::ClusterSetup;
use crate::text::duration_in_files;

/// A setup, and what happens to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultScript {
    /// Lines before everything else, shown as comments: what it is good for.
    pub notes: Vec<String>,
    /// The world.
    pub setup: ClusterSetup,
    /// What happens and when, counted from the beginning; in order.
    pub steps: Vec<(Duration, Fault)>,
}

impl FaultScript {
    /// Reads a script that stands for itself.
    ///
    /// # Errors
    /// All mistakes, in the order of the lines.
    pub fn read(text: &str) -> Result<FaultScript, Vec<ScriptError>> {
        read::read(text, None)
    }

    /// Reads a script for a cluster that is described elsewhere; its own header may then name no nodes, groups or
    /// times.
    ///
    /// # Errors
    /// All mistakes, in the order of the lines.
    pub fn read_for(text: &str, setup: ClusterSetup) -> Result<FaultScript, Vec<ScriptError>> {
        read::read(text, Some(setup))
    }

    /// When the last thing happens.
    pub fn last(&self) -> Duration {
        self.steps
            .iter()
            .map(|(at, _)| *at)
            .max()
            .unwrap_or_default()
    }
}

impl fmt::Display for FaultScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for note in &self.notes {
            writeln!(f, "# {note}")?;
        }
        write!(f, "{}", self.setup)?;
        writeln!(f)?;
        for (at, fault) in &self.steps {
            writeln!(f, "at {} {fault}", duration_in_files(*at))?;
        }
        Ok(())
    }
}
