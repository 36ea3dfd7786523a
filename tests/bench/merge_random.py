#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random recipes through mergekit 0.1.5 and through weightward merge, and their values compared.

    merge_random.py BUILD [--first SEED] [--count N] [--only METHODS] [--keep DIR] [--models DIR]

A recipe is drawn from its seed alone: method, models, scopes, gradients, filters, slices, dtypes,
vocabularies, adapters and documents that name each other's results. Either program may refuse: both
must, but for the differences in DOCUMENTED. Where dtype is float64 values must be equal to 1e-9 of
the tensor's largest one (1e-7 with rescaling, whose sums are rounded to float here, and in tables of
words), else to 6e-6 and the rounding of the output; methods that select may differ in few elements
of a float32 tensor. Where the peer rounds to 16 bits and writes others, ours is --arithmetic mergekit.
Methods that draw masks have the same masks in both (peer_masks.py). Names, shapes, dtypes, config.json
and the tokens must be equal. The peer runs in this process, since it
takes longer to start than to merge. With PYTHONHASHSEED=0 it gives the same every time. --keep: recipes
to look at, and refused.txt with what both said of those that both refuse.
"""
import argparse
import collections
import itertools
import json
import logging
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../interop"))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")
import make_models as families  # noqa: E402
import torch  # noqa: E402
import yaml  # noqa: E402
from mergekit.config import MergeConfiguration  # noqa: E402
from mergekit.io.tasks import LoaderCache  # noqa: E402
from mergekit.merge import MergeOptions, run_merge  # noqa: E402
from mergekit.scripts import multimerge  # noqa: E402
from model_parts import GPT, VOCAB, of, std  # noqa: E402
import peer_masks  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402


def in_order(config, found=MergeConfiguration.referenced_models):
    """mergekit's set of models in the order of the recipe: it takes a tokenizer from the first, and hashes decide which that is."""
    named = [config.base_model] + [m.model for m in config.models or []]
    named += [source.model for part in config.slices or [] for source in part.sources]
    return sorted(found(config), key=lambda m: (named.index(m) if m in named else len(named), str(m)))


MergeConfiguration.referenced_models = in_order

