//! Text from files, programs and other machines, made harmless for a terminal.
//!
//! Control characters can start escape sequences that move the cursor or change the terminal; bidirectional overrides
//! and invisible characters make a text look like another one. All of them become U+FFFD.

/// The character as it may be shown: a blank for a tab or line end, U+FFFD for whatever would steer a terminal.
pub fn printable_char(c: char) -> char {
    match c {
        '\t' | '\n' => ' ',
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{feff}' => {
            char::REPLACEMENT_CHARACTER
        }
        '\u{2060}'..='\u{206f}' => char::REPLACEMENT_CHARACTER,
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

/// The text on one line.
pub fn printable(text: &str) -> String {
    text.chars().map(printable_char).collect()
}

/// The text with its line ends and tabs.
pub fn printable_lines(text: &str) -> String {
    let keep = |c| {
        if matches!(c, '\n' | '\t') {
            c
        } else {
            printable_char(c)
        }
    };
    text.chars().map(keep).collect()
}

/// The text on one line of at most `max` characters; `...` follows where it is cut.
pub fn one_line(text: &str, max: usize) -> String {
    let mut line: String = text.chars().take(max).map(printable_char).collect();
    if text.chars().nth(max).is_some() {
        line.push_str("...");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_the_terminal() {
        let hostile = "a\u{1b}[2J\u{9b}31m\r\u{7}\u{7f}b\u{202e}c\u{2066}d\u{200b}e\u{feff}\u{0}";
        for shown in [printable(hostile), printable_lines(hostile)] {
            assert!(!shown.contains(|c: char| c.is_control()), "{shown:?}");
            assert_eq!(shown.replace('\u{fffd}', ""), "a[2J31mbcde");
        }
        assert_eq!(printable("a\n\tb"), "a  b");
        assert_eq!(printable_lines("a\n\tb"), "a\n\tb");
        assert_eq!(printable("grüß 节点 \u{1f600}"), "grüß 节点 \u{1f600}");
    }

    #[test]
    fn a_long_text_is_cut() {
        assert_eq!(one_line("abc", 3), "abc");
        assert_eq!(one_line("a\u{1b}cd", 3), "a\u{fffd}c...");
    }
}
