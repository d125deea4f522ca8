//! The documents in `config/` say what the program does.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use portcullis::config;
use serde_json::Value;

use super::{faults, file_with, loaded, root};

fn read(name: &str) -> String {
    fs::read_to_string(root().join("config").join(name)).unwrap()
}

fn schema() -> Value {
    serde_json::from_str(&config::schema::text()).unwrap()
}

#[test]
fn the_schema_command_prints_the_schema() {
    let mut out = Vec::new();
    assert_eq!(
        portcullis::cli::schema::schema(&mut out),
        std::process::ExitCode::SUCCESS
    );
    assert_eq!(String::from_utf8(out).unwrap(), config::schema::text());
}

#[test]
fn the_schema_file_is_fresh() {
    let path = root().join("config/portcullis.schema.json");
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&path, config::schema::text()).unwrap();
    }
    assert_eq!(
        fs::read_to_string(path).unwrap(),
        config::schema::text(),
        "write it anew: portcullis schema"
    );
}

#[test]
fn the_minimal_file_is_good_without_warnings() {
    loaded(&read("minimal.toml"));
}

#[test]
fn the_example_shows_the_defaults() {
    let shown = config::load_text(&read("portcullis.example.toml"), Path::new("x.toml"))
        .unwrap()
        .config;
    let bare = r#"
        [server]
        listen = ["0.0.0.0:8080"]
        [[issuer]]
        name = "corp"
        issuer = "https://id.example.com/"
        jwks_uri = "https://id.example.com/jwks.json"
        audiences = ["https://api.example.com"]
        [[upstream]]
        name = "orders"
        servers = ["http://127.0.0.1:3000"]
        [[route]]
        name = "orders"
        path = "/orders/*"
        upstream = "orders"
    "#;
    let bare = config::load_text(bare, Path::new("x.toml")).unwrap().config;
    assert_eq!(shown.server, bare.server);
    assert_eq!(shown.admin, bare.admin);
    assert_eq!(shown.log, bare.log);
    assert_eq!(shown.token_cache, bare.token_cache);
    assert_eq!(shown.issuers, bare.issuers);
    assert_eq!(shown.upstreams, bare.upstreams);
    assert_eq!(shown.routes, bare.routes);
    assert_eq!(shown, bare);
}

