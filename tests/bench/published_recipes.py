# SPDX-License-Identifier: Apache-2.0
"""Recipes in the forms in which people publish them on model cards, for merge_published.py.

Models are named KIND: `base`, the fine-tunes `chat`, `code` and `maths`, `role` with words of its own,
`tongue` with another tokenizer, and the adapter `lora`; each recipe is for one family.
"""

# (name, family, recipe)
RECIPES = []


def add(family, name, text):
    RECIPES.append((name, family, text.lstrip("\n")))


# --- two models on an arc
add("mistral", "slerp of layers with attention and MLP apart", """
slices:
  - sources:
      - model: base
        layer_range: [0, 6]
      - model: chat
        layer_range: [0, 6]
merge_method: slerp
base_model: base
parameters:
  t:
    - filter: self_attn
      value: [0, 0.5, 0.3, 0.7, 1]
    - filter: mlp
      value: [1, 0.5, 0.7, 0.3, 0]
    - value: 0.5
dtype: bfloat16
""")
add("llama", "slerp with embed_slerp", """
models:
  - model: chat
  - model: code
merge_method: slerp
base_model: chat
dtype: float32
parameters:
  t: [0, 0.5, 1, 0.5, 0] # V shaped curve
  embed_slerp: true
""")
add("qwen2", "slerp, t as one number", """
merge_method: slerp
base_model: chat
models:
  - model: maths
parameters:
  t: 0.35
tokenizer_source: base
dtype: bfloat16
""")
add("gemma2", "slerp with filters for norms", """
slices:
- sources:
  - {model: chat, layer_range: [0, 6]}
  - {model: code, layer_range: [0, 6]}
merge_method: slerp
base_model: chat
parameters:
  t:
  - filter: layernorm
    value: 0.2
  - filter: embed_tokens
    value: 0.0
  - filter: q_proj
    value: [.1, .9]
  - value: 0.4
dtype: bfloat16
""")
add("phi3", "slerp of fused projections", """
merge_method: slerp
base_model: base
models:
- model: base
- model: code
parameters:
  t:
  - filter: qkv_proj
    value: [0.0, 1.0]
  - filter: gate_up_proj
    value: [1.0, 0.0]
  - value: 0.5
dtype: float16
""")
add("granite", "nuslerp of two by weights", """
models:
  - model: chat
    parameters:
      weight: 0.6
  - model: maths
    parameters:
      weight: 0.4
merge_method: nuslerp
dtype: float32
out_dtype: bfloat16
""")
add("qwen3", "nuslerp of rows", """
models:
  - model: chat
    parameters: {weight: [0.2, 0.8]}
  - model: code
    parameters: {weight: 0.5}
base_model: base
merge_method: nuslerp
parameters:
  nuslerp_flatten: false
  nuslerp_row_wise: false
dtype: float32
""")
add("llama", "nuslerp of columns", """
merge_method: nuslerp
models:
  - model: chat
    parameters:
      weight: 1
  - model: code
    parameters:
      weight: 2
parameters:
  nuslerp_flatten: false
  nuslerp_row_wise: true
dtype: float32
chat_template: chatml
tokenizer:
  source: union
""")
add("olmo2", "multislerp of three", """
models:
  - model: chat
    parameters: {weight: 0.5}
  - model: code
    parameters: {weight: 0.3}
  - model: maths
    parameters: {weight: 0.2}
merge_method: multislerp
base_model: base
parameters:
  normalize_weights: true
  eps: 1e-8
dtype: float32
""")
add("qwen3", "multislerp with weights that do not sum to one", """
models:
- {model: chat, parameters: {weight: [0.9, 0.1, 0.9]}}
- {model: maths, parameters: {weight: 0.7}}
merge_method: multislerp
parameters:
  normalize_weights: false
dtype: float32
out_dtype: bfloat16
""")
add("qwen2", "karcher mean of four", """
models:
  - model: base
  - model: chat
  - model: code
  - model: maths
merge_method: karcher
parameters:
  max_iter: 1000
  tol: 1e-9
dtype: float32
out_dtype: bfloat16
tokenizer_source: base
base_model: base
""")
add("starcoder2", "karcher with defaults", """
merge_method: karcher
models:
  - model: chat
  - model: code
dtype: float32
""")
add("gpt2", "nearswap", """
models:
  - model: base
  - model: chat
merge_method: nearswap
base_model: base
parameters:
  t:
  - value: 0.0005
dtype: float32
""")
add("mistral", "nearswap by gradient", """
slices:
  - sources:
      - model: base
        layer_range: [0, 6]
      - model: chat
        layer_range: [0, 6]
merge_method: nearswap
base_model: base
parameters:
  t: [0.0001, 0.0002, 0.0004, 0.0002, 0.0001]
dtype: bfloat16
""")

