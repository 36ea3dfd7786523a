#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
bats_require_minimum_version 1.5.0
load helper

@test "help goes to stdout, usage errors to stderr with status 2" {
    run -0 "$WW" --help
    [[ $output == usage:* ]]
    run -2 "$WW"
    refused 2 "verify" "$WW" verifi model
    refused 2 "verifyx|--help" "$WW" zzz
    for verb in inspect key lock unlock sign trace verify; do
        run -0 "$WW" "$verb" --help
        [[ $output == *"--json"* ]]
    done
}

@test "options are never abbreviated" {
    refused 2 "--ke" "$WW" verify model --ke me.pub
    refused 2 "--nosuch" "$WW" lock model out --nosuch
}

@test "a page of a command that is not there" {
    refused 2 "no command 'loc'.*'lock'" "$WW" help loc
    refused 2 "no command 'zzz'" "$WW" help zzz
    export MANPATH=$PWD # where no pages are
    run -4 "$WW" help unlock
    [[ $output == *"'weightward-lock'"*"weightward unlock --help"* ]]
}

@test "missing and surplus arguments" {
    refused 2 "missing; expected are 'MODEL OUT'" "$WW" lock model
    refused 2 "missing; expected are 'pack\|add" "$WW" rmm
    refused 2 "that the model was locked with" "$WW" unlock a b
    refused 2 "at least 1" "$WW" extract a b c --rank 0
    refused 2 "too many" "$WW" lock a b c --key k
    refused 2 "--key" "$WW" lock a b
    refused 2 "--key" "$WW" verify a
    refused 2 "--key" "$WW" sign a
    refused 2 "progress" "$WW" sign a --key k --progress sometimes
    refused 2 "level" "$WW" lock a b --key k --level firm
    refused 2 "lock: --threads: invalid numeric value 'two'" "$WW" lock a b --threads two
    refused 2 "rmm: --budget: invalid numeric value '2k'" "$WW" rmm pack p a=b --budget 2k
    refused 2 "--seed may not be negative" "$WW" merge recipe.yml out --seed=-1
    refused 2 "--threads takes 1 to 256.*not -3" "$WW" lock a b --key k --threads=-3
    refused 2 "encrypts for --to PUB, without --key" "$WW" lock a b --level sealed --key k
    refused 6 "'llam' is not known .*'llama'.*: expected a built-in one" "$WW" inspect "$AMBER" --descriptor llam
}

@test "what would ask a policy does not go by in silence" {
    local option
    for option in policy policy-state as request approval purpose decision; do
        refused 2 "--$option alone asks no policy: give --policy-root ROOT" "$WW" extract "$AMBER" "$AMBER" out \
            --rank 4 "--$option" file
    done
    [ ! -e out ]
}

@test "an error with --json is one object on stdout" {
    status=0
    "$WW" inspect nowhere --json >answer 2>stderr || status=$?
    [ "$status" = 4 ]
    jq -e '.schema == "weightward.inspect/1" and .error.class == "system" and
           (.error.text | length) > 0' answer
}

@test "wrong use with --json is one object on stdout as well" {
    local args
    for args in "inspect" "inspect --nosuch x" "lock a b --level firm --key k" "lock a b --threads 999 --key k" \
        "key bogus" "key show" "recipients zzz" "recipients list" "verify model" "rmm zzz" "policy zzz" "lineage zzz" \
        "lineage decompose m" "evo fit"; do
        status=0
        # shellcheck disable=SC2086
        "$WW" $args --json >answer 2>stderr || status=$?
        [ "$status" = 2 ]
        jq -se --arg s "weightward.${args%% *}/1" 'length == 1 and .[0].schema == $s and
            .[0].error.code == "WW_E_USAGE"' answer
        grep -qF -- "$(jq -r .error.text answer)" stderr
    done
    run -2 --separate-stderr "$WW" zzz --json
    [ "$(jq -r .schema <<<"$output")" = weightward.usage/1 ]
    run -2 --separate-stderr "$VERIFY" a --json
    [ "$(jq -r .schema <<<"$output")" = weightward.verify/1 ]
    run -2 --separate-stderr "$WW" inspect
    [ -z "$output" ]
    refused 2 "unknown word 'bogus'; known are: new, show" "$WW" key bogus
    refused 2 "unknown word 'zzz'; known are: list, add" "$WW" recipients zzz
}

