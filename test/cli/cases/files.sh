# Broken and hostile files.

# Every broken file: exit 1, one line, with the file's name in it.
case_broken_files() {
    need_cells
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
