#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What servers can do beyond lists: answers that go on, forced tokens, scales of adapters.
bats_require_minimum_version 1.5.0
load helper
load mock

@test "probing finds what a server can do, and keeps it in a file" {
    mock plain --seed 1 --shape chat
    mock more --seed 2 --shape chat --continues
    mock llama --seed 3 --shape llama --adapters 2
    pool plain more llama >pool.yml
    "$WW" evo probe pool.yml --out probed.json --json >said
    cmp probed.json said
    jq -e '[.members[].continues] == [false, true, true] and [.members[].forces] == [false, false, true] and
           [.members[].adapters] == [0, 0, 2] and (.members | all(.identity | length == 64))' said
    refused 4 "exists" "$WW" evo probe pool.yml --out probed.json
    run -0 "$WW" evo probe pool.yml
    [[ $output == *"says only how an answer begins"* ]]
    [[ $output == *"scales 2 adapters"* ]]
    [[ $output == *"model:sha256:$(jq -r .members[0].identity said)"* ]]
}

@test "a chat that goes on with answers is asked token by token" {
    mock plain --skill rev --seed 1 --shape chat
    mock more --skill rev --seed 1 --shape chat --continues
    mock llama --skill rev --seed 1 --shape llama
    rows 1 3 >tasks.jsonl
    pool plain >pool.yml
    cache=plain refused 6 "continues no answer" collect
    pool more llama >pool.yml
    cache=more collect --json >more.json
    jq -e '.complete and .members[0].dialect == "openai-chat"' more.json
    # the same model by another interface: the same numbers
    "$WW" evo fit pool.yml tasks.jsonl --cache more --rule uniform --json >fit.json
    pool llama >pool.yml
    "$WW" evo fit pool.yml tasks.jsonl --cache more --rule uniform --json >llama.json
    [ "$(jq .rules[1].bits fit.json)" = "$(jq .rules[1].bits llama.json)" ]
}

@test "scales of adapters go with every question, and are other answers" {
    mock base --skill rev --seed 1 --shape llama --adapters 2
    rows 1 2 >tasks.jsonl
    (echo "members:"; member base "adapters: [0.5, -1.0]") >pool.yml
    collect --json >first.json
    jq -e '.complete and .calls > 0' first.json
    (echo "members:"; member base "adapters: [0.5, -1]") >pool.yml
    collect --json | jq -e '.calls == 0'
    (echo "members:"; member base "adapters: [0.5, 1]") >pool.yml
    collect --json >other.json
    jq -e '.calls > 0 and .calls_avoided == 0' other.json
    [ "$(jq -r .members[0].canary first.json)" != "$(jq -r .members[0].canary other.json)" ]
    (echo "members:"; member base "adapters: [1]") >pool.yml
    refused 2 "scales for 1 adapters and its server has 2" collect
    (echo "members:"; member base "adapters: []") >pool.yml
    refused 3 "'adapters' must be a list" collect
    (echo "members:"; member base "adapters: [1, x]") >pool.yml
    refused 3 "a scale of 'adapters'" collect
    mock text --skill rev --seed 1
    (echo "members:"; member text "adapters: [1]") >pool.yml
    refused 6 "cannot send" collect
}

@test "a pool of scales is signed with them and served with them" {
    mock base --skill rev --seed 1 --shape llama --adapters 2
    cat >pool.yml <<END
members:
  - {name: up, url: "$(url base)", model: mock, end: "</s>", adapters: [2, 0]}
  - {name: down, url: "$(url base)", model: mock, end: "</s>", adapters: [0, -2]}
END
    rows 1 8 >tasks.jsonl
    "$WW" key new signing --out boss --no-passphrase -q
    "$WW" evo run pool.yml tasks.jsonl --cache answers --output recipe.json --sign boss.key -q >/dev/null
    jq -r .payload recipe.json | base64 -d | jq -e '[.members[].adapters] == [[2, 0], [0, -2]]'
    serve
    curl -s -m 20 "$base/v1/completions" -d '{"model": "fusion", "prompt": "R:abcd=", "max_tokens": 9, "temperature": 0}' >body
    jq -e '.choices[0].text == "dcba"' body
}

