//! "Did you mean": the known word nearest to a mistyped one.

/// Longer words are not compared: nobody mistypes a name of ours that way.
const LONGEST: usize = 40;

/// The candidate that `word` most likely stands for, if one is near enough: a third of its letters may be wrong.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.to_lowercase().chars().take(LONGEST + 1).collect();
    if word.len() > LONGEST {
        return None;
    }
    candidates
        .into_iter()
        .map(|c| {
            (
                distance(&word, &c.to_lowercase().chars().collect::<Vec<_>>()),
                c,
            )
        })
        .filter(|(d, c)| *d <= (c.chars().count().max(word.len()) / 3).max(1))
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}

/// `nearest` as a sentence, or nothing.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map_or_else(String::new, |c| format!("did you mean `{c}`?"))
}

/// Insertions, deletions, substitutions and swaps of neighbours that make `a` into `b`.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut older: Vec<usize> = vec![usize::MAX / 2; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut before = None;
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        let mut left = i + 1;
        let mut beside = None;
        // `last[j]` is above, `last[j - 1]` above left; `older` is the row above that.
        let above = last.iter().zip(last.iter().skip(1));
        let corner = std::iter::once(usize::MAX / 2).chain(older.iter().copied());
        for ((&y, (&diagonal, &up)), corner) in b.iter().zip(above).zip(corner) {
            let mut best = (diagonal + usize::from(x != y)).min(up + 1).min(left + 1);
            if before == Some(y) && beside == Some(x) {
                best = best.min(corner + 1);
            }
            row.push(best);
            left = best;
            beside = Some(y);
        }
        before = Some(x);
        older = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(a: &str, b: &str) -> usize {
        distance(
            &a.chars().collect::<Vec<_>>(),
            &b.chars().collect::<Vec<_>>(),
        )
    }

    #[test]
    fn distances_count_every_kind_of_slip() {
        for (a, b, d) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("keepalive", "keepalive", 0),
            ("keepalive", "keepalvie", 1),
            ("keepalive", "keepaliv", 1),
            ("keepalive", "kkeepalive", 1),
            ("deadtime", "daedtmie", 2),
            ("node", "noda", 1),
            ("ab", "ba", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(between(a, b), d, "{a} {b}");
            assert_eq!(between(b, a), d, "{b} {a}");
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
