#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
bats_require_minimum_version 1.5.0
load helper
load mock

tasks() {
    head -n "$1" "$BATS_TEST_DIRNAME/../vectors/amber/tasks/rev.test.jsonl"
    head -n "$1" "$BATS_TEST_DIRNAME/../vectors/amber/tasks/caesar.test.jsonl"
}

@test "answers are collected once, and a second run makes no call" {
    mock rev --skill rev --seed 1
    mock caesar --skill caesar --seed 2
    pool rev caesar >pool.yml
    tasks 10 >tasks.jsonl
    collect --json >first
    # 2 members x 20 items, two questions to each before, and a canary after
    jq -e '.schema == "weightward.evo/1" and .word == "collect" and .complete and
           .items == 20 and .answers == 40 and .calls == 46 and .calls_avoided == 0 and
           .tokens > 0 and .damaged == 0 and (.members | all(.scores_prompts))' first
    [ "$(cat rev.calls caesar.calls | wc -c)" = 46 ]
    collect --json >second
    jq -e '.complete and .calls == 0 and .calls_avoided == 40' second
    [ "$(jq -r .root first)" = "$(jq -r .root second)" ]
    [ "$(cat rev.calls caesar.calls | wc -c)" = 46 ]
    [ "$(stat -c %a answers/answers.wwa)" = 600 ]
    # the servers are gone, the answers are not
    for pid in "${servers[@]}"; do kill "$pid"; done
    run -0 collect
    [[ $output == *"0 calls now, 40 not needed"* ]]
}

@test "connections and the order of arrival change nothing" {
    mock rev --skill rev --seed 1 --delay-ms 2
    mock llama --skill rev --seed 1 --shape llama --delay-ms 1
    pool rev llama >pool.yml
    tasks 4 >tasks.jsonl
    cache=one collect --connections 1 --json >one.json
    cache=many collect --connections 16 --json >many.json
    jq -e '.complete and (.members[0].scores_prompts) and
           (.members[1].scores_prompts | not) and .members[1].dialect == "llama-server"' one.json
    [ "$(jq -r .root one.json)" = "$(jq -r .root many.json)" ]
}

@test "members that score no prompts are asked token by token" {
    mock one --skill rev --seed 1 --shape llama
    mock two --skill rev --seed 2 --shape llama
    pool one two >pool.yml
    echo '{"prompt": "R:abc=", "answer": "cba"}' >tasks.jsonl
    collect --json >first
    # three tokens and the end, two members; a canary and a forced token each, and a canary behind
    jq -e '.complete and .answers == 8 and .calls == 14' first
    collect --json >second
    jq -e '.calls == 0' second
    [ "$(jq -r .root first)" = "$(jq -r .root second)" ]
}

@test "limits are not exceeded" {
    mock rev --skill rev --seed 1
    echo "members:" >pool.yml
    member rev "price_call: 0.5" >>pool.yml
    tasks 20 >tasks.jsonl
    run -1 collect --max-calls 0
    [[ $output == *"STOPPED: the limit of 0 calls would be exceeded by the first call: raise it"* ]]
    [ ! -e rev.calls ] || [ "$(wc -c <rev.calls)" = 0 ]
    run -1 collect --max-calls 7 --connections 16
    [ "$(wc -c <rev.calls)" = 7 ]
    run -1 collect --max-cost 3.2 --connections 16 --json
    [ "$(wc -c <rev.calls)" = 13 ]
    run -1 collect --max-tokens 100 --connections 16
    [[ $output == *"STOPPED: the limit of 100 tokens"* ]]
    run -1 collect --max-time 0
    run -0 collect
    pool rev >pool.yml
    refused 2 "a limit of 5 on the cost holds nothing: no member of 'pool.yml' has 'price_call'" collect --max-cost 5
}

@test "a flipped bit costs one answer" {
    mock rev --skill rev --seed 1
    pool rev >pool.yml
    tasks 5 >tasks.jsonl
    collect --json >first
    size=$(stat -c %s answers/answers.wwa)
    byte=$(od -An -tu1 -j $((size / 2)) -N1 answers/answers.wwa)
    printf '%b' "\\x$(printf %x $((byte ^ 1)))" |
        dd of=answers/answers.wwa bs=1 seek=$((size / 2)) conv=notrunc status=none
    collect --json >second
    jq -e '.complete and .damaged == 1 and .calls == 3 and .calls_avoided == 9' second
    [ "$(jq -r .root first)" = "$(jq -r .root second)" ]
    # a torn end
    truncate -s -7 answers/answers.wwa
    collect --json >third
    jq -e '.complete and .calls == 3' third
    [ "$(jq -r .root first)" = "$(jq -r .root third)" ]
}

