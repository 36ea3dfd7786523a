#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""test_real_server.py BUILD: pools of models behind llama.cpp's own server.

Two trained experts, and their base with two adapters (made here), as GGUF files.
Probed, asked, fitted, confirmed and served; the server's log-probabilities are those of the
reference forward pass, and with scaled adapters those of the model that they add up to.
"""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile

import real_server

FAMILY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../vectors/amber")
EXPERTS = {"rev": os.path.join(FAMILY, "expert-rev"), "caesar": os.path.join(FAMILY, "expert-caesar")}
FIT, HELD = 12, 20
SCALES = (0.7, -0.4)


def same_numbers(build, port, folder):
    """The server's lists against the reference forward pass, which test_forward.py compares with transformers."""
    import numpy as np
    with open(os.path.join(folder, "tokenizer.json"), encoding="utf-8") as f:
        vocab = json.load(f)["model"]["vocab"]
    worst = 0
    for text in ("R:abcd=", "K:hello=ke", "free text"):
        said = real_server.post(port, "/completion", {"prompt": text, "n_predict": 1, "n_probs": 20, "temperature": 0})
        ids = ",".join(["1", *(str(vocab[c]) for c in text)])
        rows = subprocess.run([os.path.join(build, "forward_probe"), folder, ids], stdout=subprocess.PIPE, check=True, text=True)
        logits = np.array(rows.stdout.splitlines()[-1].split(), float)
        want = logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())
        for t in said["completion_probabilities"][0]["top_logprobs"]:
            worst = max(worst, abs(t["logprob"] - want[t["id"]]))
    assert worst < 1e-3, worst
    return worst


def probed(ww, pool):
    found = real_server.run(ww, "evo", "probe", pool)
    for m in found["members"]:
        assert m["dialect"] == "llama-server" and not m["scores_prompts"] and m["failure"] is None, m
        assert m["top"] == 20 and m["continues"] and m["forces"] and m["vocabulary"] == 100, m
    return found


def chat_is_the_same(ww, ports, work):
    """By the chat interface, which goes on with answers, the same numbers."""
    pool, tasks = os.path.join(work, "chat.yml"), os.path.join(work, "few.jsonl")
    real_server.write_tasks(tasks, FAMILY, ("rev",), "test", 0, 2)
    bits = []
    for dialect in ("openai-chat", "llama-server"):
        real_server.write_pool(pool, ports, f", dialect: {dialect}")
        cache = os.path.join(work, dialect)
        real_server.run(ww, "evo", "collect", pool, tasks, "--cache", cache)
        bits.append(real_server.run(ww, "evo", "fit", pool, tasks, "--cache", cache, "--rule", "uniform")["rules"][0]["bits"])
    assert abs(bits[0] - bits[1]) < 1e-3, bits


def fitted(ww, ports, work):
    pool, cache = os.path.join(work, "pool.yml"), os.path.join(work, "answers")
    tasks, held = os.path.join(work, "tasks.jsonl"), os.path.join(work, "held.jsonl")
    real_server.write_tasks(tasks, FAMILY, EXPERTS, "test", 0, FIT)
    real_server.write_tasks(held, FAMILY, EXPERTS, "test", 100, HELD)
    given = (pool, tasks, "--confirm", held, "--cache", cache)
    out = os.path.join(work, "recipe.json")
    report = real_server.run(ww, "evo", "run", *given, "--output", out, "--sign", os.path.join(work, "boss.key"))
    positions = sum(len(row["answer"]) + 1 for path in (tasks, held) for row in real_server.rows(path))
    # each member at each position, and its canaries: at the first questions, behind each file, before the second
    canaries = report["calls"] - len(ports) * positions
    assert 0 < canaries <= 6 * len(ports), (report["calls"], positions)
    rules = {r["rule"]: r for r in report["rules"]}
    assert report["chosen"] == "adaptive" and rules["adaptive"]["answers"] > rules["best-single"]["answers"] + 0.3, rules
    again = real_server.run(ww, "evo", "run", *given, "--rule", "linear", "--seed", "9")
    assert again["calls"] == 0, again
    return out, rules["adaptive"]


