#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Portable adapters of a package in vLLM's own loading code, on the CPU.

    rmm_vllm.py BUILD UNPACKED

UNPACKED is a folder that holds vLLM's package of Python files, `vllm`, as its wheel has it. Its
PEFTHelper, LoRAModel and LoRALayerWeights run as they are; what they import of the rest (layers,
configuration, extensions) is stood in for, so no engine is started and no token is made. The
modules that a model takes are the packed ones of vLLM's model class and the linear ones of
transformers.

Small random models of several architectures get adapters by peft. Each is packed exactly and
comes back in form portable; vLLM's scaling * B * A of every module must be peft's change of it.
The adapter as peft wrote it is loaded too, to tell what vLLM makes of it without the form.
"""
import ast
import importlib.abc
import importlib.machinery
import json
import os
import subprocess
import sys
import tempfile
from types import SimpleNamespace
from unittest.mock import MagicMock

import peft
import torch
import transformers

REAL = {"vllm.lora.peft_helper", "vllm.lora.lora_model", "vllm.lora.lora_weights", "vllm.lora.utils"}
BOUND = 1e-6    # of the largest number of a module's change: sums of float32
SIZES = {"vocab_size": 96, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "pad_token_id": 0}
MODELS = {
    "llama": (transformers.LlamaConfig, {"tie_word_embeddings": False}),
    "qwen2": (transformers.Qwen2Config, {"tie_word_embeddings": True}),
    "gemma2": (transformers.Gemma2Config, {"head_dim": 16}),
    "mixtral": (transformers.MixtralConfig, {"num_local_experts": 4}),
    "phi3": (transformers.Phi3Config, {}),
}
FORMS = {
    "plain": {},
    "rsLoRA": {"use_rslora": True},
    "patterns": {"rank_pattern": {"o_proj": 6}, "alpha_pattern": {"layers.1.self_attn.o_proj": 5}},
    "rsLoRA and patterns": {"use_rslora": True, "rank_pattern": {"o_proj": 6},
                            "alpha_pattern": {"o_proj": 5}},
    "one layer": {"layers_to_transform": [1]},
    "rank 7": {"r": 7},
    "all linear": {"target_modules": "all-linear"},
    "embedding": {"target_modules": ["o_proj", "embed_tokens"]},
    "regular expression": {"alpha_pattern": {r"layers\.1\..*": 5}},
    "head": {"target_modules": ["o_proj", "lm_head"]},
    "head kept whole": {"modules_to_save": ["lm_head"]},
    "DoRA": {"use_dora": True},
    "bias": {"lora_bias": True},
    "PiSSA": {"init_lora_weights": "pissa"},
    "stacked experts": {"target_parameters": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]},
}
ON_LLAMA_ALONE = {"embedding", "head", "head kept whole", "DoRA", "bias", "PiSSA", "regular expression"}
# What is more than pairs of matrices, or not understood, has no portable form; nor do adapters
# of all linear modules of Mixtral, where peft takes the stacked experts as well.
NO_FORM = {"embedding", "head kept whole", "DoRA", "bias", "PiSSA", "stacked experts"}


class StandIn(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Every module of vllm but those under test."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in ("vllm", "regex") or name in REAL:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        if spec.name == "regex":
            import re
            return re
        module = MagicMock(name=spec.name)
        module.__path__ = [os.path.join(UNPACKED, *spec.name.split("."))]
        module.PIN_MEMORY = False
        return module

    def exec_module(self, module):
        pass


def packed(kind):
    """packed_modules_mapping of vLLM's model class, read from its source."""
    with open(os.path.join(UNPACKED, "vllm/model_executor/models", f"{kind}.py"), encoding="utf-8") as f:
        tree = ast.parse(f.read())
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "packed_modules_mapping":
            return ast.literal_eval(node.value)
    raise SystemExit(f"{kind}.py: no packed_modules_mapping")


