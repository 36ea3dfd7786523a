#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same recipes through mergekit 0.1.5 and through weightward merge.

    test_merge_mergekit.py BUILD [CASE...]

Both read the same file. Names, shapes, dtypes and config.json must be equal; values must agree to
the rounding of the peer's arithmetic (float32: 1e-6 of the tensor's largest value; bf16: one unit in
the last place or that, and at least 99.9 % of them equal). Recipes that the peer refuses must be
refused here too.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

import make_models as families
import torch
import yaml
from jinja2.sandbox import ImmutableSandboxedEnvironment
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

os.environ.setdefault("HF_HUB_OFFLINE", "1")
from mergekit.config import MergeConfiguration  # noqa: E402
from mergekit.merge import MergeOptions, run_merge  # noqa: E402

AMBER = os.path.join(os.path.dirname(__file__), "..", "vectors", "amber")
HEAD = "dtype: float32\nout_dtype: bfloat16\n"
TWO = """
models:
  - model: expert-rev
    parameters: {weight: 0.31}
  - model: expert-caesar
    parameters: {weight: 0.87}
"""

# name: recipe. Every scope, every form of a value, every way of writing inputs. Weights are odd on
# purpose: with 0.25 and 0.75 many exact results lie half-way between two bf16 values, where the
# peer's float32 error decides.
CASES = {
    "linear": "merge_method: linear\n" + TWO + HEAD,
    "linear without normalize": "merge_method: linear\n" + TWO + "parameters: {normalize: false}\n" + HEAD,
    "float32 output": "merge_method: linear\n" + TWO + "dtype: float32\n",
    "no dtype": "merge_method: linear\n" + TWO,
    "dtype bfloat16": "merge_method: linear\n" + TWO + "dtype: bfloat16\n",
    "base is appended": "merge_method: task_arithmetic\nbase_model: base\n" + TWO + HEAD,
    "base alone": "merge_method: ties\nbase_model: base\nmodels: [{model: base}]\n" + HEAD,
    "base alone in a slice": """
merge_method: task_arithmetic
base_model: base
slices:
- sources: [{model: base, layer_range: [0, 2]}]
- sources: [{model: base, layer_range: [2, 4]}, {model: expert-rev, layer_range: [2, 4], parameters: {weight: 0.6}}]
- sources: [{model: base, layer_range: [0, 1]}]
""" + HEAD,
    "base among the inputs": """
merge_method: task_arithmetic
base_model: base
models:
  - model: expert-rev
    parameters: {weight: 0.5}
  - model: base
  - model: expert-caesar
    parameters: {weight: 0.25}
parameters: {lambda: 0.8}
""" + HEAD,
    "ignored base is one more input": """
merge_method: linear
base_model: base
models:
  - model: expert-rev
parameters: {weight: 1.0}
""" + HEAD,
    "gradient": """
merge_method: linear
models:
  - model: expert-rev
    parameters: {weight: [0, 0.5, 0.25, 1, 1.5]}
  - model: expert-caesar
    parameters: {weight: [1, "5e-1"]}
""" + HEAD,
    "filters fall through": """
merge_method: task_arithmetic
base_model: base
models:
  - model: expert-rev
    parameters:
      weight:
        - filter: self_attn
          value: [0.1, 0.9]
        - filter: mlp
          value: 0.3
  - model: expert-caesar
    parameters:
      weight: {filter: embed, value: 0.7}
parameters:
  weight:
    - filter: "*"
      value: [0.2, 0.6]
""" + HEAD,
    "slices with four scopes": """
merge_method: task_arithmetic
base_model: base
slices:
  - sources:
      - {model: base, layer_range: [0, 2]}
      - model: expert-rev
        layer_range: [0, 2]
        parameters: {weight: [0.13, 0.57]}
      - {model: expert-caesar, layer_range: [2, 4]}
    parameters: {weight: 0.43, lambda: 0.53}
  - sources:
      - {model: base, layer_range: [3, 4]}
      - {model: expert-rev, layer_range: [3, 4]}
      - model: expert-caesar
        layer_range: [1, 2]
        parameters: {weight: {filter: mlp, value: [0.29, 0.61]}}
parameters: {weight: [0.83, 1.03], lambda: 0.91}
""" + HEAD,
    "slices under modules": """
merge_method: linear
modules:
  default:
    slices:
      - sources:
          - {model: expert-rev, layer_range: [0, 4]}
          - {model: expert-caesar, layer_range: [0, 4], parameters: {weight: 0.17}}
    parameters: {weight: [0.53, 0.79]}
""" + HEAD,
    "stack of layers": """
merge_method: passthrough
slices:
  - sources: [{model: expert-rev, layer_range: [0, 3]}]
  - sources:
      - model: expert-caesar
        layer_range: [1, 4]
        parameters:
          scale:
            - filter: o_proj
              value: 0.5
            - value: 1.0
dtype: bfloat16
""",
    "slerp by gradient": """
merge_method: slerp
base_model: expert-rev
models:
  - model: expert-rev
  - model: expert-caesar
parameters:
  t:
    - filter: self_attn
      value: [0, 0.5, 1]
    - filter: mlp
      value: [1, 0]
    - value: 0.5
""" + HEAD,
    "slerp, the base second": """
merge_method: slerp
base_model: expert-caesar
models: [{model: expert-rev}, {model: expert-caesar}]
parameters: {t: 0.25}
""" + HEAD,
    "anchors and merge keys": """
merge_method: linear
models:
  - model: expert-rev
    parameters: &p {weight: 0.5}
  - model: expert-caesar
    parameters: {<<: *p}
""" + HEAD,
    "as the peer writes recipes": """
base_model: {model: {path: base}}
dtype: float32
merge_method: ties
parameters: {int8_mask: 1.0, normalize: 0.0, density: 1}
slices:
- sources:
  - {layer_range: [0, 2], model: {model: {path: base}}}
  - {layer_range: [0, 2], model: {model: {path: expert-rev}}, parameters: {density: 1.0, weight: 0.67}}
- sources:
  - {layer_range: [2, 4], model: {model: {path: base}}}
  - {layer_range: [2, 4], model: {model: {path: expert-rev}}, parameters: {density: 1.0, weight: 0.29}}
tokenizer_source: base
""",
    "nothing where something may be": """
merge_method: linear
base_model: null
slices:
models:
  - model: expert-rev
    parameters:
  - model: expert-caesar
    parameters: {weight: 0.87}
parameters: {weight: 0.31}
tokenizer_source: ~
chat_template:
out_dtype: null
""",
    "keys that change nothing": "merge_method: model_stock\nbase_model: base\nnormalize: false\nint8_mask: true\n"
    + TWO + "random_seed: 0\ndtype: float32\nparameters: {embed_slerp: true}\n",
    "blocks that begin as nothing": """
merge_method: passthrough
slices:
  - sources: [{model: base, layer_range: [0, 3]}]
  - sources:
      - model: base
        layer_range: [2, 3]
        parameters:
          scale:
            - {filter: o_proj, value: 0.0}
            - {filter: down_proj, value: 0.0}
            - value: 1.0
  - sources: [{model: base, layer_range: [3, 4]}]
""",
    "slices of two bases": """
merge_method: slerp
base_model: base
slices:
  - sources: [{model: base, layer_range: [0, 2]}, {model: expert-rev, layer_range: [2, 4]}]
  - base_model: expert-caesar
    sources: [{model: expert-rev, layer_range: [2, 4]}, {model: expert-caesar, layer_range: [2, 4]}]
    parameters: {t: 0.23}
parameters: {t: "7e-1"}
dtype: float32
""",
    "tied beside untied": "merge_method: linear\n" + TWO.replace("expert-caesar", "tied") + HEAD,
    "tied donor": "merge_method: linear\n" + TWO.replace("expert-rev", "tied") + HEAD,
    "filters of a tied head": """
merge_method: linear
models: [{model: expert-rev}, {model: tied}]
parameters:
  weight: [{filter: lm_head, value: 0.23}, {filter: embed, value: 0.71}, {value: 0.57}]
""" + HEAD.replace("bfloat16", "float32"),
    "slices of a tied and an untied model": """
merge_method: linear
slices:
  - sources:
      - {model: tied, layer_range: [0, 4], parameters: {weight: 0.31}}
      - {model: expert-rev, layer_range: [0, 4], parameters: {weight: 0.87}}
""" + HEAD,
    "a large eps": "merge_method: multislerp\n" + TWO + "parameters: {eps: 0.1}\ndtype: float64\n",
}
# "other" has the tokens in another order, lacks some and has three of its own; "more" has one of them.
UNION = """
models:
  - model: expert-rev
    parameters: {weight: 0.31}
  - model: other
    parameters: {weight: 0.87}
  - model: more
    parameters: {weight: 0.53}
"""
CASES.update({
    "union without base": "merge_method: linear\n" + UNION.replace("expert-rev", "more2") + "tokenizer_source: union\n" + HEAD,
    "union with base": "merge_method: task_arithmetic\nbase_model: base\n" + UNION + "tokenizer_source: union\n" + HEAD,
    "union with a base that the method ignores": "merge_method: linear\nbase_model: base\n" + UNION
    + "  - model: base\n    parameters: {weight: 0.47}\ntokenizer_source: union\n" + HEAD.replace("bfloat16", "float32"),
    "the base's tokenizer": "merge_method: task_arithmetic\nbase_model: base\n" + UNION + "tokenizer_source: base\n" + HEAD,
    "another model's tokenizer": "merge_method: task_arithmetic\nbase_model: base\n" + UNION + "tokenizer_source: more\n" + HEAD,
    "tokens with sources": "merge_method: task_arithmetic\nbase_model: base\n" + UNION + """
tokenizer:
  source: union
  pad_to_multiple_of: 16
  tokens:
    "<x>": {source: other}
    "q": {source: {kind: zero}, force: true}
    "<new>": {source: {kind: model_token, model: more, token: "<x>"}}
    "<new2>": {source: {kind: model_token, model: base, token_id: 20}}
    "r": {source: {kind: model_token, model: other, token: s}, force: true}
""" + HEAD,
})
BOTH_REFUSE = {
    "no weight": "merge_method: linear\nmodels: [{model: expert-rev}]\n",
    "unknown method": "merge_method: linea\n" + TWO,
    "models and slices": "merge_method: linear\n" + TWO + "slices: []\nmodules: {default: {models: []}}\n",
    "no inputs": "merge_method: linear\n",
    "slerp without base": "merge_method: slerp\n" + TWO + "parameters: {t: 0.5}\n",
    "slerp of three": "merge_method: slerp\nbase_model: base\n" + TWO + "parameters: {t: 0.5}\n",
    "layers past the end": """
merge_method: passthrough
slices: [{sources: [{model: expert-rev, layer_range: [0, 5]}]}]
""",
    "uneven slices": """
merge_method: linear
slices:
  - sources:
      - {model: expert-rev, layer_range: [0, 3], parameters: {weight: 1}}
      - {model: expert-caesar, layer_range: [0, 2], parameters: {weight: 1}}
""",
    "tokenizer twice": "merge_method: linear\n" + TWO + "tokenizer_source: union\ntokenizer: {source: base}\n",
    "wrong type": "merge_method: linear\n" + TWO.replace("0.31", "much"),
}


