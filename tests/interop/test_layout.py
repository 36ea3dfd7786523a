#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every family resolves on what transformers itself writes.

    test_layout.py BUILD [CASE...]

BUILD holds the program layout_probe, which also checks that no index is moved twice. Then
each model's config is made to contradict its weights, which must be refused. With all cases
the rows of docs/architectures.md are compared with what the library says.
"""
import json
import os
import subprocess
import sys
import tempfile

import architectures_page
import make_models


def probe(build, folder):
    run = subprocess.run([os.path.join(build, "layout_probe"), folder], text=True,
                         stdout=subprocess.PIPE)
    return run.returncode == 0, run.stdout.strip()


DOUBLED = ("num_attention_heads", "n_head", "n_heads", "num_heads", "num_key_value_heads",
           "encoder_attention_heads", "decoder_attention_heads", "attention_heads",
           "hidden_size", "n_embd", "n_embed", "d_model", "dim", "embed_dim")


def double(section):
    for key, value in section.items():
        if isinstance(value, dict):
            double(value)
        elif key in DOUBLED and value:
            section[key] *= 2


def contradict(folder):
    """Twice the heads and twice the width: consistent in itself, but not with the weights."""
    path = os.path.join(folder, "config.json")
    with open(path) as f:
        config = json.load(f)
    double(config)
    with open(path, "w") as f:
        json.dump(config, f)


def main():
    build, names = sys.argv[1], sys.argv[2:] or make_models.cases()
    failed = 0
    rows = []
    with tempfile.TemporaryDirectory() as out:
        for name in names:
            folder = make_models.write(name, out)
            ok, line = probe(build, folder)
            rows += [architectures_page.row_of(build, folder)] if ok else []
            contradict(folder)
            wrong, why = probe(build, folder)
            failed += not ok or wrong
            print(f"{'ok' if ok and not wrong else 'FAILED':7}{name}", flush=True)
            if not ok or wrong:
                print(line if not ok else f"accepted: {why}")
    if names == make_models.cases():
        wrong = architectures_page.differences(rows) + list(architectures_page.wrong_heads())
        print("\n".join(wrong) or "docs/architectures.md and the defaults of heads agree")
        failed += len(wrong) > 0
    print(f"{failed} of {len(names)} cases failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
