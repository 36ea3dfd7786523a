#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random recipes over models of every described family, in files as other programs leave them, through
mergekit 0.1.5 and through weightward merge.

    merge_forms.py BUILD [--first SEED] [--count N] [--families A,B] [--keep DIR] [--models DIR]

What is drawn from the seed, besides methods, parameters and scopes of merge_random.py: the family (make_models.py);
shards, with tensors spread over them at random, headers and data in orders of their own and metadata that there may be
or not; vectors in another dtype than matrices; a tied head that is stored all the same; chat templates in either file
and by name; adapters over shards and over stacks of experts; modules with settings of their own; documents that take each other's results; YAML with anchors, flow style,
carriage returns and numbers as text; paths with dots and slashes. Values are compared as merge_random.py does, what
mergekit leaves out of its output (tensors that its architectures do not list) is counted, and so are families that it
does not know; config.json is compared as transformers reads it. With PYTHONHASHSEED=0 it gives the same every time.
"""
import argparse
import collections
import json
import logging
import os
import random
import re
import shutil
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import merge_random as peers  # noqa: E402
import peer_masks  # noqa: E402
import torch  # noqa: E402
import yaml  # noqa: E402
from mergekit.architecture import arch_info_for_config  # noqa: E402
from merge_random import families, tensors_of, tokens_of  # noqa: E402
from model_parts import VOCAB  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from test_adapter import make_adapter  # noqa: E402
from transformers import AutoConfig  # noqa: E402

NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.float64: "F64", torch.int64: "I64",
         torch.int32: "I32", torch.bool: "BOOL"}
TEMPLATES = ["{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}\n{% endfor %}",
             "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"]
DEPTHS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
STACKED = ("qwen3_moe", "mixtral", "granitemoe")   # adapters over experts, as PEFT names them
OF_STACKS = {"target_modules": [], "target_parameters": ["experts.gate_up_proj", "experts.down_proj"]}
DOCUMENTED = [
    ("ours", r"rows of della", "fail closed: no rows of numbers to rank"),
    ("ours", r"as many rows as there are words", "the peer leaves behind what runs over the vocabulary by no known name"),
    ("ours", r"lacks|has no|is not in", "fail closed: a tensor that not all models have"),
    ("ours", r"stacks of layers", "fail closed: layers of one stack are taken, and nothing says which of the other"),
]
# Methods that go by elements see no difference between experts in one tensor and in several.
MIXTURES = re.compile(r"moe|mixtral|experts|minimax|dbrx|gpt_oss|deepseek|llama4|next|jamba|olmoe|flex")


def write_safetensors(path, tensors, rng):
    """As the format allows and the usual writer does not: any order of names, another one of the data."""
    names, order = list(tensors), list(tensors)
    rng.shuffle(names)
    rng.shuffle(order)
    header, at = {}, 0
    if rng.random() < 0.7:
        header["__metadata__"] = rng.choice([{"format": "pt"}, {"format": "pt", "made by": "a ünique tool"}, {}])
    places = {}
    for n in order:
        size = tensors[n].numel() * tensors[n].element_size()
        places[n] = [at, at + size]
        at += size
    for n in names:
        header[n] = {"dtype": NAMES[tensors[n].dtype], "shape": list(tensors[n].shape), "data_offsets": places[n]}
    text = json.dumps(header, indent=rng.choice([None, None, 1])).encode()
    text += b" " * (-len(text) % rng.choice([8, 8, 64]))
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for n in order:
            f.write(tensors[n].contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if tensors[n].numel() else b"")


def lay_out(folder, rng):
    """The model of a folder in other files."""
    tensors = tensors_of(folder)
    for f in os.listdir(folder):
        if f.endswith(".safetensors") or f.endswith(".index.json"):
            os.remove(os.path.join(folder, f))
    n = rng.choice([1, 1, 2, 3, 4])
    if n == 1:
        write_safetensors(os.path.join(folder, "model.safetensors"), tensors, rng)
        return
    shards = [{} for _ in range(n)]
    for i, name in enumerate(rng.sample(list(tensors), len(tensors))):
        shards[i if i < n else rng.randrange(n)][name] = tensors[name]
    where = {}
    for i, shard in enumerate(shards):
        file = f"model-{i + 1:05}-of-{n:05}.safetensors"
        write_safetensors(os.path.join(folder, file), shard, rng)
        where.update({name: file for name in shard})
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    with open(os.path.join(folder, "model.safetensors.index.json"), "w") as f:
        json.dump({"metadata": rng.choice([{"total_size": size}, {}]),
                   "weight_map": dict(rng.sample(list(where.items()), len(where)))}, f)


def change(folder, rng, seed):
    """What differs from the family's base: values, dtypes, a head that is tied and stored, a template."""
    tensors = tensors_of(folder)
    g = torch.Generator().manual_seed(seed)
    narrow = rng.random() < 0.2
    for n in sorted(tensors):
        t = tensors[n]
        if t.is_floating_point():
            t = t + (0.1 * torch.randn(t.shape, generator=g)).to(t.dtype)
            tensors[n] = t.to(torch.bfloat16) if narrow and t.dim() > 1 else t
    with open(os.path.join(folder, "config.json")) as f:
        tied = json.load(f).get("tie_word_embeddings")
    if tied and "lm_head.weight" not in tensors and "model.embed_tokens.weight" in tensors and rng.random() < 0.4:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file({n: t.contiguous() for n, t in tensors.items()}, os.path.join(folder, "model.safetensors"))
    if rng.random() < 0.5:
        say(folder, rng)
    lay_out(folder, rng)