def make_models(work):
    for name in ("base", "expert-rev", "expert-caesar"):
        shutil.copytree(os.path.join(AMBER, name), os.path.join(work, name))
    shutil.copytree(os.path.join(AMBER, "expert-caesar"), os.path.join(work, "tied"))
    tied = os.path.join(work, "tied")
    os.chmod(tied, 0o755)
    for name in os.listdir(tied):
        os.chmod(os.path.join(tied, name), 0o644)
    tensors = load_file(os.path.join(tied, "model.safetensors"))
    del tensors["lm_head.weight"]
    save_file(tensors, os.path.join(tied, "model.safetensors"), metadata={"format": "pt"})
    with open(os.path.join(tied, "config.json")) as f:
        config = json.load(f)
    config["tie_word_embeddings"] = True
    with open(os.path.join(tied, "config.json"), "w") as f:
        json.dump(config, f)
    make_vocabulary(work, "other", "expert-caesar", ["!", "z"], ["<x>", "<y>", "yes"])
    make_vocabulary(work, "more", "expert-rev", ["z"], ["<x>"])
    make_vocabulary(work, "more2", "expert-rev", ["q"], ["<x>", "no"])


def make_vocabulary(work, name, source, drop, extra):
    """source with its tokens reversed behind the special ones, some dropped, some added."""
    folder = os.path.join(work, name)
    shutil.copytree(os.path.join(AMBER, source), folder)
    os.chmod(folder, 0o755)
    for f in os.listdir(folder):
        os.chmod(os.path.join(folder, f), 0o644)
    path = os.path.join(folder, "tokenizer.json")
    with open(path) as f:
        tokenizer = json.load(f)
    old = tokenizer["model"]["vocab"]
    special = [t["content"] for t in tokenizer["added_tokens"]]
    order = special + [t for t in reversed(list(old)) if t not in special and t not in drop] + extra
    tokenizer["model"]["vocab"] = {t: i for i, t in enumerate(order)}
    with open(path, "w") as f:
        json.dump(tokenizer, f)
    generator = torch.Generator().manual_seed(len(name))
    tensors = load_file(os.path.join(folder, "model.safetensors"))
    for table in ("model.embed_tokens.weight", "lm_head.weight"):
        rows = [tensors[table][old[t]] if t in old else
                torch.randn(128, generator=generator).to(torch.bfloat16) for t in order]
        tensors[table] = torch.stack(rows)
    save_file(tensors, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    with open(os.path.join(folder, "config.json")) as f:
        config = json.load(f)
    config["vocab_size"] = len(order)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f)


