//! The built-in agents with real file systems on loop devices and a real MariaDB, and the examples with their real
//! services.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod busy;
#[allow(dead_code)] // what only others of its users need
#[path = "../netns/common.rs"]
mod cluster;
mod common;
mod database;
mod filesystem;
mod forum_pair;
mod group;
mod mail;
mod mariadb;
mod probe_disk;
mod probe_dns;
mod probe_https;
mod probe_postgres;
mod probe_redis;
mod probes;
mod scripts;
mod two_balancers;
mod two_masters;
mod web;
mod web_pair;
mod writer_and_reader;
