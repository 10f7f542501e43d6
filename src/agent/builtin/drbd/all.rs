//! `drbddisk` without a name, as with heartbeat: all resources of drbd.conf together.

use async_trait::async_trait;

use super::Drbd;
use crate::agent::{Agent, AgentError, Limits, Status};

/// All resources of drbd.conf, each with its name.
pub struct AllDrbd(pub Vec<(String, Drbd)>);

#[async_trait]
impl Agent for AllDrbd {
    async fn start(&self, limits: &Limits) -> Result<(), AgentError> {
        for (_, drbd) in &self.0 {
            drbd.start(limits).await?;
        }
        Ok(())
    }

    /// Stops the others too where one cannot be stopped.
    async fn stop(&self, limits: &Limits) -> Result<(), AgentError> {
        let mut done = Ok(());
        for (_, drbd) in self.0.iter().rev() {
            done = done.and(drbd.stop(limits).await);
        }
        done
    }

    async fn monitor(&self, limits: &Limits) -> Result<Status, AgentError> {
        let mut states = Vec::new();
        for (name, drbd) in &self.0 {
            states.push((name.as_str(), drbd.monitor(limits).await?));
        }
        together(&states).map_err(AgentError::Failed)
    }
}

/// The state of all, if it is the same.
fn together(states: &[(&str, Status)]) -> Result<Status, String> {
    let of = |wanted| {
        let found = states.iter().find(move |(_, status)| *status == wanted);
        found.map(|(name, _)| *name)
    };
    match (of(Status::Running), of(Status::Stopped)) {
        (Some(primary), Some(other)) => Err(format!("{primary} is Primary, but {other} is not")),
        (Some(_), None) => Ok(Status::Running),
        (None, _) => Ok(Status::Stopped),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_run_or_none_or_it_is_said_which() {
        use Status::{Running, Stopped};
        assert_eq!(together(&[("a", Running), ("b", Running)]), Ok(Running));
        assert_eq!(together(&[("a", Stopped), ("b", Stopped)]), Ok(Stopped));
        let mixed = together(&[("a", Stopped), ("b", Running)]);
        assert_eq!(mixed, Err("b is Primary, but a is not".to_owned()));
    }
}
