#!/bin/sh
# install.sh PYTHON DIST: installs the wheel and then the source distribution of DIST into a new environment, outside of
# the clone, and uses what was installed.
set -eu
unset PYTHONPATH  # or the clone would be used
python=$1
dist=$(cd "$2" && pwd)
smoke=$(cd "$(dirname "$0")" && pwd)/use.py
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
"$python" -m venv "$room/venv"
cd "$room"
for built in "$dist"/*.whl "$dist"/*.tar.gz; do
    # Of the second only the package itself is new: what it needs is there.
    "$room/venv/bin/python" -m pip install --quiet --force-reinstall --no-deps "$built"
    "$room/venv/bin/python" -m pip install --quiet "$built"
    "$room/venv/bin/python" "$smoke" "$room"
    echo "$(basename "$built"): installs and works"
done
