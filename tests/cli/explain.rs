//! `portcullis explain`: the gateway's own checks, one after another.

use portcullis::rejection::Rejection;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Ended, run, run_with};
use crate::support::{
    ISSUER, KID, Reply, Signer, Stage, changed, claims, configuration, corp, eventually, now, token,
};

const ROUTES: &str = "name = \"orders\"\npath = \"/orders/*\"\nupstream = \"api\"\nmethods = [\"GET\"]\n\
                      scopes = [\"orders:read\"]";

/// A gateway, and a configuration by which commands find it.
struct Desk {
    stage: Stage,
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self {
            stage: Stage::with("", ROUTES),
            folder: tempfile::tempdir().unwrap(),
        };
        let admin = desk.stage.gateway.admin.to_string();
        desk.write(&admin);
        desk
    }

    /// Writes the configuration with that address of the admin listener.
    fn write(&self, admin: &str) {
        let top = format!("[server]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"{admin}\"");
        let text = configuration(&top, &self.stage.provider, "", &self.stage.upstream, ROUTES);
        std::fs::write(self.file(), text).unwrap();
    }

    fn file(&self) -> String {
        self.folder
            .path()
            .join("portcullis.toml")
            .display()
            .to_string()
    }

    fn explain(&self, words: &[&str], token: &str) -> Ended {
        run(&[&["explain", "--config", &self.file()], words, &[token]].concat())
    }

    fn json(&self, words: &[&str], token: &str) -> (i32, Value) {
        let ended = self.explain(&[&["--json"], words].concat(), token);
        let explanation = serde_json::from_str(&ended.out)
            .unwrap_or_else(|_| panic!("{}{}", ended.out, ended.errors));
        (ended.code, explanation)
    }
}

fn check<'explanation>(explanation: &'explanation Value, reason: &str) -> &'explanation Value {
    let checks = explanation["checks"].as_array().expect("checks");
    let found = checks.iter().find(|check| check["reason"] == reason);
    found.unwrap_or_else(|| panic!("no {reason} in {explanation:#}"))
}

const ORDERS: [&str; 2] = ["--url", "https://api.example.com/orders/1"];

/// A question, and what it is answered with; without a reason the token is admitted.
struct Row {
    name: &'static str,
    words: &'static [&'static str],
    token: String,
    reason: Option<Rejection>,
}

impl Row {
    const fn code(&self) -> i32 {
        if self.reason.is_some() { 1 } else { 0 }
    }
}

fn rows() -> Vec<Row> {
    use Rejection::{
        AudienceMismatch, IssuerUnknown, KeyUnknown, MethodNotAllowed, PathAmbiguous, RouteUnknown,
        ScopeInsufficient, SignatureInvalid, TokenEncrypted, TokenExpired, TokenMalformed,
        TokenNotYetValid, TokenOpaque,
    };
    let ask = |name, words, token: &str, reason| Row {
        name,
        words,
        token: token.to_owned(),
        reason,
    };
    let bad = |reason: Rejection, changes| ask(reason.code(), &[], &token(changes), Some(reason));
    let denied =
        |reason: Rejection, changes| ask(reason.code(), &ORDERS, &token(changes), Some(reason));
    let forged = Signer::new("ES256").sign(KID, &claims());
    let old = corp().sign("gone", &changed(claims(), json!({"iat": now() - 100})));
    let good = token(json!({}));
    let stranger = token(json!({"aud": "x"}));
    let late = json!({"exp": now() - 60, "iat": now() - 90});
    let post: &[&str] = &["--method", "POST", "--url", "/orders/1"];
    let slash: &[&str] = &["--url", "/orders/a%2Fb"];
    vec![
        ask("good, no URL", &[], &good, None),
        ask("good for the URL", &ORDERS, &good, None),
        ask("good for the path", &["--url", "/orders/1"], &good, None),
        ask("another audience, no URL", &[], &stranger, None),
        ask(
            "no route",
            &["--url", "/nowhere"],
            &good,
            Some(RouteUnknown),
        ),
        ask("another method", post, &good, Some(MethodNotAllowed)),
        ask("an encoded slash", slash, &good, Some(PathAmbiguous)),
        ask("opaque", &[], "2YotnFZFEjr1zCsicMWpAA", Some(TokenOpaque)),
        ask("encrypted", &[], "a.b.c.d.secretpart", Some(TokenEncrypted)),
        ask("malformed", &[], "YQ.YQ.secretpart", Some(TokenMalformed)),
        ask("forged", &[], &forged, Some(SignatureInvalid)),
        ask("a key that is gone", &[], &old, Some(KeyUnknown)),
        bad(IssuerUnknown, json!({"iss": "https://other/"})),
        bad(TokenExpired, late),
        bad(TokenNotYetValid, json!({"nbf": now() + 300})),
        denied(AudienceMismatch, json!({"aud": "x"})),
        denied(ScopeInsufficient, json!({"scope": "profile"})),
    ]
}

