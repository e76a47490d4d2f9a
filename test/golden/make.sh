#!/bin/sh
# Recomputes test/golden with the established tools. `make golden` runs this.
#
#   sh test/golden/make.sh [SET...]
#
# The tools live in test/golden/venv, created once (Python 3.11 to 3.13, about 6 GB with PyTorch's libraries).
# PYTHON= names the interpreter to create it with; GOLDEN_PYTHON= one that has the tools already.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=${GOLDEN_PYTHON:-$here/venv/bin/python}

if [ -z "${GOLDEN_PYTHON:-}" ] && [ ! -e "$here/venv/complete" ]; then
    "${PYTHON:-python3}" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || {
        echo "make.sh: needs Python 3.11, 3.12 or 3.13; name one with PYTHON=python3.11" >&2
        exit 1
    }
    "${PYTHON:-python3}" -m venv "$here/venv"
    "$python" -m pip install --quiet --requirement "$here/requirements.txt" --constraint "$here/constraints.txt"
    # Their dependencies (old pins, packages no longer published) take no part in what is used of them.
    "$python" -m pip install --quiet --no-deps --requirement "$here/requirements-alone.txt"
    touch "$here/venv/complete"
fi
exec "$python" "$here/make.py" "$@"
