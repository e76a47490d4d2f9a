#!/bin/sh
# Builds the pages: ui/ -> ui/dist/{index.html,app.js,app.css}. Usage: ui.sh [--if-possible STATE]
# With --if-possible (what `make` does) it is quiet when node, npm or the network are not there, and what
# failed once is not tried again until ui/package-lock.json changes or `make ui` asks for it.
set -u
here=$(cd "$(dirname "$0")/.." && pwd)
cd "$here/ui" 2>/dev/null || exit 0
[ -f package-lock.json ] || exit 0
gentle=
state=
if [ "${1:-}" = --if-possible ]; then
    gentle=1
    case $2 in /*) state=$2 ;; *) state=$here/$2 ;; esac
fi

stop() {
    [ -n "$gentle" ] || { echo "$1"; exit 1; }
    echo "  UI   $1; the pages are left out (make ui tells more)"
    cp package-lock.json "$state"
    exit 0
}
if [ -s dist/app.js ] && [ -z "$(find src index.html package-lock.json build.mjs tsconfig.json -newer dist/app.js 2>/dev/null | head -1)" ]; then
    exit 0
fi
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    [ -n "$gentle" ] && exit 0
    echo "node and npm are needed to build the pages (Debian: apt-get install nodejs npm)"
    exit 1
fi
[ -n "$gentle" ] && cmp -s package-lock.json "$state" && exit 0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "  UI   ui/dist"
if [ ! -f node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
    npm ci --no-audit --no-fund --prefer-offline --fetch-retries 0 --fetch-timeout 20000 >"$log" 2>&1 || {
        [ -n "$gentle" ] || cat "$log"
        stop "npm ci did not succeed"
    }
    touch node_modules/.package-lock.json
fi
npm run --silent build >"$log" 2>&1 || {
    [ -n "$gentle" ] || cat "$log"
    stop "npm run build did not succeed"
}
[ -n "$gentle" ] || cat "$log"