def say(folder, rng):
    path = os.path.join(folder, "tokenizer_config.json")
    template = rng.choice(TEMPLATES)
    if os.path.exists(path) and rng.random() < 0.5:
        with open(path) as f:
            config = json.load(f)
        with open(path, "w") as f:
            json.dump({**config, "chat_template": template}, f)
    elif os.path.exists(path):
        with open(os.path.join(folder, "chat_template.jinja"), "w") as f:
            f.write(template)


def make_family(name, work):
    base = os.path.join(work, f"{name}-base")
    os.rename(families.write(name, work), base)
    rng = random.Random(name)
    if peers.tables_of(tensors_of(base)):
        peers.write_tokenizer(base, peers.SPECIAL + [chr(33 + i) for i in range(VOCAB - len(peers.SPECIAL))])
    for i, x in enumerate(peers.EXPERTS):
        shutil.copytree(base, f"{base[:-5]}-{x}")
        change(f"{base[:-5]}-{x}", rng, i + 1)
    tensors = tensors_of(base)
    if name in STACKED:
        make_adapter(base, f"{base[:-5]}-lora", OF_STACKS)
    elif "model.layers.0.self_attn.q_proj.weight" in tensors and not any(re.search("vis(ion|ual)", n) for n in tensors):
        peers.make_adapter(work, name)   # of models that see the peer loads the text's part, under other names
    lay_out(base, rng)


def depth_of(folder):
    with open(os.path.join(folder, "config.json")) as f:
        config = json.load(f)
    return next((config[k] for k in DEPTHS if k in config), 0)


