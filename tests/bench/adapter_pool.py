# SPDX-License-Identifier: Apache-2.0
"""Pools of LoRA adapters over one small model: sums of them, losses by example, and `evo search` over their scales
with this process as its evaluator (through ask_evaluator, so that the model is loaded once)."""
import json
import os
import socket
import subprocess
import tempfile

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

TASKS = ["rev", "caesar", "sort", "swap"]
KINDS = {"nine": (4, 5), "sixteen": (4, 12), "four": (3, 1)}  # adapters of the tasks, distractors
SCALING = 2.0  # lora_alpha / r of the adapters


class Pool:
    def __init__(self, family, kind="nine", seed=0):
        self.family = family
        path = os.path.join(family, "base")
        self.model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        self.tok = AutoTokenizer.from_pretrained(path)
        self.state = dict(self.model.state_dict())
        c = self.model.config
        angle = torch.outer(torch.arange(float(c.max_position_embeddings)),
                            c.rope_parameters["rope_theta"] ** (-torch.arange(0, c.head_dim, 2) / c.head_dim)).repeat(1, 2)
        self.turn = torch.stack([angle.cos(), angle.sin()])
        self.tasks = TASKS[:KINDS[kind][0]]
        self.adapters = [self.lora(t) for t in self.tasks]
        self.modules = sorted(self.adapters[0])
        self.distractors = self.others(KINDS[kind][1], torch.Generator().manual_seed(seed))

    def others(self, n, rng):
        """First what was trained for something else, then factors of two adapters mixed up, then noise."""
        out = [self.of_model("sibling-dup"), self.of_model("unrelated")][:n]
        for i in range(3 if n > 5 else 0):
            a, b = self.adapters[i], self.adapters[(i + 1) % len(self.adapters)]
            out.append({m: (a[m][0], b[m][1]) for m in self.modules})
        return out + [self.noise(rng) for _ in range(n - len(out))]

    def lora(self, task):
        t = load_file(os.path.join(self.family, f"lora-{task}", "adapter_model.safetensors"))
        out = {}
        for k, v in t.items():
            name = k.removeprefix("base_model.model.").replace(".lora_A.weight", ".weight")
            if ".lora_A." in k:
                b = t[k.replace("lora_A", "lora_B")].float() * SCALING
                out[name] = (v.float(), b)
        return out

    def of_model(self, name):
        other = load_file(os.path.join(self.family, name, "model.safetensors"))
        out = {}
        for m in self.modules:
            u, s, v = torch.linalg.svd(other[m].float() - self.state[m], full_matrices=False)
            root = s[:8].sqrt()
            out[m] = (root[:, None] * v[:8], u[:, :8] * root)
        return out

    def noise(self, rng):
        out = {}
        for m in self.modules:
            pair = []
            for like in self.adapters[0][m]:
                x = torch.randn(like.shape, generator=rng)
                pair.append(x * like.norm() / x.norm())
            out[m] = tuple(pair)
        return out

    def items(self, split, n):
        return [json.loads(line) for t in self.tasks
                for line in open(os.path.join(self.family, "tasks", f"{t}.{split}.jsonl")).readlines()[:n]]

    def encode(self, rows):
        seqs = []
        for r in rows:
            x = [self.tok.bos_token_id] + self.tok(r["prompt"], add_special_tokens=False)["input_ids"]
            seqs.append((x, self.tok(r["answer"], add_special_tokens=False)["input_ids"] + [self.tok.eos_token_id]))
        width = max(len(x) + len(y) for x, y in seqs) - 1
        inp = torch.zeros((len(seqs), width), dtype=torch.long)
        lab = torch.full((len(seqs), width), -100)
        for i, (x, y) in enumerate(seqs):
            s = x + y
            inp[i, :len(s) - 1] = torch.tensor(s[:-1])
            lab[i, len(x) - 1:len(s) - 1] = torch.tensor(y)
        return inp, lab

    def logits(self, change, inp):
        """The forward pass of a Llama written out: for few rows transformers' own takes several times as long."""
        c, w = self.model.config, {**self.state, **{m: self.state[m] + d for m, d in change.items()}}
        rows, width = inp.shape
        turn = self.turn[:, :width]

        def norm(x, name):
            return torch.nn.functional.rms_norm(x, x.shape[-1:], w[name + ".weight"], c.rms_norm_eps)

        def heads(x, name, n):
            return (x @ w[name + "_proj.weight"].T).view(rows, width, n, c.head_dim).transpose(1, 2)

        def turned(x):
            a, b = x.chunk(2, -1)
            return x * turn[0] + torch.cat([-b, a], -1) * turn[1]

        x = w["model.embed_tokens.weight"][inp]
        for i in range(c.num_hidden_layers):
            layer = f"model.layers.{i}."
            h, to = norm(x, layer + "input_layernorm"), layer + "self_attn."
            q, k, v = (heads(h, to + p, n) for p, n in (("q", c.num_attention_heads), ("k", c.num_key_value_heads),
                                                        ("v", c.num_key_value_heads)))
            h = torch.nn.functional.scaled_dot_product_attention(turned(q), turned(k), v, is_causal=True, enable_gqa=True)
            x = x + h.transpose(1, 2).reshape(rows, width, -1) @ w[to + "o_proj.weight"].T
            h, to = norm(x, layer + "post_attention_layernorm"), layer + "mlp."
            gate = torch.nn.functional.silu(h @ w[to + "gate_proj.weight"].T)
            x = x + (gate * (h @ w[to + "up_proj.weight"].T)) @ w[to + "down_proj.weight"].T
        return norm(x, "model.norm") @ w["lm_head.weight"].T

    @torch.no_grad()
    def losses(self, change, inp, lab):
        """Mean loss per token, by item."""
        loss = torch.nn.functional.cross_entropy(self.logits(change, inp).transpose(1, 2), lab, ignore_index=-100,
                                                 reduction="none")
        return (loss.sum(1) / (lab != -100).sum(1)).numpy()

    @torch.no_grad()
    def measure(self, change, inp, lab):
        """Mean loss per token and share of whole answers that are right."""
        logits = self.logits(change, inp)
        loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), lab, ignore_index=-100)
        right = ((logits.argmax(-1) == lab) | (lab == -100)).all(1).float().mean()
        return loss.item(), right.item()