def peer(text, out):
    """None when it is done, else what the peer says."""
    try:
        config = MergeConfiguration.model_validate(yaml.safe_load(text))
        run_merge(config, out, MergeOptions(quiet=True, copy_tokenizer=True, write_model_card=False))
    except Exception as error:  # the peer has no error type of its own
        return f"{type(error).__name__}: {error}"
    return None


def ours(build, text, out, *options):
    path = out + ".yml"
    with open(path, "w") as f:
        f.write(text)
    run = subprocess.run([os.path.join(build, "weightward"), "merge", path, out, "--quiet", *options],
                         text=True, stderr=subprocess.PIPE)
    return None if run.returncode == 0 else run.stderr.strip()


def ordered(t):
    """bf16 bit patterns as whole numbers in the order of their values."""
    bits = t.view(torch.int16).to(torch.int32)
    return torch.where(bits < 0, -32768 - bits, bits)


def compare_values(name, a, b, count):
    if a.dtype == torch.bfloat16:
        steps = (ordered(a) - ordered(b)).abs()
        count[0] += int((steps > 0).sum())
        count[1] += steps.numel()
        # Where products cancel, the peer's float32 sum has few digits left.
        far = (steps > 1) & ((a.double() - b.double()).abs() > 1e-6 * float(a.double().abs().max()))
        return f"{name}: {int(steps[far].max())} units apart" if bool(far.any()) else None
    worst = float((a.double() - b.double()).abs().max())
    limit = 1e-6 * float(a.double().abs().max())
    return None if worst <= limit else f"{name}: {worst:g} apart, limit {limit:g}"


