//! The files that a configuration names: key sets, certificates, secrets.
//!
//! Owns reading them at check time and the words for what is wrong with them. A path is never printed:
//! it may be a secret that was written where its file's name belongs.

use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::path::PathBuf;

use data_encoding::BASE64;

use super::Secret;
use super::node::Text;
use crate::tls::{Flaw, KeyPair, Roots};

/// More than any of these files holds.
const LARGEST: u64 = 16 << 20;

const NO_CERTIFICATE: &str =
    "names a file without a readable certificate, expected PEM with -----BEGIN CERTIFICATE-----";

/// A file that could be read.
pub(super) struct NamedFile {
    pub(super) path: PathBuf,
    pub(super) content: Vec<u8>,
    metadata: Metadata,
}

/// Reads the file; what prevents that is a fault.
pub(super) fn read(text: &Text<'_>) -> Option<NamedFile> {
    let path = text.node.report().resolve(text.value);
    match try_read(path) {
        Ok(file) => Some(file),
        Err(problem) => {
            text.node.fault(format!(
                "names a file that {problem}, expected a readable file (a relative path begins beside this configuration)"
            ));
            None
        }
    }
}

fn try_read(path: PathBuf) -> Result<NamedFile, String> {
    let metadata = std::fs::metadata(&path).map_err(|error| describe(&error))?;
    // Opening a pipe could wait for ever.
    if !metadata.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let file = File::open(&path).map_err(|error| describe(&error))?;
    let mut content = Vec::new();
    file.take(LARGEST + 1)
        .read_to_end(&mut content)
        .map_err(|error| describe(&error))?;
    if content.len() as u64 > LARGEST {
        return Err("is larger than 16MiB".to_owned());
    }
    Ok(NamedFile {
        path,
        content,
        metadata,
    })
}

fn describe(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "does not exist".to_owned(),
        ErrorKind::PermissionDenied => "may not be read by this user".to_owned(),
        kind => format!("cannot be read ({kind})"),
    }
}

/// Reads a certificate and its private key, each named by its own text; what is wrong is a fault of the one that it is wrong with.
pub(super) fn read_key_pair(certificate: &Text<'_>, private_key: &Text<'_>) -> Option<KeyPair> {
    let (chain, key) = (read_followed(certificate), read_followed(private_key));
    let key = key.inspect(|key| warn_if_shared(private_key, &key.metadata))?;
    let now = certificate.node.report().now();
    match KeyPair::read(&chain?.content, &key.content, now) {
        Ok(key_pair) => Some(key_pair),
        Err(Flaw::Certificate(problem)) => {
            certificate
                .node
                .fault(format!("names a file that {problem}"));
            None
        }
        Err(Flaw::PrivateKey(problem)) => {
            private_key
                .node
                .fault(format!("names a file that {problem}"));
            None
        }
    }
}

/// Reads the certificates of authorities.
pub(super) fn read_roots(text: &Text<'_>) -> Option<Roots> {
    let file = read_followed(text)?;
    let roots = Roots::read(&file.content);
    if roots.is_none() {
        text.node.fault(NO_CERTIFICATE);
    }
    roots
}

/// Reads the file; from then on its change is a change of the configuration.
fn read_followed(text: &Text<'_>) -> Option<NamedFile> {
    let file = read(text)?;
    text.node.report().follow(&file.path, &file.content);
    Some(file)
}

/// Reads a secret: it may not be empty, and should be nobody else's.
pub(super) fn read_secret(text: &Text<'_>) -> Option<(PathBuf, Secret)> {
    let file = read(text)?;
    warn_if_shared(text, &file.metadata);
    let secret = Secret::from_file_content(file.content);
    if secret.expose().is_empty() {
        text.node
            .fault("names an empty file, expected a file that holds the secret");
        return None;
    }
    Some((file.path, secret))
}

#[cfg(unix)]
fn warn_if_shared(text: &Text<'_>, metadata: &Metadata) {
    use std::os::unix::fs::PermissionsExt;
    if metadata.permissions().mode() & 0o077 != 0 {
        text.node.warn(
            "names a secret that other users may read or change, make it private (chmod 600)",
        );
    }
}

#[cfg(not(unix))]
fn warn_if_shared(_: &Text<'_>, _: &Metadata) {}

/// Reads a key set (RFC 7517 §5) far enough to know that it is one.
pub(super) fn read_key_set(text: &Text<'_>) -> Option<PathBuf> {
    let file = read(text)?;
    let set: Option<serde_json::Value> = serde_json::from_slice(&file.content).ok();
    let keys = set.as_ref().and_then(|set| set.as_object()?.get("keys"));
    if !keys.is_some_and(serde_json::Value::is_array) {
        text.node
            .fault("names a file that is not a key set, expected a JSON object with an array \"keys\" (RFC 7517)");
        return None;
    }
    Some(file.path)
}

/// Reads the certificates of a PEM file.
pub(super) fn read_certificates(text: &Text<'_>) -> Option<Vec<u8>> {
    let file = read(text)?;
    let content = String::from_utf8_lossy(&file.content);
    let mut blocks = content
        .split("-----BEGIN CERTIFICATE-----")
        .skip(1)
        .peekable();
    if blocks.peek().is_none() || !blocks.all(is_encoded) {
        text.node.fault(NO_CERTIFICATE);
        return None;
    }
    Some(file.content)
}

/// Whether a PEM block, its first line gone, is base64 up to its last line.
fn is_encoded(block: &str) -> bool {
    let Some((body, _)) = block.split_once("-----END CERTIFICATE-----") else {
        return false;
    };
    let body: String = body.split_ascii_whitespace().collect();
    !body.is_empty() && BASE64.decode(body.as_bytes()).is_ok()
}
