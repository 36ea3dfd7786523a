#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Packages of random families, restored, changed and damaged.

    rmm_random.py BUILD FOLDER [--rounds N] [--seed S] [--damage K]

Each round makes a base, models and adapters with odd tensors (every dtype, empty, scalar, -0,
NaN payloads, infinities, subnormals, shards, tied copies, DoRA, rsLoRA, patterns, biases,
whole weights), packs them with random options and asks for everything back: members byte for
byte, or as the same bytes twice where they are within an error; single tensors; after add,
drop and share; mixes; adapters in other forms, which have to do what peft would do with their
files. Then K copies with one bit turned, cut short or with a piece moved: each
has to be refused or to give the right bytes, and none may crash or leave something half done.
FOLDER should be in memory. Ends, also when it is terminated, with how often what was refused
and with what words.
"""
import argparse
import collections
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile

WIDTH = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U8": 1, "BOOL": 1,
         "F8_E4M3": 1, "F8_E5M2": 1}
FLOATS = ("F32", "F16", "BF16")
ODD = {"F32": (0x80000000, 0x7f800000, 0xff800000, 0x7fc12345, 0xffa00001, 1, 0x807fffff, 0x7f7fffff),
       "F16": (0x8000, 0x7c00, 0xfc00, 0x7e01, 0xfd55, 1, 0x83ff, 0x7bff),
       "BF16": (0x8000, 0x7f80, 0xff80, 0x7fc1, 0xffa1, 1, 0x807f, 0x7f7f)}


# Of alphas: peft takes regular expressions, and the first that fits counts.
PATTERNS = (r".*self_attn\.(q|v)_proj", r"^model\.layers\.1\.mlp\.up_proj", r"[qv]_proj", r"layers.0.mlp.up_proj",
            r"layers\.[0-9]+\.self_attn\.\w+", r"q_proj$", r"mlp.up_proj|q_proj", r"layers\.(?:0|2)\.mlp\.\D+",
            r"self_attn.[^k]_proj", r"lay\w{3}\.\d{1,2}\..*", r".*_head", r"(.*)", r"q_pro", r"attn\.q_proj",
            r"model\..*?(up|q)_proj", r"^q_proj", r"(^model|x)\.layers\.0.*")


class Bad(Exception):
    pass


class Stopped(Exception):
    """A command was interrupted with this program."""


def count(shape):
    n = 1
    for s in shape:
        n *= s
    return n


def encode(dtype, x):
    if dtype == "F32":
        return struct.unpack("<I", struct.pack("<f", x))[0]
    if dtype == "F16":
        return struct.unpack("<H", struct.pack("<e", max(-60000, min(60000, x))))[0]
    return (struct.unpack("<I", struct.pack("<f", x))[0] + 0x7fff) >> 16


def decode(dtype, bits):
    if dtype == "F32":
        return struct.unpack("<f", struct.pack("<I", bits))[0]
    if dtype == "F16":
        return struct.unpack("<e", struct.pack("<H", bits))[0]
    return struct.unpack("<f", struct.pack("<I", bits << 16))[0]


def pack_bits(dtype, bits):
    return struct.pack(f"<{len(bits)}{'I' if dtype == 'F32' else 'H'}", *bits)


def bits_of(dtype, data):
    width = WIDTH[dtype]
    return list(struct.unpack(f"<{len(data) // width}{'I' if dtype == 'F32' else 'H'}", data))


def numbers(r, dtype, shape, odd, scale=0.02):
    n = count(shape)
    if dtype not in FLOATS:
        return r.randbytes(n * WIDTH[dtype]) if dtype != "BOOL" else bytes(r.choices((0, 1), k=n))
    out = [encode(dtype, r.gauss(0, scale)) for _ in range(n)]
    for _ in range(r.randrange(4) if odd and n else 0):
        out[r.randrange(n)] = r.choice(ODD[dtype])
    return pack_bits(dtype, out)


def changed(r, dtype, shape, data, odd):
    """The tensor of a fine-tune."""
    how = r.choice(("same", "small", "sparse", "large", "other", "product"))
    n = count(shape)
    if how == "same" or n == 0 or dtype not in FLOATS:
        return data if how != "other" else numbers(r, dtype, shape, odd)
    if how == "other":
        return numbers(r, dtype, shape, odd, 10 ** r.uniform(-6, 3))
    bits = bits_of(dtype, data)
    if how == "product" and len(shape) == 2:
        u = [r.gauss(0, 0.02) for _ in range(shape[0])]
        v = [r.gauss(0, 0.5) for _ in range(shape[1])]
        move = [a * b for a in u for b in v]
    else:
        step = {"small": 1e-4, "sparse": 1e-2, "large": 1}.get(how, 1e-3)
        move = [r.gauss(0, step) if how != "sparse" or r.random() < 0.1 else 0 for _ in bits]
    for i, x in enumerate(move):
        y = decode(dtype, bits[i]) + x
        if x and y == y and abs(y) < 1e4:
            bits[i] = encode(dtype, y)
    for _ in range(r.randrange(3) if odd else 0):
        bits[r.randrange(n)] = r.choice(ODD[dtype])
    return pack_bits(dtype, bits)


def write_st(path, tensors, r):
    names = list(tensors)
    r.shuffle(names)
    head, at = {}, 0
    if r.random() < 0.5:
        head["__metadata__"] = {"format": "pt", "note": "é" * r.randrange(3)}
    for name in names:
        dtype, shape, data = tensors[name]
        head[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
    if r.random() < 0.5:
        head = dict(sorted(head.items()))
    text = json.dumps(head, separators=r.choice(((",", ":"), (", ", ": ")))).encode()
    text += b" " * (r.randrange(9) if r.random() < 0.3 else -len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(tensors[n][2] for n in names))


def write_model(folder, tensors, r, config):
    os.makedirs(folder)
    names = list(tensors)
    shards = r.choice((1, 1, 2, 3)) if len(names) > 3 else 1
    if shards == 1:
        write_st(os.path.join(folder, "model.safetensors"), tensors, r)
    else:
        where = {}
        for k in range(shards):
            name = f"model-{k + 1:05}-of-{shards:05}.safetensors"
            part = names[k::shards]
            where.update({n: name for n in part})
            write_st(os.path.join(folder, name), {n: tensors[n] for n in part}, r)
        with open(os.path.join(folder, "model.safetensors.index.json"), "w") as f:
            json.dump({"metadata": {}, "weight_map": where}, f)
    side(folder, r, config)


def side(folder, r, config):
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f)
    for name in ("tokenizer.json", "README.md", "deep/er/notes.txt", "empty"):
        if r.random() < 0.5:
            path = os.path.join(folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as f:
                f.write(b"" if name == "empty" else b"text " * r.choice((1, 1, 7, 900)))


def family(r, work):
    """A llama-like base of a few matrices and what is odd."""
    h, layers = r.choice((3, 8, 16, 33)), r.choice((1, 2))
    dtype = r.choice(FLOATS)
    out = {"model.embed_tokens.weight": (r.choice((dtype, "F32")), (r.choice((11, 40)), h))}
    for i in range(layers):
        for m, rows in (("self_attn.q_proj", h), ("self_attn.v_proj", h), ("mlp.up_proj", 2 * h + 1)):
            out[f"model.layers.{i}.{m}.weight"] = (r.choice((dtype, dtype, r.choice(FLOATS))), (rows, h))
    out["lm_head.weight"] = out["model.embed_tokens.weight"]
    for k in range(r.randrange(5)):
        shape = r.choice(((), (0,), (1,), (1, 1), (7,), (3, 0, 2), (2, 3, 5), (257,)))
        out[f"odd.{k}"] = (r.choice(list(WIDTH)), shape)
    if r.random() < 0.04:
        out["big"] = (r.choice(FLOATS), (r.choice((1100, 1049)), 1001))
    odd = r.random() < 0.5
    tensors = {n: (d, s, numbers(r, d, s, odd)) for n, (d, s) in out.items()}
    if r.random() < 0.3:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    config = {"model_type": "llama", "hidden_size": h, "architectures": ["LlamaForCausalLM"]}
    write_model(os.path.join(work, "base"), tensors, r, config)
    return tensors, config, odd


def tune(r, work, name, base, config, odd):
    tensors = {n: (d, s, changed(r, d, s, b, odd)) for n, (d, s, b) in base.items()}
    for n in [n for n in tensors if n.startswith("odd") or r.random() < 0.05]:
        how = r.random()
        if how < 0.1:
            del tensors[n]
        elif how < 0.2:
            d = r.choice(list(WIDTH))
            tensors[n] = (d, tensors[n][1], numbers(r, d, tensors[n][1], odd))
        elif how < 0.25 and tensors[n][2]:
            tensors[n] = (tensors[n][0], (count(tensors[n][1]),), tensors[n][2])
    if r.random() < 0.2:
        tensors["new"] = ("F16", (5, 3), numbers(r, "F16", (5, 3), odd))
    write_model(os.path.join(work, name), tensors, r, config)


def adapter(r, work, name, base, shapes=None):
    """As peft writes them; shapes: of another one that it shares all with."""
    folder = os.path.join(work, name)
    os.makedirs(folder)
    matrices = [n[:-7] for n in base if n.endswith("proj.weight")]
    rank = shapes["rank"] if shapes else r.choice((1, 2, 4, 5))
    targets = shapes["targets"] if shapes else r.sample(matrices, r.randrange(1, len(matrices) + 1))
    dtype = r.choice(FLOATS) if not shapes else shapes["dtype"]
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": r.choice((1, 8, 16, 7.5)),
              "target_modules": sorted({t.split(".")[-1] for t in targets}), "task_type": "CAUSAL_LM",
              "base_model_name_or_path": "base"}
    ranks, tensors = {}, {}
    odd = r.random() < 0.2
    if not shapes and r.random() < 0.4:
        config["use_rslora"] = True
    if not shapes and r.random() < 0.25:
        key = r.choice([t.split(".")[-1] for t in targets] + [r".*layers\.0.*"])
        config["rank_pattern"] = {key: 3}
        ranks = {t: 3 for t in targets if t.endswith(key) or (key[0] == "." and "layers.0" in t)}
        if r.random() < 0.5:
            config["alpha_pattern"] = {key: 5}
    if not shapes and r.random() < 0.4:
        config["alpha_pattern"] = {**config.get("alpha_pattern", {}),
                                   **{k: r.choice((2, 3, 12.5)) for k in r.sample(PATTERNS, r.choice((1, 2, 3)))}}
    for t in targets:
        m, d = base[t + ".weight"][1]
        k = ranks.get(t, rank)
        p = "base_model.model." + t
        zero = r.random() < 0.1
        tensors[p + ".lora_A.weight"] = (dtype, (k, d), numbers(r, dtype, (k, d), odd))
        b = bytes(m * k * WIDTH[dtype]) if zero else numbers(r, dtype, (m, k), odd)
        tensors[p + ".lora_B.weight"] = (dtype, (m, k), b)
        if not shapes and config.get("use_dora", r.random() < 0.1):
            config["use_dora"] = True
            tensors[p + ".lora_magnitude_vector"] = (dtype, (m,), numbers(r, dtype, (m,), odd, 1))
    if config.get("use_dora"):
        for t in targets:
            p, m = "base_model.model." + t, base[t + ".weight"][1][0]
            tensors[p + ".lora_magnitude_vector"] = (dtype, (m,), numbers(r, dtype, (m,), odd, 1))
    if not shapes and r.random() < 0.15:
        d, s, _ = base["lm_head.weight"]
        config["modules_to_save"] = ["lm_head"]
        tensors["base_model.model.lm_head.weight"] = (d, s, numbers(r, d, s, odd))
    if not shapes and r.random() < 0.15:
        d, s, b = base["model.embed_tokens.weight"]
        p = "base_model.model.model.embed_tokens"
        config["target_modules"].append("embed_tokens")
        tensors[p + ".lora_embedding_A"] = (dtype, (rank, s[0]), numbers(r, dtype, (rank, s[0]), odd))
        tensors[p + ".lora_embedding_B"] = (dtype, (s[1], rank), numbers(r, dtype, (s[1], rank), odd))
        if r.random() < 0.5:
            tensors[p + ".base_layer.weight"] = (d, s, b)
    elif not shapes and r.random() < 0.2:
        d, s, b = base["lm_head.weight"]
        p = "base_model.model.lm_head"
        config["target_modules"].append("lm_head")
        tensors[p + ".lora_A.weight"] = (dtype, (rank, s[1]), numbers(r, dtype, (rank, s[1]), odd))
        tensors[p + ".lora_B.weight"] = (dtype, (s[0], rank), numbers(r, dtype, (s[0], rank), odd))
        tensors[p + ".base_layer.weight"] = (d, s, b if r.random() < 0.8 else numbers(r, d, s, odd))
    write_st(os.path.join(folder, "adapter_model.safetensors"), tensors, r)
    with open(os.path.join(folder, "adapter_config.json"), "w") as f:
        json.dump(config, f)
    return {"rank": rank, "targets": targets, "dtype": dtype}


def files_of(folder):
    out = {}
    for at, _, names in os.walk(folder):
        for n in names:
            path = os.path.join(at, n)
            with open(path, "rb") as f:
                out[os.path.relpath(path, folder)] = f.read()
    return out


def tensors_of(folder):
    out = {}
    for name, data in files_of(folder).items():
        if name.endswith(".safetensors"):
            n = struct.unpack("<Q", data[:8])[0]
            for key, t in json.loads(data[8:8 + n]).items():
                if key != "__metadata__":
                    out[key] = data[8 + n + t["data_offsets"][0]:8 + n + t["data_offsets"][1]]
    return out


def products(tensors, config):
    """Of a folder's tensors as peft reads them: module -> (shape, change of its weight)."""
    out = {}
    for key, (dtype, shape, b) in tensors.items():
        if not key.endswith(".lora_B.weight"):
            continue
        m, k = shape
        module = key[len("base_model.model."):-len(".lora_B.weight")]
        d = tensors[key.replace("lora_B", "lora_A")][1][1]
        a = [decode(dtype, x) for x in bits_of(dtype, tensors[key.replace("lora_B", "lora_A")][2])]
        b = [decode(dtype, x) for x in bits_of(dtype, b)]
        alpha = next((v for p, v in config.get("alpha_pattern", {}).items()
                      if re.match(rf"(.*\.)?({p})$", module)), config["lora_alpha"])
        s = alpha / (k ** 0.5 if config.get("use_rslora") else k)
        out[module] = ((m, d), [s * sum(b[i * k + q] * a[q * d + j] for q in range(k))
                                for i in range(m) for j in range(d)])
    return out


