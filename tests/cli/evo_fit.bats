#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
bats_require_minimum_version 1.5.0
load helper
load mock

# with_options FILE: its items with their answers and others, four in all.
with_options() {
    jq -c '(.answer | explode) as $a |
        .task = .prompt[0:1] + "<&" |
        .options = [.answer, (range(3) as $i | $a | .[0] |= 97 + ((. + 8 + $i) % 26) |
            implode)]' "$1"
}
run_evo() { "$WW" evo "$1" pool.yml tasks.jsonl --cache answers "${@:2}"; }

two_experts() {
    mock rev --skill rev --seed 1
    mock caesar --skill caesar --seed 2
    pool rev caesar >pool.yml
    rows 1 20 >tasks.jsonl
    rows 101 20 >held.jsonl
    "$WW" key new signing --out boss --no-passphrase
}

@test "a pool of two experts is asked once, confirmed and signed" {
    two_experts
    run_evo run --confirm held.jsonl --output recipe.json --sign boss.key --json >out
    jq -e '.schema == "weightward.evo/1" and .word == "run" and .complete and
           .chosen == "adaptive" and .fitted == 40 and .held_out == 40 and
           (.rules | map(.rule)) == ["best-single", "uniform", "linear", "adaptive", "loglinear"]
           and (.rules[3].bits < .rules[0].bits) and .rules[3].interval[0] > 0 and
           .recipe == "recipe.json"' out
    jq -e '.payloadType == "application/vnd.weightward.fusion+json" and (.signatures | length) == 1' recipe.json
    jq -r .payload recipe.json | base64 -d >payload
    jq -e '.type == "weightward.fusion/1" and .rule.name == "adaptive" and (.members | length) == 2
           and .confirmed.items == 40 and .members[0].name == "rev"' payload
    # what it was made of lies beside it: members by an answer, tasks, the cache by its root
    "$WW" verify recipe.json --chain --key boss.pub --json >chain
    jq -e '[.chain[] | [.name, .action, .method]] == [["recipe.json", "fusion", "adaptive"],
           ["rev", "unsigned", null], ["caesar", "unsigned", null], ["tasks.jsonl", "unsigned", null],
           ["held.jsonl", "unsigned", null], ["answers", "unsigned", null]]' chain
    jq -r .dsseEnvelope.payload recipe.json.evidence/attestations/provenance.sigstore.json |
        base64 -d >made
    jq -e --slurpfile r payload --arg h "$(sha256sum recipe.json | cut -d" " -f1)" '
        .subject == [{name: "recipe.json", digest: {sha256: $h}}] and
        (.predicate.buildDefinition | .buildType == "urn:weightward:build:fusion:1" and
         [.resolvedDependencies[].annotations.files[].digest.sha256] ==
         [($r[0].members[].canary), $r[0].fitted.sha256, $r[0].confirmed.sha256,
          $r[0].cache_root])' made
    cp -r recipe.json.evidence other.json.evidence
    cp recipe.json other.json
    echo >>other.json
    run -1 "$WW" verify other.json --chain --key boss.pub
    [[ $output == *"speaks of a file known by"* ]]
    run -3 "$WW" policy sign recipe.json --key boss.key
    [[ $output == *"the step that makes it signs it, once"* ]]
    # from the cache alone, with the servers gone: the same rule, number for number
    for pid in "${servers[@]}"; do kill "$pid"; done
    run_evo fit --confirm held.jsonl --output again.json --json >out
    jq -e '.calls == 0 and .word == "fit"' out
    [ "$(jq -c .rule again.json)" = "$(jq -c .rule payload)" ]
    [ "$(jq -c .scores again.json)" = "$(jq -c .scores payload)" ]
    run -0 run_evo fit --rule signed --seed 2 --output bare.json
    [[ $output == *"signed "*"recipe 'bare.json': signed; it bears no signature: for reading only (use --sign)"* ]]
    refused 2 "unknown rule 'median'; known are best-single, uniform, linear" run_evo fit --rule median
    refused 4 "no cache 'none/answers.wwa': nothing was collected" \
        "$WW" evo fit pool.yml tasks.jsonl --cache none
}

@test "members that know nothing of each other's do not beat the best one by chance" {
    mock rev --skill rev --seed 1
    mock twin --skill rev --seed 1
    pool rev twin >pool.yml
    rows 1 20 | grep '"R:' >tasks.jsonl
    rows 101 40 | grep '"R:' >held.jsonl
    run_evo run --confirm held.jsonl --json >out
    jq -e '.asked == "adaptive" and .chosen == "best-single"' out
}

@test "held-out items that are fitted to are refused, and too few" {
    two_experts
    (rows 101 20; head -n 1 tasks.jsonl) >held.jsonl
    run -1 run_evo run --confirm held.jsonl --json
    [[ $output == *WW_E_DENIED* ]]
    [[ $output == *"item 41"* ]]
    rows 101 5 >held.jsonl
    run -2 run_evo run --confirm held.jsonl
    [ ! -s rev.calls ] # nothing was paid for
}

