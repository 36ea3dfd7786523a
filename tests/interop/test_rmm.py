#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Packages read by an independent reader, and members loaded by transformers and peft.

    test_rmm.py BUILD

The reader (package_reader.py) knows docs/formats/package.md and chunk.md alone: it decodes every file of
a fine-tune, of members in other dtypes and of adapters, exact and within an error, opens a sealed member with its recipient's key, and checks the
signature with the cryptography package. An adapter that peft merged is found as a product.
Forms of an adapter are loaded by peft and transformers, whose answers must be those of the adapter; of a GGUF file the products are
what the gguf package reads, under its names; test_llama_cpp.py asks llama.cpp itself.
"""
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

from package_reader import InvalidSignature, Package, coded_text

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
    config = peft.LoraConfig(r=4, lora_alpha=8, init_lora_weights=False,
                             **{"target_modules": ["q_proj", "v_proj"], **more})
    model = peft.get_peft_model(model, config)
    for name, p in model.named_parameters():
        if "lora_B" in name and not p.any():        # blocks begin as zeros
            torch.nn.init.normal_(p, std=0.1)
    model.save_pretrained(folder)


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


def merged(run, check, work, base, adapter):
    """A model that peft merged: a product of low rank is found, and other readers use it."""
    import peft
    import torch
    import transformers
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    model = peft.PeftModel.from_pretrained(model, adapter).merge_and_unload()
    out = os.path.join(work, "merged")
    model.save_pretrained(out)
    run("rmm", "pack", "m.pkg", f"m={out}", "--exact", "--base", base)
    package = Package(os.path.join(work, "m.pkg"))
    check(package, "m", out)
    _, content = package.content("m")
    n = struct.unpack("<Q", content[-8:])[0]
    parts = [p for f in json.loads(coded_text(content[-8 - n:-8]))["files"] for p in f.get("parts", [])]
    ranks = [p["rank"] for p in parts if "rank" in p]
    assert len(ranks) >= 4 and {r["rank"] for r in ranks} == {4}, ranks
    for n in ("1", "2", "8"):
        run("rmm", "pack", f"m{n}.pkg", f"m={out}", "--exact", "--base", base, "--threads", n)
        assert read(work, f"m{n}.pkg") == read(work, "m.pkg"), n
    run("rmm", "unpack", "m.pkg", "m", "m", "--base", base)
    assert read(out, "model.safetensors") == read(os.path.join(work, "m"), "model.safetensors")
    # within an error levels are of what the product leaves; below 0.001 exact is smaller here
    for error, form in ("0.003", "dense"), ("0.0005", "order"):
        run("rmm", "pack", f"w{error}.pkg", f"m={out}", "--error", error, "--base", base)
        run("rmm", "unpack", f"w{error}.pkg", "m", f"within{error}", "--base", base)
        package = Package(os.path.join(work, f"w{error}.pkg"))
        check(package, "m", os.path.join(work, f"within{error}"))
        entry = package.manifest["members"][0]
        assert entry["coded"]["own"] > 0 and entry["coded"][form] > 0, entry
        errors = change_errors(base, out, os.path.join(work, f"within{error}"))
        assert max(errors) <= float(error), errors
        assert abs(max(errors) - entry["error"]) <= 1e-3 * max(errors), (errors, entry)
        assert (max(errors) > 0) == (form == "dense"), errors
    print(f"merged by peft: {len(ranks)} products of rank 4 found, rounded as",
          sorted({r["rounding"] for r in ranks}))


def change_errors(base, source, back):
    """Relative Frobenius error of every matrix's change; all other tensors must be the same."""
    import torch
    from safetensors.torch import load_file
    a, b, c = (load_file(os.path.join(x, "model.safetensors")) for x in (base, source, back))
    errors = []
    for name, w in b.items():
        change = float((w.double() - a[name].double()).norm())
        if w.ndim < 2 or change == 0:
            assert torch.equal(w, c[name]), name
        else:
            errors.append(float((c[name].double() - w.double()).norm()) / change)
    return errors


