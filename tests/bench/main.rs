//! How fast the cluster is, and what it costs. Prints numbers and asserts none, because they depend on the machine.
//!
//! `HAD_BENCH=1 cargo test --release --test bench [-- WORD]` measures (as root); a word chooses: moves, crash, many, groups,
//! cost, heal, late, simulated.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod cluster;
mod cost;
mod crash;
mod groups;
mod heal;
mod late;
mod many;
mod moves;
mod numbers;
mod simulated;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let word = words.first().map_or("", String::as_str);
    if word == cluster::JOURNAL {
        cluster::print_journal();
        return;
    }
    if std::env::var_os("HAD_BENCH").is_none() {
        // A test runner that lists the tests must find none.
        if !words.iter().any(|w| w == "--list") {
            println!("measures only when asked: HAD_BENCH=1 cargo test --release --test bench");
        }
        return;
    }
    let parts: [(&str, fn()); 8] = [
        ("moves", moves::measure),
        ("crash", crash::measure),
        ("many", many::measure),
        ("groups", groups::measure),
        ("heal", heal::measure),
        ("cost", cost::measure),
        ("late", late::measure),
        ("simulated", simulated::measure),
    ];
    numbers::head();
    for (name, measure) in parts {
        if word.is_empty() || word == name {
            measure();
        }
    }
}
