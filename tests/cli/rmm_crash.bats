#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Packages whose writing is cut off, disks that are full, and damage at every place.
bats_require_minimum_version 1.5.0
load helper

FAMILY=$BATS_TEST_DIRNAME/../vectors/amber

teardown() {
    umount small 2>/dev/null || true
}

# kill_at MOMENTS COMMAND...: run and kill it after each of these times; how often it was
# caught alive goes to the file caught.
kill_at() {
    local moments=$1 moment status
    shift
    echo 0 >caught
    for moment in $moments; do
        reset_files
        status=0
        killed_after "$moment" "$@" -q || status=$?
        [ "$status" = 137 ] || [ "$status" = 0 ]
        if [ "$status" = 137 ]; then
            echo $(($(cat caught) + 1)) >caught
        fi
        check_files
    done
    echo "caught $(cat caught) times"
    [ "$(cat caught)" -gt 0 ]
}

MOMENTS="0.002 0.005 0.01 0.015 0.02 0.03 0.04 0.06"

make_package() {
    "$WW" key new recipient --out ann --no-passphrase -q
    "$WW" rmm pack p.pkg rev="$FAMILY/expert-rev" caesar="$FAMILY/expert-caesar" --exact \
        --base "$FAMILY/base" --to rev=ann.pub -q
    cp p.pkg whole.pkg
}

@test "a pack that is killed leaves no package, and the next one works" {
    reset_files() { rm -f x.pkg; }
    check_files() {
        [ ! -e x.pkg ] || "$WW" rmm verify x.pkg --base "$FAMILY/base" -q
    }
    kill_at "$MOMENTS" "$WW" rmm pack x.pkg rev="$FAMILY/expert-rev" \
        caesar="$FAMILY/expert-caesar" --exact --base "$FAMILY/base"
    rm -f x.pkg
    "$WW" rmm pack x.pkg rev="$FAMILY/expert-rev" --exact --base "$FAMILY/base" -q
    "$WW" rmm verify x.pkg --base "$FAMILY/base" -q
    [ ! -e x.pkg.partial ]
}

@test "of two that write a package at once one is told so, and it stays whole" {
    local form k busy="is being written by another run"
    for form in "" --folder; do
        rm -rf q.pkg codes
        "$WW" rmm pack q.pkg m0="$FAMILY/expert-rev" --exact -q $form
        for k in 1 2 3 4; do
            (
                status=0
                "$WW" rmm add q.pkg m$k="$FAMILY/expert-rev" --exact -q 2>told$k || status=$?
                [ "$status" = 0 ] || grep -qE "$busy|changed while it was read|the version after it" told$k || status=99
                echo "$status" >>codes
            ) &
        done
        wait
        run ! grep -q 99 codes
        "$WW" rmm verify q.pkg -q
        k=$("$WW" rmm list q.pkg --json | jq '.members | length')
        [ "$k" -gt 1 ]
    done
    # Whose file is locked is at work; one that is not was left.
    : >q.pkg.partial
    refused 4 "$busy" flock q.pkg.partial "$WW" rmm add q.pkg last="$FAMILY/expert-rev" --exact
    refused 4 "$busy" flock q.pkg.partial "$WW" rmm drop q.pkg m0
    [ -e q.pkg.partial ]
    "$WW" rmm add q.pkg last="$FAMILY/expert-rev" --exact -q
    [ ! -e q.pkg.partial ]
}

@test "add and drop that are killed leave the old package or the new one" {
    once make_package
    reset_files() { cp whole.pkg p.pkg; }
    check_files() {
        local version
        "$WW" rmm verify p.pkg --base "$FAMILY/base" --open-with ann.key --json >v.json
        version=$(jq .version v.json)
        [ "$version" = 2 ] || cmp p.pkg whole.pkg
    }
    kill_at "$MOMENTS" "$WW" rmm add p.pkg two="$FAMILY/expert-rev" --exact --base "$FAMILY/base"
    kill_at "0.001 0.002 0.003 0.004 0.005 0.006 0.008" "$WW" rmm drop p.pkg caesar
    reset_files
    "$WW" rmm drop p.pkg caesar -q
    "$WW" rmm verify p.pkg --base "$FAMILY/base" --open-with ann.key -q
}

@test "an unpack that is killed leaves no folder of that name that is not whole" {
    once make_package
    reset_files() { rm -rf out out.partial; }
    check_files() { [ ! -e out ] || diff -r "$FAMILY/expert-caesar" out; }
    kill_at "$MOMENTS" "$WW" rmm unpack p.pkg caesar out --base "$FAMILY/base"
    reset_files
    mkdir out.partial
    refused 4 "takes --resume" "$WW" rmm unpack p.pkg caesar out --base "$FAMILY/base"
    "$WW" rmm unpack p.pkg caesar out --base "$FAMILY/base" -q --resume
    diff -r "$FAMILY/expert-caesar" out
}

