#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Cost of `lineage decompose` at odd and at real sizes: seconds, CPU seconds, peak memory.

    lineage_sizes.py BUILD FOLDER [NAME...] [--threads N] [--layers N] [--small]

Synthetic families in bf16: a base, siblings 1 % of the weight scale away, a merge of 0.6 and
0.25 of the first two. FOLDER keeps the models (up to 12 GB), which are made when they are not
there. deep: 100 layers of width 64. experts: 100 layers with 60 experts, 18,000 matrices.
fused: the same experts in one tensor a layer. many: 20 candidates and 40 controls. The others
are disguises of a 0.5B of 24 layers (or of N of these; --small: of `many`), with two
candidates. Each line: wall and CPU seconds, beside `cat` of the same files, peak MiB, shares,
and what was undone. Shares off by more than 0.05 are an error.
"""
import json
import os
import resource
import shutil
import subprocess
import sys
import time

import numpy as np

TRUTH = (0.6, 0.25)


def bf16(x):
    bits = x.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def widen(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def write(folder, tensors, config):
    """tensors: (name, dtype of safetensors, array), in order."""
    os.makedirs(folder, exist_ok=True)
    header, at = {}, 0
    for name, dtype, x in tensors:
        header[name] = {"dtype": dtype, "shape": list(x.shape), "data_offsets": [at, at + x.nbytes]}
        at += x.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(folder, "model.safetensors"), "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for _, _, x in tensors:
            f.write(np.ascontiguousarray(x).tobytes())
    with open(os.path.join(folder, "config.json"), "w", encoding="ascii") as f:
        json.dump(config, f)
    return folder


def read(folder):
    with open(os.path.join(folder, "model.safetensors"), "rb") as f:
        n = int.from_bytes(f.read(8), "little")
        header = json.loads(f.read(n))
    raw = np.memmap(os.path.join(folder, "model.safetensors"), np.uint8, "r", 8 + n)
    kinds = {"BF16": np.uint16, "F32": np.float32, "U8": np.uint8, "I8": np.int8, "F8_E4M3": np.uint8}
    for name, t in header.items():
        if name != "__metadata__":
            first, last = t["data_offsets"]
            yield name, t["dtype"], raw[first:last].view(kinds[t["dtype"]]).reshape(t["shape"])


def config_of(folder):
    with open(os.path.join(folder, "config.json"), encoding="ascii") as f:
        return json.load(f)


# Families of odd shapes.
HIDDEN = 64


def attention(at, width, kv):
    return {f"{at}.self_attn.{p}_proj.weight": s for p, s in
            (("q", (width, width)), ("k", (kv, width)), ("v", (kv, width)), ("o", (width, width)))}


def layers(n, words, inside, width=HIDDEN, kv=32):
    shapes = {"lm_head.weight": (words, width), "model.embed_tokens.weight": (words, width),
              "model.norm.weight": (width,)}
    for layer in range(n):
        at = f"model.layers.{layer}"
        shapes.update({f"{at}.{norm}.weight": (width,)
                       for norm in ("input_layernorm", "post_attention_layernorm")})
        shapes.update(attention(at, width, kv))
        shapes.update(inside(at))
    return shapes


def dense(at, width=HIDDEN, inner=128):
    return {f"{at}.mlp.{p}_proj.weight": s for p, s in
            (("gate", (inner, width)), ("up", (inner, width)), ("down", (width, inner)))}


def experts(at):
    shapes = {f"{at}.mlp.gate.weight": (60, HIDDEN), f"{at}.self_attn.q_norm.weight": (16,),
              f"{at}.self_attn.k_norm.weight": (16,)}
    for e in range(60):
        shapes.update({f"{at}.mlp.experts.{e}.{p}_proj.weight": s for p, s in
                       (("gate", (32, HIDDEN)), ("up", (32, HIDDEN)), ("down", (HIDDEN, 32)))})
    return shapes


def stacked(at):
    return {f"{at}.mlp.router.weight": (60, HIDDEN), f"{at}.mlp.router.bias": (60,),
            f"{at}.self_attn.sinks": (4,),
            f"{at}.mlp.experts.gate_up_proj": (60, HIDDEN, 64), f"{at}.mlp.experts.gate_up_proj_bias": (60, 64),
            f"{at}.mlp.experts.down_proj": (60, 32, HIDDEN), f"{at}.mlp.experts.down_proj_bias": (60, HIDDEN)}


def config(kind, name, n, words, **more):
    return {"model_type": kind, "architectures": [name + "ForCausalLM"], "hidden_size": HIDDEN,
            "num_hidden_layers": n, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
            "vocab_size": words, "tie_word_embeddings": False, "torch_dtype": "bfloat16", "rms_norm_eps": 1e-6,
            "hidden_act": "silu", "max_position_embeddings": 128, **more}


ODD = {
    "deep": (layers(100, 512, dense), config("llama", "Llama", 100, 512, intermediate_size=128)),
    "many": (layers(24, 512, dense), config("llama", "Llama", 24, 512, intermediate_size=128)),
    "experts": (layers(100, 512, experts),
                config("qwen3_moe", "Qwen3Moe", 100, 512, intermediate_size=32, moe_intermediate_size=32,
                       num_experts=60, num_experts_per_tok=4, decoder_sparse_step=1, mlp_only_layers=[])),
    "fused": (layers(100, 512, stacked),
              config("gpt_oss", "GptOss", 100, 512, intermediate_size=32, num_local_experts=60,
                     num_experts_per_tok=4, sliding_window=64)),
}


def large(n):
    return (layers(n, 64000, lambda at: dense(at, 896, 4864), 896, 128),
            config("llama", "Llama", n, 64000, intermediate_size=4864, hidden_size=896, num_attention_heads=14,
                   head_dim=64))


def made(folder, make):
    """Made once; what a killed run left is made anew."""
    if not os.path.isdir(folder):
        shutil.rmtree(folder + ".making", ignore_errors=True)
        make(folder + ".making")
        os.rename(folder + ".making", folder)
    return folder


def sibling(base, seed):
    def make(to):
        rng = np.random.default_rng(100 + seed)
        tensors = [(n, d, bf16(widen(x) + 0.01 * max(widen(x).std(), 0.01) * rng.standard_normal(x.shape, np.float32)))
                   for n, d, x in read(base)]
        write(to, tensors, config_of(base))
    return make


def odd_base(kind):
    shapes, conf = ODD[kind]

    def make(to):
        rng = np.random.default_rng(1)
        # Odd gains, as training leaves them.
        write(to, [(n, "BF16", bf16((len(s) == 1) + (0.2 if len(s) == 1 else s[-1] ** -0.5) *
                                    rng.standard_normal(s, np.float32))) for n, s in shapes.items()], conf)
    return make


def merge(tool, base, sources, weights=TRUTH):
    def make(to):
        recipe = to + ".yml"
        with open(recipe, "w", encoding="ascii") as f:
            f.write(f"merge_method: task_arithmetic\nbase_model: {base}\nmodels:\n")
            for source, weight in zip(sources, weights):
                f.write(f"  - {{model: {source}, parameters: {{weight: {weight}}}}}\n")
            f.write("dtype: float32\nout_dtype: bfloat16\n")
        subprocess.run([tool, "merge", recipe, to, "-q"], check=True)
        os.remove(recipe)
    return make


def family(tool, at, kind):
    """Base, siblings and the merge of the first two."""
    base = made(at(kind + "-base"), odd_base(kind))
    siblings = [made(at(f"{kind}-{i}"), sibling(base, i)) for i in range(60 if kind == "many" else 2)]
    return base, siblings, made(at(kind + "-merge"), merge(tool, base, siblings[:2]))


# Disguises of a model in BF16, tensor by tensor.
def eight_bit(merged, how):
    def make(to):
        out = []
        for name, dtype, x in read(merged):
            if x.ndim != 2 or "layers" not in name:
                out.append((name, dtype, x))
            elif how == "int8":
                v = widen(x)
                rows = np.abs(v).max(1, keepdims=True)
                out += [(name, "I8", np.rint(v / rows * 127).astype(np.int8)),
                        (name[:-len("weight")] + "SCB", "F32", rows[:, 0])]
            else:
                import torch
                v = torch.from_numpy(widen(x))
                a, b = v.shape
                full = torch.zeros(-(-a // 128) * 128, -(-b // 128) * 128)
                full[:a, :b] = v
                blocks = full.reshape(-(-a // 128), 128, -(-b // 128), 128)
                scale = blocks.abs().amax((1, 3)) / 448
                q = (blocks / scale[:, None, :, None]).reshape(full.shape)[:a, :b].to(torch.float8_e4m3fn)
                out += [(name, "F8_E4M3", q.contiguous().view(torch.uint8).numpy()),
                        (name + "_scale_inv", "F32", scale.numpy())]
        write(to, out, config_of(merged))
    return make


def permuted(merged):
    """Neurons of each layer in another order."""
    def make(to):
        rng = np.random.default_rng(5)
        order, out = {}, []
        for name, dtype, x in read(merged):
            if ".mlp." in name:
                at = name.split(".mlp.")[0]
                axis = 1 if "down" in name else 0
                order.setdefault(at, rng.permutation(x.shape[axis]))
                x = np.take(x, order[at], axis)
            out.append((name, dtype, x))
        write(to, out, config_of(merged))
    return make


def rotated(merged):
    """The residual stream turned, gains folded; a tied head becomes one of its own."""
    def make(to):
        all_of = {n: x for n, _, x in read(merged)}
        width = all_of["model.norm.weight"].shape[0]
        turn = np.linalg.qr(np.random.default_rng(7).standard_normal((width, width)))[0].astype(np.float32)
        conf = config_of(merged)
        if "lm_head.weight" not in all_of:
            all_of["lm_head.weight"] = all_of["model.embed_tokens.weight"]
            conf["tie_word_embeddings"] = False
        out = []
        for name, x in all_of.items():
            at, part = name.rsplit(".", 3)[0], name.split(".")[-2]
            norm = {"lm_head": "model.norm.weight", "gate_proj": at + ".post_attention_layernorm.weight",
                    "up_proj": at + ".post_attention_layernorm.weight",
                    **{p + "_proj": at + ".input_layernorm.weight" for p in "qkv"}}.get(part)
            v = widen(x)
            if v.ndim == 2:
                v = v * widen(all_of[norm]) if norm else v
                v = turn @ v if part in ("o_proj", "down_proj") else v @ turn.T
            elif "norm" in name:
                v = np.ones_like(v)
            out.append((name, "BF16", bf16(v)))
        write(to, out, conf)
    return make


def gguf_of(merged, kind, heads, kv_heads):
    def make(to):
        import torch
        sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
        import test_lineage_disguise as writer
        writer.HEADS, writer.KV_HEADS = heads, kv_heads
        tensors = {n: torch.from_numpy(widen(x)) for n, _, x in read(merged)}
        os.makedirs(to)
        writer.write_gguf(os.path.join(to, "model.gguf"), tensors, kind, "Q8_0" if kind == "Q8_0" else "Q4_0")
    return make


def locked(tool, work, merged, level):
    def make(to):
        key = os.path.join(work, "key")
        if not os.path.exists(key):
            shutil.copyfile(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../vectors/lock/disguise.key"), key)
            os.chmod(key, 0o600)
        subprocess.run([tool, "lock", merged, to, "--key", key, "--level", level, "-q"], check=True)
    return make


def timed(command, out=subprocess.PIPE):
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
    done = subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE)
    out, err = done.communicate()
    wall, after = time.time() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.returncode, out, err, wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def weights_in(paths):
    return [os.path.join(p, f) for p in paths for f in os.listdir(p) if f.endswith((".safetensors", ".gguf"))]


def look(tool, name, suspect, base, candidates, controls=(), threads=2):
    args = [tool, "lineage", "decompose", suspect, "--base", base, "--json", "-q", "--threads", str(threads)]
    args += [a for c in candidates for a in ("--candidate", c)] + [a for c in controls for a in ("--control", c)]
    plain = timed(["cat", *weights_in([suspect, base, *candidates, *controls])], subprocess.DEVNULL)
    memory = ["/usr/bin/time", "-f", "%M", *args]
    code, out, err, wall, cpu = timed(memory)
    peak = int(err.split()[-1]) / 1024
    line = f"{name:16} {wall:7.1f} s {cpu:7.1f} s CPU (cat {plain[3]:.1f} s) {peak:6.0f} MiB  "
    if code:
        print(line + err.decode().strip().splitlines()[0])
        return False
    said = json.loads(out)
    shares = [s["share"] if s["included"] else 0 for s in said["sources"]]
    off = max(abs(s - t) for s, t in zip(shares, (*TRUTH, *(0,) * len(shares))))
    print(line + f"{' '.join(f'{s:.4f}' for s in shares[:3])} {said['method']['best']}"
          f"{' in part' if said.get('incomplete') else ''}; {(said.get('disguise') or '')[:60]}"
          f"{'' if off <= 0.05 else '  OFF'}", flush=True)
    return off <= 0.05


def main():
    args = sys.argv[1:]
    threads = int(args.pop(args.index("--threads") + 1)) if "--threads" in args else 2
    n_layers = int(args.pop(args.index("--layers") + 1)) if "--layers" in args else 24
    small = "--small" in args
    build, work, *wanted = [a for a in args if not a.startswith("--")]
    tool = os.path.join(build, "weightward")
    at = lambda *parts: os.path.join(work, *parts)
    right = True
    os.makedirs(work, exist_ok=True)
    for kind in ODD:
        if wanted and kind not in wanted:
            continue
        base, siblings, suspect = family(tool, at, kind)
        first = min(len(siblings), 20)
        right &= look(tool, kind, suspect, base, siblings[:first], siblings[first:], threads)
    if wanted and not set(wanted) - set(ODD):
        return 0 if right else 1
    stem, heads, kv = ("many", 4, 2) if small else (f"large{n_layers}", 14, 2)
    ODD.setdefault(stem, large(n_layers))
    base, siblings, merged = family(tool, at, stem)
    siblings = siblings[:2]
    exact = lambda: made(at(stem + "-exact"), locked(tool, work, merged, "exact"))
    turned = lambda: made(at(stem + "-rotated"), rotated(merged))
    cases = {
        "plain": lambda: merged,
        "exact": exact,
        "dense": lambda: made(at(stem + "-dense"), locked(tool, work, merged, "dense")),
        "permuted": lambda: made(at(stem + "-permuted"), permuted(merged)),
        "rotated": turned,
        "int8": lambda: made(at(stem + "-int8"), eight_bit(merged, "int8")),
        "fp8": lambda: made(at(stem + "-fp8"), eight_bit(merged, "fp8")),
        "Q8_0": lambda: made(at(stem + "-Q8_0"), gguf_of(merged, "Q8_0", heads, kv)),
        "Q4_K": lambda: made(at(stem + "-Q4_K"), gguf_of(merged, "Q4_K", heads, kv)),
        "exact-int8": lambda: made(at(stem + "-exact-int8"), eight_bit(exact(), "int8")),
        "exact-Q8_0": lambda: made(at(stem + "-exact-Q8_0"), gguf_of(exact(), "Q8_0", heads, kv)),
        "rotated-exact": lambda: made(at(stem + "-rotated-exact"), rotated(exact())),
        "rotated-exact-int8": lambda: made(at(stem + "-rotated-exact-int8"), eight_bit(
            made(at(stem + "-rotated-exact"), rotated(exact())), "int8")),
    }
    for name, suspect in cases.items():
        if not wanted or name in wanted:
            right &= look(tool, name, suspect(), base, siblings, (), threads)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