#[test]
fn the_exit_code_and_the_reason_are_those_of_the_first_check_that_fails() {
    let desk = Desk::new();
    for row in rows() {
        let (name, code, reason) = (row.name, row.code(), row.reason);
        let (ended, explanation) = desk.json(row.words, &row.token);
        assert_eq!(ended, code, "{name}: {explanation:#}");
        let outcome = if code == 0 { "admitted" } else { "rejected" };
        assert_eq!(explanation["outcome"], outcome, "{name}");
        assert_eq!(
            explanation["reason"],
            json!(reason.map(Rejection::code)),
            "{name}"
        );
        assert_eq!(
            explanation["status"],
            json!(reason.map(Rejection::status)),
            "{name}"
        );
        let checks = explanation["checks"].as_array().expect("checks");
        let failed = checks.iter().find(|check| check["result"] == "fail");
        assert_eq!(
            failed.map(|check| &check["reason"]),
            reason.map(|it| json!(it.code())).as_ref(),
            "{name}"
        );
    }
}

#[test]
fn checks_come_in_the_order_of_the_reasons_and_say_what_was_found_and_wanted() {
    let desk = Desk::new();
    for row in rows() {
        let name = row.name;
        let (_, explanation) = desk.json(row.words, &row.token);
        let mut all = Rejection::ALL.iter().map(|reason| reason.code());
        for check in explanation["checks"].as_array().expect("checks") {
            let reason = check["reason"].as_str().expect("a reason");
            // `any` goes on where it stopped: what comes out of order, or twice, is not found any more.
            assert!(
                all.any(|code| code == reason),
                "{name}: {reason} is out of order"
            );
            assert!(
                check["found"].is_string() && check["wanted"].is_string(),
                "{name}: {check}"
            );
            let result = check["result"].as_str().expect("a result");
            assert!(
                ["pass", "fail", "skipped"].contains(&result),
                "{name}: {check}"
            );
            assert_eq!(
                check["advice"].is_string(),
                result == "fail",
                "{name}: {check}"
            );
        }
    }
}

/// `docs/rejections.md` names those without a line.
#[test]
fn every_reason_that_a_token_and_a_url_can_have_has_a_line() {
    let desk = Desk::new();
    let (_, explanation) = desk.json(&ORDERS, &token(json!({})));
    let checks = explanation["checks"].as_array().expect("checks");
    let has_line = |reason: &Rejection| checks.iter().any(|check| check["reason"] == reason.code());
    let without: Vec<&str> = Rejection::ALL
        .iter()
        .filter(|reason| !has_line(reason))
        .map(|reason| reason.code())
        .collect();
    let named = [
        "header_too_large",
        "body_too_large",
        "rate_limited",
        "overloaded",
        "token_ambiguous",
        "upstream_unreachable",
        "upstream_timeout",
    ];
    assert_eq!(without, named);
}

#[test]
fn the_signature_is_never_printed_and_standard_input_does_as_well() {
    let desk = Desk::new();
    for row in rows() {
        let (name, words, token, code) = (row.name, row.words, &row.token, row.code());
        let by_argument = desk.explain(words, token);
        let file = desk.file();
        let arguments = [&["explain", "--config", &file], words].concat();
        let by_input = run_with(&arguments, &format!("Authorization: Bearer {token}\n"));
        let by_dash = run_with(&[&arguments[..], &["-"]].concat(), token);
        // The lines themselves tell how many seconds are left.
        let last = |ended: &str| ended.lines().last().map(str::to_owned);
        assert_eq!(by_dash.code, code, "{name}: {}", by_dash.errors);
        assert_eq!(last(&by_dash.out), last(&by_input.out), "{name}");
        let by_json = desk.explain(&[&["--json"], words].concat(), token);
        for ended in [&by_argument, &by_input, &by_json] {
            assert_eq!(ended.code, code, "{name}: {}{}", ended.out, ended.errors);
            let signature = token.rsplit('.').next().unwrap();
            assert!(
                !format!("{}{}", ended.out, ended.errors).contains(signature),
                "{name}: {}",
                ended.out
            );
        }
        assert_eq!(
            by_argument.out.lines().count(),
            by_input.out.lines().count(),
            "{name}"
        );
    }
}

