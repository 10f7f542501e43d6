//! The capabilities of this process.

use std::fs;

/// Their numbers in the kernel, and what they are needed for.
const NEEDED: [(u32, &str); 2] = [(12, "CAP_NET_ADMIN"), (13, "CAP_NET_RAW")];

/// What this process lacks to set addresses and to announce them; none if it has all.
pub fn missing_for_addresses() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    missing(&status)
}

fn missing(status: &str) -> Option<String> {
    let line = status.lines().find_map(|l| l.strip_prefix("CapEff:"))?;
    let effective = u64::from_str_radix(line.trim(), 16).ok()?;
    let (_, name) = NEEDED.iter().find(|(bit, _)| effective & (1 << bit) == 0)?;
    Some(format!(
        "had lacks the capability {name}, without which it cannot set and announce addresses: start it as root, and look at \
         CapabilityBoundingSet in its unit"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_capability_is_named() {
        let status = |set: &str| format!("Name:\thad\nCapInh:\t0\nCapEff:\t{set}\n");
        assert_eq!(missing(&status("000001ffffffffff")), None);
        assert_eq!(missing("Name:\thad\n"), None);
        let without = |set: &str| missing(&status(set)).unwrap();
        assert!(without("000001ffffffefff").contains("CAP_NET_ADMIN"));
        assert!(without("000001ffffffdfff").contains("CAP_NET_RAW"));
        assert!(without("0").contains("CAP_NET_ADMIN"));
    }
}