def same_order(theirs, mine):
    """For each row here the peer's row of the same token: new tokens come in another order."""
    a = Tokenizer.from_file(os.path.join(theirs, "tokenizer.json")).get_vocab()
    b = Tokenizer.from_file(os.path.join(mine, "tokenizer.json")).get_vocab()
    if a.keys() != b.keys():
        return f"tokens differ: {sorted(a.keys() ^ b.keys())[:5]}"
    return [a[t] for t in sorted(b, key=b.get)]


def compare(theirs, mine):
    a = load_file(os.path.join(theirs, "model.safetensors"))
    b = load_file(os.path.join(mine, "model.safetensors"))
    if a.keys() != b.keys():
        return f"names differ: {sorted(a.keys() ^ b.keys())[:4]}"
    count = [0, 0]
    rows = same_order(theirs, mine)
    if isinstance(rows, str):
        return rows
    for name, tensor in a.items():
        if rows and name in ("lm_head.weight", "model.embed_tokens.weight"):
            tensor = tensor[torch.tensor(rows + list(range(len(rows), len(tensor))))]
        if tensor.dtype != b[name].dtype or tensor.shape != b[name].shape:
            return f"{name}: {tensor.dtype} {list(tensor.shape)}, here {b[name].dtype} {list(b[name].shape)}"
        wrong = compare_values(name, tensor, b[name], count)
        if wrong:
            return wrong
    if count[0] > count[1] / 1000:
        return f"{count[0]} of {count[1]} values differ"
    return compare_configs(theirs, mine, len(b))