@test "another model behind the name is noticed" {
    mock rev --skill rev --seed 1
    pool rev >pool.yml
    tasks 2 >tasks.jsonl
    collect -q
    kill "${servers[0]}"
    wait "${servers[0]}" 2>/dev/null || true
    mock rev --skill rev --seed 9 --port "$(cat rev.port)"
    tasks 3 >tasks.jsonl
    refused 4 "another model stands behind the name" collect
}

@test "probing says what servers do" {
    mock whole --seed 1
    mock list --seed 2 --shape llama
    mock chat --seed 3 --shape chat
    mock deaf --seed 4 --fault echo:1
    pool whole list chat deaf >pool.yml
    "$WW" evo probe pool.yml --json >probed
    jq -e '.word == "probe" and
           [.members[].dialect] == ["openai-completions", "llama-server", "openai-chat",
                                    "openai-completions"] and
           [.members[].scores_prompts] == [true, false, false, false] and
           (.members | all(.top == 20 and .deterministic and .failure == null)) and
           .one_tokenizer == true' probed # by the first two, of which one cuts and is not asked to score
    pool chat deaf >pool2.yml
    "$WW" evo probe pool2.yml --json | jq -e '.one_tokenizer == null'
    mock pairs --seed 1 --pairs
    cat >pool.yml <<END
members:
  - {name: whole, url: "$(url whole)", model: mock}
  - {name: pairs, url: "$(url pairs)", model: mock}
END
    run -1 "$WW" evo probe pool.yml
    [[ $output == *"tokenizers: SEVERAL"* ]]
    # a vocabulary without accents is another one, and two of them are not told apart by more
    mock narrow --seed 1 --narrow
    mock twin --seed 2 --narrow
    pool whole narrow >pool2.yml
    run -1 "$WW" evo probe pool2.yml
    [[ $output == *"tokenizers: SEVERAL: 'whole' cuts a probe string"*"'narrow' none of it: "*"the answer's last tokens are missing"* ]]
    pool narrow twin >pool2.yml
    run -0 "$WW" evo probe pool2.yml
    [[ $output == *"tokenizers: one"* ]]
    echo '{"prompt": "R:ab", "answer": "abab"}' >tasks.jsonl
    refused 1 "into other tokens; a pool of tokens needs one tokenizer" collect
    # llama-servers say how they cut texts, and are not asked about anything before
    mock coarse --seed 5 --shape llama --pairs
    pool list coarse >pool.yml
    run -1 "$WW" evo probe pool.yml
    [[ $output == *"tokenizers: SEVERAL: 'list' cuts a probe string into 43 tokens, 'coarse' otherwise, into 22"* ]]
    local name # that is cut within a character
    name=c$(printf 'é%.0s' {1..60})
    sed "s/name: coarse/name: $name/" pool.yml >pool3.yml
    "$WW" evo probe pool3.yml --json >probed || [ $? = 1 ]
    jq -e 'any(.. | strings; test("otherwise, into 22"))' probed
    echo '{"prompt": "R:ab=", "answer": "ba"}' >tasks.jsonl
    refused 1 "'coarse' otherwise, into 22: a pool of tokens needs one tokenizer; compare members by options or bytes" collect
    cache=bytes collect --level bytes --json | jq -e .complete
}

