# conceptome serve: starting, stopping, and what can go wrong.

# Starts it in the background on a free port; $server is its process, $address what it printed.
start_server() {
    rm -f served # of an earlier one: its address would be taken for the new one's
    "$program" serve "$@" --port 0 --no-browser >served 2>err </dev/null &
    server=$!
    address=
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
        address=$(cat served 2>/dev/null)
        [ -n "$address" ] && return 0
        kill -0 "$server" 2>/dev/null || break
        sleep 0.3
    done
    bad "serve $* does not start"
}
stop_server() { # SIGNAL WANTED-CODE
    kill "-$1" "$server"
    wait "$server"
    got=$?
    if [ "$got" -eq "$2" ]; then good; else bad "serve ended by $1 with $got, want $2"; fi
}

case_serve() {
    need_study
    start_server one/study
    case $address in http://127.0.0.1:*/) good ;; *) bad "address '$address'" ;; esac
    if command -v curl >/dev/null; then
        curl -s "${address}api/v1/info" >out
        said '"id":"study"'
        curl -s "${address}" >out
        said 'conceptome-token'
        port=${address##*:}
        port=${port%/}
        curl -s "http://[::1]:$port/api/v1/info" >out 2>/dev/null && said '"studies"'
    fi
    port=${address##*:}
    port=${port%/}
    expect 1 serve one/study --port "$port" --no-browser
    said "taken"
    said "choose another one with --port"
    stop_server TERM 0
    start_server one/study -q
    stop_server INT 0
}

# Served by the index that `run` made, and made when it is not there; without a folder that can be written
# the rest is served.
case_serve_index() {
    need_study
    rm -rf bare && cp -r one/study bare
    rm -rf bare/cache/index
    start_server bare -q
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do # small ones are there with the address, unless the machine is busy
        [ -s bare/cache/index/index.json ] && break
        sleep 0.5
    done
    if [ -s bare/cache/index/index.json ]; then good; else bad "the index was not made"; fi
    stop_server TERM 0
    (cd one/study/cache/index && find . -type f | sort | xargs cat) >index_a
    (cd bare/cache/index && find . -type f | sort | xargs cat) >index_b
    same index_a index_b
    [ "$(id -u)" = 0 ] && return 0 # may write everywhere
    rm -rf bare/cache/index && chmod -R a-w bare
    start_server bare
    stop_server TERM 0
    said "served without its index"
    chmod -R u+w bare
}

case_serve_mistakes() {
    need_study
    expect 2 serve
    said "argument is missing"
    expect 1 serve nowhere --no-browser
    said "conceptome run CELLS"
    expect 2 serve one/study --port seven
    expect 2 serve one/study --port 70000
    expect 2 serve one/study --listen somewhere --port 0 --no-browser
    said "0.0.0.0"
    mkdir -p empty && expect 1 serve empty --no-browser
    said "not a study"
}