def compare_configs(theirs, mine, n_tensors):
    with open(os.path.join(theirs, "config.json")) as f:
        a = json.load(f)
    with open(os.path.join(mine, "config.json")) as f:
        b = json.load(f)
    a.pop("transformers_version", None)
    b.pop("transformers_version", None)
    if a.get("tie_word_embeddings") and not b.get("tie_word_embeddings") and n_tensors == 39:
        # The peer writes an own head beside a config that says tied; here config.json tells.
        a["tie_word_embeddings"] = False
    return None if a == b else f"config.json: {sorted(k for k in a.keys() | b.keys() if a.get(k) != b.get(k))}"


def same_bytes(theirs, mine):
    with open(os.path.join(theirs, "model.safetensors"), "rb") as f, \
            open(os.path.join(mine, "model.safetensors"), "rb") as g:
        return f.read() == g.read()


def run_case(build, work, i, name, text):
    theirs, mine = os.path.join(work, f"peer{i}"), os.path.join(work, f"ours{i}")
    os.makedirs(theirs)
    said, told = peer(text, theirs), ours(build, text, mine)
    if name in BOTH_REFUSE:
        return None if said and told else f"peer: {said or 'accepted'}; here: {told or 'accepted'}", ""
    if said or told:
        return f"peer: {said or 'done'}; here: {told or 'done'}", ""
    wrong = compare(theirs, mine)
    with safe_open(os.path.join(mine, "model.safetensors"), "pt") as f:
        if f.metadata() != {"format": "pt"}:
            wrong = "metadata differs"
    return wrong, "the same file" if same_bytes(theirs, mine) else ""


def check_locked(build, scale):
    """The peer's merge of models locked with one key is our lock of the peer's merge of the open
    ones, bit for bit but for the sign of zeros, which the peer's sum loses."""
    tool = os.path.join(build, "weightward")
    there = f"locked{len(scale)}"
    recipe = "merge_method: linear\n" + TWO + "dtype: float32\n"
    lock = lambda a, b: subprocess.run(  # noqa: E731
        [tool, "lock", a, b, "--key", "team.lock", "-q", *scale], check=True)
    os.makedirs(f"{there}-out")
    os.makedirs(f"{there}-open")
    for name in ("expert-rev", "expert-caesar"):
        lock(name, f"{there}-{name}")
    said = (peer(recipe.replace("model: ", f"model: {there}-"), f"{there}-out")
            or peer(recipe, f"{there}-open"))
    if said:
        return said
    shutil.rmtree(f"{there}-open/attestations", ignore_errors=True)
    lock(f"{there}-open", f"{there}-want")
    got, want = (load_file(f"{there}-{x}/model.safetensors") for x in ("out", "want"))
    bad = [k for k in want if not torch.equal(got[k], want[k])]
    return f"{len(bad)} tensors are not the lock of the merge: {bad[:3]}" if bad else None