# --- weighted sums
add("llama", "soup of three", """
models:
  - model: chat
    parameters:
      weight: 1.0
  - model: code
    parameters:
      weight: 0.7
  - model: maths
    parameters:
      weight: 0.3
merge_method: linear
dtype: float16
""")
add("gemma2", "soup that is not normalised", """
merge_method: linear
models:
- model: chat
  parameters: {weight: 0.5}
- model: code
  parameters: {weight: 0.5}
parameters:
  normalize: false
  int8_mask: true
dtype: bfloat16
""")
add("gpt_neox", "linear by layers and parts", """
slices:
  - sources:
      - model: base
        layer_range: [0, 6]
        parameters:
          weight:
            - filter: attention
              value: [1, 0.75, 0.5, 0.25, 0]
            - value: 0.5
      - model: chat
        layer_range: [0, 6]
        parameters:
          weight:
            - filter: attention
              value: [0, 0.25, 0.5, 0.75, 1]
            - value: 0.5
merge_method: linear
dtype: float32
""")
add("mixtral", "soup of mixtures of experts", """
models:
  - model: base
    parameters: {weight: 0.25}
  - model: chat
    parameters: {weight: 0.75}
merge_method: linear
dtype: bfloat16
tokenizer_source: union
""")
add("qwen3_moe", "task vectors of mixtures of experts", """
models:
  - model: chat
    parameters: {weight: 0.6}
  - model: code
    parameters: {weight: 0.4}
merge_method: task_arithmetic
base_model: base
dtype: float32
out_dtype: bfloat16
""")
add("stablelm", "one behaviour taken away", """
base_model: chat
dtype: float32
merge_method: task_arithmetic
models:
  - model: maths
    parameters:
      weight: 1.0
  - model: code
    parameters:
      weight: -0.5
parameters:
  normalize: false
  lambda: 0.9
""")
add("llama", "an adapter baked in", """
base_model: base
models:
  - model: base+lora
    parameters:
      weight: 1.0
dtype: float32
merge_method: task_arithmetic
parameters:
  normalize: false
out_dtype: bfloat16
""")
add("llama", "an adapter on another model", """
merge_method: passthrough
models:
  - model: chat+lora
dtype: float32
""")
add("llama", "linear of base and adapters", """
models:
 - model: base+lora
   parameters:
     weight: 0.6
 - model: chat
   parameters:
     weight: 0.4
merge_method: linear
dtype: float32
tokenizer_source: base
""")
add("cohere2", "task vectors, normalised", """
models:
  - model: chat
    parameters: {weight: 0.3}
  - model: maths
    parameters: {weight: 0.9}
base_model: base
merge_method: task_arithmetic
parameters:
  normalize: true
  int8_mask: true
dtype: bfloat16
""")

