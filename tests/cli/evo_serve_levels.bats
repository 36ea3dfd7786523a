#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Pools of members with unlike tokenizers, served: what is answered is what was measured.
bats_require_minimum_version 1.5.0
load helper
load mock

setup() {
    cd "$BATS_TEST_TMPDIR" || return 1
    umask 077
    mock rev --skill rev --seed 1
    mock caesar --skill caesar --seed 2 --pairs # tokens of two characters
    pool rev caesar >pool.yml
    "$WW" key new signing --out boss --no-passphrase -q
}
# recipe LEVEL OPTIONS...: fitted to tasks.jsonl, in recipe.json.
recipe() {
    "$WW" evo run pool.yml tasks.jsonl --cache answers --level "$1" --top 30 --rule uniform --connections 16 \
        --output recipe.json --sign boss.key -q "${@:2}" >/dev/null
}
ask() { curl -s -m 20 -o body -w '%{http_code}' "$base/v1/completions" -d "{\"model\": \"fusion\", $1}"; }
# nats OPTIONS...: what a fit says of the one item in one.jsonl, all positions together.
nats() {
    "$WW" evo run pool.yml one.jsonl --cache answers --top 30 --rule uniform --connections 16 --json "$@" |
        jq '.rules[] | select(.rule == "uniform") | .bits * '"$positions"' * 0.6931471805599453'
}
same() { jq -en --argjson a "$1" --argjson b "$2" '($a - $b) | . < 1e-9 and . > -1e-9'; }

@test "a pool of bytes answers character by character, with the numbers of a fit" {
    rows 1 3 >tasks.jsonl
    recipe bytes
    "$WW" verify recipe.json --chain --key boss.pub >/dev/null
    serve
    for row in "R:abcd= dcba" "K:abcd= defg"; do
        read -r prompt answer <<<"$row"
        [ "$(ask "\"prompt\": \"$prompt\", \"max_tokens\": 9, \"temperature\": 0, \"logprobs\": 3")" = 200 ]
        jq -e --arg a "$answer" '.choices[0] | .text == $a and .finish_reason == "stop" and
            .logprobs.tokens == (($a | split("")) + ["</s>"]) and (.logprobs.top_logprobs | map(length) | min) == 3' body
        jq -nc --arg p "$prompt" --arg a "$answer" '{prompt: $p, answer: $a}' >one.jsonl
        positions=5 same "$(jq '-(.choices[0].logprobs.token_logprobs | add)' body)" "$(positions=5 nats --level bytes)"
    done
    # a stream of it, and draws by a seed
    ask '"prompt": "free text", "max_tokens": 12, "seed": 3, "stop": ["q"]' >/dev/null
    local whole=$(jq -r '.choices[0].text' body)
    ask '"prompt": "free text", "max_tokens": 12, "seed": 3, "stop": ["q"], "stream": true' >/dev/null
    [ "$(sed -n 's/^data: {/{/p' body | jq -rs 'map(.choices[0].text) | add')" = "$whole" ]
    [ "$(ask '"prompt": "R:ab=", "guided_choice": ["ba", "ab"]')" = 400 ]
    jq -e '.error.message | contains("text of its own")' body
}

@test "a pool of options answers with one of the request's, with the numbers of a fit" {
    for word in abcd efgh ijkl; do
        local back=$(rev <<<"$word")
        jq -nc --arg w "$word" --arg b "$back" '{prompt: "R:\($w)=", answer: $b, options: [$w, $b, "zzz"]}'
        jq -nc --arg w "$word" --arg b "$(tr a-w d-z <<<"$word")" '{prompt: "K:\($w)=", answer: $b, options: [$b, $w]}'
    done >tasks.jsonl
    for more in "" --per-byte; do
        rm -rf recipe.json recipe.json.evidence
        recipe options $more
        "$WW" verify recipe.json --chain --key boss.pub >/dev/null
        serve
        for number in 1 2; do
            sed -n ${number}p tasks.jsonl >one.jsonl
            # both names that vLLM has or had for it
            [ $number = 1 ] && how='guided_choice: .options' || how='structured_outputs: {choice: .options}'
            [ "$(ask "$(jq -c "{prompt, $how, temperature: 0, logprobs: 3}" one.jsonl | sed 's/^{//; s/}$//')")" = 200 ]
            jq -e --slurpfile o one.jsonl '.choices[0] | .text == $o[0].answer and .finish_reason == "stop" and
                .logprobs.tokens == [$o[0].answer] and
                (.logprobs.top_logprobs[0] | keys) == ($o[0].options | sort)' body
            same "$(jq '-.choices[0].logprobs.token_logprobs[0]' body)" "$(positions=1 nats --level options $more)"
        done
        kill -TERM $server
        wait $server
    done
    serve
    for wrong in '"guided_choice": ["a"]' '"guided_choice": ["a", "a"]' '"guided_choice": ["a", ""]' \
        '"structured_outputs": {"regex": "a"}' '"guided_choice": ["a", "b"], "structured_outputs": {"choice": ["a", "b"]}' '"n": 1'; do
        [ "$(ask "\"prompt\": \"R:ab=\", $wrong")" = 400 ]
    done
    jq -e '.error.message | contains("guided_choice")' body
}