@test "a right token in no list is asked for by itself where the pool says so" {
    mock llama --skill caesar --seed 1 --shape llama
    mock vllm --skill caesar --seed 1 --shape vllm --fault echo:1 # one that scores no prompts
    rows 1 6 | grep '"R:' >known.jsonl # nothing that they know
    for name in llama vllm; do asks_alone $name; done
    [ "$(jq .rules[0].bits llama/exact.fit)" = "$(jq .rules[0].bits vllm/exact.fit)" ]
}
asks_alone() {
    mkdir "$1"
    cp "$1.port" known.jsonl "$1"
    cd "$1"
    cp known.jsonl tasks.jsonl
    pool "$1" >pool.yml
    cache=plain collect --top 3 --json >plain.json
    (echo "members:"; member "$1" "exact: true") >pool.yml
    cache=exact collect --top 3 --json >exact.json
    jq -e --argjson n "$(jq .answers plain.json)" '.complete and .answers > $n' exact.json
    # with all tokens in the lists nothing more is asked, and the numbers are those
    cache=all collect --top 30 --json >all.json
    [ "$(jq .answers all.json)" = "$(jq .answers plain.json)" ]
    for name in exact all; do
        local top
        top=$([ $name = all ] && echo 30 || echo 3)
        "$WW" evo fit pool.yml tasks.jsonl --cache $name --top $top --vocabulary 30 --json >$name.fit
    done
    [ "$(jq .rules[0].bits exact.fit)" = "$(jq .rules[0].bits all.fit)" ]
    # what is no token of the server cannot be forced: it is estimated, and asked for once
    echo '{"prompt": "R:abc=", "answer": "\u00e9a"}' >tasks.jsonl
    cache=odd collect --top 3 --json | jq -e '.complete and .calls > 0'
    cache=odd collect --top 3 --json | jq -e '.complete and .calls == 0'
    cd ..
}

@test "where nothing is shown of a part of a character, something else is said and the list read" {
    printf '%s\n' '{"prompt": "R:abe=", "answer": "eba"}' '{"prompt": "R:cdf=", "answer": "fdc"}' >tasks.jsonl
    bits() { "$WW" evo run pool.yml tasks.jsonl --cache "$1" --rule best-single --json | jq -r '.rules[0].bits'; }
    mock whole --skill rev --seed 1 --shape llama
    pool whole >pool.yml
    bits whole >bits
    for shape in "llama" "chat --continues"; do
        mock split --skill rev --seed 1 --splits --shape $shape
        pool split >pool.yml
        bits "${shape% *}" | diff bits -
        # a call more for that place; it is kept, and not asked for again
        cache="${shape% *}" collect --json | jq -e '.complete and .calls == 0'
    done
    # one that cannot be told what to say: a list of nothing, and the others are right as before
    mock split --skill rev --seed 1 --splits --shape ollama
    pool split >pool.yml
    "$WW" evo run pool.yml tasks.jsonl --cache ollama --rule best-single --json >ollama.json
    jq -e '.rules[0].accuracy == 7 / 8' ollama.json
}

@test "a vocabulary is what a server tells, of tokens alone" {
    mock base --skill rev --seed 1 --vocabulary 40
    pool base >pool.yml
    rows 1 3 >tasks.jsonl
    "$WW" evo probe pool.yml --json | jq -e '.members[0].vocabulary == 40'
    for level in tokens bytes; do
        "$WW" evo run pool.yml tasks.jsonl --cache answers --level $level --output $level.json -q >/dev/null
    done
    jq -e '.vocabulary == 40' tokens.json
    jq -e '.vocabulary == 257' bytes.json
}

@test "what is assumed about a vocabulary is said, and a vocabulary that is told or given is used" {
    mock silent --skill rev --seed 1 --shape llama
    mock tells --skill rev --seed 1 --shape llama --vocabulary 40
    printf '{"prompt": "R:%s=", "answer": "%s", "options": ["%s", "zz", "q"]}\n' ab ba ba cd dc dc >tasks.jsonl
    for level in options tokens; do
        for name in silent tells; do
            pool $name >pool.yml
            "$WW" evo run pool.yml tasks.jsonl --cache $name --level $level --top 3 --rule uniform --json >$name.$level
        done
        pool silent >pool.yml
        fit() { "$WW" evo fit pool.yml tasks.jsonl --cache silent --level $level --top 3 --rule uniform "$@"; }
        fit --vocabulary 40 --json >given.$level
        [ "$(jq .rules[1].bits given.$level)" = "$(jq .rules[1].bits tells.$level)" ]
        jq -s -e 'all(.assumed == 0)' given.$level tells.$level
        [ $level = tokens ] && break # all of these answers' tokens are listed
        [ "$(jq .rules[1].bits given.$level)" != "$(jq .rules[1].bits silent.$level)" ]
        n=$(jq .assumed silent.$level)
        [ "$n" -gt 0 ]
        fit | grep "^$n right tokens are in no list and count as one of 32768: no server told"
    done
    refused 2 "a pool of bytes takes no vocabulary" fit --level bytes --vocabulary 40
}

