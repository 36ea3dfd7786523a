# SPDX-License-Identifier: Apache-2.0
# Shared by the bats files: programs, a small model, keys, and run helpers.
# WW_BIN is the build folder; ctest sets it.
WW=$WW_BIN/weightward
VERIFY=$WW_BIN/weightward-verify
AMBER=$BATS_TEST_DIRNAME/../vectors/amber/expert-rev

new_folder() {
    cd "$BATS_TEST_TMPDIR" || return 1
    umask 077
}
setup() {
    new_folder
}

# The bundled base and its two experts, to be changed, in this folder.
copy_family() {
    cp -r "$AMBER"/../{base,expert-rev,expert-caesar} .
    chmod -R u+w .
}
# A copy that may be damaged, and an unsealed pair of keys.
make_model() {
    cp -r "$AMBER" model
    chmod -R u+w model
}
make_keys() {
    "$WW" key new signing --out me --no-passphrase -q
    "$WW" key new lock --out lock --no-passphrase -q
}
make_locked() {
    make_model
    make_keys
    "$WW" lock model locked --key lock --sign me.key -q
}

# killed_after SECONDS COMMAND...: its status, 137 where it was still there to be killed. Nothing of it is
# left then; timeout(1) kills itself too, and a lock may be held a moment longer.
killed_after() {
    local seconds=$1
    shift
    "$@" 3>&- &
    sleep "$seconds"
    kill -KILL $! 2>/dev/null || true
    wait $!
}

# once COMMAND...: what it makes in this folder, made for the first test of the file that asks
# and copied for the others.
once() {
    local made
    made=$BATS_FILE_TMPDIR/$(cksum <<<"$*" | cut -d' ' -f1)
    if [ ! -e "$made.done" ]; then
        rm -rf "$made" # of a test that failed on the way
        mkdir "$made"
        (
            cd "$made"
            "$@"
        )
        touch "$made.done"
    fi
    cp -r "$made/." .
}

# refused STATUS PATTERN COMMAND...: exit status, and the text on stderr.
refused() {
    local want=$1 pattern=$2
    shift 2
    local status=0
    "$@" >stdout 2>stderr || status=$?
    if [ "$status" != "$want" ]; then
        echo "status $status, want $want: $*"
        cat stderr
        return 1
    fi
    if ! grep -qE -- "$pattern" stderr; then
        echo "no '$pattern' in:"
        cat stderr
        return 1
    fi
    # one sentence for people: a single line, no control characters
    [ "$(wc -l <stderr)" -le 2 ]
    ! grep -qP '[\x00-\x08\x0b-\x1f]' stderr
}
nothing_written() {
    [ ! -e "$1" ] && [ ! -e "$1.partial" ]
}

# Change one byte of a file by adding 1.
flip() {
    local byte
    byte=$(od -An -tu1 -j"$2" -N1 "$1" | tr -d ' ')
    printf "\\$(printf '%03o' $(((byte + 1) % 256)))" |
        dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# safetensors FILE JSON BYTES: a file of that header and so many zero bytes.
safetensors() {
    python3 - "$1" "$2" "$3" <<'PY'
import struct, sys
path, header, zeros = sys.argv[1], sys.argv[2].encode(), int(sys.argv[3])
with open(path, "wb") as f:
    f.write(struct.pack("<Q", len(header)) + header + bytes(zeros))
PY
}

# make_root FILE VERSION THRESHOLD KEY1 KEY2 [POLICY [REVOKED]]: both keys may sign
# everything; KEY1 is owner and writes policies, KEY2 is partner and approver. REVOKED is a
# JSON list.
make_root() {
    jq -n --arg v "$2" --arg t "$3" --rawfile p1 "$4.pub" --rawfile p2 "$5.pub" \
        --arg i1 "$("$WW" key show "$4.pub" --json | jq -r .id)" \
        --arg i2 "$("$WW" key show "$5.pub" --json | jq -r .id)" \
        --argjson revoked "${7:-[]}" \
        --arg pid "${6:+$(jq -r .id "$6")}" --arg pv "${6:+$(jq -r .version "$6")}" \
        --arg ps "${6:+$(sha256sum <"$6" | cut -d' ' -f1)}" '
        ["root", "policy", "request", "approval"] as $kinds |
        (($kinds | map("application/vnd.weightward." + . + "+json")) +
            ["application/vnd.in-toto+json"]) as $all |
        {type: "weightward.root/1", version: $v, issued: "2026-01-01T00:00:00Z",
         expires: "2099-01-01T00:00:00Z",
         keys: {($i1): {pem: $p1, may_sign: $all}, ($i2): {pem: $p2, may_sign: $all}},
         roles: {root: {keyids: [$i1, $i2], threshold: $t},
                 policy: {keyids: [$i1], threshold: "1"},
                 owner: {keyids: [$i1], threshold: "1"},
                 partner: {keyids: [$i2], threshold: "1"},
                 approver: {keyids: [$i2], threshold: "1"}},
         policies: (if $pid == "" then [] else [{id: $pid, version: $pv, sha256: $ps}] end),
         revoked: $revoked}' >"$1"
}
