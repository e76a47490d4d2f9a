#!/bin/sh
# Creates bench/venv with the established tools at pinned versions, unless it is there. About 6 GB.
#
#   sh bench/peers/make_venv.sh        PYTHON= names the interpreter (3.11 to 3.13)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=$here/../venv
[ -e "$venv/complete" ] && exit 0

"${PYTHON:-python3}" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || {
    echo "make_venv.sh: needs Python 3.11, 3.12 or 3.13; name one with PYTHON=python3.11" >&2
    exit 1
}
"${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --requirement "$here/requirements.txt" \
    --constraint "$here/../../test/golden/constraints.txt"
touch "$venv/complete"
