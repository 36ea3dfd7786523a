#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Searches from the command line: the answer, kills, refusals, a real merge.
load helper

FAKE=$WW_BIN/fake_evaluator
FAMILY=$BATS_TEST_DIRNAME/../vectors/amber

make_space() {
    printf '%s\n' 'recipe: "x: ${x}"' "variables: {x: {low: -2, high: 2, start: 0, values: 2}}" \
        "$@" >space.yml
}
search() {
    "$WW" evo search space.yml --evaluator "$FAKE" --output "$1" --journal "$2" \
        --evaluations 45 --seed 4 --parallel 2 "${@:3}"
}
# The same in the background, and what is killed by $! is the search itself.
start() {
    (exec "$WW" evo search space.yml --evaluator "$FAKE" --output "$1" --journal "$2" \
        --evaluations 45 --seed 4 --parallel 2 "${@:3}" >said) &
}

@test "a search finds its recipe and says what was gained" {
    make_space
    search out.json j items --json >answer
    [ "$(jq -r '.schema, .command, .gain_over_start, .trials == .made, .failed' answer | xargs)" = \
        "weightward.evo/1 search true true 0" ]
    jq -e '.interval[0] > 0 and .score > -0.1' answer
    [ "$(jq -r .recipe answer)" = "$(jq -r .recipe out.json)" ]
    [ "$(jq -r '.chosen' answer)" = "$(jq -r .chosen out.json)" ]
    [ ! -e j.work ]
    search again.json j items -q >said
    grep -q ' 0 of them made now' said
    cmp out.json again.json
    refused 4 "exists" search out.json j items
}

@test "killed at any moment, a run ends with the same bytes" {
    make_space
    search want.json j0 items -q >said
    for delay in 0.05 0.11 0.23 0.37 0.6; do
        start out.json j items -q
        sleep "$delay"
        kill -9 $! 2>kill.txt || true
        wait $! || true
        [ ! -e out.json ] || break
    done
    rm -f out.json
    search out.json j items -q >said
    cmp want.json out.json
}

@test "a folder that is in the way stays, and one that a killed run left goes" {
    make_space
    mkdir j.work
    touch j.work/thesis
    refused 4 "folder 'j.work' exists; move or remove it" search out.json j items
    [ -e j.work/thesis ]
    mv j.work mine
    mkdir j.work
    touch j.work/.weightward-work j.work/000001.yml
    search out.json j items -q >said
    [ ! -e j.work ]
}

@test "nothing gained is said, failures end nothing" {
    make_space
    search out.json j noise >said
    grep -q 'no gain over the start' said
    make_space "retries: 0"
    search out2.json j2 fails --json >answer
    jq -e '.failed > 0 and .gain_over_start' answer
}

@test "several objectives give a front" {
    make_space "objectives: {loss: minimise, gain: maximise}"
    search out.json j two -q >said
    jq -e '(.front | length) > 3 and (.front[0].scores | has("loss") and has("gain"))' out.json
}

@test "wrong use is refused before anything runs" {
    make_space
    refused 2 "are needed" "$WW" evo search space.yml --output o --journal j
    refused 2 "unknown word" "$WW" evo find
    refused 1 "gives no score for the start" search out.json j0 dead
    nothing_written out.json
    refused 4 "cannot be started" "$WW" evo search space.yml --evaluator ./none --output o \
        --journal j1
    # a journal of no trial is nobody's
    refused 2 "too few" "$WW" evo search space.yml --evaluator "$FAKE" --output out.json --journal j2 --evaluations 2 items
    search out.json j2 items -q >said
    refused 4 "another search" search other.json j2 noise
    flip j2 200
    refused 3 "damaged" search other.json j2 items
    make_space "gaol: maximise"
    refused 3 "unknown .*gaol" search other.json j3 items
}

