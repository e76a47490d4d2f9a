# Whole studies: made, continued, changed, interrupted.

case_simulate_and_run() {
    expect 0 simulate -o cells.h5ad --cells 300 --genes 500 --programs 4 -s 7
    expect 0 inspect cells.h5ad
    said "300"
    expect 0 run cells.h5ad -o one/study $small -t 1 # the report is headed by the folder's name: the same for both
    expect 0 run cells.h5ad -o two/study $small -t 2
    same_study one/study two/study
    for file in study.json cells.h5ad concepts.h5ad attribution.h5ad enrichment.tsv.gz evaluation.json report.html \
        dictionary/cfg.json dictionary/sae_weights.safetensors model.safetensors; do
        if [ -s "one/study/$file" ]; then good; else bad "one/study/$file is absent"; fi
    done
    if gzip -dc one/study/enrichment.tsv.gz | head -1 | tr '\t' ' ' | grep -q \
        '^concept unit_kind ranking method collection term name size overlap es nes p log10p q log2err leading_edge ic represented_by p_by$'; then
        good
    else
        bad "enrichment.tsv.gz: header"
    fi
    if gzip -dc one/study/enrichment.tsv.gz | awk -F'\t' 'NR > 1 && $12 != "NA" && $12 <= 0 { exit 1 }'; then good; else bad "a p of 0"; fi
    expect 0 run cells.h5ad -o one/study -v # options as recorded: no stage has anything to do
    for stage in cells model embedding map dictionary concepts attribution expression enrichment index evaluation tables report; do
        said "$stage: nothing has changed"
    done
    same_study one/study two/study
    expect 0 export one/study --what concepts
    said "c0"
    expect 0 export one/study --what genes --format json
    expect 0 export one/study --what terms
    expect 0 evaluate one/study --quick --json # in full: evaluate.sh, on a copy
    expect 0 run cells.h5ad -o fixed --model obsm:program_activity --dictionary-epochs 10 --k 2 --min-size 5
    said "no counterfactuals"
    expect 0 run cells.h5ad -o neurons $small --dictionary neurons
}

# What a later command inherits of an earlier one, and what not.
case_recorded_options() {
    need_study
    tiny="--model obsm:program_activity --dictionary-epochs 3 --k 2 --min-size 5 --aspects none"
    echo 'set_a	na	X' >x.gmt
    expect 1 run cells.h5ad -o recorded $tiny --label typo
    said "no column 'typo'"
    if grep -q '"typo"' recorded/study.json; then bad "an option that was wrong is kept"; else good; fi
    expect 1 run cells.h5ad -o recorded $tiny --gmt absent.gmt
    said "absent.gmt: No such file"
    expect 2 run cells.h5ad -o recorded $tiny --dictionary topkk
    said "neither a kind (topk"
    mkdir -p "a folder/ü"
    cp cells.h5ad "a folder/ü/cells.h5ad"
    (cd "a folder" && "$program" simulate -o other.h5ad --cells 20 --genes 30 -q &&
        "$program" export ../one/study --what genes >genes.tsv && cut -f3 genes.tsv | sort -u | head -60 | tr '\n' '\t' |
        sed 's/^/set_a\tna\t/; s/\t$/\n/' >x.gmt &&
        "$program" run "ü/cells.h5ad" -o "ü/a study" $tiny --gmt x.gmt -q) 2>err >out
    if [ -s "a folder/ü/a study/report.html" ]; then good; else bad "folders with blanks and umlauts"; fi
    expect 0 report "a folder/ü/a study" -v
    if grep -q ' stage [a-z]' err; then bad "from another folder, stages run again"; else good; fi
    expect 0 report "a folder/ü/a study" --json
    said '"file": "a folder/'
}

case_config_and_steps() {
    need_study
    echo '{"epochs": 8, "genes": 300, "likelihood": "zinb", "latent": 6}' >config.json
    expect 0 fit cells.h5ad --config config.json --latent 5 -o model
    expect 0 inspect model
    expect 0 embed cells.h5ad --model model -o embedded.h5ad
    expect 0 train embedded.h5ad -o dict --dictionary-epochs 10 --json
    said r2_feature
    expect 0 encode embedded.h5ad --dictionary dict -o concepts.h5ad
    expect 0 inspect dict
    expect 1 encode embedded.h5ad --dictionary model -o x.h5ad
    expect 1 train cells.h5ad --obsm absent -o dict2
    said "obsm"
}

case_interrupted() {
    need_study
    rm -rf killed
    for pause in 0.03 0.11 0.23 0.37 0.52 0.71 0.94 1.2 1.6 2.1; do
        "$program" run cells.h5ad -o killed/study $small -t 2 >/dev/null 2>&1 &
        pid=$!
        sleep $pause
        kill -9 $pid 2>/dev/null
        wait $pid 2>/dev/null
    done
    expect 0 run cells.h5ad -o killed/study $small -t 2
    same_study one/study killed/study
    "$program" run cells.h5ad -o stopped --epochs 100000 --genes 300 >stopped.out 2>&1 &
    pid=$!
    sleep 1.5
    expect 1 run cells.h5ad -o stopped --epochs 100000 --genes 300
    said "process $pid is working on this study"
    kill -INT $pid
    wait $pid
    if [ $? -eq 1 ]; then good; else bad "Ctrl-C: exit code"; fi
    if find stopped -name '*.tmp-*' | grep -q .; then bad "Ctrl-C left a half file"; else good; fi
}
