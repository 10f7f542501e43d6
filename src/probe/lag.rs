//! How far behind its source a replica was at the last look at it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::agent::builtin::mysqld::replication::Replication;

/// The lag that a probe found last, if it found one. The probe may run in a thread of its own.
#[derive(Default)]
pub(super) struct LastLag(Mutex<Option<Duration>>);

impl LastLag {
    /// A look begins, or found this.
    pub fn set(&self, found: Option<&Replication>) {
        let lag = match found {
            Some(Replication::Behind(seconds)) => Some(Duration::from_secs(*seconds)),
            Some(Replication::Unknown(_) | Replication::Broken(_)) | None => None,
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = lag;
    }

    /// What the last look found.
    pub fn get(&self) -> Option<Duration> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_lag_is_none() {
        let lag = LastLag::default();
        assert_eq!(lag.get(), None);
        lag.set(Some(&Replication::Behind(7)));
        assert_eq!(lag.get(), Some(Duration::from_secs(7)));
        for unknown in [
            Replication::Unknown("away".to_owned()),
            Replication::Broken("torn".to_owned()),
        ] {
            lag.set(Some(&Replication::Behind(7)));
            lag.set(Some(&unknown));
            assert_eq!(lag.get(), None, "{unknown:?}");
        }
    }
}
