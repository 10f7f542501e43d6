//! What can be done to a running lab, each thing once: the verb of `hactl lab` and the request to the supervisor.

use std::time::Duration;

use clap::Subcommand;
use serde::{Deserialize, Serialize};

/// Something that is done to a lab and has no answer but "done". Hosts are members, ping nodes or `client`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand, Serialize, Deserialize)]
pub enum LabAction {
    /// Cut a node's power
    Crash {
        /// The node
        host: String,
    },
    /// Boot a node (again, if it is on); its disk is as it was
    Restart {
        /// The node
        host: String,
    },
    /// Stop a node's daemon, and wait until it has stopped its groups
    Stop {
        /// The node
        host: String,
    },
    /// Start a node's daemon
    Start {
        /// The node
        host: String,
    },
    /// Kill a node's daemon alone with SIGKILL; agents and their programs run on.
    #[command(skip)]
    Kill {
        /// The node
        host: String,
    },
    /// Stop all processes of a node (SIGSTOP); its kernel and its clock run on
    Freeze {
        /// The node
        host: String,
    },
    /// Let the processes of a frozen node run again
    Thaw {
        /// The node
        host: String,
    },
    /// Block all traffic between two nodes, or between one node and all others
    Cut {
        /// One node
        a: String,
        /// The other node
        b: Option<String>,
        /// Only on this interface or segment
        #[arg(long)]
        link: Option<String>,
        /// Only from the first to the second
        #[arg(long)]
        oneway: bool,
    },
    /// End cuts, losses and delays: all, those of one node, or those between two
    Heal {
        /// One node
        a: Option<String>,
        /// The other node
        b: Option<String>,
    },
    /// Drop this percentage of all frames
    Loss {
        /// 0 to 100
        #[arg(value_parser = clap::value_parser!(u8).range(0..=100))]
        percent: u8,
        /// Only on this interface or segment
        #[arg(long)]
        link: Option<String>,
        /// Only between these two.
        #[arg(skip)]
        between: Option<(String, String)>,
    },
    /// Delay each frame between two hosts by a random time up to `most`, and send `twice` of a hundred two times.
    #[command(skip)]
    Delay {
        /// One host
        a: String,
        /// The other host
        b: String,
        /// The longest delay
        most: Duration,
        /// In percent
        twice: u8,
    },
    /// Pull the cable out of a node's network card, or out of all its cards
    Unplug {
        /// The node
        host: String,
        /// The card
        link: Option<String>,
    },
    /// Plug the cable of a node's network card in again, or those of all its cards
    Plug {
        /// The node
        host: String,
        /// The card
        link: Option<String>,
    },
}
