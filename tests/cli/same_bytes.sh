#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# same_bytes.sh PROGRAM VECTORS [THREADS]: digests of what must be the same on every machine,
# a line for each, as tests/vectors/same-bytes.sha256 has them. Run in an empty folder. Needs
# nothing but the program, so that it can be carried to another machine:
#
#     sh same_bytes.sh ./weightward vectors 16 | diff vectors/same-bytes.sha256 -
#
# Every merge method that is not labelled as equal within a tolerance, with results in BF16 and
# in F32; adapters folded in; locks of one key; findings of lineage. A new member of the findings
# changes their line: they are left here as `findings`, to be compared with those of the program
# before it.
set -eu
ww=$1
vectors=$2
how="--threads ${3:-2} -q"

# By names that are the same everywhere, since findings state them.
for model in base expert-rev expert-caesar; do
    ln -s "$vectors/amber/$model" "$model"
done
(umask 077 && cat "$vectors/lock/disguise.key" >key)

# digest NAME FILE
digest() {
    sum=$(sha256sum <"$2")
    echo "${sum%% *}  $1"
}

# recipe METHOD DTYPE: of siblings, and of the base too where a method takes no other.
recipe() {
    names="expert-rev expert-caesar"
    base="base_model: base"
    own="weight: 0.7, density: 0.4, gamma: 0.05, epsilon: 0.1"
    case $1 in
    linear | mwa | karcher | geometric_median) names="expert-rev expert-caesar base" base= ;;
    passthrough) names=expert-rev base= own="scale: 1.1" ;;
    slerp) names=expert-rev own="t: 0.3" ;;
    nearswap) names=expert-rev own="t: 1e-4" ;;
    arcee_fusion) names=expert-rev ;;
    esac
    printf 'merge_method: %s\ndtype: float32\nout_dtype: %s\n%s\n' "$1" "$2" "$base"
    case $own in
    t:*) echo "parameters: {$own}" && own= ;;
    esac
    echo "models:"
    more=3
    for name in $names; do
        echo "  - {model: $name, parameters: {${own:+$own, }metric: 0.$more}}"
        more=$((more + 2))
    done
}

# merge METHOD DTYPE
merge() {
    recipe "$1" "$2" >recipe.yml
    "$ww" merge recipe.yml out --no-source-trees $how
    digest "merge $1 $2" out/model.safetensors
    rm -rf out
}

for method in arcee_fusion breadcrumbs breadcrumbs_ties compeft consensus dare_linear dare_ties della della_linear \
    emr geometric_median karcher linear magmax model_stock multislerp mwa nearswap nuslerp passthrough pcb ram \
    ramplus_tl sce slerp swudi task_arithmetic ties widen; do
    merge "$method" float32
done
# Sums, selections and inner products of BF16 have kernels of their own.
for method in della linear model_stock passthrough slerp task_arithmetic ties; do
    merge "$method" bfloat16
done

"$ww" lock expert-rev locked --key key $how
digest "lock" locked/model.safetensors
recipe task_arithmetic bfloat16 >recipe.yml
"$ww" merge recipe.yml suspect --no-source-trees $how
"$ww" lineage decompose suspect --base base --candidate expert-rev --candidate expert-caesar \
    --json $how | grep -v '"seconds"' >findings
digest "findings" findings
