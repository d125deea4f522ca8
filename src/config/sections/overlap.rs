//! Two routes that one request could take.

use http::Method;

use super::super::Route;

/// What is wrong with `route` beside one of the `earlier` ones.
pub(super) fn find<'route>(
    route: &Route,
    mut earlier: impl Iterator<Item = &'route Route>,
) -> Option<String> {
    let other = earlier.find(|other| {
        other.host == route.host
            && other.path == route.path
            && share(other.methods.as_deref(), route.methods.as_deref())
    })?;
    Some(format!(
        "has host, path and a method in common with the route {:?}, expected one of them to differ",
        other.name
    ))
}

/// Whether one request's method could be in both lists. GET includes HEAD.
pub(super) fn share(one: Option<&[Method]>, other: Option<&[Method]>) -> bool {
    let (Some(one), Some(other)) = (one, other) else {
        return true;
    };
    let takes = |list: &[Method], method: &Method| {
        list.contains(method) || (method == Method::HEAD && list.contains(&Method::GET))
    };
    one.iter().any(|method| takes(other, method)) || other.iter().any(|method| takes(one, method))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_shared_when_one_request_fits_both_lists() {
        let get = [Method::GET];
        let head = [Method::HEAD];
        let post = [Method::POST];
        assert!(share(Some(&get), Some(&head)));
        assert!(share(Some(&head), Some(&get)));
        assert!(share(None, Some(&post)));
        assert!(!share(Some(&get), Some(&post)));
    }
}
