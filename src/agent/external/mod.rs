//! Agents that are somebody else's programs: heartbeat-style scripts ([`script`]), OCF agents ([`ocf`]) and units of
//! systemd ([`systemd`]).

pub mod ocf;
pub mod script;
pub mod systemd;
