//! What an operator asks of a running gateway.

use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{run, run_with};
use crate::support::{Gateway, KID, Reply, Server, Stage, configuration, corp, token};

const ROUTE: &str = "path = \"/*\"\nupstream = \"api\"";

/// The ways to name a gateway: by address, or by a configuration that holds its address.
struct Ways {
    stage: Stage,
    folder: TempDir,
}

impl Ways {
    fn new() -> Self {
        let (stage, folder) = (Stage::new(), tempfile::tempdir().unwrap());
        let top = format!(
            "[server]\nlisten = [\"{}\"]\n[admin]\nlisten = \"{}\"",
            stage.gateway.public, stage.gateway.admin
        );
        let text = configuration(&top, &stage.provider, "", &stage.upstream, ROUTE);
        std::fs::write(folder.path().join("portcullis.toml"), text).unwrap();
        Self { stage, folder }
    }

    fn all(&self) -> [[String; 2]; 2] {
        let file = self
            .folder
            .path()
            .join("portcullis.toml")
            .display()
            .to_string();
        [
            [
                "--admin".to_owned(),
                format!("http://{}", self.stage.gateway.admin),
            ],
            ["--config".to_owned(), file],
        ]
    }
}

/// The commands that ask a gateway.
const ASKING: [&[&str]; 5] = [
    &["healthcheck"],
    &["healthcheck", "--ready"],
    &["revocations"],
    &["restore", "0123"],
    &["revoke", "--jti", "a", "--issuer", "corp"],
];

#[test]
fn a_token_is_revoked_listed_and_restored_by_address_and_by_configuration() {
    let ways = Ways::new();
    let good = token(json!({"jti": "token-9"}));
    for way in ways.all() {
        let [flag, value] = way.each_ref().map(String::as_str);
        let ask = |words: &[&str], input: &str| run_with(&[words, &[flag, value]].concat(), input);
        assert_eq!(ways.stage.gateway.get("/", &good).status, 200, "{flag}");

        let revoked = ask(
            &[
                "revoke",
                "--jti",
                "token-9",
                "--issuer",
                "corp",
                "--reason",
                "lost laptop",
            ],
            "",
        );
        assert_eq!(revoked.code, 0, "{flag}: {}", revoked.errors);
        assert_eq!(
            ways.stage.gateway.get("/", &good).reason(),
            "token_revoked",
            "{flag}"
        );
        let listed = ask(&["revocations", "--json", "--kind", "jti"], "");
        let entry: Value = serde_json::from_str(listed.out.trim())
            .unwrap_or_else(|_| panic!("{flag}: {}", listed.out));
        assert_eq!(
            (&entry["kind"], &entry["issuer"]),
            (&json!("jti"), &json!("corp")),
            "{flag}"
        );
        let id = entry["id"].as_str().expect("an id");
        for text in [&revoked.out, &ask(&["revocations"], "").out] {
            assert!(
                text.contains(id) && text.contains("lost laptop"),
                "{flag}: {text}"
            );
        }
        let none = ask(&["revocations", "--kind", "subject"], "");
        assert_eq!((none.code, none.out.as_str()), (0, ""), "{flag}");
        assert!(
            none.errors.contains("nothing of this kind"),
            "{flag}: {}",
            none.errors
        );
        let none = ask(&["revocations", "--issuer", "nope"], "");
        assert_eq!((none.code, none.out.as_str()), (0, ""), "{flag}");
        assert!(none.errors.contains("\"nope\""), "{flag}: {}", none.errors);

        assert_eq!(ask(&["restore", id], "").code, 0, "{flag}");
        assert_eq!(ways.stage.gateway.get("/", &good).status, 200, "{flag}");
        let again = ask(&["restore", id], "");
        assert_eq!((again.code, again.out.as_str()), (1, ""), "{flag}");
        assert!(again.errors.contains("404"), "{flag}: {}", again.errors);
    }
}

