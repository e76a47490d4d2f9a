# Notes on the command line: merged, exported, shown in results.

sample_notes() { # AUTHOR NAME UID KEY
    echo '{"format": "conceptome-notes", "version": 1, "changes": [{"uid": "'$3'", "author": "'$1'",'
    echo '"time": "2026-01-01T00:00:00.000Z", "kind": "set", "concept": "'$4'", "field": "name", "value": "'"$2"'", "target": ""}]}'
}

case_notes() {
    need_study
    cp -r one/study noted
    expect 0 notes noted
    said "nothing has been said yet"
    expect 0 export noted --what notes --format json
    said '"changes": \[\]'
    sample_notes Ada '<script>alert(1)</script>' 00000000000000000000000000000001 ffffffffffffffff >early.json
    expect 0 notes noted early.json
    said "1 rows added"
    said "1 values about concepts of an earlier dictionary"
    expect 0 notes noted early.json
    said "0 rows added, 1 known"
    expect 0 export noted --what notes
    said "Ada"
    echo '{"format": "conceptome-notes", "version": 7}' >newer.json
    expect 1 notes noted newer.json
    said "version 7"
    expect 1 notes noted cells.h5ad
    said "neither an SQLite file nor JSON"
    expect 0 notes noted noted/notes.sqlite # itself
    said "0 rows added"
}

# A name given to a concept of today appears, escaped, in the table, the report and concepts.h5ad made next.
case_notes_in_results() {
    need_study
    cp -r one/study shown
    expect 0 report shown -v
    said "report: nothing has changed"
    key=$("$program" notes shown --keys -q 2>/dev/null | sed -n 1p)
    sample_notes Ada '<script>alert(1)</script>' 00000000000000000000000000000002 "$key" >now.json
    expect 0 notes shown now.json
    expect 0 export shown --what concepts
    said "expert_name"
    expect 0 report shown
    if grep -q '&lt;script&gt;alert(1)' shown/report.html && ! grep -q '<script>alert' shown/report.html; then good; else bad "report.html: the name"; fi
    expect 0 report shown -v
    said "report: nothing has changed"
}

# After a run with another dictionary a note is kept, but on no concept; with the first one back it is where it was.
case_notes_of_an_earlier_dictionary() {
    need_study
    cp -r one/study again
    key=$("$program" notes again --keys -q 2>/dev/null | sed -n 3p)
    sample_notes Ada 'about c2' 00000000000000000000000000000003 "$key" >c2.json
    expect 0 notes again c2.json
    said "Ada: 1 name"
    expect 0 run cells.h5ad -o again --k 3
    expect 0 notes again
    said "1 values about concepts of an earlier dictionary"
    if grep -q "Ada: 1 name" out; then bad "the note is on another concept"; else good; fi
    expect 0 run cells.h5ad -o again --k 0 # as at first: chosen from the data
    expect 0 notes again
    said "Ada: 1 name"
}
