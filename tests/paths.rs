//! Which route a request belongs to, and that a path which servers read differently belongs to none.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

use serde_json::json;
use support::{Request, Response, Stage, raw, token};

const ROUTES: &str = r#"
path = "/admin/*"
upstream = "api"
[[route]]
path = "/*"
upstream = "api"
auth = "none"
"#;

fn get(stage: &Stage, target: &str) -> Response {
    raw(
        stage.gateway.public,
        format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(),
    )
    .unwrap_or_else(|| panic!("no answer to {target:?}"))
}

const AMBIGUOUS: &[&str] = &[
    "/public/../admin",
    "/public/./admin",
    "/..",
    "/.",
    "/a/..",
    "/a/.",
    "/../admin",
    "/./admin",
    "/public/%2e%2e/admin",
    "/public/%2E./admin",
    "/public/.%2e/admin",
    "/%2e/admin",
    "/public/%252e%252e/admin",
    "/%2561dmin",
    "/a%252Fb",
    "/public/..;/admin",
    "/public;x/admin",
    "/admin;x",
    "/;/admin",
    "/a%3Bx",
    "/a%3bx/..",
    "//admin",
    "/public//admin",
    "/public///",
    "/admin//",
    "/a%2Fb",
    "/a%2fb",
    "/public%2f..%2fadmin",
    "/a%5Cb",
    "/a%5c..%5cadmin",
    "/a\\b",
    "/\\admin",
    "/a%00",
    "/admin%00.png",
    "/a%0d%0aX-Admin:%201",
    "/a%0A",
    "/a%09",
    "/a%7f",
    "/a%1b",
    "/a%c2%85",
    "/%c0%af",
    "/%c0%ae%c0%ae/admin",
    "/%ff",
    "/%e9",
    "/%ed%a0%80",
    "/%",
    "/%2",
    "/%zz",
    "/a%u002f",
];

// T121
#[test]
fn a_path_that_servers_read_differently_is_refused() {
    let stage = Stage::with("", ROUTES);
    for target in AMBIGUOUS.iter().copied() {
        let answer = get(&stage, target);
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (400, "path_ambiguous"),
            "{target}"
        );
    }
    for target in ["/caf\u{e9}", "/a\u{0}", "/a\u{7f}", "/a\u{1b}"] {
        let answer = get(&stage, target);
        assert_eq!(answer.status, 400, "{target:?}");
        assert!(
            ["path_ambiguous", "request_malformed", ""].contains(&answer.reason().as_str()),
            "{target:?}"
        );
    }
    assert_eq!(stage.upstream.count(), 0);
}

// T121
#[test]
fn a_path_is_matched_decoded_once_and_sent_as_it_came() {
    let stage = Stage::with("", ROUTES);
    for (target, is_guarded) in [
        ("/admin", true),
        ("/admin/", true),
        ("/admin/x", true),
        ("/%61dmin/x", true),
        ("/adm%69n", true),
        ("/admin/%2Dx%20y", true),
        ("/admin?x=/public", true),
        ("/admin?x=/../public", true),
        ("/admin/%C3%A9", true),
        ("/admin/a%25zz", true),
        ("/ADMIN", false),
        ("/Admin/x", false),
        ("/admins", false),
        ("/admin.", false),
        ("/admin%20", false),
        ("/admin%C2%A0", false),
        ("/x/admin", false),
        ("/a...b/..c/d..", false),
        ("/x?/admin", false),
        ("/a|b{c}\"", false),
        ("/a:b@c&d=e+f$g,h!i*j'(k)~", false),
    ] {
        let answer = get(&stage, target);
        assert_eq!(
            answer.status,
            if is_guarded { 401 } else { 200 },
            "{target}"
        );
        let answer = stage.gateway.get(target, &token(json!({})));
        assert_eq!(answer.status, 200, "{target}");
        assert_eq!(stage.upstream.last().target, target, "{target}");
    }
    // What a client should never have sent is either dropped or refused, but never opens a guarded path.
    assert!([400, 401].contains(&get(&stage, "/admin#/public").status));
}

#[test]
fn an_encoded_slash_can_be_kept_and_separates_nothing() {
    let top = "[server]\nlisten = [\"127.0.0.1:0\"]\nencoded_slash = \"keep\"\n";
    let routes = "path = \"/open/*\"\nupstream = \"api\"\nauth = \"none\"\n[[route]]\npath = \"/*\"\nupstream = \"api\"";
    let stage = Stage::with_all(top, "", routes);
    for (target, status, reason) in [
        ("/open/a%2Fb", 200, ""),
        ("/open/a%2f", 200, ""),
        ("/open/%2F", 200, ""),
        ("/open%2Fa", 401, "token_missing"),
        ("/x%2Fopen/a", 401, "token_missing"),
        ("/open/%2e%2e%2Fa", 400, "path_ambiguous"),
        ("/open/..%2Fa", 400, "path_ambiguous"),
        ("/open/a%2F..", 400, "path_ambiguous"),
        ("/open/a%252Fb", 400, "path_ambiguous"),
        ("/open/a%5Cb", 400, "path_ambiguous"),
        ("/open/a;b", 400, "path_ambiguous"),
        ("/open/a%00b", 400, "path_ambiguous"),
    ] {
        let answer = get(&stage, target);
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (status, reason),
            "{target}"
        );
        if status == 200 {
            assert_eq!(stage.upstream.last().target, target);
        }
    }
}

