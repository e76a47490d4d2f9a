# Every kind of dictionary through every stage; the sweep over their settings.

case_dictionaries() {
    need_study
    for kind in batchtopk matryoshka nmf; do
        cp -r one/study "kind_$kind"
        expect 0 run cells.h5ad -o "kind_$kind" --dictionary $kind --expansion 0 --permutations 200 -q
        if [ -s "kind_$kind/report.html" ] && [ -s "kind_$kind/attribution.h5ad" ]; then good; else bad "$kind"; fi
        expect 0 encode kind_$kind/cells.h5ad --dictionary kind_$kind/dictionary -o "again_$kind.h5ad" -q
    done
    cp -r one/study kinds
    for kind in pca ica neurons random; do
        expect 0 run cells.h5ad -o kinds --dictionary $kind --expansion 0 --permutations 200 -q
    done
    for preset in overcomplete openai sae-lens; do
        expect 0 run cells.h5ad -o kinds --dictionary topk --preset $preset --permutations 200 -q
    done
    expect 0 run cells.h5ad -o kinds --dictionary batchtopk --preset sae-lens --permutations 200 -q
    if grep -q '"architecture": "jumprelu"' kind_batchtopk/dictionary/cfg.json; then good; else bad "no jumprelu"; fi
    expect 2 run cells.h5ad -o s --dictionary batchtop -q
    said "topk, batchtopk, matryoshka, pca"
    expect 2 train one/study/cells.h5ad -o d --groups 1/2,1/2 -q
    said "matryoshka"
    expect 2 train one/study/cells.h5ad -o d --dictionary matryoshka --groups 1/2,1/3 -q
    said "sum to 1"
    expect 0 train one/study/cells.h5ad -o d --dictionary matryoshka --groups 1/4,3/4 --dictionary-epochs 5 -q
    expect 0 train one/study/cells.h5ad -o d2 --dictionary matryoshka --groups 1/4,3/4 --dictionary-epochs 5 -q -t 2
    same d/sae_weights.safetensors d2/sae_weights.safetensors
}

case_sweep() {
    need_study
    rm -rf swept
    cp -r one/study swept
    expect 0 evaluate swept --sweep --evaluation quick -t 2
    if [ "$(head -1 swept/sweep.tsv | cut -f1-4)" = "kind	how	k	n_concepts" ]; then good; else bad "sweep.tsv"; fi
    for kind in topk batchtopk matryoshka random pca ica nmf neurons; do
        if grep -q "^$kind	" swept/sweep.tsv; then good; else bad "no $kind in sweep.tsv"; fi
    done
    if grep -q '"reaches_r2_feature"' swept/evaluation.json; then good; else bad "no sweep in evaluation.json"; fi
    cp swept/sweep.tsv before.tsv
    rm swept/evaluation.json swept/sweep.tsv
    expect 0 evaluate swept --sweep --evaluation quick -t 1
    said "are kept from before"
    same before.tsv swept/sweep.tsv
    rm swept/cache/sweep.json swept/evaluation.json
    expect 0 evaluate swept --sweep --evaluation quick -t 1
    same before.tsv swept/sweep.tsv
    expect 0 report swept -q
    if grep -q 'Reconstruction by kind of dictionary' swept/report.html; then good; else bad "no curves in the report"; fi
}