# --- selecting methods
add("mistral", "ties as most cards have it", """
models:
  - model: base
    # no parameters necessary for base model
  - model: chat
    parameters:
      density: 0.5
      weight: 0.5
  - model: code
    parameters:
      density: 0.5
      weight: 0.3
merge_method: ties
base_model: base
parameters:
  normalize: true
dtype: float16
""")
add("llama", "ties with gradients and filters", """
models:
  - model: chat
    parameters:
      density: [1, 0.7, 0.1] # density gradient
      weight: 1.0
  - model: code
    parameters:
      density: 0.5
      weight: [0, 0.3, 0.7, 1] # weight gradient
  - model: maths
    parameters:
      density: 0.33
      weight:
        - filter: mlp
          value: 0.5
        - value: 0
merge_method: ties
base_model: base
parameters:
  normalize: true
  int8_mask: true
dtype: float16
""")
add("qwen3", "ties with lambda", """
merge_method: ties
base_model: base
models:
  - {model: chat, parameters: {density: 0.8, weight: 1}}
  - {model: maths, parameters: {density: 0.8, weight: 1}}
parameters: {density: 1, normalize: True, lambda: 1.1, int8_mask: False}
dtype: float32
out_dtype: bfloat16
tokenizer: {source: base}
""")
add("llama", "dare_ties with gradients", """
models:
  - model: base
  - model: chat
    parameters:
      weight: [0.1, 0.3, 0.5, 0.3, 0.1]
      density: [0.4, 0.6, 0.8]
  - model: code
    parameters:
      weight: 0.35
      density: 0.53
  - model: maths
    parameters:
      weight: 0.2
      density: 0.53
merge_method: dare_ties
base_model: base
parameters:
  int8_mask: true
dtype: float32
out_dtype: bfloat16
""")
add("gpt2", "dare_ties of transposed matrices", """
merge_method: dare_ties
base_model: base
models:
- {model: chat, parameters: {weight: 0.5, density: 0.6}}
- {model: code, parameters: {weight: 0.5, density: 0.6}}
dtype: float32
""")
add("olmo2", "dare_linear", """
models:
  - model: chat
    parameters: {weight: 0.3, density: 0.8}
  - model: maths
    parameters: {weight: 0.7, density: 0.2}
merge_method: dare_linear
base_model: base
dtype: float32
parameters:
  normalize: true
""")
add("qwen3", "dare_ties in slices", """
slices:
- sources:
  - {model: base, layer_range: [0, 3]}
  - model: chat
    layer_range: [0, 3]
    parameters: {density: 0.8, weight: 0.6}
  - model: code
    layer_range: [0, 3]
    parameters: {density: 0.6, weight: 0.5}
- sources:
  - {model: base, layer_range: [3, 6]}
  - model: chat
    layer_range: [3, 6]
    parameters: {density: 0.5, weight: 0.3}
  - model: code
    layer_range: [3, 6]
    parameters: {density: 0.9, weight: 0.8}
merge_method: dare_ties
base_model: base
dtype: float32
""")
add("granite", "breadcrumbs with norms whole", """
models:
  - model: chat
    parameters: {weight: 0.5, density: [{filter: norm, value: 1}, {value: 0.9}]}
  - model: code
    parameters: {weight: 0.5, density: [{filter: norm, value: 1}, {value: 0.9}]}
merge_method: breadcrumbs
base_model: base
parameters:
  gamma: 0.01
dtype: float32
""")
add("granite", "breadcrumbs of norms of 64 numbers", """
models:
  - model: chat
    parameters: {weight: 0.5}
  - model: code
    parameters: {weight: 0.5}
merge_method: breadcrumbs
base_model: base
parameters:
  density: 0.9
  gamma: 0.01
dtype: float32
""")
add("llama", "breadcrumbs_ties with values of each model", """
models:
  - model: chat
    parameters:
      weight: [0.2, 0.5, 0.2]
      density: 0.9
      gamma: 0.05
  - model: code
    parameters:
      weight: 0.3
      density: [0.8, 0.6]
      gamma: 0.02
merge_method: breadcrumbs_ties
base_model: base
parameters:
  normalize: true
  int8_mask: true
  lambda: 1.0
dtype: float32
out_dtype: float16
""")
add("qwen3", "della", """
models:
  - model: chat
    parameters:
      weight: 0.6
      density: 0.5
      epsilon: 0.1
  - model: code
    parameters:
      weight: 0.4
      density: 0.7
      epsilon: 0.2
merge_method: della
base_model: base
parameters:
  lambda: 1.0
  normalize: true
dtype: float32
""")
add("llama", "della_linear with gradients of epsilon", """
models:
  - model: chat
    parameters:
      weight: [0, 0.01768, -0.01675, 0.01285, -0.01696, 0.01421]
      density: [0.6, 0.8, 0.5, 0.5, 0.5]
  - model: maths
    parameters:
      weight: [0.208, 0.139, 0.139, 0.139, 0.208]
      density: [0.7]
      epsilon: [0.05, 0.15]
merge_method: della_linear
base_model: base
parameters:
  epsilon: 0.04
  lambda: 1.05
  normalize: false
  int8_mask: true
  rescale: true
dtype: float32
out_dtype: bfloat16
""")
add("stablelm", "della_linear that is too wide", """
models:
  - model: chat
    parameters: {weight: 1, density: 0.95, epsilon: 0.1}
merge_method: della_linear
base_model: base
dtype: float32
""")
add("qwen3", "model_stock", """
models:
  - model: chat
  - model: code
  - model: maths
base_model: base
merge_method: model_stock
dtype: float32
out_dtype: bfloat16
""")
add("llama", "model_stock by rows", """
models:
  - model: base
  - model: chat
  - model: code
base_model: base
merge_method: model_stock
parameters:
  filter_wise: true
  normalize: false
  int8_mask: true
dtype: float32
""")
add("gemma2", "model_stock of BF16 models", """
merge_method: model_stock
base_model: base
models: [{model: chat}, {model: code}, {model: maths}]
dtype: bfloat16
""")
add("qwen3", "sce", """
merge_method: sce
models:
  # Pivot model
  - model: base
  # Target models
  - model: chat
  - model: code
  - model: maths
base_model: base
parameters:
  select_topk: 0.3
  normalize: true
  int8_mask: true
dtype: float32
""")
add("gpt_neox", "sce with a gradient", """
merge_method: sce
base_model: base
models:
  - model: chat
  - model: code
parameters:
  select_topk: [0.1, 1.0]
dtype: float32
""")
add("llama", "arcee_fusion", """
models:
  - model: base
  - model: chat
merge_method: arcee_fusion
base_model: base
dtype: float32
""")
add("mistral", "arcee_fusion of BF16 models", """
models:
  - model: chat
merge_method: arcee_fusion
base_model: base
dtype: bfloat16
out_dtype: bfloat16
""")
add("mistral", "arcee_fusion of BF16 models with float32", """
models:
  - model: chat
merge_method: arcee_fusion
base_model: base
dtype: float32
""")
add("qwen2", "arcee_fusion without a dtype", """
merge_method: arcee_fusion
base_model: base
models:
  - model: chat
""")
add("qwen3", "ram", """
merge_method: ram
base_model: base
models:
- model: chat
- model: code
parameters: {epsilon: 1e-5}
dtype: float32
""")
add("olmo2", "ramplus_tl", """
merge_method: ramplus_tl
base_model: base
models:
- model: maths
- model: code
parameters:
  epsilon: 1e-5
  r: 0.1
  alpha: 0.2
dtype: float32
out_dtype: bfloat16
""")

