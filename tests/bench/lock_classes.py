#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every class that transformers has for the types that are served, locked, and judged by it.

    .venv/bin/python tests/bench/lock_classes.py BUILD [--part I/N] [TYPE...]

Each class of each model_type of docs/architectures.md is built from the config of a case of
make_models.py, with random parameters, saved and locked: all that it answers in float64 is what
the original answers (1e-9 of the largest value), and unlocking gives every file back; or it is
refused, and the reason is printed for a reader to judge. Hidden states on the way, those of
towers among them, are no answers. Exit status 1 when an answer was wrong.
"""
import argparse
import collections
import copy
import importlib
import inspect
import os
import sys
import tempfile
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
import architectures_page
import make_models as families
import more_models
import torch
import transformers as tf
from safetensors.torch import load_file
from test_forward import casts
from test_lock_exact import LEGAL, run, same_folder
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import model_type_to_module_name

# On the way to the answer: towers, caches, the experts that were chosen.
INNER = ("hidden_states", "last_hidden_state", "past_key_values", "cache", "attentions",
         "router_logits", "router_probs", "image_hidden_states", "image_outputs",
         "text_model_output", "vision_model_output")
SOUND = ("WhisperForAudioClassification",)
ENDS = ("BartForSequenceClassification", "MBartForSequenceClassification",
        "MvpForSequenceClassification", "PLBartForSequenceClassification",
        "T5ForSequenceClassification", "MT5ForSequenceClassification",
        "UMT5ForSequenceClassification")


def module_of(kind):
    name = model_type_to_module_name(kind)
    return importlib.import_module(f"transformers.models.{name}.modeling_{name}")


def classes_of(kind):
    """Names of the type's classes: those of the Auto classes, and of its own module."""
    found = set()
    for name in dir(modeling_auto):
        if name.startswith("MODEL_") and name.endswith("_MAPPING_NAMES"):
            classes = getattr(modeling_auto, name).get(kind) or ()
            found.update([classes] if isinstance(classes, str) else classes)
    try:
        module = module_of(kind)
    except ImportError:
        return sorted(found)
    for name in getattr(module, "__all__", ()):
        cls = getattr(module, name)
        if isinstance(cls, type) and issubclass(cls, tf.PreTrainedModel) and \
                not name.endswith("PreTrainedModel") and \
                getattr(cls.config_class, "model_type", None) == kind:
            found.add(name)
    return sorted(found)


def configs():
    """model type -> config of its first case, and the classes that cases have."""
    first, held = {}, set()
    for make in families.CASES.values():
        cls, config = make()
        first.setdefault(config.model_type, config)
        held.add((config.model_type, cls.__name__))
    return first, held


def values(out, mask, name=""):
    """(name, numbers) of all that a model answers; padded places mean nothing."""
    if torch.is_tensor(out):
        if not out.is_floating_point():
            return
        if mask is not None and out.shape[:2] == mask.shape:
            out = out[mask.bool()]
        yield name, out.double()
    elif hasattr(out, "items"):
        for key, value in out.items():
            stream = not name and key == "last_hidden_state" and "logits" not in out
            if stream or not key.endswith(INNER):
                yield from values(value, mask, f"{name}.{key}")
    elif isinstance(out, (tuple, list)):
        for i, value in enumerate(out):
            yield from values(value, mask, f"{name}.{i}")


def inputs_of(model, kind):
    name = type(model).__name__
    if name.endswith("MultipleChoice"):
        return more_models.choices(model)
    if name in SOUND:
        return [dict(input_features=more_models.noise(3, 2, 8, 64))]
    inputs = families.inputs_of(model)
    if name == "WhisperForCausalLM":
        return [dict(input_ids=families.tokens(4, 2, 9),
                     encoder_outputs=(more_models.noise(3, 2, 32, 64),))]
    if name.endswith("ForSequenceClassification") and "input_ids" in inputs[0]:
        # One text each, since not every config says what pads; one end, where BART reads.
        inputs = [dict(input_ids=i["input_ids"][:1]) for i in inputs]
        if name in ENDS:
            end = model.config.eos_token_id
            for i in inputs:
                i["input_ids"][i["input_ids"] == end] = 5
                i["input_ids"][:, 11] = end
    return inputs