def dense(run, check, work, base):
    """A model's change within an error: numpy's norms, the independent decoder."""
    from safetensors.torch import load_file
    source, back = os.path.join(AMBER, "expert-caesar"), os.path.join(work, "dense")
    run("rmm", "pack", "d.pkg", f"m={source}", "--error", "0.8", "--base", base)
    run("rmm", "unpack", "d.pkg", "m", back, "--base", base)
    package = Package(os.path.join(work, "d.pkg"))
    check(package, "m", back)
    errors = change_errors(base, source, back)
    b = load_file(os.path.join(source, "model.safetensors"))
    entry = package.manifest["members"][0]
    assert max(errors) <= 0.8 and abs(max(errors) - entry["error"]) < 1e-6, errors
    bits = 8 * entry["coded"]["dense"] / sum(w.numel() for w in b.values() if w.ndim > 1)
    print(f"dense: error {min(errors):.3f} to {max(errors):.3f}, {bits:.2f} bits for each weight")


def versions(run, check, work, base, adapter):
    """A later version of a model and of an adapter, read by the independent decoder."""
    import torch
    from safetensors.torch import load_file, save_file
    later, tuned = os.path.join(work, "later"), os.path.join(work, "tuned")
    torch.manual_seed(6)
    for source, out, name in ((f"{AMBER}/expert-rev", later, "model.safetensors"),
                              (adapter, tuned, "adapter_model.safetensors")):
        shutil.copytree(source, out)
        tensors = load_file(os.path.join(out, name))
        tensors = {k: (v.float() * (1 + 0.002 * torch.randn(v.shape))).to(v.dtype)
                   for k, v in tensors.items()}
        save_file(tensors, os.path.join(out, name), {"format": "pt"})
    members = [f"rev={AMBER}/expert-rev", f"later={later}", f"lora={adapter}", f"tuned={tuned}"]
    chain = ("--chain", "later=rev", "--chain", "tuned=lora")
    run("rmm", "pack", "v.pkg", *members, "--exact", "--base", base, *chain)
    package = Package(os.path.join(work, "v.pkg"))
    check(package, "later", later)
    check(package, "tuned", tuned)
    run("rmm", "pack", "vb.pkg", *members, "--error", "0.05", "--base", base, *chain)
    package = Package(os.path.join(work, "vb.pkg"))
    sizes = {m["name"]: m["bytes"] for m in package.manifest["members"]}
    for name in ("later", "tuned"):
        run("rmm", "unpack", "vb.pkg", name, f"{name}-back", "--base", base)
        check(package, name, os.path.join(work, f"{name}-back"))
    errors = product_errors(tuned, os.path.join(work, "tuned-back"))
    assert 0 < max(errors) <= 0.05, errors
    print("versions read by the independent reader; within an error of 0.05 the later model "
          f"takes {sizes['later'] / sizes['rev']:.2f} of the first, the adapter "
          f"{sizes['tuned'] / sizes['lora']:.2f}")


def shared(run, check, work, base):
    """Adapters that share numbers, in each way: the independent decoder."""
    for m in ("rev", "caesar"):
        run("extract", base, os.path.join(AMBER, f"expert-{m}"), f"thin-{m}", "--rank", "4",
            "--portable")
    given = ["rev=thin-rev", "caesar=thin-caesar"]
    for name, way in (("rows", ("--codec", "rows", "--directions", "1")),
                      ("rows-exact", ("--codec", "rows", "--directions", "1", "--exact")),
                      ("core", ("--codec", "core", "--directions", "3", "--error", "0.1")),
                      ("core-one", ("--codec", "core", "--directions", "1", "--error", "0.1"))):
        run("rmm", "pack", f"s-{name}.pkg", *given, *way)
        package = Package(os.path.join(work, f"s-{name}.pkg"))
        assert package.manifest["members"][0]["kind"] == "basis"
        back = os.path.join(work, f"s-{name}")
        run("rmm", "unpack", f"s-{name}.pkg", "rev", back)
        check(package, "rev", back)
        assert name != "core-one" or package.manifest["members"][1]["coded"]["own"] > 0
    print("shared: rows and cores, alone and with what they leave")


