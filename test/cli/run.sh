#!/bin/sh
# Command-line tests: run.sh PROGRAM [CASE ...]. Each case is a function; `expect CODE ARGS...` runs the program and checks
# its exit code, `said TEXT` looks for a text on stderr or stdout of the last run.
# Cells: simulated here (made-up counts), and the reference files of ../shared where they are.
set -u
program=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
shift
here=$(cd "$(dirname "$0")/../.." && pwd)
shared=${CONCEPTOME_SHARED:-$here/../shared}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
cd "$work" || exit 1
passed=0
failed=0
skipped=0

bad() {
    failed=$((failed + 1))
    echo "FAIL: $case_name: $*"
    sed 's/^/    /' out err 2>/dev/null | tail -5
}
good() { passed=$((passed + 1)); }
expect() {
    want=$1
    shift
    "$program" "$@" >out 2>err </dev/null
    got=$?
    if [ "$got" -eq "$want" ]; then good; else bad "exit $got, want $want: conceptome $*"; fi
}
said() { if grep -q -- "$1" out err; then good; else bad "does not say '$1'"; fi; }
same() { if cmp -s "$1" "$2"; then good; else bad "$1 and $2 differ"; fi; }

# Every result of two studies, byte by byte; study.json holds times and paths and is left out.
same_study() {
    (cd "$1" && find . -type f ! -name study.json ! -name .lock | sort) >list_a
    (cd "$2" && find . -type f ! -name study.json ! -name .lock | sort) >list_b
    same list_a list_b
    while read -r file; do same "$1/$file" "$2/$file"; done <list_a
}

small="--epochs 8 --genes 300 --expansion 4 --dictionary-epochs 10 --prototypes 8 --noise-directions 8 --min-size 5 --permutations 1000"

case_usage() {
    expect 2
    expect 0 help
    said "usage"
    expect 0 --version
    said "kernels"
    expect 2 frobnicate
    said "there is no command"
    expect 2 run
    expect 2 run cells.h5ad
    said "-o STUDY"
    expect 2 run cells.h5ad -o s --expansoin 4
    said "did you mean 'expansion'"
    expect 2 run cells.h5ad -o s --k none
    said "not a whole number"
    expect 2 run cells.h5ad -o s --likelihood gauss
    said "nb|zinb"
    expect 2 run cells.h5ad -o s --aspects BP,XX
    said "not a list of BP, MF, CC"
    expect 2 run cells.h5ad -o s -t 0
    expect 2 run cells.h5ad -o s -vx
    said "unknown option '-x'"
    expect 1 run absent.h5ad -o s
    said "no such file"
    for command in run fit embed train encode attribute enrich evaluate report export inspect simulate fetch; do
        expect 0 help $command
        said "usage: conceptome $command"
    done
    echo '{"epochz": 3}' >bad.json
    expect 2 run cells.h5ad -o s --config bad.json
    said "did you mean 'epochs'"
    expect 2 fetch nothing
    expect 1 report absent_study
    said "no such study"
}

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
        '^concept unit_kind ranking method collection term name size overlap es nes p log10p q log2err leading_edge ic represented_by$'; then
        good
    else
        bad "enrichment.tsv.gz: header"
    fi
    if gzip -dc one/study/enrichment.tsv.gz | awk -F'\t' 'NR > 1 && $12 != "NA" && $12 <= 0 { exit 1 }'; then good; else bad "a p of 0"; fi
    expect 0 run cells.h5ad -o one/study -v # options as recorded: no stage has anything to do
    for stage in cells model embedding map dictionary concepts attribution expression enrichment evaluation tables report; do
        said "$stage: nothing has changed"
    done
    same_study one/study two/study
    expect 0 export one/study --what concepts
    said "c0"
    expect 0 export one/study --what genes --format json
    expect 0 export one/study --what terms
    expect 0 evaluate one/study --json
    expect 0 run cells.h5ad -o fixed --model obsm:program_activity --dictionary-epochs 10 --k 2 --min-size 5
    said "no counterfactuals"
    expect 0 run cells.h5ad -o neurons $small --dictionary neurons
}

case_config_and_steps() {
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

# What a later command inherits of an earlier one, and what not.
case_recorded_options() {
    tiny="--model obsm:program_activity --dictionary-epochs 3 --k 2 --min-size 5 --aspects none"
    echo 'set_a	na	X' >x.gmt
    expect 1 run cells.h5ad -o recorded $tiny --label typo
    said "no column 'typo'"
    if grep -q '"typo"' recorded/study.json; then bad "an option that was wrong is kept"; else good; fi
    expect 1 run cells.h5ad -o recorded $tiny --gmt absent.gmt
    said "absent.gmt: No such file"
    expect 2 run cells.h5ad -o recorded $tiny --dictionary topkk
    said "neither topk"
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

case_closed_streams() {
    "$program" simulate -o closed.h5ad --cells 20 --genes 30 >&- 2>err
    if [ $? -eq 1 ]; then good; else bad "closed stdout: exit code"; fi
    expect 0 inspect closed.h5ad
    "$program" simulate -o closed.h5ad --cells 20 --genes 30 -q <&- >out 2>&-
    if [ $? -eq 0 ]; then good; else bad "closed stdin and stderr: exit code"; fi
    expect 0 inspect closed.h5ad
    mkfifo pipe
    expect 1 inspect pipe
    expect 1 run pipe -o piped
    said "pipes and devices"
}

case_manual_page() {
    page=$here/doc/conceptome.1
    for option in $("$program" help run | grep -o '^ .* --[a-z0-9-]*' | grep -o -- '--[a-z0-9-]*$'); do
        if sed 's/\\-/-/g' "$page" | grep -q -e "$option\b"; then good; else bad "$option is not in conceptome.1"; fi
    done
    for command in $("$program" help | grep -o '^  [a-z]* ' | tr -d ' '); do
        if grep -q "^\.BI .*$command" "$page"; then good; else bad "$command is not in conceptome.1"; fi
    done
    if command -v man >/dev/null; then
        if man --warnings -E UTF-8 -l "$page" 2>&1 >/dev/null | grep -q .; then bad "man warns"; else good; fi
    fi
}

case_interrupted() {
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

# Every broken file: exit 1, one line, with the file's name in it.
case_broken_files() {
    if [ ! -d "$shared/golden/h5ad" ]; then
        skipped=$((skipped + 1))
        echo "SKIP: $case_name: ../shared/golden is not here"
        return
    fi
    for file in "$shared"/golden/h5ad/bad_*.h5ad; do
        expect 1 run "$file" -o broken
        said "$(basename "$file")"
        if [ "$(grep -c '^conceptome: ' err)" -eq 1 ]; then good; else bad "$file: not one message"; fi
    done
    for file in "$shared"/golden/checkpoints/evil_*.pt "$shared"/golden/checkpoints/truncated_*.pt; do
        expect 1 run cells.h5ad -o broken --model "$file"
        if [ -e EXECUTED_BY_PICKLE ]; then bad "$file was executed"; else good; fi
    done
}

[ $# -gt 0 ] || set -- usage manual_page simulate_and_run recorded_options closed_streams config_and_steps interrupted enrich_alone broken_files
for case_name; do
    echo "== cli: $case_name"
    "case_$case_name"
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
