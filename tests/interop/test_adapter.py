#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""PEFT adapters carried over to a locked base and back, judged by transformers and peft.

    test_adapter.py BUILD [CASE...]

For every case an adapter with random factors is made by peft for a tiny random model. The
locked base with the carried adapter answers as the base with the adapter does; with the
adapter as it was it does not; carried back the files are the originals byte for byte.
Arithmetic in float64. Refusals: an adapter alone, of another base, of another lock, twice,
a magnitude under powers of two.
"""
import json
import os
import subprocess
import sys
import tempfile

import make_models as families
import peft
import torch
from test_forward import casts
from test_lock_exact import error, run, same_folder

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
LLAMA = ATTENTION + ["gate_proj", "up_proj", "down_proj"]
# (name, model, LoRA settings, modules that PEFT leaves in float32 or not)
CASES = [
    ("llama", "llama", dict(target_modules=LLAMA)),
    ("llama-rslora", "llama", dict(target_modules=ATTENTION, use_rslora=True,
                                   rank_pattern={"q_proj": 3}, alpha_pattern={"v_proj": 7})),
    ("llama-dora", "llama", dict(target_modules=LLAMA, use_dora=True)),
    ("llama-embedding", "llama", dict(target_modules=["embed_tokens", "q_proj", "lm_head"])),
    ("llama-saved", "llama", dict(target_modules=["v_proj"], modules_to_save=["lm_head"])),
    ("qwen2-bias", "qwen2", dict(target_modules=LLAMA, lora_bias=False, bias="all")),
    ("qwen2-lora-bias", "qwen2", dict(target_modules=ATTENTION[:3], lora_bias=True)),
    ("qwen3", "qwen3", dict(target_modules=LLAMA)),
    ("phi3", "phi3", dict(target_modules=["qkv_proj", "o_proj", "gate_up_proj", "down_proj"])),
    ("gpt2", "gpt2", dict(target_modules=["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True)),
    ("gpt2-dora", "gpt2", dict(target_modules=["c_attn", "c_fc"], fan_in_fan_out=True,
                               use_dora=True)),
    ("bert", "bert-masked", dict(target_modules=["query", "key", "value", "dense"],
                                 bias="all")),
    ("vit", "vit", dict(target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "fc1", "fc2"],
                        modules_to_save=["classifier"])),
    ("gpt_neox", "gpt_neox", dict(target_modules=["query_key_value", "lm_head"])),
    ("exaone", "exaone", dict(target_modules=LLAMA + ["embed_tokens"])),
    ("llava", "llava", dict(target_modules=r".*language_model.*(q_proj|o_proj|up_proj)")),
    ("t5", "t5", dict(target_modules=["q", "k", "v", "o", "wi", "wo"])),
]
# A head of its own for a base that has none: carried over, and no merge could hold it.
UNTIED = [
    ("distilbert-tied-head", "distilbert-masked",
     dict(target_modules=["q_lin"], modules_to_save=["vocab_projector"])),
    ("gpt2-tied-factors", "gpt2", dict(target_modules=["c_attn", "lm_head"])),
]


def make_adapter(folder, out, settings):
    model, _ = families.load(folder)
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=4, lora_alpha=9, **settings),
                                  autocast_adapter_dtype=False)
    g = torch.Generator().manual_seed(7)
    for name, p in sorted(adapted.named_parameters()):
        if "lora_" in name or "modules_to_save" in name or \
                (settings.get("bias") == "all" and name.endswith("bias")):
            with torch.no_grad():
                p.copy_(p + 0.2 * torch.randn(p.shape, generator=g, dtype=torch.float64)
                        .to(p.dtype))
    adapted.save_pretrained(out)


def answers(folder, adapter):
    model, inputs = families.load(folder)
    adapted = peft.PeftModel.from_pretrained(model, adapter,
                                             autocast_adapter_dtype=False).double().eval()
    with casts("float64"):
        return [families.logits(adapted.get_base_model(), i) for i in inputs]


def refused(code, *args):
    done = subprocess.run(args, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    said = json.loads(done.stdout)["error"]["code"] if done.returncode else "nothing"
    return "" if said == code else f"{' '.join(args[1:3])}: {said}, expected {code}"


def check(build, name, family, settings, out):
    tool = os.path.join(build, "weightward")
    at = lambda word: os.path.join(out, word)   # noqa: E731
    folder = families.write(family, out)
    make_adapter(folder, at("adapter"), settings)
    key = at("team.lock")
    run(tool, "key", "new", "lock", "--out", key, "--no-passphrase")
    scale = ["--no-scale"] if settings.get("use_dora") else []
    run(tool, "lock", folder, at("locked"), "--key", key, *scale)
    run(tool, "lock", at("adapter"), at("carried"), "--base", at("locked"), "--key", key)
    run(tool, "unlock", at("carried"), at("back"), "--base", at("locked"), "--key", key)
    want = answers(folder, at("adapter"))
    bad = []
    legal = error(answers(at("locked"), at("carried")), want)
    if not legal <= 1e-9:
        bad.append(f"off by {legal:.1e}")
    wrong = error(answers(at("locked"), at("adapter")), want)
    if not wrong >= 1e-2:
        bad.append(f"the adapter as it was is off by {wrong:.1e} only")
    if not same_folder(at("adapter"), at("back")):
        bad.append("carried back it is not the original")
    print(f"{'FAIL' if bad else 'ok':4} {name:20} legal {legal:.1e}  as it was {wrong:.1e}  "
          f"{'; '.join(bad)}", flush=True)
    return not bad


def check_refusals(build, out):
    tool = os.path.join(build, "weightward")
    at = lambda word: os.path.join(out, word)   # noqa: E731
    folder = families.write("llama", out)
    other = families.write("gpt2", out)
    make_adapter(folder, at("lora"), dict(target_modules=ATTENTION))
    make_adapter(folder, at("dora"), dict(target_modules=ATTENTION, use_dora=True))
    for word in ("a", "b"):
        run(tool, "key", "new", "lock", "--out", at(word), "--no-passphrase")
    run(tool, "lock", folder, at("locked"), "--key", at("a"), "--no-scale")
    run(tool, "lock", folder, at("scaled"), "--key", at("a"))
    run(tool, "lock", other, at("other"), "--key", at("a"))
    run(tool, "lock", at("lora"), at("carried"), "--base", at("locked"), "--key", at("a"))
    lora, dora, carried, new = at("lora"), at("dora"), at("carried"), at("new")
    a = ("--key", at("a"), "--json")
    bad = [text for text in (
        refused("WW_E_ADAPTER", tool, "lock", lora, new, *a),
        refused("WW_E_USAGE", tool, "lock", lora, new, "--base", folder, *a),
        refused("WW_E_TENSOR", tool, "lock", lora, new, "--base", at("other"), *a),
        refused("WW_E_WRONG_KEY", tool, "lock", lora, new, "--base", at("locked"),
                "--key", at("b"), "--json"),
        refused("WW_E_UNSUPPORTED", tool, "lock", carried, new, "--base", at("locked"), *a),
        refused("WW_E_UNSUPPORTED", tool, "unlock", lora, new, "--base", at("locked"), *a),
        refused("WW_E_WRONG_MODEL", tool, "unlock", carried, new, "--base", at("scaled"), *a),
        refused("WW_E_UNSUPPORTED", tool, "lock", dora, new, "--base", at("scaled"), *a),
    ) if text]
    weights = os.path.join(carried, "adapter_model.safetensors")
    with open(weights, "r+b") as f:
        f.seek(-3, os.SEEK_END)
        byte = f.read(1)
        f.seek(-3, os.SEEK_END)
        f.write(bytes([byte[0] ^ 1]))
    text = refused("WW_E_DAMAGED", tool, "unlock", carried, new, "--base", at("locked"), *a)
    bad += [text] if text else []
    if os.path.exists(new) or os.path.exists(new + ".partial"):
        bad.append("a refusal left something")
    print(f"{'FAIL' if bad else 'ok':4} refusals  {'; '.join(bad)}", flush=True)
    return not bad


def main(build, names):
    failed = 0
    for name, family, settings in CASES + UNTIED:
        if not names or name in names:
            with tempfile.TemporaryDirectory() as out:
                try:
                    failed += not check(build, name, family, settings, out)
                except RuntimeError as e:
                    print(f"FAIL {name}: {e}", flush=True)
                    failed += 1
    with tempfile.TemporaryDirectory() as out:
        failed += not check_refusals(build, out)
    print(f"{failed} failed" if failed else "all passed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
