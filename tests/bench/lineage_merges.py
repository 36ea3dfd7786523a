# SPDX-License-Identifier: Apache-2.0
"""Merges by mergekit for lineage_grid.py and lineage_suspects.py, each made once.

mergekit takes longer to start than to merge a small model, so it is imported once, when the
first merge is missing, and runs on one thread. A merge lies under the name of what makes it
(recipe, seed, sources' bytes, versions), with its recipe beside it as NAME.yml; it is complete
when it has that name, so a folder that was filled before, in part or by another script, is used
as it is.
"""
import functools
import glob
import hashlib
import importlib.metadata
import json
import os
import shutil

import yaml


@functools.cache
def version(package):
    return importlib.metadata.version(package)


@functools.cache
def digest_of(folder):
    """Of the weights, since a path alone does not say what was merged."""
    h = hashlib.sha256()
    for path in sorted(glob.glob(os.path.join(folder, "*.safetensors"))):
        with open(path, "rb") as f:
            h.update(hashlib.file_digest(f, "sha256").digest())
    return h.hexdigest()


def models_of(config):
    """Every model that the recipe names."""
    out = [m["model"] for m in config.get("models", [])]
    out += [x["model"] for s in config.get("slices", []) for x in s["sources"]]
    return sorted({*out, *([config["base_model"]] if "base_model" in config else [])})


@functools.cache
def mergekit():
    import torch
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    os.environ["HF_HUB_OFFLINE"] = "1"
    from mergekit import config, merge
    return config.MergeConfiguration, merge.MergeOptions, merge.run_merge


class Merges:
    """A folder of merges; made and found count what was done and what lay there."""

    def __init__(self, folder, family):
        self.folder, self.family = os.path.abspath(folder), os.path.abspath(family)
        self.made = self.found = 0
        os.makedirs(self.folder, exist_ok=True)

    def by(self):
        return f"mergekit {version('mergekit')}, torch {version('torch')}"

    def told(self):
        return f"merged by {self.by()}: {self.made} now, {self.found} lay there"

    def merge(self, config, seed=17):
        """The merge's folder, and the file with its recipe."""
        what = [config, seed, [digest_of(m) for m in models_of(config)], self.by()]
        key = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]
        out = os.path.join(self.folder, f"{config['merge_method']}-{key}")
        if os.path.isdir(out):
            self.found += 1
            return out, out + ".yml"
        part = out + ".part"
        shutil.rmtree(part, ignore_errors=True)
        self._run(config, part, seed)
        with open(out + ".yml", "w", encoding="utf-8") as f:
            yaml.safe_dump(config, f, sort_keys=False)
        os.rename(part, out)
        self.made += 1
        return out, out + ".yml"

    def _run(self, config, out, seed):
        configuration, options, run_merge = mergekit()
        try:
            run_merge(configuration.model_validate(config), out,
                      options=options(quiet=True, random_seed=seed, write_model_card=False, copy_tokenizer=False))
        except Exception:
            # 0.1.5 stops at config.json when the number of layers changed, with the weights written.
            if "slices" not in config or not glob.glob(os.path.join(out, "*.safetensors")):
                raise
        if not os.path.exists(os.path.join(out, "config.json")):
            self._write_config(config, out)

    def _write_config(self, config, out):
        with open(os.path.join(self.family, "base", "config.json"), encoding="utf-8") as f:
            written = json.load(f)
        written["num_hidden_layers"] = sum(b - a for s in config["slices"] for x in s["sources"]
                                           for a, b in [x["layer_range"]])
        if "layer_types" in written:
            written["layer_types"] = written["layer_types"][:1] * written["num_hidden_layers"]
        with open(os.path.join(out, "config.json"), "w", encoding="utf-8") as f:
            json.dump(written, f)
