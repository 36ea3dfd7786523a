#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Dense locks, judged by transformers.

    test_lock_dense.py BUILD [CASE...]

For every case of make_models.py that permits a dense lock, in bf16, and for some also in
f16, f32, f64 and with a condition number: unlocking gives every file back byte for byte. For one
family of each kind of attention: stored in float64 the locked model answers as the original
does, stored in float32 within 1e-5, in bf16 nearly (how nearly is printed), and a lock with
a structural fault is far off. Models whose every attention has, by `inspect`, a norm, gate or
clamp in the way are refused, and no others.
"""
import json
import os
import sys
import tempfile

import make_models as families
import torch
from test_lock_exact import Siblings, answers, answers_of, errors, run, same_folder

# One of each: no rotary embedding (fused, biased, transposed), rotary half and adjacent,
# partial, grouped, latent, norms on queries and keys, relative bias, two stacks, images.
JUDGED = ("gpt2", "opt", "bloom", "llama", "qwen2", "gptj", "gpt_neox", "falcon-groups",
          "deepseek_v3", "deepseek_v2-plain", "qwen3", "cohere2", "t5", "bert-masked", "vit")
# Rounding may turn a choice of experts, after which an answer is another one: their
# change in bf16 is printed and not judged.
EXPERTS = ("deepseek_v3", "deepseek_v2-plain")
LEGAL = 1e-9
SINGLE = 1e-5
ILLEGAL = 1e-2


def lock(tool, folder, out, key, *more):
    return json.loads(run(tool, "lock", folder, out, "--key", key, "--level", "dense",
                          "--json", *more))


def change(folder, out):
    """Relative change of the answers by locking, as the plain passes see it."""
    plain, _ = errors(answers(out, cached=False), answers(folder, cached=False))
    return plain


def comes_back(tool, folder, key, at, *more):
    """What the lock said; None when the files did not come back."""
    locked, back = at + ".lock", at + ".back"
    said = lock(tool, folder, locked, key, *more)
    run(tool, "unlock", locked, back, "--key", key)
    return said if same_folder(folder, back) else None


def permits(tool, folder):
    """Does some attention allow matrices or phases, by its classes?"""
    blocks = json.loads(run(tool, "inspect", folder, "--json", "-q"))["blocks"]
    return any(b.get("vo_class") == "gl" or b.get("qk_class") in ("gl", "rope", "mla")
               for b in blocks)


def judge(build, name, out):
    """Of the folders that check has locked."""
    bad, seen = [], {}
    folder = os.path.join(out, "f64", name)
    model, inputs = families.load(folder)
    want = answers_of(model, inputs, cached=False)
    siblings = Siblings(folder, model, inputs)
    seen["f64"], _ = errors(siblings.answers(os.path.join(out, "f64.lock")), want)
    for kind in ("f32", "bf16"):
        seen[kind] = change(os.path.join(out, kind, name), os.path.join(out, kind + ".lock"))
    for kind, limit in (("f64", LEGAL), ("f32", SINGLE), ("bf16", 0.2)):
        if not seen[kind] <= limit and not (kind == "bf16" and name in EXPERTS):
            bad.append(f"{kind} changes by {seen[kind]:.1e}")
    least = float("inf")
    for fault in run(os.path.join(build, "lock_probe"), "dense-wrong", folder, folder).split():
        off = siblings.off(f"{folder}.{fault}", want)
        least = min(least, off)
        if not off >= ILLEGAL:
            bad.append(f"fault {fault} is off by {off:.1e} only")
    return bad, " ".join(f"{k} {v:.1e}" for k, v in seen.items()) + f" fault {least:.1e}"


def check(build, name, out, key):
    """The folder of bf16 is written."""
    tool = os.path.join(build, "weightward")
    kinds = [("bf16", "bf16", [])]
    if name in JUDGED:
        for kind, dtype in (("f16", torch.float16), ("f32", torch.float32),
                            ("f64", torch.float64)):
            families.write(name, os.path.join(out, kind), dtype)
            kinds.append((kind, kind, []))
        kinds.append(("bf16", "cond", ["--condition", "4"]))
    bad, bits, text = [], [], ""
    for folder, kind, more in kinds:
        said = comes_back(tool, os.path.join(out, folder, name), key, os.path.join(out, kind), *more)
        if not said:
            bad.append(f"{kind}: unlock is not the original")
        else:
            bits.append(f"{kind} {said['dense']['bits_per_weight']:.2f}")
    if name in JUDGED:
        more, text = judge(build, name, out)
        bad += more
    print(f"{'FAIL' if bad else 'ok':4} {name:24} bits {' '.join(bits)}  {text} "
          f"{'; '.join(bad)}", flush=True)
    return not bad


def refused(tool, name, folder, out, key):
    try:
        lock(tool, folder, os.path.join(out, "locked"), key)
    except RuntimeError as e:
        good = "allows no dense lock" in str(e)
        why = str(e).split("weightward lock: ")[-1]
        print(f"{'ok' if good else 'FAIL':4} {name:24} refused: {why}"[:140], flush=True)
        return good
    print(f"FAIL {name} was locked", flush=True)
    return False


def main(build, names):
    failed = 0
    tool = os.path.join(build, "weightward")
    for name in names or families.cases():
        with tempfile.TemporaryDirectory() as out:
            key = os.path.join(out, "team.lock")
            run(tool, "key", "new", "lock", "--out", key, "--no-passphrase")
            try:
                folder = families.write(name, os.path.join(out, "bf16"), torch.bfloat16)
                done = (check(build, name, out, key) if permits(tool, folder) else
                        refused(tool, name, folder, out, key))
            except RuntimeError as e:
                print(f"FAIL {name}: {e}", flush=True)
                done = False
            failed += not done
    print(f"{failed} failed" if failed else "all passed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
