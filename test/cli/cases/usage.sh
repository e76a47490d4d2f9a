# Options, help, the manual page, closed streams.

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
    expect 2 evalute study
    said "did you mean 'evaluate'"
    for command in run fit embed train encode attribute enrich evaluate report export compare steer inspect simulate fetch; do
        expect 0 help $command
        said "usage: conceptome $command"
        if "$program" help $command | grep -q '.\{101\}'; then bad "help $command: a line of more than 100 columns"; else good; fi
    done
    echo '{"epochz": 3}' >bad.json
    expect 2 run cells.h5ad -o s --config bad.json
    said "did you mean 'epochs'"
    expect 2 fetch nothing
    expect 1 report absent_study
    said "no such study"
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

case_terminal_width() {
    command -v script >/dev/null && command -v stty >/dev/null || return 0
    script -qec "stty cols 80; '$program' help run" /dev/null </dev/null | tr -d '\r' >wide
    if grep -q 'number of concepts' wide && ! grep -q '.\{81\}' wide; then good; else bad "help run in 80 columns"; fi
}

case_closed_streams() {
    need_study
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
