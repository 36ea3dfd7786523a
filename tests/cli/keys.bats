#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Lock keys that are bound, split and put together again.
bats_require_minimum_version 1.5.0
load helper

@test "a passphrase is asked for at the terminal, by one prompt" {
    python3 - "$WW" <<'PY'
import os, pty, sys
pid, tty = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], [sys.argv[1], "key", "new", "lock", "--out", "k"])
said = b""
for end in (b"New passphrase: ", b"New passphrase (again): "):
    while not said.endswith(end):
        said += os.read(tty, 1)
    os.write(tty, b"typed\n")
os.waitpid(pid, 0)
assert said == b"New passphrase: \r\nNew passphrase (again): ", said
PY
    [ -e k ]
}

@test "a key bound to a model locks and unlocks that one only" {
    make_model
    cp -r "$AMBER/../expert-caesar" other
    "$WW" key new lock --out bound --for-model model --no-passphrase -q
    "$WW" lock model locked --key bound -q
    "$WW" unlock locked back --key bound -q
    diff -r model back
    refused 5 "bound to the model 'model', and the weights of 'other' are others" \
        "$WW" lock other out --key bound --json
    [ "$(jq -r .error.code stdout)" = WW_E_KEY ]
    nothing_written out
    # the same 32 bytes, without a binding, lock the other model; the bound file may not undo it
    "$WW" key new lock --out free --no-passphrase -q
    "$WW" key bind free --for-model model --out bound2 --no-passphrase -q
    "$WW" lock other locked2 --key free -q
    refused 5 "bound to the model 'model', and this lock is of 'other'" \
        "$WW" unlock locked2 out --key bound2
    "$WW" unlock locked2 back2 --key free -q
    nothing_written out
}

@test "a key bound to one lock opens that one, and locks nothing" {
    make_model
    "$WW" key new lock --out free --no-passphrase -q
    "$WW" lock model locked --key free -q
    "$WW" lock model scaled --key free --no-scale -q
    "$WW" key bind free --for-model locked --purpose unlock --out handed --no-passphrase -q
    "$WW" unlock locked back --key handed -q
    diff -r model back
    refused 5 "bound to unlocking" "$WW" lock model out --key handed
    "$WW" key bind free --for-model locked --out handed2 --no-passphrase -q
    refused 5 "bound to one lock" "$WW" lock model out --key handed2
    "$WW" key new lock --out up --purpose lock --no-passphrase -q
    "$WW" lock model locked3 --key up -q
    refused 5 "bound to locking" "$WW" unlock locked3 out --key up
    refused 2 "purpose takes any, lock or unlock, not 'both'" "$WW" key new lock --out x --purpose both --no-passphrase
    refused 2 "bind needs" "$WW" key bind free --out x --no-passphrase
    nothing_written out
}

@test "any number of recipients can be named, a signing key cannot" {
    make_model
    to=()
    for i in $(seq 70); do
        "$WW" key new recipient --out "r$i" --no-passphrase -q
        to+=(--to "r$i.pub")
    done
    "$WW" key new lock --out team "${to[@]}" -q
    "$WW" lock model locked --key team --open-with r70.key -q
    "$WW" unlock locked back --key team --open-with r1.key -q
    diff -r model back
    "$WW" key new signing --out me --no-passphrase -q
    refused 5 "signing key" "$WW" key new lock --out x --to me.pub
    [ ! -e x ]
}

@test "three of five holders give the key back" {
    make_model
    make_keys
    to=()
    for i in 1 2 3 4 5; do
        "$WW" key new recipient --out "h$i" --no-passphrase -q
        to+=(--to "h$i.pub")
    done
    "$WW" lock model locked --key lock -q
    "$WW" key split lock --shares 5 --threshold 3 --out s "${to[@]}" --sign me.key -q
    "$WW" key show s-2.share | grep -q "share 2 of 5, any 3"
    "$WW" key combine s-5.share s-1.share s-3.share --open-with h1.key --open-with h3.key \
        --open-with h5.key --signed-by me.pub --out again --no-passphrase -q
    "$WW" unlock locked back --key again -q
    diff -r model back

    refused 5 "2 of 5 shares given, 3 are needed" "$WW" key combine s-1.share s-2.share \
        --open-with h1.key --open-with h2.key --out x --no-passphrase --json
    [ "$(jq -r .error.code stdout)" = WW_E_SHARES ]
    refused 5 "same share" "$WW" key combine s-1.share s-2.share s-1.share --out x
    refused 5 "none of them" "$WW" key combine s-1.share s-2.share s-3.share \
        --open-with h1.key --open-with h2.key --open-with h4.key --out x --no-passphrase
    "$WW" key new lock --out lock2 --no-passphrase -q
    "$WW" key split lock2 --shares 3 --threshold 2 --out t --no-passphrase -q
    refused 5 "two keys" "$WW" key combine t-1.share s-2.share --out x --no-passphrase
    refused 1 "not signed" "$WW" key combine t-1.share t-2.share --signed-by me.pub --out x \
        --no-passphrase
    flip t-2.share 300
    refused 5 "damaged" "$WW" key combine t-1.share t-2.share --out x --no-passphrase
    cp t-3.share t-9.share
    printf '\002' | dd of=t-9.share bs=1 seek=20 conv=notrunc status=none
    refused 6 "version 2" "$WW" key combine t-1.share t-9.share --out x --no-passphrase
    [ ! -e x ]
}

@test "shares keep what the key is bound to, and passphrases open them" {
    make_model
    for word in one two three; do
        echo "$word" >"$word.pass"
    done
    "$WW" key new lock --out bound --for-model model --passphrase-file one.pass -q
    refused 5 "passphrase" "$WW" key split bound --shares 3 --threshold 2 --out s </dev/null
    "$WW" key split bound --shares 3 --threshold 2 --out s --key-passphrase-file one.pass \
        --share-passphrase-file one.pass --share-passphrase-file two.pass \
        --share-passphrase-file three.pass -q
    "$WW" key combine s-3.share s-2.share --share-passphrase-file two.pass \
        --share-passphrase-file three.pass --out again --no-passphrase -q
    cp -r "$AMBER/../expert-caesar" other
    refused 5 "bound to the model 'model'" "$WW" lock other out --key again
    "$WW" lock model locked --key again -q
    refused 2 "split needs" "$WW" key split again --out u
    refused 2 "K from 2 to N" "$WW" key split none --out u --shares 3 --threshold 4
    refused 2 "'key show' does nothing with --signed-by" "$WW" key show again --signed-by me.pub
    refused 2 "'key combine' does nothing with --sign;" "$WW" key combine a b --out u --sign me.key
    refused 2 "'key new lock' does nothing with --shares" "$WW" key new lock --out u --shares 3 --threshold 2
    refused 2 "sealed in one way" "$WW" key new lock --out u --no-passphrase --passphrase-file pass
    [ ! -e u ]
    refused 2 "one for each" "$WW" key split again --shares 3 --threshold 2 --out u \
        --share-passphrase-file one.pass --share-passphrase-file two.pass
    nothing_written out
}