def near(got, want, rounding, what):
    """Within rounding of what went in, or within that of the dtype where numbers are large."""
    top = max((abs(x) for x in want), default=0)
    if not top < 6e4:
        return
    for x, y in zip(got, want):
        if not abs(x - y) <= rounding * top + 1e-7:
            raise Bad(f"{what}: {x} where {y} belongs")


class Round:
    def __init__(self, build, work, seed, damage, refusals):
        self.ww = os.path.join(build, "weightward")
        self.r = random.Random(seed)
        self.work, self.damage, self.refusals = work, damage, refusals
        self.members, self.exact, self.sealed = {}, {}, {}
        self.checks = self.forms = 0

    def at(self, *names):
        return os.path.join(self.work, *names)

    def run(self, *args, fails=None, data=False):
        """Standard output; None when it was refused, which must be said in words."""
        p = subprocess.run([self.ww, *args], capture_output=True, cwd=self.work, timeout=300)
        self.checks += 1
        if p.returncode == 130:
            raise Stopped
        if p.returncode not in (0, 1, 2, 3, 4, 5, 6):
            raise Bad(f"{' '.join(args)}: status {p.returncode}: {p.stderr.decode(errors='replace')[-2000:]}")
        if p.returncode:
            words = p.stderr.decode(errors="replace").strip().splitlines()
            if not words:
                raise Bad(f"{' '.join(args)}: status {p.returncode} without a word")
            if fails is None:
                raise Bad(f"{' '.join(args)}: {words[-1]}")
            self.refusals[(fails, p.returncode, squeeze(words[-1]))] += 1
            return None
        return p.stdout if data else p.stdout.decode()

    def fresh(self, name):
        path = self.at(name)
        if os.path.isdir(path):
            shutil.rmtree(path)
        elif os.path.exists(path):
            os.remove(path)
        return name

    def nothing_left(self, *names):
        for n in names:
            for path in (n, n + ".partial", n + ".member", n + ".members"):
                if os.path.lexists(self.at(path)):
                    raise Bad(f"'{path}' was left behind")

    def open_with(self, name):
        return ["--open-with", self.sealed[name] + ".key"] if self.sealed.get(name) else []

    def restore(self, pkg, name, out, *more, fails=None):
        self.fresh(out)
        got = self.run("rmm", "unpack", pkg, name, out, "--base", "base", "-q", *self.open_with(name),
                       "--threads", str(self.r.choice((1, 2, 5))), *more, fails=fails)
        if got is None:
            self.nothing_left(out)
            return None
        return files_of(self.at(out))

    def right(self, name, files, what):
        if files != self.members[name]:
            bad = [k for k in set(files) | set(self.members[name])
                   if files.get(k) != self.members[name].get(k)]
            raise Bad(f"{what}: member '{name}' came back with other {bad}")

    def make(self):
        r = self.r
        base, config, odd = family(r, self.work)
        kinds, shapes = [], None
        share = r.random() < 0.15
        for i in range(r.choice((1, 2, 3)) + share):
            name = f"m{i}"
            kind = "adapter" if share or r.random() < 0.45 else "model"
            if kind == "model":
                tune(r, self.work, name, base, config, odd)
            else:
                got = adapter(r, self.work, name, base, shapes)
                shapes = got if share else None
            kinds.append((name, kind))
        for k in ("ann", "bob"):
            self.run("key", "new", "recipient", "--out", k, "--no-passphrase", "-q")
        self.run("key", "new", "signing", "--out", "me", "--no-passphrase", "-q")
        return kinds, share

    def options(self, names, share):
        r = self.r
        how = r.choice((["--exact"], ["--exact"], ["--error", str(r.choice((0.01, 0.1, 0.5, 1)))],
                        ["--budget", str(r.choice((30000, 60000, 10 ** 7)))]))
        if share and r.random() < 0.7:
            how = r.choice((["--codec", "rows", "--directions", "1"],
                            ["--codec", "rows", "--directions", "1", "--exact"],
                            ["--codec", "core", "--directions", "2", "--exact"],
                            ["--codec", "core", "--directions", "2", "--error", "0.2"]))
        to, seal = [], r.random() < 0.4
        for n in names:
            if seal and (share or r.random() < 0.6):
                self.sealed[n] = "ann"
                to += ["--to", f"{n}=ann.pub"]
        if not share and len(names) > 1 and r.random() < 0.3 and len({self.sealed.get(n) for n in names}) == 1:
            how = how + ["--versions"] + (["--open-with", "ann.key"] if to else [])
        sign = ["--sign", "me.key"] if r.random() < 0.3 else []
        base = ["--base", "base"] if r.random() < 0.93 else []
        folder = ["--folder"] if r.random() < 0.25 else []
        return how, [*how, *to, *sign, *base, *folder, "--threads", str(r.choice((1, 2, 3)))], sign

    def learn(self, pkg, name, exact):
        """What comes back now is what has to come back always."""
        if exact:
            self.members[name] = files_of(self.at(name))
            self.right(name, self.restore(pkg, name, "out"), "unpack")
            return
        self.members[name] = self.restore(pkg, name, "out")
        if set(self.members[name]) != set(files_of(self.at(name))):
            raise Bad(f"member '{name}' came back with other files")
        self.right(name, self.restore(pkg, name, "out"), "unpack again")

    def tensors(self, pkg, name):
        want = {}
        for f, data in self.members[name].items():
            self.fresh("t")
        os.makedirs(self.at("t"))
        for f, data in self.members[name].items():
            path = self.at("t", f)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as o:
                o.write(data)
        want = tensors_of(self.at("t"))
        for n in self.r.sample(sorted(want), min(3, len(want))):
            got = self.run("rmm", "unpack", pkg, name, "-", "--tensor", n, "--base", "base",
                           *self.open_with(name), data=True)
            if got != want[n]:
                raise Bad(f"tensor '{n}' of '{name}' came back with other bytes")

    def go(self):
        r = self.r
        kinds, share = self.make()
        names = [n for n, _ in kinds]
        how, options, sign = self.options(names, share)
        if self.run("rmm", "pack", "p", *[f"{n}={n}" for n in names], *options, "-q",
                    fails="pack") is None:
            self.nothing_left("p")
            return
        exact = "--exact" in how
        budget = "--budget" in how
        listed = json.loads(self.run("rmm", "list", "p", "--json"))
        bounded = {m["name"]: m.get("exact") is False for m in listed["members"]}
        self.run("rmm", "verify", "p", *(["--key", "me.pub"] if sign else []))
        for n in names:
            self.learn("p", n, exact or not (bounded.get(n) or budget or "--error" in how or "--codec" in how))
            self.tensors("p", n)
        self.run("rmm", "verify", "p", "--base", "base",
                 *(["--open-with", "ann.key"] if self.sealed else []))
        if r.random() < 0.5 and "--codec" not in how:
            self.change(names, kinds, sign)
        for n in names:
            if dict(kinds)[n] == "adapter":
                for form in ("portable", "model", "gguf"):
                    if self.restore("p", n, "form", "--form", form, fails="form " + form):
                        self.check_form(n, form)
        self.mix(names)
        self.hurt(names, sign)

    def check_form(self, name, form):
        """What the form does to the base is what peft would do with the member's files."""
        if form == "gguf":
            return
        self.fresh("t")
        os.makedirs(self.at("t"))
        for f, data in self.members[name].items():
            path = self.at("t", f)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as o:
                o.write(data)
        config = json.loads(self.members[name]["adapter_config.json"])
        mine, got = read_model(self.at("t")), read_model(self.at("form"))
        want = products(mine, config)
        if form == "portable":
            with open(self.at("form", "adapter_config.json")) as f:
                got = products(got, json.load(f))
            if got.keys() != want.keys():
                raise Bad(f"'{name}' as portable has other modules: {sorted(got)}")
            for module, (shape, change) in want.items():
                near(got[module][1], change, 2e-6, f"'{name}' as portable, {module}")
        elif not config.get("use_dora"):
            base = read_model(self.at("base"))
            for module, (shape, change) in want.items():
                dtype, _, data = got[module + ".weight"]
                # Of a head the adapter may have another weight below its factors.
                under = mine.get(f"base_model.model.{module}.base_layer.weight", base[module + ".weight"])
                numbers = [decode(under[0], x) for x in bits_of(under[0], under[2])]
                near([decode(dtype, x) for x in bits_of(dtype, data)],
                     [x + y for x, y in zip(numbers, change)],
                     {"F32": 1e-6, "F16": 6e-4, "BF16": 5e-3}[dtype], f"'{name}' as model, {module}")
        self.forms += 1

    def change(self, names, kinds, sign):
        r = self.r
        base = {n: t for n, t in read_model(self.at("base")).items()}
        adapter(r, self.work, "late", base)
        if self.run("rmm", "add", "p", "late=late", "--exact", "--base", "base", *sign, "-q",
                    fails="add") is not None:
            names.append("late")
            kinds.append(("late", "adapter"))
            self.learn("p", "late", True)
        for n in list(names):
            if self.sealed.get(n) and r.random() < 0.5:
                if self.run("rmm", "share", "p", "--to", f"{n}=bob.pub", "--open-with", "ann.key", "-q",
                            fails="share") is not None:
                    self.sealed[n] = r.choice(("ann", "bob"))
        if len(names) > 1 and r.random() < 0.5:
            n = r.choice(names)
            if self.run("rmm", "drop", "p", n, *sign, "-q", fails="drop") is not None:
                names.remove(n)
                self.run("rmm", "unpack", "p", n, self.fresh("gone"), "--base", "base", fails="unpack of a dropped one")
                self.nothing_left("gone")
        for n in names:
            self.right(n, self.restore("p", n, "out"), "after changes")

    def mix(self, names):
        w = [f for n in names for f in ("--weight", f"{n}={self.r.choice((1, 0.5, -0.25))}")]
        keys = ["--open-with", "ann.key"] if self.sealed else []
        if self.run("rmm", "mix", "p", self.fresh("mixed"), *w, "--base", "base", *keys, "-q",
                    fails="mix") is None:
            self.nothing_left("mixed")

    def hurt(self, names, sign):
        r = self.r
        for _ in range(self.damage):
            part = ""
            self.fresh("bad")
            if os.path.isdir(self.at("p")):
                shutil.copytree(self.at("p"), self.at("bad"))
                part = r.choice(sorted(os.listdir(self.at("p"))))
            with open(self.at("p", part) if part else self.at("p"), "rb") as f:
                whole = f.read()
            data = bytearray(whole)
            how = r.choice(("bit", "bit", "bit", "cut", "grow", "move", "zero"))
            at = r.randrange(len(data))
            if how == "bit":
                at = r.choice((at, r.randrange(64), len(data) - 1 - r.randrange(min(3000, len(data)))))
                data[at] ^= 1 << r.randrange(8)
            elif how == "cut":
                del data[at:]
            elif how == "grow":
                data += r.randbytes(r.choice((1, 17, 4096)))
            elif how == "move":
                n = r.choice((1, 8, 100))
                to = r.randrange(len(data))
                data[to:to + n] = data[at:at + n]
            else:
                data[at:at + 16] = bytes(len(data[at:at + 16]))
            with open(self.at("bad", part) if part else self.at("bad"), "wb") as f:
                f.write(data)
            n = r.choice(names)
            same = data == whole
            files = self.restore("bad", n, "out", fails=how)
            if files is not None:
                self.right(n, files, f"{how} at {at}")
            ok = self.run("rmm", "verify", "bad", *(["--key", "me.pub"] if sign else []), fails="verify " + how)
            if ok is not None and not same and how == "cut":
                raise Bad(f"verify takes a package with {how} at {at} of {len(whole)}")
            self.run("rmm", "list", "bad", fails="list " + how)