def served(ww, recipe, work):
    with real_server.served(ww, recipe, os.path.join(work, "boss.pub")) as port:
        for prompt, answer in (("R:abcd=", "dcba"), ("K:abcd=", "defg")):
            said = real_server.post(port, "/v1/completions",
                                    {"model": "fusion", "prompt": prompt, "max_tokens": 9, "temperature": 0})
            assert said["choices"][0]["text"] == answer and said["choices"][0]["finish_reason"] == "stop", said


def scaled(work):
    """The base, two adapters of it, and the base with both added at SCALES."""
    import numpy as np
    from safetensors.numpy import save_file
    rng = np.random.default_rng(5)
    rank, alpha, loras = 4, 8.0, []
    tensors = real_server.tensors(os.path.join(FAMILY, "base"))
    for i, scale in enumerate(SCALES):
        factors = {}
        for layer in range(4):
            name = f"model.layers.{layer}.mlp.down_proj.weight"
            out, into = tensors[name].shape
            a = rng.standard_normal((rank, into)).astype(np.float32) * 0.05
            b = rng.standard_normal((out, rank)).astype(np.float32) * 0.05
            factors[f"blk.{layer}.ffn_down.weight"] = (a, b)
            tensors[name] = tensors[name] + b @ a * np.float32(scale * alpha / rank)
        loras.append(real_server.write_lora(os.path.join(work, f"adapter-{i}.gguf"), factors, alpha))
    folder = os.path.join(work, "added-model")
    shutil.copytree(os.path.join(FAMILY, "base"), folder)
    save_file(tensors, os.path.join(folder, "model.safetensors"), {"format": "pt"})
    return loras, folder


def scales_are_exact(ww, ports, work):
    """A server told to scale adapters says what the model with both added says."""
    pool, tasks = os.path.join(work, "scales.yml"), os.path.join(work, "few.jsonl")
    cache = os.path.join(work, "scaled")
    bits = []
    for name, more in (("base", f", adapters: {list(SCALES)}"), ("added", ""), ("base", ", adapters: [0, 0]")):
        real_server.write_pool(pool, {name: ports[name]}, more)
        real_server.run(ww, "evo", "collect", pool, tasks, "--cache", cache)
        bits.append(real_server.run(ww, "evo", "fit", pool, tasks, "--cache", cache, "--rule", "uniform")["rules"][0]["bits"])
    assert abs(bits[0] - bits[1]) < 1e-3 < abs(bits[0] - bits[2]), bits
    return abs(bits[0] - bits[1])


def main():
    build = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as work:
        loras, added = scaled(work)
        folders = dict(EXPERTS, base=os.path.join(FAMILY, "base"), added=added)
        with real_server.servers(folders, work, {"base": loras}) as ports:
            check(build, ports, work)


def check(build, ports, work):
    ww = os.path.join(build, "weightward")
    experts = {name: ports[name] for name in EXPERTS}
    pool = os.path.join(work, "pool.yml")
    subprocess.run([ww, "key", "new", "signing", "--out", os.path.join(work, "boss"), "--no-passphrase", "-q"], check=True)
    real_server.write_pool(pool, experts)
    worst = same_numbers(build, ports["rev"], EXPERTS["rev"])
    probed(ww, pool)
    chat_is_the_same(ww, {"rev": ports["rev"]}, work)
    off = scales_are_exact(ww, ports, work)
    recipe, adaptive = fitted(ww, experts, work)
    served(ww, recipe, work)
    print(f"llama.cpp's server (xllamacpp {importlib.metadata.version('xllamacpp')}): log-probabilities within {worst:.1e}, "
          f"scaled adapters within {off:.1e} bits, adaptive pool {100 * adaptive['answers']:.1f} % of answers")


if __name__ == "__main__":
    main()