@test "status 75 ends a search, and no trial failed by it" {
    make_space
    printf '#!/bin/sh\n[ -e spent ] && exit 75\nexec "%s" items "$@"\n' "$FAKE" >until
    chmod +x until
    by() { "$WW" evo search space.yml --evaluator ./until --output out.json --journal j --evaluations 45 -q; }
    by >/dev/null
    mv out.json whole.json
    head -n 4 j >part
    mv part j
    touch spent
    refused 1 "status 75.*begin it again" by
    nothing_written out.json
    [ "$(wc -l <j)" = 4 ]
    rm spent
    by >/dev/null
    cmp out.json whole.json
}

@test "an evaluator that wants models gets merges" {
    cat >space.yml <<YML
recipe: |
  merge_method: task_arithmetic
  base_model: $FAMILY/base
  models:
    - model: $FAMILY/expert-rev
      parameters: {weight: \${w}}
  dtype: bfloat16
variables: {w: {low: 0, high: 1, start: 0.1, step: 0.3}}
deliver: model
items: same
population: 4
leaders: 1
repeats: 1
YML
    # The merge is right when it is the expert: the distance of one tensor decides.
    cat >score.py <<'PY'
#!/usr/bin/env python3
import json, struct, sys
def weights(path):
    data = open(path + "/model.safetensors", "rb").read()
    n = struct.unpack("<Q", data[:8])[0]
    begin, end = json.loads(data[8:8 + n])["model.layers.0.mlp.up_proj.weight"]["data_offsets"]
    raw = data[8 + n + begin:8 + n + end]
    return [struct.unpack("<f", b"\0\0" + raw[i:i + 2])[0] for i in range(0, 4000, 2)]
a, b = weights(sys.argv[2]), weights(sys.argv[1])
print(json.dumps({"score": -sum((x - y) ** 2 for x, y in zip(a, b))}))
PY
    chmod +x score.py
    "$WW" evo search space.yml --evaluator ./score.py --output out.json --journal j \
        --evaluations 13 "$FAMILY/expert-rev" -q >said
    jq -e '.gain_over_start and .variables.w > 0.1 and .failed == 0' out.json
    # nor is that a way around policies
    cp -r "$FAMILY/expert-rev" asks
    chmod u+w asks
    echo '{}' >asks/weightward-policy.json
    sed -i "s|$FAMILY/expert-rev|$PWD/asks|" space.yml
    refused 4 "asks for policies" "$WW" evo search space.yml --evaluator ./score.py --output no.json --journal j2 \
        --evaluations 13 "$FAMILY/expert-rev"
}

@test "a page shows how a search went" {
    make_space
    search out.json j items --report page.html -q >said
    for word in "Learning curve" "x[1]" "best so far" "95 % interval" "<polyline"; do
        grep -qF "$word" page.html || { echo "no $word"; false; }
    done
    refused 4 "exists" search out2.json j2 items --report page.html
    nothing_written j2
    make_space "objectives: {loss: minimise, 'gain<': maximise}"
    sed -i "s/'gain<'/gain/" space.yml
    search front.json j3 two --report front.html -q >said
    grep -q "<h2>Front" front.html
    # trials of the re-tests, or on the last items alone, may all fail
    make_space
    for part in again final; do
        printf '#!/bin/sh\n[ "$2" = %s ] && exit 3\nexec "%s" items "$@"\n' $part "$FAKE" >late.sh
        chmod +x late.sh
        "$WW" evo search space.yml --evaluator ./late.sh --output $part.json --journal j-$part \
            --evaluations 45 --seed 4 --report $part.html -q >said
        grep -qF "Nothing was compared with the start" $part.html
        [ "$(grep -cF "not measured" $part.html)" = 2 ]
    done
}

