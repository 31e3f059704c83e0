//! Names, each kept once and stood for by a number: a million lines name a few
//! participants.

use std::collections::HashMap;

/// A name of a participant or a room: a number that stands for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct NameId(u32);

/// No name.
pub const NO_NAME: NameId = NameId(0);

/// The names in the logs, each kept once.
#[derive(Debug)]
pub struct Names {
    texts: Vec<Box<str>>,
    folded: Vec<NameId>,
    index: HashMap<Box<str>, NameId>,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            texts: vec!["".into()],
            folded: vec![NO_NAME],
            index: HashMap::from([("".into(), NO_NAME)]),
        }
    }
}

impl Names {
    /// The number of a name.
    pub(super) fn id(&mut self, text: &str) -> NameId {
        if let Some(id) = self.index.get(text) {
            return *id;
        }
        let id = NameId(self.texts.len() as u32);
        self.texts.push(text.into());
        self.folded.push(id);
        self.index.insert(text.into(), id);
        let lower = text.to_lowercase();
        if lower != text {
            self.folded[id.0 as usize] = self.id(&lower);
        }
        id
    }

    /// The name itself.
    pub fn text(&self, id: NameId) -> &str {
        &self.texts[id.0 as usize]
    }

    /// What two names have in common that count as the same: upper and lower
    /// case are not told apart.
    pub fn folded(&self, id: NameId) -> NameId {
        self.folded[id.0 as usize]
    }

    /// Whether two names count as the same.
    pub fn same(&self, a: NameId, b: NameId) -> bool {
        self.folded(a) == self.folded(b)
    }

    /// The number of a name in the logs, if it is there; the case must be
    /// right only where names differ in nothing else.
    pub fn find(&self, text: &str) -> Option<NameId> {
        let exact = self.index.get(text);
        exact
            .or_else(|| self.index.get(&*text.to_lowercase()))
            .copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_in_case_alone_are_the_same() {
        let mut names = Names::default();
        let (written, lower, other) = (names.id("Åse"), names.id("åse"), names.id("Aase"));
        assert_ne!(written, lower);
        assert!(names.same(written, lower) && !names.same(written, other));
        assert_eq!(names.text(written), "Åse");
        assert_eq!(names.id("Åse"), written);
        assert_eq!(
            (names.find("Åse"), names.find("ÅSE")),
            (Some(written), Some(lower))
        );
        assert_eq!(names.find("Bob"), None);
        assert_eq!(names.id(""), NO_NAME);
    }
}