#[test]
fn path_parameters_can_be_kept_and_hide_nothing() {
    let top = "[server]\nlisten = [\"127.0.0.1:0\"]\npath_parameters = \"keep\"\n";
    let stage = Stage::with_all(top, "", ROUTES);
    for (target, status, reason) in [
        ("/a;x=1/b", 200, ""),
        ("/a;x=1;y=2", 200, ""),
        ("/a%3Bx", 200, ""),
        ("/admin/a;x", 401, "token_missing"),
        ("/a/..;/admin", 400, "path_ambiguous"),
        ("/a/..;x=1/admin", 400, "path_ambiguous"),
        ("/a/.;/admin", 400, "path_ambiguous"),
        ("/a/..%3B/admin", 400, "path_ambiguous"),
        ("/a%2Fb", 400, "path_ambiguous"),
    ] {
        let answer = get(&stage, target);
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (status, reason),
            "{target}"
        );
        if status == 200 {
            assert_eq!(stage.upstream.last().target, target);
        }
    }
}

/// Each route tells its name in the scopes that it asks for.
fn tell_tale_routes() -> String {
    [
        ("", "/orders/*", ""),
        ("", "/orders", "methods = [\"POST\"]"),
        ("", "/orders/special/*", ""),
        ("", "/orders/special/one", ""),
        ("api.example.com", "/*", ""),
        ("api.example.com", "/users/*", "methods = [\"GET\"]"),
        ("api.example.com", "/users/*", "methods = [\"PUT\", \"PATCH\"]"),
        ("", "/users/*", ""),
        ("", "/", ""),
    ]
    .iter()
    .enumerate()
    .map(|(number, (host, path, more))| {
        let section = if number == 0 { "" } else { "[[route]]\n" };
        let host = if host.is_empty() { String::new() } else { format!("host = \"{host}\"\n") };
        format!("{section}name = \"r{number}\"\n{host}path = \"{path}\"\nupstream = \"api\"\nscopes = [\"r{number}\"]\n{more}\n")
    })
    .collect::<Vec<_>>()
    .concat()
}

/// Method, host and path, and the route (by its scope) or answer that they find.
const LOOK_UPS: &[(&str, &str, &str, &str)] = &[
    ("GET", "any", "/orders/x", "r0"),
    ("GET", "any", "/orders/", "r0"),
    ("GET", "any", "/orders/x/y/z", "r0"),
    ("POST", "any", "/orders", "r1"),
    ("POST", "any", "/orders/", "r0"),
    ("GET", "any", "/orders", "405 POST"),
    ("GET", "any", "/ordersx", "404"),
    ("GET", "any", "/Orders/x", "404"),
    ("GET", "any", "/order", "404"),
    ("GET", "any", "/orders/special", "r2"),
    ("GET", "any", "/orders/special/", "r2"),
    ("GET", "any", "/orders/special/two", "r2"),
    ("GET", "any", "/orders/special/one", "r3"),
    ("GET", "any", "/orders/special/one/", "r2"),
    ("GET", "any", "/orders/specials", "r0"),
    ("GET", "any", "/", "r8"),
    ("GET", "any", "/x", "404"),
    ("GET", "api.example.com", "/orders/x", "r4"),
    ("GET", "API.Example.COM", "/orders/x", "r4"),
    ("GET", "api.example.com:8080", "/orders/x", "r4"),
    ("GET", "api.example.com:", "/orders/x", "r4"),
    ("GET", "api.example.co", "/orders/x", "r0"),
    ("GET", "x.api.example.com", "/orders/x", "r0"),
    ("GET", "api.example.com", "/", "r4"),
    ("GET", "api.example.com", "/users/1", "r5"),
    ("HEAD", "api.example.com", "/users", "403"),
    ("PATCH", "api.example.com", "/users", "r6"),
    (
        "DELETE",
        "api.example.com",
        "/users/1",
        "405 GET,HEAD,PUT,PATCH",
    ),
    ("DELETE", "any", "/users/1", "r7"),
    ("GET", "[::1]:80", "/users/1", "r7"),
];

#[test]
fn the_most_exact_route_decides() {
    let stage = Stage::with("", &tell_tale_routes());
    let token = token(json!({"scope": "none"}));
    for (method, host, path, found) in LOOK_UPS.iter().copied() {
        let answer = stage.gateway.send(
            &Request::new(method, path)
                .header("Host", host)
                .bearer(&token),
        );
        let row = format!("{method} {host}{path}");
        match answer.status {
            405 => {
                let allow = answer.header("allow").unwrap().replace(' ', "");
                let mut allowed: Vec<_> = allow.split(',').collect();
                let wanted = found
                    .strip_prefix("405 ")
                    .unwrap_or_else(|| panic!("{row}: {allow}"));
                let mut wanted: Vec<_> = wanted.split(',').collect();
                allowed.sort_unstable();
                wanted.sort_unstable();
                assert_eq!(allowed, wanted, "{row}");
            }
            403 if found == "403" => {}
            403 => {
                let challenge = answer.header("www-authenticate").unwrap();
                assert!(
                    challenge.contains(&format!("scope=\"{found}\"")),
                    "{row}: {challenge}"
                );
            }
            status => assert_eq!(status.to_string(), found, "{row}"),
        }
    }
}

/// A name with a final dot is the same name to a resolver: it may not slip past the routes of that host.
#[test]
fn a_final_dot_in_a_host_does_not_lead_around_its_routes() {
    let routes = "name = \"named\"\nhost = \"api.example.com\"\npath = \"/*\"\nupstream = \"api\"\n[[route]]\npath = \"/*\"\nupstream = \"api\"\nauth = \"none\"";
    let stage = Stage::with("", routes);
    for host in [
        "api.example.com.",
        "API.example.com.:80",
        "api.example.com..",
        "api..example.com",
        ".api.example.com",
    ] {
        let answer = stage.gateway.send(&Request::get("/").header("Host", host));
        assert!(
            [400, 401].contains(&answer.status),
            "{host}: {}",
            answer.status
        );
    }
    assert_eq!(stage.upstream.count(), 0);
}
