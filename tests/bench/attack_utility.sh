#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# attack_utility.sh BUILD [ROWS [KIND...]]: what locks and attacks do to a merge, on the bundled
# models. U is the largest over lambda of the smaller of the two task scores (exact match,
# greedy) of base + lambda ((rev - base) + (caesar - base)), with expert-rev as it is,
# locked, or attacked after the lock. Also the solo score of each file on rev.
set -eu
build=$1
rows=${2:-128}
[ $# -lt 2 ] || shift
shift
kinds=$*
amber=$(dirname "$0")/../vectors/amber
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
lambdas="0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 1.0"

# Answers right, of so many rows.
score() {
    "$build/task_score" "$1" "$amber/tasks/$2.test.jsonl" --rows "$rows" |
        sed 's/.*(\([0-9]*\) of.*/\1/'
}
# row NAME MODEL: U and where, and the solo score.
row() {
    best=-1
    for lambda in $lambdas; do
        rm -rf "$work/merged"
        "$build/add_tasks" "$amber/base" "$2" "$amber/expert-caesar" "$lambda" "$work/merged"
        rev=$(score "$work/merged" rev)
        caesar=$(score "$work/merged" caesar)
        least=$([ "$rev" -lt "$caesar" ] && echo "$rev" || echo "$caesar")
        if [ "$least" -gt "$best" ]; then
            best=$least
            at=$lambda
        fi
    done
    awk -v name="$1" -v u="$best" -v at="$at" -v solo="$(score "$2" rev)" -v n="$rows" \
        'BEGIN { printf "%-44s U %5.1f %%  at %s   solo rev %5.1f %%\n", name, 100 * u / n, at, 100 * solo / n }'
}
attack() {
    "$build/weightward" attack "$work/$1" "$work/$2" --anchor "$amber/$3" --mode "$4" -q
}

"$build/weightward" key new lock --out "$work/key" --no-passphrase -q
locked() {
    name=$1
    shift
    "$build/weightward" lock "$amber/expert-rev" "$work/$name" --key "$work/key" -q "$@"
}
make() {
    case $1 in
    exact) locked exact ;;
    scale) locked scale --scale ;;
    dense) locked dense --level dense ;;
    orthogonal) "$build/merge_lock" "$amber/expert-rev" "$work/$1" 1 3 ;;
    condition4) "$build/merge_lock" "$amber/expert-rev" "$work/$1" 4 3 ;;
    esac
}

rev=$(score "$amber/base" rev)
caesar=$(score "$amber/base" caesar)
echo "base alone: rev $rev, caesar $caesar of $rows rows"
row "unlocked" "$amber/expert-rev"
for kind in ${kinds:-exact scale dense orthogonal condition4}; do
    make "$kind"
    row "locked: $kind" "$work/$kind"
    attack "$kind" "$kind-base" base joint
    row "  joint, anchor base" "$work/$kind-base"
    attack "$kind" "$kind-sibling" expert-caesar joint
    row "  joint, anchor sibling" "$work/$kind-sibling"
    attack "$kind" "$kind-aga" base aga
    row "  aga, anchor base" "$work/$kind-aga"
done
