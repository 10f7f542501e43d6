//! The socket between `had` and `hactl`: what is said ([`api`]), both ends of it ([`server`], [`client`]),
//! and how the words of an administrator become groups ([`select`]).

pub mod api;
pub mod client;
pub mod select;
pub mod server;
