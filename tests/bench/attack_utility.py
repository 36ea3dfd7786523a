#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What locks and attacks do to a merge, on a trained family of tiny models.

    .venv/bin/python tests/bench/attack_utility.py BUILD [--family DIR] [--pairs rev:caesar,...]
        [--keys 2] [--rows 512] [--attacks joint,aga,invariant] [KIND...]

U is the largest over lambda of the smaller of two task scores (exact match on all test rows)
of base + lambda ((a - base) + (b - base)), rounded to the dtype of the base, with expert a as it
is, locked, or attacked after the lock. Lambda 0 is the base itself and counts. At lambda 1 the
merge is the file a with b's difference as noise: "a alone" is what that file answers by itself.

Mode invariant merges on its own, so its U is the largest over the weight w = 0.1 .. 0.9 of what
it writes with the sibling as the anchor; beside it the plain mean w a + (1 - w) b of the files.

An answer is right when the argmax after the prompt, and after each character of the right
answer, is the next character and then <eos>: the same as greedy decoding, in one pass.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

HERE = os.path.dirname(os.path.abspath(__file__))
LAMBDAS = [x / 10 for x in range(11)]
WEIGHTS = [x / 10 for x in range(1, 10)]
KINDS = {
    "exact": ["lock"],
    "no-scale": ["lock", "--no-scale"],
    "dense": ["lock", "--level", "dense"],
    "orthogonal": ["merge_lock", "1"],
    "condition4": ["merge_lock", "4"],
}
ATTACKS = [("joint", "base"), ("joint", "sibling"), ("aga", "base")]


def run(*args):
    done = subprocess.run(args, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        sys.exit(f"{' '.join(args)}: {done.stderr}")


def weights(folder):
    out = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".safetensors"):
            out.update(load_file(os.path.join(folder, name)))
    return out


class Family:
    def __init__(self, folder, rows):
        logging.disable_progress_bar()
        self.folder, self.rows = folder, rows
        self.base = weights(self.path("base"))
        self.model = AutoModelForCausalLM.from_pretrained(self.path("base"),
                                                          dtype=torch.float32).eval()
        self.tokens = AutoTokenizer.from_pretrained(self.path("base"))
        self.batches, self.known = {}, {}

    def path(self, name):
        return os.path.join(self.folder, name)

    def batch(self, task):
        """Tokens of prompt and answer, and at each position the token that must follow."""
        if task not in self.batches:
            with open(self.path(f"tasks/{task}.test.jsonl")) as f:
                items = [json.loads(line) for line in f][:self.rows]
            ids = lambda text: self.tokens(text, add_special_tokens=False)["input_ids"]  # noqa
            seqs = [([self.tokens.bos_token_id] + ids(i["prompt"]),
                     ids(i["answer"]) + [self.tokens.eos_token_id]) for i in items]
            width = max(len(p) + len(a) for p, a in seqs)
            given = torch.full((len(seqs), width), self.tokens.pad_token_id)
            want = torch.full((len(seqs), width), -1)
            for row, (prompt, answer) in enumerate(seqs):
                given[row, :len(prompt) + len(answer)] = torch.tensor(prompt + answer)
                want[row, len(prompt) - 1:len(prompt) + len(answer) - 1] = torch.tensor(answer)
            self.batches[task] = given, want
        return self.batches[task]

    @torch.no_grad()
    def score(self, state, task):
        given, want = self.batch(task)
        self.model.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
        said = self.model(input_ids=given, use_cache=False).logits.argmax(-1)
        return ((said == want) | (want < 0)).all(1).double().mean().item()

    def utility(self, a, task_a, task_b):
        b, best = weights(self.path(f"expert-{task_b}")), None
        for lam in LAMBDAS:
            state = {k: (v.float() + lam * ((a[k].float() - v.float()) +
                                            (b[k].float() - v.float()))).to(v.dtype)
                     for k, v in self.base.items()}
            least = 1.0
            for task in (task_a, task_b):
                if best is None or least > best[0]:
                    least = min(least, self.score(state, task))
            if best is None or least > best[0]:
                best = least, lam
        return best


