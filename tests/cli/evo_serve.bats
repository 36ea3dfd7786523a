#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
bats_require_minimum_version 1.5.0
load helper
load mock

# Two members and a signed recipe of them; options of the first one's server.
make_recipe() {
    mock rev --skill rev --seed 1 "$@"
    mock caesar --skill caesar --seed 2
    pool rev caesar >pool.yml
    rows 1 15 >tasks.jsonl
    rows 101 15 >held.jsonl
    "$WW" key new signing --out boss --no-passphrase -q
    "$WW" evo run pool.yml tasks.jsonl --cache answers --confirm held.jsonl --output recipe.json \
        --sign boss.key -q >/dev/null
}
# The same, made once for the tests that leave its servers alone.
setup_file() {
    cd "$BATS_FILE_TMPDIR" || return 1
    umask 077
    make_recipe
    echo "${servers[@]}" >pids
}
teardown_file() {
    servers=($(cat "$BATS_FILE_TMPDIR/pids"))
    end_mocks
}
shared_recipe() {
    cp -r "$BATS_FILE_TMPDIR/." .
}
stop() {
    kill "-${1:-TERM}" "$server"
    wait "$server"
}
# status URL OPTIONS...: of an answer, whose body goes to body.
status() { curl -s -m 20 -o body -w '%{http_code}' "$base$1" "${@:2}"; }
ask() { status /v1/completions -d "$1" "${@:2}"; }

