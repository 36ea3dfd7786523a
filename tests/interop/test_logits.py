#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Answers of transformers against heads.

    test_logits.py BUILD

The bundled trained family has fewer tokens (100) than its width (128), so that any answer
fits any of its heads: that is refused. Its trained layers with a vocabulary of 600 (rows
drawn for the new tokens, each sibling's a few per cent off the base's) are what the rest
asks: logits of AutoModelForCausalLM on drawn prompts go into files as an interface would
give them. What must come out: the head behind the answers and no sibling's, the hidden
width, the share of a blended head (merged by the `merge` command, stored in bf16), the same
from log-probabilities at another temperature, a capped and a LayerNorm head, and refusals
where the answers cannot say it.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, Gemma2Config, Gemma2ForCausalLM
from transformers import GPT2Config, GPT2LMHeadModel

AMBER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../vectors/amber")
NAMES = ("base", "expert-rev", "expert-caesar")
VOCAB, ANSWERS = 600, 160


def widen(work):
    """The trained layers with rows for VOCAB tokens; a delta of 3 % for each sibling."""
    paths = []
    for i, name in enumerate(NAMES):
        path = os.path.join(work, name)
        shutil.copytree(os.path.join(AMBER, name), path, copy_function=shutil.copyfile)
        file = os.path.join(path, "model.safetensors")
        w = load_file(file)
        for key in ("model.embed_tokens.weight", "lm_head.weight"):
            g = torch.Generator().manual_seed(len(key))
            std = w[key].float().std()
            rows = torch.randn(VOCAB - 100, w[key].shape[1], generator=g) * std
            g.manual_seed(1000 + i)
            rows += (i > 0) * 0.03 * std * torch.randn(rows.shape, generator=g)
            w[key] = torch.cat([w[key], rows.to(w[key].dtype)])
        save_file(w, file, metadata={"format": "pt"})
        config = json.load(open(os.path.join(path, "config.json"), encoding="utf-8"))
        config["vocab_size"] = VOCAB
        with open(os.path.join(path, "config.json"), "w", encoding="utf-8") as f:
            json.dump(config, f)
        paths.append(path)
    return paths


def ask(path, n=ANSWERS):
    """Logits [n, V] of the last position of n drawn prompts of 12 tokens."""
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    with torch.no_grad():
        prompts = torch.randint(0, model.config.vocab_size, (n, 12))
        return model(prompts).logits[:, -1, :].contiguous()


def tool(build, *args, status=0):
    out = subprocess.run([os.path.join(build, "weightward"), *args], capture_output=True,
                         text=True, check=False)
    assert out.returncode == status, (args, out.returncode, out.stderr)
    return out


def compare(build, answers, *args):
    return json.loads(tool(build, "lineage", "logits", answers, "--json", "-q", *args).stdout)


def heads_of(answer):
    return {h["name"]: h for h in answer["heads"]}


def write_lines(path, rows, key, ids=None):
    with open(path, "w", encoding="utf-8") as f:
        for i, row in enumerate(rows):
            line = {"prompt": f"drawn {i}"}
            if ids is not None:
                line["ids"] = ids[i].tolist()
            line[key] = [round(float(x), 6) for x in row]
            f.write(json.dumps(line) + "\n")


def check_heads(build, work, models, logits):
    base, rev, caesar = models
    matrix, lines = os.path.join(work, "rev.safetensors"), os.path.join(work, "rev.jsonl")
    save_file({"logits": logits}, matrix)
    a = compare(build, matrix, "--candidate", rev, "--candidate", caesar, "--control", base)
    heads = heads_of(a)
    print("residuals", {n: h["residual"] for n, h in heads.items()}, "width", a["width"],
          "gap", a["gap"])
    assert heads["expert-rev"]["supported"] and heads["expert-rev"]["residual"] < 1e-5
    assert heads["expert-rev"]["p_labels"] == 0.01 and heads["expert-rev"]["p_controls"] == 0.5
    assert not heads["expert-caesar"]["supported"]
    assert heads["expert-caesar"]["residual"] > 100 * heads["expert-rev"]["residual"]
    assert a["width"] == 128 and a["gap"] > 10, a
    # Log-probabilities at temperature 1.7, six places: the same head, the same width.
    write_lines(lines, torch.log_softmax(logits / 1.7, -1), "logprobs")
    a = compare(build, lines, "--candidate", rev, "--control", base, "--control", caesar)
    assert a["kind"] == "logprobs" and a["width"] == 128, a
    assert heads_of(a)["expert-rev"]["supported"], a


