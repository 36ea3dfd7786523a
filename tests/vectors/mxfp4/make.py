#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""model.safetensors and values.bf16: random MXFP4 weights of two experts, and what
transformers (5.24) dequantises them to. All codes; scales as small as there are too.

    make.py FOLDER
"""
import os
import sys

import torch
from safetensors.torch import save_file
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

random = torch.Generator().manual_seed(1)
blocks = torch.randint(0, 256, (2, 5, 3, 16), dtype=torch.uint8, generator=random)
scales = torch.randint(100, 140, (2, 5, 3), dtype=torch.uint8, generator=random)
scales[0, 0] = torch.tensor([0, 1, 2], dtype=torch.uint8)
scales[1, 4, 2] = 252
values = convert_moe_packed_tensors(blocks.clone(), scales.clone())
assert values.shape == (2, 96, 5) and values.dtype == torch.bfloat16
save_file({"experts.down_proj_blocks": blocks, "experts.down_proj_scales": scales},
          os.path.join(sys.argv[1], "model.safetensors"))
values.view(torch.int16).numpy().tofile(os.path.join(sys.argv[1], "values.bf16"))
