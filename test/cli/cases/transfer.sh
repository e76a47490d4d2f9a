# Beyond one study: compare, steer.

# A second study of other cells, and one of the same cells with a fixed embedding.
need_other_studies() {
    need_study
    [ -s other/study.json ] || {
        "$program" simulate -o other.h5ad --cells 200 --genes 450 --programs 4 -s 8 -q
        "$program" run other.h5ad -o other $small -t 1 -q
    }
    [ -s seen/study.json ] || "$program" run cells.h5ad -o seen $small -t 1 -q -s 3 --model one/study/model.safetensors
    [ -s embedded/study.json ] ||
        "$program" run cells.h5ad -o embedded --model obsm:program_activity --dictionary neurons --min-size 5 -q
}

case_compare() {
    need_other_studies
    expect 0 compare one/study seen --null 20
    said "one latent space: same model file"
    said "the same 300 cells"
    said "PW-MCC"
    if head -1 out | tr '\t' ' ' | grep -q '^study_a concept_a study_b concept_b likeness runner_up p q q_within_labels mutual_best decoder_cosine activation_r'; then
        good
    else
        bad "matches: header"
    fi
    if awk -F'\t' 'NR > 1 && ($7 <= 0 || $7 > 1 || NF != 27) { exit 1 }' out; then good; else bad "matches: p or number of columns"; fi
    expect 0 compare one/study other --null 20 --save -o compared
    said "two models"
    said "cells of other encoded by the model of study"
    for file in compared/matches.tsv compared/comparison.json one/study/comparisons/other.json other/comparisons/study.json; do
        if [ -s "$file" ]; then good; else bad "$file is absent"; fi
    done
    if grep -q '"self": "b"' other/comparisons/study.json; then good; else bad "which side is meant"; fi
    expect 0 compare one/study other --null 20 -t 2 -o again
    same compared/matches.tsv again/matches.tsv
    same compared/comparison.json again/comparison.json
    expect 0 compare one/study embedded other --null 20 --json
    said '"over_pairs"'
    said "or a fixed embedding"
    said "it cannot encode the cells of"
    expect 0 compare one/study seen other --null 3 --max-cells 100 -q
    expect 0 report one/study -v # a saved comparison makes no stage run again
    said "report: nothing has changed"
    rm -r one/study/comparisons # other cases compare studies byte by byte
    expect 2 compare one/study
    expect 2 compare one/study one/study/.
    said "are the same study"
    expect 2 compare one/study other --null 0
    expect 1 compare one/study absent
    said "not a study"
}

case_steer() {
    need_other_studies
    expect 0 steer one/study --concept c0 --scale 2 --directions 20
    said "expected to rise"
    if head -1 out | tr '\t' ' ' | grep -q '^kind name symbol before after change sd same_sign n null_mean null_sd p q$'; then good; else bad "header"; fi
    if awk -F'\t' 'NR > 1 && ($1 == "gene") { g++; if ($12 <= 0 || $12 > 1) exit 1 } END { if (g != 300) exit 1 }' out; then
        good
    else
        bad "genes or their p"
    fi
    cp out first
    expect 0 steer one/study --concept c0 --scale 2 --directions 20 -t 2
    same first out
    expect 0 steer one/study -c c0 --ablate --directions 0 --json
    said '"edit": "ablate"'
    expect 0 steer one/study -c c0 --clamp mean --cells 'inactive & n_counts>0' --directions 5 --max-cells 20 -o steered
    said "in 20 of"
    for file in steered/steering.json steered/changes.tsv; do
        if [ -s "$file" ]; then good; else bad "$file is absent"; fi
    done
    expect 0 steer one/study -c c1 --clamp 1 --label donor --directions 5
    said "probabilities of donor"
    expect 0 steer embedded -c c0 --scale 0.5 --label donor --directions 5
    said "a fixed embedding has no decoder"
    expect 1 steer one/study -c c0 --scale 3 --cells inactive
    said "use --clamp mean"
    expect 2 steer one/study -c c0 --scale 3 --cells 'dono==x'
    said "did you mean 'donor'"
    expect 2 steer one/study -c c99999 --ablate
    said "none of this study's concepts"
    expect 2 steer one/study -c c0
    said "give one of --scale X, --clamp V, --ablate"
    expect 2 steer one/study -c c0 --scale 1 --ablate
    expect 2 steer one/study -c c0 --scale -1
    expect 2 steer one/study -c c0 --clamp much
    expect 2 steer one/study --scale 2
    expect 1 steer one/study -c c0 --ablate --label nothing
    said "no column 'nothing'"
}
