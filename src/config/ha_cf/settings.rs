//! Directives with one value, said at most once: read, kept, and asked for.

use std::time::Duration;

use super::table::Shape;
use super::{Reader, Statement};
use crate::config::values::{boolean, number, size, time};
use crate::text::Place;
use crate::text::SourceWord;
use crate::text::did_you_mean;

/// A value of a directive that is said at most once.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Time(Duration),
    Flag(bool),
    Number(u32),
    Text(String),
}

pub(super) struct Setting {
    /// None where it could not be read: then nothing is concluded from it.
    pub value: Option<Value>,
    /// Where the value stands.
    pub place: Place,
    /// Only guessed from a mistyped line: a proper line may still come.
    pub guessed: bool,
}

impl Reader<'_> {
    /// Keeps a directive as given, for the environment of scripts.
    pub(super) fn record(&mut self, statement: &Statement) {
        if let Some(value) = statement.values.first() {
            let name = statement.name.text.clone();
            self.directives.push((name, value.text.clone()));
        }
    }

    /// Reads the one value of a directive that may be said once.
    pub(super) fn one(
        &mut self,
        slot: &'static str,
        shape: &Shape,
        classic: bool,
        statement: &Statement,
    ) -> Option<Value> {
        let name = &statement.name;
        if let Some(before) = self.settings.get(slot).filter(|s| !s.guessed) {
            let message = format!(
                "{} is already set on line {}",
                name.quoted(),
                before.place.line
            );
            self.report
                .error(&name.place, message, "remove one of the two lines");
            return None;
        }
        let value = self.value(shape, classic, statement);
        let place = statement.values.first().map_or(&name.place, |w| &w.place);
        let place = place.clone();
        self.settings.insert(
            slot,
            Setting {
                value: value.clone(),
                place,
                guessed: false,
            },
        );
        value
    }

    fn value(&mut self, shape: &Shape, classic: bool, statement: &Statement) -> Option<Value> {
        let name = statement.name.quoted();
        let Some(word) = statement.values.first() else {
            let message = format!("{name} needs {}", shape.wanted());
            self.report.error(&statement.name.place, message, "");
            return None;
        };
        if let Some(extra) = statement.values.get(1) {
            let unit = ["ms", "us", "s", "sec", "seconds", "m", "h"].contains(&extra.text.as_str());
            let help = if matches!(shape, Shape::Time | Shape::Delay) && unit {
                "write the number and its unit as one word, for example 500ms or 10s"
            } else {
                "a comment begins with `#`"
            };
            self.report
                .error(&extra.place, format!("{name} takes one value"), help);
            return None;
        }
        let value = self.shaped(shape, classic, word);
        if let Err(help) = &value {
            let message = format!("{} is not {}", word.quoted(), shape.wanted());
            self.report.error(&word.place, message, help);
        }
        value.ok()
    }

    fn shaped(&mut self, shape: &Shape, classic: bool, word: &SourceWord) -> Result<Value, String> {
        let text = word.text.as_str();
        match shape {
            Shape::Delay if ["0", "0s"].contains(&text) => Ok(Value::Time(Duration::ZERO)),
            Shape::Time | Shape::Delay => self.time(word, classic).map(Value::Time),
            Shape::Flag => boolean(text)
                .map(Value::Flag)
                .ok_or_else(|| "write on or off".to_owned()),
            Shape::Number(least, most) => number(text, *least, *most)
                .map(Value::Number)
                .ok_or_else(String::new),
            Shape::OneOf(known) if known.contains(&text) => Ok(Value::Text(text.to_owned())),
            Shape::OneOf(known) => Err(did_you_mean(text, known.iter().copied())),
            Shape::Text => Ok(Value::Text(text.to_owned())),
            Shape::Path if text.starts_with('/') => Ok(Value::Text(text.to_owned())),
            Shape::Path => Err("write the whole path from `/` on".to_owned()),
            Shape::Size => size(text).map(Value::Number),
        }
    }

    fn time(&mut self, word: &SourceWord, classic: bool) -> Result<Duration, String> {
        let span = time(&word.text)?;
        if classic && !span.classic {
            self.modern.push(word.clone());
        }
        Ok(span.time)
    }

    fn value_of(&self, slot: &str) -> Option<&Value> {
        self.settings.get(slot)?.value.as_ref()
    }

    pub(super) fn duration(&self, slot: &str) -> Option<Duration> {
        match self.value_of(slot)? {
            Value::Time(time) => Some(*time),
            Value::Flag(_) | Value::Number(_) | Value::Text(_) => None,
        }
    }

    pub(super) fn text(&self, slot: &str) -> Option<String> {
        match self.value_of(slot)? {
            Value::Text(text) => Some(text.clone()),
            Value::Flag(_) | Value::Number(_) | Value::Time(_) => None,
        }
    }

    pub(super) fn number(&self, slot: &str) -> Option<u32> {
        match self.value_of(slot)? {
            Value::Number(number) => Some(*number),
            Value::Flag(_) | Value::Text(_) | Value::Time(_) => None,
        }
    }

    pub(super) fn small(&self, slot: &str, default: u8) -> u8 {
        self.number(slot)
            .and_then(|n| u8::try_from(n).ok())
            .unwrap_or(default)
    }

    pub(super) fn flag(&self, slot: &str, default: bool) -> bool {
        match self.value_of(slot) {
            Some(Value::Flag(flag)) => *flag,
            _ => default,
        }
    }
}