LAYERS = 5
FOUR = dict(num_hidden_layers=LAYERS)
FAMILIES = {
    "llama": std("Llama", head_dim=16, **FOUR),
    "llama-tied": std("Llama", head_dim=16, tie_word_embeddings=True, **FOUR),
    "qwen2": std("Qwen2", **FOUR),
    "qwen3": std("Qwen3", head_dim=16, **FOUR),
    "mistral": std("Mistral", head_dim=16, sliding_window=8, **FOUR),
    "gemma2": std("Gemma2", head_dim=16, query_pre_attn_scalar=20, sliding_window=8, **FOUR),
    "mixtral": std("Mixtral", head_dim=16, num_local_experts=3, num_experts_per_tok=2,
                   intermediate_size=24, **FOUR),
    "phi3": std("Phi3", **FOUR),
    "gpt2": of("GPT2LMHeadModel", "GPT2Config", **{**GPT, "n_layer": LAYERS, "n_embd": 48}),
    "stablelm": std("StableLm", num_key_value_heads=2, use_qkv_bias=True, **FOUR),
    "starcoder2": std("Starcoder2", sliding_window=8, **FOUR),
    "olmo2": std("Olmo2", **FOUR),
}
SPECIAL = ["<pad>", "<bos>", "<eos>", "<unk>"]
EXPERTS = ("a", "b", "c")
# What a method takes: parameters of a source, parameters of the whole, need of a base, most sources.
WEIGHT, UNIT = ("weight", "weight"), ("density", "share")
FAMILY = ([WEIGHT, UNIT], [("normalize", "flag"), ("rescale", "flag"), ("lambda", "scale"), ("int8_mask", "flag")])
METHODS = {
    "linear": ([WEIGHT], [("normalize", "flag")], "no", 4),
    "slerp": ([], [("t", "t!")], "yes", 1),
    "nuslerp": ([WEIGHT], [("nuslerp_flatten", "flag"), ("nuslerp_row_wise", "flag")], "may", 2),
    "multislerp": ([WEIGHT], [("normalize_weights", "flag"), ("eps", "small")], "may", 3),
    "karcher": ([], [("max_iter", "count"), ("tol", "small")], "no", 4),
    "task_arithmetic": (*FAMILY, "yes", 3),
    "ties": (*FAMILY, "yes", 3),
    "dare_linear": (*FAMILY, "yes", 3),
    "dare_ties": (*FAMILY, "yes", 3),
    "della": (FAMILY[0] + [("epsilon", "little")], FAMILY[1], "yes", 3),
    "della_linear": (FAMILY[0] + [("epsilon", "little")], FAMILY[1], "yes", 3),
    "breadcrumbs": (FAMILY[0] + [("gamma", "little")], FAMILY[1], "yes", 3),
    "breadcrumbs_ties": (FAMILY[0] + [("gamma", "little")], FAMILY[1], "yes", 3),
    "sce": ([], [("select_topk", "share"), ("int8_mask", "flag")], "yes", 3),
    "model_stock": ([], [("filter_wise", "flag")], "yes", 3),
    "nearswap": ([], [("t", "near!")], "yes", 1),
    "arcee_fusion": ([], [], "yes", 1),
    "ram": ([], [("epsilon", "step")], "yes", 3),
    "ramplus_tl": ([], [("epsilon", "step"), ("r", "scale"), ("alpha", "share")], "yes", 3),
    "passthrough": ([("scale", "scale")], [], "no", 1),
}
DRAWN = ("dare_linear", "dare_ties", "della", "della_linear")
# Experts are one tensor for the peer and files keep one for each, so only what goes by elements is equal.
BY_ELEMENT = ("linear", "task_arithmetic", "nearswap", "passthrough", "ram")
SELECTING = ("ties", "breadcrumbs", "breadcrumbs_ties", "sce", "arcee_fusion", "ram", "ramplus_tl")
# Refusals that are ours alone, or the peer's alone, and where they are said.
DOCUMENTED = [
    ("ours", r"the weights sum to 0|weights sum to", "fail closed: a sum of 0 gives no number"),
    ("ours", r"outside 0 to 1", "fail closed: densities past the ends"),
    ("ours", r"of \d+ elements select none", "fail closed: an empty selection"),
    ("peer", r"equal to the number of `layer_types`", "the peer leaves layer_types as they were"),
    ("peer", r"source=None force=False", "the peer has no row for a token that is listed without a source"),
    ("peer", r"^KeyError: \d+", "the peer stops where a model has an id for a token and no row for it"),
    ("ours", r"the base's tokenizer is wanted", "the peer takes a model by the order of its hashes"),
    ("ours", r"takes 1 to 62 models beside the base, here are 0", "the peer gives the base itself"),
    ("ours", r"is not finite|NaN|infinite", "fail closed: NaN or infinity"),
]


def tables_of(tensors):
    """The tables of words: every tensor with as many rows as there are tokens."""
    return [n for n, t in tensors.items() if t.shape and t.shape[0] == VOCAB and "layers" not in n]


