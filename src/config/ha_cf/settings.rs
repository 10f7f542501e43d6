//! Directives with one value that may occur once: reading and looking up their values.

use std::path::PathBuf;
use std::time::Duration;

use super::table::{self, ValueForm};
use super::{Directive, HaCfReader};
use crate::config::values::{boolean, delay, number, size, time};
use crate::text::Place;
use crate::text::SourceWord;
use crate::text::{did_you_mean, duration_for_people};

/// The value of a directive that may occur once.
#[derive(Clone, Debug)]
pub(super) enum DirectiveValue {
    Time(Duration),
    Flag(bool),
    Number(u32),
    Text(String),
}

pub(super) struct GivenDirective {
    /// `None` where it could not be read. Then nothing is concluded from it.
    pub value: Option<DirectiveValue>,
    /// The place of the value.
    pub place: Place,
    /// Guessed from a mistyped line, so a correct line may still follow.
    pub guessed: bool,
}

impl HaCfReader<'_> {
    /// Keeps the value as given, for the environment of scripts.
    pub(super) fn record(&mut self, directive: &Directive) {
        if let Some(value) = directive.values.first() {
            let name = directive.name.text.clone();
            self.directives.push((name, value.text.clone()));
        }
    }

    /// The value after the name of an option. Its absence is an error.
    pub(super) fn option_value<'w>(
        &mut self,
        pair: &'w [SourceWord],
        what: &str,
    ) -> Option<&'w SourceWord> {
        let name = pair.first()?;
        let value = pair.get(1);
        if value.is_none() {
            let message = format!("{} needs {what}", name.quoted());
            self.report.error(&name.place, message, "");
        }
        value
    }

    /// Reads `@/FILE`. What stands there instead may be the secret itself, so it is not shown.
    pub(super) fn secret_file(&mut self, word: &SourceWord) -> Option<PathBuf> {
        let path = word.text.strip_prefix('@').filter(|p| p.starts_with('/'));
        if path.is_none() {
            let message = "a secret does not belong into ha.cf";
            let help = "write it to a file that only root can read, and here @ and the path of that file, such as @/etc/ha.d/secret";
            let place = Place {
                text: word
                    .place
                    .text
                    .replace(&word.text, &"*".repeat(word.place.width))
                    .into(),
                ..word.place.clone()
            };
            self.report.error(&place, message, help);
        }
        path.map(PathBuf::from)
    }

    /// Refuses an option that was set before.
    pub(super) fn refuse_second(&mut self, name: &SourceWord, is_second: bool) -> Option<()> {
        if is_second {
            let message = format!("{} is set twice", name.quoted());
            let help = "remove one of the two";
            self.report.error(&name.place, message, help);
        }
        (!is_second).then_some(())
    }

    /// Reads the value of a directive that should occur once. Of heartbeat's own directives the last one counts, as there.
    pub(super) fn read_once(
        &mut self,
        slot: &'static str,
        form: &ValueForm,
        directive: &Directive,
    ) -> Option<DirectiveValue> {
        let name = &directive.name;
        let before = self.settings.get(slot).filter(|s| !s.guessed);
        if let Some(line) = before.map(|s| s.place.line) {
            let again = format!("{} is already set on line {line}", name.quoted());
            let help = "remove one of the two lines";
            if !table::is_of_heartbeat(slot) {
                self.report.error(&name.place, again, help);
                return None;
            }
            let message = format!("{again}: this line counts, as in heartbeat");
            self.report.warning(&name.place, message, help);
        }
        let value = self.read_value(form, directive);
        let place = directive.values.first().map_or(&name.place, |w| &w.place);
        let place = place.clone();
        self.settings.insert(
            slot,
            GivenDirective {
                value: value.clone(),
                place,
                guessed: false,
            },
        );
        value
    }

    fn read_value(&mut self, form: &ValueForm, directive: &Directive) -> Option<DirectiveValue> {
        let name = directive.name.quoted();
        let Some(word) = directive.values.first() else {
            let message = format!("{name} needs {}", form.wanted());
            self.report.error(&directive.name.place, message, "");
            return None;
        };
        if let Some(extra) = directive.values.get(1) {
            let unit = ["ms", "us", "s", "sec", "seconds", "m", "h"].contains(&extra.text.as_str());
            let help = if matches!(form, ValueForm::Time | ValueForm::Delay) && unit {
                "write the number and its unit as one word, for example 500ms or 10s"
            } else {
                "a comment begins with `#`"
            };
            self.report
                .error(&extra.place, format!("{name} takes one value"), help);
            return None;
        }
        let value = parse_value(form, word);
        if let Err(help) = &value {
            let message = format!("{} {}", word.quoted(), form.refusal());
            self.report.error(&word.place, message, help);
        }
        if let Ok(DirectiveValue::Time(time)) = value
            && word.text.contains(|c: char| c.is_ascii_uppercase())
        {
            let read = duration_for_people(time);
            let message = format!("{} is read as {read}, as in heartbeat", word.quoted());
            let help = "write units in small letters";
            self.report.warning(&word.place, message, help);
        }
        value.ok()
    }

    fn value_of(&self, slot: &str) -> Option<&DirectiveValue> {
        self.settings.get(slot)?.value.as_ref()
    }

    pub(super) fn duration(&self, slot: &str) -> Option<Duration> {
        match self.value_of(slot)? {
            DirectiveValue::Time(time) => Some(*time),
            DirectiveValue::Flag(_) | DirectiveValue::Number(_) | DirectiveValue::Text(_) => None,
        }
    }

    pub(super) fn text(&self, slot: &str) -> Option<String> {
        match self.value_of(slot)? {
            DirectiveValue::Text(text) => Some(text.clone()),
            DirectiveValue::Flag(_) | DirectiveValue::Number(_) | DirectiveValue::Time(_) => None,
        }
    }

    pub(super) fn number(&self, slot: &str) -> Option<u32> {
        match self.value_of(slot)? {
            DirectiveValue::Number(number) => Some(*number),
            DirectiveValue::Flag(_) | DirectiveValue::Text(_) | DirectiveValue::Time(_) => None,
        }
    }

    pub(super) fn small_number(&self, slot: &str, default: u8) -> u8 {
        self.number(slot)
            .and_then(|n| u8::try_from(n).ok())
            .unwrap_or(default)
    }

    pub(super) fn flag(&self, slot: &str, default: bool) -> bool {
        match self.value_of(slot) {
            Some(DirectiveValue::Flag(flag)) => *flag,
            _ => default,
        }
    }
}

fn parse_value(form: &ValueForm, word: &SourceWord) -> Result<DirectiveValue, String> {
    let text = word.text.as_str();
    match form {
        ValueForm::Delay => delay(text).map(DirectiveValue::Time),
        ValueForm::Time => time(text).map(DirectiveValue::Time),
        ValueForm::Flag => boolean(text)
            .map(DirectiveValue::Flag)
            .ok_or_else(|| "write on or off".to_owned()),
        ValueForm::Number(least, most) => number(text, *least, *most)
            .map(DirectiveValue::Number)
            .ok_or_else(String::new),
        ValueForm::OneOf(known) if known.contains(&text) => {
            Ok(DirectiveValue::Text(text.to_owned()))
        }
        ValueForm::OneOf(known) => Err(did_you_mean(text, known.iter().copied())),
        ValueForm::Text => Ok(DirectiveValue::Text(text.to_owned())),
        ValueForm::Path if text.starts_with('/') => Ok(DirectiveValue::Text(text.to_owned())),
        ValueForm::Path => Err("write the whole path from `/` on".to_owned()),
        ValueForm::Size => size(text).map(DirectiveValue::Number),
    }
}
