# The evaluation: its parts, in brief and in full, what is run again and what not.

# evaluation_has FILE NAME...: every name is a key in it
evaluation_has() {
    file=$1
    shift
    for name; do
        if grep -q "\"$name\":" "$file"; then good; else bad "$file has no $name"; fi
    done
}

case_evaluate() {
    need_study
    rm -rf ev
    cp -r one/study ev
    evaluation_has ev/evaluation.json probing purity stability faithfulness noise_floor flags summary accuracy macro_f1 \
        majority best_by_label random_cells random_covariance attribution_does_not_lead by_gene by_call pair_rest
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
    if [ "$(grep -c '"skipped":' without/evaluation.json)" -ge 3 ]; then good; else bad "nothing says that it was skipped"; fi
    said "no counterfactuals"
    expect 1 evaluate without --label typo
    said "no column 'typo'"
}
