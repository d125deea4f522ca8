//! The revocation API from outside.

use data_encoding::BASE64URL_NOPAD;

use super::*;

const PATH: &str = "/api/revocations";

fn token(claims: &Value) -> String {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    format!("{}.{}.c2ln", part(&json!({"alg": "RS256"})), part(claims))
}

#[tokio::test]
async fn the_same_again_is_200_with_the_same_id_and_a_deleted_one_is_gone() {
    let gateway = Gateway::start(true).await;
    let body = json!({"jti": "j-1", "issuer": "corp", "reason": "stolen"});
    let first = gateway.post(PATH, &body).await;
    assert_eq!(first.status, 201);
    let document = first.json();
    let id = document["id"].as_str().unwrap();
    assert_eq!(id.len(), 32);
    assert_eq!(document["kind"], "jti");
    assert_eq!(document["issuer"], "corp");
    assert_eq!(document["created_at"], NOW);
    assert_eq!(document["expires_at"], NOW + 3600 + 30);
    assert_eq!(document["reason"], "stolen");
    let again = gateway.post(PATH, &body).await;
    assert_eq!((again.status, &again.json()["id"]), (200, &json!(id)));
    let by_value = json!({"jti": "j-1", "issuer": "https://id.example.com/"});
    assert_eq!(gateway.post(PATH, &by_value).await.json()["id"], id);
    let target = format!("{PATH}/{id}");
    let deleted = gateway.send("DELETE", &target, "", "").await;
    assert_eq!((deleted.status, deleted.body.as_str()), (204, ""));
    assert_eq!(gateway.send("DELETE", &target, "", "").await.status, 404);
    let listed = gateway.get(PATH).await.json();
    assert_eq!(listed, json!({"revocations": [], "cursor": null}));
}

#[tokio::test]
async fn each_kind_lives_as_long_as_the_contract_says() {
    let gateway = Gateway::start(true).await;
    let span = 3600 + 30;
    let corp = "https://id.example.com/";
    for (body, end) in [
        (json!({"session": "s", "issuer": "corp"}), json!(NOW + span)),
        (
            json!({"subject": "a", "issuer": "corp", "issued_before": NOW - 100}),
            json!(NOW - 100 + span),
        ),
        (
            json!({"subject": "a", "issuer": "corp", "issued_before": NOW + 100}),
            json!(NOW + 100 + span),
        ),
        (
            json!({"subject": "a", "issuer": "corp", "issued_before": "2001-01-01T00:00:00Z"}),
            json!(NOW + span),
        ),
        (json!({"subject": "a", "issuer": "corp"}), Value::Null),
        (json!({"client": "c", "issuer": "corp"}), Value::Null),
        (json!({"key": "k1", "issuer": "corp"}), Value::Null),
        (json!({"jti": "j", "issuer": "entra"}), Value::Null),
        (
            json!({"client": "d", "issuer": "corp", "expires_at": NOW + 7}),
            json!(NOW + 7),
        ),
        (
            json!({"client": "e", "issuer": "corp", "expires_at": "2100-01-01T00:00:00Z"}),
            json!(4_102_444_800_i64),
        ),
        (
            json!({"token": token(&json!({"iss": corp, "exp": NOW + 60}))}),
            json!(NOW + 90),
        ),
    ] {
        let reply = gateway.post(PATH, &body).await;
        assert_eq!(reply.status, 201, "{body} {}", reply.body);
        assert_eq!(reply.json()["expires_at"], end, "{body}");
    }
}

/// Bodies, and the member that is to blame.
fn wrong_bodies(good: &str) -> Vec<(Value, &'static str)> {
    let mut wrong = vec![
        (json!({"issuer": "corp"}), "jti"),
        (json!({"jti": "j"}), "issuer"),
        (json!({"jti": "j", "issuer": "nobody"}), "issuer"),
        (json!({"jti": "j", "issuer": 1}), "issuer"),
        (json!({"jti": "", "issuer": "corp"}), "jti"),
        (json!({"jti": null, "issuer": "corp"}), "jti"),
        (
            json!({"jti": "j", "session": "s", "issuer": "corp"}),
            "session",
        ),
        (json!({"jti": "j", "issuer": "corp", "extra": 1}), "extra"),
        (
            json!({"jti": "j", "issuer": "corp", "issued_before": 1}),
            "issued_before",
        ),
        (
            json!({"subject": "a", "issuer": "corp", "issued_before": "soon"}),
            "issued_before",
        ),
        (
            json!({"jti": "j", "issuer": "corp", "expires_at": NOW}),
            "expires_at",
        ),
        (
            json!({"jti": "j", "issuer": "corp", "expires_at": null}),
            "expires_at",
        ),
        (
            json!({"jti": "j", "issuer": "corp", "reason": "r".repeat(1025)}),
            "reason",
        ),
        (json!({"key": "unknown", "issuer": "corp"}), "key"),
        (json!({"key": "shared", "issuer": "corp"}), "key"),
    ];
    wrong.extend(wrong_tokens(good));
    wrong
}