#[test]
fn text_names_each_check_and_what_to_do_about_the_one_that_fails() {
    let desk = Desk::new();
    let ended = desk.explain(&ORDERS, &token(json!({"scope": "profile"})));
    let failed: Vec<&str> = ended
        .out
        .lines()
        .filter(|line| line.starts_with("FAIL"))
        .collect();
    assert_eq!(failed.len(), 1, "{}", ended.out);
    assert!(
        failed[0].contains("scope_insufficient") && failed[0].contains("profile"),
        "{}",
        ended.out
    );
    assert!(ended.out.contains("orders:read"), "{}", ended.out);
    assert!(
        ended.out.contains(Rejection::ScopeInsufficient.hint()),
        "{}",
        ended.out
    );
    assert!(
        !ended.out.contains('\u{1b}'),
        "a pipe gets no colours: {}",
        ended.out
    );
}

#[test]
fn without_a_url_policy_is_skipped() {
    let desk = Desk::new();
    let (_, explanation) = desk.json(&[], &token(json!({})));
    for reason in [
        "route_unknown",
        "method_not_allowed",
        "audience_mismatch",
        "scope_insufficient",
        "claim_denied",
    ] {
        assert_eq!(check(&explanation, reason)["result"], "skipped", "{reason}");
    }
    assert_eq!(check(&explanation, "signature_invalid")["result"], "pass");
}

#[test]
fn revocation_is_asked_of_the_running_gateway_and_else_skipped_with_a_reason() {
    let desk = Desk::new();
    let good = token(json!({"jti": "lost"}));
    let (_, explanation) = desk.json(&[], &good);
    assert_eq!(check(&explanation, "token_revoked")["result"], "pass");
    assert_eq!(
        check(&explanation, "revocations_stale")["found"],
        "up to date"
    );

    let revocation = json!({"jti": "lost", "issuer": ISSUER});
    assert_eq!(
        desk.stage
            .gateway
            .admin_post("/api/revocations", &revocation)
            .status,
        201
    );
    let (code, explanation) = desk.json(&[], &good);
    assert_eq!((code, &explanation["reason"]), (1, &json!("token_revoked")));

    desk.write("127.0.0.1:1");
    let (code, explanation) = desk.json(&[], &good);
    let skipped = check(&explanation, "token_revoked");
    assert_eq!((code, &skipped["result"]), (0, &json!("skipped")));
    assert!(
        skipped["found"].as_str().unwrap().contains("127.0.0.1:1"),
        "{skipped}"
    );
}

/// What was not judged is no admission: the verdict says it, and who only reads the last lines is not misled.
#[test]
fn an_admission_says_what_was_not_judged() {
    let desk = Desk::new();
    let good = token(json!({}));
    let verdict = |words: &[&str], token: &str| {
        let ended = desk.explain(words, token);
        assert_eq!(ended.code, 0, "{}", ended.out);
        let start = ended.out.find("\nadmitted").expect("a verdict");
        ended.out[start..].trim().to_owned()
    };
    assert_eq!(verdict(&ORDERS, &good), "admitted");
    let told = verdict(&[], &good);
    assert!(
        told.contains("as far as it was judged") && told.contains("--url"),
        "{told}"
    );
    assert!(!told.contains("revoked"), "{told}");
    desk.write("127.0.0.1:1");
    let told = verdict(&ORDERS, &good);
    assert!(
        told.contains("as far as it was judged") && told.contains("127.0.0.1:1"),
        "{told}"
    );
    assert!(!told.contains("--url"), "{told}");
}

#[test]
fn a_token_that_no_route_can_admit_is_noted_without_a_url() {
    let desk = Desk::new();
    let noted = |token: &str| {
        let (code, explanation) = desk.json(&[], token);
        assert_eq!(code, 0, "{explanation:#}");
        explanation["notes"].to_string()
    };
    assert!(
        noted(&token(json!({"aud": "https://other.example"}))).contains("https://other.example")
    );
    assert!(noted(&token(json!({"aud": null}))).contains("no aud"));
    assert_eq!(noted(&token(json!({}))), "[]");
}