# --- stacks of layers
add("llama", "frankenmerge of two models", """
slices:
  - sources:
    - model: chat
      layer_range: [0, 3]
  - sources:
    - model: code
      layer_range: [1, 4]
  - sources:
    - model: chat
      layer_range: [2, 5]
  - sources:
    - model: code
      layer_range: [3, 6]
merge_method: passthrough
dtype: float16
""")
add("mistral", "depth up-scaling", """
slices:
  - sources:
    - model: base
      layer_range: [0, 4]
  - sources:
    - model: base
      layer_range: [2, 6]
merge_method: passthrough
dtype: bfloat16
""")
add("qwen2", "self-merge with silent projections", """
slices:
  - sources:
      - model: chat
        layer_range: [0, 3]
  - sources:
      - model: chat
        layer_range: [2, 3]
        parameters:
          scale:
            - filter: o_proj
              value: 0.0
            - filter: down_proj
              value: 0.0
            - value: 1.0
  - sources:
      - model: chat
        layer_range: [3, 6]
merge_method: passthrough
dtype: bfloat16
""")
add("llama", "self-merge with anchors", """
slice_parameters: &scaled
  scale:
  - filter: q_proj
    value: 0.7071067812
  - filter: k_proj
    value: 0.7071067812
  - value: 1.0
slices:
- sources:
  - model: chat
    layer_range: [0, 2]
- sources:
  - model: chat
    layer_range: [1, 4]
    parameters: *scaled
- sources:
  - model: chat
    layer_range: [3, 6]
    parameters: *scaled
merge_method: passthrough
dtype: float32
""")
add("llama", "self-merge with anchors inside", """
slices:
- sources:
  - model: chat
    layer_range: [0, 2]
    parameters: &scaled
      scale:
      - filter: q_proj
        value: 0.7071067812
      - filter: k_proj
        value: 0.7071067812
      - value: 1.0
- sources:
  - model: chat
    layer_range: [1, 4]
    parameters: *scaled
- sources:
  - model: chat
    layer_range: [3, 6]
    parameters:
      <<: *scaled
merge_method: passthrough
dtype: float32
""")
add("gemma2", "layers taken out", """
slices:
  - sources:
      - model: chat
        layer_range: [0, 3]
  - sources:
      - model: chat
        layer_range: [5, 6]
merge_method: passthrough
dtype: bfloat16
""")
add("phi3", "stack of a model with rope factors", """
dtype: bfloat16
merge_method: passthrough
slices:
- sources:
  - layer_range: [0, 4]
    model: chat
- sources:
  - layer_range: [2, 6]
    model: base
""")
add("gpt2", "stack of transposed matrices", """
merge_method: passthrough
slices:
- sources: [{model: base, layer_range: [0, 4]}]
- sources: [{model: chat, layer_range: [3, 6]}]
dtype: float32
""")
add("qwen3", "layers out of order", """
slices:
- sources:
  - model: chat
    layer_range: [4, 6]
- sources:
  - model: base
    layer_range: [0, 4]
- sources:
  - model: chat
    layer_range: [5, 6]
merge_method: passthrough
dtype: float32
out_dtype: float16
""")
add("starcoder2", "passthrough to another dtype", """
models:
  - model: chat
merge_method: passthrough
dtype: float32
out_dtype: bfloat16
""")
add("mixtral", "stack of mixtures", """
slices:
- sources: [{model: base, layer_range: [0, 4]}]
- sources: [{model: chat, layer_range: [2, 6]}]
merge_method: passthrough
dtype: bfloat16
""")
add("llama", "layer 6 where there are six", """
slices:
  - sources:
    - model: chat
      layer_range: [0, 7]
merge_method: passthrough
dtype: float16
""")
add("llama", "slices of other lengths", """
slices:
  - sources:
    - model: chat
      layer_range: [0, 4]
    - model: code
      layer_range: [0, 3]
merge_method: linear
parameters: {weight: 0.5}
dtype: float16
""")