def dtypes(run, work, content_key):
    """Members in other dtypes than the base's, one sealed: the independent decoder."""
    import torch
    from safetensors.torch import save_file
    torch.manual_seed(7)
    base = {"w": 0.02 * torch.randn(96, 64), "v": torch.tensor([-0.0, 7e4, 1e-7, 3e38] * 9)}
    base = {k: v.bfloat16() for k, v in base.items()}
    tuned = {k: v.float() * (1 + 1e-3 * torch.randn(v.shape)) for k, v in base.items()}
    tuned["v"][4:8] = torch.tensor([float("nan"), float("inf"), -0.0, 1e-40])
    models = {"base": base, "f32": tuned, "f16": {k: v.half() for k, v in tuned.items()},
              "wide": {k: v.bfloat16().float() for k, v in tuned.items()}, "sealed": tuned,
              "wide16": {k: v.bfloat16().half() for k, v in tuned.items()}}
    for name, tensors in models.items():
        folder = os.path.join(work, "dtypes", name)
        os.makedirs(folder)
        save_file(tensors, os.path.join(folder, "model.safetensors"), {"format": "pt"})
        with open(os.path.join(folder, "config.json"), "w") as f:
            json.dump({"model_type": "llama"}, f)
    given = [f"{name}=dtypes/{name}" for name in models if name != "base"]
    run("rmm", "pack", "t.pkg", *given, "--exact", "--base", "dtypes/base", "--to",
        "sealed=ann.pub")
    folder, package = os.path.join(work, "dtypes"), Package(os.path.join(work, "t.pkg"))
    stored = weights(os.path.join(folder, "base"))

    def from_base(tensor, path):
        return stored[tensor] if tensor else read(os.path.join(folder, "base"), path)

    forms = set()
    for name in models.keys() - {"base"}:
        key = content_key(package, name) if name == "sealed" else None
        files = dict(package.member(name, from_base, content_key=key))
        assert files["model.safetensors"] == read(os.path.join(folder, name), "model.safetensors")
        _, content = package.content(name, key)
        n = struct.unpack("<Q", content[-8:])[0]
        table = json.loads(coded_text(content[-8 - n:-8]))
        parts = [p for f in table["files"] for p in f.get("parts", []) if "tensor" in p]
        assert {p.get("base_dtype") for p in parts} == {"BF16"}, (name, parts)
        at = 0
        for part in (p for f in table["files"] for p in f.get("parts", [])):
            for length, _ in part["chunks"]:
                forms.add((name, content[at]))
                at += length
    assert {("wide", 17), ("wide16", 17)} <= forms, forms
    print("members in F32 and F16 of a BF16 base, one of them sealed, decoded")


def answers(model):
    import torch
    ids = torch.arange(3, 35).reshape(2, 16)
    with torch.no_grad():
        return model.eval()(ids).logits.double()


def load(base):
    import torch
    import transformers
    return transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)


def products(folder):
    """Scale and product of every module, by the configuration's r and lora_alpha alone."""
    config = json.loads(read(folder, "adapter_config.json"))
    assert not config["use_rslora"] and not config["rank_pattern"], config
    assert not config["alpha_pattern"] and not config["modules_to_save"], config
    numbers = factors(folder)
    ranks = {v.shape[0] for k, v in numbers.items() if ".lora_A." in k}
    assert ranks == {config["r"]}, ranks
    return {k[len("base_model.model."):].replace(".lora_A.weight", ""):
            config["lora_alpha"] / config["r"] * numbers[k.replace("lora_A", "lora_B")] @ a
            for k, a in numbers.items() if ".lora_A." in k}


