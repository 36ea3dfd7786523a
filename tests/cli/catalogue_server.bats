#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A catalogue on a real PostgreSQL server, on a unix socket in a folder of the test.
bats_require_minimum_version 1.5.0
load helper

family=$BATS_TEST_DIRNAME/../vectors/amber

# The server refuses to run as root.
as_server() {
    if [ "$(id -u)" = 0 ]; then
        setpriv --reuid=nobody --regid=nogroup --clear-groups "$@"
    else
        "$@"
    fi
}
setup_file() {
    PG=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort | tail -n 1)
    # A socket's path is short.
    DIR=$(mktemp -d /tmp/ww-pg-XXXXXX)
    export PG DIR URI="postgresql:///postgres?host=$DIR&user=ww"
    [ -n "$PG" ] || return 0
    [ "$(id -u)" != 0 ] || chown nobody:nogroup "$DIR"
    as_server "$PG/initdb" -D "$DIR/data" -U ww --auth=trust --no-sync >"$DIR.log"
    as_server "$PG/pg_ctl" -D "$DIR/data" -w -l "$DIR/log" \
        -o "-k $DIR -c listen_addresses= -c fsync=off" start >>"$DIR.log"
}
teardown_file() {
    [ -z "$PG" ] || as_server "$PG/pg_ctl" -D "$DIR/data" -m immediate stop >/dev/null || true
    rm -rf "$DIR" "$DIR.log"
}
query() {
    "$PG/psql" -Atqh "$DIR" -U ww postgres -c "$1"
}
setup() {
    cd "$BATS_TEST_TMPDIR" || return 1
    [ -n "$PG" ] || skip "no PostgreSQL here; tools/dev/install-deps --tests has it"
}

@test "a server answers as a file does" {
    for where in c.db "$URI"; do
        "$WW" lineage index "$where" "$family/base" --root -q
        "$WW" lineage index "$where" "$family/expert-rev" "$family/expert-caesar" -q
    done
    cat >recipe.yml <<EOR
merge_method: task_arithmetic
base_model: $family/base
models:
  - model: $family/expert-rev
    parameters: {weight: 0.6}
  - model: $family/expert-caesar
    parameters: {weight: 0.25}
dtype: float32
out_dtype: bfloat16
EOR
    "$WW" merge recipe.yml suspect -q
    for where in c.db "$URI"; do
        "$WW" lineage find "$where" suspect --json -q | jq -S 'del(.seconds, .search_seconds)' >"${where%%:*}.json"
    done
    cmp c.db.json postgresql.json
    jq -e '[.matches[].name] == ["expert-rev", "expert-caesar"]' c.db.json
    "$WW" lineage index "$URI" "$family/base" --json -q | jq -e '.bytes_read == 0 and .models_in_catalogue == 3'
}

@test "four writers at once lose nothing on a server" {
    query "DROP TABLE IF EXISTS ww_meta, ww_models, ww_sketches, ww_spectra, ww_details, ww_tensors, ww_rows"
    for i in 1 2 3 4; do
        cp -r "$family/expert-rev" "m$i"
        chmod -R u+w "m$i"
        flip "m$i/model.safetensors" $(($(stat -c %s "m$i/model.safetensors") - 2 * i))
    done
    for i in 1 2 3 4; do
        "$WW" lineage index "$URI" "$family/base" "m$i" -q >"log$i" 2>&1 &
        pids[i]=$!
    done
    for i in 1 2 3 4; do wait "${pids[i]}"; done
    [ "$(query "SELECT count(*) FROM ww_models")" = 5 ]
    [ "$(query "SELECT count(*) FROM ww_tensors")" = $((5 * 39)) ]
}

@test "what a server holds is believed no more than a file" {
    damage() { # SQL WORDS
        query "$1"
        refused 3 "$2" "$WW" lineage find "$URI" "$family/expert-caesar" -q
    }
    # Types, texts and numbers that no writer of ours leaves.
    damage "UPDATE ww_models SET name = E'a\\x1b[2J' || id" "a model's name is no text"
    query "UPDATE ww_models SET name = 'model ' || id"
    damage "ALTER TABLE ww_models ALTER COLUMN root TYPE INT" "column 'root' .* has a type that"
    query "ALTER TABLE ww_models ALTER COLUMN root TYPE BIGINT"
    damage "ALTER TABLE ww_models ALTER COLUMN stamp TYPE TEXT USING encode(stamp, 'hex')" "a stamp"
    query "ALTER TABLE ww_models ALTER COLUMN stamp TYPE BYTEA USING decode(stamp, 'hex')"
    damage "ALTER TABLE ww_models ALTER COLUMN place DROP NOT NULL; UPDATE ww_models SET place = NULL" \
        "a model without number or place"
    query "UPDATE ww_models SET place = '/nowhere', id = -id"
    query "UPDATE ww_sketches SET model = -model; UPDATE ww_details SET model = -model"
    query "UPDATE ww_tensors SET model = -model"
    "$WW" lineage find "$URI" "$family/expert-caesar" -q >/dev/null
    damage "UPDATE ww_sketches SET coarse = decode('0000c07f', 'hex') || substr(coarse, 5)" "NaN or infinity"
    query "UPDATE ww_sketches SET coarse = substr(coarse, 1, 100)"
    refused 3 "a sketch has 100 bytes" "$WW" lineage find "$URI" "$family/expert-caesar" -q
    query "UPDATE ww_meta SET value = 4 WHERE name = 'version'"
    refused 6 "version 4, this program knows 3" "$WW" lineage find "$URI" "$family/base" -q
    query "DROP TABLE ww_models, ww_meta"
    refused 4 "refused a statement" "$WW" lineage find "$URI" "$family/base" -q
}