@test "scales behind a server are searched, and no answer is paid for twice" {
    mock base --skill rev --seed 1 --shape llama --adapters 2
    rows 1 40 | grep '"R:' >tasks.jsonl
    cat >space.yml <<END
recipe: |
  members: [{name: base, url: "$(url base)", model: mock, end: "</s>", adapters: [\${a}, \${b}]}]
variables:
  a: {low: -4, high: 4, start: 3, step: 1}
  b: {low: -4, high: 4, start: -3, step: 1}
END
    score() { "$WW" evo score --tasks tasks.jsonl --cache answers --connections 16 -q "$@"; }
    "$WW" evo search space.yml --evaluator "$WW" --output found.json --journal journal --evaluations 30 --seed 3 -q -- \
        evo score --tasks tasks.jsonl --cache answers --sample 4 --connections 16 -q >/dev/null
    jq -e '.gain_over_start and .gain.interval[0] > 0 and .score > .start_score' found.json
    # the journal lost, the answers not: a trial made again costs no call but canaries
    jq -r .recipe found.json >best.yml
    score best.yml search 1 --sample 4 >first
    calls=$(wc -c <base.calls)
    score best.yml search 1 --sample 4 >second
    cmp first second
    [ "$(wc -c <base.calls)" = "$calls" ]
    # parts are apart, drawings repeat
    pool base | sed 's/, end: "<.s>"/&, adapters: [0, 0]/' >pool.yml
    score pool.yml search 1 --sample 3 >one
    score pool.yml search 1 --sample 3 >same
    cmp one same
    [ "$(for part in search again final; do score pool.yml $part 1 | jq '.scores | length'; done | paste -sd+ | bc)" = 40 ]
    refused 2 "no part of the items" score pool.yml third 1
    refused 2 "SEED" score pool.yml search x
    refused 2 "SEED" score pool.yml search +1
    refused 2 "SEED" score -- pool.yml search -1
}

@test "limits of scores hold for all candidates together, and what was paid for counts for the next try" {
    mock base --skill rev --seed 1 --shape llama --adapters 2
    rows 1 40 | grep '"R:' >tasks.jsonl
    { echo "members:" && member base "adapters: [0, 0], price_call: 0.5"; } >pool.yml
    score() { "$WW" evo score --tasks tasks.jsonl --cache answers --connections 16 -q "$@" pool.yml search "${draw:-1}"; }
    made() { wc -c <base.calls; }
    refused 75 "the limit of 0 calls would be exceeded by the first call: raise it" score --max-calls 0
    [ "$(made)" = 0 ]
    refused 75 "the limit of 7 calls .* took 7 calls, [0-9]+ tokens, cost 3.5" score --max-calls 7
    [ ! -s stdout ]
    [ "$(made)" = 7 ]
    refused 75 "the limit of 7 calls" score --max-calls 7
    refused 75 "the limit of 3.9 cost" score --max-cost 3.9
    [ "$(made)" = 7 ]
    refused 75 "the limit of 5 cost" score --max-cost 5
    [ "$(made)" = 10 ]
    refused 75 "the limit of 100 tokens" score --max-tokens 100
    refused 75 "the limit of 0 seconds" score --max-time 0
    # one that is killed has spent what it sent
    again base --skill rev --seed 1 --shape llama --adapters 2 --delay-ms 30
    "$WW" evo score --tasks tasks.jsonl --cache answers --connections 1 -q pool.yml search 1 & pid=$!
    until [ -s base.calls ]; do sleep 0.02; done
    kill -9 $pid
    wait $pid || true
    refused 75 "took [0-9]+ calls" score --max-calls 0
    [ "$(grep -oP 'took \K[0-9]+' stderr)" -ge $((10 + $(made))) ]
    again base --skill rev --seed 1 --shape llama --adapters 2
    # two at once wait for each other
    draw=2 score --sample 5 >/dev/null & pid=$!
    score >limited
    wait $pid
    "$WW" evo score --tasks tasks.jsonl --cache at-once -q pool.yml search 1 >at-once.json
    cmp limited at-once.json
    for limit in --max-calls --max-tokens --max-cost --max-time; do
        for value in -1 nan; do refused 2 "are 0 or more" score $limit=$value; done
    done
    flip answers/spent.wwa 20
    refused 3 "is damaged; remove it" score
}

