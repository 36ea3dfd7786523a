#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Packages read by an independent reader, and members loaded by transformers and peft.

    test_rmm.py BUILD

The reader (package_reader.py) knows docs/formats/package.md alone: it decodes every file of
a fine-tune and of adapters, exact and within an error, opens a sealed member with its recipient's key, and checks the
signature with the cryptography package.
"""
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

from package_reader import InvalidSignature, Package

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "vectors", "crypto"))
from read_sealed import read_record  # noqa: E402

AMBER = os.path.join(HERE, "..", "vectors", "amber")


def make_adapter(base, folder, **more):
    import peft
    import torch
    import transformers
    torch.manual_seed(5)
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"],
                             init_lora_weights=False, **more)
    peft.get_peft_model(model, config).save_pretrained(folder)


def weights(folder):
    data = open(os.path.join(folder, "model.safetensors"), "rb").read()
    n = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + n])
    return {k: data[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]]
            for k, v in header.items() if k != "__metadata__"}


def read(folder, path):
    with open(os.path.join(folder, path), "rb") as f:
        return f.read()


def factors(folder):
    from safetensors.torch import load_file
    return {k: v.double().numpy()
            for k, v in load_file(os.path.join(folder, "adapter_model.safetensors")).items()}


def product_errors(source, back):
    """Relative Frobenius error of every product; all other tensors must be the same."""
    import numpy as np
    a, b = factors(source), factors(back)
    assert a.keys() == b.keys()
    errors = []
    for name in a:
        if ".lora_A." in name:
            other = name.replace(".lora_A.", ".lora_B.")
            whole = a[other] @ a[name]
            errors.append(np.linalg.norm(whole - b[other] @ b[name]) / np.linalg.norm(whole))
        elif ".lora_B." not in name:
            assert (a[name] == b[name]).all(), name
    return errors


def bounded(run, check, work, base, adapter):
    """Within an error: numpy's products, the independent decoder, other parts exactly."""
    dora = os.path.join(work, "dora")
    make_adapter(base, dora, use_dora=True, use_rslora=True, rank_pattern={"v_proj": 6},
                 modules_to_save=["lm_head"])
    run("rmm", "pack", "b.pkg", f"lora={adapter}", f"dora={dora}", "--error", "0.1")
    package = Package(os.path.join(work, "b.pkg"))
    for entry, source in zip(package.manifest["members"], (adapter, dora)):
        name, back = entry["name"], os.path.join(work, f"back-{entry['name']}")
        run("rmm", "unpack", "b.pkg", name, back)
        errors = product_errors(source, back)
        assert len(errors) >= 8 and max(errors) <= 0.1, errors
        assert abs(max(errors) - entry["error"]) < 1e-6, (max(errors), entry["error"])
        assert read(source, "adapter_config.json") == read(back, "adapter_config.json")
        check(package, name, back)
        numbers = sum(v.size for k, v in factors(source).items() if ".lora_" in k and
                      "magnitude" not in k)
        print(f"{name}: error {min(errors):.3f} to {max(errors):.3f}, "
              f"{8 * entry['coded']['own'] / numbers:.2f} bits for each number")


def main():
    program = os.path.join(os.path.abspath(sys.argv[1]), "weightward")
    os.umask(0o077)
    base = os.path.join(AMBER, "base")
    tensors = weights(base)

    def from_base(tensor, path):
        return tensors[tensor] if tensor else read(base, path)

    with tempfile.TemporaryDirectory() as work:
        def run(*args):
            subprocess.run([program, *args, "-q"], cwd=work, check=True)

        def check(package, name, source, **more):
            files = dict(package.member(name, from_base, **more))
            for path, data in files.items():
                assert data == read(source, path), path
            count = sum(len(f) for _, _, f in os.walk(source))
            assert len(files) == count, (name, sorted(files), count)
            return count

        adapter = os.path.join(work, "adapter")
        make_adapter(base, adapter)
        run("key", "new", "signing", "--out", "me", "--no-passphrase")
        run("key", "new", "recipient", "--out", "ann", "--no-passphrase")
        run("rmm", "pack", "p.pkg", f"rev={AMBER}/expert-rev", f"lora={adapter}", "--exact",
            "--base", base, "--to", "lora=ann.pub", "--sign", "me.key")
        package = Package(os.path.join(work, "p.pkg"))
        package.check_signature(read(work, "me.pub"))
        run("key", "new", "signing", "--out", "other", "--no-passphrase")
        try:
            package.check_signature(read(work, "other.pub"))
            raise AssertionError("another key verifies")
        except InvalidSignature:
            pass
        ann = read_record(read(work, "ann.key"), None, None)[2]
        kind, _, content_key = read_record(package.records()["lora"], None, ann)
        assert kind == b"cont"
        n = check(package, "rev", os.path.join(AMBER, "expert-rev"))
        n += check(package, "lora", adapter, content_key=content_key)
        print(f"{n} files decoded by the independent reader, signature and commitment checked")

        bounded(run, check, work, base, adapter)

        import peft
        import transformers
        run("rmm", "unpack", "p.pkg", "rev", "rev", "--base", base, "--signed-by", "me.pub")
        run("rmm", "unpack", "p.pkg", "lora", "lora", "--base", base, "--open-with", "ann.key")
        transformers.AutoModelForCausalLM.from_pretrained(os.path.join(work, "rev"))
        model = transformers.AutoModelForCausalLM.from_pretrained(base)
        peft.PeftModel.from_pretrained(model, os.path.join(work, "lora"))
        print("members load in transformers and peft")
        shutil.rmtree(adapter)


main()
