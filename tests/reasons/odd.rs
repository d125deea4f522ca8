//! The reasons that take a gateway of their own.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use portcullis::rejection::Rejection;
use serde_json::json;

use super::Expected;
use crate::support::{
    Connection, Gateway, KID, Reply, Request, Response, Server, configuration, corp, eventually,
    gateway::BINARY, token,
};

/// What is produced here.
pub(super) const REASONS: [Rejection; 3] = [
    Rejection::Overloaded,
    Rejection::RateLimited,
    Rejection::RevocationsStale,
];

/// More than the gateway may open.
const DESCRIPTORS: usize = 64;

/// A gateway that may have that few descriptors.
fn short_of_descriptors(text: &str) -> Gateway {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let path = folder.path().join("portcullis.toml");
    std::fs::write(&path, text).unwrap();
    let script = format!(
        "ulimit -n {DESCRIPTORS}; exec {BINARY} --config {}",
        path.display()
    );
    Gateway::spawn(folder, Command::new("bash").arg("-c").arg(script))
}

/// T141
#[test]
fn a_gateway_out_of_descriptors_says_overloaded_and_recovers() {
    let provider = Server::keys(vec![corp().jwk(KID)]);
    let close = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    // Closes every connection, so that each request needs a new one.
    let upstream = Server::start(|_| Reply::BytesAndClose(close.to_vec()));
    let top = "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n[log]\nformat = \"json\"";
    let routes = "name = \"all\"\npath = \"/*\"\nupstream = \"api\"";
    let gateway = short_of_descriptors(&configuration(top, &provider, "", &upstream, routes));
    eventually("ready", || gateway.admin_get("/readyz").status == 200);

    let request = Request::get("/")
        .bearer(&token(json!({})))
        .bytes("api.example.com");
    let mut kept = Connection::open(gateway.public);
    let mut ask = move || -> Response {
        assert!(kept.send(&request));
        kept.read(false).expect("an answer")
    };
    assert_eq!(ask().status, 200);
    let idle: Vec<_> = (0..2 * DESCRIPTORS)
        .map(|_| Connection::open(gateway.public))
        .collect();
    gateway.wait_for_record("no descriptors", |record| {
        record["message"] == "cannot accept connections"
    });
    let mut refused = ask();
    eventually("overloaded", || {
        // A descriptor that came free in between lets one more through.
        let is_refused = refused.status == 503;
        if !is_refused {
            refused = ask();
        }
        is_refused
    });
    drop(idle);

    let expected = Expected::new(
        Rejection::Overloaded,
        "no descriptors are left",
        "all",
        "corp",
    );
    expected.assert_answer(&refused);
    expected.assert_counted_and_logged(&gateway, 0.0, &refused);
    eventually("recovered", || ask().status == 200);
}

#[test]
fn a_gateway_with_neither_redis_nor_copy_cannot_tell_what_is_revoked() {
    let (upstream, provider) = (Server::echo(), Server::keys(vec![corp().jwk(KID)]));
    // Nobody listens on the first port.
    let top = "[revocation]\nstore = \"redis\"\nurl = \"redis://127.0.0.1:1\"";
    let routes = "name = \"all\"\npath = \"/*\"\nupstream = \"api\"";
    let text = configuration(top, &provider, "", &upstream, routes);
    let gateway = Gateway::start_unready(&text);
    let expected = Expected::new(
        Rejection::RevocationsStale,
        "no revocations are known",
        "all",
        "corp",
    );
    let ask = || gateway.get("/", &token(json!({})));
    // Until its keys are there, that is what it lacks.
    eventually("it has keys", || ask().reason() != "keys_unavailable");
    let before = expected.count(&gateway);
    let refused = ask();
    expected.assert_answer(&refused);
    expected.assert_counted_and_logged(&gateway, before, &refused);
    assert_eq!(gateway.admin_get("/readyz").json()["status"], "starting");
}

/// An admin listener that anyone can reach, and its credential.
fn guarded_admin(folder: &tempfile::TempDir) -> String {
    let (upstream, provider) = (Server::echo(), Server::keys(vec![corp().jwk(KID)]));
    std::fs::write(
        folder.path().join("admin.token"),
        "correct-horse-battery-staple\n",
    )
    .unwrap();
    let top = "[server]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"0.0.0.0:0\"\ntoken_file = \"admin.token\"\n\
               [log]\nformat = \"json\"";
    configuration(
        top,
        &provider,
        "",
        &upstream,
        "path = \"/*\"\nupstream = \"api\"",
    )
}

/// T149: guessing the admin credential is slow, whatever connection it comes on, and the right one is never slowed.
#[test]
fn guesses_at_the_admin_credential_are_rate_limited() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    std::fs::write(
        folder.path().join("portcullis.toml"),
        guarded_admin(&folder),
    )
    .unwrap();
    let mut gateway = Gateway::start_in(folder);
    gateway.admin = SocketAddr::from(([127, 0, 0, 1], gateway.admin.port()));

    let guess = Request::get("/api/status")
        .bearer("wrong")
        .bytes("127.0.0.1");
    let mut connection = Connection::open(gateway.admin);
    // All at once, so that they fall into one second on a slow machine too.
    assert!(connection.send(&guess.repeat(12)));
    let answers: Vec<Response> = (0..12)
        .map(|_| connection.read(false).expect("an answer"))
        .collect();
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [[401; 10].as_slice(), &[429; 2]].concat());

    let expected = Expected::new(
        Rejection::RateLimited,
        "eleven guesses in a second",
        "none",
        "none",
    );
    expected.assert_answer(&answers[10]);
    assert!((expected.count(&gateway) - 2.0).abs() < f64::EPSILON);
    let right = Request::get("/api/status").bearer("correct-horse-battery-staple");
    eventually("the guesser's second is over", || {
        right.send(gateway.admin).status == 200
    });
    assert_eq!(gateway.admin_get("/metrics").status, 200);
}
