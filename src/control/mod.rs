//! The socket between `had` and `hactl`: the protocol ([`api`]), its two ends ([`server`], [`client`]), and the selection of
//! groups by words ([`select`]).

pub mod api;
pub mod client;
pub mod essence;
pub mod select;
pub mod server;