#[test]
fn every_kind_can_be_revoked_and_a_token_from_standard_input() {
    let ways = Ways::new();
    let [[flag, url], _] = ways.all();
    let good = token(json!({"sid": "session-1"}));
    let rows: [(&[&str], &str, &str); 6] = [
        (&["--jti", "token-1"], "", "jti"),
        (
            &[
                "--subject",
                "alice",
                "--issued-before",
                "2100-01-01T00:00:00Z",
            ],
            "",
            "subject",
        ),
        (&["--session", "session-1"], "", "session"),
        (&["--client", "web"], "", "client"),
        (&["--key", KID], "", "key"),
        (&["--token", "-"], &good, "token"),
    ];
    for (words, input, kind) in rows {
        let arguments = [&["revoke"], words, &["--issuer", "corp", &flag, &url]].concat();
        let ended = run_with(&arguments, input);
        assert_eq!(ended.code, 0, "{kind}: {}", ended.errors);
        assert_eq!(
            ways.stage.gateway.get("/", &good).reason(),
            "token_revoked",
            "{kind}"
        );
        assert!(!ended.out.contains(&good), "{kind}: the token is printed");
        let shown = run(&["revocations", "--kind", kind, &flag, &url]).out;
        let has_cut_off = shown.contains(", issued before 2100-01-01T00:00:00Z");
        assert_eq!(has_cut_off, kind == "subject", "{kind}: {shown}");
        let listed = run(&["revocations", "--json", "--kind", kind, &flag, &url]);
        let entry: Value = serde_json::from_str(listed.out.trim())
            .unwrap_or_else(|_| panic!("{kind}: {}", listed.out));
        assert_eq!(
            run(&["restore", entry["id"].as_str().unwrap(), &flag, &url]).code,
            0,
            "{kind}"
        );
        assert_eq!(ways.stage.gateway.get("/", &good).status, 200, "{kind}");
    }
}

#[test]
fn what_the_gateway_refuses_is_said_and_ends_with_1() {
    let ways = Ways::new();
    let [[flag, url], _] = ways.all();
    let rows: [(&[&str], &str); 3] = [
        (&["revoke", "--jti", "a", "--issuer", "nobody"], "issuer"),
        (&["revoke", "--token", "not-a-token"], "token"),
        (&["restore", "../metrics"], "id"),
    ];
    for (words, said) in rows {
        let ended = run(&[words, &[&flag, &url]].concat());
        assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{words:?}");
        assert!(ended.errors.contains(said), "{words:?}: {}", ended.errors);
    }
}

#[test]
fn commands_that_ask_end_with_1_where_no_gateway_runs() {
    // Bound, so that nobody else takes the port, and gone before anyone asks.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    for words in ASKING {
        let ended = run(&[words, &["--admin", &url]].concat());
        assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{words:?}");
        assert!(ended.errors.contains(&url), "{words:?}: {}", ended.errors);
    }
}

#[test]
fn a_gateway_without_keys_is_healthy_and_not_ready() {
    let (upstream, provider) = (Server::echo(), Server::start(|_| Reply::Hang));
    let gateway = Gateway::start_unready(&configuration("", &provider, "", &upstream, ROUTE));
    let url = format!("http://{}", gateway.admin);
    assert_eq!(run(&["healthcheck", "--admin", &url]).code, 0);
    let ended = run(&["healthcheck", "--ready", "--admin", &url]);
    assert_eq!(ended.code, 1);
    assert!(ended.errors.contains("starting"), "{}", ended.errors);
}

#[test]
fn a_ready_gateway_is_ready_by_address_and_by_configuration() {
    let ways = Ways::new();
    for [flag, value] in ways.all() {
        for words in [&["healthcheck"][..], &["healthcheck", "--ready"]] {
            let ended = run(&[words, &[&flag, &value]].concat());
            assert_eq!(ended.code, 0, "{words:?} {flag}: {}", ended.errors);
        }
    }
}