/// In an outage the gateway goes on with the keys it has, so the command must too, and must leave them as they are.
#[test]
fn keys_that_the_gateway_stored_serve_when_none_can_be_fetched() {
    let desk = Desk::new();
    let gateway = &desk.stage.gateway;
    let folder = gateway.folder();
    let stored = folder.path().join("state/keys");
    let content = || -> Vec<Vec<u8>> {
        let files = std::fs::read_dir(&stored).into_iter().flatten().flatten();
        files
            .map(|file| std::fs::read(file.path()).unwrap())
            .collect()
    };
    eventually("keys are stored", || {
        let names = std::fs::read_dir(&stored).into_iter().flatten().flatten();
        names
            .map(|file| file.path())
            .any(|path| path.extension().is_some_and(|it| it == "json"))
    });
    let before = content();
    let file = gateway.path().display().to_string();
    let explain = |token: &str| run(&["explain", "--config", &file, token]);

    desk.stage
        .provider
        .serve_keys(vec![Signer::new("ES256").jwk("other")]);
    assert_eq!(
        explain(&token(json!({}))).code,
        1,
        "fetched keys count first"
    );
    assert_eq!(content(), before, "nothing is stored");

    desk.stage.provider.answer(|_| Reply::Status(500));
    let ended = explain(&token(json!({})));
    assert_eq!(ended.code, 0, "{}", ended.out);
    for said in ["status 500", "are used instead", "state"] {
        assert!(ended.out.contains(said), "{said}: {}", ended.out);
    }
    let ended = explain(&Signer::new("ES256").sign(KID, &claims()));
    assert_eq!(
        ended.code, 1,
        "a forged token is refused by them: {}",
        ended.out
    );
    assert_eq!(content(), before, "nothing is stored");
}

#[test]
fn keys_out_of_reach_mean_undecided_and_that_is_said() {
    let desk = Desk::new();
    desk.stage.provider.answer(|_| Reply::Status(500));
    let (code, explanation) = desk.json(&[], &token(json!({})));
    assert_eq!(
        (code, &explanation["outcome"]),
        (3, &json!("undecided")),
        "{explanation:#}"
    );
    assert_eq!(
        (&explanation["reason"], &explanation["status"]),
        (&json!("keys_unavailable"), &json!(503))
    );
    let ended = desk.explain(&[], &token(json!({})));
    assert_eq!(ended.code, 3);
    assert!(
        ended.out.contains("cannot be fetched") && ended.out.contains("500"),
        "{}",
        ended.out
    );
    assert!(ended.out.contains("cannot be decided"), "{}", ended.out);
    assert!(!ended.out.contains("Retry-After"), "{}", ended.out);
}

/// The keys were fetched for this very question, so a key that is not among them is unknown.
#[test]
fn a_fresh_token_of_an_unknown_key_is_decided() {
    let desk = Desk::new();
    let (code, explanation) = desk.json(&[], &corp().sign("gone", &claims()));
    assert_eq!(
        (code, &explanation["reason"]),
        (1, &json!("key_unknown")),
        "{explanation:#}"
    );
}

#[test]
fn wrong_usage_and_a_wrong_configuration_end_with_2() {
    let desk = Desk::new();
    let good = token(json!({}));
    for words in [
        &["--url", "no url"][..],
        &["--url", "ftp://api.example.com/"],
        &["--url", "api.example.com"],
        &["--method", "G T", "--url", "/"],
    ] {
        let ended = desk.explain(words, &good);
        assert_eq!(
            (ended.code, ended.out.as_str()),
            (2, ""),
            "{words:?}: {}",
            ended.errors
        );
        assert!(!ended.errors.is_empty(), "{words:?}");
    }
    std::fs::write(desk.file(), "[server]\n").unwrap();
    let ended = desk.explain(&[], &good);
    assert_eq!((ended.code, ended.out.as_str()), (2, ""));
    assert!(
        ended.errors.starts_with(&format!("{}:1:", desk.file())),
        "{}",
        ended.errors
    );
    assert!(ended.errors.ends_with('\n'), "{:?}", ended.errors);
}
