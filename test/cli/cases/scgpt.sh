# Studies with a scGPT checkpoint: the micro one of test/golden, on made-up cells that name its genes.

# Cells whose genes are called GENE0 ... as in the micro vocabulary.
micro_cells() {
    [ -s micro/matrix.mtx ] && return
    mkdir -p micro
    awk 'BEGIN { for (g = 0; g < 40; g++) print "ENSG" g "\tGENE" g "\tGene Expression" }' >micro/features.tsv
    awk 'BEGIN { for (i = 0; i < 60; i++) print "cell" i }' >micro/barcodes.tsv
    awk 'BEGIN {
        srand(5); n = 0
        for (i = 1; i <= 60; i++) for (g = 1; g <= 40; g++)
            if (rand() < 0.7) line[n++] = g " " i " " 1 + int(rand() * (g % 4 == i % 4 ? 20 : 4))
        print "%%MatrixMarket matrix coordinate integer general"; print "40 60 " n
        for (k = 0; k < n; k++) print line[k]
    }' >micro/matrix.mtx
}

case_scgpt() {
    micro_cells
    tiny="--model $here/test/golden/scgpt/micro --concepts 12 --k 2 --dictionary-epochs 5 --prototypes 3 --noise-directions 2
        --ig-steps 4 --aspects none"
    printf 'a\tna\tGENE1\tGENE2\tGENE3\tGENE4\nb\tna\tGENE5\tGENE6\tGENE7\tGENE8\n' >micro.gmt
    expect 0 run micro -o gpt1/study $tiny --gmt micro.gmt --min-size 2 -t 1
    said "in its vocabulary"
    expect 0 run micro -o gpt2/study $tiny --gmt micro.gmt --min-size 2 -t 2
    same_study gpt1/study gpt2/study
    # Finished pairs are taken from the file; more prototypes add to it.
    rm gpt2/study/cache/attribution/summary.json
    expect 0 run micro -o gpt2/study -v
    said "are not computed again"
    same_study gpt1/study gpt2/study
    expect 0 run micro -o gpt2/study --prototypes 4 -v
    said "are not computed again"
    # A file that a kill has cut short goes on with what is whole.
    head -c 3000 gpt1/study/cache/pairs_done.bin >cut.bin && mv cut.bin gpt1/study/cache/pairs_done.bin
    rm gpt1/study/cache/attribution/summary.json
    expect 0 run micro -o gpt1/study -v
    expect 0 run micro -o gpt2/study --prototypes 3
    for file in attribution.h5ad report.html; do same gpt1/study/$file gpt2/study/$file; done
    for screen in ig gradient; do expect 0 run micro -o gpt2/study --screen $screen; done
    for choice in "--ties random --tie-draws 3" "--ties numpy" "--overflow top --max-tokens 10" "--overflow first --max-tokens 10" \
        "--precision bf16" "--gene-aliases"; do
        expect 0 embed micro --model "$here/test/golden/scgpt/micro" -o e.h5ad $choice
    done
    expect 2 embed micro --model "$here/test/golden/scgpt/micro" -o e.h5ad --ties right
    expect 2 embed micro --model "$here/test/golden/scgpt/micro" -o e.h5ad --max-tokens 1
}

case_scgpt_trained() {
    micro_cells
    small_gpt="--model scgpt --embsize 16 --layers 2 --heads 2 --epochs 2 --genes 30 --max-length 12"
    expect 0 fit micro $small_gpt -o gpt_a --dropout 0.1 -t 1
    expect 0 fit micro $small_gpt -o gpt_b --dropout 0.1 -t 2
    for file in best_model.pt args.json vocab.json; do same gpt_a/$file gpt_b/$file; done
    expect 0 inspect gpt_a/best_model.pt
    said "mvc_decoder.gene2query.weight"
    expect 0 embed micro --model gpt_a -o gpt.h5ad
    said "30 of the input's 40 genes"
    study="--concepts 12 --k 2 --dictionary-epochs 5 --prototypes 3 --noise-directions 2 --ig-steps 4 --aspects none"
    expect 0 run micro -o gpt_c/study $small_gpt $study -t 1
    expect 0 run micro -o gpt_d/study $small_gpt $study -t 2
    same_study gpt_c/study gpt_d/study
    expect 0 run micro -o gpt_c/study
    # Defaults are the model's own: those of scGPT do not stay when the model changes.
    expect 0 run micro -o gpt_c/study --model scvi --genes 30
    expect 0 export gpt_c/study --what concepts
    if grep -q '"layers": 1' gpt_c/study/study.json && grep -q '"epochs": -1' gpt_c/study/study.json
    then good; else bad "layers and epochs of scGPT stay"; fi
    expect 2 fit micro --model scgpt --heads 3 -o gpt_e
    said "multiple of the number of heads"
    expect 2 fit micro --model scgpt --max-length 2 -o gpt_e
}
