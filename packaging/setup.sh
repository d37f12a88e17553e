#!/bin/sh
# Installs what is missing, says what, and is quick when nothing is. Usage: packaging/setup.sh run|test
set -eu
want=${1:-run}
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*"; }

# ── Debian packages ──────────────────────────────────────────────────────────────────────────────────────────────
packages=$(awk -v want="$want" '!/^#/ && NF && ($2 == "run" || want == "test") { print $1 }' packaging/debian.txt)
if command -v dpkg-query >/dev/null; then
    missing=
    for package in $packages; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
    done
    if [ -n "$missing" ] && [ "$(id -u)" = 0 ]; then
        say "installing Debian packages:$missing"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        # shellcheck disable=SC2086
        apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 $missing >/dev/null
    elif [ -n "$missing" ]; then
        say "not root, so these packages are left out; what needs them will say so:$missing"
    fi
else
    say "no Debian or Ubuntu here; install these by the means of this system:" $packages
fi

# ── Python ───────────────────────────────────────────────────────────────────────────────────────────────────────
fits() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
stamp=.venv/.setup
wanted=$(cat packaging/requirements.lock pyproject.toml | sha256sum | cut -d' ' -f1)
if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c '' 2>/dev/null; then
    python=
    for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do
        if fits "$candidate"; then python=$candidate; break; fi
    done
    [ -n "$python" ] || { say "Python 3.11 or newer with venv is needed (Debian: apt install python3-venv)"; exit 1; }
    say "making .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
fi
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    say "installing locked Python packages into .venv"
    .venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r packaging/requirements.lock
    .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
    printf '%s' "$wanted" >"$stamp"
fi