@test "the examples of --help run as they are printed" {
    umask 077
    make_model
    ln -s "$AMBER/../base" base
    cp -r "$AMBER/../expert-caesar" other
    chmod -R u+w other
    cp "$BATS_TEST_DIRNAME/../../policies/no-merge-release.json" policy.json
    printf 'merge_method: linear\nmodels: [{model: model, parameters: {weight: 1}}, {model: other, parameters: %s}]\n' \
        '{weight: 1}' >recipe.yml
    PATH=$(dirname "$WW"):$PATH
    local verb
    for verb in inspect key sign verify lock unlock attack merge recipients extract rmm trace \
        lineage\ {decompose,index,find,plan,replay,report,verify} policy; do
        # shellcheck disable=SC2086
        weightward $verb --help | grep "^  weightward $verb " >examples
        case $verb in
        key) sed -i 's/$/ --no-passphrase/' examples ;; # there is no terminal here
        trace) weightward lock other suspect --key team.lock --sign me.key --for ada --ledger copies -q ;;
        esac
        while read -r line; do
            echo "$line"
            eval "$line" </dev/null
        done <examples
    done
    for verb in lineage\ logits evo\ {search,probe,collect,fit,run,score,serve}; do
        # shellcheck disable=SC2086
        weightward $verb --help | grep "^  weightward ${verb%% *} "
    done
    diff -r model back
}

@test "what was typed wrongly stays on the line that says so" {
    refused 2 "no command 'a weightward: done'" "$WW" $'a\nweightward: done' --json
    jq -e '.error.text | contains("a weightward")' stdout
}

@test "help leaves the keys to the pager, and closed descriptors to no file" {
    mkdir bin
    cat >bin/man <<'END'
#!/bin/sh
readlink "/proc/$PPID/fd/2" >place
kill -INT "$PPID"
echo "page of $1"
END
    chmod +x bin/man
    PATH=$PWD/bin:$PATH "$WW" help lock 2>&- >page # Ctrl-C goes to all who are in front
    grep -x "page of weightward-lock" page
    grep -x /dev/null place # and not the next file that is opened
}

@test "an answer that cannot be written is no success" {
    local args
    printf 'merge_method: linear\nmodels: [{model: %s, parameters: {weight: 1}}]\n' "$AMBER" >recipe.yml
    for args in --version --help "lock --help" "inspect $AMBER" "inspect $AMBER --json" "merge --dry-run recipe.yml" \
        "merge recipe.yml out --json"; do
        status=0
        # shellcheck disable=SC2086
        "$WW" $args >/dev/full 2>stderr || status=$?
        [ "$status" = 4 ]
        grep "cannot write the answer to standard output" stderr
    done
    status=0
    "$VERIFY" --version >/dev/full 2>stderr || status=$?
    [ "$status" = 4 ]
    status=0
    "$WW" inspect "$AMBER" >&- 2>stderr || status=$?
    [ "$status" = 4 ]
    grep "cannot write the answer" stderr
    "$WW" key new signing --out me --no-passphrase >&- # whose answer is a file
}

