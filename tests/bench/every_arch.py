#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every family through every command that makes weights, judged by torch, transformers and peft.

    .venv/bin/python tests/bench/every_arch.py BUILD [--log FILE] [--steps STEP,...] [--part I/N] [CASE...]

Of each case of make_models.py, and of lock_published.py as release:NAME, a tiny random model and two
fine-tunes with all parameters changed:

    merge    linear, ties and slerp give, name by name, what torch gives in float64, and load with
             no parameter left out or made up
    stack    a slice recipe that repeats a layer answers as the same layers put together in memory
    extract  at full rank: peft on the base answers as the fine-tune, merged it is the fine-tune;
             portable: as peft and merged it answers alike
    lora     an adapter that peft made for all linear layers, and for experts: merged as peft does
    locked   merged while locked, and opened in the merge: the bits of the merge of open models
    attack   an exact lock is undone with the base as anchor: answers as before
    pack     both fine-tunes come back byte for byte
    share    of a merge of 0.6 and 0.25 behind a lock lineage reads these

One line for each case and step: ok, said (what a command warned of or refused, for a reader to judge)
or wrong. --log keeps the lines and passes over what is in it. Exit status 1 when something was wrong.
"""
import argparse
import contextlib
import copy
import json
import os
import re
import shutil
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../interop"))
import lock_published as published  # noqa: E402
import make_models as families  # noqa: E402
import peft  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from test_lock_exact import answers_of, error, run, same_folder  # noqa: E402

W = (0.6, 0.25)
LOOSE = 1e-6        # of the largest value: one rounding to float32
FUNCTION = 1e-5     # of answers, by factors in float32
EXPERTS = ("experts.gate_up_proj", "experts.down_proj")
LAYER = re.compile(r"^(.*?\.|)(layers|h|blocks|layer|block)\.(\d+)\.(.*)$")


def weights_of(folder):
    return {n: t for f in sorted(os.listdir(folder)) if f.endswith(".safetensors")
            for n, t in load_file(os.path.join(folder, f)).items()}


def fine_tune(base, out, seed):
    shutil.copytree(base, out)
    path = os.path.join(out, "model.safetensors")
    weights, g = load_file(path), torch.Generator().manual_seed(seed)
    for n, t in sorted(weights.items()):
        if t.is_floating_point() and not n.endswith(("inv_freq", "masked_bias")) and not torch.isinf(t).any():
            size = 0.1 * t.double().std() if t.numel() > 1 else t.double().abs()[()] * 0.1
            weights[n] = (t + size * torch.randn(t.shape, generator=g)).to(t.dtype).contiguous()
    save_file(weights, path, metadata={"format": "pt"})


class Case:
    """Folders of one family, and what the program says beside what it does."""

    def __init__(self, tool, name, out):
        self.tool, self.name, self.out, self.made = tool, name, out, {}
        kind, _, release = name.partition(":")
        self.base = published.write(release, out)[0] if kind == "release" else families.write(name, out)
        self.tunes = [self.at("tune1"), self.at("tune2")]
        for i, tune in enumerate(self.tunes):
            fine_tune(self.base, tune, i + 1)
        self.key = self.at("key")
        run(tool, "key", "new", "lock", "--out", self.key, "--no-passphrase")

    def at(self, word):
        return os.path.join(self.out, word)

    def run(self, *args):
        """(the answer, warnings)"""
        said = json.loads(run(self.tool, *args, "--json", "-q"))
        return said, [w if isinstance(w, str) else w.get("text", str(w)) for w in said.get("warnings", [])]

    def merge(self, name, recipe, *options):
        with open(self.at(name + ".yml"), "w", encoding="utf-8") as f:
            json.dump(recipe, f)
        return self.run("merge", f.name, self.at(name), *options)[1]

    def recipe(self, method, models=None, base=None, **more):
        models = models or self.tunes
        sources = [dict(model=m, parameters=dict(weight=w, density=0.5) if method == "ties" else dict(weight=w))
                   for m, w in zip(models, W)]
        of_base = {} if method == "linear" else dict(base_model=base or self.base)
        return dict(merge_method=method, models=sources, parameters=dict(normalize=False), **of_base, **more)

    def answers(self, folder, adapter=None):
        model, inputs = families.load(folder)
        if adapter:
            model = peft.PeftModel.from_pretrained(model, adapter, autocast_adapter_dtype=False).double().eval()
            model = model.get_base_model()
        return answers_of(model, inputs, cached=False)[0]

    def once(self, folder):
        """Answers of a folder that several steps ask for."""
        if folder not in self.made:
            self.made[folder] = self.answers(folder)
        return self.made[folder]


def far(got, want):
    """(how far off the farthest tensor is of its largest value, its name)"""
    if got.keys() != want.keys():
        return float("inf"), f"other names: {sorted(got.keys() ^ want.keys())[:3]}"
    worst = (0.0, "")
    for n, w in want.items():
        if got[n].shape != w.shape:
            return float("inf"), n
        if w.is_floating_point() and w.numel() and not torch.isinf(w).any():
            off = ((got[n].double() - w.double()).abs().max() / (w.double().abs().max() + 1e-300)).item()
            worst = max(worst, (off, n)) if off == off else (float("inf"), n)
        elif not torch.equal(got[n], w):
            return float("inf"), n
    return worst


def floats(rule):
    def merged(tensors):
        copied = not tensors[0].is_floating_point() or torch.isinf(tensors[0]).any()      # limits that numbers are clipped to
        return tensors[0] if copied else rule(*[t.double() for t in tensors])
    return merged


def linear(b, *xs):
    return sum(w * x for w, x in zip(W, xs))


def ties(b, *xs):
    deltas = [x - b for x in xs]
    kept = []
    for d in deltas:
        count = max(1, int(0.5 * d.numel()))
        flat = torch.zeros(d.numel(), dtype=torch.float64)
        order = d.flatten().abs().argsort(descending=True, stable=True)[:count]
        flat[order] = d.flatten()[order]
        kept.append(flat.reshape(d.shape))
    sums = sum(w * k for w, k in zip(W, kept))
    sign = torch.where(sums >= 0, 1.0, -1.0)
    return b + sum(w * torch.where(torch.sign(k) == sign, k, 0.0) for w, k in zip(W, kept))


def slerp(b, x, *_):
    t, flat, other = 0.3, b.flatten(), x.flatten()
    dot = (flat / flat.norm() * (other / other.norm())).sum()
    if not dot.abs() <= 0.9995:     # nearly on a line, or nothing but zeros
        return (1 - t) * b + t * x
    angle = torch.arccos(dot)
    return (torch.sin((1 - t) * angle) * b + torch.sin(t * angle) * x) / torch.sin(angle)


def loads(folder):
    """What transformers says of a folder that does not hold exactly the model."""
    model, _ = families.load(folder)
    cls = type(model)
    info = cls.from_pretrained(folder, output_loading_info=True, dtype=torch.float64, config=model.config)[1]
    return {k: sorted(v)[:3] for k, v in info.items() if v and k in ("missing_keys", "unexpected_keys",
                                                                     "mismatched_keys")}


def step_merge(case):
    all_of = [weights_of(f) for f in (case.base, *case.tunes)]
    bad, notes = [], []
    for method, rule in (("linear", linear), ("ties", ties), ("slerp", slerp)):
        recipe = case.recipe(method, dtype="float64", out_dtype="float32")
        if method == "slerp":
            recipe = dict(merge_method="slerp", base_model=case.base, models=[dict(model=case.tunes[0])],
                          parameters=dict(t=0.3), dtype="float64", out_dtype="float32")
        notes += case.merge(method, recipe)
        want = {n: floats(rule)([w[n] for w in all_of]) for n in all_of[0]}
        off, n = far(weights_of(case.at(method)), want)
        if not off <= LOOSE:
            bad.append(f"{method}: {n} is off by {off:.1e}")
    if loads(case.at("linear")) != loads(case.base):
        bad.append(f"loaded: {loads(case.at('linear'))}")
    if not all(torch.isfinite(a).all() for a in case.answers(case.at("linear"))):
        notes.append("answers of the merge are not finite")
    return bad, notes


def lists_of(model):
    """The lists of layers of a model, by name."""
    return [(n, m) for n, m in model.named_modules() if isinstance(m, torch.nn.ModuleList) and
            re.search(r"(^|\.)(layers|h|blocks|layer|block)$", n)]


PER_LAYER = ("layer_types", "mlp_layer_types", "layers_block_type", "no_rope_layers", "attention_layers",
             "layer_rope_theta", "indexer_types")


def step_stack(case):
    """Layers 0, 0, 1, 1, 2, ... of the base: once by the program, once in memory."""
    model, inputs = families.load(case.base)
    lists = [(n, m) for n, m in lists_of(model) if "vision" not in n and "visual" not in n and
             "audio" not in n and "image" not in n]
    if not lists:
        return [], ["no list of layers"]
    n = len(lists[0][1])
    take = [0, 0, 1, 1, *range(2, n)]
    slices = [dict(sources=[dict(model=case.base, layer_range=r)]) for r in ([0, 1], [0, 2], [1, n])]
    notes = case.merge("stack", dict(merge_method="passthrough", slices=slices))
    got, got_inputs = families.load(case.at("stack"))
    bad = [f"loaded: {loads(case.at('stack'))}"] if loads(case.at("stack")) != loads(case.base) else []
    for name, layers in lists:
        if len(layers) != n or len(got.get_submodule(name)) == n:
            continue
        stacked = torch.nn.ModuleList([copy.deepcopy(layers[i]) for i in take])
        owner = model.get_submodule(name.rpartition(".")[0])
        setattr(owner, name.rpartition(".")[2], stacked)
        for config in {id(m.config): m.config for m in model.modules() if hasattr(m, "config")}.values():
            for key in PER_LAYER:
                own = getattr(config, key, None)
                if isinstance(own, (list, tuple)) and len(own) == n:
                    with contextlib.suppress(AttributeError):       # made of others
                        setattr(config, key, [own[i] for i in take])
            for key in ("num_hidden_layers", "n_layer", "num_layers", "n_layers"):
                if getattr(config, key, None) == n:
                    with contextlib.suppress(AttributeError):
                        setattr(config, key, len(take))
    want = answers_of(model, inputs, cached=False)[0]
    off = error(answers_of(got, got_inputs, cached=False)[0], want)
    if not off <= 1e-9:
        (notes if any("tells it by a layer's number" in w for w in notes) else bad).append(
            f"answers are off by {off:.1e}")
    return bad, notes


def step_extract(case):
    """Also portable, where what peft answers is what the merged adapter does."""
    bad, notes = [], []
    for word, options in (("full", ()), ("portable", ("--portable",))):
        adapter, again = case.at(f"adapter-{word}"), case.at(f"again-{word}")
        _, said = case.run("extract", case.base, case.tunes[0], adapter, "--rank", "4096", *options)
        case.merge(f"again-{word}", dict(merge_method="passthrough", models=[dict(model=f"{case.base}+{adapter}")]))
        said = [w for w in said if "left out" not in w]
        off, n = far(weights_of(again), weights_of(case.tunes[0]))
        if word == "full" and not off <= FUNCTION:
            bad.append(f"merged again {n} is off by {off:.1e}")
        try:
            off = error(case.answers(case.base, adapter), case.once(again if options else case.tunes[0]))
            wrong = [] if off <= FUNCTION else [f"{word}: peft's answers are off by {off:.1e}"]
        except Exception as e:
            wrong = [f"{word}: peft: {type(e).__name__} {' '.join(str(e).split())[:160]}"]
        (notes if said else bad).extend(wrong)
        notes += [f"{word}: {w}" for w in said] if wrong else []
    return bad, notes


def make_adapter(case, out, **settings):
    model, _ = families.load(case.base)
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=4, lora_alpha=9, **settings),
                                  autocast_adapter_dtype=False)
    g = torch.Generator().manual_seed(7)
    for name, p in sorted(adapted.named_parameters()):
        if "lora_" in name:
            with torch.no_grad():
                p.copy_(p + 0.2 * torch.randn(p.shape, generator=g, dtype=torch.float64).to(p.dtype))
    adapted.save_pretrained(out)


def merged_by_peft(case, adapter, out):
    model, _ = families.load(case.base)
    model = peft.PeftModel.from_pretrained(model, adapter, autocast_adapter_dtype=False).double()
    model.merge_and_unload().save_pretrained(out)
    return weights_of(out)


def zeroed(case, before):
    """Tables of which transformers sets the padding token's row to 0 when it loads them, as of Chinese CLIP."""
    loaded = families.load(case.base)[0].state_dict()
    return {n for n, t in before.items() if n in loaded and loaded[n].shape == t.shape
            and bool((loaded[n] == 0)[loaded[n] != t.to(loaded[n].dtype)].all()) and not torch.equal(loaded[n], t.to(loaded[n].dtype))}


