//! `path` and `strip_prefix` of a route.

use super::super::PathPattern;
use super::super::node::Text;

/// Reads the path of a route.
pub(super) fn read(text: &Text<'_>) -> Option<PathPattern> {
    match parse(text.value) {
        Ok(pattern) => Some(pattern),
        Err(problem) => {
            text.node.fault(format!(
                "{problem}, expected an exact path such as \"/orders\" or a prefix such as \"/orders/*\""
            ));
            None
        }
    }
}

fn parse(path: &str) -> Result<PathPattern, &'static str> {
    match path.strip_suffix("/*") {
        Some("") => Ok(PathPattern::Prefix(Vec::new())),
        Some(prefix) => {
            let segments = split(prefix)?;
            if segments.last().is_some_and(String::is_empty) {
                return Err("holds an empty segment (//)");
            }
            Ok(PathPattern::Prefix(segments))
        }
        None => split(path).map(PathPattern::Exact),
    }
}

/// The segments of a path; the last one may be empty. What a request's path can never be is refused.
fn split(path: &str) -> Result<Vec<String>, &'static str> {
    let Some(rest) = path.strip_prefix('/') else {
        return Err("does not begin with a slash");
    };
    if rest.contains('*') {
        return Err("holds * elsewhere than in a final /*");
    }
    if rest.contains(['?', '#']) {
        return Err("holds a query or fragment (? or #)");
    }
    if rest.contains(';') {
        return Err("holds a path parameter (;)");
    }
    if rest.contains('\\') || rest.contains(char::is_control) {
        return Err("holds a backslash or a control character");
    }
    if holds_escape(rest) {
        return Err("holds a percent escape (write the decoded character)");
    }
    let segments: Vec<String> = rest.split('/').map(str::to_owned).collect();
    if segments
        .iter()
        .any(|segment| segment == "." || segment == "..")
    {
        return Err("holds a dot segment (. or ..)");
    }
    let inner = segments.split_last().map_or(&[][..], |(_, inner)| inner);
    if inner.iter().any(String::is_empty) {
        return Err("holds an empty segment (//)");
    }
    Ok(segments)
}

fn holds_escape(text: &str) -> bool {
    text.split('%').skip(1).any(|after| {
        let mut digits = after.bytes();
        let mut digit = || digits.next().is_some_and(|byte| byte.is_ascii_hexdigit());
        digit() && digit()
    })
}

/// Reads `strip_prefix`, which must be a prefix of `pattern`.
pub(super) fn read_strip_prefix(text: &Text<'_>, pattern: Option<&PathPattern>) -> Vec<String> {
    if text.value.is_empty() {
        return Vec::new();
    }
    let expected = "expected whole segments from the front of `path`, such as \"/api\", without a slash at the end";
    let segments = match split(text.value) {
        Ok(segments) if segments.last().is_some_and(String::is_empty) => Err("ends in a slash"),
        other => other,
    };
    let segments = match segments {
        Ok(segments) => segments,
        Err(problem) => {
            text.node.fault(format!("{problem}, {expected}"));
            return Vec::new();
        }
    };
    if let Some(PathPattern::Exact(path) | PathPattern::Prefix(path)) = pattern
        && !path.starts_with(&segments)
    {
        text.node
            .fault(format!("is not a prefix of this route's path, {expected}"));
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(list: &[&str]) -> Vec<String> {
        list.iter().map(|segment| (*segment).to_owned()).collect()
    }

    #[test]
    fn a_path_is_split_at_its_slashes() {
        assert_eq!(parse("/"), Ok(PathPattern::Exact(segments(&[""]))));
        assert_eq!(parse("/a/b"), Ok(PathPattern::Exact(segments(&["a", "b"]))));
        assert_eq!(parse("/a/"), Ok(PathPattern::Exact(segments(&["a", ""]))));
        assert_eq!(parse("/*"), Ok(PathPattern::Prefix(Vec::new())));
        assert_eq!(
            parse("/a b/ü/*"),
            Ok(PathPattern::Prefix(segments(&["a b", "ü"])))
        );
    }

    #[test]
    fn a_path_that_no_request_can_have_is_refused() {
        for wrong in [
            "", "a", "*", "/a*", "/*/b", "/a/**", "/a//b", "//", "//*", "/a//*", "/./a", "/a/..",
            "/a/../*", "/a?b", "/a#b", "/a;b", "/a%20b", "/%2F", "/a\\b", "/a\u{7f}", "/a\n",
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
