//! Files that the configuration names, and what `check` prints and returns.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use portcullis::config::{self, KeySource};
use tempfile::TempDir;

use super::{check, file_with};

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMIIBszCC\n-----END CERTIFICATE-----\n";

/// A directory with a configuration in it.
struct House {
    directory: TempDir,
}

impl House {
    fn new(text: &str) -> Self {
        let house = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        house.put("portcullis.toml", text);
        house
    }

    fn put(&self, name: &str, content: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("portcullis.toml")
    }

    fn load(&self) -> config::Loaded {
        config::load(&self.file()).unwrap_or_else(|faults| panic!("{faults}"))
    }

    /// The one fault, from its key on.
    fn fault(&self) -> String {
        let faults = config::load(&self.file())
            .expect_err("should be refused")
            .faults;
        assert_eq!(faults.len(), 1, "{faults:?}");
        format!("{}: {}", faults[0].0.key, faults[0].0.message)
    }

    fn check(&self, strict: bool) -> (ExitCode, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = check::check(&self.file(), strict, &mut out, &mut err);
        let directory = format!("{}/", self.directory.path().display());
        let text = |bytes| String::from_utf8(bytes).unwrap().replace(&directory, "");
        (code, text(out), text(err))
    }
}

fn symmetric(algorithms: &str) -> String {
    let with_uri = file_with(&format!("hmac_secret_file = \"hs.key\"\n{algorithms}"), "");
    with_uri.replace("jwks_uri = \"https://id.example.com/jwks.json\"\n", "")
}

#[test]
fn a_hmac_secret_is_read_without_its_final_newline() {
    let house = House::new(&symmetric(""));
    house.put("hs.key", "0123456789abcdef0123456789abcdef\n");
    let loaded = house.load();
    let KeySource::HmacSecret(secret) = &loaded.config.issuers[0].keys else {
        panic!()
    };
    assert_eq!(secret.expose(), b"0123456789abcdef0123456789abcdef");
    let allowed: Vec<&str> = loaded.config.issuers[0]
        .algorithms
        .iter()
        .map(portcullis::algorithm::Algorithm::name)
        .collect();
    assert_eq!(allowed, ["HS256"]);
    assert_eq!(loaded.warnings, []);
}

#[test]
fn a_hmac_secret_is_as_long_as_the_longest_hash() {
    for (algorithms, least) in [
        ("", 32),
        ("algorithms = [\"HS256\", \"HS384\"]", 48),
        ("algorithms = [\"HS512\"]", 64),
    ] {
        let house = House::new(&symmetric(algorithms));
        house.put("hs.key", &"k".repeat(least - 1));
        assert!(
            house
                .fault()
                .contains(&format!("expected at least {least} bytes"))
        );
        house.put("hs.key", &"k".repeat(least));
        house.load();
    }
}

#[test]
fn a_secret_that_others_can_read_is_warned_about() {
    let house = House::new(&symmetric(""));
    let path = house.put("hs.key", &"k".repeat(32));
    fs::set_permissions(path, fs::Permissions::from_mode(0o640)).unwrap();
    let warnings = house.load().warnings;
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].0.key, "issuer[0].hmac_secret_file");
}

#[test]
fn no_message_repeats_a_secret_written_where_its_file_belongs() {
    let text = symmetric("").replace("hs.key", "s3cr3t-of-the-house");
    assert!(!House::new(&text).fault().contains("s3cr3t"));
    let text = file_with("", "").replace("http://127.0.0.1", "http://user:s3cr3t@127.0.0.1");
    assert!(!House::new(&text).fault().contains("s3cr3t"));
}

#[test]
fn a_key_set_file_holds_a_key_set() {
    let text = file_with("", "").replace(
        "jwks_uri = \"https://id.example.com/jwks.json\"",
        "jwks_file = \"jwks.json\"",
    );
    let house = House::new(&text);
    assert!(house.fault().contains("does not exist"));
    for wrong in ["", "[]", "{}", "{\"keys\": {}}", "not json"] {
        house.put("jwks.json", wrong);
        assert!(
            house
                .fault()
                .starts_with("issuer[0].jwks_file: names a file that is no key set"),
            "{wrong}"
        );
    }
    let path = house.put("jwks.json", "{\"keys\": []}");
    assert_eq!(house.load().config.issuers[0].keys, KeySource::File(path));
    fs::remove_file(house.directory.path().join("jwks.json")).unwrap();
    fs::create_dir(house.directory.path().join("jwks.json")).unwrap();
    assert!(house.fault().contains("is no regular file"));
}

