#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Methods that mergekit does not have, over whole small models, against their definitions in numpy.

    merge_papers.py BUILD [--only WORD]

The definitions of single tensors are those of test_merge_numpy.py and test_merge_spectral.py; here they are put
together for models: what is a matrix, a vector, a table of words, a stack of experts or a matrix of GPT-2
(stored as inputs x outputs), and what looks at the whole model (pcb, emr, doge, opcm, ties and dare of the papers).
Sources: three that differ at random, of low rank, one that is the base, all that are the base, two equal ones, one
alone. Everything is float64; a result may be off by 1e-9 of the tensor's largest change.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../interop"))
import numpy as np  # noqa: E402
import test_merge_numpy as single  # noqa: E402
import test_merge_spectral as spectral  # noqa: E402
from safetensors.numpy import load_file, save_file  # noqa: E402

HIDDEN, FF, VOCAB = 24, 40, 30
LIMIT = 1e-9
QUANTILES = 1e-6    # which pcb takes of magnitudes rounded to float


def llama():
    """Shapes of a small Llama with two layers."""
    out = {"model.embed_tokens.weight": (VOCAB, HIDDEN), "lm_head.weight": (VOCAB, HIDDEN), "model.norm.weight": (HIDDEN,)}
    for i in range(2):
        at = f"model.layers.{i}."
        for name, shape in (("q", (HIDDEN, HIDDEN)), ("k", (12, HIDDEN)), ("v", (12, HIDDEN)), ("o", (HIDDEN, HIDDEN))):
            out[f"{at}self_attn.{name}_proj.weight"] = shape
        out |= {f"{at}mlp.gate_proj.weight": (FF, HIDDEN), f"{at}mlp.up_proj.weight": (FF, HIDDEN),
                f"{at}mlp.down_proj.weight": (HIDDEN, FF), f"{at}input_layernorm.weight": (HIDDEN,),
                f"{at}post_attention_layernorm.weight": (HIDDEN,)}
    return out, {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HIDDEN,
                 "intermediate_size": FF, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
                 "vocab_size": VOCAB, "tie_word_embeddings": False}


def gpt2():
    """Matrices as inputs x outputs."""
    out = {"transformer.wte.weight": (VOCAB, HIDDEN), "transformer.wpe.weight": (16, HIDDEN),
           "transformer.ln_f.weight": (HIDDEN,), "transformer.ln_f.bias": (HIDDEN,)}
    at = "transformer.h.0."
    for name, rows, cols in (("attn.c_attn", HIDDEN, 3 * HIDDEN), ("attn.c_proj", HIDDEN, HIDDEN),
                             ("mlp.c_fc", HIDDEN, 4 * HIDDEN), ("mlp.c_proj", 4 * HIDDEN, HIDDEN)):
        out |= {f"{at}{name}.weight": (rows, cols), f"{at}{name}.bias": (cols,)}
    for name in ("ln_1", "ln_2"):
        out |= {f"{at}{name}.weight": (HIDDEN,), f"{at}{name}.bias": (HIDDEN,)}
    return out, {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": HIDDEN, "n_layer": 1, "n_head": 4,
                 "n_positions": 16, "vocab_size": VOCAB, "tie_word_embeddings": True}


def experts():
    """Stacks of experts: tensors of three axes."""
    out, config = llama()
    for i in range(2):
        for n in ("gate", "up", "down"):
            del out[f"model.layers.{i}.mlp.{n}_proj.weight"]
        at = f"model.layers.{i}.block_sparse_moe."
        out |= {f"{at}router.layer.weight": (3, HIDDEN), f"{at}input_linear.weight": (3, 2 * FF, HIDDEN),
                f"{at}output_linear.weight": (3, HIDDEN, FF)}
    return out, {**config, "architectures": ["GraniteMoeForCausalLM"], "model_type": "granitemoe", "num_local_experts": 3,
                 "num_experts_per_tok": 2}


FAMILIES = {"llama": llama, "gpt2": gpt2, "experts": experts}
WORDS = ("embed", "lm_head", "wte.", "wpe.")