def step_lora(case):
    bad, notes = [], []
    stacked = [p for p in EXPERTS if any(n.endswith(p) for n, _ in families.load(case.base)[0].named_parameters())]
    kinds = [("linear", dict(target_modules="all-linear"))]
    kinds += [("experts", dict(target_modules=[], target_parameters=stacked))] if stacked else []
    before = weights_of(case.base)
    for word, settings in kinds:
        adapter, out = case.at(f"lora-{word}"), case.at(f"baked-{word}")
        try:
            make_adapter(case, adapter, **settings)
            want = merged_by_peft(case, adapter, case.at(f"peft-{word}"))
        except Exception as e:      # whatever peft has against it
            notes.append(f"{word}: peft: {type(e).__name__} {str(e)[:80]}")
            continue
        try:
            more = case.merge(f"baked-{word}", dict(merge_method="passthrough", models=[
                dict(model=f"{case.base}+{adapter}")]))
        except RuntimeError as e:
            notes.append(f"{word}: " + str(e).rsplit("weightward ", maxsplit=1)[-1])
            continue
        notes += [f"{word}: {w}" for w in more]
        got = weights_of(out)
        passed = zeroed(case, before)
        shared = {n: w for n, w in want.items() if n in before and n not in passed}
        off, n = far({n: t for n, t in got.items() if n in shared}, shared)
        if not off <= LOOSE:
            bad.append(f"{word}: {n} is off by {off:.1e}")
        lost = [n for n in got if n not in shared and not torch.equal(got[n], before[n])]
        if lost:
            bad.append(f"{word}: changed alone: {lost[:2]}")
        changed = [n for n in shared if not torch.equal(want[n], before[n].double())]
        if not changed:
            notes.append(f"{word}: peft changed nothing under the files' names")
    return bad, notes


