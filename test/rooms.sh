#!/bin/sh
# The house rule of CONTRIBUTING.md: a room of src/ includes only rooms before it. rooms.sh, in the repository's root.
set -eu
rooms="base math io model dictionary ontology concept enrich evaluate notes plot study pipeline trust view compare report"
grep -n '^#include "[a-z]*/' src/*/*.[ch] src/*/*/*.[ch] | awk -v rooms="$rooms" '
    BEGIN { n = split(rooms, room, " "); for (i = 1; i <= n; i++) floor[room[i]] = i }
    {
        split($0, part, /[:"]/); split(part[1], from, "/"); split(part[4], to, "/"); seen++
        if (from[2] == "server") next # the public header and its own files: checked below
        if (!(from[2] in floor)) { print part[1] ": a room that rooms.sh does not know"; bad = 1 }
        else if (!(to[1] in floor) || floor[to[1]] > floor[from[2]]) { print part[1] ":" part[2] ": includes " part[4]; bad = 1 }
    }
    END { if (!seen) { print "rooms.sh: no includes found"; bad = 1 } exit bad }'
if grep -n '^#include "' src/server/*.[ch] cli/*.[ch] | grep -Ev '"(server/|cli\.h|conceptome\.h)'; then
    echo "src/server and cli may include the public header only" >&2
    exit 1
fi