def vllm_loads(folder, expected):
    """scaling * B * A by module, by vLLM's code; ValueError where vLLM refuses the adapter."""
    from vllm.lora.lora_model import LoRAModel
    from vllm.lora.peft_helper import PEFTHelper
    helper = PEFTHelper.from_local_dir(folder, None)
    helper.validate_legal(SimpleNamespace(max_lora_rank=16))
    model = LoRAModel.from_local_checkpoint(folder, expected, helper, lora_model_id=1, device="cpu",
                                            dtype=torch.float32, model_vocab_size=SIZES["vocab_size"])
    out = {}
    for name, lora in model.loras.items():
        lora = lora.optimize()
        if "embed" in name:
            raise NotImplementedError
        out[name] = lora.lora_b.double() @ lora.lora_a.double()
    return out


def peft_says(base, folder):
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = peft.PeftModel.from_pretrained(model, folder)
    return {name.removeprefix("base_model.model."): layer.get_delta_weight("default").double()
            for name, layer in model.named_modules()
            if isinstance(layer, peft.tuners.lora.Linear)}


def differs(got, want):
    """The largest difference; all modules must be there."""
    if got.keys() != want.keys():
        return float("inf")
    return max(float((got[m] - want[m]).abs().max() / want[m].abs().max()) for m in want)


def outcome(load, want):
    try:
        far = differs(load(), want)
    except NotImplementedError:
        return "loaded; embeddings are not compared", None
    except (ValueError, AssertionError) as e:
        return f"refused: {str(e).splitlines()[0][:110]}", None
    if far == float("inf"):
        return "other modules than the linear layers of peft", far
    return f"{'right' if far < BOUND else 'MISREAD'}, differs by {far:.1e}", far


def one(program, work, kind, base, expected, form, settings):
    torch.manual_seed(3)
    where = os.path.join(work, f"{kind}-{form.replace(' ', '-')}")
    targets = ["qkv_proj", "o_proj"] if kind == "phi3" else ["q_proj", "v_proj", "o_proj"]
    config = peft.LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": targets,
                                "init_lora_weights": False, "task_type": "CAUSAL_LM", **settings})
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    peft.get_peft_model(model, config).save_pretrained(where)
    want = peft_says(base, where)
    raw, _ = outcome(lambda: vllm_loads(where, expected), want)
    subprocess.run([program, "rmm", "pack", where + ".pkg", f"m={where}", "--exact", "--base", base, "-q"],
                   check=True)
    done = subprocess.run([program, "rmm", "unpack", where + ".pkg", "m", where + "-portable", "--form",
                           "portable", "--base", base, "-q"], stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        portable = f"no such form: {done.stderr.strip().splitlines()[0][len('weightward rmm: '):][:110]}"
        far = 0.0 if form in NO_FORM or (kind, form) == ("mixtral", "all linear") else None
    else:
        portable, far = outcome(lambda: vllm_loads(where + "-portable", expected), want)
    print(f"{kind}, {form}: {len(want)} modules\n    by peft: {raw}\n    portable: {portable}", flush=True)
    return far is not None and far < BOUND


def main():
    program = os.path.join(os.path.abspath(sys.argv[1]), "weightward")
    sys.meta_path.insert(0, StandIn())
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    bad = []
    with tempfile.TemporaryDirectory() as work:
        for kind, (config, more) in MODELS.items():
            base = os.path.join(work, kind)
            model = transformers.AutoModelForCausalLM.from_config(config(**SIZES, **more))
            model.save_pretrained(base)
            expected = {n.rsplit(".", 1)[-1] for n, m in model.named_modules()
                        if isinstance(m, torch.nn.Linear)} | {"embed_tokens", "lm_head"}
            expected |= {part for parts in packed(kind).values() for part in parts} | {"experts"}
            for form, settings in FORMS.items():
                if form in ON_LLAMA_ALONE and kind != "llama" or \
                        form == "stacked experts" and kind != "mixtral":
                    continue
                if not one(program, work, kind, base, expected, form, settings):
                    bad.append((kind, form))
    print(json.dumps({"misread or refused": bad}))
    assert not bad, bad


UNPACKED = os.path.abspath(sys.argv[2])
main()
