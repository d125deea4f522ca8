//! `docs/rejections.md` is written from the one enum, and is as it would be written today.
//! `PORTCULLIS_BLESS=1 cargo test --test rejections_page` writes it anew.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::path::Path;

use portcullis::rejection::{Challenge, Class, PREFLIGHT_HINT, Rejection};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/rejections.md");

const INTRODUCTION: &str = "\
<!-- Written by tests/rejections_page.rs from src/rejection.rs. Do not edit: PORTCULLIS_BLESS=1 cargo test --test rejections_page -->

# Rejections

Every request that Portcullis does not forward, and every one that the API behind it does not answer, has exactly one reason.
The same word is the `reason` in the answer, the label of `portcullis_rejections_total`, the field `reason` of the access log,
the line of `portcullis explain`, and the heading on this page. A reason never changes its name. `explain` has a token and a URL, not a
whole request and no upstream, so it has no line for `header_too_large`, `body_too_large`, `rate_limited`, `overloaded`,
`token_ambiguous`, `upstream_unreachable` and `upstream_timeout`.

The checks run in the order of this page, and the first that fails is the reason. A token that was verified a moment ago
enters at [`revocations_stale`](#revocations_stale), after its issuer has been held against the route and its expiry against
the clock again.

The answer is `application/problem+json` (RFC 9457) with `type`, `title`, `status`, `detail`, `reason`, `hint` and
`request_id`. Set `server.docs_url` to where you publish this page and `type` links to the right heading; without it, `type`
is `urn:portcullis:rejection:REASON`. With `error_detail = \"minimal\"` the answer names only the class; status and
`error` stay.

**Classes.** `request`: the HTTP request is at fault. `credential`: the token is missing or not good. `permission`: the token
is good and not enough. `dependency`: the gateway cannot tell at the moment; it says nothing about the token. `upstream`: the
API did not answer. Only the last two are for the operator of the gateway to mend, so they are the ones to be woken for.

**`report_only`.** On a route with `report_only = true` the reasons marked so are counted in `portcullis_would_reject_total`
and logged, and the request is forwarded all the same.
";

const RESERVED: &str = "
## Reserved names

These are kept for later versions and never occur in this one: `throttled` (429), `introspection_unavailable` (503),
`token_inactive` (401), `step_up_required` (401, `insufficient_user_authentication`), `proof_invalid` (401).
";

/// What the operator should look at: a new reason does not compile without it.
macro_rules! operator_texts {
    ($($variant:ident $text:literal;)*) => {
        const fn operator_text(reason: Rejection) -> &'static str {
            match reason { $(Rejection::$variant => $text),* }
        }
    };
}

operator_texts! {
    HeaderTooLarge "Who sends such heads? Usually cookies, or a token with hundreds of groups. `server.limits.header_bytes` is the limit.";
    RequestMalformed "A stream of these from one client is a broken client, or somebody who probes for request smuggling. The log has the client's address.";
    BodyTooLarge "`server.limits.body_bytes` is the limit; 0 means none. It is one limit for all routes: the largest upload that any API takes.";
    RateLimited "Somebody guesses the credential of the admin listener. Who can reach it? It belongs on a loopback or private address.";
    Overloaded "File descriptors, ephemeral ports and memory of the process (`process_open_fds` beside `process_max_fds`), and whether upstreams answer slowly.";
    PathAmbiguous "If a good API uses such paths, `server.encoded_slash = \"keep\"` or `server.path_parameters = \"keep\"` lets them through; be sure that the API reads them as one segment.";
    RouteUnknown "Paths that nobody wrote a route for. Many of them are scanners. If it is a real path, add a `[[route]]`; `host` must be the name clients use.";
    MethodNotAllowed "`methods` of the routes for that host and path. TRACE and CONNECT are always refused.";
    TokenMissing "For a browser application look at CORS first: browsers send no token with a preflight, and `preflight = \"forward\"` lets preflights pass. Otherwise: does a proxy in front drop `Authorization`?";
    TokenAmbiguous "Two layers that both add a token, or a client that sends it in the query too.";
    HeaderMalformed "Typical causes: an empty variable in a script (`Bearer ` and nothing), a token in quotes, a line break pasted with it.";
    TokenTooLarge "`server.limits.token_bytes` is the limit. Tokens with all of a user's groups grow like this; let the provider send roles of this API alone.";
    TokenOpaque "See [providers](providers.md): at Auth0 the request named no `audience`, at others the API is not registered as a resource. Introspection of opaque tokens is not there yet.";
    TokenEncrypted "See [providers](providers.md): token encryption is on for this API, or the request named no `audience`.";
    TokenMalformed "`portcullis explain` shows which part is broken. Often the token was cut off by a log, a form or a variable with a length limit.";
    IssuerUnknown "The metric's `issuer` label is `unknown` where no `[[issuer]]` has that `iss`, and a name where the route does not list it. A missing or extra trailing slash, http for https, or v1 for v2 are the usual differences.";
    AlgorithmForbidden "`algorithms` of the issuer. Shared-secret algorithms (HS256 …) come with `hmac_secret_file` alone; `none` never.";
    TokenExpired "A few are normal. Many at once: a client that does not refresh, or a clock. `leeway` is what clocks may differ by.";
    KeysUnavailable "`portcullis_jwks_age_seconds`, `portcullis_jwks_refreshes_total` by result, and the log, which says why a fetch failed. Good tokens with known keys keep working for `max_stale`.";
    KeyUnknown "The provider's key set does not hold that key, and it was fetched late enough to be sure. A token of another environment, or a key withdrawn while its tokens were still in use. Many different ones: somebody forges tokens.";
    SignatureInvalid "A tampered token, or one signed by another key under a known `kid`. A jump of this count is the closest thing to an attack that a gateway sees. A provider that reused a `kid` shows the same way, and heals with the next refresh.";
    ClaimMissing "`portcullis explain` names the claim. Most often the audience: at Keycloak an audience mapper lacks, at Cognito `audience_claim = \"client_id\"` is needed.";
    TokenTypeMismatch "A client sends its ID token or refresh token. If services of a cloud call with ID tokens on purpose, `id_tokens = \"accept\"`. With `token_types` set, nothing else passes.";
    TokenBindingUnproven "The token has a `cnf` claim: the provider binds tokens for this client to a key (DPoP, mutual TLS). Checking such bindings is not there yet.";
    TokenNotYetValid "Clocks: the provider's is ahead of the gateway's by more than `leeway`.";
    TokenIssuedInFuture "Clocks, as above. Check the time service on both sides before you raise `leeway`.";
    TokenLifetimeExceeded "`max_lifetime` of the issuer is shorter than what the provider issues.";
    RevocationsStale "The revocations are not loaded yet; or, with `store = \"redis\"`, this gateway has neither a copy nor Redis, or Redis was out of reach for longer than `revocation.max_stale` and `on_stale` is `refuse`. See `revocation_store` in `/readyz`.";
    TokenRevoked "Somebody uses a token after it was taken back. `portcullis revocations` lists what was revoked, and why if a reason was given.";
    AudienceMismatch "`audiences` of the route, else of the issuer, beside the token's. A token for another API of the same provider ends here, which is the point.";
    ScopeInsufficient "`scopes` and `any_scope` of the route. Scopes may live in another claim: `scope_claims` says where to look.";
    ClaimDenied "`claims` of the route. `portcullis explain --url` shows the rule and the value found.";
    UpstreamUnreachable "`portcullis_upstream_errors_total` by kind. Is the API running, and is its idle timeout longer than the upstream's `keep_alive`?";
    UpstreamTimeout "`response_timeout` and `connect_timeout` of the upstream, and `portcullis_upstream_duration_seconds`.";
}