@test "what cannot be is refused before anything is asked" {
    two_experts
    run -2 run_evo run --rule adaptiv
    [[ $output == *"'adaptive'"* ]]
    run -2 run_evo run --sign boss.key
    touch there.json
    run -4 run_evo run --output there.json
    run -2 "$WW" evo fit pool.yml tasks.jsonl
    run -4 run_evo fit # the cache is not there
    [ ! -s rev.calls ]
}

@test "a limit ends the asking, and a second run goes on" {
    two_experts
    run -1 run_evo run --max-calls 20 --json
    jq -e '.complete == false and .recipe == null' <<<"$output"
    # of both task files together
    run -1 run_evo run --confirm held.jsonl --max-calls 120 --json
    jq -e '.complete == false and .calls <= 120' <<<"$output"
    [ "$(cat rev.calls caesar.calls | wc -c)" -le 140 ]
    run -1 run_evo run --confirm held.jsonl --max-tokens 100 --json
    jq -e '.stopped | contains("the limit of 100 tokens")' <<<"$output"
    run -0 run_evo run
    [[ $output == *adaptive* ]]
}

@test "a page shows rules, tasks, weights and the learning curve" {
    two_experts
    sed -i 's/name: caesar/name: "<caesar>"/' pool.yml
    with_options tasks.jsonl >t.jsonl
    with_options held.jsonl >h.jsonl
    "$WW" evo run pool.yml t.jsonl --confirm h.jsonl --cache answers --report page.html -q
    for word in "Learning curve" "Who has the weight" "adaptive" "&lt;caesar&gt;" "R&lt;&amp;" "K&lt;&amp;" \
        "best-single" "too few for intervals" "<polyline"; do
        grep -qF "$word" page.html || { echo "no $word"; false; }
    done
    ! grep -qE '<caesar>|<script|http' page.html || false
    # a page that is there is refused before anything is asked or read
    calls=$(wc -c <rev.calls)
    run -4 "$WW" evo run pool.yml t.jsonl --cache other --report page.html
    [ ! -e other ]
    [ "$(wc -c <rev.calls)" = "$calls" ]
    # without held-out items there is no curve
    "$WW" evo fit pool.yml t.jsonl --cache answers --report page2.html -q
    ! grep -q "Learning curve" page2.html || false
}

@test "members with unlike tokens are compared by options and by bytes" {
    mock rev --skill rev --seed 1
    mock caesar --skill caesar --seed 2 --pairs # tokens of two characters
    pool rev caesar >pool.yml
    with_options <(rows 1 15) >tasks.jsonl
    with_options <(rows 101 15) >held.jsonl
    for level in options bytes; do
        run_evo run --level $level --confirm held.jsonl --output $level.json --json >out
        jq -e '.complete and .chosen == "adaptive" and .rules[3].interval[0] > 0 and
               .rules[3].answers > .rules[0].answers + 0.1' out
        jq -e --arg level $level '.level == $level' $level.json
        run_evo run --level $level --confirm held.jsonl --json >out
        jq -e '.calls == 0' out
    done
    jq -e '.vocabulary == 257' bytes.json
    run_evo fit --level options --per-byte --confirm held.jsonl --output per.json -q
    jq -e '.per_byte' per.json
    # what does not fit together
    run -2 run_evo fit --level words
    run -2 run_evo fit --per-byte
    run -2 run_evo fit --level bytes --vocabulary 300
    rows 1 15 >tasks.jsonl
    run -2 run_evo run --level options
    [[ $output == *"item 1 has no 'options'"* ]]
}

@test "task files that count something twice or hold nothing are refused, and so is no budget" {
    two_experts
    cp tasks.jsonl good.jsonl
    (cat good.jsonl; head -n 1 good.jsonl) >tasks.jsonl
    run -3 run_evo run
    [[ $output == *"items 1 and 41 are the same"* ]]
    (cat good.jsonl; echo '{"prompt": "R:a=", "answer": ""}') >tasks.jsonl
    run -3 run_evo run
    [[ $output == *"line 41"*"'answer' is missing, no text or empty"* ]]
    echo >tasks.jsonl
    run -3 run_evo run
    [[ $output == *"no item in it"* ]]
    cp good.jsonl tasks.jsonl
    for limit in --max-calls --max-time; do
        run -1 run_evo run $limit 0 --json
        jq -e '.complete == false and .calls == 0' <<<"$output"
    done
    [ ! -s rev.calls ]
}

@test "a cache of another task is no answer, and a flipped bit costs one call" {
    two_experts
    run_evo run --confirm held.jsonl --output want.json -q
    cp tasks.jsonl fitted.jsonl
    rows 40 20 >tasks.jsonl
    run -4 run_evo fit
    [[ $output == *"collect them first"* ]]
    cp fitted.jsonl tasks.jsonl
    file=$(find answers -type f -size +20k | head -n 1)
    flip "$file" 15000
    run -4 run_evo fit
    run_evo run --confirm held.jsonl --output again.json --json >out
    jq -e '.calls > 0 and .calls <= 8' out
    [ "$(jq -c '.rule, .scores, .cache_root' again.json)" = "$(jq -c '.rule, .scores, .cache_root' want.json)" ]
}