# full COMMAND...: it fails for want of room, and nothing is left in small but what was there.
full() {
    local status=0
    ls -A small >before
    "$@" 2>stderr || status=$?
    cat stderr
    [ "$status" = 4 ]
    grep -qi "disk\|space\|large" stderr
    ls -A small | diff before -
}

@test "on a full disk pack, add, drop and unpack fail and leave what was there" {
    once make_package
    mkdir small
    mount -t tmpfs -o size=1200k tmpfs small 2>/dev/null || skip "needs the right to mount"
    cp p.pkg small/p.pkg # 960 KiB
    full "$WW" rmm pack small/x.pkg rev="$FAMILY/expert-rev" --exact --base "$FAMILY/base"
    full "$WW" rmm add small/p.pkg two="$FAMILY/expert-rev" --exact --base "$FAMILY/base"
    full "$WW" rmm drop small/p.pkg caesar
    full "$WW" rmm unpack p.pkg caesar small/out --base "$FAMILY/base"
    full "$WW" rmm mix p.pkg small/out --weight caesar=0.5 --base "$FAMILY/base"
    cmp p.pkg small/p.pkg
}

@test "files that may not grow any further are errors, and nothing is left" {
    once make_package
    for words in "pack x.pkg rev=$FAMILY/expert-rev --exact --base $FAMILY/base" \
        "add p.pkg two=$FAMILY/expert-rev --exact --base $FAMILY/base" "drop p.pkg caesar" \
        "unpack p.pkg caesar out --base $FAMILY/base"; do
        status=0
        # shellcheck disable=SC2086
        (ulimit -f 400 && trap '' XFSZ && "$WW" rmm $words 2>stderr) || status=$?
        cat stderr
        [ "$status" = 4 ]
        nothing_written x.pkg
        nothing_written out
        cmp p.pkg whole.pkg
    done
}

# What a package is made of: head, sections plain and sealed, manifest, bundle, keys.
@test "every part of a package is missed when it is cut and found when it is changed" {
    once make_package
    "$WW" key new signing --out me --no-passphrase -q
    "$WW" rmm drop p.pkg caesar -q
    "$WW" rmm add p.pkg caesar="$FAMILY/expert-caesar" --error 0.5 --base "$FAMILY/base" \
        --sign me.key -q
    python3 - p.pkg "$FAMILY" "$WW" <<'PY'
import json, struct, subprocess, sys
path, family, ww = sys.argv[1:]
whole = open(path, "rb").read()
offset, length, bundle, keys = struct.unpack("<4Q", whole[24:56])
members = json.loads(subprocess.run([ww, "rmm", "list", path, "--json"], stdout=subprocess.PIPE,
                                    check=True).stdout)["members"]
places = {"head": [0, 17, 30, 60, 100, 127], "manifest": [offset, offset + length // 2],
          "bundle": [offset + length + 5, offset + length + bundle - 2],
          "keys": [offset + length + bundle + 6, offset + length + bundle + keys - 1]}
at = 128
for m in members:
    places["section of " + m["name"]] = [at, at + m["bytes"] // 2, at + m["bytes"] - 20,
                                         at + m["bytes"] - 1]
    at += -(-m["bytes"] // 16) * 16
assert at == offset

def verify(data):
    open("bad.pkg", "wb").write(data)
    return subprocess.run([ww, "rmm", "verify", "bad.pkg", "--key", "me.pub", "-q"],
                          capture_output=True).returncode

def restore(data):
    """By a reader that checks no section beforehand."""
    open("bad.pkg", "wb").write(data)
    codes = []
    for m in members:
        done = subprocess.run([ww, "rmm", "unpack", "bad.pkg", m["name"], "got", "--base",
                               family + "/base", "--open-with", "ann.key", "-q"], capture_output=True)
        codes.append(done.returncode)
        if done.returncode == 0:
            subprocess.run(["rm", "-r", "got"], check=True)
    return codes

assert verify(whole) == 0 and restore(whole) == [0, 0]
for name, at in places.items():
    for place in at:
        flipped = bytearray(whole)
        flipped[place] ^= 0x10
        # keys are outside of the signature: the head's digest covers them; 6: its version
        assert verify(flipped) in (1, 3, 6), (name, place, verify(flipped))
        codes = restore(flipped)
        assert 0 not in codes if "section" not in name else codes.count(0) == 1, (name, place, codes)
        assert all(c in (0, 1, 3, 5, 6) for c in codes), (name, place, codes)
    cut = whole[:at[-1]]
    assert verify(cut) == 3 and set(restore(cut)) == {3}, name
print(sum(len(v) for v in places.values()), "places")
PY
}
