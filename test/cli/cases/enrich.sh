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

# Plots, several collections, hostile lists: what a user of the lone tool meets.
case_enrich_alone_in_full() {
    i=0
    while [ $i -lt 60 ]; do
        printf 'G%d\t%d.5\r\n' $i $((30 - i))
        i=$((i + 1))
    done >x.rnk
    { printf 'up\tna'; for i in 0 1 2 3 4 5; do printf '\tG%d' $i; done; echo; } >up.gmt
    { printf 'down\tna'; for i in 54 55 56 57 58 59; do printf '\tG%d' $i; done; echo; } >down.gmt
    gzip -nk x.rnk up.gmt
    expect 0 enrich --ranking x.rnk.gz --gmt up.gmt.gz --gmt down.gmt --aspects none --min-size 2 --plots plots
    said "2 running sums in plots"
    [ -s plots/up-01-up.svg ] && [ -s plots/down-01-down.svg ] && good || bad "plots are missing"
    grep -q 'NES' plots/up-01-up.svg && good || bad "a plot without NES"
    : >empty.gmt
    expect 1 enrich --ranking x.rnk --gmt empty.gmt --aspects none
    said "empty.gmt: there is no gene set in it"
    printf 'gene\tstat\nA\t1\nB\tnan\n' >nan.rnk
    expect 1 enrich --ranking nan.rnk --gmt up.gmt --aspects none
    said "line 3"
    expect 2 enrich --genes x.rnk --plots plots --gmt up.gmt --aspects none
    expect 2 enrich --ranking x.rnk --gmt up.gmt --background x.rnk
    expect 2 enrich --ranking x.rnk --plots plots --plot-terms 0
    expect 2 enrich --ranking x.rnk --gmt up.gmt --dag-tests elm
    said "did you mean 'elim'"
    for alone in "--dag-tests elim" "--weights rank" "--markers up.gmt"; do
        expect 2 enrich --ranking x.rnk --gmt up.gmt --aspects none $alone
        said "for the rankings of a study"
    done
}
