//! Which rule governs a request: host, then path, then method.
//!
//! Owns the table of routes, built once and never changed. Host before no host, then exact path, then
//! longest prefix; the method is judged among the routes of that host and path alone. A look-up costs one
//! step a path segment, however many routes there are.

use std::collections::HashMap;

use http::Method;

use crate::config::{PathPattern, Route, RouteId};

/// Every route.
#[derive(Debug)]
pub(super) struct RouteTable {
    by_host: HashMap<String, Tree>,
    any_host: Tree,
}

/// What a look-up gives.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'table> {
    /// The route.
    Route(RouteId),
    /// Routes match, and none allows the method; the first of them, and what Allow says.
    OtherMethods(RouteId, &'table str),
    /// No route matches.
    Nothing,
}

impl RouteTable {
    /// Builds the table; [`RouteId`] is the place in `routes`.
    pub(super) fn new(routes: &[Route]) -> Self {
        let mut table = Self {
            by_host: HashMap::new(),
            any_host: Tree::new(),
        };
        for (id, route) in (0..).map(RouteId).zip(routes) {
            let tree = match &route.host {
                Some(host) => table.by_host.entry(host.clone()).or_insert_with(Tree::new),
                None => &mut table.any_host,
            };
            tree.insert(id, route);
        }
        table
    }

    /// The route of `method` on `path` (decoded once) at `host` (without port, in any case).
    pub(super) fn find(&self, host: &str, path: &str, method: &Method) -> Found<'_> {
        self.tree_of(host)
            .and_then(|tree| tree.find(path))
            .or_else(|| self.any_host.find(path))
            .map_or(Found::Nothing, |place| place.choose(method))
    }

    fn tree_of(&self, host: &str) -> Option<&Tree> {
        if self.by_host.is_empty() {
            return None;
        }
        match self.by_host.get(host) {
            None if host.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                self.by_host.get(&host.to_ascii_lowercase())
            }
            found => found,
        }
    }
}

/// The paths of one host, segment by segment.
#[derive(Debug)]
struct Tree {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    children: HashMap<String, usize>,
    exact: Option<Place>,
    prefix: Option<Place>,
}

/// The routes of one host and path.
#[derive(Debug, Default)]
struct Place {
    routes: Vec<(RouteId, Option<Vec<Method>>)>,
    allow: String,
}

impl Tree {
    fn new() -> Self {
        Self {
            nodes: vec![Node::default()],
        }
    }

    fn insert(&mut self, id: RouteId, route: &Route) {
        let (PathPattern::Exact(segments) | PathPattern::Prefix(segments)) = &route.path;
        let mut at = 0;
        for segment in segments {
            at = self.child_of(at, segment);
        }
        let Some(node) = self.nodes.get_mut(at) else {
            return;
        };
        let place = match route.path {
            PathPattern::Exact(_) => &mut node.exact,
            PathPattern::Prefix(_) => &mut node.prefix,
        };
        place
            .get_or_insert_default()
            .add(id, route.methods.as_deref());
    }

    fn child_of(&mut self, parent: usize, segment: &str) -> usize {
        let next = self.nodes.len();
        let Some(node) = self.nodes.get_mut(parent) else {
            return parent;
        };
        let child = *node.children.entry(segment.to_owned()).or_insert(next);
        if child == next {
            self.nodes.push(Node::default());
        }
        child
    }

    fn find(&self, path: &str) -> Option<&Place> {
        let mut node = self.nodes.first()?;
        let mut longest = node.prefix.as_ref();
        for segment in path.strip_prefix('/')?.split('/') {
            match node.children.get(segment) {
                Some(child) => node = self.nodes.get(*child)?,
                None => return longest,
            }
            longest = node.prefix.as_ref().or(longest);
        }
        node.exact.as_ref().or(longest)
    }
}

impl Place {
    fn add(&mut self, id: RouteId, methods: Option<&[Method]>) {
        for method in methods.unwrap_or_default() {
            self.allow(method);
            if method == Method::GET {
                self.allow(&Method::HEAD);
            }
        }
        self.routes.push((id, methods.map(<[_]>::to_vec)));
    }

    fn allow(&mut self, method: &Method) {
        if self.allow.split(", ").any(|known| known == method.as_str()) {
            return;
        }
        if !self.allow.is_empty() {
            self.allow.push_str(", ");
        }
        self.allow.push_str(method.as_str());
    }

    fn choose(&self, method: &Method) -> Found<'_> {
        let allows = |methods: &Option<Vec<Method>>| match methods {
            None => true,
            Some(methods) => methods.iter().any(|allowed| {
                allowed == method || (allowed == Method::GET && method == Method::HEAD)
            }),
        };
        match self.routes.iter().find(|(_, methods)| allows(methods)) {
            Some((id, _)) => Found::Route(*id),
            None => match self.routes.first() {
                Some((id, _)) => Found::OtherMethods(*id, &self.allow),
                None => Found::Nothing,
            },
        }
    }
}
