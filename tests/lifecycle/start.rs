//! What a gateway does not start with.

use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::support::{Server, configuration, gateway::BINARY};
use crate::{ROUTE, provider};

/// Starts with that configuration and waits for the end: exit code, standard output, standard error.
fn start(text: &str) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("portcullis.toml");
    std::fs::write(&path, text).unwrap();
    let mut command = Command::new(BINARY);
    let output = command
        .arg("--config")
        .arg(&path)
        .stdin(Stdio::null())
        .output()
        .expect("the binary");
    let text = |bytes: Vec<u8>| {
        String::from_utf8(bytes)
            .unwrap()
            .replace(path.to_str().unwrap(), "FILE")
    };
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn listening(public: &str, admin: &str) -> String {
    let top = format!("[server]\nlisten = [{public}]\n[admin]\nlisten = \"{admin}\"");
    configuration(&top, &provider(), "", &Server::echo(), ROUTE)
}

/// The port is taken: had it been tried, the exit code would be 1.
#[test]
fn a_wrong_configuration_ends_with_2_before_any_socket_is_bound() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let wrong = listening(&format!("\"{address}\""), "127.0.0.1:0")
        .replace("path = \"/*\"", "path = \"*\"\nfrob = 1");
    let (code, out, errors) = start(&wrong);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{errors}");
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!(lines.len(), 2, "{errors}");
    assert!(
        lines.iter().all(|line| line.starts_with("FILE:")),
        "{errors}"
    );
    assert!(
        lines[0].contains("route[0].path") && lines[1].contains("frob"),
        "{errors}"
    );
    assert!(errors.ends_with('\n'), "{errors:?}");
}

#[test]
fn a_configuration_that_is_not_there_ends_with_2() {
    let output = Command::new(BINARY)
        .args(["serve", "--config", "/nonexistent/portcullis.toml"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nonexistent/portcullis.toml"));
}

#[test]
fn a_port_that_is_taken_ends_with_1_and_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let rows = [
        (
            "public",
            listening(&format!("\"{address}\""), "127.0.0.1:0"),
        ),
        (
            "the second of two",
            listening(&format!("\"127.0.0.1:0\", \"{address}\""), "127.0.0.1:0"),
        ),
        ("admin", listening("\"127.0.0.1:0\"", &address)),
    ];
    for (name, text) in rows {
        let (code, _, errors) = start(&text);
        assert_eq!(code, Some(1), "{name}: {errors}");
        assert!(errors.contains(&address), "{name}: {errors}");
    }
}