def changes(kind, shapes, rng):
    """Three task vectors, or as many as the kind has."""
    def random():
        return {n: 0.05 * rng.standard_normal(s) for n, s in shapes.items()}

    def low():
        return {n: 0.05 * (rng.standard_normal((s[0], 2)) @ rng.standard_normal((2, s[1])) if len(s) == 2
                           else rng.standard_normal(s)) for n, s in shapes.items()}
    zero = {n: np.zeros(s) for n, s in shapes.items()}
    one = random()
    return {"random": lambda: [one, random(), random()], "low rank": lambda: [low(), low(), low()],
            "one is the base": lambda: [one, zero, random()], "all are the base": lambda: [zero, zero, zero],
            "two are equal": lambda: [one, one, random()], "one alone": lambda: [one]}[kind]()


KINDS = ("random", "low rank", "one is the base", "all are the base", "two are equal", "one alone")


def is_matrix(name, shape):
    return len(shape) == 2 and min(shape) > 1 and not any(w in name for w in WORDS)


def by_matrix(rule, rest=None):
    """A rule of matrices over a model; the rest is averaged."""
    def run(taus, family):
        out = {}
        for name, t in taus[0].items():
            parts = [x[name] for x in taus]
            if not is_matrix(name, t.shape):
                out[name] = rest(parts) if rest else sum(parts) / len(parts)
            elif not any(p.any() for p in parts):
                out[name] = np.zeros_like(t)
            elif family == "gpt2":
                out[name] = rule([p.T for p in parts]).T
            else:
                out[name] = rule(parts)
        return out
    return run


def quadratic(taus):
    """C and D, where a change of nothing counts for nothing."""
    sizes = [max((t * t).sum(), 1e-12) for t in taus]
    return sum(t.T @ t / s for t, s in zip(taus, sizes)), sum(t @ t.T @ t / s for t, s in zip(taus, sizes))


spectral.quadratic = quadratic


def by_tensor(rule, **params):
    """A rule of single tensors of test_merge_numpy.py, of changes from a base of zeros."""
    def run(taus, family):
        n = len(taus)
        p = {"weight": [1.0] * n, "lambda": 1, **params}
        return {name: rule(np.zeros(t.size), [x[name].reshape(-1) for x in taus], p, t.shape).reshape(t.shape)
                for name, t in taus[0].items()}
    return run


def flat(taus):
    names = sorted(taus[0])
    return names, np.array([np.concatenate([t[n].ravel() for n in names]) for t in taus])


def over_all(rule, **params):
    """A rule that sees the model as one vector."""
    def run(taus, family):
        names, d = flat(taus)
        p = {"weight": [1.0] * len(taus), "lambda": 1, **params}
        merged, out, at = rule(np.zeros(d.shape[1]), list(d), p, (d.shape[1],)), {}, 0
        for n in names:
            size = taus[0][n].size
            out[n] = merged[at:at + size].reshape(taus[0][n].shape)
            at += size
        return out
    return run


def opcm(taus, family):
    """One after the other; scaled by the norms of whole models."""
    alpha, merged, norms, scale = 0.5, {n: t.copy() for n, t in taus[0].items()}, [], 1.0
    norm = lambda m: np.sqrt(sum((t * t).sum() for t in m.values()))  # noqa: E731
    norms.append(norm(taus[0]))
    for task in taus[1:]:
        raw = {}
        for n, t in task.items():
            old = merged[n]
            if not is_matrix(n, t.shape):
                raw[n] = scale * old + t
                continue
            u, s, vt = np.linalg.svd(old, full_matrices=True)
            share = np.cumsum(s) / s.sum() if s.sum() > 0 else np.ones_like(s)
            r = int(np.argmax(share > alpha))
            p = u.T @ t @ vt.T
            np.fill_diagonal(p, 0)
            p[:r, :r] = 0
            raw[n] = scale * old + u @ p @ vt
        norms.append(norm(task))
        mean = np.mean(norms)
        scale = norm(raw) / mean if mean else 1.0
        merged = {n: t / scale for n, t in raw.items()}
    return merged