def vllm_takes(folder, base, most=16):
    """What vLLM's loader of adapters demands (its PEFTHelper and checks of names, as of 0.22):
    three fields, a rank of at most max_lora_rank, no bias, no DoRA, no whole weights, factors
    under PEFT's names of modules that the model has, and one scale from r and lora_alpha."""
    config = json.loads(read(folder, "adapter_config.json"))
    assert isinstance(config["r"], int) and config["target_modules"], config
    assert 0 < config["r"] <= most and config["lora_alpha"] == config["r"], config
    assert config["bias"] == "none" and not config.get("use_dora"), config
    assert config["modules_to_save"] is None and not config["use_rslora"], config
    modules = {name.removesuffix(".weight") for name in weights(base)}
    sides = {"lora_A": {}, "lora_B": {}}
    for name, value in factors(folder).items():
        assert name.startswith("base_model.model.") and name.endswith(".weight"), name
        module, side = name[len("base_model.model."):-len(".weight")].rsplit(".", 1)
        assert module in modules, name
        assert any(f".{module}".endswith(f".{t}") for t in config["target_modules"]), name
        sides[side][module] = value.shape
    assert sides["lora_A"].keys() == sides["lora_B"].keys() and sides["lora_A"], sides
    for module, shape in sides["lora_A"].items():
        assert shape[0] == config["r"] == sides["lora_B"][module][1], module


def check_gguf(path, base, want):
    """want: products by module. Rows of query and key heads in llama.cpp's order."""
    import gguf
    import numpy as np
    config = json.loads(read(base, "config.json"))
    reader = gguf.GGUFReader(path)
    fields = {k: v.contents() for k, v in reader.fields.items()}
    assert fields["general.type"] == "adapter" and fields["adapter.type"] == "lora", fields
    assert fields["general.architecture"] == "llama", fields
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    tensors = {t.name: t.data for t in reader.tensors}
    assert len(tensors) == 2 * len(want), sorted(tensors)
    for module, product in want.items():
        name = names.get_name(module) + ".weight"
        a, b = tensors[name + ".lora_a"], tensors[name + ".lora_b"]
        scale = fields["adapter.lora.alpha"] / b.shape[1]
        if module.endswith(("q_proj", "k_proj")):
            heads = config["num_attention_heads" if "q_proj" in module else
                           "num_key_value_heads"]
            product = product.reshape(heads, 2, -1, product.shape[1]).swapaxes(1, 2) \
                             .reshape(product.shape)
        got = scale * b.astype(np.float64) @ a.astype(np.float64)
        assert np.abs(got - product).max() < 1e-6 * np.abs(product).max(), name


def same_answers(what, got, want, bound):
    far = float((got - want).abs().max() / want.abs().max())
    print(f"{what}: answers differ by {far:.1e} of the largest")
    assert far < bound, (what, far)


