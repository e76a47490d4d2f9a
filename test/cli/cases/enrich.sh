# enrich on lists, without a study.

case_enrich_alone() {
    printf 'CD79A\t5\nMS4A1\t4\nCD19\t3\nCD3E\t-2\nCD3D\t-3\nNKG7\t-1\nLYZ\t0.5\nGNLY\t-0.5\nCD8A\t-2.5\nCST3\t0.2\n' >x.rnk
    printf 'b_cells\tna\tCD79A\tMS4A1\tCD19\nt_cells\tna\tCD3E\tCD3D\tCD8A\n' >y.gmt
    expect 0 enrich --ranking x.rnk --gmt y.gmt --aspects none --min-size 2
    said b_cells
    printf 'CD79A\nMS4A1\n' >genes.txt
    expect 0 enrich --genes genes.txt --gmt y.gmt --aspects none --min-size 2 --json
    said odds_ratio
    printf 'CD79A\t5\nCD79A\t4\n' >twice.rnk
    expect 1 enrich --ranking twice.rnk --gmt y.gmt --aspects none --min-size 2
    said "twice"
    printf 'CD79A\tfive\nCD79A\tsix\n' >words.rnk
    expect 1 enrich --ranking words.rnk --gmt y.gmt --aspects none
    expect 1 enrich --ranking absent.rnk --gmt y.gmt --aspects none
    expect 2 enrich --ranking x.rnk --genes genes.txt
    expect 2 enrich --ranking x.rnk --aspects none
    said "no gene sets"
}
