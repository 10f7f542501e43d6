//! Rows of the table.

use std::time::Duration;

/// The line above all rows.
pub fn head() {
    println!(
        "{:58} {:>9} {:>9} {:>9}  aim",
        "what (milliseconds unless said)", "median", "least", "most"
    );
}

/// A row of durations, in milliseconds.
pub fn durations(what: &str, all: &[Duration], aim: &str) {
    let all: Vec<f64> = all.iter().map(|d| d.as_secs_f64() * 1000.0).collect();
    numbers(what, &all, aim);
}

/// A row of numbers.
pub fn numbers(what: &str, all: &[f64], aim: &str) {
    let mut all = all.to_vec();
    all.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (all.first(), all.last()) else {
        println!("{what:58} nothing was measured");
        return;
    };
    let median = all[all.len() / 2];
    println!("{what:58} {median:9.1} {least:9.1} {most:9.1}  {aim}");
}

/// A row with one number and its unit.
pub fn one(what: &str, number: f64, unit: &str, aim: &str) {
    println!("{what:58} {number:9.2} {unit:19}  {aim}");
}
