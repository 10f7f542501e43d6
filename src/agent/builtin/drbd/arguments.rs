//! The argument of `drbddisk` and `drbd`: the name of a resource in drbd.conf, or none for all of them.

use crate::text::Mistake;

/// The name of the resource; `None` means all, as with heartbeat.
///
/// # Errors
/// The arguments are wrong.
pub fn parse_resource(name: &str, args: &[String]) -> Result<Option<String>, Mistake> {
    let usage = format!(
        "write {name}::RESOURCE, with a resource of drbd.conf (drbdadm sh-resources lists them)"
    );
    match args {
        [] => Ok(None),
        [all] if all == "all" => Ok(None),
        [one] if is_name(one) => Ok(Some(one.clone())),
        [one] => {
            Err(Mistake::new(format!("`{one}` cannot be the name of a DRBD resource")).help(usage))
        }
        [_, extra, ..] => {
            let message = format!("`{extra}` is one argument too many for {name}");
            Err(Mistake::new(message).help(usage))
        }
    }
}

/// Whether a text can be the name of a resource. Names are passed to programs, and peers send them too.
pub fn is_name(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
    !text.is_empty()
        && text.len() <= 128
        && text.chars().all(good)
        && !text.starts_with(['-', '.', '+'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_is_wanted_and_nothing_that_a_program_would_take_for_an_option() {
        let parse = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            parse_resource("drbddisk", &words).map_err(|m| m.message)
        };
        assert_eq!(parse(&["db-2.new"]).unwrap(), Some("db-2.new".to_owned()));
        assert_eq!(parse(&[]).unwrap(), None);
        assert_eq!(parse(&["all"]).unwrap(), None);
        for (words, wanted) in [
            (&["db", "x"][..], "`x` is one argument too many"),
            (&["--force"], "cannot be the name"),
            (&["a b"], "cannot be the name"),
            (&["../x"], "cannot be the name"),
            (&[""], "cannot be the name"),
        ] {
            assert!(parse(words).unwrap_err().contains(wanted), "{words:?}");
        }
    }
}
