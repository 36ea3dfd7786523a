#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Exact packages against other ways to keep a fine-tune beside its base.

    rmm.py BUILD FOLDER [BASE=TUNE...]

Sizes in percent of the BF16 weights: a whole package; BitX's scheme (the ZipLLM paper: XOR
with the base, exponents and the rest as two streams, zstd -3); zstd -3 of the plain XOR;
zstd of the weights (-19, and -9 of large ones); zipnn when it can be imported. Pairs: weights of standard
deviation 0.02 and a change of a stated one, rounded once, 64 MiB each; one where 15 % of
the weights move; merged adapters of rank 16 and 64, the sum rounded once or the product
before it, in BF16 and F32; and folders that are named. Then adapters, exactly and within errors, and
two pairs of 256 MiB, of which only our speeds are measured, beside what the disk of FOLDER
does past the page cache. Speeds are of CPU seconds of both whole commands on one thread, reading,
digests and writing included: slowest and fastest of ROUNDS (3), from four on with the median. ONLY=merged or ONLY=large
for these alone, ONLY=ours for the pairs without the other ways. With ONLY=large, BEFORE=BUILD
is another build: each round it unpacks in turn with the first one, and the medians of the
paired ratios are told. FOLDER needs 2 GB and is left clean.
"""
import json
import mmap
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
from safetensors.torch import load_file, save_file

N = 32 << 20
ROUNDS = int(os.environ.get("ROUNDS", "3"))


def zstd(data, level):
    done = subprocess.run(["zstd", f"-{level}", "-T1", "-q", "-c"], input=data.tobytes(),
                          stdout=subprocess.PIPE, check=True)
    return len(done.stdout)


def bitx(base, tune):
    """XOR, rotated so that the sign goes with the mantissa, two streams."""
    x = base ^ tune
    top = 8 * x.itemsize - 8
    x = (x << 1) | (x >> (top + 7))
    rest = x & ((1 << top) - 1) if top == 8 else x[:, None].view(np.uint8)[:, :3]
    return (zstd((x >> top).astype(np.uint8), 3) +
            zstd(np.ascontiguousarray(rest.astype(np.uint8)), 3))


def zipnn_bytes(tune):
    try:
        import zipnn
    except ImportError:
        return None
    packer = zipnn.ZipNN(input_format="byte", bytearray_dtype="bfloat16", threads=1)
    return len(packer.compress(bytearray(tune.tobytes())))


def bits(tensors, names):
    unsigned = {torch.bfloat16: np.uint16, torch.float32: np.uint32}
    return np.concatenate([tensors[n].contiguous().view(torch.uint8).numpy().reshape(-1)
                           .view(unsigned[tensors[n].dtype]) for n in names])


def cpu(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def one_round(binary, package, base, tune, out):
    """CPU seconds of pack and unpack; the package is left."""
    for path in (package, out):
        if os.path.isdir(path):
            shutil.rmtree(path)
        elif os.path.exists(path):
            os.remove(path)
    pack = cpu([binary, "rmm", "pack", package, f"m={tune}", "--exact", "--base", base,
                "--threads", "1", "-q"])
    unpack = cpu([binary, "rmm", "unpack", package, "m", out, "--base", base, "--threads",
                  "1", "-q"])
    assert subprocess.run(["diff", "-r", tune, out]).returncode == 0, "not the same files"
    return pack, unpack


def in_turn(binaries, package, base, out):
    """Ratios of the CPU seconds of two builds that unpack one after the other, and the
    seconds of each."""
    seconds = ([], [])
    for i in range(ROUNDS):
        for which in ((0, 1), (1, 0))[i % 2]:
            shutil.rmtree(out, ignore_errors=True)
            seconds[which].append(cpu([binaries[which], "rmm", "unpack", package, "m", out, "--base",
                                       base, "--threads", "1", "-q"]))
    return [b / a for a, b in zip(*seconds)], seconds


def spread(size, seconds):
    middle = f" ({size / statistics.median(seconds) / 1e6:.0f})" if len(seconds) > 3 else ""
    return f"{size / max(seconds) / 1e6:.0f}-{size / min(seconds) / 1e6:.0f}{middle}"


def measure(binary, work, label, base, tune):
    """base, tune: folders with BF16 weights in model.safetensors."""
    package, out = os.path.join(work, "p.pkg"), os.path.join(work, "out")
    packs, unpacks = zip(*(one_round(binary, package, base, tune, out) for _ in range(ROUNDS)))
    a, b = (load_file(os.path.join(x, "model.safetensors")) for x in (base, tune))
    names = sorted(n for n in b if n in a and b[n].dtype in (torch.bfloat16, torch.float32))
    x, y = bits(a, names), bits(b, names)
    size = y.nbytes
    if os.environ.get("ONLY") == "ours":
        print(f"{label:34} {100 * (x == y).mean():6.1f} | {100 * os.path.getsize(package) / size:6.2f} | "
              f"{spread(size, packs):>8} {spread(size, unpacks):>8}", flush=True)
        shutil.rmtree(out)
        os.remove(package)
        return
    zip_size = zipnn_bytes(y) if y.itemsize == 2 else None
    own = os.path.getsize(package)
    row = [100 * (x == y).mean()] + [100 * v / size for v in (
        own, bitx(x, y), zstd(x ^ y, 3), zstd(y, 19 if y.size < (4 << 20) else 9))]
    print(f"{label:34} {row[0]:6.1f} | {row[1]:6.2f} | {row[2]:6.2f} {row[3]:6.2f} "
          f"{row[4]:6.1f} {'-' if zip_size is None else format(100 * zip_size / size, '.1f'):>6}"
          f" | {100 * (1 - row[1] / row[2]):5.0f} % | {spread(size, packs):>8} "
          f"{spread(size, unpacks):>8}", flush=True)
    shutil.rmtree(out)
    os.remove(package)


def disk(folder, size=256 << 20, step=4 << 20):
    """Direct writes and reads, MB/s by the clock."""
    path, room = os.path.join(folder, "direct"), mmap.mmap(-1, step)
    room.write(os.urandom(step))
    rates = []
    for flags, move in ((os.O_WRONLY | os.O_CREAT, os.pwrite), (os.O_RDONLY, None)):
        fd = os.open(path, flags | os.O_DIRECT, 0o600)
        start = time.monotonic()
        for at in range(0, size, step):
            if move:
                move(fd, room, at)
            else:
                os.preadv(fd, [room], at)
        os.fsync(fd)
        rates.append(size / (time.monotonic() - start) / 1e6)
        os.close(fd)
    os.remove(path)
    return rates


def large(binary, work, before=None):
    """Speeds where starting counts little."""
    g = torch.Generator().manual_seed(5)
    base, tune = (torch.empty(128 << 20, dtype=torch.bfloat16) for _ in range(2))
    step = 16 << 20
    for at in range(0, base.numel(), step):
        base[at:at + step] = torch.randn(step, generator=g) * 0.02
    for delta in (1e-4, 2e-3):
        for at in range(0, base.numel(), step):
            tune[at:at + step] = base[at:at + step].float() + torch.randn(step, generator=g) * delta
        folders = [os.path.join(work, x) for x in ("base", "tune")]
        for folder, values in zip(folders, (base, tune)):
            save(folder, values)
        package, out = os.path.join(work, "p.pkg"), os.path.join(work, "out")
        packs, unpacks = zip(*(one_round(binary, package, *folders, out) for _ in range(ROUNDS)))
        print(f"256 MiB, change of sd {delta:g}: pack {spread(256 << 20, packs)}, unpack "
              f"{spread(256 << 20, unpacks)} MB/s", flush=True)
        if before:
            ratios, seconds = in_turn((before, binary), package, folders[0], out)
            print(f"  unpack in turn, {ROUNDS} rounds: {100 * (1 - statistics.median(ratios)):.0f} % less "
                  f"({spread(256 << 20, seconds[0])} before, {spread(256 << 20, seconds[1])} MB/s)", flush=True)
        shutil.rmtree(out)
        os.remove(package)
    print("disk, past the page cache: {:.0f} MB/s written, {:.0f} MB/s read".format(*disk(work)))


def save(folder, values):
    os.makedirs(folder, exist_ok=True)
    save_file({"w": values.reshape(-1, 4096)}, os.path.join(folder, "model.safetensors"))


def synthetic(work):
    g = torch.Generator().manual_seed(1)
    base = (torch.randn(N, generator=g) * 0.02).bfloat16()
    save(os.path.join(work, "base"), base)
    for delta in (1e-5, 1e-4, 5e-4, 2e-3):
        yield (f"sd 0.02, change of sd {delta:g}",
               (base.float() + torch.randn(N, generator=g) * delta).bfloat16())
    moved = base.float() * (1 + 0.006 * torch.randn(N, generator=g))
    yield ("15 % moved by about 0.6 %",
           torch.where(torch.rand(N, generator=g) < 0.15, moved, base.float()).bfloat16())


def merged(work):
    """A base of 32 MiB, and adapters merged into it: changes of sd 1e-3."""
    g = torch.Generator().manual_seed(3)
    base = (torch.randn(4096, 4096, generator=g) * 0.02).bfloat16()
    save(os.path.join(work, "base"), base)
    for rank, how in ((16, "sum"), (16, "product"), (64, "sum"), (16, "F32")):
        delta = (torch.randn(4096, rank, generator=g) @ torch.randn(rank, 4096, generator=g)
                 * (1e-3 / rank ** 0.5))
        tune = (base + delta.bfloat16() if how == "product" else
                (base.float() + delta).bfloat16())
        if how == "F32":
            save(os.path.join(work, "base"), base.float())
            tune = base.float() + delta
        yield f"merged adapter, rank {rank}, {how}", tune


def adapters(binary, work):
    """Eight pairs of rank 16 and width 4096 in BF16, flat spectra: the dearest ones."""
    g = torch.Generator().manual_seed(2)
    folder = os.path.join(work, "lora")
    os.makedirs(folder)
    tensors = {}
    for i in range(8):
        name = f"base_model.model.model.layers.{i}.self_attn.q_proj.lora_"
        tensors[f"{name}A.weight"] = torch.randn(16, 4096, generator=g).bfloat16()
        tensors[f"{name}B.weight"] = torch.randn(4096, 16, generator=g).bfloat16()
    save_file(tensors, os.path.join(folder, "adapter_model.safetensors"))
    with open(os.path.join(folder, "adapter_config.json"), "w") as f:
        json.dump({"peft_type": "LORA", "r": 16, "lora_alpha": 16,
                   "target_modules": ["q_proj"]}, f)
    numbers = sum(t.numel() for t in tensors.values())
    for how in (["--exact"], *(["--error", e] for e in ("0.05", "0.1", "0.2", "0.4"))):
        package, out = os.path.join(work, "a.pkg"), os.path.join(work, "out")
        pack = cpu([binary, "rmm", "pack", package, f"m={folder}", *how, "--threads", "1", "-q"])
        listed = json.loads(subprocess.check_output([binary, "rmm", "list", package, "--json"]))
        unpack = cpu([binary, "rmm", "unpack", package, "m", out, "--threads", "1", "-q"])
        print(f"adapter {' '.join(how):14} {8 * listed['bytes'] / numbers:6.2f} bits for each "
              f"number, measured error {listed['members'][0]['error']:.4f}, pack {pack:.2f} "
              f"unpack {unpack:.2f} CPU s", flush=True)
        shutil.rmtree(out)
        os.remove(package)


def main():
    binary, folder, pairs = os.path.join(sys.argv[1], "weightward"), sys.argv[2], sys.argv[3:]
    work = tempfile.mkdtemp(prefix="ww-bench.", dir=folder)
    print(f"{'pair':34} {'same %':>6} | {'ours':>6} | {'BitX':>6} {'XOR-3':>6} {'zstd':>6} "
          f"{'zipnn':>6} | {'saved':>7} | pack, unpack MB/s")
    try:
        only = os.environ.get("ONLY")
        chosen = {"merged": (merged,), "large": ()}.get(only, (synthetic, merged))
        for pairs_of in chosen:
            for label, values in pairs_of(work):
                save(os.path.join(work, "tune"), values)
                measure(binary, work, label, os.path.join(work, "base"),
                        os.path.join(work, "tune"))
        if only in (None, "large"):
            before = os.environ.get("BEFORE")
            large(binary, work, before and os.path.join(before, "weightward"))
        if only is None:
            adapters(binary, work)
        for pair in pairs:
            base, tune = pair.split("=")
            measure(binary, work, os.path.basename(tune), base, tune)
    finally:
        shutil.rmtree(work)


main()
