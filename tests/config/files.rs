//! Files that the configuration names, and what `check` prints and returns.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use portcullis::config::{self, KeySource};
use portcullis::tls::KeyPair;
use tempfile::TempDir;

use super::certificates::Authority;
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
                .starts_with("issuer[0].jwks_file: names a file that is not a key set"),
            "{wrong}"
        );
    }
    let path = house.put("jwks.json", "{\"keys\": []}");
    assert_eq!(house.load().config.issuers[0].keys, KeySource::File(path));
    fs::remove_file(house.directory.path().join("jwks.json")).unwrap();
    fs::create_dir(house.directory.path().join("jwks.json")).unwrap();
    assert!(house.fault().contains("is not a regular file"));
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

/// A configuration with that after `[server]`, and that in `[[upstream]]`.
fn secured(tls: &str, upstream: &str) -> House {
    let text = file_with("", "")
        .replace("[[issuer]]", &format!("[server.tls]\n{tls}\n[[issuer]]"))
        .replace(
            "servers = [\"http://",
            &format!("{upstream}\nservers = [\"https://"),
        );
    let text = if tls.is_empty() {
        text.replace("[server.tls]", "")
    } else {
        text
    };
    House::new(&text)
}

const PAIR: &str = "certificate = \"a.crt\"\nprivate_key = \"a.key\"";

impl House {
    /// Certificates of the name `a.example.com` that are good (`a`, `b`), have expired (`old`), or have no name (`bare`).
    fn with_certificates(self) -> Self {
        let authority = Authority::new("CA");
        let folder = self.directory.path();
        authority.issue(&["a.example.com"]).write(folder, "a");
        authority.issue(&["a.example.com"]).write(folder, "b");
        authority.issue(&[]).write(folder, "bare");
        authority
            .issue_until(&["a.example.com"], 2020)
            .write(folder, "old");
        self.put("ca.crt", &authority.certificate);
        self
    }
}

#[test]
fn a_certificate_with_its_key_is_good() {
    let sni = "[[server.tls.sni]]\ncertificate = \"b.crt\"\nprivate_key = \"b.key\"";
    let clients = "client_ca = \"ca.crt\"\nclient_certificates = \"optional\"";
    let house = secured(&format!("{PAIR}\n{clients}\n{sni}"), "ca = \"ca.crt\"");
    let loaded = house.with_certificates().load();
    assert_eq!(loaded.warnings, []);
    let tls = loaded.config.server.tls.unwrap();
    let names: Vec<_> = tls.certificates().iter().map(KeyPair::names).collect();
    assert_eq!(names, [["a.example.com"], ["a.example.com"]]);
    assert!(loaded.config.upstreams[0].tls.is_some());
    let followed = loaded.followed.len();
    assert_eq!(followed, 6, "two pairs and two authorities");
}

#[test]
fn a_wrong_certificate_or_key_is_a_fault_of_its_own_key() {
    let pem = "PEM with -----BEGIN CERTIFICATE-----";
    for (certificate, key, fault) in [
        ("a.crt", "b.key", "private_key: names a file that does not hold the key of the certificate, expected the key that it was made for".to_owned()),
        ("a.crt", "a.crt", "private_key: names a file that holds no readable private key, expected PEM with -----BEGIN PRIVATE KEY-----, not encrypted".to_owned()),
        ("a.key", "a.key", format!("certificate: names a file that holds no readable certificate, expected {pem}")),
        ("old.crt", "old.key", "certificate: names a file that holds a certificate that expired at 2020-01-01T00:00:01Z, expected one that is valid now".to_owned()),
        ("none.crt", "a.key", "certificate: names a file that does not exist, expected a readable file (a relative path begins beside this configuration)".to_owned()),
        ("a.crt", "none.key", "private_key: names a file that does not exist, expected a readable file (a relative path begins beside this configuration)".to_owned()),
    ] {
        let tls = format!("certificate = \"{certificate}\"\nprivate_key = \"{key}\"");
        let house = secured(&tls, "ca = \"ca.crt\"").with_certificates();
        assert_eq!(house.fault(), format!("server.tls.{fault}"));
        let upstream = format!("ca = \"ca.crt\"\nclient_certificate = \"{certificate}\"\nclient_key = \"{key}\"");
        let house = secured("", &upstream).with_certificates();
        let fault = fault.replace("private_key:", "client_key:");
        let fault = if fault.starts_with("certificate") { format!("client_{fault}") } else { fault };
        assert_eq!(house.fault(), format!("upstream[0].{fault}"));
    }
}