@test "an end token that lists have no name for is scored in its place" {
    mock plain --skill rev --seed 1
    mock hides --skill rev --seed 1 --hides-end
    rows 1 4 | grep '"R:' >tasks.jsonl
    for name in plain hides; do
        pool $name >pool.yml
        for level in tokens bytes; do
            "$WW" evo run pool.yml tasks.jsonl --cache $name --level $level --top 30 --rule uniform --json >$name.$level
        done
    done
    # one call for an item and the canaries; another for each byte and the end
    jq -e '.complete and .calls > 4' hides.tokens
    [ "$(jq .calls hides.tokens)" = "$(jq .calls plain.tokens)" ]
    [ "$(jq .rules[1].bits hides.bytes)" = "$(jq .rules[1].bits plain.bytes)" ]
    "$WW" key new signing --out boss --no-passphrase -q
    "$WW" evo fit pool.yml tasks.jsonl --cache hides --top 30 --rule uniform --output recipe.json --sign boss.key -q >/dev/null
    serve
    curl -s -m 20 "$base/v1/completions" -d '{"model": "fusion", "prompt": "R:abcd=", "max_tokens": 9, "temperature": 0}' >body
    jq -e '.choices[0].text == "dcba" and .choices[0].finish_reason == "stop"' body
    # the end that was scored behind the text is not the question's
    jq -e '.usage.prompt_tokens == 7' body
}

@test "the same model behind every kind of server says the same" {
    mock completions --skill rev --seed 1
    for shape in llama vllm sglang sglang-old tgi ollama; do mock $shape --skill rev --seed 1 --shape $shape; done
    rows 1 6 | grep '"R:' >tasks.jsonl
    declare -A dialect=([completions]=openai-completions [llama]=llama-server [sglang-old]=sglang)
    for shape in completions llama vllm sglang sglang-old tgi ollama; do
        pool $shape >pool.yml
        "$WW" evo run pool.yml tasks.jsonl --cache $shape --rule best-single --json >$shape.json
        [ $shape = ollama ] || jq -r '.rules[0].bits * 1e9 | round' $shape.json >>bits
        [ "$("$WW" evo probe pool.yml --json | jq -r .members[0].dialect)" = "${dialect[$shape]:-$shape}" ]
    done
    [ "$(sort -u bits | wc -l)" = 1 ]
    # one that shows no list where it ends: the end is known to be likeliest, and one half is said for it
    [ "$(jq '.rules[0] | [.accuracy, .answers]' ollama.json)" = "$(jq '.rules[0] | [.accuracy, .answers]' tgi.json)" ]
    [ "$(jq -s '.[0].rules[0].bits > .[1].rules[0].bits' ollama.json tgi.json)" = true ]
    # one call for an item and the canaries where prompts are scored, one for each token else
    [ "$(jq -s 'map(.calls) | .[0] == .[1]' completions.json vllm.json)" = true ]
    [ "$(jq -s 'map(.calls) | .[0] < .[1] / 2' sglang.json ollama.json)" = true ]
    # the end is heard from each of them
    "$WW" key new signing --out boss --no-passphrase -q
    pool completions vllm sglang tgi ollama >pool.yml
    "$WW" evo run pool.yml tasks.jsonl --cache all --top 5 --rule uniform --output recipe.json --sign boss.key -q >/dev/null
    serve
    curl -s -m 20 "$base/v1/completions" -d '{"model": "fusion", "prompt": "R:abcd=", "max_tokens": 9, "temperature": 0}' >body
    jq -e '.choices[0].text == "dcba" and .choices[0].finish_reason == "stop"' body
}

@test "an echo that is of other places is found out, and not believed" {
    mock plain --skill rev --seed 1
    mock shifted --skill rev --seed 1 --shifts
    rows 1 4 | grep '"R:' >tasks.jsonl
    for name in plain shifted; do
        pool $name >pool.yml
        "$WW" evo run pool.yml tasks.jsonl --cache $name --rule best-single --json >$name.json
        "$WW" evo probe pool.yml --json >$name.probed
    done
    jq -e '.members[0].scores_prompts' plain.probed
    jq -e '.members[0] | .scores_prompts == false and .failure == null' shifted.probed
    [ "$(jq '.rules[0].bits * 1e9 | round' plain.json)" = "$(jq '.rules[0].bits * 1e9 | round' shifted.json)" ]
}