def locked(case, word, *options):
    """Base and fine-tunes locked with one key."""
    folders = [case.at(f"{word}{i}") for i in range(3)]
    for f, to in zip((case.base, *case.tunes), folders):
        if not os.path.exists(to):
            case.run("lock", f, to, "--key", case.key, *options)
    return folders


def step_locked(case):
    bad, notes = [], []
    plain = locked(case, "plain", "--no-scale")
    scaled = locked(case, "scaled")
    jobs = [("linear", plain), ("ties", plain), ("task_arithmetic", scaled)]
    for method, folders in jobs:
        case.merge(f"open-{method}", case.recipe(method, dtype="float32"), "--order-free")
        case.merge(f"shut-{method}", case.recipe(method, folders[1:], folders[0], dtype="float32"))
        case.run("unlock", case.at(f"shut-{method}"), case.at(f"back-{method}"), "--key", case.key)
        a, b = weights_of(case.at(f"open-{method}")), weights_of(case.at(f"back-{method}"))
        if a.keys() != b.keys() or not all(torch.equal(a[n], b[n]) for n in a):
            bad.append(f"{method} while locked is another, {far(b, a)}")
    case.merge("open-slerp", dict(merge_method="slerp", base_model=case.base, parameters=dict(t=0.3),
                                  models=[dict(model=case.tunes[0])], dtype="float32"))
    case.merge("in-slerp", dict(merge_method="slerp", base_model=scaled[0], parameters=dict(t=0.3),
                                models=[dict(model=scaled[1])], dtype="float32"), "--unlock-with", case.key,
               "--lock", case.key)
    case.run("unlock", case.at("in-slerp"), case.at("out-slerp"), "--key", case.key)
    a, b = weights_of(case.at("open-slerp")), weights_of(case.at("out-slerp"))
    if a.keys() != b.keys() or not all(torch.equal(a[n], b[n]) for n in a):
        bad.append(f"opened in the merge and locked again it is another, {far(b, a)}")
    return bad, notes


