//! "Did you mean": the known word nearest to a mistyped one.

use strsim::osa_distance;

/// Longer words are not compared: our own names are shorter, and comparing takes the product of the lengths.
const MAX_CHARS: usize = 40;

/// The candidate that `word` most likely stands for, in any case; a third of its letters may be wrong.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.chars().nth(MAX_CHARS).is_some() {
        return None;
    }
    let lower = word.to_lowercase();
    let length = lower.chars().count();
    candidates
        .into_iter()
        .filter(|c| c.chars().nth(MAX_CHARS).is_none())
        .map(|c| (osa_distance(&lower, &c.to_lowercase()), c))
        .filter(|(wrong, c)| *wrong <= (c.chars().count().max(length) / 3).max(1))
        .min_by_key(|(wrong, _)| *wrong)
        .map(|(_, c)| c)
}

/// [`nearest`] as a question; empty where nothing is near.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map_or_else(String::new, |c| format!("did you mean `{c}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_slip_counts_once() {
        for (word, known) in [
            ("keepalvie", "keepalive"),
            ("keepaliv", "keepalive"),
            ("kkeepalive", "keepalive"),
            ("daedtmie", "deadtime"),
            ("noda", "node"),
            ("ba", "ab"),
        ] {
            assert_eq!(nearest(word, [known]), Some(known), "{word}");
        }
    }

    #[test]
    fn only_near_words_are_suggested() {
        let known = ["keepalive", "deadtime", "node", "ping"];
        assert_eq!(nearest("KEEPALIVE", known), Some("keepalive"));
        assert_eq!(nearest("dedtime", known), Some("deadtime"));
        assert_eq!(nearest("nodes", known), Some("node"));
        assert_eq!(nearest("vrrp_instance", known), None);
        assert_eq!(nearest(&"n".repeat(1_000_000), known), None);
        assert_eq!(did_you_mean("pong", known), "did you mean `ping`?");
        assert_eq!(did_you_mean("", known), "");
    }
}