@test "names that others chose do nothing to a terminal or a page" {
    # red from here on, a bell, and a name that reads backwards
    name=$(printf 'esc\033[31m\007 \342\200\256txt<b>')
    cp -r "$AMBER" "$name"
    "$WW" inspect "$name" >answer
    grep -F 'esc\u001b[31m\u0007 \u202etxt<b>: llama' answer
    "$WW" inspect "$name" --json >answer # the same name, for programs
    [ "$(jq -r .name answer)" = "$name" ]
    run -1 grep -q "$(printf '\342\200\256')" answer
    refused 2 'holds control characters, and cannot stand in a report' \
        "$WW" lineage report "$name" --base "$AMBER/../base" --candidate "$AMBER" --out report
    LC_ALL=C run -1 grep -qP '\x1b|\xe2\x80\xae' stderr
    name=$(printf 'esc \342\200\256txt<b>')
    cp -r "$AMBER" "$name"
    "$WW" lineage report "$name" --base "$AMBER/../base" --candidate "$AMBER" --out report >said
    grep -F 'esc \u202etxt<b>' said
    grep -F 'esc \u202etxt&lt;b&gt;' report/report.html
    LC_ALL=C run -1 grep -qP '[\x00-\x08\x0b-\x1f]|\xe2\x80\xae' report/report.html said
    # bytes of a tensor are bytes
    "$WW" rmm pack one.pkg "m=$AMBER" --base "$AMBER/../base" --exact -q
    "$WW" rmm unpack one.pkg m - --base "$AMBER/../base" --tensor model.norm.weight >bytes
    [ "$(wc -c <bytes)" = 256 ]
}

@test "a failure is told as JSON whatever bytes were typed" {
    name=$(printf 'r\377')
    : >"$name"
    "$WW" merge r.yml out --report "$name" --json >answer 2>said || true
    jq -e '.error.code == "WW_E_EXISTS" and (.error.text | test("r.xff"))' answer
}

@test "'-' is no folder and no report" {
    make_keys
    refused 2 "'-' is standard output and the output is a folder" "$WW" lock "$AMBER" - --key lock
    cp -r "$AMBER" model
    chmod -R u+w model
    "$WW" sign model --key me.key --tensors --origin -q
    refused 2 "a report is a file of its own" "$WW" verify model --chain --key me.pub --report -
    [ ! -e - ]
}