def joined(pool):
    """The factors of all adapters side by side."""
    return {m: (torch.cat([p[m][0] for p in pool]), torch.cat([p[m][1] for p in pool], 1)) for m in pool[0]}


def exact(pool, scales, factors=None):
    """sum of s B A, as one product; factors: what joined(pool) gave."""
    each = torch.cat([torch.full((len(next(iter(p.values()))[0]),), float(s)) for s, p in zip(scales, pool)])
    return {m: (b * each) @ a for m, (a, b) in (factors or joined(pool)).items()}


def by_keys(pool, scales, density=None):
    out = {}
    for m in pool[0]:
        a = sum(s * p[m][0] * keep(p[m][0], 1 if density is None else density[i])
                for i, (s, p) in enumerate(zip(scales, pool)))
        out[m] = sum(s * p[m][1] for s, p in zip(scales, pool)) @ a
    return out


def keep(a, share):
    n = round(float(share) * a.numel())
    if n >= a.numel():
        return 1.0
    if n <= 0:
        return 0.0
    return (a.abs() >= a.abs().flatten().kthvalue(a.numel() - n + 1).values).float()


class Searched:
    """`evo search` over the scales of adapters, its trials scored here; passes of examples are counted."""

    def __init__(self, build, pool, adapters, rows, keys, box="low: -1.5, high: 1.5, start: 0, step: 0.15, level: 0.3",
                 by_task=False):
        self.build, self.pool, self.adapters, self.keys = build, pool, adapters, keys
        self.box, self.by_task = box, by_task
        self.factors = joined(adapters)
        self.passes = 0
        tasks = [r["prompt"][0] for r in rows]
        self.parts = {part: [[r for i, r in enumerate([x for x, t in zip(rows, tasks) if t == task])
                              if (0 if i % 4 < 2 else i % 4 - 1) == turn] for task in dict.fromkeys(tasks)]
                      for turn, part in enumerate(["search", "again", "final"])}

    def draw(self, part, seed, n):
        """n rows, of each task as many; what is left of the division goes to other tasks for other seeds."""
        tasks, rng = self.parts[part], np.random.default_rng(seed)
        out = []
        for f, rows in enumerate(tasks):
            share = n // len(tasks) + ((f - seed) % len(tasks) < n % len(tasks))
            out += [rows[i % len(rows)] for i in rng.permutation(max(len(rows), share))[:share]]
        return self.pool.encode(out)

    def answer(self, said, items):
        line, recipe = said.split("\n", 1)
        part, seed = line.split()
        losses = self.score(json.loads(recipe.split("x: ", 1)[1]), part, int(seed), items)
        if self.by_task:
            means = np.array(losses).reshape(len(self.parts[part]), -1).mean(1)
            return json.dumps({"scores": {t: float(v) for t, v in zip(self.pool.tasks, means)}})
        return json.dumps({"scores": [-float(v) for v in losses]})

    def score(self, scales, part, seed, items):
        batch = self.draw(part, seed, items)
        self.passes += len(batch[0])
        return self.pool.losses(exact(self.adapters, scales, self.factors), *batch)

    def run(self, evaluations, items, seed):
        """The result of evo search, with the scales that it compared with the start as a list."""
        names = [f"s{i}" for i in range(len(self.adapters))]
        with tempfile.TemporaryDirectory() as work:
            path = {k: os.path.join(work, k) for k in ("socket", "space", "out", "journal")}
            with open(path["space"], "w") as f:
                f.write("recipe: 'x: [" + ", ".join("${%s}" % n for n in names) + "]'\n" + self.keys + "variables:\n")
                f.writelines(f"  {n}: {{{self.box}}}\n" for n in names)
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(path["socket"])
                listener.listen()
                listener.settimeout(0.05)
                command = [os.path.join(self.build, "weightward"), "evo", "search", path["space"], "--evaluator",
                           os.path.join(self.build, "ask_evaluator"), "--output", path["out"], "--journal", path["journal"],
                           "--evaluations", str(evaluations), "--seed", str(seed), "-q", path["socket"]]
                search = subprocess.Popen(command, stdout=subprocess.DEVNULL)
                while search.poll() is None:
                    self.serve(listener, items)
            if search.returncode != 0:
                raise SystemExit("evo search failed")
            with open(path["out"]) as f:
                found = json.load(f)
        if "variables" in found: # what was compared with the start, or the start where nothing was
            found["scales"] = [(found["compared"] or found["variables"])[n] for n in names]
        return found

    def serve(self, listener, items):
        try:
            asked = listener.accept()[0]
        except TimeoutError:
            return
        with asked:
            said = b""
            while part := asked.recv(65536):
                said += part
            asked.sendall(self.answer(said.decode(), items).encode())
