//! What is wrong with one word, before its file and line are known.

/// What is wrong with a word, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// The characters of the word that are wrong: the first, from 0, and how many. `None` means the whole word.
    pub at: Option<(usize, usize)>,
}

impl Mistake {
    /// A mistake in the whole word, without a known remedy.
    pub fn new(message: impl Into<String>) -> Self {
        Mistake {
            message: message.into(),
            help: None,
            at: None,
        }
    }

    /// The same for something that is missing on this node and may appear: what follows until then.
    #[must_use]
    pub fn until_it_appears(mut self) -> Self {
        self.message += "; this node does not take the group until that changes";
        self
    }

    /// The same mistake, in these characters of the word.
    #[must_use]
    pub fn at(mut self, characters: Option<(usize, usize)>) -> Self {
        self.at = characters;
        self
    }

    /// The same mistake, with a remedy.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