def forms(run, work, base):
    import peft
    source = os.path.join(work, "odd")
    make_adapter(base, source, use_rslora=True, rank_pattern={"v_proj": 6},
                 alpha_pattern={"q_proj": 5})
    blocks = peft.BdLoraConfig(target_modules_bd_a=["o_proj"], target_modules_bd_b=["q_proj"],
                               nblocks=2, match_strict=False)
    make_adapter(base, os.path.join(work, "blocks"), use_bdlora=blocks, rank_pattern={"v_proj": 6},
                 target_modules=["q_proj", "v_proj", "o_proj"])
    run("rmm", "pack", "f.pkg", f"odd={source}", f"dora={work}/dora", f"blocks={work}/blocks",
        "--exact")
    plain = answers(load(base))
    adapters, seen = {name: os.path.join(work, name) for name in ("odd", "dora", "blocks")}, {}
    for name, folder in adapters.items():
        adapted = answers(peft.PeftModel.from_pretrained(load(base), folder))
        assert (adapted - plain).abs().max() > 0.01 * plain.abs().max(), "no effect"
        out = os.path.join(work, f"{name}-model")
        run("rmm", "unpack", "f.pkg", name, out, "--form", "model", "--base", base)
        # The sum is rounded to the base's bfloat16.
        same_answers(f"{name} as model", answers(load(out)), adapted, 0.02)
        merged = peft.PeftModel.from_pretrained(load(base), folder).merge_and_unload()
        same_answers(f"{name} as model, against peft's sum in bfloat16", answers(load(out)),
                     answers(merged.bfloat16().float()), 0.002)
        seen[name] = adapted
    for name in ("blocks", "odd"):
        portable = os.path.join(work, f"{name}-portable")
        run("rmm", "unpack", "f.pkg", name, portable, "--form", "portable")
        got = answers(peft.PeftModel.from_pretrained(load(base), portable))
        same_answers(f"{name} as portable", got, seen[name], 1e-5)
        vllm_takes(portable, base)
    for model, out in (f"{base}+{work}/blocks", "blocks-sum"), (f"{work}/blocks", "blocks-alone"):
        with open(os.path.join(work, f"{out}.yml"), "w") as f:
            json.dump({"merge_method": "linear", "models": [{"model": model, "parameters": {"weight": 1}}]}, f)
        run("merge", f"{out}.yml", out)
    assert weights(os.path.join(work, "blocks-sum")) == weights(os.path.join(work, "blocks-model"))
    same_answers("blocks as merged adapters have them",
                 answers(peft.PeftModel.from_pretrained(load(base), os.path.join(work, "blocks-alone"))),
                 seen["blocks"], 1e-5)
    try:
        vllm_takes(source, base)
        raise RuntimeError("the check of what vLLM demands cannot fail")
    except AssertionError:
        pass
    run("rmm", "unpack", "f.pkg", "odd", "odd-peft", "--form", "peft")
    assert factors(os.path.join(work, "odd-peft")).keys() == factors(source).keys()
    run("rmm", "unpack", "f.pkg", "odd", "odd.gguf", "--form", "gguf", "--base", base)
    check_gguf(os.path.join(work, "odd.gguf"), base, products(portable))
    head(run, work, base)
    assert not [x for x in os.listdir(work) if x.endswith((".member", ".partial"))]


def head(run, work, base):
    """Of a head PEFT keeps the base's weight too; patterns are regular expressions."""
    import peft
    source, out = os.path.join(work, "head"), os.path.join(work, "head-portable")
    make_adapter(base, source, target_modules=["q_proj", "lm_head"],
                 alpha_pattern={r"layers\.[01]\..*_proj": 5, "lm_h.ad": 3})
    assert any(".base_layer." in k for k in factors(source)), factors(source).keys()
    run("rmm", "pack", "h.pkg", f"head={source}", "--exact")
    run("rmm", "unpack", "h.pkg", "head", out, "--form", "portable", "--base", base)
    vllm_takes(out, base)
    same_answers("an adapter of the head as portable",
                 answers(peft.PeftModel.from_pretrained(load(base), out)),
                 answers(peft.PeftModel.from_pretrained(load(base), source)), 1e-5)
    run("rmm", "unpack", "h.pkg", "head", "head.gguf", "--form", "gguf", "--base", base)
    check_gguf(os.path.join(work, "head.gguf"), base, products(out))


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

        def key_of(package, name):
            kind, _, key = read_record(package.records()[name], None, ann)
            assert kind == b"cont"
            return key

        n = check(package, "rev", os.path.join(AMBER, "expert-rev"))
        n += check(package, "lora", adapter, content_key=key_of(package, "lora"))
        print(f"{n} files decoded by the independent reader, signature and commitment checked")

        merged(run, check, work, base, adapter)
        bounded(run, check, work, base, adapter)
        dense(run, check, work, base)
        dtypes(run, work, key_of)
        forms(run, work, base)
        versions(run, check, work, base, adapter)
        shared(run, check, work, base)

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
