# SPDX-License-Identifier: Apache-2.0
# Merges of the two bundled experts, and the recipe that their weights give away.
family=$BATS_TEST_DIRNAME/../vectors/amber

# recipe METHOD WEIGHT WEIGHT [LINE]: the two experts; LINE is one more of the whole.
recipe() {
    cat <<EOF
merge_method: $1
base_model: $family/base
models:
  - model: $family/expert-rev
    parameters: {weight: $2, density: 0.6}
  - model: $family/expert-caesar
    parameters: {weight: $3, density: 0.6}
${4:-}
dtype: float32
out_dtype: bfloat16
EOF
}
merged() {
    recipe "$@" >recipe.yml
    "$WW" merge recipe.yml suspect -q
}
infer() {
    "$WW" lineage replay suspect --base "$family/base" --candidate "$family/expert-rev" \
        --candidate "$family/expert-caesar" -q "$@"
}