@test "screens, crossovers and surrogates are searched by their names, killed or not" {
    cat >space.yml <<'YML'
recipe: "x: [${a}, ${b}, ${c}]"
variables:
  a: {low: -1.5, high: 1.5, start: 0, step: 0.2, level: 0.4}
  b: {low: -1.5, high: 1.5, start: 0, step: 0.2, level: 0.4}
  c: {low: -1.5, high: 1.5, start: 0, step: 0.2, level: 0.4}
screen: 1
patience: 8
l1: 0.01
leaders: 2
repeats: 1
YML
    search want.json j0 few -q >said
    jq -e '.screen.a.kept and (.screen.c.kept | not) and .variables.c == 0 and .gain_over_start' want.json
    for delay in 0.06 0.12; do
        start out.json j few -q
        sleep "$delay"
        kill -9 $! 2>kill.txt || true
        wait $! || true
    done
    rm -f out.json
    search out.json j few -q >said
    cmp want.json out.json
    sed -i 's/^screen.*/method: crossover/; /patience/d' space.yml
    search cross.json j2 few -q >said
    jq -e '.generations > 0 and .gain_over_start' cross.json
    make_space "objectives: {loss: minimise, gain: maximise}" "method: surrogate"
    search map.json j3 two -q >said
    jq -e '.surrogate.loss > 0.99 and (.front | length) > 3' map.json
    make_space "method: guess"
    refused 3 "'method' must be 'cma' or 'crossover'" search no.json j4 few
}

@test "a pool of adapters is screened, summed exactly and scored by a forward pass" {
    for task in rev caesar; do
        "$WW" extract "$FAMILY/base" "$FAMILY/expert-$task" "$task" --rank 16 -q
    done
    # one that points the other way
    cp -r rev against
    sed -i 's/"lora_alpha": *\([0-9]*\)/"lora_alpha": -\1/' against/adapter_config.json
    cat >space.yml <<YML
adapters:
  base: $FAMILY/base
  pool: [rev, caesar, against]
population: 4
leaders: 1
repeats: 1
YML
    "$WW" evo search space.yml --evaluator "$WW_BIN/task_evaluator" --output out.json --journal j \
        --evaluations 21 --parallel 2 -q 6 "$FAMILY/tasks/rev.test.jsonl" \
        "$FAMILY/tasks/caesar.test.jsonl" >said
    jq -e '.screen.rev.kept and (.screen.against.kept | not) and .variables.against == 0 and
           .gain_over_start and .variables.rev > 0.3' out.json
    jq -r .recipe out.json >recipe.yml
    "$WW" merge recipe.yml merged -q
    # without a base the sum is an adapter, whose rank is the sum of theirs
    for name in x y; do
        mkdir $name
        echo '{"peft_type": "LORA", "r": 2, "lora_alpha": 2}' >$name/adapter_config.json
        safetensors $name/adapter_model.safetensors "$(jq -cn '"base_model.model.q_proj" as $m | {
            ($m + ".lora_A.weight"): {dtype: "F32", shape: [2, 8], data_offsets: [0, 64]},
            ($m + ".lora_B.weight"): {dtype: "F32", shape: [8, 2], data_offsets: [64, 128]}}')" 128
    done
    sed -i '/base:/d; s/\[rev, caesar, against\]/[x, y]/' space.yml
    cat >is_adapter <<'SH'
#!/bin/sh
[ -e "$1/adapter_model.safetensors" ] && jq -c '{score: .r}' "$1/adapter_config.json"
SH
    chmod +x is_adapter
    "$WW" evo search space.yml --evaluator ./is_adapter --output a.json --journal j2 --evaluations 21 -q >said
    jq -e '.failed == 0 and .start_score == 4' a.json
    echo "recipe: 'x: 1'" >>space.yml
    refused 3 "does not go with 'adapters'" "$WW" evo search space.yml --evaluator ./is_adapter \
        --output b.json --journal j3
    printf 'adapters: {pool: [rev, x/rev]}\n' >space.yml
    refused 3 "two adapters are named 'rev'" "$WW" evo search space.yml --evaluator ./is_adapter \
        --output b.json --journal j3
    printf 'adapters: {pool: [rev], level: 3}\n' >space.yml
    refused 3 "'level' in the box" "$WW" evo search space.yml --evaluator ./is_adapter \
        --output b.json --journal j3
}
