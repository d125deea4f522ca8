//! What the claims of a token may be: rows 4, 5, 7, 10 and the audience of row 12 of the contract's table.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

use serde_json::{Map, Value, json};
use support::{AUDIENCE, ISSUER, KID, Stage, changed, claims, corp, now, token};

const ROUTE: &str = "path = \"/*\"\nupstream = \"api\"";
const MALFORMED: &str = "401 token_malformed";
const MISSING: &str = "401 claim_missing";

fn check(stage: &Stage, rows: &[(&str, String, &str)]) {
    for (row, token, expected) in rows {
        assert_eq!(stage.gateway.get("/", token).outcome(), *expected, "{row}");
    }
}

/// Signs a payload as it stands.
fn signed(payload: &str) -> String {
    corp().sign_text(
        &format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":"{KID}"}}"#),
        payload,
    )
}

/// A token whose claim of that name has that JSON text.
fn with_text(name: &str, text: &str) -> String {
    let mut members: Map<String, Value> = claims().as_object().unwrap().clone();
    members.remove(name);
    let rest = Value::Object(members).to_string();
    signed(&format!("{{{}:{text},{}", json!(name), &rest[1..]))
}

// T52, T53
#[test]
fn an_issuer_is_one_string_equal_to_the_byte() {
    let stage = Stage::new();
    check(&stage, &[("missing", token(json!({"iss": null})), MISSING)]);
    for text in [
        "null",
        "5",
        "true",
        "{}",
        "[]",
        &format!("[\"{ISSUER}\"]"),
        &format!("[\"https://evil.example\",\"{ISSUER}\"]"),
    ] {
        check(&stage, &[(text, with_text("iss", text), MALFORMED)]);
    }
    for iss in [
        "",
        "https://id.example.com",
        "https://id.example.com//",
        "https://id.example.com/ ",
        " https://id.example.com/",
        "http://id.example.com/",
        "https://ID.example.com/",
        "HTTPS://id.example.com/",
        "https://id.example.com:443/",
        "https://id.example.com/?",
        "https://id.example.com/\u{0}",
        "https://id.example.com./",
        "https://user@id.example.com/",
        "https://id.example.com/realms/x",
        "https://id.example.com%2f",
        "https://xn--id-example.com/",
        "https://ıd.example.com/",
        "corp",
        "{tid}",
        "*",
    ] {
        check(
            &stage,
            &[(iss, token(json!({"iss": iss})), "401 issuer_unknown")],
        );
    }
    check(
        &stage,
        &[(
            "escaped",
            with_text("iss", r#""https:\/\/id\u002eexample.com\/""#),
            "200",
        )],
    );
    // Counted under closed names, whatever the token says.
    let unknown = [("issuer", "unknown"), ("reason", "issuer_unknown")];
    assert_eq!(
        stage
            .gateway
            .metric("portcullis_rejections_total", &unknown)
            .to_string(),
        "20"
    );
}

// T50, T51
#[test]
fn an_audience_is_one_of_the_strings_of_the_claim() {
    let stage = Stage::new();
    check(&stage, &[("missing", token(json!({"aud": null})), MISSING)]);
    for text in [
        "null",
        "123",
        "true",
        "{}",
        "[1]",
        "[null]",
        &format!("[\"{AUDIENCE}\",1]"),
        &format!("[[\"{AUDIENCE}\"]]"),
    ] {
        check(&stage, &[(text, with_text("aud", text), MALFORMED)]);
    }
    for aud in [
        json!([]),
        json!(""),
        json!([""]),
        json!("*"),
        json!("https://api.example.com/"),
        json!("https://api.example.co"),
        json!("https://api.example.com.evil.example"),
        json!("https://API.example.com"),
        json!(" https://api.example.com"),
        json!("https://api.example.com "),
        json!("https://api.example.com https://other.example"),
        json!("https://other.example,https://api.example.com"),
        json!(["https://other.example", "https://api.example.com/"]),
        json!(["api", "example"]),
    ] {
        check(
            &stage,
            &[(
                &aud.to_string(),
                token(json!({"aud": aud})),
                "401 audience_mismatch",
            )],
        );
    }
    for aud in [
        json!([AUDIENCE]),
        json!(["https://other.example", AUDIENCE]),
        json!([AUDIENCE, AUDIENCE, ""]),
    ] {
        check(
            &stage,
            &[(&aud.to_string(), token(json!({"aud": aud})), "200")],
        );
    }
}

/// The usual claims as JSON, with one more member as it stands.
fn with_member(text: &str) -> String {
    let good = claims().to_string();
    format!("{},{text}}}", &good[..good.len() - 1])
}

// T54
#[test]
fn claims_are_one_json_object() {
    let stage = Stage::new();
    let good = claims().to_string();
    let members = &good[1..good.len() - 1];
    let values = json!([now() + 600, 0, "alice", ISSUER, AUDIENCE]);
    for (row, payload) in [
        ("an array of its values", values.to_string()),
        ("an array of it", format!("[{good}]")),
        ("a string", json!(good).to_string()),
        ("null", "null".to_owned()),
        ("nothing", String::new()),
        ("not closed", format!("{{{members}")),
        ("something behind", format!("{good}x")),
        ("another behind", format!("{good}{good}")),
        ("a NUL behind", format!("{good}\u{0}")),
        ("a byte order mark", format!("\u{feff}{good}")),
        ("a comment", format!("/* */{good}")),
        ("a comma too many", format!("{{{members},}}")),
        ("a leading zero", with_member("\"x\":01")),
        ("no number", with_member("\"x\":NaN")),
    ] {
        check(&stage, &[(row, signed(&payload), MALFORMED)]);
    }
    let spaced = format!(" \r\n\t{good} \n");
    check(&stage, &[("white space", signed(&spaced), "200")]);
    check(&stage, &[("an empty object", signed("{}"), MISSING)]);
}

// T55, T56
#[test]
fn no_member_comes_twice_and_nothing_nests_deeper_than_sixteen() {
    let stage = Stage::new();
    let arrays = |levels: usize| format!("\"x\":{}{}", "[".repeat(levels), "]".repeat(levels));
    let objects = format!("\"x\":{}1{}", "{\"y\":".repeat(16), "}".repeat(16));
    let open = format!("\"x\":{}", "[".repeat(3000));
    for member in [
        r#""scope":"admin""#,
        r#""s\u0063ope":"admin""#,
        r#""sub":"alice""#,
        r#""cnf":null,"cnf":null"#,
        r#""x":1,"x":1"#,
        r#""realm_access":{"roles":[],"roles":["admin"]}"#,
        r#""x":[0,{"y":1,"\u0079":2}]"#,
        &arrays(16),
        &objects,
        &arrays(3000),
        &open,
    ] {
        let token = signed(&with_member(member));
        check(
            &stage,
            &[(&member[..member.len().min(60)], token, MALFORMED)],
        );
    }
    for member in [r#""Scope":"admin","SUB":"root""#, &arrays(15)] {
        check(&stage, &[(member, signed(&with_member(member)), "200")]);
    }
}

// T57
#[test]
fn claims_are_utf_8_and_whole_characters() {
    let stage = Stage::new();
    for (member, expected) in [
        (r#""x":"\ud800""#, MALFORMED),
        (r#""x":"\udc00\ud800""#, MALFORMED),
        (r#""\udc00":1"#, MALFORMED),
        ("\"x\":\"a\nb\"", MALFORMED),
        (r#""x":"\ud83d\ude00""#, "200"),
        (r#""x":"😀ë""#, "200"),
    ] {
        check(&stage, &[(member, signed(&with_member(member)), expected)]);
    }
    let header = format!(r#"{{"alg":"ES256","kid":"{KID}"}}"#);
    let whole = with_member("\"x\":\"");
    for bytes in [
        &b"\xff"[..],
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe2\x82",
    ] {
        let start = &whole.as_bytes()[..whole.len() - 1];
        let payload = [start, bytes, b"\"}"].concat();
        let token = corp().sign_bytes(header.as_bytes(), &payload);
        check(&stage, &[(&format!("{bytes:x?}"), token, MALFORMED)]);
    }
}

#[test]
fn registered_claims_have_their_types() {
    let stage = Stage::new();
    for name in ["sub", "jti"] {
        for text in ["null", "1", "true", "[\"alice\"]", "{}"] {
            check(
                &stage,
                &[(&format!("{name} {text}"), with_text(name, text), MALFORMED)],
            );
        }
        check(
            &stage,
            &[
                (name, with_text(name, "\"\""), "200"),
                (name, token(json!({name: null})), "200"),
            ],
        );
    }
}

// T70
#[test]
fn claims_that_the_issuer_requires_must_be_there() {
    let stage = Stage::with(
        "required_claims = [\"sub\", \"jti\", \"tenant.id\", \"org.id\", \"flag\"]",
        ROUTE,
    );
    let whole = changed(
        claims(),
        json!({"tenant": {"id": 0}, "org.id": "", "flag": false}),
    );
    check(
        &stage,
        &[("all there, falsy", corp().sign(KID, &whole), "200")],
    );
    for (row, changes) in [
        ("no sub", json!({"sub": null})),
        ("no jti", json!({"jti": null})),
        ("no tenant", json!({"tenant": null})),
        ("no id of the tenant", json!({"tenant": {}})),
        ("a null id of the tenant", json!({"tenant": {"id": null}})),
        ("a tenant that is no object", json!({"tenant": ["id"]})),
        ("no flag", json!({"flag": null})),
    ] {
        let lacking = changed(whole.clone(), changes);
        check(&stage, &[(row, corp().sign(KID, &lacking), MISSING)]);
    }
    let null = whole.to_string().replace("\"flag\":false", "\"flag\":null");
    assert!(null.contains("null"));
    check(&stage, &[("a null flag", signed(&null), MISSING)]);
}

// T82
#[test]
fn a_token_bound_to_a_key_needs_proof() {
    let stage = Stage::new();
    for text in [
        r#"{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}"#,
        r#"{"x5t#S256":"bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}"#,
        r#"{"unheard-of":1}"#,
        "{}",
        "\"x\"",
        "[]",
        "false",
    ] {
        check(
            &stage,
            &[(text, with_text("cnf", text), "401 token_binding_unproven")],
        );
    }
}
