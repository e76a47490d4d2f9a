#!/bin/sh
# The pages in a real browser: run.sh PROGRAM [playwright arguments]. Serves a study of simulated cells, and
# one of sorted blood cells where ../shared is (or CONCEPTOME_STUDY, a finished study, which is only read).
# Skips, and says so, where node, npm, a browser or the modules of ui/package-lock.json are absent.
set -eu
program=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
shift
here=$(cd "$(dirname "$0")/../.." && pwd)
shared=${CONCEPTOME_SHARED:-$here/../shared}

skip() {
    echo "SKIP: test/ui: $*"
    exit 0
}
command -v node >/dev/null && command -v npm >/dev/null || skip "node and npm are absent"
CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}
[ -n "$CHROMIUM" ] || skip "no browser: install chromium or set CHROMIUM"
export CHROMIUM PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1
if [ ! -d "$here/ui/node_modules/@playwright/test" ]; then
    (cd "$here/ui" && npm ci --no-audit --no-fund >/dev/null 2>&1) || skip "npm ci did not succeed (no network?)"
fi
(cd "$here/ui" && npm run -s build)

work=$(mktemp -d)
server=
stop() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 1' INT TERM

"$program" simulate -o "$work/cells.h5ad" --cells 600 --genes 500 --programs 4 -s 7 -q
"$program" run "$work/cells.h5ad" -o "$work/simulated" --epochs 4 --genes 500 --permutations 200 --prototypes 8 -q
if [ -n "${CONCEPTOME_STUDY:-}" ]; then
    cp -r "$CONCEPTOME_STUDY" "$work/blood"
elif [ -s "$shared/data/pbmc_sorted.h5ad" ]; then
    "$program" run "$shared/data/pbmc_sorted.h5ad" -o "$work/blood" --epochs 8 --permutations 500 -q
else
    echo "SKIP: test/ui: no ../shared: the pages are tried on simulated cells only"
fi
export CONCEPTOME_PROGRAM="$program" CONCEPTOME_WORK="$work" CONCEPTOME_PAGES="$here/ui/dist"
cd "$here/ui"
npx --no-install playwright test "$@"