def step_attack(case):
    bad, notes = [], []
    for word, options in (("scaled", ()), ("plain", ("--no-scale",))):
        folder = locked(case, word, *options)[1]
        out = case.at(f"attacked-{word}")
        _, said = case.run("attack", folder, out, "--anchor", case.base)
        notes += said
        off = error(case.answers(out), case.once(case.tunes[0]))
        if not off <= 1e-9:
            notes.append(f"{word}: answers of the attacked are off by {off:.1e}")
            before = error(case.answers(folder), case.once(case.tunes[0]))
            if off > 1e-2 and before <= 1e-9:
                bad.append(f"{word}: the attack broke the model")
        off, n = far(weights_of(out), weights_of(case.tunes[0]))
        if off:
            notes.append(f"{word}: {n} of the attacked is off by {off:.1e}")
    return bad, notes


def step_pack(case):
    case.run("rmm", "pack", case.at("pkg"), *[f"m{i}={t}" for i, t in enumerate(case.tunes)], "--base", case.base,
             "--exact")
    bad = []
    for i, tune in enumerate(case.tunes):
        case.run("rmm", "unpack", case.at("pkg"), f"m{i}", case.at(f"un{i}"), "--base", case.base)
        bad += [] if same_folder(tune, case.at(f"un{i}")) else [f"m{i} comes back as another"]
    return bad, []