def write_tokenizer(folder, order):
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "pre_tokenizer": None,
        "post_processor": None, "decoder": {"type": "Fuse"},
        "added_tokens": [dict(id=i, content=t, single_word=False, lstrip=False, rstrip=False, normalized=False,
                              special=True) for i, t in enumerate(order) if t in SPECIAL],
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {t: i for i, t in enumerate(order)}, "merges": []}}
    with open(os.path.join(folder, "tokenizer.json"), "w") as f:
        json.dump(tokenizer, f)
    with open(os.path.join(folder, "tokenizer_config.json"), "w") as f:
        json.dump({"tokenizer_class": "TokenizersBackend", "backend": "tokenizers", "pad_token": "<pad>",
                   "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "model_max_length": 48}, f)


def edit_config(folder, **more):
    path = os.path.join(folder, "config.json")
    with open(path) as f:
        config = json.load(f)
    config.update(more)
    with open(path, "w") as f:
        json.dump(config, f, indent=2)


def tune(source, folder, seed, dtype=torch.float32, sparse=False):
    """A fine-tune of source: noise on every tensor, or on some elements of it."""
    shutil.copytree(source, folder)
    g = torch.Generator().manual_seed(seed)
    tensors = load_file(os.path.join(folder, "model.safetensors"))
    for name in sorted(tensors):
        t = tensors[name]
        noise = 0.1 * torch.randn(t.shape, generator=g)
        if sparse:
            noise = noise * (torch.rand(t.shape, generator=g) < 0.4)
        tensors[name] = (t + noise.to(t.dtype)).to(dtype)
    save_file(tensors, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})


def other_words(source, folder, seed):
    """The model with its tokens in another order, some of them gone and some new."""
    shutil.copytree(source, folder)
    rng = random.Random(seed)
    g = torch.Generator().manual_seed(seed)
    with open(os.path.join(folder, "tokenizer.json")) as f:
        old = json.load(f)["model"]["vocab"]
    plain = [t for t in old if t not in SPECIAL]
    rng.shuffle(plain)
    order = SPECIAL + plain[rng.randint(0, 5):] + [f"<{seed % 3}{i}>" for i in range(rng.randint(0, 4))]
    order += ["<x>"] if rng.random() < 0.6 else []
    tensors = load_file(os.path.join(folder, "model.safetensors"))
    spare = rng.choice([0, 0, 5])   # rows behind the last token, as of tables that were padded
    for name in tables_of(tensors):
        t = tensors[name]
        rows = [t[old[w]] if w in old else torch.randn(t.shape[1:], generator=g) for w in order]
        tensors[name] = torch.stack(rows + [torch.randn(t.shape[1:], generator=g) for _ in range(spare)])
    save_file(tensors, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    write_tokenizer(folder, order)
    edit_config(folder, vocab_size=len(order) + spare)


def tie(source, folder):
    """The model without a head of its own."""
    shutil.copytree(source, folder)
    path = os.path.join(folder, "model.safetensors")
    tensors = load_file(path)
    del tensors["lm_head.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
    edit_config(folder, tie_word_embeddings=True)


def make_family(name, work):
    folder = os.path.join(work, name)
    families.CASES[name] = FAMILIES[name]
    families.write(name, work)
    os.rename(folder, folder + "-base")
    base = folder + "-base"
    write_tokenizer(base, SPECIAL + [chr(33 + i) for i in range(VOCAB - len(SPECIAL))])
    for i, x in enumerate(EXPERTS):
        tune(base, f"{folder}-{x}", 10 + i, sparse=x == "c")
    tune(base, f"{folder}-half", 20, dtype=torch.bfloat16)
    edit_config(f"{folder}-half", dtype="bfloat16")
    for i, x in enumerate(("v", "w")):
        other_words(f"{folder}-{EXPERTS[i]}", f"{folder}-{x}", sum(name.encode()) + i)
    if name == "llama":
        make_adapter(work, name)
        tie(f"{folder}-b", f"{folder}-t")


def make_adapter(work, name):
    """A LoRA adapter of the base, with a rank of its own for one module."""
    folder = os.path.join(work, f"{name}-lora")
    os.makedirs(folder)
    tensors = load_file(os.path.join(work, f"{name}-base", "model.safetensors"))
    g = torch.Generator().manual_seed(77)
    out = {}
    for n, t in tensors.items():
        if n.endswith(("q_proj.weight", "down_proj.weight")):
            rank = 2 if "layers.1." in n else 3
            stem = "base_model.model." + n[:-len(".weight")]
            out[stem + ".lora_A.weight"] = 0.3 * torch.randn(rank, t.shape[1], generator=g)
            out[stem + ".lora_B.weight"] = 0.3 * torch.randn(t.shape[0], rank, generator=g)
    save_file(out, os.path.join(folder, "adapter_model.safetensors"), metadata={"format": "pt"})
    with open(os.path.join(folder, "adapter_config.json"), "w") as f:
        json.dump({"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 3, "lora_alpha": 5, "lora_dropout": 0.0,
                   "rank_pattern": {r"layers\.1\..*": 2}, "alpha_pattern": {}, "bias": "none",
                   "target_modules": ["q_proj", "down_proj"], "base_model_name_or_path": f"{name}-base",
                   "fan_in_fan_out": False, "use_rslora": False, "inference_mode": True}, f)


def is_behind(name):
    """Does the tensor stand behind the layers?"""
    return not re.search(r"\.\d+\.|embed|wte|wpe", name)


class Recipe:
    """One recipe as the seed gives it."""

    def __init__(self, seed, names):
        self.rng = random.Random(seed)
        self.family = self.rng.choice(sorted(FAMILIES))
        self.names = names[self.family]
        self.method = self.rng.choice(BY_ELEMENT if self.family == "mixtral" else sorted(METHODS))
        self.words = False
        self.text = self.make()

    def chance(self, share):
        return self.rng.random() < share

    def number(self, kind):
        r = self.rng
        if kind == "weight":
            return round(r.uniform(0.1, 1.4) * (-1 if self.chance(0.08) else 1), 3)
        if kind == "share":
            return r.choice([0.0, 1.0, round(r.uniform(0.2, 0.8), 2), round(r.uniform(0.2, 0.8), 2), 1, 0.999])
        if kind == "little":
            return round(r.uniform(0.01, 0.15), 3)
        if kind == "scale":
            return r.choice([0.0, round(r.uniform(-1, 2), 3), round(r.uniform(-1, 2), 3), 1])
        if kind == "t!":
            return r.choice([0, 1, round(r.random(), 3), round(r.random(), 3)])
        if kind == "near!":
            return round(r.uniform(0.001, 0.2), 4)
        if kind == "step":
            return round(r.uniform(0.001, 0.15), 4)
        if kind == "small":
            return r.choice([1e-8, 1e-5, 1e-3])
        if kind == "count":
            return r.choice([0, 1, 3, 10, 25])
        return r.choice([True, False])

    def value(self, kind):
        """A number, a gradient, or a number as text."""
        if self.chance(0.3) and kind not in ("count",):
            return [self.number(kind) for _ in range(self.rng.randint(1, 5))]
        v = self.number(kind)
        return f"{v:e}" if isinstance(v, float) and self.chance(0.08) else v

    def setting(self, kind):
        """A value, or values with filters."""
        if self.chance(0.65):
            return self.value(kind)
        filters = [self.rng.choice(self.names) for _ in range(self.rng.randint(1, 3))]
        out = [{"filter": f, "value": self.value(kind)} for f in filters]
        if self.chance(0.7):
            out.append(self.rng.choice([{"value": self.value(kind)}, {"filter": "*", "value": self.value(kind)},
                                        {"filter": None, "value": self.value(kind)}]))
        if len(out) == 1 and self.chance(0.5):
            return out[0]
        return out

    def parameters(self, which, share):
        out = {name: self.setting(kind) for name, kind in which if self.chance(share)}
        return {"parameters": out} if out or self.chance(0.05) else {}

    def model(self, name):
        return f"{self.family}-{name}"

    def pick_sources(self, n):
        pool = list(EXPERTS)
        if self.chance(0.15):
            pool[self.rng.randrange(3)] = "half"
        if self.family == "llama" and self.chance(0.2):
            pool[self.rng.randrange(3)] = "t"
        if self.words:
            pool = ["a", "v", "w"]
        out = [self.model(x) for x in self.rng.sample(pool, min(n, 3))]
        if self.family == "llama" and self.chance(0.25) and not self.words:
            out[self.rng.randrange(len(out))] = "llama-base+llama-lora"
        return out

    def make(self):
        source, whole, base, most = METHODS[self.method]
        r = self.rng
        self.words = self.chance(0.22)
        n = r.randint(1, most)
        if self.method == "model_stock":
            n = r.randint(1, 3) if self.chance(0.1) else r.randint(2, 3)
        if self.method == "nuslerp":
            n = 2 if self.chance(0.9) else 1
        sources = self.pick_sources(n)
        doc = {"merge_method": self.method}
        has_base = base == "yes" and not self.chance(0.03) or base == "may" and self.chance(0.5) \
            or base == "no" and self.chance(0.1)
        base_name = self.model("base") if self.chance(0.85) or n < 2 else sources[0]
        if has_base:
            doc["base_model"] = base_name
        listed = list(sources)
        if base_name in listed and base == "yes" and len(listed) < 2:
            listed.append(self.model("c" if self.model("c") not in listed else "b"))
        if has_base and base_name not in listed and self.chance(0.4):
            listed.insert(r.randint(0, len(listed)), base_name)
        form = r.choice(["models"] * 5 + ["slices"] * 3 + ["modules"])
        if form == "models":
            doc["models"] = [self.entry(m, source, doc) for m in listed]
        elif form == "slices":
            doc["slices"] = self.slices(listed, source, whole, doc)
        else:
            inner = {"models": [self.entry(m, source, doc) for m in listed]} if self.chance(0.5) else \
                {"slices": self.slices(listed, source, whole, doc)}
            inner.update(self.parameters(source + whole, 0.4))
            doc["modules"] = {"default": inner}
        # The peer gives tensors behind the layers as many inputs as the first slice has.
        slices = doc.get("slices") or doc.get("modules", {}).get("default", {}).get("slices") or [{"sources": []}]
        self.uneven = len(slices[0]["sources"]) != len(slices[-1]["sources"])
        self.globals(doc, source, whole)
        self.vocabulary(doc, listed)
        docs = [doc]
        if self.chance(0.08) and "lora" not in str(doc):
            docs = self.graph(doc, listed)
        return "---\n".join(yaml.safe_dump(d, sort_keys=False) for d in docs)

    def entry(self, model, source, doc):
        if self.chance(0.03):
            name, _, lora = model.partition("+")
            return {"model": {"model": {"path": name}, **({"lora": {"path": lora}} if lora else {})},
                    **self.parameters(source, 0.7)}
        return {"model": model, **self.parameters(source, 0.7)}

    def slices(self, listed, source, whole, doc):
        r = self.rng
        out = []
        base = doc.get("base_model")
        for _ in range(r.randint(1, 4)):
            length = r.choice([1, 1, 2, 3])
            inputs = list(listed)
            if base and base not in inputs and not self.chance(0.05):
                inputs.append(base)
            if len(inputs) > 2 and self.chance(0.15) and self.method != "nuslerp":
                drop = r.choice([x for x in inputs if x != base])
                inputs.remove(drop)
            sources = []
            for m in inputs:
                first = r.randint(0, LAYERS - length + (1 if self.chance(0.01) else 0))
                sources.append({"model": m, "layer_range": [first, first + length + (1 if self.chance(0.01) else 0)],
                                **self.parameters(source, 0.6)})
            one = {"sources": sources, **self.parameters(source + whole, 0.4)}
            if base and self.chance(0.1):
                one["base_model"] = r.choice(inputs)
            if self.chance(0.04):
                one["residual_weight"] = 0.5
            out.append(one)
        return out

    def globals(self, doc, source, whole):
        r = self.rng
        required = [(n, k) for n, k in source + whole if k in ("weight", "t!", "near!")]
        out = {n: self.setting(k) for n, k in source + whole if self.chance(0.35)}
        for n, k in required:
            if self.chance(0.93):
                out[n] = self.value(k) if self.chance(0.8) else [
                    {"filter": r.choice(self.names), "value": self.value(k)}, {"value": self.value(k)}]
        if out:
            doc["parameters"] = out
        doc["dtype"] = r.choice(["float64"] * 6 + ["float32"] * 3 + [None])
        if doc["dtype"] is None:
            del doc["dtype"]
        if self.method in ("linear", "slerp", "passthrough") and self.chance(0.15):
            doc["dtype"] = r.choice(["bfloat16", "float16"])   # which the peer computes in float32
        if self.chance(0.3):
            doc["out_dtype"] = r.choice(["float32", "float64", "bfloat16", "float16"])

    def vocabulary(self, doc, listed):
        r = self.rng
        if not self.words and not self.chance(0.12):
            return
        if self.words and self.chance(0.1):
            return
        source = r.choice(["union", "union", "base", r.choice(listed).split("+")[0]])
        if self.chance(0.5):
            doc["tokenizer_source"] = source
            return
        block = {"source": source}
        tokens = {}
        models = [m for m in listed if "+" not in m]
        for _ in range(r.randint(0, 3)) if models else []:
            token = r.choice(["A", "b", "<x>", "<new>", "z", "<new2>", "Q"])
            kind = r.choice(["model", "zero", "token", "id", "none"])
            m = r.choice(models)
            tokens[token] = {
                "model": {"source": m}, "zero": {"source": {"kind": "zero"}},
                "token": {"source": {"kind": "model_token", "model": m, "token": r.choice(["A", "x", "<x>"])}},
                "id": {"source": {"kind": "model_token", "model": m, "token_id": r.randint(0, VOCAB - 8)}},
                "none": {}}[kind]
            if self.chance(0.5):
                tokens[token]["force"] = self.chance(0.6)
        if tokens:
            block["tokens"] = tokens
        if self.chance(0.4):
            block["pad_to_multiple_of"] = r.choice([8, 16, 64, 1])
        doc["tokenizer"] = block

    def graph(self, doc, listed):
        """The recipe with one of its models made by a recipe before it."""
        replaced = self.rng.choice(listed)
        first = {"name": "before", "merge_method": "linear",
                 "models": [{"model": self.model(x), "parameters": {"weight": self.number("weight")}}
                            for x in ("a", "b")], "dtype": "float32"}
        text = re.sub(rf"\b{re.escape(replaced)}\b(?![+-])", "before", yaml.safe_dump(doc, sort_keys=False))
        last = yaml.safe_load(text)
        docs = [first, last]
        if self.chance(0.3):
            docs.reverse()
        return docs


def peer(recipe, out):
    """None when it is done, else what the peer says."""
    LoaderCache.loaders.clear()
    options = MergeOptions(quiet=True, copy_tokenizer=True, write_model_card=False, lora_merge_cache="lora-cache",
                           lora_merge_dtype="float32", random_seed=1)
    try:
        if "---\n" in recipe.text:
            between = out + "-between"
            configs, needs = multimerge.load_config(recipe.text, between)
            for task in multimerge.make_tasks(configs, needs, options, between, out, False):
                for one in order_of(task):
                    one.execute()
        else:
            run_merge(MergeConfiguration.model_validate(yaml.safe_load(recipe.text)), out, options)
    except Exception as error:  # the peer has no error type of its own
        return f"{type(error).__name__}: {error}".replace("\n", " ")[:300]
    return None


def order_of(task):
    out = []
    for before in task.arguments().values():
        out += order_of(before)
    return out + [task]


def rounded_between(text):
    """The 16-bit type that the peer rounds to before it writes another one, or None."""
    dtype, out = (re.search(rf"^{key}: (\w+)$", text.split("---\n")[-1], re.M) for key in ("dtype", "out_dtype"))
    is_between = dtype and out and dtype[1] in ("bfloat16", "float16") and out[1] != dtype[1]
    return getattr(torch, dtype[1]) if is_between else None


def ours(build, recipe, out):
    with open(out + ".yml", "w") as f:
        f.write(recipe.text)
    more = ["--arithmetic", "mergekit"] if rounded_between(recipe.text) else []
    run = subprocess.run([os.path.join(build, "weightward"), "merge", out + ".yml", out, "--quiet", *more],
                         text=True, stderr=subprocess.PIPE)
    return None if run.returncode == 0 else run.stderr.strip() or f"exit status {run.returncode}"


def one_tensor_of_experts(tensors):
    """The names and shapes that the peer gives Mixtral's experts."""
    out = {n.replace("block_sparse_moe.gate", "mlp.gate"): t for n, t in tensors.items() if ".experts." not in n}
    for stem in sorted({n.split(".experts.")[0] for n in tensors if ".experts." in n}):
        n = len([x for x in tensors if x.startswith(stem + ".experts.") and x.endswith(".w1.weight")])
        w = {k: [tensors[f"{stem}.experts.{i}.w{k}.weight"] for i in range(n)] for k in (1, 2, 3)}
        stem = stem.replace("block_sparse_moe", "mlp") + ".experts."
        out[stem + "gate_up_proj"] = torch.stack([torch.cat([w[1][i], w[3][i]]) for i in range(n)])
        out[stem + "down_proj"] = torch.stack(w[2])
    return out


def tensors_of(folder):
    out = {}
    for f in sorted(os.listdir(folder)):
        if f.endswith(".safetensors"):
            out.update(load_file(os.path.join(folder, f)))
    return out


def tokens_of(folder):
    path = os.path.join(folder, "tokenizer.json")
    return Tokenizer.from_file(path).get_vocab() if os.path.exists(path) else None


def rows_of(x, y):
    """The peer's row of each of our tokens."""
    return [x[t] for t in sorted(y, key=y.get)] if x and y else []


def compare(recipe, theirs, mine):
    a, b = tensors_of(theirs), tensors_of(mine)
    if any("mlp.experts.gate_up_proj" in n for n in a):
        b = one_tensor_of_experts(b)
    if "llama-t" in recipe.text and "lm_head.weight" not in a:
        b.pop("lm_head.weight", None)   # of slices that end with a tied model: the peer writes none
    if a.keys() != b.keys():
        return f"names differ: the peer's {sorted(a.keys() - b.keys())[:3]}, ours {sorted(b.keys() - a.keys())[:3]}"
    x, y = tokens_of(theirs), tokens_of(mine)
    if (x or {}).keys() != (y or {}).keys():
        return f"tokens differ: {sorted((x or {}).keys() ^ (y or {}).keys())[:5]}"
    rows = rows_of(x, y)
    off = []
    for name, t in a.items():
        u = b[name]
        if t.dtype != u.dtype or t.shape != u.shape:
            return f"{name}: peer {t.dtype} {list(t.shape)}, here {u.dtype} {list(u.shape)}"
        if recipe.uses_words and name in recipe.tables:
            t = t[torch.tensor(rows + list(range(len(rows), len(t))))]
        if not (recipe.uneven and is_behind(name)):
            off.append(difference(recipe, name, t.double(), u.double(), u.dtype))
    worst = max((o for o in off if o), default=None)
    if worst:
        n = len([o for o in off if o])
        return f"{worst[2]}: {worst[1]} of {worst[3]} values, {worst[0]:.3g} apart ({n} tensors)"
    return compare_configs(recipe, theirs, mine)


ROUNDED = {torch.bfloat16: 2 ** -7, torch.float16: 2 ** -10, torch.float32: 2e-7, torch.float64: 0}


def difference(recipe, name, t, u, dtype):
    exact = "dtype: float64" in recipe.text.replace("out_dtype", "") and "lora" not in recipe.text \
        and recipe.method not in ("karcher", "ramplus_tl", *DRAWN) and "---\n" not in recipe.text
    top = float(t.abs().max()) if t.numel() else 0
    limit = (6e-6 if not exact else 1e-7 if "rescale" in recipe.text or recipe.uses_words and name in recipe.tables
             else 1e-9) * max(top, 1e-30) + ROUNDED[dtype] * t.abs()
    if recipe.method == "slerp" and rounded_between(recipe.text):   # whose angles decide how 16 bits are rounded
        limit = ROUNDED[rounded_between(recipe.text)] * t.abs() + limit
    far = (t - u).abs() > limit
    n = int(far.sum())
    few = max(3, t.numel() // 1000) if recipe.method in SELECTING and not exact else 0
    if n <= few and bool(torch.isfinite(u).all()):
        return None
    return (float((t - u).abs().max()), n, name, t.numel())


def compare_configs(recipe, theirs, mine):
    configs = []
    for folder in (theirs, mine):
        with open(os.path.join(folder, "config.json")) as f:
            configs.append(json.load(f))
        for key in ("transformers_version", "torch_dtype", "dtype"):
            configs[-1].pop(key, None)
    a, b = configs
    keys = sorted(k for k in a.keys() | b.keys() if a.get(k) != b.get(k))
    if "layer_range" in recipe.text:      # here the kinds of layers follow them, the peer leaves the list
        keys = [k for k in keys if k != "layer_types"]
    if "llama-t" in recipe.text:          # here config.json says whether there is a head
        has_head = "lm_head.weight" in tensors_of(mine)
        if bool(b.get("tie_word_embeddings")) == has_head:
            return f"config.json says tied {b.get('tie_word_embeddings')}, head {has_head}"
        keys = [k for k in keys if k != "tie_word_embeddings"]
    if "base_model" not in recipe.text:   # the peer's donor is one of the models by chance
        keys = [k for k in keys if k != "vocab_size" or recipe.uses_words]
    return f"config.json: {[(k, a.get(k), b.get(k)) for k in keys]}" if keys else None


def draw_by_token(recipe, theirs, mine, masks):
    """Once more where the tokens have another order there: a token's row has the same mask in both."""
    x, y = tokens_of(theirs), tokens_of(mine)
    rows = rows_of(x, y) if x and x.keys() == y.keys() else []
    if rows == list(range(len(rows))):
        return
    for name, t in tensors_of(mine).items():
        if name in recipe.tables:
            masks.rows[name] = rows + list(range(len(rows), len(t)))
    shutil.rmtree(theirs)
    peer(recipe, theirs)
    masks.rows.clear()


def judge(build, seed, recipe, work, masks):
    theirs, mine = os.path.join(work, f"peer{seed}"), os.path.join(work, f"ours{seed}")
    masks.drawn = 0
    said = peer(recipe, theirs)
    told = ours(build, recipe, mine)
    if said and told:
        return "both refuse", f"{said[:150]} | {told[:200]}"
    if not said and not told:
        if recipe.method in DRAWN and recipe.uses_words:
            draw_by_token(recipe, theirs, mine, masks)
        wrong = compare(recipe, theirs, mine)
        return ("DIFFER", wrong) if wrong else ("equal with masks" if masks.drawn else "equal", "")
    if said and recipe.uneven and "merge inputs for" in said:
        return "documented", "the peer gives tensors behind the layers as many inputs as the first slice has"
    for side, pattern, why in DOCUMENTED:
        if side == ("ours" if told else "peer") and re.search(pattern, told or said):
            return "documented", why
    return ("ONLY OURS REFUSES", told) if told else ("ONLY THE PEER REFUSES", said)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--only", default="", help="methods, with commas between them; others are passed over")
    parser.add_argument("--keep", default="")
    parser.add_argument("--models", default="", help="folder of the models, kept for the next run")
    args = parser.parse_args()
    build = os.path.abspath(args.build)
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    begun = time.time()
    masks = peer_masks.feed()
    if args.keep:
        os.makedirs(args.keep, exist_ok=True)
    counts, found = collections.Counter(), 0
    with tempfile.TemporaryDirectory() as work:
        models = os.path.abspath(args.models) if args.models else os.path.join(work, "models")
        names, tables = {}, {}
        for f in sorted(FAMILIES):
            if not os.path.exists(os.path.join(models, f"{f}-w")):
                make_family(f, models)
            tensors = load_file(os.path.join(models, f"{f}-base", "model.safetensors"))
            names[f] = sorted({p for n in tensors if "moe" not in n
                               for p in re.findall(r"[a-z_]{3,}|\.\d\.", n)
                               if f != "mixtral" or p[0] != "." and p != "weight"}) + ["*"]
            tables[f] = tables_of(tensors)
        os.chdir(models)
        of_these = (s for s in itertools.count(args.first)
                    if not args.only or Recipe(s, names).method in args.only.split(","))
        for seed in itertools.islice(of_these, args.count):
            recipe = Recipe(seed, names)
            recipe.tables = tables[recipe.family]
            recipe.uses_words = "tokenizer" in recipe.text
            verdict, note = judge(build, seed, recipe, work, masks)
            counts[verdict] += 1
            counts["method " + recipe.method] += verdict.startswith("equal")
            if verdict.isupper():
                found += 1
                print(f"{seed} {recipe.family} {recipe.method}: {verdict}: {note}", flush=True)
                if args.keep:
                    shutil.copy(os.path.join(work, f"ours{seed}.yml"), os.path.join(args.keep, f"{seed}.yml"))
            elif verdict == "both refuse" and args.keep:
                with open(os.path.join(args.keep, "refused.txt"), "a") as f:
                    f.write(f"{seed} {note}\n")
            for x in ("peer", "ours"):
                shutil.rmtree(os.path.join(work, f"{x}{seed}"), ignore_errors=True)
    for verdict, n in sorted(counts.items()):
        print(f"{n:6} {verdict}")
    print(f"{args.count} recipes in {time.time() - begun:.0f} s, {found} to look at")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
