"""The tokens and keys on disk: which files there are, and having them minted when they are missing."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

# Must equal the version in `minting`, which only the virtual environment can import.
VERSION = 1


@dataclass(frozen=True)
class TokenStore:
    folder: Path
    token_bytes: int
    hot: int
    unique: int
    issuer: str
    audience: str
    scope: str

    def file(self, kind):
        return self.folder / f"{kind}.tokens"

    def first(self, kind):
        with open(self.file(kind), "rb") as file:
            return file.readline().rstrip(b"\n").decode()

    @property
    def public_pem(self):
        return self.folder / "public.pem"

    @property
    def jwks(self):
        return self.folder / "jwks.json"

    @property
    def jwk_text(self):
        return (self.folder / "jwk.json").read_text()


def _read(folder):
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
    except (OSError, ValueError):
        return None
    if manifest.pop("version") != VERSION:
        return None
    return TokenStore(folder=folder, **manifest)


def ensure_tokens(folder, venv_python):
    """The kept tokens, or new ones; a minting that ends early leaves nothing behind."""
    kept = _read(folder)
    if kept is not None:
        return kept
    print(f"Minting 301,000 tokens into {folder}: some minutes, once.", flush=True)
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    command = [str(venv_python), "-m", "harness.minting", str(folder)]
    try:
        subprocess.run(command, cwd=Path(__file__).resolve().parent.parent, env=environment, check=True)
    finally:
        shutil.rmtree(folder.with_name(folder.name + ".partial"), ignore_errors=True)
    return _read(folder)