def read_model(folder):
    out = {}
    for name, data in files_of(folder).items():
        if name.endswith(".safetensors"):
            n = struct.unpack("<Q", data[:8])[0]
            for key, t in json.loads(data[8:8 + n]).items():
                if key != "__metadata__":
                    a, b = t["data_offsets"]
                    out[key] = (t["dtype"], tuple(t["shape"]), data[8 + n + a:8 + n + b])
    return out


def squeeze(words):
    out, quoted = "", False
    for c in words:
        if c == "'":
            quoted = not quoted
        if not quoted:
            out += "#" if c.isdigit() else c
    return out[:110]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("folder")
    p.add_argument("--rounds", type=int, default=300)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--damage", type=int, default=6)
    p.add_argument("--keep-going", action="store_true")
    a = p.parse_args()
    build = os.path.abspath(a.build)
    refusals, bad, checks, forms, done = collections.Counter(), 0, 0, 0, 0
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    stop = []
    for k in range(a.rounds):
        if stop:
            break
        work = tempfile.mkdtemp(prefix="rmm.", dir=a.folder)
        one = Round(build, work, a.seed + k, a.damage, refusals)
        try:
            one.go()
            done += 1
        except Stopped:
            stop.append(True)
        except Bad as e:
            bad += 1
            done += 1
            print(f"seed {a.seed + k}: {e}", flush=True)
            if not a.keep_going:
                print(f"kept: {work}")
                break
        finally:
            checks += one.checks
            forms += one.forms
            if not bad or a.keep_going:
                shutil.rmtree(work)
    for (what, status, words), n in sorted(refusals.items()):
        print(f"{n:5}  {what}, {status}: {words}")
    print(f"{done} rounds, {checks} commands, {forms} forms checked, {sum(refusals.values())} refusals, {bad} bad")
    sys.exit(bad > 0)


main()
