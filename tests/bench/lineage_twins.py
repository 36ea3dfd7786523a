#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sources, their twins and strangers behind disguises, in families of other shapes.

    lineage_twins.py BUILD FOLDER SEED [FAMILY[:CHAIN]...]

Each family is a small model of random weights that is trained on strings, four experts of it, a later
version of one of them (`rev-t`), and a model of other random weights; they are made in FOLDER where they
are not there yet (half a minute to three minutes each). FAMILY may be the folder of the trained family
(`amber/base` beside its experts). The suspect is a base with two experts at random shares in BF16, put
through a chain of the disguises of lineage_launder.py. Three times `lineage decompose` is asked, with a
third expert as a decoy each time: ALL with both sources, TWIN with the later version in the first one's
place, STRANGER of the other model behind the same chain. Right are a whole answer with the two named and
shares within 0.02, one in part, and one that refuses or names nobody. Without families all of them are
run behind all chains that fit. Same SEED, same models and suspects.
"""
import json
import os
import random
import subprocess
import sys
import tempfile
import zlib

import torch
from safetensors.torch import load_file

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lineage_launder as launder  # noqa: E402

WORDS = 100
CHAINS = ("lock+noise", "gains", "gains+int8", "stream scaled+fp8", "rotate", "rotate+int8", "neurons scaled",
          "rotate+lock")
TASKS = {"rev": lambda x: x.flip(1), "caesar": lambda x: x % (WORDS - 3) + 3, "sort": lambda x: x.sort(1)[0],
         "swap": lambda x: x.view(len(x), -1, 2).flip(2).reshape(x.shape)}
EXPERTS = ("rev", "caesar", "sort")
TRAINED = {"base": "base", "rev": "expert-rev", "rev-t": "expert-rev-v2", "caesar": "expert-caesar",
           "sort": "expert-sort", "unrelated": "unrelated"}


def family_configs():
    import transformers as T

    def of(kind, width, layers, heads, groups, hidden, **more):
        return getattr(T, kind + "Config")(
            hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=groups,
            intermediate_size=hidden, vocab_size=WORDS, max_position_embeddings=64, bos_token_id=1, eos_token_id=2,
            pad_token_id=0, initializer_range=0.06, **more)
    gemma = {"head_dim": 32, "query_pre_attn_scalar": 32}
    return {
        "llama64": lambda: of("Llama", 64, 3, 4, 2, 160, head_dim=16),
        "llama256": lambda: of("Llama", 256, 3, 4, 2, 512, head_dim=64),
        "llama-tied128": lambda: of("Llama", 128, 3, 4, 2, 320, head_dim=32, tie_word_embeddings=True),
        "mistral320": lambda: of("Mistral", 320, 2, 5, 1, 640, head_dim=64, sliding_window=None),
        "qwen2-192": lambda: of("Qwen2", 192, 3, 6, 2, 384),
        "qwen3-128": lambda: of("Qwen3", 128, 3, 4, 2, 320, head_dim=32, tie_word_embeddings=False),
        "mixtral128": lambda: of("Mixtral", 128, 3, 4, 2, 128, head_dim=32, num_local_experts=4, num_experts_per_tok=2),
        "qwen3moe64": lambda: of("Qwen3Moe", 64, 3, 4, 2, 160, head_dim=16, num_experts=4, num_experts_per_tok=2,
                                 moe_intermediate_size=96, decoder_sparse_step=1),
        "phi3-128": lambda: of("Phi3", 128, 3, 4, 2, 256),
        "gemma2-128": lambda: of("Gemma2", 128, 4, 4, 2, 256, **gemma),
        "gemma3-128": lambda: of("Gemma3Text", 128, 4, 4, 2, 256, **gemma),
    }


def strings(task, draw, n=16, length=10):
    x = torch.randint(3, WORDS, (n, length), generator=draw)
    parts = [x] if task else [x[i::len(TASKS)] for i in range(len(TASKS))]
    y = torch.cat([TASKS[t](p) for t, p in zip([task] if task else TASKS, parts)])
    return torch.cat([torch.full((n, 1), 1), torch.cat(parts), torch.full((n, 1), 2), y], 1)


def train(model, task, steps, rate, seed):
    draw = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    steer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05)
    model.train()
    for step in range(steps):
        batch = strings(task, draw)
        for group in steer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 20) * (1 - 0.9 * step / steps)
        loss = model(input_ids=batch, labels=batch.clone()).loss
        steer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        steer.step()


def make(config, folder, seed):
    import copy

    import transformers as T

    def fresh(at):
        torch.manual_seed(at)
        model = T.AutoModelForCausalLM.from_config(config(), dtype=torch.float32)
        with torch.no_grad():  # gains away from one, as long training makes them
            for name, p in model.named_parameters():
                if p.ndim == 1 and "norm" in name:
                    p.add_(0.15 * torch.randn_like(p))
        return model

    def save(model, name):
        copy.deepcopy(model).to(torch.bfloat16).save_pretrained(os.path.join(folder, name))
    model = fresh(seed)
    train(model, None, 50, 4e-3, seed + 1)
    save(model, "base")
    start = {k: v.clone() for k, v in model.state_dict().items()}
    for i, task in enumerate(EXPERTS):
        model.load_state_dict(start)
        train(model, task, 25, 8e-4, seed + 100 + i)
        save(model, task)
        if task == "rev":
            train(model, task, 12, 4e-4, seed + 200)
            save(model, "rev-t")
    model = fresh(seed + 300)
    train(model, None, 25, 4e-3, seed + 301)
    save(model, "unrelated")


def fits(chain, config):
    """Is it known how such a model is put through the chain without being another one afterwards?"""
    turned, longer = "rotate" in chain, "stream scaled" in chain
    tied = config.get("tie_word_embeddings", False) or config["model_type"].startswith("gemma")
    dense = not any(w in config["model_type"] for w in ("phi3", "moe", "mixtral"))
    return not ((turned or longer) and tied) and (dense or "neurons scaled" not in chain)


def verdict(path, names, folder, truth):
    args = [a for n in names for a in ("--candidate", os.path.join(folder, n))]
    done = subprocess.run([launder.TOOL, "lineage", "decompose", path, "--base", os.path.join(folder, "base"), *args,
                           "--json", "-q"], capture_output=True, text=True)
    said = json.loads(done.stdout) if done.stdout.startswith("{") else {}
    if "sources" not in said:
        return "refused", (done.stderr.strip() or str(said.get("error")))[:110]
    named = [i for i, s in enumerate(said["sources"]) if s["included"]]
    off = max(abs(s["share"] - t) for s, t in zip(said["sources"], truth))
    held = sum(s["interval"][0] <= t <= s["interval"][1] for s, t in zip(said["sources"], truth))
    word = ("names nobody" if not named else "in part" if said["incomplete"]
            else "whole" if named == [0, 1] and off <= launder.WITHIN else "WRONG")
    return word, f"off {off:.4f}, {held} hold, {said['unexplained']:.4f} unexplained"


def row(chain, folder, at, draws):
    load = lambda n: load_file(os.path.join(folder, at.get(n, n), "model.safetensors"))
    base, config = load("base"), launder.config_of(os.path.join(folder, at.get("base", "base")))
    truth = [round(draws.uniform(0.3, 0.8), 2), round(draws.uniform(0.2, 0.5), 2), 0]
    sources = [load(n) for n in EXPERTS[:2]]
    merged = {k: (v.double() + sum(s * (x[k].double() - v.double()) for s, x in zip(truth, sources))).bfloat16()
              for k, v in base.items()}
    out = {}
    with tempfile.TemporaryDirectory() as launder.WORK:
        launder.G = torch.Generator().manual_seed(draws.randrange(1 << 30))
        suspect = launder.put_through(chain, launder.Suspect(merged, config))
        other = launder.put_through(chain, launder.Suspect(load("unrelated"), config))
        for what, path, first in (("ALL", suspect, "rev"), ("TWIN", suspect, "rev-t"), ("STRANGER", other, "rev")):
            out[what] = verdict(path, [at.get(n, n) for n in (first, "caesar", "sort")], folder, truth)
    return truth, out


RIGHT = {"ALL": ("whole",), "TWIN": ("in part", "names nobody"), "STRANGER": ("refused", "names nobody")}


def main(build, folder, seed, *wanted):
    launder.TOOL = os.path.join(build, "weightward")
    torch.set_num_threads(1)
    configs, right, rows = family_configs(), dict.fromkeys(RIGHT, 0), 0
    for want in wanted or configs:
        name, _, chain = want.partition(":")
        trained = os.path.exists(os.path.join(name, "expert-rev"))
        path, at = (name, TRAINED) if trained else (os.path.join(folder, f"{name}-{seed}"), {})
        if not trained and not os.path.exists(os.path.join(path, "unrelated", "model.safetensors")):
            make(configs[name], path, seed)
        config = launder.config_of(os.path.join(path, at.get("base", "base")))
        for c in [chain] if chain else [c for c in CHAINS if fits(c, config)]:
            draws = random.Random(zlib.crc32(f"{os.path.basename(name)} {c} {seed}".encode()))
            try:
                truth, said = row(c, path, at, draws)
            except subprocess.CalledProcessError as e:
                print(f"{name} {c}: not made: {e.stderr.decode(errors='replace').strip()[:110]}", flush=True)
                continue
            rows += 1
            for what, (word, more) in said.items():
                right[what] += word in RIGHT[what]
                mark = "" if word in RIGHT[what] else "! "
                print(f"{name} {c} {truth[0]} {truth[1]} {what}: {mark}{word}, {more}", flush=True)
    print(", ".join(f"{what} {n} of {rows} right" for what, n in right.items()))


if __name__ == "__main__":
    main(sys.argv[1], os.path.abspath(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
