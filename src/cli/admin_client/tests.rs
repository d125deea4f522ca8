//! Arguments, requests and output, against a socket that answers by heart.

use clap::Parser;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::telemetry::sample;

#[derive(Parser, Debug)]
struct Revoke {
    #[command(flatten)]
    args: RevokeArgs,
}

fn parse(line: &str) -> Result<RevokeArgs, clap::Error> {
    let words = std::iter::once("revoke").chain(line.split_whitespace());
    Revoke::try_parse_from(words).map(|revoke| revoke.args)
}

fn body(line: &str, input: &str) -> Value {
    revoke_body(&parse(line).unwrap(), input.as_bytes()).unwrap()
}

/// Answers each connection in turn; gives what was asked.
async fn gateway(
    answers: &'static [(&'static str, &'static str)],
) -> (AdminTarget, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = AdminTarget {
        url: format!("http://{}", listener.local_addr().unwrap()),
        token: Some(Secret::from_file_content(b"s3cret\n".to_vec())),
    };
    let asked = tokio::spawn(async move {
        let mut asked = String::new();
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 8192];
            let read = stream.read(&mut buffer).await.unwrap();
            asked.push_str(&String::from_utf8_lossy(&buffer[..read]));
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        asked
    });
    (target, asked)
}

#[test]
fn exactly_one_thing_is_revoked_and_the_issuer_is_named() {
    for good in [
        "--jti j --issuer corp",
        "--subject a --issued-before 5 --issuer corp",
        "--token -",
        "--key k --issuer corp --admin http://localhost:1",
    ] {
        assert!(parse(good).is_ok(), "{good}");
    }
    for bad in [
        "--issuer corp",
        "--jti j",
        "--jti j --subject a --issuer corp",
        "--jti j --issued-before 5 --issuer corp",
        "--jti j --issuer corp --admin http://localhost --config f",
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_body_holds_what_was_given() {
    assert_eq!(
        body(
            "--subject a --issued-before 5 --issuer corp --reason left",
            ""
        ),
        json!({"subject": "a", "issued_before": 5, "issuer": "corp", "reason": "left"})
    );
    assert_eq!(
        body(
            "--jti j --issuer corp --expires-at 2030-01-01T00:00:00Z",
            ""
        ),
        json!({"jti": "j", "issuer": "corp", "expires_at": "2030-01-01T00:00:00Z"})
    );
    assert_eq!(body("--token -", " a.b.c\n"), json!({"token": "a.b.c"}));
}

#[test]
fn a_listener_on_every_address_is_called_by_loopback() {
    let mut config = sample::config(&[]);
    for (listen, url) in [
        ("0.0.0.0:9090", "http://127.0.0.1:9090"),
        ("[::]:9090", "http://[::1]:9090"),
        ("10.0.0.1:80", "http://10.0.0.1:80"),
    ] {
        config.admin.listen = listen.parse().unwrap();
        assert_eq!(AdminTarget::of_config(&config).url, url);
    }
    let args = AdminArgs {
        admin: Some("http://gateway:9090/".to_owned()),
        ..AdminArgs::default()
    };
    let target = AdminTarget::resolve(&args, None).unwrap();
    assert_eq!(target.url, "http://gateway:9090");
    let missing = AdminArgs {
        admin_token_file: Some("/nonexistent/token".into()),
        ..AdminArgs::default()
    };
    let error = AdminTarget::resolve(&missing, None)
        .unwrap_err()
        .to_string();
    assert!(error.contains("/nonexistent/token"), "{error}");
}

#[tokio::test]
async fn revoke_sends_the_credential_and_prints_the_id() {
    let answers = &[(
        "201 Created",
        r#"{"id":"ab","kind":"jti","issuer":"corp","expires_at":7}"#,
    )];
    let (target, asked) = gateway(answers).await;
    let args = parse("--jti j --issuer corp").unwrap();
    let text = revoke(&args, &target).await.unwrap();
    assert_eq!(text, "ab  jti of corp revoked, until 7\n");
    let asked = asked.await.unwrap();
    assert!(asked.starts_with("POST /api/revocations "), "{asked}");
    assert!(
        asked.contains("authorization: Bearer s3cret\r\n"),
        "{asked}"
    );
    assert!(
        asked.contains("content-type: application/json\r\n"),
        "{asked}"
    );
}

#[tokio::test]
async fn a_refusal_names_the_member() {
    let answers = &[(
        "400 Bad Request",
        r#"{"member":"issuer","detail":"Unknown."}"#,
    )];
    let (target, _asked) = gateway(answers).await;
    let error = revoke(&parse("--jti j --issuer x").unwrap(), &target).await;
    let text = error.unwrap_err().to_string();
    assert_eq!(text, "the gateway refused: issuer: Unknown.");
}

#[tokio::test]
async fn the_table_is_aligned_follows_pages_and_cannot_steer_a_terminal() {
    let answers = &[
        (
            "200 OK",
            r#"{"revocations":[{"id":"a1","kind":"subject","issuer":"corp","subject":"al\u001b[2Jice","issued_before":5,"created_at":1,"expires_at":null}],"cursor":"0"}"#,
        ),
        (
            "200 OK",
            r#"{"revocations":[{"id":"b22","kind":"token","issuer":"c","token_id":"ff","created_at":1,"expires_at":9,"reason":"lost"}],"cursor":null}"#,
        ),
    ];
    let (target, asked) = gateway(answers).await;
    let args = RevocationsArgs {
        admin: AdminArgs::default(),
        kind: None,
        issuer: Some("corp & co".to_owned()),
        json: false,
    };
    let text = revocations(&args, &target).await.unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(
        !text.contains('\u{1b}') && lines[1].contains("(issued up to 5)"),
        "{text}"
    );
    let column = |line: &str, word: &str| line.find(word).unwrap();
    assert_eq!(column(lines[0], "VALUE"), column(lines[2], "ff"));
    assert!(lines[2].ends_with("lost"));
    let asked = asked.await.unwrap();
    assert!(
        asked.contains("issuer=corp+%26+co") && asked.contains("cursor=0"),
        "{asked}"
    );
}

#[tokio::test]
async fn health_is_asked_and_unreadiness_is_a_failure_with_its_word() {
    let args = |ready| HealthcheckArgs {
        admin: AdminArgs::default(),
        ready,
    };
    let (target, asked) = gateway(&[
        ("200 OK", "ok\n"),
        ("503 Service Unavailable", r#"{"status":"draining"}"#),
    ])
    .await;
    assert_eq!(healthcheck(&args(false), &target).await.unwrap(), "ok\n");
    let error = healthcheck(&args(true), &target).await.unwrap_err();
    assert!(error.to_string().ends_with("draining"), "{error}");
    assert!(asked.await.unwrap().contains("GET /readyz "));
    let gone = healthcheck(&args(false), &target).await.unwrap_err();
    assert!(gone.to_string().contains("is it running"), "{gone}");
}

#[tokio::test]
async fn an_id_cannot_lead_elsewhere() {
    let target = AdminTarget {
        url: "http://127.0.0.1:9".to_owned(),
        token: None,
    };
    let args = RestoreArgs {
        admin: AdminArgs::default(),
        id: "../explain".to_owned(),
    };
    let error = restore(&args, &target).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused(_)), "{error}");
}
