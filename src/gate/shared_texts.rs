//! What the tokens of one issuer mostly have in common, kept once for all of them.
//!
//! Owns the last `iss`, scopes and audiences that were seen: a verified token that has the same shares them, which saves
//! memory, and the processor finds them in its caches. A token that differs has its own. Knows nothing of what they mean.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

/// A list of texts.
type Texts = Arc<[Box<str>]>;

/// The last of each.
#[derive(Debug, Default)]
pub(super) struct SharedTexts {
    iss: ArcSwap<Arc<str>>,
    scopes: ArcSwap<Texts>,
    audiences: ArcSwap<Texts>,
}

impl SharedTexts {
    pub(super) fn iss(&self, iss: &str) -> Arc<str> {
        let last = self.iss.load();
        if ***last == *iss {
            return Arc::clone(&last);
        }
        let fresh = Arc::<str>::from(iss);
        self.iss.store(Arc::new(Arc::clone(&fresh)));
        fresh
    }

    pub(super) fn scopes<'text>(&self, scopes: impl Iterator<Item = &'text str> + Clone) -> Texts {
        share(&self.scopes, scopes)
    }

    pub(super) fn audiences<'text>(
        &self,
        audiences: impl Iterator<Item = &'text str> + Clone,
    ) -> Texts {
        share(&self.audiences, audiences)
    }
}

fn share<'text>(last: &ArcSwap<Texts>, texts: impl Iterator<Item = &'text str> + Clone) -> Texts {
    let held: Guard<Arc<Texts>> = last.load();
    if held.iter().map(|text| &**text).eq(texts.clone()) {
        return Texts::clone(&held);
    }
    let fresh: Texts = texts.map(Box::from).collect();
    last.store(Arc::new(Arc::clone(&fresh)));
    fresh
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &SharedTexts, scopes: &str) -> Texts {
        texts.scopes(scopes.split(' ').filter(|scope| !scope.is_empty()))
    }

    #[test]
    fn equal_texts_are_one_and_different_ones_stay_what_they_are() {
        let texts = SharedTexts::default();
        let (first, same) = (of(&texts, "a b"), of(&texts, "a b"));
        assert!(Arc::ptr_eq(&first, &same));
        for other in ["a", "a b c", "b a", ""] {
            let list: Vec<_> = other.split(' ').filter(|scope| !scope.is_empty()).collect();
            assert_eq!(
                of(&texts, other).iter().map(|it| &**it).collect::<Vec<_>>(),
                list
            );
        }
        assert_eq!(first.iter().map(|it| &**it).collect::<Vec<_>>(), ["a", "b"]);
        let iss = texts.iss("https://one.example/");
        assert!(Arc::ptr_eq(&iss, &texts.iss("https://one.example/")));
        assert_eq!(&*texts.iss("https://two.example/"), "https://two.example/");
    }
}