/// The gateway survives a wrong edit, so the commands that ask it must too.
#[test]
fn a_gateway_is_found_by_a_configuration_that_has_become_wrong() {
    let ways = Ways::new();
    let file = ways.folder.path().join("portcullis.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    let name = file.display().to_string();
    let listen = format!("listen = \"{}\"", ways.stage.gateway.admin);
    let wrong = [
        (
            "a route",
            good.replace("upstream = \"api\"", "upstream = \"nobody\""),
            "",
        ),
        ("no TOML", format!("{good}\n[[route\n"), "TOML"),
        (
            "a credential",
            good.replace(&listen, &format!("{listen}\ntoken_file = \"gone\"")),
            "token_file",
        ),
    ];
    for (what, text, said) in wrong {
        assert_ne!(text, good, "{what}");
        std::fs::write(&file, text).unwrap();
        assert_eq!(run(&["check", &name]).code, 2, "{what}");
        for words in [&ASKING[0], &ASKING[1], &ASKING[2], &ASKING[4]] {
            let ended = run(&[words, &["--config", &name][..]].concat());
            assert_eq!(ended.code, 0, "{what} {words:?}: {}", ended.errors);
        }
        let ended = run(&[ASKING[3], &["--config", &name][..]].concat());
        assert_eq!(ended.code, 1, "{what}: there is none of that id");
        assert!(
            ended.errors.contains("404") && ended.errors.contains(said),
            "{what}: {}",
            ended.errors
        );
    }
}

/// Asking the default listener is what a health check without a file does; a revocation must not go elsewhere unsaid.
#[test]
fn where_the_file_cannot_say_it_the_default_is_asked_and_nothing_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("portcullis.toml");
    let name = file.display().to_string();
    for text in [
        None,
        Some("[server\n"),
        Some("[admin]\nlisten = \"nowhere\"\n"),
    ] {
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        for words in ASKING {
            let ended = run(&[words, &["--config", &name]].concat());
            let errors = &ended.errors;
            assert!(errors.contains(&name), "{text:?}: {errors}");
            let is_asked = errors.contains("http://127.0.0.1:9090");
            assert_eq!(
                is_asked,
                !["restore", "revoke"].contains(&words[0]),
                "{text:?} {words:?}: {errors}"
            );
        }
    }
}

/// T149: whoever has not the credential changes nothing; a configuration brings it along.
#[test]
fn the_admin_credential_is_found_in_the_configuration_or_given() {
    let (upstream, provider) = (Server::echo(), Server::keys(vec![corp().jwk(KID)]));
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let credential = folder.path().join("admin.token").display().to_string();
    std::fs::write(&credential, "correct-horse-battery-staple\n").unwrap();
    let file = folder.path().join("portcullis.toml").display().to_string();
    let write = |address: &str| {
        let top = format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\n[log]\nformat = \"json\"\n\
             [admin]\nlisten = \"{address}\"\ntoken_file = \"admin.token\""
        );
        std::fs::write(&file, configuration(&top, &provider, "", &upstream, ROUTE)).unwrap();
    };
    write("0.0.0.0:0");
    let gateway = Gateway::start_in(folder);
    // What a configuration with a fixed port says from the start.
    write(&format!("0.0.0.0:{}", gateway.admin.port()));
    let url = format!("http://127.0.0.1:{}", gateway.admin.port());
    let revoke = ["revoke", "--jti", "a", "--issuer", "corp"];
    let with = |words: &[&str]| run(&[&revoke, words].concat());
    assert_eq!(with(&["--config", &file]).code, 0);
    assert_eq!(
        with(&["--admin", &url, "--admin-token-file", &credential]).code,
        0
    );
    let refused = with(&["--admin", &url]);
    assert_eq!(refused.code, 1);
    assert!(refused.errors.contains("401"), "{}", refused.errors);
    assert!(!refused.errors.contains("horse"), "{}", refused.errors);
}