SHARE_TIES, SHARE_SLERP = 0.05, 0.01
# mergekit's own arithmetic: values that may differ, as a share of all. In ties it leaves equal
# magnitudes to an unstable sort, slerp's coefficients come from its float32 sums.
BASED = "base_model: base\n" + TWO
ARITHMETIC = {
    "linear": ("merge_method: linear\n" + TWO, 0),
    "linear without normalize": ("merge_method: linear\n" + TWO + "parameters: {normalize: false}\n", 0),
    "passthrough": ("merge_method: passthrough\nmodels: [{model: expert-rev, parameters: {scale: 0.7}}]\n", 0),
    "task_arithmetic": ("merge_method: task_arithmetic\n" + BASED, 0),
    "task_arithmetic with all": ("merge_method: task_arithmetic\n" + BASED
                                 + "parameters: {normalize: true, lambda: 0.9}\n", 0),
    "ties without a cut": ("merge_method: ties\n" + BASED + "parameters: {density: 1, lambda: 1.1}\n", 0),
    "ties": ("merge_method: ties\n" + BASED + "parameters: {density: 0.5}\n", SHARE_TIES),
    "breadcrumbs": ("merge_method: breadcrumbs\n" + BASED + "parameters: {density: 0.5, gamma: 0.01}\n", SHARE_TIES),
    "slerp": ("merge_method: slerp\nbase_model: expert-rev\nmodels: [{model: expert-rev}, "
              "{model: expert-caesar}]\nparameters: {t: 0.37}\n", SHARE_SLERP),
}


def differ(a, b, exact):
    """Values that differ; of float32 where coefficients are sums: by more than their error."""
    if exact or str(a.dtype) != "torch.float32":
        return (a != b).sum()
    return ((a - b).abs() > 2e-6 * a.abs().max()).sum()


def check_arithmetic(build, i, text, share):
    worst, unequal = [], []
    for k, dtype in enumerate(("dtype: bfloat16\n", "dtype: float16\nout_dtype: bfloat16\n",
                               "dtype: float32\n", "")):
        theirs, mine = f"arithmetic{i}-{k}-peer", f"arithmetic{i}-{k}-ours"
        said = peer(text + dtype, theirs)
        told = ours(build, text + dtype, mine, "--arithmetic", "mergekit")
        if said or told:
            return f"peer: {said or 'done'}; here: {told or 'done'}"
        a, b = (load_file(os.path.join(x, "model.safetensors")) for x in (theirs, mine))
        n = sum(t.numel() for t in a.values())
        off = sum(int(differ(t, b[name], exact=share != SHARE_SLERP)) for name, t in a.items())
        worst.append(off / n)
        unequal.append(sum(int((t != b[name]).sum()) for name, t in a.items()) / n)
    print("       " + " ".join(f"{u:.2e}" for u in unequal) + " of the values are not equal "
          "(bfloat16, float16, float32, no dtype)")
    return None if max(worst) <= share else f"more than {share}"


# The peer counts three mergers of deeper layers, whatever the model says.
families.CASES["qwen3_vl-three"] = families.reads(
    "Qwen3VL", families.QWEN3, {**families.DEEP, "deepstack_visual_indexes": [0, 1, 2]}, **families.SEEN)

# Modules of models with several towers: every module with weights of its own.
TOWERS = {"qwen2_5_vl": ("text_decoder", "vision_tower", "multi_modal_projector"),
          "qwen3_vl-three": ("text_decoder", "vision_tower", "multi_modal_projector"),
          "t5-gated": ("encoder", "decoder", "shared")}


def check_modules(build, family):
    one = families.write(family, "towers")
    two = one + "-two"
    shutil.copytree(one, two)
    generator = torch.Generator().manual_seed(3)
    path = os.path.join(two, "model.safetensors")
    tensors = {n: (t + 0.1 * torch.randn(t.shape, generator=generator).to(t.dtype))
               for n, t in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})
    text = "merge_method: linear\nmodules:\n"
    for i, module in enumerate(TOWERS[family]):
        text += (f"  {module}:\n    models:\n      - {{model: {one}, parameters: {{weight: {0.31 + 0.1 * i}}}}}\n"
                 f"      - {{model: {two}, parameters: {{weight: {[[0.57, 0.34], [0.87, 0.23]][i % 2]}}}}}\n")
    theirs, mine = f"towers/{family}-peer", f"towers/{family}-ours"
    said, told = peer(text, theirs), ours(build, text, mine)
    if said or told:
        return f"peer: {said or 'done'}; here: {told or 'done'}"
    lacking = ours(build, text[:text.index(f"  {TOWERS[family][2]}:")], mine + "-lacking")
    if "the merge would lack it" not in (lacking or ""):
        return f"without its last module: {lacking or 'done'}"
    a, b = (load_file(os.path.join(x, "model.safetensors")) for x in (theirs, mine))
    if not a.keys() <= b.keys():
        return f"names that only the peer has: {sorted(a.keys() - b.keys())[:4]}"
    wrong = [w for n, t in a.items() for w in [compare_values(n, t, b[n], [0, 0])] if w]
    if not wrong:
        print(f"       {family}: {len(a)} of {len(b)} tensors are in the peer's architecture file")
    return wrong[0] if wrong else None


