//! When a token is valid: rows 7 and 10 of the contract's table.

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
use support::{KID, Stage, claims, configuration, corp, now, token};

const ROUTE: &str = "path = \"/*\"\nupstream = \"api\"";
const MALFORMED: &str = "401 token_malformed";
const MISSING: &str = "401 claim_missing";

fn check(stage: &Stage, rows: &[(&str, String, &str)]) {
    for (row, token, expected) in rows {
        assert_eq!(stage.gateway.get("/", token).outcome(), *expected, "{row}");
    }
}

/// A gateway whose issuer has no `max_lifetime` and those settings.
fn unlimited(issuer: &str) -> Stage {
    Stage::written(vec![corp().jwk(KID)], |provider, upstream| {
        let text = configuration("", provider, issuer, upstream, ROUTE);
        text.replace("max_lifetime = \"24h\"", "")
    })
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

fn seconds(from_now: f64) -> String {
    format!("{:.3}", f64::from(i32::try_from(now()).unwrap()) + from_now)
}

// T45, T46
#[test]
fn an_expiry_is_a_second_of_four_digit_years_that_has_not_come() {
    let stage = unlimited("");
    check(&stage, &[("missing", token(json!({"exp": null})), MISSING)]);
    let expired = "401 token_expired";
    for (text, expected) in [
        ("null", MALFORMED),
        ("\"9999999999\"", MALFORMED),
        ("\"\"", MALFORMED),
        ("true", MALFORMED),
        ("[]", MALFORMED),
        ("[9999999999]", MALFORMED),
        ("{}", MALFORMED),
        ("-1", MALFORMED),
        ("-1e300", MALFORMED),
        ("1e309", MALFORMED),
        ("1e300", MALFORMED),
        ("1e19", MALFORMED),
        ("9223372036854775807", MALFORMED),
        ("9223372036854775808", MALFORMED),
        ("18446744073709551615", MALFORMED),
        ("18446744073709551616", MALFORMED),
        ("253402300800", MALFORMED),
        ("253402300799", "200"),
        ("2.53402300799e11", "200"),
        ("9999999999", "200"),
        ("9999999999.5", "200"),
        ("99999999990e-1", "200"),
        ("0", expired),
        ("-0", expired),
        ("0.5", expired),
        ("1", expired),
        ("1e-300", expired),
        // Milliseconds of 2026 are no time of this era.
        ("1794816000000", MALFORMED),
    ] {
        check(
            &stage,
            &[(&format!("exp {text}"), with_text("exp", text), expected)],
        );
    }
}

// T46, T47, T48, T111
#[test]
fn leeway_is_allowed_to_the_second_on_both_sides() {
    let stage = unlimited("leeway = \"5m\"");
    let later = "401 token_not_yet_valid";
    let future = "401 token_issued_in_future";
    let expired = "401 token_expired";
    for (name, from_now, expected) in [
        ("exp", 1.0, "200"),
        ("exp", 0.0, "200"),
        ("exp", -280.0, "200"),
        ("exp", -280.5, "200"),
        ("exp", -300.0, expired),
        ("exp", -300.25, expired),
        ("exp", -3000.0, expired),
        ("nbf", -1.0, "200"),
        ("nbf", 0.0, "200"),
        ("nbf", 299.75, "200"),
        ("nbf", 300.0, "200"),
        ("nbf", 320.0, later),
        ("nbf", 320.5, later),
        ("iat", 0.0, "200"),
        ("iat", 299.75, "200"),
        ("iat", 300.0, "200"),
        ("iat", 320.0, future),
        ("iat", 320.5, future),
    ] {
        let token = with_text(name, &seconds(from_now));
        check(
            &stage,
            &[(&format!("{name} {from_now} from now"), token, expected)],
        );
    }
    let strict = unlimited("leeway = \"0s\"");
    for (name, from_now, expected) in [
        ("exp", 0.0, expired),
        ("exp", 60.0, "200"),
        ("nbf", 0.0, "200"),
        ("nbf", 60.0, later),
        ("iat", 60.0, future),
    ] {
        let token = with_text(name, &seconds(from_now));
        check(
            &strict,
            &[(
                &format!("strict: {name} {from_now} from now"),
                token,
                expected,
            )],
        );
    }
}

// T45, T47, T48
#[test]
fn other_times_are_numbers_of_any_size() {
    let stage = unlimited("");
    for name in ["nbf", "iat"] {
        let beyond = if name == "nbf" {
            "401 token_not_yet_valid"
        } else {
            "401 token_issued_in_future"
        };
        for (text, expected) in [
            ("null", MALFORMED),
            ("\"1\"", MALFORMED),
            ("true", MALFORMED),
            ("[1]", MALFORMED),
            ("{}", MALFORMED),
            ("1e309", MALFORMED),
            ("0", "200"),
            ("-1", "200"),
            ("-1e300", "200"),
            ("-9223372036854775808", "200"),
            ("1e300", beyond),
            ("9223372036854775807", beyond),
            ("18446744073709551615", beyond),
            ("253402300800", beyond),
        ] {
            check(
                &stage,
                &[(&format!("{name} {text}"), with_text(name, text), expected)],
            );
        }
        check(&stage, &[(name, token(json!({name: null})), "200")]);
    }
}

// T48
#[test]
fn a_lifetime_is_counted_from_iat_and_else_from_now() {
    let stage = Stage::written(vec![corp().jwk(KID)], |provider, upstream| {
        configuration("", provider, "", upstream, ROUTE)
            .replace("max_lifetime = \"24h\"", "max_lifetime = \"1h\"")
    });
    let exceeded = "401 token_lifetime_exceeded";
    let at = |seconds: i64| now() + seconds;
    for (row, changes, expected) in [
        (
            "exactly as long",
            json!({"iat": at(-10), "exp": at(3590)}),
            "200",
        ),
        (
            "a second longer",
            json!({"iat": at(-10), "exp": at(3591)}),
            exceeded,
        ),
        (
            "almost over, but longer",
            json!({"iat": at(-7200), "exp": at(10)}),
            exceeded,
        ),
        (
            "for ever",
            json!({"iat": at(-10), "exp": 253_402_300_799_i64}),
            exceeded,
        ),
        ("issued in 1970", json!({"iat": 0, "exp": at(60)}), exceeded),
        (
            "issued before time",
            json!({"iat": -1e300, "exp": at(60)}),
            exceeded,
        ),
        (
            "fractional",
            json!({"iat": at(-10), "exp": 0.5 + f64::from(i32::try_from(at(3590)).unwrap())}),
            exceeded,
        ),
        (
            "no iat, short",
            json!({"iat": null, "exp": at(3000)}),
            "200",
        ),
        (
            "no iat, long",
            json!({"iat": null, "exp": at(4000)}),
            exceeded,
        ),
        (
            "exp before iat",
            json!({"iat": at(20), "exp": at(10)}),
            "200",
        ),
    ] {
        check(&stage, &[(row, token(changes), expected)]);
    }
}