class Form(peers.Recipe):
    """One recipe as the seed gives it."""

    def __init__(self, seed, names, depths, unlisted, modules):
        self.rng = random.Random(seed)
        self.family = self.rng.choice(sorted(names))
        self.names, self.depth = names[self.family], depths[self.family]
        by_element = MIXTURES.search(self.family)
        self.method = self.rng.choice(peers.BY_ELEMENT if by_element else sorted(peers.METHODS))
        self.words = False
        self.modules = modules.get(self.family, [])
        self.text = self.make()
        # Of makes that it does not list the peer takes what stands behind the layers for what stands before them.
        self.listed = self.family not in unlisted
        self.uneven = not self.listed and "layer_range" in self.text

    def path(self, name):
        return self.rng.choice(["{}", "{}", "{}", "./{}", "{}/", os.path.join(os.getcwd(), "{}")]).format(self.model(name))

    def make(self):
        source, whole, base, most = peers.METHODS[self.method]
        r = self.rng
        n = {"model_stock": r.randint(2, 3), "nuslerp": 2}.get(self.method) or r.randint(1, most)
        paths = {x: self.path(x) for x in ("base", *peers.EXPERTS)}
        listed = [paths[x] for x in r.sample(peers.EXPERTS, min(n, 3))]
        if os.path.exists(self.model("lora")) and self.chance(0.25):
            listed[0] = paths["base"] + "+" + self.model("lora")
        doc = {"merge_method": self.method}
        if base == "yes" or base == "may" and self.chance(0.5):
            doc["base_model"] = paths["base"]
            listed[r.randint(0, len(listed)):0] = [paths["base"]] if self.chance(0.5) else []
        common = self.parameters(source, 0.8)
        entries = [{"model": m, **(common if self.chance(0.3) else self.parameters(source, 0.7))} for m in listed]
        if self.modules and self.chance(0.5 if len(self.modules) > 1 else 0.1):
            doc["modules"] = {m: {"models": [{**e, **self.parameters(source, 0.3)} for e in entries],
                                  **self.parameters(source + whole, 0.3)} for m in self.modules}
        elif self.depth and self.chance(0.3):
            doc["slices"] = self.stack(entries, doc.get("base_model"), source + whole)
        else:
            doc["models"] = entries
        self.globals(doc, source, whole)
        doc["dtype"] = r.choice(["float32", "float64", doc.get("dtype", "float32")])
        if self.chance(0.3):
            doc["chat_template"] = r.choice(["auto", "auto", "chatml", *TEMPLATES])
        if self.chance(0.25):
            doc["tokenizer_source" if self.chance(0.5) else "tokenizer"] = r.choice(["union", "base"])
            if "tokenizer" in doc:
                doc["tokenizer"] = {"source": doc["tokenizer"], "pad_to_multiple_of": r.choice([1, 8, 32])}
        docs = [doc]
        if self.chance(0.15) and "lora" not in str(doc):
            docs = self.chain(doc, listed, source)
        return self.spell(docs)

    def stack(self, entries, base, settings):
        """Slices of one or two layers, in any order and more than once."""
        out = []
        if base and all(e["model"] != base for e in entries):
            entries = entries + [{"model": base}]
        for _ in range(self.rng.randint(1, 3)):
            length = self.rng.randint(1, min(2, self.depth))
            first = self.rng.randint(0, self.depth - length)
            out.append({"sources": [{**e, "layer_range": [first, first + length]} for e in entries],
                        **self.parameters(settings, 0.2)})
        return out

    def chain(self, doc, listed, source):
        """Two results before it, one of the other; the last takes one in place of a model."""
        first = {"name": "first", "merge_method": "linear", "dtype": "float32",
                 "models": [{"model": self.model(x), "parameters": {"weight": self.number("weight")}} for x in "ab"]}
        second = {"name": "second", "merge_method": "task_arithmetic", "dtype": "float32", "base_model": "first",
                  "models": [{"model": self.model("c"), "parameters": {"weight": self.number("weight")}}]}
        old = self.rng.choice(listed)
        text = yaml.safe_dump(doc, sort_keys=False)
        last = yaml.safe_load(re.sub(rf"(model: ){re.escape(old)}\n", r"\1second\n", text))
        docs = [first, second, last]
        self.rng.shuffle(docs)
        return docs

    def spell(self, docs):
        """The documents as text, in one of the ways that YAML has."""
        r = self.rng
        text = "---\n".join(yaml.safe_dump(d, sort_keys=self.chance(0.3), default_flow_style=r.choice([None, False, True]),
                                           allow_unicode=True, width=r.choice([60, 400])) for d in docs)
        if self.chance(0.2):
            text = "# a recipe — with a comment\n" + text
        if self.chance(0.1):
            text = "---\n" + text
        if self.chance(0.1):
            text = text.replace("\n", "\r\n")
        return text


def tokenizer_says(folder):
    for file in ("chat_template.jinja", "tokenizer_config.json"):
        path = os.path.join(folder, file)
        if os.path.exists(path):
            with open(path) as f:
                text = f.read()
            found = text if file.endswith("jinja") else json.loads(text).get("chat_template")
            if found:
                return found.strip()
    return None


def compare(form, theirs, mine):
    """None, or what differs; and how many tensors the peer left out."""
    a, b = tensors_of(theirs), tensors_of(mine)
    if any("mlp.experts.gate_up_proj" in n for n in a) and any(".experts.0.w1." in n for n in b):
        b = peers.one_tensor_of_experts(b)
    if MIXTURES.search(form.family) or not form.listed:   # which the peer gives the names of modules in memory
        a = {n: t for n, t in a.items() if n in b}
    with open(os.path.join(mine, "config.json")) as f:
        tied = json.load(f).get("tie_word_embeddings")
    head, words = b.get("lm_head.weight"), b.get("model.embed_tokens.weight")
    if tied and (head is None or words is not None and head.equal(words)):
        a.pop("lm_head.weight", None)   # stored by a model that ties it: the peer merges what is stored
    lost = b.keys() - a.keys()
    if a.keys() - b.keys():
        return f"here are not {sorted(a.keys() - b.keys())[:3]}", len(lost)
    off = []
    for name in a:
        t, u = a[name], b[name]
        if t.dtype != u.dtype or t.shape != u.shape:
            return f"{name}: peer {t.dtype} {list(t.shape)}, here {u.dtype} {list(u.shape)}", len(lost)
        if not (form.uneven and peers.is_behind(name)):
            off.append(peers.difference(form, name, t.double(), u.double(), u.dtype))
    worst = max((o for o in off if o), default=None)
    if worst:
        return f"{worst[2]}: {worst[1]} of {worst[3]} values, {worst[0]:.3g} apart", len(lost)
    x, y = tokens_of(theirs), tokens_of(mine)
    if x and x != (y or {}):
        return "tokens differ", len(lost)
    said = [tokenizer_says(f) for f in (theirs, mine)]
    # chatml has another text here, of the same meaning; without a base the peer takes any model's, and of equally
    # many in any order.
    if said[0] != said[1] and x and not re.search("chatml|auto", form.text) and "base_model" in form.text.split("first")[-1] \
            and "second" not in form.text:
        return f"chat template: peer {said[0]!r}, here {said[1]!r}", len(lost)
    # Of makes that it does not list the peer does not count layers, and the rows of models that see it tells elsewhere
    # than in the text's own config.
    sees = "tokenizer" in form.text and any("visual" in n or "vision" in n for n in a)
    return None if form.uneven or sees else compare_configs(form, theirs, mine), len(lost)


