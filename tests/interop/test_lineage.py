#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Merges made by mergekit from the bundled family, taken apart again: sources, method, replay.

    test_lineage.py BUILD

The short form of tests/bench/lineage_grid.py, which runs all methods with up to four sources.
"""
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.exit(subprocess.run([sys.executable, os.path.join(HERE, "..", "bench", "lineage_grid.py"), sys.argv[1],
                         os.path.join(HERE, "..", "vectors", "amber"), "--short"]).returncode)
