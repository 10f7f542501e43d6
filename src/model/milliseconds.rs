//! Lengths of time as numbers of milliseconds, for those who read the JSON of `hactl`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Writes a number.
pub fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    as_number(*time).serialize(to)
}

/// Reads a number, or the form of earlier versions.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    Written::deserialize(from).map(Written::read)
}

/// As a daemon of another version may send it.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Written {
    Milliseconds(f64),
    Parts(Duration),
}

impl Written {
    pub(super) fn read(self) -> Duration {
        match self {
            Written::Milliseconds(ms) => {
                Duration::try_from_secs_f64(ms / 1000.0).unwrap_or_default()
            }
            Written::Parts(time) => time,
        }
    }
}

/// To the microsecond.
#[allow(clippy::cast_precision_loss)] // of times of thousands of years
pub(super) fn as_number(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Times {
        #[serde(with = "super")]
        a: Duration,
        #[serde(with = "crate::model::maybe_milliseconds", default)]
        b: Option<Duration>,
    }

    #[test]
    fn a_time_is_a_number_and_both_forms_are_read() {
        let times = Times {
            a: Duration::from_micros(1_500_250),
            b: None,
        };
        let text = serde_json::to_string(&times).unwrap();
        assert_eq!(text, r#"{"a":1500.25,"b":null}"#);
        assert_eq!(serde_json::from_str::<Times>(&text).unwrap(), times);
        let old = r#"{"a":{"secs":1,"nanos":500250000}}"#;
        assert_eq!(serde_json::from_str::<Times>(old).unwrap(), times);
        let negative = serde_json::from_str::<Times>(r#"{"a":-1,"b":7}"#).unwrap();
        assert_eq!(negative.a, Duration::ZERO);
        assert_eq!(negative.b, Some(Duration::from_millis(7)));
    }
}