#[test]
fn faults_of_tls_name_what_is_wrong() {
    let sni = |more: &str| {
        format!(
            "{PAIR}\n[[server.tls.sni]]\ncertificate = \"bare.crt\"\nprivate_key = \"bare.key\"\n{more}"
        )
    };
    for (tls, fault) in [
        (
            "private_key = \"a.key\"".to_owned(),
            "server.tls.certificate: is missing, expected the file of a certificate in PEM",
        ),
        (
            format!("{PAIR}\nclient_certificates = \"optional\""),
            "server.tls.client_ca: is missing, expected the authorities of client certificates, without which none can be asked for",
        ),
        (
            format!("{PAIR}\nclient_ca = \"a.key\""),
            "server.tls.client_ca: names a file without a readable certificate, expected PEM with -----BEGIN CERTIFICATE-----",
        ),
        (
            format!("{PAIR}\nsni = 1"),
            "server.tls.sni: found an integer, expected an array of tables",
        ),
        (
            format!("{PAIR}\nversions = []"),
            "server.tls.versions: is unknown, expected one of certificate, client_ca, client_certificates, private_key, sni",
        ),
        (
            sni(""),
            "server.tls.sni[0].names: is missing, expected the names for which it is shown: the certificate itself has none",
        ),
        (
            sni("names = [\"10.0.0.1\"]"),
            "server.tls.sni[0].names[0]: is no name that a client can ask for, expected one such as \"api.example.com\" or \"*.example.com\"",
        ),
    ] {
        assert_eq!(
            secured(&tls, "ca = \"ca.crt\"").with_certificates().fault(),
            fault
        );
    }
    let twice = "[[server.tls.sni]]\ncertificate = \"a.crt\"\nprivate_key = \"a.key\"\n";
    let house = secured(&format!("{PAIR}\n{twice}{twice}"), "ca = \"ca.crt\"").with_certificates();
    assert_eq!(
        house.fault(),
        "server.tls.sni[1].names: holds a name that an earlier certificate has already, expected each name once"
    );
}

#[test]
fn faults_of_tls_towards_upstreams_name_what_is_wrong() {
    for (upstream, fault) in [
        (
            "ca = \"a.key\"",
            "ca: names a file without a readable certificate, expected PEM with -----BEGIN CERTIFICATE-----",
        ),
        (
            "ca = \"ca.crt\"\nclient_key = \"a.key\"",
            "client_certificate: is missing, expected the file of the key's certificate in PEM",
        ),
        (
            "ca = \"ca.crt\"\nclient_certificate = \"a.crt\"",
            "client_key: is missing, expected the file of the certificate's private key in PEM",
        ),
        (
            "ca = \"ca.crt\"\nserver_name = \"a b\"",
            "server_name: is no name that a certificate can be for, expected one such as \"orders.internal\"",
        ),
    ] {
        let house = secured("", upstream).with_certificates();
        assert_eq!(house.fault(), format!("upstream[0].{fault}"));
    }
    let plain = file_with("", "").replace("servers = [", "ca = \"ca.crt\"\nservers = [");
    assert_eq!(
        House::new(&plain).with_certificates().fault(),
        "upstream[0].ca: bears on TLS, which no server of this upstream speaks, expected https:// in servers"
    );
}

#[test]
fn a_key_that_others_may_read_is_warned_of() {
    let house = secured(PAIR, "ca = \"ca.crt\"").with_certificates();
    let key = house.directory.path().join("a.key");
    fs::set_permissions(key, fs::Permissions::from_mode(0o644)).unwrap();
    let warnings = house.load().warnings;
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].0.key, "server.tls.private_key");
}