@test "a pool answers as one model, and both experts are heard" {
    shared_recipe
    serve
    [ "$(status /health)" = 200 ]
    [ "$(status /v1/models)" = 200 ]
    jq -e '.object == "list" and .data[0].id == "fusion"' body
    [ "$(status /v1/models/fusion)" = 200 ]
    [ "$(status /v1/models/other)" = 404 ]
    [ "$(ask '{"model": "fusion", "prompt": "R:abcd=", "max_tokens": 9, "temperature": 0, "logprobs": 2}')" = 200 ]
    jq -e '.object == "text_completion" and .choices[0].text == "dcba" and
           .choices[0].finish_reason == "stop" and .usage.completion_tokens == 5 and
           .usage.prompt_tokens == 7 and
           .choices[0].logprobs.tokens == ["d", "c", "b", "a", "</s>"] and
           (.choices[0].logprobs.top_logprobs | map(length) | min) == 2 and
           .choices[0].logprobs.text_offset == [0, 1, 2, 3, 4] and
           (.choices[0].logprobs.token_logprobs | max) <= 0' body
    [ "$(ask '{"model": "fusion", "prompt": "K:abcd=", "max_tokens": 9, "temperature": 0}')" = 200 ]
    jq -e '.choices[0].text == "defg" and .choices[0].logprobs == null' body
    [ "$(ask '{"model": "fusion", "prompt": "K:abcd=", "max_tokens": 3, "temperature": 0}')" = 200 ]
    jq -e '.choices[0].text == "def" and .choices[0].finish_reason == "length"' body
    [ "$(ask '{"model": "fusion", "prompt": "K:abcd=", "temperature": 0, "stop": ["xx", "fg"]}')" = 200 ]
    jq -e '.choices[0].text == "de" and .choices[0].finish_reason == "stop"' body
    # a seed gives the same draws again, another one others
    local draw='{"model": "fusion", "prompt": "free text", "max_tokens": 20, "temperature": 1.5, "seed": '
    [ "$(ask "$draw 7}")" = 200 ]
    local first=$(jq -r '.choices[0].text' body)
    [ "$(ask "$draw 7}")" = 200 ]
    [ "$first" = "$(jq -r '.choices[0].text' body)" ]
    [ "$(ask "$draw 8}")" = 200 ]
    [ "$first" != "$(jq -r '.choices[0].text' body)" ]
    stop
    grep -q '7 answers' served
    # one member is as good as a pool, and the only one that is asked
    "$WW" evo fit pool.yml tasks.jsonl --cache answers --rule best-single --output single.json --sign boss.key -q >/dev/null
    recipe=single.json serve
    local calls=$(cat "$BATS_FILE_TMPDIR"/*.calls | wc -c)
    [ "$(ask '{"model": "fusion", "prompt": "free", "max_tokens": 4, "seed": 1}')" = 200 ]
    [ "$(jq .usage.completion_tokens body)" = "$(($(cat "$BATS_FILE_TMPDIR"/*.calls | wc -c) - calls))" ]
    stop
}

# permit NAME OWNER [WHEN [RESOURCE]]: signed by OWNER, for the key boss; NAME.permit.
permit() {
    local id=$(jq -r ".members[] | select(.name == \"$1\") | .identity" probed.json)
    jq -n --arg n "$1" --arg r "model:sha256:${4:-$id}" --arg k "key:$("$WW" key show boss.pub --json | jq -r .id)" \
        --argjson when "${3:-null}" --arg until "${until:-2099-01-01T00:00:00Z}" \
        '{type: "weightward.policy/1", id: ("of-" + $n), version: "1", issued: "2026-01-01T00:00:00Z", expires: $until,
          rules: [{id: ("pool-" + $n), effect: "permit", subjects: [$k], actions: ["merge"], resources: [$r]}
                  + (if $when then {when: $when} else {} end)]}' >"$1.json"
    rm -f "$1.permit"
    "$WW" policy sign "$1.json" --key "$2.key" --out "$1.permit" -q
}
permitted_pool() {
    sed 's/name: \([a-z]*\),/name: \1, permit: \1.permit, owner: \1-owner.pub,/' pool.yml >permitted.yml
}

@test "members' permits are policies of their owners, and are asked when a pool is signed and served" {
    shared_recipe
    "$WW" evo probe pool.yml --out probed.json >/dev/null
    for name in rev caesar; do "$WW" key new signing --out $name-owner --no-passphrase -q; done
    permitted_pool
    fit() { "$WW" evo fit permitted.yml tasks.jsonl --cache answers --confirm held.jsonl --output "$1" --sign "${2:-boss}.key" -q; }
    permit rev rev-owner
    permit caesar caesar-owner '{"methods": ["adaptive"], "min_sources": "2"}'
    fit permitted.json >/dev/null
    jq -r .payload permitted.json | base64 -d >payload
    jq -e --arg d "$(sha256sum <rev.permit | cut -d' ' -f1)" --arg o "$("$WW" key show rev-owner.pub --json | jq -r .id)" \
        '.members[0].permit == $d and .members[0].owner == $o and (.members | all(.owner))' payload
    # another signer, another rule, a permit of only one member, none at all
    "$WW" key new signing --out thief --no-passphrase -q
    refused 1 "do not allow to pool 'rev': no-permit" fit x.json thief
    refused 1 "nearest fails at methods" "$WW" evo fit permitted.yml tasks.jsonl --cache answers --rule uniform \
        --output x.json --sign boss.key
    sed 's/permit: caesar.permit, //' permitted.yml >half.yml
    refused 1 "'caesar' has no permit and others have one" "$WW" evo fit half.yml tasks.jsonl --cache answers \
        --output x.json --sign boss.key
    sed 's/owner: rev-owner.pub, //' permitted.yml >ownerless.yml
    refused 2 "'owner' in the pool file" "$WW" evo fit ownerless.yml tasks.jsonl --cache answers --output x.json --sign boss.key
    nothing_written x.json
    # serving asks again
    refused 1 "permit for member 'rev'" "$WW" evo serve permitted.json --key boss.pub
    refused 1 "permit for member 'rev'" "$WW" evo serve permitted.json --key boss.pub --pool pool.yml
    recipe=permitted.json serve --pool permitted.yml
    stop
    cp rev.permit first.permit
    permit rev rev-owner '{"max_sources": "3"}'
    refused 1 'is not the permit' "$WW" evo serve permitted.json --key boss.pub --pool permitted.yml
    # permits that their owners did not write so
    permit rev thief
    refused 1 "not signed by the owner" fit x.json
    cp rev.json rev.permit
    refused 1 "is no signed policy" fit x.json
    jq -c '.signatures[0].sig |= sub("^.."; "AA")' first.permit >rev.permit
    refused 1 "altered" fit x.json
    permit rev rev-owner null "$(jq -r '.members[1].identity' probed.json)"
    refused 1 "a model of another owner" fit x.json
    until=2026-02-01T00:00:00Z permit rev rev-owner
    refused 1 "policy-expired" fit x.json
    permit rev rev-owner '{"max_weight": "0.5"}'
    refused 1 "nearest fails at max_weight" fit x.json
    nothing_written x.json
}

@test "a permit that expires while a pool is served ends its answers" {
    shared_recipe
    "$WW" evo probe pool.yml --out probed.json >/dev/null
    for name in rev caesar; do "$WW" key new signing --out $name-owner --no-passphrase -q; done
    permitted_pool
    permit caesar caesar-owner
    # long enough to get there, however slow the machine is
    for seconds in 5 12 40; do
        rm -rf permitted.json permitted.json.evidence
        until=$(date -u -d "+$seconds seconds" +%Y-%m-%dT%H:%M:%SZ) permit rev rev-owner
        "$WW" evo fit permitted.yml tasks.jsonl --cache answers --output permitted.json --sign boss.key -q >/dev/null || continue
        recipe=permitted.json serve --pool permitted.yml || continue
        [ "$(ask '{"model": "fusion", "prompt": "R:ab=", "temperature": 0}')" = 200 ] && break
    done
    jq -e '.choices[0].text == "ba"' body
    for _ in $(seq 400); do
        [ "$(ask '{"model": "fusion", "prompt": "R:ab=", "temperature": 0}')" = 403 ] && break
        sleep 0.25
    done
    jq -e '.error.code == "permit_denied" and (.error.message | contains("policy-expired"))' body
    [ "$(status /health)" = 503 ]
    jq -e '.status == "permit_denied"' body
    grep -q "policy-expired" said
    stop
}

@test "another model behind a name is noticed while a pool is served" {
    make_recipe
    serve --canary 0.2
    local body='{"model": "fusion", "prompt": "R:abcd=", "max_tokens": 9, "temperature": 0}'
    [ "$(ask "$body")" = 200 ]
    sleep 0.6
    [ "$(status /health)" = 200 ]
    # a member that is away is no other member
    local port=$(cat rev.port)
    kill -9 "${servers[0]}"
    wait "${servers[0]}" || true
    sleep 0.6
    [ "$(status /health)" = 200 ]
    mock rev --skill rev --seed 9 --port "$port"
    for _ in $(seq 600); do
        [ "$(status /health)" = 503 ] && break
        sleep 0.1
    done
    jq -e '.status == "member_changed"' body
    [ "$(ask "$body")" = 503 ]
    jq -e '.error.code == "member_changed"' body
    grep -q "another model stands behind member 'rev' now" said
    stop
}

@test "a stream adds up to the same text" {
    shared_recipe
    serve
    for more in '"temperature": 0' '"seed": 3, "stop": ["e", "ab"]' '"seed": 4, "logprobs": 1'; do
        local body='{"model": "fusion", "prompt": "R:ghijk=", "max_tokens": 30, '$more
        [ "$(ask "$body}")" = 200 ]
        cp body whole
        [ "$(ask "$body, \"stream\": true, \"stream_options\": {\"include_usage\": true}}")" = 200 ]
        [ "$(tail -n 2 body | head -n 1)" = "data: [DONE]" ]
        sed -n 's/^data: {/{/p' body | jq -s . >events
        [ "$(jq -r 'map(.choices[0].text // "") | add' events)" = "$(jq -r '.choices[0].text' whole)" ]
        [ "$(jq -c 'map(.choices[0].finish_reason // empty)' events)" = "$(jq -c '[.choices[0].finish_reason]' whole)" ]
        [ "$(jq -c '.[-1].usage' events)" = "$(jq -c .usage whole)" ]
        [ "$(jq -c 'map(.choices[0].logprobs.tokens // []) | add' events)" = \
            "$(jq -c '.choices[0].logprobs.tokens // []' whole)" ]
    done
    stop INT
}

@test "an unsigned, altered or foreign recipe is not served" {
    shared_recipe
    jq -r .payload recipe.json | base64 -d >bare.json
    refused 1 'no signed fusion recipe' "$WW" evo serve bare.json --key boss.pub
    jq -c ".payload = \"$(sed 's/"top":20/"top":19/' bare.json | base64 -w 0)\"" recipe.json >altered.json
    refused 1 'altered' "$WW" evo serve altered.json --key boss.pub
    "$WW" key new signing --out other --no-passphrase -q
    refused 1 'another key' "$WW" evo serve recipe.json --key other.pub
    refused 2 'key PUB' "$WW" evo serve recipe.json
    refused 2 'open to other machines' "$WW" evo serve recipe.json --key boss.pub --listen 0.0.0.0:0
    refused 2 'no address' "$WW" evo serve recipe.json --key boss.pub --listen localhost
}

@test "another model behind a member's name is found before anything is served" {
    make_recipe
    local port
    port=$(cat rev.port)
    kill "${servers[0]}"
    wait "${servers[0]}" || true
    mock rev --skill rev --seed 9 --port "$port"
    refused 4 "member 'rev'.*canary" "$WW" evo serve recipe.json --key boss.pub --listen 127.0.0.1:0
    sed 's/model: mock/model: mack/' pool.yml >other.yml
    refused 4 "the recipe signed" "$WW" evo serve recipe.json --key boss.pub --pool other.yml
}

@test "only keys of the file may ask" {
    shared_recipe
    echo "sk-0123456789abcdef" >keys
    echo "short" >bad
    chmod 644 keys
    refused 5 'open to others' "$WW" evo serve recipe.json --key boss.pub --keys keys
    refused 3 'line 1' "$WW" evo serve recipe.json --key boss.pub --keys bad
    chmod 600 keys
    serve --keys keys --model pool-1
    local body='{"model": "pool-1", "prompt": "R:ab=", "temperature": 0}'
    [ "$(ask "$body")" = 401 ]
    jq -e '.error.code == "invalid_api_key"' body
    [ "$(ask "$body" -H 'Authorization: Bearer sk-0123456789abcdee')" = 401 ]
    [ "$(status /v1/models)" = 401 ]
    [ "$(status /health)" = 200 ]
    [ "$(ask "$body" -H 'Authorization: Bearer sk-0123456789abcdef' -H 'Origin: null')" = 200 ]
    jq -e '.choices[0].text == "ba"' body
    stop
}

@test "what is not understood is refused in words that clients know" {
    shared_recipe
    serve
    [ "$(ask '{"model": "fusion"')" = 400 ]
    jq -e '.error.type == "invalid_request_error" and (.error.message | length) > 0' body
    for wrong in '"prompt": ["a", "b"]' '"prompt": [1]' '"prompt": ""' '"prompt": "a", "n": 2' '"prompt": "a", "echo": true' \
        '"prompt": "a", "logprobs": 6' '"prompt": "a", "temperature": 2.1' '"prompt": "a", "top_p": 0' \
        '"prompt": "a", "stop": [""]' '"prompt": "a", "max_tokens": 0' '"prompt": "a", "maxtokens": 1'; do
        [ "$(ask "{\"model\": \"fusion\", $wrong}")" = 400 ]
    done
    [ "$(ask '{"model": "gpt", "prompt": "a"}')" = 404 ]
    jq -e '.error.code == "model_not_found"' body
    [ "$(ask "{\"model\": \"$(printf 'x%.0s' {1..59})\u00e4\", \"prompt\": \"a\"}")" = 404 ]
    [ "$(status /v1/completions -D head)" = 405 ]
    grep -qi '^allow: POST' head
    [ "$(status /v1/embeddings -d '{}')" = 404 ]
    # a page that a browser here shows, whoever wrote it
    [ "$(ask '{"model": "fusion", "prompt": "R:ab="}' -H 'Origin: https://page.example')" = 403 ]
    jq -e '.error.code == "page_without_key"' body
    [ "$(status /v1/chat/completions -d '{"model": "fusion", "messages": [{"role": "user", "content": "a"}]}')" = 400 ]
    jq -e '.error.message | contains("template")' body
    head -c 1048577 /dev/zero | tr '\0' ' ' >large
    [ "$(status /v1/completions --data-binary @large)" = 413 ]
    [ "$(status /v1/completions -H 'Transfer-Encoding: chunked' -d '{}')" = 411 ]
    stop
}

@test "messages are joined by the pool's template" {
    shared_recipe
    (cat pool.yml; printf 'chat:\n  user: ["R:", ""]\n  answer: "="\n') >chat.yml
    serve --pool chat.yml
    local body='{"model": "fusion", "temperature": 0, "messages": [{"role": "user", "content": "wxyz"}]'
    [ "$(status /v1/chat/completions -d "$body, \"logprobs\": true, \"top_logprobs\": 3}")" = 200 ]
    jq -e '.object == "chat.completion" and .choices[0].message == {role: "assistant", content: "zyxw"} and
           (.choices[0].logprobs.content | length) == 5 and
           (.choices[0].logprobs.content[0].top_logprobs | length) == 3 and
           .choices[0].logprobs.content[0].bytes == [122]' body
    [ "$(status /v1/chat/completions -d "$body, \"stream\": true}")" = 200 ]
    [ "$(sed -n 's/^data: {/{/p' body | jq -rs 'map(.choices[0].delta.content) | add')" = zyxw ]
    [ "$(sed -n 's/^data: {/{/p' body | jq -s 'map(.choices[0].delta.role // empty) | length')" = 1 ]
    [ "$(status /v1/chat/completions -d "${body/user/system}}")" = 400 ]
    jq -e '.error.message | contains("system")' body
    stop
}

@test "a stop lets the running answer end, and nothing new begin" {
    make_recipe --delay-ms 100
    serve --answers 1
    curl -sN -m 20 "$base/v1/completions" -d '{"model": "fusion", "prompt": "R:abcdefghijkl=", "temperature": 0,
        "max_tokens": 20, "stream": true}' >streamed &
    local client=$!
    for _ in $(seq 50); do
        [ -s streamed ] && break
        sleep 0.05
    done
    [ "$(ask '{"model": "fusion", "prompt": "a"}')" = 429 ] # one at a time was asked for
    jq -e '.error.code == "busy"' body
    kill -TERM "$server"
    sleep 0.3
    [ "$(status /health || true)" = 000 ]
    wait "$client"
    [ "$(sed -n 's/^data: {/{/p' streamed | jq -rs 'map(.choices[0].text) | add')" = lkjihgfedcba ]
    wait "$server"
    grep -q '1 answers' served
}

@test "a member that fails is told to the client, and where only to the owner" {
    make_recipe
    serve --answers 1
    kill "${servers[1]}"
    [ "$(ask '{"model": "fusion", "prompt": "R:ab=", "temperature": 0}')" = 502 ]
    jq -e '.error.code == "pool_failed" and (.error.message | contains("127.0.0.1") | not)' body
    grep -q "member 'caesar' at" said
    stop
}