/// The example with its commented keys and tables switched on: `# key = value`, `# [table]`.
fn uncommented() -> String {
    let is_key = |line: &str| {
        let is_table = line.starts_with("# [server.") || line.starts_with("# [[server.");
        is_table
            || line
                .strip_prefix("# ")
                .and_then(|rest| rest.split_once(" = "))
                .is_some_and(|(key, _)| {
                    key.chars()
                        .all(|character| character.is_ascii_lowercase() || character == '_')
                })
    };
    let example = read("portcullis.example.toml");
    let lines = example
        .lines()
        .map(|line| if is_key(line) { &line[2..] } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_commented_keys_of_the_example_exist() {
    let keys: Vec<String> = faults(&uncommented())
        .iter()
        .map(|fault| fault.split(": ").nth(1).unwrap().to_owned())
        .collect();
    // Tenants without {tid}, four sources of keys at once, algorithms of another kind than the secret's, files that do not exist, and
    // TLS for a server without.
    let algorithms = (0..11).map(|index| format!("issuer[0].algorithms[{index}]"));
    let expected: BTreeSet<String> = [
        "admin.token_file",
        "issuer[0]",
        "issuer[0].tenants",
        "issuer[0].jwks_file",
    ]
    .into_iter()
    .chain([
        "issuer[0].hmac_secret_file",
        "issuer[0].jwks.ca",
        "issuer[0].jwks.token_file",
    ])
    .chain([
        "server.tls.certificate",
        "server.tls.private_key",
        "server.tls.client_ca",
        "server.tls.sni[0].certificate",
        "server.tls.sni[0].private_key",
    ])
    .chain([
        "upstream[0].ca",
        "upstream[0].client_certificate",
        "upstream[0].client_key",
        "upstream[0].server_name",
    ])
    .map(str::to_owned)
    .chain(algorithms)
    .collect();
    assert_eq!(keys.into_iter().collect::<BTreeSet<_>>(), expected);
}

#[test]
fn the_example_shows_every_key_of_the_schema() {
    let text = uncommented();
    let example: toml::Table = toml::from_str(&text).unwrap();
    let example = serde_json::to_value(example).unwrap();
    let schema = schema();
    let mut missing = Vec::new();
    missing_keys(&schema, &schema, &example, "", &mut missing);
    assert_eq!(missing, Vec::<String>::new());
}

/// The schema that `node` refers to, or `node` itself.
fn resolve<'schema>(schema: &'schema Value, node: &'schema Value) -> &'schema Value {
    let reference = node.get("$ref").or_else(|| node.pointer("/allOf/0/$ref"));
    match reference.and_then(Value::as_str) {
        Some(reference) => schema.pointer(reference.trim_start_matches('#')).unwrap(),
        None => node,
    }
}

fn missing_keys(
    schema: &Value,
    node: &Value,
    example: &Value,
    path: &str,
    missing: &mut Vec<String>,
) {
    let node = resolve(schema, node);
    if let (Some(items), Some(first)) = (node.get("items"), example.get(0)) {
        missing_keys(schema, items, first, path, missing);
    }
    let Some(properties) = node.get("properties").and_then(Value::as_object) else {
        return;
    };
    for (key, property) in properties {
        let path = format!("{path}.{key}");
        match example.get(key) {
            Some(value) => missing_keys(schema, property, value, &path, missing),
            None => missing.push(path),
        }
    }
}

/// Every key of the schema, with its own schema and the table it stands in, as the file would head it.
fn keys(schema: &Value) -> Vec<(&'static str, String, Value)> {
    let tables = [
        ("server", "Server"),
        ("server.limits", "Limits"),
        ("server.tls", "Tls"),
        ("server.tls.sni", "Sni"),
        ("admin", "Admin"),
        ("log", "Log"),
        ("token_cache", "TokenCache"),
        ("issuer", "Issuer"),
        ("issuer.jwks", "Jwks"),
        ("upstream", "Upstream"),
        ("route", "Route"),
        ("identity", "Identity"),
        ("revocation", "Revocation"),
    ];
    tables
        .into_iter()
        .flat_map(|(table, definition)| {
            let properties = schema["definitions"][definition]["properties"]
                .as_object()
                .unwrap()
                .clone();
            properties
                .into_iter()
                .map(move |(key, property)| (table, key, property))
        })
        .collect()
}

/// A good file that says `key = value` in `table`, instead of what it says by default.
fn file_saying(table: &str, key: &str, value: &Value) -> String {
    let mut file: toml::Table = toml::from_str(&file_with("", "")).unwrap();
    let mut place = &mut file;
    for name in table.split('.') {
        let entry = place.entry(name).or_insert_with(|| match name {
            "sni" => vec![toml::Table::new()].into(),
            _ => toml::Table::new().into(),
        });
        place = match entry {
            toml::Value::Array(entries) => entries[0].as_table_mut().unwrap(),
            entry => entry.as_table_mut().unwrap(),
        };
    }
    place.insert(key.to_owned(), toml::Value::try_from(value).unwrap());
    toml::to_string(&file).unwrap()
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_program() {
    let schema = schema();
    let plain = config::load_text(&file_with("", ""), Path::new("x.toml"))
        .unwrap()
        .config;
    let mut compared = 0;
    for (table, key, property) in keys(&schema) {
        let Some(default) = property.get("default") else {
            continue;
        };
        // The base file needs another value here, to be free of warnings.
        if key == "max_lifetime" {
            continue;
        }
        let text = file_saying(table, &key, default);
        let explicit = config::load_text(&text, Path::new("x.toml"))
            .unwrap_or_else(|faults| panic!("{faults}"));
        let mut explicit = explicit.config;
        // A JSON object has no order.
        explicit.identity.headers.sort_by_key(|(name, _)| {
            plain
                .identity
                .headers
                .iter()
                .position(|(other, _)| other == name)
        });
        assert_eq!(explicit, plain, "{table}.{key}");
        compared += 1;
    }
    assert!(compared > 45, "{compared}");
}

/// Whether something is wrong with that key. A section that is not whole has faults besides.
fn is_refused(text: &str, key: &str) -> bool {
    let loaded = config::load_text(text, Path::new("x.toml"));
    loaded.is_err_and(|faults| faults.to_string().contains(&format!(".{key}: ")))
}

#[test]
fn the_words_of_the_schema_are_those_of_the_program() {
    for (table, key, property) in keys(&schema()) {
        let Some(words) = property.get("enum").and_then(Value::as_array) else {
            continue;
        };
        for word in words {
            let mut text = file_saying(table, &key, word);
            if word == "redis" {
                // This store has to be told where it is.
                text = text.replace(
                    "store = \"redis\"",
                    "store = \"redis\"\nurl = \"redis://127.0.0.1\"",
                );
            }
            assert!(!is_refused(&text, &key), "{text}");
        }
        let text = file_saying(table, &key, &Value::from("no-such-word"));
        assert!(is_refused(&text, &key), "{text}");
    }
}

#[test]
fn the_keys_of_the_schema_are_known_and_their_types_are_checked() {
    for (table, key, property) in keys(&schema()) {
        if property.get("allOf").is_some() && ["limits", "jwks", "tls"].contains(&key.as_str()) {
            continue;
        }
        // No key takes a date.
        let text = file_saying(table, &key, &Value::from("@date@"));
        let text = text.replace("\"@date@\"", "1979-05-27");
        let said = faults(&text).join("\n");
        assert!(
            said.contains(&format!(".{key}: found a date or time, expected")),
            "{table}.{key}: {said}"
        );
        assert!(!said.contains("is unknown"), "{said}");
    }
}

#[test]
fn the_schema_knows_every_key_of_the_program() {
    // What the program lists as expected beside an unknown key is what it knows.
    let schema = schema();
    for table in [
        "server",
        "server.limits",
        "server.tls",
        "server.tls.sni",
        "admin",
        "log",
        "token_cache",
        "issuer",
        "issuer.jwks",
        "upstream",
        "route",
        "identity",
        "revocation",
    ] {
        let said = faults(&file_saying(table, "zzzzzzzzzzzz", &Value::from(1))).join("\n");
        let (_, list) = said.split_once("expected one of ").unwrap();
        let known: BTreeSet<String> = list.split(", ").map(str::to_owned).collect();
        let described: BTreeSet<String> = keys(&schema)
            .into_iter()
            .filter_map(|(owner, key, _)| (owner == table).then_some(key))
            .collect();
        assert_eq!(known, described, "{table}");
    }
}
