#!/bin/sh
# kill -9 at a hundred random moments of a process that writes notes as fast as it can: after each kill the file passes
# integrity_check and holds everything whose commit was confirmed.
# usage: kill_notes.sh TEST_NOTES [ROUNDS]    (build/test/test_notes)
set -eu
CONCEPTOME_KILLS=${2:-100} "$1" killed_writer_loses_nothing