#[test]
fn a_certificate_file_holds_a_certificate() {
    let house = House::new(&file_with("jwks.ca = \"ca.crt\"", ""));
    for wrong in [
        "",
        "MIIB",
        "-----BEGIN CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n%%\n-----END CERTIFICATE-----\n",
    ] {
        house.put("ca.crt", wrong);
        assert!(
            house
                .fault()
                .starts_with("issuer[0].jwks.ca: names a file without a readable certificate"),
            "{wrong}"
        );
    }
    house.put("ca.crt", CERTIFICATE);
    assert_eq!(
        house.load().config.issuers[0].jwks.ca.as_deref(),
        Some(CERTIFICATE.as_bytes())
    );
}

#[test]
fn the_admin_credential_is_something_a_client_can_send() {
    let admin = "[admin]\nlisten = \"0.0.0.0:9090\"\ntoken_file = \"admin.token\"";
    let house = House::new(&file_with("", admin));
    for (wrong, problem) in [
        ("", "empty"),
        ("\n", "empty"),
        ("two words of it\n", "no client can send"),
        ("windows-line-end\r\n", "no client can send"),
    ] {
        house.put("admin.token", wrong);
        assert!(house.fault().contains(problem), "{wrong:?}");
    }
    house.put("admin.token", "short\n");
    assert!(
        house.load().warnings[0]
            .0
            .message
            .contains("short enough to guess")
    );
    house.put("admin.token", "0123456789abcdef\n");
    let loaded = house.load();
    assert_eq!(
        loaded.config.admin.token.unwrap().expose(),
        b"0123456789abcdef"
    );
    assert_eq!(loaded.warnings, []);
}

#[test]
fn the_fetch_token_is_there_when_checked() {
    let house = House::new(&file_with("jwks.token_file = \"fetch.token\"", ""));
    assert!(
        house
            .fault()
            .starts_with("issuer[0].jwks.token_file: names a file that does not exist")
    );
    let path = house.put("fetch.token", "t\n");
    assert_eq!(house.load().config.issuers[0].jwks.token_file, Some(path));
}

#[test]
fn check_says_ok_in_one_line() {
    let house = House::new(&file_with("", ""));
    let (code, out, err) = house.check(true);
    assert_eq!(code, ExitCode::SUCCESS);
    assert_eq!(
        (out.as_str(), err.as_str()),
        ("portcullis.toml: ok (1 issuer, 1 upstream, 1 route)\n", "")
    );
}

#[test]
fn check_prints_warnings_and_strict_makes_them_faults() {
    let house = House::new(&file_with("", "report_only = true"));
    let (code, out, err) = house.check(false);
    assert_eq!(code, ExitCode::SUCCESS);
    assert!(out.contains(": ok ("));
    assert!(
        err.starts_with("portcullis.toml:17:15: warning: route[0].report_only: forwards"),
        "{err}"
    );
    let (code, out, err) = house.check(true);
    assert_eq!(code, ExitCode::from(2));
    assert_eq!(out, "");
    assert!(
        err.starts_with("portcullis.toml:17:15: route[0].report_only: forwards"),
        "{err}"
    );
}

#[test]
fn check_prints_faults_and_then_warnings() {
    let house = House::new(&file_with("leeway = 3", "report_only = true"));
    let (code, out, err) = house.check(false);
    assert_eq!(code, ExitCode::from(2));
    assert_eq!(out, "");
    let lines: Vec<&str> = err.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with(
        "portcullis.toml:10:10: issuer[0].leeway: found an integer, expected a duration"
    ));
    assert!(lines[1].contains("warning: route[0].report_only"));
}

#[test]
fn a_file_that_cannot_be_read_is_a_fault() {
    let faults = config::load(Path::new("/nowhere/portcullis.toml")).unwrap_err();
    assert_eq!(
        faults.to_string(),
        "/nowhere/portcullis.toml:1:1: file: there is no such file, expected a readable configuration file"
    );
    let house = House::new("");
    fs::write(house.file(), b"# f\xc3\xbcr\n# f\xfcr\n").unwrap();
    let faults = config::load(&house.file()).unwrap_err().faults;
    assert_eq!((faults[0].0.line, faults[0].0.column), (2, 4));
}
