//! How a gateway gets into Redis: TLS, a user of the ACL with no more rights than the documentation asks for, a database
//! and a prefix.

use super::server::Redis;
use super::support::{Gateway, eventually};
use super::{Site, is_refused, must_restore, must_revoke, refused_by_all};

/// The user of `docs/revocation.md`, as it stands there.
fn documented_user() -> String {
    let page = include_str!("../../docs/revocation.md");
    let line = page
        .lines()
        .find(|line| line.starts_with("ACL SETUSER portcullis "));
    line.expect("the ACL of docs/revocation.md").to_owned()
}

#[test]
fn the_user_that_the_documentation_describes_may_do_what_is_needed_and_no_more() {
    let (redis, site) = (Redis::start(), Site::new());
    let user = documented_user();
    assert!(user.contains(" >PASSWORD"), "{user}");
    let user = user.replace(">PASSWORD", ">s3cret p@ss");
    let words: Vec<&str> = user
        .split(' ')
        .flat_map(|word| {
            if word == ">s3cret" {
                vec![">s3cret p@ss"]
            } else {
                vec![word]
            }
        })
        .filter(|word| *word != "p@ss")
        .collect();
    let () = redis.ask(&words);
    let () = redis.ask(&["CONFIG", "SET", "requirepass", "another"]);

    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "s3cret p@ss\n").unwrap();
    let url = format!("redis://127.0.0.1:{}/3", redis.port);
    let more = format!(
        "username = \"portcullis\"\npassword_file = \"{}\"\nprefix = \"portcullis\"",
        password.display()
    );
    let configuration = site.configuration(&url, &more);
    let (one, two) = (
        Gateway::start(&configuration),
        Gateway::start(&configuration),
    );
    let id = must_revoke(&one, "a");
    refused_by_all(&[&two], "a");
    must_restore(&two, &id);
    assert!(!is_refused(&two, "a"));

    // What changes in the file counts at the next connection.
    std::fs::write(&password, "wrong\n").unwrap();
    redis.kill();
    redis.restart();
    let () = redis.ask(&["CONFIG", "SET", "requirepass", "another"]);
    let refusal = one.wait_for_record("a word on the password", |record| {
        record
            .to_string()
            .contains("Password authentication failed")
    });
    assert!(!refusal.to_string().contains("wrong"), "{refusal}");
    assert!(!one.log_as_written().contains("s3cret"));
}

#[test]
fn a_user_who_may_not_write_is_no_store() {
    let (redis, site) = (Redis::start(), Site::new());
    let () = redis.ask(&[
        "ACL",
        "SETUSER",
        "reader",
        "on",
        ">secret",
        "~*",
        "+@read",
        "+@scripting",
        "+select",
    ]);
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "secret").unwrap();
    let more = format!(
        "username = \"reader\"\npassword_file = \"{}\"",
        password.display()
    );
    let gateway = Gateway::start_unready(&site.configuration(&redis.url(), &more));
    gateway.wait_for_record("why", |record| {
        record.to_string().contains("can't run this command")
    });
    let health = gateway.admin_get("/readyz");
    assert_eq!(
        (health.status, health.json()["status"].as_str()),
        (503, Some("starting"))
    );
    assert_eq!(super::revoke(&gateway, "a").status, 503);
}

struct Tls {
    folder: tempfile::TempDir,
}

impl Tls {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned()];
        let certificate = rcgen::CertificateParams::new(names)
            .unwrap()
            .self_signed(&key)
            .unwrap();
        std::fs::write(folder.path().join("redis.crt"), certificate.pem()).unwrap();
        std::fs::write(folder.path().join("redis.key"), key.serialize_pem()).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

#[test]
fn redis_is_known_by_its_certificate_alone() {
    let (tls, site) = (Tls::new(), Site::new());
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let (certificate, key) = (tls.path("redis.crt"), tls.path("redis.key"));
    let port_text = port.to_string();
    let redis = Redis::start_with(&[
        "--tls-port",
        &port_text,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &certificate,
        "--tls-auth-clients",
        "no",
    ]);
    let url = format!("rediss://localhost:{port}");
    let gateway = Gateway::start(&site.configuration(&url, &format!("ca = \"{certificate}\"")));
    must_revoke(&gateway, "a");
    refused_by_all(&[&gateway, &site.gateway(&redis.url())], "a");

    // Without its CA, and under another name, it is not believed.
    let strangers = [
        site.configuration(&url, ""),
        site.configuration(
            &format!("rediss://127.0.0.1:{port}"),
            &format!("ca = \"{certificate}\""),
        ),
    ];
    for configuration in strangers {
        let gateway = Gateway::start_unready(&configuration);
        gateway.wait_for_record("why", |record| record.to_string().contains("certificate"));
        eventually("it cannot tell", || {
            super::outcome(&gateway, "a") == "503 revocations_stale"
        });
    }
}
