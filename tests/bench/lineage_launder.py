#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What of a laundered model is seen: one row for each disguise and combination of disguises.

    lineage_launder.py BUILD FAMILY [NAME...]

The suspect is 0.6 of one expert's task vector of FAMILY and 0.3 of another's on the base, rounded to
bf16, and then put through the disguises in their order. Two sources and two siblings that did not go in
are given. Each row tells what `lineage decompose` says: `read` (both sources and no other are
named, shares within 0.02), `in part` (the same, and that something is missing), `missed` (a source
is not named, or a share is off), `refused`, or `ACCUSED` (a sibling that did not go in is named).
Then the same disguise of a model of another family, which must be `refused` or name nobody. With
names only those rows are made; a name may be any chain of disguises, as `words+lock+noise`.
"""
import json
import os
import re
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "interop"), HERE]
import lineage_disguise  # noqa: E402
import test_lineage_disguise as peers  # noqa: E402

SHARES = {"expert-rev": 0.6, "expert-caesar": 0.3}
SIBLINGS = ("expert-sort", "sibling-rev-s2")
WITHIN = 0.02
HEADS, GROUPS, DIM, WIDTH, LAYERS, NEURONS = 4, 2, 32, 128, 4, 256
TABLES = ("model.embed_tokens.weight", "lm_head.weight")
AT = "model.layers.{}.{}.weight"
PARTS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj")
READS = {"input_layernorm": "q_proj|k_proj|v_proj|qkv_proj",
         "post_attention_layernorm": r"gate_proj|up_proj|gate_up_proj|w1|w3|mlp\.gate|block_sparse_moe\.gate",
         "pre_feedforward_layernorm": "gate_proj|up_proj"}
WRITES = r"\.(o_proj|down_proj|w2)\.weight$"

TOOL = G = WORK = None


class Suspect:
    """Tensors, changes of config.json, and a path once it has to be files."""

    def __init__(self, tensors, config, path=None):
        self.tensors, self.config, self.path = tensors, config, path

    def map(self, change):
        return Suspect({k: change(k, v).contiguous() for k, v in self.tensors.items()}, dict(self.config))


def at(s, layer, part):
    return s.tensors[AT.format(layer, part)]


def layers_of(s):
    return sorted({int(k.split(".")[2]) for k in s.tensors if k.startswith("model.layers.")})


def renewed(s, new, **config):
    return Suspect({**s.tensors, **{k: v.contiguous() for k, v in new.items()}}, {**s.config, **config})


def like(v, w):
    return w.to(v.dtype)


def folder(s):
    path = tempfile.mkdtemp(dir=WORK)
    with open(os.path.join(path, "config.json"), "w", encoding="ascii") as f:
        json.dump(s.config, f)
    save_file(s.tensors, os.path.join(path, "model.safetensors"), {"format": "pt"})
    return path


# Disguises. Each keeps what the model computes, but for noise, prune, train and rounding.
def words(s):
    grown = {k: torch.cat([s.tensors[k], like(s.tensors[k], torch.randn(28, WIDTH, generator=G) * 0.06)])
             for k in TABLES}
    return renewed(s, grown, vocab_size=s.config["vocab_size"] + 28)


def fewer_words(s):
    return renewed(s, {k: s.tensors[k][:96] for k in TABLES}, vocab_size=96)


def word_order(s):
    order = torch.randperm(s.config["vocab_size"], generator=G)
    return renewed(s, {k: s.tensors[k][order] for k in TABLES})


def locked(s, *level):
    path, key = folder(s), os.path.join(WORK, "key")
    out = path + "-locked"
    if not os.path.exists(key):
        subprocess.run([TOOL, "key", "new", "lock", "--out", key, "--no-passphrase", "-q"], check=True, capture_output=True)
    subprocess.run([TOOL, "lock", path, out, "--key", key, *level, "-q"], check=True, capture_output=True)
    with open(os.path.join(out, "config.json"), encoding="ascii") as f:
        return Suspect(load_file(os.path.join(out, "model.safetensors")), json.load(f))


def lock(s):
    return locked(s)


def lock_unscaled(s):
    return locked(s, "--no-scale")


def dense(s):
    return locked(s, "--level", "dense", "--condition", "4")


def mixed(s):
    return Suspect({k: v.contiguous() for k, v in lineage_disguise.lock(s.tensors, G).items()}, s.config)


def orthogonal(n):
    return torch.linalg.qr(torch.randn(n, n, generator=G, dtype=torch.float64))[0]


def on_stream(s, move, gain=lambda v: v):
    """Every axis on the residual stream through move, which acts on the last axis."""
    def change(k, v):
        if v.ndim == 1:
            return like(v, gain(v)) if len(v) == s.config["hidden_size"] and "norm" in k else v
        return like(v, move(v.double().T).T if re.search(WRITES, k) else move(v.double()))
    return s.map(change)


def stream_order(s):
    order = torch.randperm(WIDTH, generator=G)
    return on_stream(s, lambda v: v[..., order], lambda v: v[order])


def stream_signed(s):
    order = torch.randperm(WIDTH, generator=G)
    sign = torch.where(torch.rand(WIDTH, generator=G) < 0.5, -1.0, 1.0)
    return on_stream(s, lambda v: v[..., order] * sign, lambda v: v[order])


def stream_scaled(s):
    """Norms divide by the size of the stream, so whoever writes to it may write more."""
    factor = lambda k: 1.7 if "embed" in k or re.search(WRITES, k) else 1.0
    return s.map(lambda k, v: like(v, v.double() * factor(k)))


def behind(s, norm):
    """What reads a norm of the stream, of whatever family."""
    part = norm.split(".")[-2]
    if norm == "model.norm.weight":
        return [k for k in s.tensors if k == "lm_head.weight"]
    if part == "post_attention_layernorm" and norm.replace("post_attention", "pre_feedforward") in s.tensors:
        return []
    return [k for k in s.tensors if part in READS and k.startswith(norm[:-len(part) - 7])
            and re.search(rf"\.({READS[part]})\.weight$", k)]


def regained(s, factor):
    """Gains of norms times factor(gain), what reads them divided by it."""
    new, plus = {}, int(s.config["model_type"].startswith("gemma"))
    for norm in [k for k in s.tensors if k.endswith("norm.weight") and ".self_attn." not in k]:
        readers = behind(s, norm)
        if readers:
            gain = s.tensors[norm].double() + plus
            new[norm] = like(s.tensors[norm], gain * factor(gain) - plus)
            by = (new[norm].double() + plus) / gain
            new.update({k: like(s.tensors[k], s.tensors[k].double() / by) for k in readers})
    return renewed(s, new)


def folded(s):
    return regained(s, lambda g: 1 / g)


def gains_two(s):
    return regained(s, lambda g: 2.0 ** torch.randint(-2, 3, g.shape, generator=G).double())


def gains_any(s):
    return regained(s, lambda g: torch.exp(0.5 * torch.randn(g.shape, generator=G, dtype=torch.float64)))


def rotate(s):
    s = folded(s)
    turn = orthogonal(s.config["hidden_size"])
    return on_stream(s, lambda v: v @ turn.T)


def neurons(s, only=None):
    new = {}
    for i in only or layers_of(s):
        order = torch.randperm(NEURONS, generator=G)
        for part in ("mlp.gate_proj", "mlp.up_proj"):
            new[AT.format(i, part)] = at(s, i, part)[order]
        new[AT.format(i, "mlp.down_proj")] = at(s, i, "mlp.down_proj")[:, order]
    return renewed(s, new)


def neurons_one_layer(s):
    return neurons(s, [2])


def neurons_scaled(s):
    new = {}
    for down in [k for k in s.tensors if k.endswith("down_proj.weight")]:
        by = torch.exp(0.7 * torch.randn(s.tensors[down].shape[1], generator=G, dtype=torch.float64))
        for k, f in ((down.replace("down_proj", "up_proj"), by[:, None]), (down, 1 / by)):
            new[k] = like(s.tensors[k], s.tensors[k].double() * f)
    return renewed(s, new)


def heads(s, groups=True):
    new = {}
    for i in layers_of(s):
        g = torch.randperm(GROUPS, generator=G) if groups else torch.arange(GROUPS)
        h = torch.cat([2 * k + torch.randperm(2, generator=G) for k in g])
        for part, order in (("q", h), ("k", g), ("v", g)):
            w = at(s, i, f"self_attn.{part}_proj")
            new[AT.format(i, f"self_attn.{part}_proj")] = w.reshape(len(order), DIM, -1)[order].reshape(w.shape)
        w = at(s, i, "self_attn.o_proj")
        new[AT.format(i, "self_attn.o_proj")] = w.reshape(-1, HEADS, DIM)[:, h].reshape(w.shape)
    return renewed(s, new)


def heads_in_groups(s):
    return heads(s, False)


def rope_turns(s):
    """Queries and keys of each rotary pair turned by one angle: the same scores."""
    new = {}
    for i in layers_of(s):
        for g in range(GROUPS):
            z = torch.polar(torch.ones(DIM // 2, dtype=torch.float64),
                            6.28 * torch.rand(DIM // 2, generator=G, dtype=torch.float64))
            for part, members in (("q", range(2 * g, 2 * g + 2)), ("k", (g,))):
                name = AT.format(i, f"self_attn.{part}_proj")
                w = new.get(name, s.tensors[name]).clone()
                for h in members:
                    rows = slice(h * DIM, (h + 1) * DIM)
                    w[rows] = like(w, lineage_disguise.turn(w[rows].double(), z))
                new[name] = w
    return renewed(s, new)


def values_mixed(s):
    new = {}
    for i in layers_of(s):
        v, o = at(s, i, "self_attn.v_proj").double(), at(s, i, "self_attn.o_proj").double()
        for g in range(GROUPS):
            b = lineage_disguise.matrix(G)
            v[g * DIM:(g + 1) * DIM] = b @ v[g * DIM:(g + 1) * DIM]
            for h in (2 * g, 2 * g + 1):
                o[:, h * DIM:(h + 1) * DIM] = o[:, h * DIM:(h + 1) * DIM] @ torch.linalg.inv(b)
        for part, w in (("v", v), ("o", o)):
            name = AT.format(i, f"self_attn.{part}_proj")
            new[name] = like(s.tensors[name], w)
    return renewed(s, new)


def relayered(s, kept):
    new = {k: v for k, v in s.tensors.items() if not k.startswith("model.layers.")}
    for to, i in enumerate(kept):
        new.update({k.replace(f".{i}.", f".{to}.", 1): v.clone() for k, v in s.tensors.items()
                    if k.startswith(f"model.layers.{i}.")})
    return Suspect(new, {**s.config, "num_hidden_layers": len(kept)})


def layer_twice(s):
    return relayered(s, [0, 1, 1, 2, 3])


def layer_dropped(s):
    return relayered(s, [0, 1, 3])


def mistral(s):
    return Suspect(s.tensors, {**s.config, "model_type": "mistral", "architectures": ["MistralForCausalLM"],
                               "sliding_window": None})


def qwen2(s):
    zeros = {AT.format(i, f"self_attn.{p}_proj").replace("weight", "bias"): torch.zeros(n * DIM, dtype=torch.bfloat16)
             for i in layers_of(s) for p, n in (("q", HEADS), ("k", GROUPS), ("v", GROUPS))}
    return renewed(s, zeros, model_type="qwen2", architectures=["Qwen2ForCausalLM"], use_sliding_window=False)


def phi3(s):
    new = {k: v for k, v in s.tensors.items() if not any(p in k for p in PARTS)}
    for i in layers_of(s):
        new[AT.format(i, "self_attn.qkv_proj")] = torch.cat([at(s, i, f"self_attn.{p}_proj") for p in "qkv"])
        new[AT.format(i, "mlp.gate_up_proj")] = torch.cat([at(s, i, f"mlp.{p}_proj") for p in ("gate", "up")])
    return Suspect(new, {**s.config, "model_type": "phi3", "architectures": ["Phi3ForCausalLM"]})


def prefix(s):
    return Suspect({"model.language_model." + k.removeprefix("model."): v for k, v in s.tensors.items()}, s.config)


def renamed(s):
    """Names as in the files that Meta and others write."""
    names = {"self_attn.q_proj": "attention.wq", "self_attn.k_proj": "attention.wk", "self_attn.v_proj": "attention.wv",
             "self_attn.o_proj": "attention.wo", "mlp.gate_proj": "feed_forward.w1", "mlp.down_proj": "feed_forward.w2",
             "mlp.up_proj": "feed_forward.w3", "input_layernorm": "attention_norm", "lm_head": "output",
             "post_attention_layernorm": "ffn_norm", "embed_tokens": "tok_embeddings", "model.": ""}

    def name(k):
        for old, new in names.items():
            k = k.replace(old, new)
        return k
    return Suspect({name(k): v for k, v in s.tensors.items()}, s.config)


def noise(s):
    return s.map(lambda k, v: like(v, v.double() + 0.002 * v.double().std() * torch.randn(v.shape, generator=G))
                 if v.ndim > 1 else v)


def prune(s):
    return s.map(lambda k, v: peers.prune(v) if v.ndim > 1 and "proj" in k else v)


def train(s):
    """A short training of another kind afterwards: a task vector of low rank, a fifth as long."""
    def change(k, v):
        if v.ndim == 1:
            return v
        d = torch.randn(v.shape[0], 4, generator=G) @ torch.randn(4, v.shape[1], generator=G)
        return like(v, v.double() + 0.01 * v.double().norm() * d.double() / d.double().norm())
    return s.map(change)


def f16(s):
    return s.map(lambda k, v: v.half().bfloat16())


def f32(s):
    return s.map(lambda k, v: v.float())


def gguf(kind):
    def write(s):
        path = os.path.join(tempfile.mkdtemp(dir=WORK), "suspect.gguf")
        return Suspect(s.tensors, s.config, peers.write_gguf(path, s.tensors, kind))
    return write


def eight(kind):
    def write(s):
        return Suspect(s.tensors, s.config, folder(Suspect(peers.eight_bit(s.tensors, kind), s.config)))
    return write


DISGUISES = {
    "words": words, "fewer words": fewer_words, "word order": word_order, "lock": lock,
    "lock unscaled": lock_unscaled, "dense": dense, "mixed": mixed, "stream order": stream_order,
    "stream signed": stream_signed, "stream scaled": stream_scaled, "folded": folded, "gains 2^k": gains_two,
    "gains": gains_any, "rotate": rotate, "neurons": neurons, "neurons of one layer": neurons_one_layer,
    "neurons scaled": neurons_scaled, "heads": heads, "heads in groups": heads_in_groups, "rope turns": rope_turns,
    "values mixed": values_mixed, "layer twice": layer_twice, "layer dropped": layer_dropped, "mistral": mistral,
    "qwen2": qwen2, "phi3": phi3, "prefix": prefix, "renamed": renamed, "noise": noise, "prune": prune,
    "train": train, "f16": f16, "f32": f32, "Q8_0": gguf("Q8_0"), "Q4_0": gguf("Q4_0"), "int8": eight("int8"),
    "fp8": eight("fp8-rows"),
}
CHAINS = (
    "", *(d for d in DISGUISES if d not in ("Q8_0", "Q4_0", "int8", "fp8")),
    "words+lock", "lock+words", "words+dense", "words+mixed", "fewer words+lock", "words+rotate", "words+lock+Q8_0",
    "words+lock+int8", "words+stream signed+neurons", "word order+lock", "word order+neurons", "word order+rotate",
    "layer twice+lock", "layer dropped+lock", "layer twice+stream signed", "layer dropped+stream order+neurons",
    "layer twice+neurons", "layer twice+words+lock", "layer twice+rotate", "layer dropped+dense",
    "mistral+lock", "qwen2+lock", "qwen2+words+lock", "phi3+stream signed", "phi3+lock", "prefix+lock", "renamed+lock",
    "lock+folded", "lock+gains", "gains+lock", "folded+lock", "gains 2^k+lock", "stream scaled+lock", "rotate+lock", "lock+rotate",
    "lock+noise", "noise+lock", "lock+prune", "prune+lock", "train+lock", "lock+f16", "lock+f32", "words+lock+noise",
    "lock+Q8_0", "lock+Q4_0", "lock+int8", "lock+fp8", "dense+noise", "mixed+f16", "rope turns+neurons scaled",
    "neurons scaled+lock", "rope turns+values mixed+neurons scaled+stream signed", "folded+Q8_0", "gains+int8",
    "stream scaled+fp8", "gains+words+lock", "gains+mixed", "stream scaled+rotate", "rotate+int8", "words+Q4_0", "train+Q8_0", "layer dropped+Q8_0",
)


def put_through(chain, start):
    s = start
    for name in filter(None, chain.split("+")):
        s = DISGUISES[name](s)
    return s.path or folder(s)


def decompose(path, family):
    args = [a for c in (*SHARES, *SIBLINGS) for a in ("--candidate", os.path.join(family, c))]
    done = subprocess.run([TOOL, "lineage", "decompose", path, "--base", os.path.join(family, "base"), *args,
                           "--json", "-q"], capture_output=True, text=True)
    said = json.loads(done.stdout) if done.stdout.startswith("{") else {}
    return (said if "sources" in said else None), done.stderr.strip() or str(said.get("error"))


def verdict(said, why):
    if said is None:
        return "refused", f": {why[:150]}"
    names = [*SHARES, *SIBLINGS]
    off = max(abs(s["share"] - SHARES.get(n, 0)) for n, s in zip(names, said["sources"]))
    held = sum(s["interval"][0] <= SHARES.get(n, 0) <= s["interval"][1] for n, s in zip(names, said["sources"]))
    named = {n for n, s in zip(names, said["sources"]) if s["included"]}
    word = ("ACCUSED" if named - set(SHARES) else "missed" if named != set(SHARES) or off > WITHIN
            else "in part" if said["incomplete"] else "read")
    tensors = said.get("tensors")
    return word, (f", off by {off:.4f}, {held} of {len(names)} intervals hold, {said['unexplained']:.3f} unexplained, "
                  f"{tensors} tensors, {said['method']['best']}; {said.get('disguise', 'no disguise')[:110]}")


def stranger(said, why):
    if said is None:
        return "refused"
    named = [s for s in said["sources"] if s["included"]]
    return "NAMES " + str(len(named)) if named else "names nobody"


def config_of(path):
    with open(os.path.join(path, "config.json"), encoding="ascii") as f:
        return json.load(f)


def main(build, family, *chains):
    global TOOL, G, WORK
    TOOL = os.path.join(build, "weightward")
    load = lambda n: load_file(os.path.join(family, n, "model.safetensors"))
    base = load("base")
    experts = {n: load(n) for n in SHARES}
    merged = {k: (v.double() + sum(s * (experts[n][k].double() - v.double()) for n, s in SHARES.items())).bfloat16()
              for k, v in base.items()}
    config, other = config_of(os.path.join(family, "base")), load("unrelated")
    counts = {}
    for chain in chains or CHAINS:
        with tempfile.TemporaryDirectory() as WORK:
            G = torch.Generator().manual_seed(5)
            try:
                word, more = verdict(*decompose(put_through(chain, Suspect(merged, config)), family))
                strange = stranger(*decompose(put_through(chain, Suspect(other, config)), family))
            except subprocess.CalledProcessError as e:
                word, more, strange = "not made", ": " + e.stderr.decode(errors="replace").strip()[:150], "-"
        counts[word] = counts.get(word, 0) + 1
        print(f"{chain or 'none'}: {word}{more}; another family's: {strange}", flush=True)
    print(", ".join(f"{n} {w}" for w, n in sorted(counts.items())))


if __name__ == "__main__":
    main(sys.argv[1], os.path.abspath(sys.argv[2]), *sys.argv[3:])