fn wrong_tokens(good: &str) -> Vec<(Value, &'static str)> {
    let corp = "https://id.example.com/";
    vec![
        (json!({"token": "abc"}), "token"),
        (json!({"token": format!("{good}.x")}), "token"),
        (json!({"token": good.replace('.', "=.")}), "token"),
        (
            json!({"token": token(&json!({"iss": "https://evil/", "exp": NOW + 60}))}),
            "token",
        ),
        (json!({"token": token(&json!({"iss": corp}))}), "token"),
        (
            json!({"token": token(&json!({"iss": corp, "exp": "1"}))}),
            "token",
        ),
        (
            json!({"token": token(&json!({"iss": corp, "exp": NOW - 30}))}),
            "token",
        ),
        (json!({"token": good, "issuer": "entra"}), "issuer"),
        (
            json!({"jti": "j", "issuer": "https://login.example.com/other/v2.0"}),
            "issuer",
        ),
    ]
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let gateway = Gateway::start(true).await;
    let good = token(&json!({"iss": "https://id.example.com/", "exp": NOW + 60}));
    for (body, member) in wrong_bodies(&good) {
        let reply = gateway.post(PATH, &body).await;
        assert_eq!(reply.status, 400, "{body}");
        assert!(reply.head.contains("application/problem+json"));
        assert_eq!(reply.json()["member"], member, "{body}");
        assert!(!reply.body.contains(&good), "{}", reply.body);
    }
    let twice = r#"{"jti":"a","jti":"b","issuer":"corp"}"#;
    let headers = "Content-Type: application/json\r\n";
    let reply = gateway.send("POST", PATH, headers, twice).await;
    assert_eq!(
        (reply.status, &reply.json()["member"]),
        (400, &json!("jti"))
    );
    let listed = gateway.get(PATH).await.json();
    assert_eq!(listed["revocations"], json!([]));
}

#[tokio::test]
async fn a_tenant_and_all_tenants_are_told_apart() {
    let gateway = Gateway::start(true).await;
    let tenant = format!("https://login.example.com/{TENANT}/v2.0");
    let one = json!({"subject": "a", "issuer": tenant});
    let all = json!({"subject": "a", "issuer": "entra"});
    let (one, all) = (
        gateway.post(PATH, &one).await,
        gateway.post(PATH, &all).await,
    );
    assert_eq!((one.status, all.status), (201, 201));
    assert_eq!(one.json()["issuer"], "entra");
    assert_eq!(one.json()["iss"], tenant.as_str());
    assert_eq!(all.json()["iss"], "https://login.example.com/{tid}/v2.0");
    let count = async |query: &str| {
        let page = gateway.get(&format!("{PATH}?{query}")).await.json();
        page["revocations"].as_array().unwrap().len()
    };
    assert_eq!(count("issuer=entra").await, 2);
    assert_eq!(count("issuer=corp").await, 0);
    let encoded = tenant.replace(':', "%3A").replace('/', "%2F");
    assert_eq!(count(&format!("issuer={encoded}")).await, 1);
}

#[tokio::test]
async fn pages_are_walked_with_the_cursor() {
    let gateway = Gateway::start(true).await;
    for number in 0..5 {
        let body = json!({"jti": format!("j-{number}"), "issuer": "corp"});
        assert_eq!(gateway.post(PATH, &body).await.status, 201);
        let body = json!({"client": format!("c-{number}"), "issuer": "corp"});
        assert_eq!(gateway.post(PATH, &body).await.status, 201);
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let target = format!("{PATH}?kind=jti&issuer=&limit=2&cursor={cursor}");
        let page = gateway.get(&target).await.json();
        let revocations = page["revocations"].as_array().unwrap().clone();
        seen.extend(revocations.iter().map(|one| one["jti"].clone()));
        match page["cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert_eq!(seen, ["j-0", "j-1", "j-2", "j-3", "j-4"]);
    for (query, member) in [
        ("kind=all", "kind"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("cursor=x", "cursor"),
        ("page=1", "page"),
    ] {
        let reply = gateway.get(&format!("{PATH}?{query}")).await;
        assert_eq!(reply.status, 400, "{query}");
        assert_eq!(reply.json()["member"], member);
    }
}
