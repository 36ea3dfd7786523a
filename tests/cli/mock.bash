# SPDX-License-Identifier: Apache-2.0
# Stand-ins for model servers (tests/support/mock_server.c) in bats files.
MOCK=$WW_BIN/mock_server
servers=()

# mock NAME OPTIONS...: a server, its port in NAME.port, its answers counted in NAME.calls.
mock() {
    local name=$1
    shift
    rm -f "$name.port"
    "$MOCK" --port-file "$name.port" --calls "$name.calls" "$@" 3>&- &
    servers+=($!)
    for _ in $(seq 3000); do
        [ -e "$name.port" ] && return
        sleep 0.02
    done
    return 1
}
# again NAME OPTIONS...: another one at the address of NAME, whose answers so far are
# forgotten by the count; NAME must be the only one that runs.
again() {
    local name=$1 port
    shift
    port=$(cat "$name.port")
    end_mocks
    rm -f "$name.calls"
    mock "$name" --port "$port" "$@"
}
end_mocks() {
    for pid in "${servers[@]}"; do
        kill -9 "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    servers=()
}
teardown() {
    end_mocks
}
url() { echo "http://127.0.0.1:$(cat "$1.port")"; }
# member NAME [MORE]: a line of a pool.
member() { echo "  - {name: $1, url: \"$(url "$1")\", model: mock, end: \"</s>\"${2:+, $2}}"; }
pool() {
    echo "members:"
    for name in "$@"; do
        member "$name"
    done
}
# rows FROM COUNT: of two tasks, mixed.
rows() {
    tail -n "+$1" "$BATS_TEST_DIRNAME/../vectors/amber/tasks/rev.test.jsonl" | head -n "$2"
    tail -n "+$1" "$BATS_TEST_DIRNAME/../vectors/amber/tasks/caesar.test.jsonl" | head -n "$2"
}
collect() { "$WW" evo collect pool.yml tasks.jsonl --cache "${cache:-answers}" "$@"; }
# serve OPTIONS...: the pool of recipe.json or $recipe as one model; its pid in $server, its address in $base.
serve() {
    : >said # of a server before this one
    "$WW" evo serve "${recipe:-recipe.json}" --key boss.pub --listen 127.0.0.1:0 "$@" >served 2>said 3>&- &
    server=$!
    servers+=("$server")
    for _ in $(seq 1200); do
        base=$(sed -n 's|^.*listening at \(http://.*\)/v1$|\1|p' said)
        [ -n "$base" ] && return
        sleep 0.05
    done
    cat said
    return 1
}
