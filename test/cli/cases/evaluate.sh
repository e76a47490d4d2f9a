# The evaluation: its parts, in brief and in full, what is run again and what not.

# field PATH: a number of the last evaluation.json (jq is not demanded: python3 is, elsewhere as well)
evaluation_has() {
    python3 - "$1" "$2" <<'END' 2>>err
import json, sys
value = json.load(open(sys.argv[1]))
for name in sys.argv[2].split("."):
    value = value[int(name)] if isinstance(value, list) else value[name]
sys.exit(value is None or value == {} or value == [])
END
    if [ $? -eq 0 ]; then good; else bad "$1 has no $2"; fi
}

case_evaluate() {
    need_study
    rm -rf ev
    cp -r one/study ev
    for part in probing purity stability faithfulness noise_floor flags; do evaluation_has ev/evaluation.json $part; done
    evaluation_has ev/evaluation.json summary
    evaluation_has ev/evaluation.json flags.concepts.0.concept
    evaluation_has ev/evaluation.json stability.decoder.null.random_cells.cosine.mean
    evaluation_has ev/evaluation.json faithfulness.area.attribution.low
    evaluation_has ev/evaluation.json noise_floor.cutoff_for_5_percent_false.random_directions.all.by_gene
    if grep -q 'id="trust"' ev/report.html; then good; else bad "the report has no section on trust"; fi
    expect 0 evaluate ev --quick -v # as run does it: nothing to do
    for stage in probing purity stability faithfulness noise evaluation; do said "$stage: nothing has changed"; done
    expect 0 evaluate ev --seeds 3 -t 1
    if grep -q '"effort": "full"' ev/evaluation.json; then good; else bad "evaluate is not in full"; fi
    rm -rf ev2
    cp -r one/study ev2
    expect 0 evaluate ev2 --seeds 3 -t 2 --json
    said '"file": "ev2/evaluation.json"'
    same ev/evaluation.json ev2/evaluation.json
    expect 0 evaluate ev --seeds 4 -v # concerns the stability alone
    for stage in probing purity faithfulness noise; do said "$stage: nothing has changed"; done
    said "stage stability"
    expect 2 evaluate ev --quick --evaluation full
    said "exclude each other"
    expect 2 evaluate ev --seeds 0
}

# Labels and donors that do not allow a part are no failure: the part says why.
case_evaluate_without() {
    need_study
    expect 0 run cells.h5ad -o without --model obsm:program_activity --dictionary neurons --aspects none --min-size 5
    for part in stability.skipped faithfulness.skipped noise_floor.skipped; do
        evaluation_has without/evaluation.json $part
    done
    expect 1 evaluate without --label typo
    said "no column 'typo'"
}