def compare_configs(form, theirs, mine):
    """As transformers reads them: a file may spell a key as its make has it, or as all have it."""
    read = []
    for folder in (theirs, mine):
        read.append(AutoConfig.from_pretrained(folder).to_dict())
        for part in [read[-1]] + [v for v in read[-1].values() if isinstance(v, dict)]:
            for key in ("transformers_version", "torch_dtype", "dtype", "_name_or_path"):
                part.pop(key, None)
    a, b = read
    keys = sorted(k for k in a.keys() | b.keys() if a.get(k) != b.get(k))
    # Here the kinds of layers follow them, and the vocabulary's size stands where it stood; without a base the peer's
    # config is that of one of the models by chance.
    passed = {"layer_types": "layer_range" in form.text,
              "vocab_size": "text_config" in b or "base_model" not in form.text}
    keys = [k for k in keys if not passed.get(k)]
    return f"config.json: {[(k, a.get(k), b.get(k)) for k in keys]}" if keys else None


def judge(build, seed, form, work, masks):
    theirs, mine = os.path.join(work, f"peer{seed}"), os.path.join(work, f"ours{seed}")
    masks.drawn = 0
    said, told = peers.peer(form, theirs), peers.ours(build, form, mine)
    if said and told:
        return "both refuse", f"{said[:150]} | {told[:200]}"
    if not said and not told:
        wrong, lost = compare(form, theirs, mine)
        return ("DIFFER", wrong) if wrong else ("equal, but for what the peer leaves out" if lost else "equal", "")
    for side, pattern, why in (*peers.DOCUMENTED, *DOCUMENTED):
        if side == ("ours" if told else "peer") and re.search(pattern, told or said):
            return "documented", why
    return ("ONLY OURS REFUSES", told) if told else ("only the peer refuses", said)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--families", default="", help="with commas between them; all without")
    parser.add_argument("--keep", default="", help="folder for the recipes to look at, and peer.txt with what it refuses")
    parser.add_argument("--models", default="", help="folder of the models, kept for the next run")
    args = parser.parse_args()
    build = os.path.abspath(args.build)
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    begun = time.time()
    masks = peer_masks.feed()
    if args.keep:
        os.makedirs(args.keep, exist_ok=True)
    keep = os.path.abspath(args.keep) if args.keep else ""
    counts, found = collections.Counter(), 0
    with tempfile.TemporaryDirectory() as work:
        models = os.path.abspath(args.models) if args.models else os.path.join(work, "models")
        os.makedirs(models, exist_ok=True)
        names, depths, unlisted, modules = {}, {}, set(), {}
        for f in args.families.split(",") if args.families else families.cases():
            if not os.path.exists(os.path.join(models, f"{f}-c")):
                make_family(f, models)
            tensors = tensors_of(os.path.join(models, f"{f}-base"))
            parts = {p for n in tensors for p in re.findall(r"[a-z_]{3,}|\.\d\.", n)} - {"weight"}
            names[f] = sorted(p for p in parts if not MIXTURES.search(f) or p[0] != ".") + ["*"]
            depths[f] = depth_of(os.path.join(models, f"{f}-base"))
            arch = arch_info_for_config(AutoConfig.from_pretrained(os.path.join(models, f"{f}-base")))
            if arch is None:
                unlisted.add(f)
            else:
                modules[f] = list(arch.modules)
        os.chdir(models)
        for seed in range(args.first, args.first + args.count):
            form = Form(seed, names, depths, unlisted, modules)
            form.tables, form.uses_words = [], False
            verdict, note = judge(build, seed, form, work, masks)
            counts[verdict] += 1
            if verdict.isupper():
                found += 1
                print(f"{seed} {form.family} {form.method}: {verdict}: {note}", flush=True)
                if keep:
                    shutil.copy(os.path.join(work, f"ours{seed}.yml"), os.path.join(keep, f"{seed}.yml"))
            elif note and keep:
                with open(os.path.join(keep, "peer.txt"), "a") as f:
                    f.write(f"{seed} {form.family} {verdict}: {note}\n")
            for x in ("peer", "ours"):
                shutil.rmtree(os.path.join(work, f"{x}{seed}"), ignore_errors=True)
    for verdict, n in sorted(counts.items()):
        print(f"{n:6} {verdict}")
    print(f"{args.count} recipes in {time.time() - begun:.0f} s, {found} to look at")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
