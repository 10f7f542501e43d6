//! Checks while faults go on: daemons run and answer, and their numbers only increase.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use had::lab::LabError;
use had::model::heartbeat::GroupState;
use had::model::status::Status;
use had::model::{Generation, GroupName, Term};

use crate::class::EXTRA;
use crate::cluster::ChaosCluster;
use crate::step::Node;
use crate::timeline::now;

/// How long a daemon may take to answer on a busy machine.
const ANSWERS: Duration = Duration::from_secs(20);
/// Share of one core; a busy loop takes all of it.
const BUSY: f64 = 0.7;
/// Many times the usual memory. Memory is locked, so all of it counts.
const MEMORY: u64 = 200 << 20;
const THREADS: u64 = 100;
const FILES: u64 = 300;

#[derive(Default)]
pub struct LogWatch {
    generations: BTreeMap<Node, Generation>,
    /// The highest term with which a group ran, and where.
    terms: BTreeMap<GroupName, (Term, Node)>,
    /// The first time without an answer.
    silent: BTreeMap<Node, Instant>,
    /// The process number of a daemon, its CPU time in seconds, and when that was.
    work: BTreeMap<Node, (i32, f64, Instant)>,
    /// The most ever used: share of a core, bytes, threads, files.
    pub most: (f64, u64, u64, u64),
    pub looks: u64,
}

impl LogWatch {
    /// Checks all daemons that must run. What is wrong is added to the list of failures.
    pub fn check_daemons(&mut self, stage: &mut ChaosCluster) -> Result<(), LabError> {
        for node in stage.runs.clone() {
            if stage.frozen.contains(node) {
                continue;
            }
            if stage.lab.had_pid(node)?.is_none() {
                stage
                    .failed
                    .push(format!("the daemon of {node} ended by itself"));
                continue;
            }
            match stage.status(node) {
                Some(status) => self.compare(stage, node, &status),
                None => self.unanswered(stage, node),
            }
        }
        Ok(())
    }

    fn unanswered(&mut self, stage: &mut ChaosCluster, node: Node) {
        let since = *self.silent.entry(node).or_insert_with(Instant::now);
        if since.elapsed() > ANSWERS {
            stage
                .failed
                .push(format!("hactl status of {node} is not answered"));
        }
    }

    /// Generations and terms never decrease.
    pub fn compare(&mut self, stage: &mut ChaosCluster, node: Node, status: &Status) {
        self.looks += 1;
        self.silent.remove(node);
        if stage.timeline.lost.remove(node) {
            self.generations.remove(node);
            // The others remember only their own terms: after a loss of state the highest known one may be lower.
            self.terms.retain(|_, (_, by)| *by != node);
        }
        let before = self.generations.insert(node, status.generation);
        if before.is_some_and(|b| b > status.generation) {
            stage.failed.push(format!(
                "the generation of {node} fell from {before:?} to {:?}",
                status.generation
            ));
        }
        if stage.timeline.helpless_at(node, now()).is_some() {
            return;
        }
        for group in &status.groups {
            let runs = group
                .states
                .first()
                .is_some_and(|(_, s)| *s == GroupState::Online);
            // A group that is removed and added starts again.
            if !runs || group.name.as_str() == EXTRA {
                continue;
            }
            let seen = self.terms.insert(group.name.clone(), (group.term, node));
            if let Some((term, by)) = seen
                && (term > group.term || (term == group.term && by != node))
            {
                stage.failed.push(format!(
                    "{} runs on {node} with {:?} after it ran on {by} with {term:?}",
                    group.name, group.term
                ));
            }
        }
    }

    /// What the daemons use of the machine.
    pub fn weigh(&mut self, stage: &mut ChaosCluster) -> Result<(), LabError> {
        for node in stage.class.nodes {
            let Some(pid) = stage.lab.had_pid(node)? else {
                continue;
            };
            let script = format!(
                "cut -d' ' -f14,15 /proc/{pid}/stat; awk '/VmRSS|Threads/ {{print $2}}' /proc/{pid}/status; ls /proc/{pid}/fd | wc -l"
            );
            let text = stage.sh(node, &script)?;
            let n: Vec<u64> = text
                .split_whitespace()
                .map(|w| w.parse().unwrap())
                .collect();
            let &[user, system, memory, threads, files] = n.as_slice() else {
                panic!("not five numbers: {text}");
            };
            #[allow(clippy::cast_precision_loss)]
            let work = (user + system) as f64 / 100.0;
            let at = Instant::now();
            let mut share = 0.0;
            if let Some((same, before, since)) = self.work.insert(node, (pid, work, at))
                && same == pid
                && since.elapsed() > Duration::from_secs(3)
            {
                share = (work - before) / since.elapsed().as_secs_f64();
            }
            let memory = memory << 10;
            let most = self.most;
            self.most = (
                most.0.max(share),
                most.1.max(memory),
                most.2.max(threads),
                most.3.max(files),
            );
            if share > BUSY || memory > MEMORY || threads > THREADS || files > FILES {
                stage.failed.push(format!(
                    "the daemon of {node} uses {share:.2} of a core, {memory} bytes, {threads} threads, {files} files"
                ));
            }
        }
        Ok(())
    }
}
