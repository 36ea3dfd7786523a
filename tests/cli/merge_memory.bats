#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Elementwise methods on a model with an embedding of 152k words (260 MiB in one
# tensor): in a control group of 512 MiB, page cache and all, or where there is none to be
# had with 768 MiB of address space; at most 384 MiB resident.
bats_require_minimum_version 1.5.0
load helper

MOST_KIB=393216
GROUP=

setup_file() {
    cd "$BATS_FILE_TMPDIR" || return 1
    "$WW_BIN/make_model" wide base
    "$WW_BIN/perturb_model" base one 0.02 1
    "$WW_BIN/perturb_model" base two 0.02 2
}

# A control group of either version; empty: none.
setup() {
    cd "$BATS_FILE_TMPDIR" || return 1
    umask 077
    local place
    for place in /sys/fs/cgroup/memory /sys/fs/cgroup; do
        if mkdir "$place/weightward-test-$$" 2>/dev/null; then
            GROUP=$place/weightward-test-$$
            if echo $((512 << 20)) 2>/dev/null >"$GROUP/memory.limit_in_bytes" ||
                echo $((512 << 20)) 2>/dev/null >"$GROUP/memory.max"; then
                return 0
            fi
            rmdir "$GROUP"
            GROUP=
        fi
    done
}
teardown() {
    [ -z "$GROUP" ] || rmdir "$GROUP"
}

# recipe METHOD: every parameter that it must have, and those that make it work.
recipe() {
    local method=$1
    echo "merge_method: $method"
    echo "dtype: bfloat16"
    case $method in
    passthrough) printf 'models:\n  - {model: one}\n' && return ;;
    slerp | nuslerp | nearswap | arcee_fusion | linear | mwa | karcher | geometric_median | multislerp) ;;
    *) echo "base_model: base" ;;
    esac
    case $method in
    slerp | nearswap | arcee_fusion) echo "base_model: one" ;;
    esac
    case $method in
    slerp) echo "parameters: {t: 0.4}" ;;
    nearswap) echo "parameters: {t: 0.001}" ;;
    esac
    echo "models:"
    case $method in
    slerp) echo "  - {model: one}" ;;
    nearswap | arcee_fusion) ;;
    mwa) echo "  - {model: one, parameters: {metric: 2.5}}" ;;
    *) echo "  - {model: one, parameters: {weight: 0.5, density: 0.5, gamma: 0.01, epsilon: 0.1}}" ;;
    esac
    case $method in
    mwa) echo "  - {model: two, parameters: {metric: 2.4}}" ;;
    *) echo "  - {model: two, parameters: {weight: 0.6, density: 0.4, gamma: 0.01, epsilon: 0.1}}" ;;
    esac
}

within_limits() {
    local used
    rm -rf out
    if [ -n "$GROUP" ]; then
        (echo "$BASHPID" >"$GROUP/cgroup.procs" && exec /usr/bin/time -f %M -o used "$@")
    else
        (ulimit -v 786432 && exec /usr/bin/time -f %M -o used "$@")
    fi || return 1
    used=$(tail -n 1 used)
    echo "$used KiB: $*"
    [ "$used" -le $MOST_KIB ]
}

one_method() {
    recipe "$1" >recipe.yml
    within_limits "$WW" merge recipe.yml out -q --no-source-trees
}

# One of each kind; all of them take minutes: WW_ALL_METHODS=1.
@test "methods of every kind" {
    local methods="task_arithmetic ties della slerp"
    [ -z "${WW_ALL_METHODS:-}" ] || methods="linear passthrough task_arithmetic magmax ram ramplus_tl
        nearswap consensus ties dare_linear dare_ties breadcrumbs breadcrumbs_ties della
        della_linear sce compeft arcee_fusion slerp nuslerp multislerp karcher model_stock
        geometric_median mwa emr pcb widen"
    for m in $methods; do
        one_method "$m"
    done
}

@test "an adapter that carries the embedding whole" {
    within_limits "$WW" extract base one out --rank 16 -q
    jq -e '.modules_to_save != null' out/adapter_config.json
}

# A matrix of 152k rows that is decomposed as it is read, and never held.
@test "factors of a head of its own" {
    [ -n "${WW_ALL_METHODS:-}" ] || skip "minutes: WW_ALL_METHODS=1"
    "$WW_BIN/make_model" headed headed
    "$WW_BIN/perturb_model" headed headed-one 0.02 1
    within_limits "$WW" extract headed headed-one out --rank 128 -q
    jq -e '.target_modules | index("lm_head")' out/adapter_config.json
    rm -rf headed headed-one
}

# Twice as many inputs. Zeros stand for Fisher diagonals, which may not be negative.
@test "methods with imported statistics" {
    cat >zeros.yml <<'YML'
merge_method: linear
dtype: bfloat16
parameters: {normalize: false}
models:
  - {model: one, parameters: {weight: 1}}
  - {model: ./one, parameters: {weight: -1}}
YML
    rm -rf zeros
    "$WW" merge zeros.yml zeros -q --no-source-trees
    cat >recipe.yml <<'YML'
merge_method: fisher
dtype: bfloat16
models:
  - {model: one, statistics: zeros}
  - {model: two, statistics: zeros}
YML
    within_limits "$WW" merge recipe.yml out -q --no-source-trees
    sed -e 's/fisher/masks/' -e 's/statistics: zeros/statistics: two/' \
        -e '1a base_model: base' recipe.yml >masks.yml
    within_limits "$WW" merge masks.yml out -q --no-source-trees
}

@test "trees of the sources, a signature, a locked source and a locked output" {
    recipe task_arithmetic >recipe.yml
    "$WW" key new signing --out me --no-passphrase -q
    "$WW" key new lock --out key --no-passphrase -q
    "$WW" lock two locked --key key -q
    within_limits "$WW" merge recipe.yml out --sign me.key -q
    sed 's/model: two/model: locked/' recipe.yml >r.yml
    within_limits "$WW" merge r.yml out --unlock-with key --lock key -q
}
