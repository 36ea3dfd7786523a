#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# merge_quality.sh BUILD FAMILY ROWS MODEL:TASK...: what merges of fine-tunes of one base can do.
#
# FAMILY holds base, the models and tasks/TASK.test.jsonl, and TASK.valid.jsonl where lambda is to
# be chosen on other rows than those that are scored. Each method runs with five values of lambda;
# the one with the best worst task counts. Exact match, one line a method. METHODS: a regular
# expression that chooses lines of the table below.
set -eu
build=$1
family=$(realpath "$2")
rows=$3
shift 3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Method, other parameters, values of lambda. Sums over sources get smaller ones.
methods() {
    cat <<'END'
task_arithmetic "weight":1 0.3 0.4 0.5 0.6 0.8
ties "weight":1,"density":0.2 0.5 0.7 0.9 1.1 1.3
ties "weight":1,"density":0.5 0.5 0.7 0.9 1.1 1.3
pcb "pcb_ratio":0.1 0.8 1.0 1.2 1.6 2.0
pcb "pcb_ratio":0.5 0.6 0.8 1.0 1.2 1.6
consensus "k":1 0.3 0.4 0.5 0.6 0.8
widen "above_average":1 0.3 0.4 0.5 0.6 0.8
emr "task":0 0.3 0.4 0.5 0.6 0.8
tsv_m "weight":1 0.4 0.6 0.8 1.0 1.2
iso_c "weight":1 0.4 0.6 0.8 1.0 1.2
swudi "start_sum":0 0.6 0.8 1.0 1.2 1.5
swudi "start_sum":1 0.4 0.5 0.6 0.8 1.0
wudi_flow "start_sum":0 0.6 0.8 1.0 1.2 1.5
opcm "alpha":0.5 0.6 0.8 1.0 1.2 1.5
svc "alpha":0.1 0.4 0.5 0.6 0.8 1.0
END
}

merge() { # folder, method, parameters, lambda, MODEL:TASK...
    out=$1
    head="merge_method: $2\nbase_model: $family/base\nparameters: {$3,\"lambda\":$4}\n"
    shift 4
    {
        printf '%b' "${head}dtype: float32\nout_dtype: bfloat16\nmodels:\n"
        for pair; do
            printf '  - model: %s/%s\n' "$family" "${pair%%:*}"
        done
    } >"$work/recipe.yml"
    rm -rf "$out"
    "$build/weightward" merge "$work/recipe.yml" "$out" --quiet >"$work/log" 2>&1 || {
        cat "$work/log" >&2
        exit 1
    }
}

scores() { # folder, part, MODEL:TASK...: right answers of each task
    model=$1
    part=$2
    shift 2
    for pair; do
        tasks=$family/tasks/${pair#*:}
        [ -e "$tasks.$part.jsonl" ] || part='test'
        "$build/task_score" "$model" "$tasks.$part.jsonl" --rows "$rows" |
            sed 's/.*(\([0-9]*\) of.*/\1/'
    done | tr '\n' ' '
}

worst() { # of the arguments
    printf '%s\n' "$@" | sort -n | head -1
}

methods | grep -E "${METHODS:-.}" | while read -r method parameters lambdas; do
    best=-1
    for lambda in $lambdas; do
        merge "$work/out" "$method" "$parameters" "$lambda" "$@"
        # shellcheck disable=SC2046
        least=$(worst $(scores "$work/out" valid "$@"))
        if [ "$least" -gt "$best" ]; then
            best=$least
            kept=$lambda
            rm -rf "$work/best"
            mv "$work/out" "$work/best"
        fi
    done
    scores "$work/best" test "$@" |
        awk -v name="$method" -v with="$parameters" -v at="$kept" -v n="$rows" '{
            least = $1
            for (i = 1; i <= NF; i++) { sum += $i; least = $i < least ? $i : least }
            printf "%-16s %-28s lambda %.1f  worst %5.1f %%  mean %5.1f %%  ", name, with, at,
                100 * least / n, 100 * sum / n / NF
            for (i = 1; i <= NF; i++) { printf " %5.1f", 100 * $i / n }
            print ""
        }'
done
