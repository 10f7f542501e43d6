//! A script: a header that describes the cluster, then faults with their times. Read and printed in plain words, one
//! per line:
//!
//! ```text
//! nodes alice bob
//! witness carol
//! ping 10.0.0.254
//! quorum stop
//! group 10.0.0.1 on alice
//! step address : 10.0.0.1
//! step script : drbddisk::r0
//! seed 17
//!
//! at 0s start alice
//! at 0s start bob
//! at 12.5s crash alice      # a comment
//! ```

mod read;

use std::fmt;
use std::time::Duration;

use super::fault::Fault;
use super::setup::ClusterSetup;
use crate::text::{Problems, duration_in_files};

/// A cluster, and what happens to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultScript {
    /// Comment lines at the beginning.
    pub notes: Vec<String>,
    /// The cluster at the beginning.
    pub setup: ClusterSetup,
    /// The faults with their times from the beginning, in order.
    pub steps: Vec<(Duration, Fault)>,
}

impl FaultScript {
    /// Reads a script that describes its own cluster.
    ///
    /// # Errors
    /// All errors, in the order of the lines.
    pub fn read(text: &str) -> Result<FaultScript, Problems> {
        read::read(text, None)
    }

    /// Reads a script for this cluster; its header may then have no nodes, groups or times.
    ///
    /// # Errors
    /// All errors, in the order of the lines.
    pub fn read_for(text: &str, setup: ClusterSetup) -> Result<FaultScript, Problems> {
        read::read(text, Some(setup))
    }

    /// The time of the last fault.
    pub fn last_fault_at(&self) -> Duration {
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