def answers(model, inputs):
    torch.set_default_dtype(torch.float64)      # constants made on the way
    plain = "use_cache" in inspect.signature(model.forward).parameters
    try:
        with casts("float64"), torch.no_grad():
            return [list(values(model(**i, **(dict(use_cache=False) if plain else {})),
                                i.get("attention_mask"))) for i in inputs]
    finally:
        torch.set_default_dtype(torch.float32)


def error(got, want):
    """(largest error, what is off by it)"""
    worst = (0.0, "")
    for g, w in zip(got, want, strict=True):
        for (name, x), (_, y) in zip(g, w, strict=True):
            off = (x - y).abs().max().item() / (y.abs().max().item() or 1.0) if y.numel() else 0.0
            worst = max(worst, (off, name)) if off == off else (float("inf"), name)
    return worst


def has_experts(config):
    return any(getattr(config.get_text_config(), key, None) for key in (
        "num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"))


class Loaded:
    """A folder's model; siblings that differ in their weights alone are put into it."""

    def __init__(self, cls, folder):
        self.cls = cls
        self.model = self.load(folder)
        self.state = self.model.state_dict()
        weights = load_file(os.path.join(folder, "model.safetensors"))
        self.direct = all(n in self.state and self.state[n].shape == x.shape and
                          torch.equal(self.state[n], x.to(self.state[n].dtype))
                          for n, x in weights.items())

    def load(self, folder):
        config = tf.AutoConfig.from_pretrained(folder)
        if has_experts(config):     # the grouped kernel takes no doubles
            config._experts_implementation = "eager"
        model = self.cls.from_pretrained(folder, config=config, dtype=torch.float64,
                                         attn_implementation="eager").double().eval()
        for module in model.modules():      # the type that a router casts to
            if type(module).__name__.endswith("Router") and hasattr(module, "dtype"):
                module.dtype = torch.float64
        more_models.LOADED.get(model.config.model_type, lambda model: None)(model)
        return model

    def put(self, folder):
        if not self.direct:
            return self.load(folder)
        with torch.no_grad():
            for n, x in load_file(os.path.join(folder, "model.safetensors")).items():
                self.state[n].copy_(x)
        return self.model


def build(kind, name, config, folder):
    cls = getattr(tf, name, None) or getattr(module_of(kind), name)
    torch.manual_seed(1)
    model = cls(copy.deepcopy(config))
    families.randomise(model, zlib.crc32((kind + name).encode()))
    model.save_pretrained(folder)
    return cls


def judge(tool, key, kind, name, config, out):
    """ok, passed over, refused: why, or wrong: why"""
    folder, locked, back = (os.path.join(out, w) for w in ("model", "lock", "back"))
    try:
        loaded = Loaded(build(kind, name, config, folder), folder)
        inputs = inputs_of(loaded.model, kind)
        want = answers(loaded.model, inputs)
    except Exception as e:      # whatever transformers has against it
        return f"passed over: {type(e).__name__} {str(e)[:80]}"
    try:
        run(tool, "lock", folder, locked, "--key", key)
    except RuntimeError as e:
        return "refused: " + str(e).rsplit("weightward lock: ", maxsplit=1)[-1]
    off, what = error(answers(loaded.put(locked), inputs), want)
    if not off <= LEGAL:
        return f"wrong: {what} is off by {off:.1e}"
    run(tool, "unlock", locked, back, "--key", key)
    return "ok" if same_folder(folder, back) else "wrong: unlock is not the original"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--part", default="1/1")
    parser.add_argument("types", nargs="*")
    args = parser.parse_intermixed_args()
    tool = os.path.join(args.build, "weightward")
    first, held = configs()
    kinds = args.types or sorted(architectures_page.types())
    jobs = [(k, c) for k in kinds if k in first for c in classes_of(k)]
    i, n = map(int, args.part.split("/"))
    seen = collections.Counter()
    with tempfile.TemporaryDirectory() as home:
        key = os.path.join(home, "key")
        run(tool, "key", "new", "lock", "--out", key, "--no-passphrase")
        for kind, name in jobs[i - 1::n]:
            with tempfile.TemporaryDirectory() as out:
                what = judge(tool, key, kind, name, first[kind], out)
            seen[what.split(":")[0]] += 1
            print(f"{what}  {kind}: {name}{'' if (kind, name) in held else ', in no test'}",
                  flush=True)
    print(", ".join(f"{n} {what}" for what, n in sorted(seen.items())))
    return seen["wrong"] > 0


if __name__ == "__main__":
    sys.exit(main())