@test "bash completes commands, words and options" {
    # shellcheck source=/dev/null
    . "$BATS_TEST_DIRNAME/../../tools/completion/weightward"
    # completes WORDS... WANT: what comes of the last word typed
    completes() {
        COMP_WORDS=("$WW" "${@:1:$#-1}")
        COMP_CWORD=$(($# - 1))
        COMPREPLY=()
        _weightward
        echo "${COMPREPLY[*]}"
        [ "${COMPREPLY[*]}" = "${!#}" ]
    }
    completes re recipients
    completes key "" "new show bind split combine"
    completes policy ex explain
    completes lineage r "replay report"
    completes lock --anc --anchor
    completes lock model out --sign- "--sign-passphrase-file --sign-passphrase-fd"
    completes lineage plan --cand --candidate
    completes lock mod "" # names of files are bash's own
}

@test "versions agree" {
    a=$("$WW" --version)
    b=$("$VERIFY" --version)
    [ "${a##* }" = "${b##* }" ]
}

@test "manual pages are clean" {
    mandoc -T lint -W warning "$BATS_TEST_DIRNAME"/../../docs/man/*.1
}

@test "a process that waits for a passphrase leaves no core dump" {
    mkfifo pass
    "$WW" key new lock --out k --passphrase-fd 9 9<>pass &
    pid=$!
    for _ in $(seq 600); do
        limits=$(grep "Max core file size" "/proc/$pid/limits")
        [[ $limits =~ "Max core file size"\ +0\ +0 ]] && break
        sleep 0.05
    done
    kill "$pid"
    [[ $limits =~ "Max core file size"\ +0\ +0 ]]
    [ ! -e k ]
}

@test "what --help names and what the page says are the same options" {
    man=$BATS_TEST_DIRNAME/../../docs/man
    # Each command, and each word of those whose words have options of their own.
    for verb in attack extract inspect key lock merge policy recipients rmm sign trace unlock verify \
        evo\ {search,probe,collect,fit,run,score,serve} \
        lineage\ {decompose,find,index,logits,plan,replay,report,verify}; do
        page=${verb%% *}
        read -ra words <<<"$verb"
        "$WW" "${words[@]}" --help >help
        grep -oE -- '(^|[ ,])--[a-z][a-z-]+' help | grep -oE '[a-z][a-z-]+' | sort -u >"named.$page.${verb#* }"
        grep -oE -- '^ +-[a-zA-Z?]\b' help | grep -oE '[a-zA-Z]' | sed 's/^/short /' >>"named.$page.${verb#* }"
    done
    cat named.lock.* named.unlock.* >named.lock.both
    rm named.unlock.*
    for page in attack extract inspect key lock merge policy recipients rmm sign trace verify evo lineage; do
        cat "named.$page".* | sort -u >named
        {
            grep -oE '\bFl \\?-[a-z][a-z\\-]+' "$man/weightward-$page.1" | sed 's/^Fl \\*-//; s/\\//g'
            grep -oE '^\.It Fl [a-zA-Z]\b' "$man/weightward-$page.1" | sed 's/.* /short /'
        } | sort -u >described
        [ -s named ]
        [ -s described ]
        diff named described
    done
}

# Of the processor, so that other programs may run beside: clocks on the wall say how busy it is.
@test "the program starts fast" {
    limit=50
    if nm "$WW" | grep -q __asan_init; then limit=1000; fi
    TIMEFORMAT='%3U %3S'
    best=$limit
    for _ in 1 2 3 4 5 6 7 8 9 10; do    # the best of ten: caches fill, and processors change their pace
        times=$({ time "$WW" --version >/dev/null; } 2>&1)
        took=$(awk '{printf "%d", 1000 * ($1 + $2)}' <<<"$times")
        [ "$took" -ge "$best" ] || best=$took
    done
    [ "$best" -lt "$limit" ]
}

@test "libraries that are loaded late are named in notes for packagers" {
    readelf -p .note.dlopen "$WW" | grep -o '\[{.*}\]' >notes
    jq -se '(map(.[0].soname[0]) | sort) ==
            ["libcurl.so.4", "libmicrohttpd.so.12", "libopenblas.so.0", "libpq.so.5"] and
            (map(.[0]) | all(.feature != "" and .description != "" and
                             (.priority | test("^(recommended|suggested)$"))))' notes
    [ "$(readelf -nW "$WW" | grep -o 'FDO  *0x[^(]*(0x407c0c0a)' | wc -l)" = 4 ]
}

@test "libraries that few commands need are loaded by those, and named when they are absent" {
    mkdir broken
    touch broken/libcurl.so.4 broken/libpq.so.5 broken/libmicrohttpd.so.12 broken/libopenblas.so.0
    export LD_LIBRARY_PATH=$PWD/broken
    run -0 "$WW" --version
    refused 6 "data bases of servers: the library libpq.so.5 cannot be loaded" \
        "$WW" lineage find postgresql://localhost/x "$AMBER" -q
    for name in a b; do
        echo "  - {name: $name, url: \"http://127.0.0.1:1\", model: m, end: \"</s>\"}"
    done >members
    (echo members: && cat members) >pool.yml
    head -n 2 "$AMBER/../tasks/rev.test.jsonl" >tasks.jsonl
    local absent="products and decompositions of matrices: the library libopenblas.so.0 cannot be loaded"
    refused 6 "$absent" "$WW" extract "$AMBER/../base" "$AMBER" out --rank 4 -q
    printf 'merge_method: wudi\nbase_model: %s\nmodels: [{model: %s}, {model: %s}]\n' \
        "$AMBER/../base" "$AMBER" "$AMBER/../expert-caesar" >wudi.yml
    refused 6 "$absent" "$WW" merge wudi.yml out -q
    # An index without spectra would pass locked models over and say nothing.
    refused 6 "places no locked or permuted model: $absent" "$WW" lineage index cat "$AMBER" -q
    # What an attack reaches is signed with the lock: no weaker one may stand for it.
    "$WW" key new lock --out lock.key --no-passphrase -q
    refused 6 "$absent" "$WW" lock "$AMBER" out --key lock.key --anchor "$AMBER/../base" -q
    [ ! -e out ]
    refused 6 "requests to servers: the library libcurl.so.4 cannot be loaded" \
        "$WW" evo collect pool.yml tasks.jsonl --cache answers
}
