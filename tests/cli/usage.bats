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
}

@test "an error with --json is one object on stdout" {
    status=0
    "$WW" inspect nowhere --json >answer 2>stderr || status=$?
    [ "$status" = 4 ]
    jq -e '.schema == "weightward.inspect/1" and .error.class == "system" and
           (.error.text | length) > 0' answer
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
    sleep 0.5
    limits=$(grep "Max core file size" "/proc/$pid/limits")
    kill "$pid"
    [[ $limits =~ "Max core file size"\ +0\ +0 ]]
    [ ! -e k ]
}

@test "the program starts fast" {
    limit=50
    if nm "$WW" | grep -q __asan_init; then limit=1000; fi
    best=$limit
    for _ in 1 2 3 4 5 6 7 8 9 10; do    # the best of ten: other programs run beside
        a=$(date +%s%N)
        "$WW" --version >/dev/null
        took=$((($(date +%s%N) - a) / 1000000))
        [ "$took" -ge "$best" ] || best=$took
    done
    [ "$best" -lt "$limit" ]
}
