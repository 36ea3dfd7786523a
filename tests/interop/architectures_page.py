#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The table of docs/architectures.md, made from what the library says of every model type.

    architectures_page.py BUILD         write the rows into the page

Each row is made from what `layout_probe --row` says of the cases of make_models.py, written
by transformers; types of a descriptor that no case covers take the row of the type that one
does. test_layout.py compares the page with the rows.
"""
import glob
import json
import os
import subprocess
import sys
import tempfile

import make_models
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
PAGE = os.path.join(ROOT, "docs", "architectures.md")
BEGIN, END = "<!-- supported -->\n", "<!-- /supported -->\n"


def types():
    """model type -> descriptor"""
    out = {}
    for path in sorted(glob.glob(os.path.join(ROOT, "src/arch/descriptors/*.json"))):
        with open(path) as f:
            descriptor = json.load(f)
        out.update({t: descriptor["id"] for t in descriptor["model_types"]})
    return out


def sections(kind, descriptor):
    """(defaults, config by the same defaults of transformers) of the model and of its towers."""
    root = CONFIG_MAPPING[kind]()
    stacks = [s for s in descriptor["stacks"] if "section" in s]
    for part in [descriptor] + stacks:
        name = part.get("section", "text")
        config = root.get_text_config() if name == "text" else root if name == "root" else \
            getattr(root, name, None)
        if config is not None and not isinstance(config, dict):
            yield part.get("defaults", {}), type(config)()


def wrong_heads():
    """Descriptors by whose defaults a model would have other heads than in transformers. No shape
    tells them, but where heads have a width of their own."""
    for path in sorted(glob.glob(os.path.join(ROOT, "src/arch/descriptors/*.json"))):
        with open(path) as f:
            descriptor = json.load(f)
        for kind in [k for k in descriptor["model_types"] if k in CONFIG_MAPPING]:
            for defaults, config in sections(kind, descriptor):
                own = (getattr(config, "attribute_map", None) or {}).get("num_attention_heads", "num_attention_heads")
                want = getattr(config, own, None)
                said = defaults.get("num_attention_heads", defaults.get(own, want))
                if said != want and not any("head_dim" in key for key in defaults):
                    yield f"{kind}: {said} heads by default, {want} in transformers"


def merge(rows):
    """Columns of several cases, each word once."""
    columns = []
    for cells in zip(*rows):
        words = {w: None for cell in cells for w in cell.split(", ") if w}
        columns.append(", ".join(words))
    return columns


def row_of(build, folder):
    """(model type, [descriptor, streams, QK, VO, what stays]) of a folder"""
    with open(os.path.join(folder, "config.json")) as f:
        kind = json.load(f)["model_type"]
    line = subprocess.run([os.path.join(build, "layout_probe"), "--row", folder],
                          text=True, stdout=subprocess.PIPE, check=True).stdout
    return kind, [c.strip() for c in line.rstrip("\n").split("|")]


def table(found):
    """Rows of the page from (model type, row) of all cases."""
    cases, all_types, by_descriptor = {}, types(), {}
    for kind, row in found:
        cases.setdefault(kind, []).append(row)
    rows = {kind: merge(r) for kind, r in cases.items()}
    for row in rows.values():
        by_descriptor.setdefault(row[0], []).append(row)
    lines = []
    for kind in sorted(all_types):
        row = rows.get(kind) or merge(by_descriptor[all_types[kind]])
        tested = "yes" if kind in rows else "by kin"
        lines.append(f"| `{kind}` | " + " | ".join(row + [tested]) + " |")
    return "\n".join(lines) + "\n"


def parts():
    """The page in front of the rows, the rows, and what follows."""
    with open(PAGE) as f:
        before, rest = f.read().split(BEGIN)
    old, after = rest.split(END)
    head = "".join(old.splitlines(True)[:2])
    return before + BEGIN + head, old[len(head):], END + after


def differences(found):
    """Lines of the page that are not as they should be, marked."""
    new, old = set(table(found).splitlines()), set(parts()[1].splitlines())
    return [("should be: " if line in new else "is:        ") + line
            for line in sorted(new ^ old)]


def main(build):
    with tempfile.TemporaryDirectory() as out:
        found = [row_of(build, make_models.write(name, out))
                 for name in make_models.cases()]
    before, _, after = parts()
    with open(PAGE, "w") as f:
        f.write(before + table(found) + after)


if __name__ == "__main__":
    main(sys.argv[1])
