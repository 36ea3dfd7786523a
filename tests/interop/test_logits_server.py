#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""test_logits_server.py BUILD [--blend]: `lineage logits` on what llama.cpp's own server says.

The bundled family's trained layers with a vocabulary of 600 (rows drawn for the new tokens,
each sibling's 3 % off the base's), one expert served in F32; with --blend also a blend of base
and expert, served with all matrices, the head among them, in Q8_0. The server is asked for all
log-probabilities of the next token behind drawn prompts, which is all that is used.
"""
import json
import os
import subprocess
import sys
import tempfile
import urllib.request

import gguf
import numpy as np
from safetensors.numpy import save_file

import real_server

FAMILY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../vectors/amber")
NAMES = ("base", "expert-rev", "expert-caesar")
TABLES = ("model.embed_tokens.weight", "lm_head.weight")
VOCAB, KNOWN, ANSWERS, SHARE = 600, 100, 150, 0.6


def write(folder, tensors):
    os.mkdir(folder)
    for name in ("config.json", "tokenizer.json"):
        with open(os.path.join(FAMILY, "base", name), encoding="utf-8") as f:
            spec = json.load(f)
        if name == "config.json":
            spec["vocab_size"] = VOCAB
        else:
            spec["model"]["vocab"].update({f"<w{i}>": i for i in range(KNOWN, VOCAB)})
        with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
            json.dump(spec, f)
    save_file({k: np.ascontiguousarray(v, np.float32) for k, v in tensors.items()},
              os.path.join(folder, "model.safetensors"), {"format": "pt"})
    return folder


def widened(i):
    out = real_server.tensors(os.path.join(FAMILY, NAMES[i]))
    for k, key in enumerate(TABLES):
        shape = (VOCAB - KNOWN, out[key].shape[1])
        rows = np.random.default_rng(k).standard_normal(shape)
        if i:
            rows += 0.03 * np.random.default_rng(100 + 2 * i + k).standard_normal(shape)
        out[key] = np.concatenate([out[key], (rows * out[key].std()).astype(np.float32)])
    return out


def ask(port):
    """[ids], [log-probabilities] for each of the drawn prompts."""
    rng = np.random.default_rng(3)
    answers = []
    for _ in range(ANSWERS):
        prompt = "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz=:RKS "), size=12))
        body = {"prompt": prompt, "n_predict": 1, "n_probs": VOCAB, "temperature": 0,
                "cache_prompt": False}
        request = urllib.request.Request(f"http://127.0.0.1:{port}/completion",
                                         json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as reply:
            said = json.load(reply)["completion_probabilities"][0]["top_logprobs"]
        answers.append(([t["id"] for t in said], [t["logprob"] for t in said]))
    return answers


def save(path, answers, most=VOCAB, digits=9):
    with open(path, "w", encoding="utf-8") as f:
        for ids, values in answers:
            f.write(json.dumps({"ids": ids[:most],
                                "logprobs": [round(v, digits) for v in values[:most]]}) + "\n")
    return path


def logits(build, path, *args, status=0):
    done = subprocess.run([os.path.join(build, "weightward"), "lineage", "logits", path, "--json",
                           "-q", *args], capture_output=True, text=True, check=False)
    assert done.returncode == status, (args, done.returncode, done.stderr)
    return json.loads(done.stdout) if status == 0 else done.stderr


def check_heads(build, work, answers, folders):
    base, rev, caesar = folders
    args = ("--candidate", rev, "--candidate", caesar, "--control", base)
    residuals = {}
    for digits in (9, 4, 2):
        a = logits(build, save(os.path.join(work, "rev.jsonl"), answers, digits=digits), *args)
        heads = {h["name"]: h for h in a["heads"]}
        residuals[digits] = (heads["expert-rev"]["residual"], heads["expert-caesar"]["residual"],
                             a["width"])
        assert heads["expert-rev"]["supported"] and not heads["expert-caesar"]["supported"], a
        assert digits < 9 or (a["width"] == 128 and heads["expert-rev"]["residual"] < 1e-4), a
    print("digits: residual of the head, of a sibling's, width", residuals)
    # What interfaces give by default says nothing: lists of twenty have too little in common.
    short = save(os.path.join(work, "short.jsonl"), answers, most=20)
    assert "common to all answers" in logits(build, short, "--candidate", rev, status=6)


def check_blend(build, work, answers, folders):
    base, rev, caesar = folders
    a = logits(build, save(os.path.join(work, "blend.jsonl"), answers), "--base", base,
               "--candidate", rev, "--candidate", caesar)
    found = {b["name"]: b for b in a["blends"]}["expert-rev"]
    print(f"blend {SHARE} behind a head in Q8_0: share {found['share']:.4f}, interval "
          f"{found['interval']}, residual {found['residual']:.4f}, at base "
          f"{found['residual_at_base']:.4f}, at source {found['residual_at_source']:.4f}")
    assert abs(found["share"] - SHARE) < 0.05, found


def main():
    build = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as work:
        models = [widened(i) for i in range(3)]
        folders = [write(os.path.join(work, n), m) for n, m in zip(NAMES, models)]
        files = {"rev": real_server.write_gguf(folders[1], os.path.join(work, "rev.gguf"))}
        if "--blend" in sys.argv[2:]:
            blend = write(os.path.join(work, "blend"), {
                k: v + SHARE * (models[1][k] - v) for k, v in models[0].items()})
            files["blend"] = real_server.write_gguf(blend, os.path.join(work, "blend.gguf"),
                                                    gguf.GGMLQuantizationType.Q8_0)
        running = {}
        try:
            for name, file in files.items():
                running[name] = real_server.start(file, name, work)
            answers = {name: ask(real_server.port_of(*one)) for name, one in running.items()}
        finally:
            for process, _ in running.values():
                process.kill()
                process.wait()
        check_heads(build, work, answers["rev"], folders)
        if "blend" in answers:
            check_blend(build, work, answers["blend"], folders)


if __name__ == "__main__":
    main()
