#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The C forward pass against transformers, in float64, on tiny random models.

    test_forward.py BUILD [CASE...]

BUILD holds the program forward_probe. Cases are those of forward_cases.py (rotary types
and other variants), then one per described family, from make_models.py ("family:NAME"). Two
comparisons per case, relative to the largest value: with the casts to float32 that
transformers has inside norms, rotary tables and softmax (tolerance 3e-5: T5 has no score
scale, so its softmax is sharp), and with those casts turned into float64 (1e-9).
"""
import contextlib
import os
import subprocess
import sys
import tempfile

import forward_cases as cases
import make_models as families
import more_models
import torch
from transformers.models.bloom import modeling_bloom

LIMIT = {"float32": 3e-5, "float64": 1e-9}


@contextlib.contextmanager
def casts(kind):
    """Make torch.float32 mean float64 while a model is built and run."""
    saved = torch.float32, torch.float, torch.Tensor.float
    bloom = modeling_bloom._get_alibi_slopes
    if kind == "float32":
        yield
        return
    torch.float32 = torch.float = torch.float64
    torch.Tensor.float = torch.Tensor.double
    # Slopes in single precision are part of BLOOM, not a cast on the way.
    modeling_bloom._get_alibi_slopes = lambda *args: bloom_slopes(
        saved, bloom, *args)
    try:
        yield
    finally:
        torch.float32, torch.float, torch.Tensor.float = saved
        modeling_bloom._get_alibi_slopes = bloom


def bloom_slopes(saved, build, *args):
    now = torch.float32, torch.float, torch.Tensor.float
    torch.float32, torch.float, torch.Tensor.float = saved
    try:
        return build(*args)
    finally:
        torch.float32, torch.float, torch.Tensor.float = now


def probe(build, *args):
    run = subprocess.run([os.path.join(build, "forward_probe"), *args], text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if run.returncode:
        raise RuntimeError(run.stderr.strip() or f"status {run.returncode}")
    rows = [[float(x) for x in line.split()] for line in run.stdout.splitlines()]
    return torch.tensor(rows, dtype=torch.float64)


def write_rows(path, rows):
    with open(path, "w") as f:
        for row in rows.tolist():
            f.write(" ".join("%.17g" % x for x in row) + "\n")


def ids(tokens):
    """The first text; of several choices the first."""
    return ",".join(str(t) for t in tokens.flatten(0, -2)[0].tolist())


def token_pair(build, name, folder, n):
    """What the C program gives, and the function that gives it from a model."""
    x = cases.tokens(n, 5)
    encoder = cases.tokens(n - 11, 6)
    if name.startswith("t5"):
        ours = probe(build, folder, ids(x), ids(encoder))
        return ours, lambda m: m(input_ids=encoder, decoder_input_ids=x).logits[0]
    # No cache: transformers then computes exactly one causal pass.
    ours = probe(build, folder, ids(x))
    return ours, lambda m: m(input_ids=x, use_cache=False).logits[0]


def block_errors(build, folder, model):
    """A vision encoder: every block alone, on what transformers fed it."""
    seen = []
    layers = next(m for m in model.modules() if isinstance(m, torch.nn.ModuleList)
                  and len(m) == model.config.num_hidden_layers)
    for layer in layers:
        layer.register_forward_hook(
            lambda m, i, o: seen.append((i[0][0], (o[0] if isinstance(o, tuple) else o))))
    g = torch.Generator().manual_seed(3)
    model(torch.randn(1, 3, 32, 32, generator=g, dtype=torch.float64))
    errors = []
    for b, (x, y) in enumerate(seen):
        y = y.reshape(x.shape)
        path = os.path.join(folder, "rows.txt")
        write_rows(path, x)
        errors.append(difference(probe(build, "--block", str(b), folder, path), y))
        os.remove(path)
    assert len(errors) == len(layers)
    return max(errors)


def difference(ours, theirs):
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def own_case(build, name, folder):
    """(a model, function from a model to the error of the C program against it)"""
    cases.build(name, folder)
    n = cases.CASES[name][1]
    model = cases.load(name, folder)
    ours, theirs = token_pair(build, name, folder, n)
    return model, lambda m: difference(ours, theirs(m))


# Read sound, or have positions or scores that the reference forward pass does not compute.
NO_FORWARD = ("marian", "whisper", "deberta", "deberta-v2", "ministral3", "nanochat",
              "xglm", "ctrl", "m2m_100", "albert",
              "ernie", "blenderbot-small") + more_models.NO_FORWARD
LOGITS = ("ForCausalLM", "GenerationDecoder", "LMHeadModel", "ForConditionalGeneration", "ForMaskedLM")
HIDDEN = ("Model", "EncoderModel")


def family_case(build, name, folder):
    folder = families.write(name, folder)
    model, inputs = families.load(folder)
    if getattr(model.config, "alibi", False):
        # Falcon's eager attention counts its ALiBi bias twice, once in the mask; sdpa,
        # which transformers takes by default, counts it once, as the models were trained.
        model.config._attn_implementation = "sdpa"
    kind = type(model).__name__
    if name in families.UNCOVERED:
        text = inputs[0].get("input_ids")
        refused(build, folder, "3,4,5" if text is None else ids(text))
        return model, None
    tokens_only = {"pixel_values", "input_ids"} <= set(inputs[0]) and kind.endswith(LOGITS)
    if tokens_only:     # a language model that can also read images
        x = families.tokens(1, 1, 40) % 90
        ours = probe(build, folder, ids(x))
        return model, lambda m: difference(ours, m(input_ids=x, use_cache=False).logits[0])
    if model.config.model_type in NO_FORWARD or len({"pixel_values", "input_ids"} &
                                                    set(inputs[0])) != 1:
        refused(build, folder, "3,4,5", *["3,4"] * bool(model.config.is_encoder_decoder))
        return model, None
    if hasattr(model.config, "vision_config") and kind.endswith("ForImageClassification"):
        refused(build, folder, "3,4,5")     # its tower is the case of that name
        return model, None
    if "pixel_values" in inputs[0]:
        return model, lambda m: block_errors(build, folder, m)
    x = inputs[0]["input_ids"]
    decoder = inputs[0].get("decoder_input_ids")
    if kind.endswith("ForPreTraining"):
        ours = probe(build, folder, ids(x))
        return model, lambda m: difference(ours, m(**inputs[0]).prediction_logits[0])
    if not kind.endswith(LOGITS) and not (kind.endswith(HIDDEN) and "LMHead" not in kind):
        refused(build, folder, ids(x))
        return model, None
    if kind.endswith(HIDDEN) and decoder is not None:     # hidden states of the encoder
        ours = probe(build, "--hidden", folder, ids(x))
        return model, lambda m: difference(ours, m(**inputs[0]).encoder_last_hidden_state[0])
    if kind.endswith(HIDDEN) and model.config.model_type.startswith("siglip"):
        ours = probe(build, "--hidden", folder, ids(x))     # the stream, not its pooling
        return model, lambda m: difference(ours, m(**inputs[0]).last_hidden_state[0])
    arguments = [folder, ids(x)] if decoder is None else [folder, ids(decoder), ids(x)]
    ours = probe(build, *([] if kind.endswith(LOGITS) else ["--hidden"]), *arguments)
    return model, lambda m: difference(ours, families.logits(m, inputs[0])[0])


def refused(build, folder, *text):
    """A model without token logits must be refused, not answered."""
    try:
        probe(build, folder, *text)
    except RuntimeError as e:
        if "WW_E_UNSUPPORTED" in str(e):
            return
        raise
    raise RuntimeError("logits of a model that has none")


@torch.no_grad()
def measure(build, name, folder):
    family = name.startswith("family:")
    make = family_case if family else own_case
    model, error = make(build, name.removeprefix("family:"), folder)
    if not error:
        return None
    errors = {}
    for kind in LIMIT:
        with casts(kind):
            model = model if kind == "float32" else cases.again(model)
            errors[kind] = error(model)
    return errors


def main():
    build = os.path.abspath(sys.argv[1])
    bad = 0
    print(f"{'case':34} {'float32 casts':>14} {'float64 casts':>14}")
    names = sys.argv[2:] or [*cases.CASES, *("family:" + n for n in families.cases())]
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            try:
                errors = measure(build, name, folder)
            except Exception as e:
                bad += 1
                print(f"{name:34} FAILED {type(e).__name__}: {e}")
                continue
        if errors is None:
            print(f"{name:34} refused, as it should be", flush=True)
            continue
        over = [k for k in LIMIT if not errors[k] <= LIMIT[k]]
        bad += bool(over)
        print(f"{name:34} {errors['float32']:14.2e} {errors['float64']:14.2e}"
              f"{'  TOO LARGE' if over else ''}", flush=True)
    print(f"{bad} of {len(names)} cases failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