def tell(family, name, folder, pair):
    a = weights(folder)
    u, lam = family.utility(a, *pair)
    own, other = (family.score(a, task) for task in pair)
    print(f"{name:44} U {100 * u:5.1f} %  at {lam:.1f}   alone: {pair[0]} {100 * own:5.1f} %, "
          f"{pair[1]} {100 * other:5.1f} %", flush=True)
    return u


def tell_best(family, name, made, pair):
    """made(w): the weights of the merge at weight w."""
    best = max((min(family.score(made(w), task) for task in pair), w) for w in WEIGHTS)
    print(f"{name:44} U {100 * best[0]:5.1f} %  at {best[1]:.1f}", flush=True)


def plain_mean(a, b):
    return lambda w: {k: (w * a[k].float() + (1 - w) * b[k].float()).to(a[k].dtype) for k in a}


def by_invariants(program, locked, anchor):
    def made(w):
        with tempfile.TemporaryDirectory() as work:
            out = os.path.join(work, "out")
            run(program, "attack", locked, out, "--mode", "invariant", "--weight", str(w),
                "--anchor", anchor, "-q")
            return weights(out)
    return made


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("build")
    ap.add_argument("kinds", nargs="*", default=list(KINDS))
    ap.add_argument("--family", default=os.path.join(HERE, "../vectors/amber"))
    ap.add_argument("--pairs", default="rev:caesar")
    ap.add_argument("--keys", type=int, default=2)
    ap.add_argument("--rows", type=int, default=512)
    ap.add_argument("--attacks", default="joint,aga,invariant", help="'' for none")
    opt = ap.parse_args()
    attacks = opt.attacks.split(",")
    family = Family(opt.family, opt.rows)
    program = os.path.join(opt.build, "weightward")
    with tempfile.TemporaryDirectory() as work:
        keys = [os.path.join(work, f"key{k}") for k in range(opt.keys)]
        for key in keys:
            run(program, "key", "new", "lock", "--out", key, "--no-passphrase", "-q")
        for pair in [tuple(p.split(":")) for p in opt.pairs.split(",")]:
            source, sibling = (family.path(f"expert-{task}") for task in pair)
            floor = min(family.score(family.base, task) for task in pair)
            print(f"== {pair[0]} with {pair[1]}: base {100 * floor:.1f} %, "
                  f"{opt.rows} rows", flush=True)
            tell(family, "unlocked", source, pair)
            if "invariant" in attacks:
                tell_best(family, "unlocked, mean with the sibling",
                          plain_mean(weights(source), weights(sibling)), pair)
            for kind in opt.kinds:
                for k, key in enumerate(keys):
                    locked = os.path.join(work, f"{kind}-{pair[0]}-{k}")
                    how = KINDS[kind]
                    if how[0] == "lock" and not os.path.exists(locked):
                        run(program, "lock", source, locked, "--key", key, "-q", *how[1:])
                    elif not os.path.exists(locked):
                        run(os.path.join(opt.build, "merge_lock"), source, locked, how[1],
                            str(k + 3))
                    u = tell(family, f"{kind}, key {k + 1}", locked, pair)
                    print(f"{'':44} {100 * (u - floor):+5.1f} points to the base", flush=True)
                    for mode, anchor in ATTACKS if k == 0 else []:
                        if mode not in attacks:
                            continue
                        undone = f"{locked}-{pair[1]}-{mode}-{anchor}"
                        run(program, "attack", locked, undone, "--mode", mode, "-q", "--anchor",
                            sibling if anchor == "sibling" else family.path(anchor))
                        tell(family, f"  {mode}, anchor {anchor}", undone, pair)
                    if k == 0 and "invariant" in attacks:
                        tell_best(family, "  invariant, anchor sibling",
                                  by_invariants(program, locked, sibling), pair)


if __name__ == "__main__":
    main()
