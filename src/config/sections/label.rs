//! Names that become metric labels, log fields and references.

use super::super::node::Text;

const LONGEST: usize = 128;

/// Whether `name` can be shown anywhere without harm.
fn is_label(name: &str) -> bool {
    let printable = |character: char| {
        character == ' ' || !(character.is_control() || character.is_whitespace())
    };
    !name.is_empty()
        && name.trim() == name
        && name.chars().count() <= LONGEST
        && name.chars().all(printable)
}

/// Refuses names that cannot be labels, mean something else already, or are taken.
pub(super) fn check(text: &Text<'_>, reserved: &[&str], taken: &[Option<&str>]) {
    if let Some(problem) = problem(text.value, reserved, taken) {
        text.node.fault(problem);
    }
}

/// What is wrong with `name`.
pub(super) fn problem(
    name: &str,
    reserved: &[&str],
    taken: &[Option<&str>],
) -> Option<&'static str> {
    if !is_label(name) {
        Some(
            "is not a usable name, expected 1 to 128 printable characters without blanks around them",
        )
    } else if reserved.contains(&name) {
        Some("is a word that metrics use for something else, expected another name")
    } else if taken.contains(&Some(name)) {
        Some("is a name that an earlier section has, expected a name of its own")
    } else {
        None
    }
}