# Directions in which nothing changes, or two sources the same, are whatever the decomposition makes of rounding, and
# these methods use them.
ANY = ("low rank",)
ANY_OF_TWO = ("low rank", "two are equal")
# name: (reference, parameters of the recipe, kinds that are left out)
METHODS = {
    "tsv_m": (by_matrix(spectral.tsv_m), {}, ANY_OF_TWO),
    "iso_c": (by_matrix(spectral.iso_c), {}, ANY),
    "iso_cts": (by_matrix(spectral.iso_cts), {}, ANY_OF_TWO),
    "swudi": (by_matrix((spectral.swudi)), {}, ()),
    "aswudi": (by_matrix((spectral.aswudi)), {}, ()),
    "wudi_flow": (by_matrix((spectral.wudi_flow)), {}, ()),
    "svc": (by_matrix(spectral.svc), {}, ()),
    # A change of nothing has no part of V and so no vote; the decomposition leaves rounding there.
    "knots": (by_matrix(lambda taus: spectral.knots([t for t in taus if t.any()])), {}, ()),
    "core_space": (by_matrix(spectral.core_space), {}, ()),
    "opcm": (opcm, {}, ANY),
    "magmax": (by_tensor(single.ref_magmax, **{"lambda": 0.5}), {"lambda": 0.5}, ()),
    "consensus": (by_tensor(single.ref_consensus, k=2, mask_lambda=0.4), {"k": 2, "mask_lambda": 0.4}, ("one alone",)),
    "compeft": (by_tensor(single.ref_compeft, density=[0.2] * 3, alpha=1.5), {"density": 0.2, "alpha": 1.5}, ()),
    "emr": (over_all(single.ref_emr, task=1), {"task": 1}, ()),
    "pcb": (over_all(single.ref_pcb, pcb_ratio=0.1, clamp=0.01, inter=0), {"pcb_ratio": 0.1, "clamp": 0.01, "inter": 0, "lambda": 1}, ("one is the base",)),
}


class Models:
    def __init__(self, build, folder):
        self.program, self.folder = os.path.abspath(os.path.join(build, "weightward")), folder

    def store(self, name, tensors, config):
        os.makedirs(f"{self.folder}/{name}", exist_ok=True)
        save_file({n: np.ascontiguousarray(t) for n, t in tensors.items()}, f"{self.folder}/{name}/model.safetensors")
        with open(f"{self.folder}/{name}/config.json", "w") as f:
            json.dump({**config, "dtype": "float64"}, f)

    def merge(self, method, n, parameters):
        recipe = {"merge_method": method, "base_model": "base", "dtype": "float64", "parameters": {"weight": 1, **parameters},
                  "models": [{"model": f"m{i}"} for i in range(n)]}
        with open(f"{self.folder}/recipe.yml", "w") as f:
            json.dump(recipe, f)
        subprocess.run(["rm", "-rf", f"{self.folder}/out"], check=True)
        run = subprocess.run([self.program, "merge", "recipe.yml", "out", "-q"], cwd=self.folder, capture_output=True, text=True)
        return (load_file(f"{self.folder}/out/model.safetensors"), None) if run.returncode == 0 else (None, run.stderr.strip())


def worst_of(got, base, want):
    """(how far, of the largest change of the tensor; the tensor)"""
    worst = (0.0, "")
    for n, w in want.items():
        top = max(np.abs(w).max(), 1e-3)
        worst = max(worst, (np.abs(got[n] - base[n] - w).max() / top, n))
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build")
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    bad = n_cases = 0
    for family, make in FAMILIES.items():
        shapes, config = make()
        for kind in KINDS:
            rng = np.random.default_rng(len(kind))
            base = {n: rng.standard_normal(s) for n, s in shapes.items()}
            sources = [{n: base[n] + t[n] for n in base} for t in changes(kind, shapes, rng)]
            taus = [{n: s[n] - base[n] for n in base} for s in sources]   # as they are when rounded
            with tempfile.TemporaryDirectory() as folder:
                models = Models(args.build, folder)
                models.store("base", base, config)
                for i, s in enumerate(sources):
                    models.store(f"m{i}", s, config)
                for method, (rule, parameters, left_out) in METHODS.items():
                    if args.only not in f"{method} {family} {kind}" or kind in left_out:
                        continue
                    n_cases += 1
                    got, said = models.merge(method, len(taus), parameters)
                    with np.errstate(all="ignore"):
                        want = rule(taus, family) if kind != "all are the base" else taus[0]
                    finite = all(np.isfinite(t).all() for t in want.values())
                    if said or not finite:
                        bad += (said is None) != finite
                        print(f"{'look' if (said is None) != finite else 'ok':5}{method} {family} {kind}: "
                              f"{said or 'done'}; numpy {'finite' if finite else 'not finite'}", flush=True)
                        continue
                    off, name = worst_of(got, base, want)
                    if not off < (QUANTILES if method == "pcb" else LIMIT):
                        bad += 1
                        print(f"look {method} {family} {kind}: {name} off by {off:.2g}", flush=True)
    print(f"{n_cases} cases, {bad} to look at")
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