@test "servers that cannot be asked are refused with the reason" {
    tasks 2 >tasks.jsonl
    mock locked --key sesame
    echo "members:" >pool.yml
    member locked "key_file: key" >>pool.yml
    echo wrong >key
    refused 5 "refuses the key of 'key' .status 401." collect
    run ! grep -q wrong stderr
    # one that says what it was sent
    cat >parrot.py <<END
import http.server, json
class Parrot(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        said = json.dumps({"error": "not with " + self.headers["Authorization"]}).encode()
        self.send_response(400)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)
    do_POST = do_GET
    log_message = lambda *a: None
server = http.server.HTTPServer(("127.0.0.1", 0), Parrot)
open("parrot.part", "w").write(str(server.server_port))
import os
os.rename("parrot.part", "parrot.port")
server.serve_forever()
END
    python3 parrot.py 3>&- & servers+=($!)
    until [ -e parrot.port ]; do sleep 0.02; done
    { echo "members:" && member parrot "key_file: key"; } >parrot.yml
    refused 6 "member 'parrot' answers with status 400" "$WW" evo collect parrot.yml tasks.jsonl --cache parrot
    run ! grep -q wrong stderr
    echo sesame >key
    collect -q
    chmod 644 key
    tasks 3 >tasks.jsonl
    refused 5 "" collect
    # A descriptor is read once for all connections; what nobody wrote into is told.
    sed -i 's#key_file: key#key_file: /dev/fd/9#' pool.yml
    collect -q --connections 4 9<key
    tasks 4 >tasks.jsonl
    refused 5 "key_file '/dev/fd/9' is empty" collect 9</dev/null

    # Nobody ever listened there: said after three seconds, while the rest goes on.
    cat >down.yml <<END
members: [{name: down, url: "http://127.0.0.1:1", model: mock}]
END
    timeout 60 "$WW" evo collect down.yml tasks.jsonl --cache dead --progress always >down.said 2>&1 3>&- &
    local patient=$!
    mock named --model other
    pool named >pool.yml
    refused 4 "has no model 'mock'; it has 'other'" collect
    mock mute --fault nolp:1
    pool mute >pool.yml
    refused 6 "" collect
    mock slow --fault stall:1
    pool slow >pool.yml
    run -1 collect --max-time 1
    [[ $output == *"STOPPED: the limit of 1 seconds"* ]]
    mock nan --fault nan:1
    pool nan >pool.yml
    refused 3 "" collect --tries 1
    mock long --fault long:1
    pool long >pool.yml
    refused 3 "more than 67108864 bytes" collect --tries 1
    refused 4 "gave no answer in 1 try.*is it running" "$WW" evo collect down.yml tasks.jsonl --cache down --tries 1
    mock plain
    pool plain | sed 's/"<.s>"/"<|end|>"/' >pool.yml
    refused 2 "'<.end.>' is several tokens of the server" collect
    mock numbered --shape llama
    pool numbered | sed 's/"<.s>"/"<|end|>"/' >pool.yml
    refused 2 "'<.end.>' is 2 tokens of the server" collect
    wait "$patient" || [ $? -eq 4 ]
    grep "waiting for 'down'" down.said
    grep "gave no answer in [2-6] tries.*is it running" down.said
    for limit in --max-calls --max-tokens --max-cost --max-time; do
        for value in -1 nan; do refused 2 "are 0 or more" collect $limit=$value; done
    done
    refused 2 "are 0 or more" "$WW" evo run pool.yml tasks.jsonl --cache c --max-calls=-1
    cat >pool.yml <<END
members: [{name: far, url: "http://example.org", model: mock}]
END
    refused 2 "not encrypted" collect
}

@test "a certificate that nobody signed is refused, and taken when it is named" {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout tls.key \
        -out tls.pem -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost 2>/dev/null
    port=$((20000 + RANDOM % 20000))
    openssl s_server -accept "$port" -cert tls.pem -key tls.key -www -quiet >/dev/null 2>&1 3>&- &
    servers+=($!)
    sleep 0.5
    tasks 2 >tasks.jsonl
    echo "members: [{name: tls, url: \"https://localhost:$port\", model: mock}]" >pool.yml
    refused 4 "(certificate|SSL)" collect
    echo "members: [{name: tls, url: \"https://localhost:$port\", model: mock, ca_file: tls.pem}]" \
        >pool.yml
    # it is no such server, but it was asked: it lets us wait
    run -1 collect --max-time 1
    [[ $output == *"STOPPED: the limit of 1 seconds"* ]]
}

@test "task files, pools and caches that are wrong are refused" {
    mock rev --skill rev
    pool rev >pool.yml
    tasks 2 >tasks.jsonl
    cat tasks.jsonl tasks.jsonl >twice.jsonl
    refused 3 "items 1 and 5 are the same" "$WW" evo collect pool.yml twice.jsonl --cache c
    echo '{"prompt": "a", "answer": ""}' >empty.jsonl
    refused 3 "line 1: 'answer' is missing" "$WW" evo collect pool.yml empty.jsonl --cache c
    refused 2 "cache DIR" "$WW" evo collect pool.yml tasks.jsonl
    mkdir other
    echo "something else than a cache" >other/answers.wwa
    cache=other refused 3 "is no answer cache" collect
    collect -q
    chmod 644 answers/answers.wwa
    refused 5 "open to others" collect
    chmod 600 answers/answers.wwa
    exec 9<answers/answers.wwa
    flock 9
    refused 4 "being written by another run" collect
    exec 9<&-
    # another task file finds nothing of its own, and asks
    tail -n 1 tasks.jsonl | sed 's/"prompt": "K:/"prompt": "K:a/' >tasks.new
    mv tasks.new tasks.jsonl
    collect --json >new
    jq -e '.complete and .calls_avoided == 0 and .calls == 3' new
}

@test "progress tells items, calls and cost" {
    mock rev --skill rev --seed 1 --delay-ms 60
    { echo "members:" && member rev "price_call: 0.25"; } >pool.yml
    tasks 10 >tasks.jsonl
    collect --connections 1 --progress always 2>said >/dev/null
    tr '\r' '\n' <said | grep -E 'collecting: [0-9]+ of 20 items, [0-9]+ calls, cost [0-9.]+'
    run ! grep -q bytes said
}
