#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Adapters extracted from pairs of models, judged by peft and numpy.

    test_extract.py BUILD

A fine-tune of random changes: at full rank base and adapter answer as the fine-tune does;
truncated, every factor pair is as close to the difference as the best of its rank (numpy's
own decomposition); energies pick the smallest rank that keeps the share; a portable
adapter has one rank and names what it leaves out.
"""
import json
import os
import shutil
import sys
import tempfile

import make_models as families
import numpy as np
import peft
import torch
import transformers
from safetensors.torch import load_file, save_file
from test_forward import casts
from test_lock_exact import error, run

FAMILIES = ("llama", "qwen2", "gpt2", "bert-classifier")


def fine_tune(base, out, low_rank):
    """Changes everywhere but in some layers; of falling spectrum, or of rank 3."""
    shutil.copytree(base, out)
    tensors = load_file(os.path.join(base, "model.safetensors"))
    g = torch.Generator().manual_seed(11)
    for name in sorted(tensors):
        t = tensors[name]
        if not t.is_floating_point() or "layers.1.mlp" in name or "position_ids" in name:
            continue
        noise = torch.randn(t.shape, generator=g)
        if t.dim() == 2:
            u, s, v = torch.linalg.svd(noise, full_matrices=False)
            fall = torch.arange(1, len(s) + 1) ** -1.0
            if low_rank:
                fall = (torch.arange(len(s)) < 3).float()
            noise = (u * (fall * s[0])) @ v
        elif low_rank:
            continue
        tensors[name] = t + 0.05 * noise
    save_file(tensors, os.path.join(out, "model.safetensors"), metadata={"format": "pt"})


def answers(folder, adapter=None):
    model, inputs = families.load(folder)
    if adapter:
        model = peft.PeftModel.from_pretrained(model, adapter).double().eval()
        model = model.get_base_model()
    with casts("float64"):
        return [families.logits(model, i) for i in inputs]


def best(diff, rank):
    s = np.linalg.svd(diff, compute_uv=False)
    return (s[:rank] ** 2).sum() / (s ** 2).sum()


def factors(adapter):
    with open(os.path.join(adapter, "adapter_config.json")) as f:
        config = json.load(f)
    t = {n: v.double().numpy() for n, v in
         load_file(os.path.join(adapter, "adapter_model.safetensors")).items()}
    for name in t:
        if name.endswith(".lora_A.weight"):
            module = name[len("base_model.model."):-len(".lora_A.weight")]
            rank = config["rank_pattern"].get(module, config["r"])
            alpha = config["alpha_pattern"].get(module, config["lora_alpha"])
            yield module, rank, alpha / rank * t[name.replace("_A", "_B")] @ t[name], config


def check(build, family, out):
    tool = os.path.join(build, "weightward")
    at = lambda word: os.path.join(out, word)   # noqa: E731
    base = families.write(family, out)
    bad = []
    fine_tune(base, at("tuned"), False)
    fine_tune(base, at("low"), True)
    want = answers(at("tuned"))
    run(tool, "extract", base, at("tuned"), at("full"), "--rank", "4096", "-q")
    full = error(answers(base, at("full")), want)
    if not full <= 1e-5:
        bad.append(f"full rank is off by {full:.1e}")
    if not error(answers(base), want) >= 1e-3:
        bad.append("the fine-tune changes nothing")
    before, after = (load_file(os.path.join(f, "model.safetensors"))
                     for f in (base, at("tuned")))
    run(tool, "extract", base, at("tuned"), at("cut"), "--rank", "5", "-q")
    worst = 0.0
    for module, rank, product, config in factors(at("cut")):
        name = next(n for n in before if n == module + ".weight")
        diff = (after[name].double() - before[name].double()).numpy()
        diff = diff.T if config["fan_in_fan_out"] else diff
        kept = 1 - ((diff - product) ** 2).sum() / (diff ** 2).sum()
        worst = max(worst, best(diff, rank) - kept)
    if not worst <= 1e-4:
        bad.append(f"cut keeps {worst:.1e} less than the best of its rank")
    run(tool, "extract", base, at("tuned"), at("energy"), "--energy", "0.9", "--rank", "4096",
        "-q")
    for module, rank, product, config in factors(at("energy")):
        name = module + ".weight"
        diff = (after[name].double() - before[name].double()).numpy()
        if best(diff, rank) < 0.9 - 1e-6 or best(diff, rank - 1) >= 0.9:
            bad.append(f"energy: rank {rank} of {module}")
            break
    said = json.loads(run(tool, "extract", base, at("low"), at("portable"), "--portable",
                          "--rank", "8", "--json", "-q"))
    ranks = {rank for _, rank, _, _ in factors(at("portable"))}
    if ranks != {8} or said["whole"] != 0 or said["kept"] < 1 - 1e-9:
        bad.append(f"portable: ranks {ranks}, kept {said['kept']}")
    if said["left_out"] != len(said["warnings"]):
        bad.append("portable: not all that is left out is named")
    print(f"{'FAIL' if bad else 'ok':4} {family:12} full rank {full:.1e}, rank 5 is {worst:.1e} "
          f"from the best  {'; '.join(bad)}", flush=True)
    return not bad


def check_inputs_first(build, out):
    """Of GPT-2's matrices only the layers lie across, not its heads; files of the class without a head
    name no "transformer."; PEFT finds the tied head of GPT-NeoX. Loaded by peft and merged back, the adapter
    is the fine-tune."""
    tool = os.path.join(build, "weightward")
    sizes = dict(n_embd=24, n_layer=1, n_head=2, n_positions=16, vocab_size=24, bos_token_id=0, eos_token_id=0)
    openai = transformers.OpenAIGPTConfig(**sizes)
    neox = transformers.GPTNeoXConfig(hidden_size=24, num_hidden_layers=1, num_attention_heads=2, vocab_size=24,
                                      intermediate_size=40, tie_word_embeddings=True)
    cases = (("head", transformers.GPT2LMHeadModel, transformers.GPT2Config(**sizes, tie_word_embeddings=False), ""),
             ("hub", transformers.GPT2LMHeadModel, transformers.GPT2Config(**sizes), "transformer."),
             ("openai", transformers.OpenAIGPTLMHeadModel, openai, ""),
             ("neox", transformers.GPTNeoXForCausalLM, neox, ""))
    bad, ids = [], torch.arange(12)[None]
    for name, kind, config, prefix in cases:
        base, tuned, adapter, back = (os.path.join(out, f"{name}-{w}") for w in ("base", "tuned", "adapter", "back"))
        kind(config).save_pretrained(base)
        path = os.path.join(base, "model.safetensors")
        save_file({n.removeprefix(prefix): t for n, t in load_file(path).items()}, path, metadata={"format": "pt"})
        shutil.copytree(base, tuned)
        want = {n: t + 0.05 * torch.randn_like(t) for n, t in load_file(path).items()}
        save_file(want, os.path.join(tuned, "model.safetensors"), metadata={"format": "pt"})
        said = json.loads(run(tool, "extract", base, tuned, adapter, "--rank", "4096", "-q", "--json"))
        if name == "neox" and said["warnings"]:
            bad.append(f"{name}: {said['warnings'][0]}")
        with open(os.path.join(out, "recipe.yml"), "w") as f:
            f.write(f"merge_method: passthrough\nmodels: [{{model: {base}+{adapter}}}]\n")
        run(tool, "merge", f.name, back, "-q")
        got = load_file(os.path.join(back, "model.safetensors"))
        if not max((got[n] - want[n]).abs().max() for n in want) < 1e-6:
            bad.append(f"{name}: merged back it is another model")
        model = peft.PeftModel.from_pretrained(kind.from_pretrained(base), adapter).eval()
        with torch.no_grad():
            far = (model(ids).logits - kind.from_pretrained(tuned).eval()(ids).logits).abs().max()
        if not far < 1e-5:
            bad.append(f"{name}: peft is off by {far:.1e}")
    print(f"{'FAIL' if bad else 'ok':4} heads beside layers that are stored inputs x outputs  {'; '.join(bad)}")
    return not bad


def main(build):
    failed = 0
    for family in FAMILIES:
        with tempfile.TemporaryDirectory() as out:
            failed += not check(build, family, out)
    with tempfile.TemporaryDirectory() as out:
        failed += not check_inputs_first(build, out)
    print(f"{failed} failed" if failed else "all passed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