# --- documents that name each other
add("llama", "two steps", """
name: first
models:
  - model: chat
    parameters: {weight: 0.5}
  - model: code
    parameters: {weight: 0.5}
merge_method: linear
dtype: float32
---
name: second
models:
  - model: first
  - model: maths
merge_method: slerp
base_model: first
parameters:
  t: 0.4
dtype: float32
---
models:
  - model: second
    parameters: {weight: 0.8, density: 0.6}
  - model: first
    parameters: {weight: 0.3, density: 0.4}
merge_method: ties
base_model: base
dtype: float32
""")
add("qwen2", "a stack and then a soup", """
name: tall
slices:
- sources: [{model: chat, layer_range: [0, 4]}]
- sources: [{model: chat, layer_range: [2, 6]}]
merge_method: passthrough
dtype: float32
---
name: tall2
slices:
- sources: [{model: maths, layer_range: [0, 4]}]
- sources: [{model: maths, layer_range: [2, 6]}]
merge_method: passthrough
dtype: float32
---
merge_method: linear
models:
- {model: tall, parameters: {weight: 0.4}}
- {model: tall2, parameters: {weight: 0.6}}
dtype: float32
out_dtype: bfloat16
""")
add("llama", "a name in a recipe of one document", """
name: Ember-8B
models:
  - model: chat
    parameters: {weight: 0.5}
  - model: code
    parameters: {weight: 0.5}
merge_method: linear
dtype: float32
""")

