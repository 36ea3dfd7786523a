#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Locks of models whose config.json leaves out what is the default, judged by transformers.

    .venv/bin/python tests/bench/lock_defaults.py BUILD [CASE...]

Of every case of make_models.py all keys of config.json go whose value is the default of its
class in transformers. The folder is locked, with factors of two and without: answers in float64
are the original's (1e-9 of the largest answer), the weights are those of the lock with all keys
written out, and unlocking gives every file back. Exit status 1 when one is not so, or refused.
"""
import json
import os
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
import make_models as families
import transformers as tf
from test_lock_exact import LEGAL, answers, error, run, same_folder

KEPT = ("model_type", "architectures", "transformers_version", "dtype")


def defaults_of(section, of_parent):
    kind = section.get("model_type")
    if kind and kind != of_parent.get("model_type"):
        return tf.AutoConfig.for_model(kind).to_dict()
    return of_parent


def leave_out(config, default):
    """How many keys were left out of config, sections of it included."""
    left = 0
    for key, value in list(config.items()):
        if isinstance(value, dict) and key.endswith("_config"):
            left += leave_out(value, defaults_of(value, default.get(key) or {}))
        elif key in default and key not in KEPT and value == default[key]:
            del config[key]
            left += 1
    return left


def write_config(folder, config):
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
        json.dump(config, f, indent=1)


def weights(folder):
    with open(os.path.join(folder, "model.safetensors"), "rb") as f:
        return f.read()


def check(tool, key, name, out):
    """What is wrong, and how many keys were left out."""
    folder, whole = families.write(name, out), os.path.join(out, "whole")
    shutil.copytree(folder, whole)
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    left = leave_out(config, type(families.load(folder)[0].config)().to_dict())
    write_config(folder, config)
    try:
        want = answers(folder, cached=False)[0]
    except RuntimeError as e:
        return f"passed over: {str(e)[:60]}", left
    for mode in ("--scale", "--no-scale"):
        locked, back, same = (os.path.join(out, w + mode) for w in ("lock", "back", "same"))
        run(tool, "lock", folder, locked, "--key", key, mode)
        off = error(answers(locked, cached=False)[0], want)
        if not off <= LEGAL:
            return f"wrong: off by {off:.1e}", left
        run(tool, "lock", whole, same, "--key", key, mode)
        if weights(locked) != weights(same):
            return "wrong: another lock than with all keys", left
        run(tool, "unlock", locked, back, "--key", key)
        if not same_folder(folder, back):
            return "wrong: unlock is not the original", left
    return "ok", left


def main(build, names):
    tool, bad = os.path.join(build, "weightward"), 0
    with tempfile.TemporaryDirectory() as home:
        key = os.path.join(home, "key")
        run(tool, "key", "new", "lock", "--out", key, "--no-passphrase")
        for name in names or families.cases():
            left = 0
            with tempfile.TemporaryDirectory() as out:
                try:
                    what, left = check(tool, key, name, out)
                except RuntimeError as e:
                    what = "refused: " + str(e).rsplit("weightward lock: ", maxsplit=1)[-1]
            bad += not what.startswith(("ok", "passed"))
            print(f"{what}  {name}: {left} keys left out", flush=True)
    return bad > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
