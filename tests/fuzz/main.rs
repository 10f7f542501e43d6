//! Hostile input, made by the thousand from valid examples, and given to whatever reads something from outside.
//!
//! Each input has a file of its own here, and a folder in `corpus/` with what once did harm or might; that is given
//! first, then `HAD_FUZZ_RUNS` mutations of the examples (without it, enough for some seconds). The seed is printed, and
//! `HAD_FUZZ_SEED` begins there again: with `HAD_FUZZ_RUNS=1` it repeats one. What does harm is written to a file, whose name
//! the failure tells; mended, it belongs into the corpus.
//!
//! The generators are our own: cargo-fuzz needs a compiler that is not released, and these need nothing and run everywhere.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod agent;
mod config;
mod control;
mod datagram;
mod engine;
mod harness;
mod import;
mod mutate;
mod script;
mod store;