fn rejection_page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for reason in Rejection::ALL {
        section(&mut page, *reason).expect("writing to a string");
    }
    page + RESERVED
}

fn section(page: &mut String, reason: Rejection) -> std::fmt::Result {
    let (status, class) = (reason.status(), reason.class().code());
    writeln!(page, "\n## {reason}\n")?;
    write!(page, "**{status}** · class `{class}`")?;
    if reason.is_reportable() {
        write!(page, " · `report_only` forwards it")?;
    }
    writeln!(page, "\n\n{}\n", reason.detail())?;
    writeln!(page, "- Challenge: {}", challenge(reason))?;
    if has_retry_after(reason) {
        writeln!(page, "- `Retry-After` says how many seconds to wait.")?;
    }
    writeln!(page, "- Caller: {}", reason.hint())?;
    if reason == Rejection::TokenMissing {
        writeln!(page, "- Caller, of a preflight: {PREFLIGHT_HINT}")?;
    }
    writeln!(page, "- Operator: {}", operator_text(reason))
}

fn has_retry_after(reason: Rejection) -> bool {
    matches!(reason.status(), 429 | 503)
}

fn challenge(reason: Rejection) -> String {
    let described = |error: &str| {
        let scope = if reason == Rejection::ScopeInsufficient {
            ", scope=\"…\""
        } else {
            ""
        };
        let description = reason.detail();
        format!(
            "`Bearer realm=\"…\", error=\"{error}\", error_description=\"{description}\"{scope}`"
        )
    };
    match reason.challenge() {
        Challenge::Absent => "none".to_owned(),
        Challenge::Bare => "`Bearer realm=\"…\"`".to_owned(),
        challenge => challenge.error().map_or_else(String::new, described),
    }
}

#[test]
fn the_page_of_rejections_is_fresh() {
    let page = rejection_page();
    if std::env::var_os("PORTCULLIS_BLESS").is_some() {
        std::fs::write(PAGE, &page).expect("docs/ can be written");
    }
    let written = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(
        written == page,
        "docs/rejections.md is not what src/rejection.rs says: run PORTCULLIS_BLESS=1 cargo test --test rejections_page"
    );
}

#[test]
fn every_reason_has_a_heading_that_its_code_links_to() {
    let page = rejection_page();
    for reason in Rejection::ALL {
        let heading = format!("\n## {reason}\n");
        assert_eq!(page.matches(&heading).count(), 1, "{reason}");
    }
}

#[test]
fn the_table_of_the_readme_lists_every_reason_with_its_status() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(path).expect("README.md");
    for reason in Rejection::ALL {
        let link = format!("[`{reason}`](docs/rejections.md#{reason})");
        let row = readme.lines().find(|line| line.contains(&link));
        let row = row.unwrap_or_else(|| panic!("{reason} is not in the table of README.md"));
        let status = format!("| {} |", reason.status());
        assert!(row.contains(&status), "{row}");
    }
}

#[test]
fn only_dependencies_and_upstreams_are_for_the_operator_to_mend() {
    for reason in Rejection::ALL {
        let is_ours = matches!(reason.class(), Class::Dependency | Class::Upstream);
        assert_eq!(is_ours, reason.status() >= 500, "{reason}");
    }
}