# --- tokenizers and templates
add("llama", "union of two vocabularies", """
models:
  - model: chat
    parameters: {weight: 0.6}
  - model: tongue
    parameters: {weight: 0.4}
merge_method: linear
base_model: chat
tokenizer_source: union
dtype: float32
""")
add("mistral", "union of vocabularies with a byte fallback", """
models:
  - model: chat
    parameters: {weight: 0.6, density: 1}
  - model: tongue
    parameters: {weight: 0.4, density: 1}
merge_method: task_arithmetic
base_model: base
tokenizer:
  source: union
  pad_to_multiple_of: 64
dtype: float32
out_dtype: bfloat16
""")
add("qwen2", "another model's tokenizer", """
models:
  - model: chat
    parameters: {weight: 0.6}
  - model: tongue
    parameters: {weight: 0.4}
merge_method: task_arithmetic
base_model: base
tokenizer_source: tongue
dtype: float32
""")
add("qwen3", "the base's tokenizer", """
models:
  - model: role
    parameters: {weight: 0.6}
  - model: tongue
    parameters: {weight: 0.4}
merge_method: linear
base_model: role
tokenizer_source: base
dtype: float32
""")
add("llama", "tokens with sources of their own", """
models:
  - model: chat
    parameters: {weight: 0.5}
  - model: role
    parameters: {weight: 0.5}
merge_method: task_arithmetic
base_model: base
tokenizer:
  source: union
  tokens:
    # the turns of ChatML from the model that was trained with them
    <|turn|>:
      source: role
      force: true
    <|end|>:
      source:
        kind: model_token
        model: role
        token: <|end|>
    <|tool|>:
      source:
        kind: zero
    <|spare|>:
      source:
        kind: model_token
        model: base
        token_id: 40
  pad_to_multiple_of: 32
chat_template: chatml
dtype: float32
out_dtype: bfloat16
""")
add("gemma2", "words of a role-playing model by union", """
models:
- {model: chat, parameters: {weight: 0.5}}
- {model: role, parameters: {weight: 0.5}}
merge_method: task_arithmetic
base_model: chat
tokenizer_source: union
dtype: bfloat16
chat_template: auto
""")
add("gpt2", "union with a transposed model", """
models:
- {model: chat, parameters: {weight: 0.5}}
- {model: tongue, parameters: {weight: 0.5}}
merge_method: linear
base_model: chat
tokenizer_source: union
dtype: float32
""")
add("granite", "a template as text", """
models:
  - model: chat
merge_method: passthrough
chat_template: |
  {% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}
  {% endfor %}
dtype: bfloat16
""")
add("qwen2", "the template of llama3", """
models: [{model: chat, parameters: {weight: 1}}, {model: code, parameters: {weight: 1}}]
merge_method: linear
base_model: chat
chat_template: llama3
dtype: bfloat16
""")
add("mistral", "other vocabularies without a word about it", """
models:
  - model: chat
    parameters: {weight: 0.5}
  - model: tongue
    parameters: {weight: 0.5}
merge_method: linear
dtype: bfloat16
""")
add("llama", "more words without a word about it", """
models:
  - model: chat
    parameters: {weight: 0.5}
  - model: role
    parameters: {weight: 0.5}
merge_method: linear
dtype: float16
""")

# --- modules, several scopes, spelling
add("qwen3", "a module by its name", """
modules:
  default:
    slices:
    - sources:
      - {model: base, layer_range: [0, 6]}
      - {model: chat, layer_range: [0, 6]}
    parameters:
      t: [0.1, 0.6]
merge_method: slerp
base_model: base
dtype: float32
""")
add("gemma2", "numbers and words as people spell them", """
merge_method: "dare_linear"
base_model: 'base'
models:
- model: "chat"
  parameters:
    weight: '0.5'
    density: 1
- model: code
  parameters:
    weight: .25
    density: 1.0
parameters: {normalize: no, rescale: Yes, lambda: 1e0}
dtype: "float32"
out_dtype: bfloat16
""")
add("llama", "parameters of a slice, of a source and of all", """
merge_method: ties
base_model: base
slices:
- sources:
  - {model: chat, layer_range: [0, 6], parameters: {weight: 0.7}}
  - {model: code, layer_range: [0, 6]}
  parameters:
    density: 0.4
    weight: [0.1, 0.9]
parameters:
  density: 0.9
  weight: 0.2
  lambda: 0.8
dtype: float32
""")
add("glm4", "ties without a dtype", """
merge_method: ties
base_model: base
models:
- {model: chat, parameters: {weight: 0.5, density: 1}}
- {model: maths, parameters: {weight: 0.5, density: 1}}
parameters: {normalize: true}
""")
add("falcon", "slerp of one fused attention", """
merge_method: slerp
base_model: chat
models:
- model: chat
- model: maths
parameters: {t: [0.25, 0.75]}
dtype: bfloat16
tokenizer_source: union
""")
add("llama", "key at the end that mergekit does not have", """
models:
- {model: chat, parameters: {weight: 1}}
merge_method: linear
dtype: float32
merge_method_version: 2
""")
add("llama", "a density of more than one", """
models:
- {model: chat, parameters: {weight: 1, density: 1.5}}
merge_method: ties
base_model: base
dtype: float32
""")
add("llama", "no weight for one of the models", """
models:
- {model: chat, parameters: {weight: 1}}
- {model: code}
merge_method: linear
dtype: float32
""")
add("llama", "another make of model", """
models:
- {model: chat, parameters: {weight: 1}}
- {model: ../qwen3/chat, parameters: {weight: 1}}
merge_method: linear
dtype: float32
""")


