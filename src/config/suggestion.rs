//! "Did you mean": the nearest of the words that would have been right.

/// Longer words are no typing errors of ours, and comparing them costs time.
const LONGEST: usize = 64;

/// The candidate that `word` was probably meant to be.
pub(super) fn closest<'word>(
    word: &str,
    candidates: impl IntoIterator<Item = &'word str>,
) -> Option<&'word str> {
    let length = word.chars().count();
    if length > LONGEST {
        return None;
    }
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&word, &candidate.to_lowercase());
            (distance, candidate)
        })
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= (length / 3).max(1))
        .map(|(_, candidate)| candidate)
}

/// ` (did you mean "…"?)`, or nothing.
pub(super) fn did_you_mean<'word>(
    word: &str,
    candidates: impl IntoIterator<Item = &'word str>,
) -> String {
    closest(word, candidates).map_or_else(String::new, |candidate| {
        format!(" (did you mean {candidate:?}?)")
    })
}

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn a_slip_of_the_finger_is_recognised_and_another_word_is_not() {
        let words = ["listen", "workers"];
        assert_eq!(closest("lsiten", words), Some("listen"));
        assert_eq!(closest("LISTEN", words), Some("listen"));
        assert_eq!(closest("colour", words), None);
    }
}
