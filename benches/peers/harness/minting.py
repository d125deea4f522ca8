"""Mints the key and every token of the benchmark; runs inside the virtual environment, where `jwt` is.

Owns what a token looks like. All tokens of a file have one length, so that a reader can seek to the nth.
"""

import base64
import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

VERSION = 1
ISSUER = "https://issuer.bench.example/"
AUDIENCE = "https://api.bench.example"
SCOPE = "orders:read orders:write"
KEY_ID = "bench-2048"
HOT = 1_000
UNIQUE = 300_000
# 2100-01-01, so that kept tokens stay good.
FAR_FUTURE = 4_102_444_800
CHUNK = 1_000

_signing_key = None


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def claims(number, issued_at, expires_at):
    """About what an identity provider puts into an access token, always of the same length."""
    return {
        "iss": ISSUER,
        "sub": f"auth0|64f1c2a9{number:016d}",
        "aud": AUDIENCE,
        "client_id": "bench-client-0001",
        "scope": SCOPE,
        "iat": issued_at,
        "exp": expires_at,
        "jti": f"3d1f6c52-8a07-4b1e-9c55-{number:012d}",
    }


def mint(key, number, issued_at, expires_at=FAR_FUTURE):
    """One compact JWS. The header never changes, so only the payload is encoded anew; `check` holds it against PyJWT."""
    header = {"alg": "RS256", "kid": KEY_ID, "typ": "at+jwt"}
    parts = [json.dumps(part, separators=(",", ":")).encode() for part in (header, claims(number, issued_at, expires_at))]
    signed = b".".join(base64url(part) for part in parts)
    signature = key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    return signed + b"." + base64url(signature)


def tampered(token):
    """The same token with one character in the middle of its signature changed."""
    middle = len(token) - 171
    other = b"A" if token[middle : middle + 1] != b"A" else b"B"
    return token[:middle] + other + token[middle + 1 :]


def start_worker(private_pem):
    """Ctrl-C reaches every process of the terminal; the parent alone acts on it, and ends the workers."""
    global _signing_key
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _signing_key = serialization.load_pem_private_key(private_pem, password=None)


def mint_chunk(work):
    first, count, issued_at = work
    return b"".join(mint(_signing_key, first + index, issued_at) + b"\n" for index in range(count))


def write_unique(path, private_pem, issued_at):
    """Minutes of signing, on every processor; the numbers follow those of the hot tokens."""
    chunks = [(HOT + first, CHUNK, issued_at) for first in range(0, UNIQUE, CHUNK)]
    began = time.monotonic()
    with multiprocessing.Pool(len(os.sched_getaffinity(0)), start_worker, (private_pem,)) as pool, open(path, "wb") as file:
        for done, chunk in enumerate(pool.imap(mint_chunk, chunks), 1):
            file.write(chunk)
            if done % 20 == 0 or done == len(chunks):
                took = time.monotonic() - began
                left = took / done * (len(chunks) - done)
                print(f"  {done * CHUNK:>7} of {UNIQUE} tokens, about {left:.0f} s left", flush=True)


def write_keys(folder, key):
    public = key.public_key()
    private_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public_pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "private.pem").write_bytes(private_pem)
    (folder / "public.pem").write_bytes(public_pem)
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(public, as_dict=True)
    jwk = {"kty": jwk["kty"], "n": jwk["n"], "e": jwk["e"], "kid": KEY_ID, "alg": "RS256", "use": "sig"}
    (folder / "jwk.json").write_text(json.dumps(jwk))
    (folder / "jwks.json").write_text(json.dumps({"keys": [jwk]}))
    return private_pem, public_pem


def check(token, public_pem):
    """An independent library must take what was minted by hand."""
    jwt.decode(token, public_pem, algorithms=["RS256"], audience=AUDIENCE, issuer=ISSUER)


def write_all(folder):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private_pem, public_pem = write_keys(folder, key)
    now = int(time.time()) - 60
    hot = [mint(key, number, now) for number in range(HOT)]
    check(hot[0], public_pem)
    (folder / "hot.tokens").write_bytes(b"".join(token + b"\n" for token in hot))
    (folder / "expired.tokens").write_bytes(mint(key, 0, now - 7200, now - 3600) + b"\n")
    (folder / "tampered.tokens").write_bytes(tampered(hot[0]) + b"\n")
    write_unique(folder / "unique.tokens", private_pem, now)
    manifest = {"version": VERSION, "token_bytes": len(hot[0]), "hot": HOT, "unique": UNIQUE}
    manifest |= {"issuer": ISSUER, "audience": AUDIENCE, "scope": "orders:read"}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def main(target):
    """Writes beside the target and renames, so that an interrupted run leaves nothing that looks whole."""
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    write_all(partial)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except KeyboardInterrupt:
        sys.exit(130)