TALK = [("system", "S"), ("user", "Hi"), ("assistant", "Yo"), ("user", "More")]
RENDERED = {
    "alpaca": "S\n\n### Instruction:\nHi\n\n### Response:\nYo\n\n### Instruction:\nMore\n\n### Response:\n",
    "chatml": None,   # as by the peer
    "exaone": "[|system|]S[|endofturn|]\n[|user|]Hi\n[|assistant|]Yo[|endofturn|]\n[|user|]More\n[|assistant|]",
    "llama3": "<B>" + "".join(f"<|start_header_id|>{r}<|end_header_id|>\n\n{t}<|eot_id|>" for r, t in TALK)
              + "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "mistral": None,
}


def rendered(folder):
    """As transformers renders it."""
    with open(os.path.join(folder, "chat_template.jinja")) as f:
        template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(f.read())
    return template.render(messages=[{"role": r, "content": t} for r, t in TALK], bos_token="<B>",
                           eos_token="<E>", add_generation_prompt=True)


def check_template(build, name, want):
    text = "merge_method: linear\n" + TWO + f"chat_template: {name}\n"
    told = ours(build, text, f"talk-{name}")
    said = None if want or told else peer(text, f"talk-{name}-peer")
    if told or said:
        return f"peer: {said or 'done'}; here: {told or 'done'}"
    got, want = rendered(f"talk-{name}"), want or rendered(f"talk-{name}-peer")
    return None if got == want else f"{got!r} is not {want!r}"


def main():
    build, names = os.path.abspath(sys.argv[1]), sys.argv[2:]
    failed = 0
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as work:
        make_models(work)
        os.chdir(work)
        for i, (name, text) in enumerate({**CASES, **BOTH_REFUSE}.items()):
            if names and name not in names:
                continue
            wrong, note = run_case(build, work, i, name, text)
            failed += wrong is not None
            print(f"{'FAILED' if wrong else 'ok':7}{name}{': ' + (wrong or note) if wrong or note else ''}",
                  flush=True)
        subprocess.run([os.path.join(build, "weightward"), "key", "new", "lock", "--out", "team.lock",
                        "--no-passphrase", "-q"], check=True)
        for scale in ([], ["--no-scale"]) if not names or "locked" in names else []:
            wrong = check_locked(build, scale)
            failed += wrong is not None
            print(f"{'FAILED' if wrong else 'ok':7}locked {' '.join(scale)}: {wrong or 'the lock of the merge'}",
                  flush=True)
        for i, (name, (text, share)) in enumerate(ARITHMETIC.items()):
            if names and "arithmetic" not in names:
                continue
            wrong = check_arithmetic(build, i, text, share)
            failed += wrong is not None
            print(f"{'FAILED' if wrong else 'ok':7}arithmetic of {name}{': ' + wrong if wrong else ''}", flush=True)
        for name, want in RENDERED.items() if not names or "templates" in names else []:
            wrong = check_template(build, name, want)
            failed += wrong is not None
            print(f"{'FAILED' if wrong else 'ok':7}template {name}{': ' + wrong if wrong else ''}", flush=True)
        for family in TOWERS if not names or "modules" in names else []:
            wrong = check_modules(build, family)
            failed += wrong is not None
            print(f"{'FAILED' if wrong else 'ok':7}modules of {family}{': ' + wrong if wrong else ''}",
                  flush=True)
    print(f"{failed} failed" if failed else "mergekit and weightward agree")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