def step_share(case):
    case.merge("mix", case.recipe("task_arithmetic", dtype="float32"))
    case.run("lock", case.at("mix"), case.at("mix-locked"), "--key", case.key)
    said, notes = case.run("lineage", "decompose", "--base", case.base, "--candidate", case.tunes[0],
                           "--candidate", case.tunes[1], case.at("mix-locked"))
    shares = [s.get("share") for s in said.get("sources", [])]
    if len(shares) != 2 or any(s is None or abs(s - w) > 1e-3 for s, w in zip(shares, W)):
        return [f"shares are {shares}, {said.get('verdict', said.get('answer', ''))}"], notes
    return [], notes


STEPS = {k[5:]: v for k, v in list(globals().items()) if k.startswith("step_")}


def judge(case, step):
    try:
        bad, notes = STEPS[step](case)
    except RuntimeError as e:
        words = str(e)
        return "said", [words.rsplit("weightward ", maxsplit=1)[-1] if "weightward " in words else words[-300:]]
    except Exception as e:
        return "look", [f"{type(e).__name__} {str(e)[-200:]}"]
    return ("wrong" if bad else "said" if notes else "ok"), bad + sorted(set(notes))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build")
    parser.add_argument("--log")
    parser.add_argument("--steps", default=",".join(STEPS))
    parser.add_argument("--part", default="1/1")
    parser.add_argument("cases", nargs="*")
    args = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    tool, wrong, done = os.path.join(args.build, "weightward"), 0, set()
    if args.log and os.path.exists(args.log):
        with open(args.log, encoding="utf-8") as f:
            done = {tuple(line.split()[1:3]) for line in f if len(line.split()) > 2}
    i, n = map(int, args.part.split("/"))
    for name in (args.cases or families.cases())[i - 1::n]:
        steps = [s for s in args.steps.split(",") if (name, s) not in done]
        if not steps:
            continue
        with tempfile.TemporaryDirectory() as out:
            case = Case(tool, name, out)
            for step in steps:
                word, said = judge(case, step)
                wrong += word == "wrong"
                line = f"{word:5} {name:28} {step:8} {'; '.join(said)}".replace(out + "/", "")
                print(line, flush=True)
                if args.log:
                    with open(args.log, "a", encoding="utf-8") as f:
                        f.write(line + "\n")
    print(f"{wrong} wrong" if wrong else "none wrong")
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main())