# --- as search tools, cards and gists spell them
add("llama", "card: as mergekit-evolve writes it", """
base_model: base
dtype: float32
merge_method: dare_ties
parameters:
  int8_mask: 1.0
  normalize: 1.0
slices:
- sources:
  - layer_range: [0, 2]
    model: chat
    parameters:
      density: 0.9757655151617786
      weight: 0.15183692417203436
  - layer_range: [0, 2]
    model: code
    parameters:
      density: 1.0
      weight: -0.03206992375041406
  - layer_range: [0, 2]
    model: base
- sources:
  - layer_range: [2, 6]
    model: chat
    parameters:
      density: 0.5118965
      weight: 0.6
  - layer_range: [2, 6]
    model: code
    parameters:
      density: 0.8
      weight: 0.3
  - layer_range: [2, 6]
    model: base
""")
add("llama", "card: names as objects, as mergekit writes them back", """
base_model:
  model:
    path: base
dtype: float32
merge_method: task_arithmetic
models:
- model:
    model:
      path: chat
  parameters:
    weight: 0.4
- model:
    lora:
      path: lora
    model:
      path: base
  parameters:
    weight: 0.6
""")
add("llama", "card: goliath", """
slices:
- sources:
  - model: chat
    layer_range: [0, 2]
- sources:
  - model: code
    layer_range: [1, 3]
- sources:
  - model: chat
    layer_range: [2, 4]
- sources:
  - model: code
    layer_range: [3, 5]
- sources:
  - model: chat
    layer_range: [4, 6]
merge_method: passthrough
dtype: float16
""")
add("mistral", "card: an empty filter", """
slices:
  - sources:
      - model: chat
        layer_range: [0, 6]
      - model: code
        layer_range: [0, 6]
merge_method: slerp
base_model: chat
parameters:
  t:
    - filter: self_attn
      value: [0.2, 0.8]
    - filter: ""
      value: 0.5
dtype: float32
""")
add("llama", "card: layer_range among models", """
models:
  - model: chat
    layer_range: [0, 6]
  - model: code
    layer_range: [0, 6]
merge_method: slerp
base_model: chat
parameters:
  t: 0.5
dtype: float32
""")
add("qwen3", "card: a seed in the recipe", """
models:
  - model: chat
    parameters: {weight: 0.5, density: 0.6}
  - model: maths
    parameters: {weight: 0.4, density: 0.4}
merge_method: dare_ties
base_model: base
random_seed: 42
parameters:
  int8_mask: true
dtype: float32
""")
add("qwen3", "card: t of a method that has none", """
models:
  - model: chat
    parameters: {weight: 0.7}
  - model: maths
    parameters: {weight: 0.3}
merge_method: nuslerp
parameters:
  t:
    - filter: self_attn
      value: [0, 1]
    - value: 0.5
dtype: float32
""")
add("qwen3", "card: exponents without a dot", """
models:
  - model: chat
  - model: maths
  - model: code
merge_method: karcher
parameters:
  max_iter: 1000
  tol: 1e-9
dtype: float64
out_dtype: float32
""")
add("llama", "card: weights of parts", """
models:
  - model: chat
    parameters:
      weight:
        - filter: embed_tokens
          value: 0.2
        - filter: lm_head
          value: 1.0
        - filter: q_proj
          value: [0.5, 1]
        - filter: k_proj
          value: [1, 0.5]
        - filter: mlp
          value: [0.1, 0.9, 0.1]
        - value: 0.5
  - model: code
    parameters:
      weight:
        - filter: embed_tokens
          value: 0.8
        - filter: lm_head
          value: 0.0
        - value: [0.5, 0.3, 0.5]
merge_method: linear
parameters:
  normalize: true
  int8_mask: true
dtype: float32
""")
add("qwen2", "card: ties of one weight for all, into float16", """
models:
  - model: base
    # no parameters necessary for base model
  - model: chat
  - model: code
merge_method: task_arithmetic
base_model: base
parameters:
  weight: 0.5
  normalize: 1
dtype: float32
out_dtype: float16
chat_template: auto
""")
add("llama", "card: padding to a multiple", """
merge_method: linear
models:
  - {model: chat, parameters: {weight: 1}}
  - {model: role, parameters: {weight: 1}}
tokenizer:
  source: union
  pad_to_multiple_of: 64
chat_template: chatml
dtype: float32
""")
add("llama", "card: a tokenizer of one of the models, tokens from others", """
merge_method: task_arithmetic
base_model: base
models:
  - model: chat
    parameters: {weight: 0.5}
  - model: role
    parameters: {weight: 0.5}
tokenizer:
  source: role
  tokens:
    <|turn|>:
      source: role
      force: true
dtype: float32
""")
add("qwen3", "card: model_stock with the base's tokenizer", """
models:
  - model: chat
  - model: code
  - model: maths
base_model: base
merge_method: model_stock
parameters:
  filter_wise: false
tokenizer:
  source: base
dtype: float32
out_dtype: bfloat16
""")
add("qwen3", "card: sce of few", """
models:
  - model: chat
  - model: code
  - model: maths
merge_method: sce
base_model: base
parameters:
  select_topk: 0.15
  int8_mask: true
dtype: float32
""")
add("llama", "card: della as cards have it", """
models:
  - model: chat
    parameters:
      weight: 1
      density: 0.7
      lambda: 1.1
      epsilon: 0.2
  - model: code
    parameters:
      weight: 0.4
      density: 0.5
merge_method: della
base_model: base
parameters:
  epsilon: 0.05
  lambda: 1
  normalize: true
  int8_mask: true
dtype: float32
tokenizer_source: base
""")
add("llama", "card: breadcrumbs_ties with lists", """
models:
  - model: chat
    parameters:
      weight: [0.5, 0.7]
      density: [0.9, 0.9, 0.8]
      gamma: 0.05
  - model: code
    parameters:
      weight: 0.3
      density: 0.7
      gamma: [0.1, 0.05]
merge_method: breadcrumbs_ties
base_model: base
parameters:
  normalize: false
  rescale: true
dtype: float32
""")
add("mistral", "card: layernorms apart", """
slices:
- sources:
  - model: base
    layer_range: [0, 6]
  - model: maths
    layer_range: [0, 6]
merge_method: slerp
base_model: base
parameters:
  t:
  - filter: layernorm
    value: [0.75, 0.25]
  - filter: lm_head
    value: [0.75]
  - filter: embed_tokens
    value: [0.75]
  - filter: self_attn
    value: [0.75, 0.25]
  - filter: mlp
    value: [0.25, 0.75]
  - value: [0.5, 0.5]
dtype: float32
""")
add("llama", "card: parameters of slices alone", """
slices:
  - sources:
      - model: chat
        layer_range: [0, 3]
        parameters:
          weight: 0.8
      - model: code
        layer_range: [0, 3]
        parameters:
          weight: 0.2
  - sources:
      - model: code
        layer_range: [3, 6]
        parameters:
          weight: 0.6
      - model: maths
        layer_range: [3, 6]
        parameters:
          weight: 0.4
merge_method: linear
dtype: float32
""")
add("llama", "card: a model with weight 0 to take its words", """
models:
  - model: chat
    parameters: {weight: 1}
  - model: role
    parameters: {weight: 0}
merge_method: linear
tokenizer_source: union
dtype: float32
""")
add("llama", "card: the same model twice", """
models:
  - model: chat
    parameters: {weight: 0.5}
  - model: chat
    parameters: {weight: 0.25}
  - model: code
    parameters: {weight: 0.25}
merge_method: linear
dtype: float32
""")
add("llama", "card: notes beside the recipe", """
description: a merge for stories
tags: [merge]
models:
  - model: chat
    parameters: {weight: 0.5}
  - model: code
    parameters: {weight: 0.5}
merge_method: linear
dtype: float32
""")
add("gemma2", "card: stack with a scaled copy", """
slices:
- sources:
  - model: base
    layer_range: [0, 4]
- sources:
  - model: chat
    layer_range: [2, 6]
    parameters:
      scale:
      - filter: q_proj
        value: 0.7071067812
      - filter: k_proj
        value: 0.7071067812
      - value: 1
merge_method: passthrough
dtype: float32
""")
add("llama", "card: three documents", """
name: first
merge_method: slerp
base_model: chat
models:
  - model: chat
  - model: code
parameters:
  t: 0.5
dtype: float32
---
name: second
merge_method: ties
base_model: base
models:
  - model: maths
    parameters: {weight: 1, density: 1}
  - model: first
    parameters: {weight: 0.5, density: 1}
dtype: float32
---
merge_method: passthrough
slices:
  - sources: [{model: second, layer_range: [0, 4]}]
  - sources: [{model: first, layer_range: [2, 6]}]
dtype: float32
""")
add("llama", "card: anchors and merged keys", """
models:
  - model: chat
    parameters: &half
      weight: 0.5
  - model: code
    parameters:
      <<: *half
merge_method: linear
dtype: float32
""")