def check_blends(build, work, models):
    base, rev, caesar = models
    recipe, matrix = os.path.join(work, "recipe.yml"), os.path.join(work, "blend.safetensors")
    for share in (0.3, 0.6):
        out = os.path.join(work, f"blend{share}")
        with open(recipe, "w", encoding="utf-8") as f:
            f.write(f"merge_method: task_arithmetic\nbase_model: {base}\nmodels:\n"
                    f"  - {{model: {rev}, parameters: {{weight: {share}}}}}\n"
                    "dtype: float32\nout_dtype: bfloat16\n")
        tool(build, "merge", recipe, out, "-q")
        save_file({"logits": ask(out)}, matrix)
        a = compare(build, matrix, "--base", base, "--candidate", rev, "--candidate", caesar)
        blends = {b["name"]: b for b in a["blends"]}
        found = blends["expert-rev"]
        print("blend", share, {k: round(found[k], 5) for k in
                               ("share", "rounding_taken_off", "residual", "residual_at_base")})
        assert abs(found["share"] - share) < 0.02, found
        assert found["residual"] < min(found["residual_at_base"], found["residual_at_source"]) / 2
        assert blends["expert-caesar"]["share"] in (None, 0) or \
            blends["expert-caesar"]["residual"] > 2 * found["residual"], blends


def check_other_heads(build, work):
    """Capped logits are uncapped first; LayerNorm takes one direction from the width."""
    path, answers = os.path.join(work, "gemma"), os.path.join(work, "other.safetensors")
    torch.manual_seed(3)
    Gemma2ForCausalLM(Gemma2Config(
        vocab_size=400, hidden_size=48, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=24, initializer_range=0.3,
        final_logit_softcapping=5.0)).save_pretrained(path)
    logits = ask(path, 40)
    assert logits.abs().max() > 4
    save_file({"logits": logits}, answers)
    head = heads_of(compare(build, answers, "--candidate", path))["gemma"]
    print("capped", head["residual"])
    assert head["supported"] and head["residual"] < 1e-4, head
    save_file({"logprobs": torch.log_softmax(logits, -1)}, answers)
    head = heads_of(compare(build, answers, "--candidate", path))["gemma"]
    assert head["residual"] is None and "capped" in head["note"], head
    path = os.path.join(work, "gpt2")
    GPT2LMHeadModel(GPT2Config(vocab_size=400, n_embd=48, n_layer=2, n_head=2,
                               n_positions=32)).save_pretrained(path)
    save_file({"logits": ask(path, 80)}, answers)
    a = compare(build, answers, "--candidate", path)
    assert a["heads"][0]["supported"] and a["width"] == 47, a


def check_refusals(build, work, models, logits):
    rev = models[1]
    matrix, lines = os.path.join(work, "no.safetensors"), os.path.join(work, "no.jsonl")
    # Fewer tokens than columns: any answer fits.
    save_file({"logits": ask(os.path.join(AMBER, "base"), 8)}, matrix)
    out = tool(build, "lineage", "logits", matrix, "--candidate", os.path.join(AMBER, "base"),
               status=6)
    assert "fits any answer" in out.stderr, out.stderr
    # The ten likeliest tokens of each prompt have too few in common.
    values, ids = torch.topk(torch.log_softmax(logits, -1), 10)
    write_lines(lines, values, "logprobs", ids)
    out = tool(build, "lineage", "logits", lines, "--candidate", rev, status=6)
    assert "common to all answers" in out.stderr, out.stderr
    # Too few answers show no width.
    save_file({"logits": logits[:20].clone()}, matrix)
    a = compare(build, matrix)
    assert a["width"] is None and a["width_at_least"] <= 20 and a["warnings"], a
    out = tool(build, "lineage", "logits", matrix, "--control", rev, status=2)
    assert "need a --candidate" in out.stderr
    save_file({"logits": torch.randn(4, VOCAB + 50)}, matrix)
    out = tool(build, "lineage", "logits", matrix, "--candidate", rev, status=3)
    assert "another vocabulary" in out.stderr, out.stderr


def main():
    build = sys.argv[1]
    with tempfile.TemporaryDirectory(prefix="ww-logits-") as work:
        models = widen(work)
        logits = ask(models[1])
        check_heads(build, work, models, logits)
        check_blends(build, work, models)
        check_other_heads(build, work)
        check_refusals(build, work, models, logits)
    print("heads, width and shares from logits of transformers: all as they should be")
    return 0


if __name__ == "__main__":
    sys.exit(main())
