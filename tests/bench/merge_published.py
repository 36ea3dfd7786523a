#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Recipes as people publish them through mergekit 0.1.5 and through weightward merge.

    merge_published.py BUILD [--only WORD] [--models DIR]

The recipes are those of published_recipes.py, over small models of 17 architectures that transformers
makes, with tokenizers trained here on the texts of this repository: byte level, or pieces with bytes to
fall back on. Compared are: the decision; names, shapes, dtypes and values of tensors; config.json; the
files beside the weights; token ids of some texts by AutoTokenizer; logits by AutoModelForCausalLM. Where
a recipe asks for arithmetic in 16 bits, which mergekit rounds to after every step and this program does not,
values are those of the recipe in float32 with its result rounded, and how far logits of the recipe as it
stands are apart is told. Values: float32 6e-6 of the largest, 16 bits one unit. Masks are the same in both
(peer_masks.py). What differs for a reason is in REFUSALS, DIFFERENCES and SHARES with it.
"""
import argparse
import glob
import json
import logging
import os
import re
import shutil
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import merge_random as peers  # noqa: E402
import torch  # noqa: E402
import transformers as tf  # noqa: E402
from merge_random import families, tensors_of, tokens_of  # noqa: E402
from model_parts import of  # noqa: E402
import peer_masks  # noqa: E402
from published_recipes import RECIPES  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers  # noqa: E402

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
LAYERS, WORDS = 6, 384
SIZES = dict(vocab_size=WORDS, hidden_size=64, num_hidden_layers=LAYERS, num_attention_heads=4, intermediate_size=96,
             num_key_value_heads=2, max_position_embeddings=128, pad_token_id=0, bos_token_id=1, eos_token_id=2)


def causal(prefix, **more):
    return of(f"{prefix}ForCausalLM", f"{prefix}Config", **{**SIZES, **more})


# name: (maker, dtype, tokenizer)
FAMILIES = {
    "llama": (causal("Llama"), torch.float32, "bytes"),
    "mistral": (causal("Mistral", sliding_window=32), torch.bfloat16, "pieces"),
    "qwen2": (causal("Qwen2", tie_word_embeddings=True), torch.bfloat16, "bytes"),
    "qwen3": (causal("Qwen3", head_dim=16), torch.float32, "bytes"),
    "gemma2": (causal("Gemma2", head_dim=16, query_pre_attn_scalar=20, sliding_window=32), torch.bfloat16, "pieces"),
    "phi3": (causal("Phi3"), torch.bfloat16, "pieces"),
    "gpt2": (of("GPT2LMHeadModel", "GPT2Config", vocab_size=WORDS, n_embd=64, n_layer=LAYERS, n_head=4,
                n_positions=128, bos_token_id=1, eos_token_id=2), torch.float32, "bytes"),
    "mixtral": (causal("Mixtral", num_local_experts=4, num_experts_per_tok=2, intermediate_size=48),
                torch.bfloat16, "pieces"),
    "qwen3_moe": (causal("Qwen3Moe", head_dim=16, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32),
                  torch.float32, "bytes"),
    "granite": (causal("Granite", embedding_multiplier=2.0, residual_multiplier=0.5), torch.bfloat16, "bytes"),
    "olmo2": (causal("Olmo2"), torch.float32, "bytes"),
    "starcoder2": (causal("Starcoder2", sliding_window=32), torch.float32, "bytes"),
    "stablelm": (causal("StableLm", use_qkv_bias=True), torch.float32, "bytes"),
    "gpt_neox": (causal("GPTNeoX"), torch.float32, "bytes"),
    "cohere2": (causal("Cohere2", head_dim=16, sliding_window=32), torch.bfloat16, "bytes"),
    "glm4": (causal("Glm4", head_dim=16), torch.bfloat16, "bytes"),
    "falcon": (of("FalconForCausalLM", "FalconConfig", vocab_size=WORDS, hidden_size=64, num_hidden_layers=LAYERS,
                  num_attention_heads=4, bos_token_id=1, eos_token_id=2), torch.bfloat16, "bytes"),
}
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>"]
TURNS = ["<|turn|>", "<|end|>"]
TEMPLATE = "{% for m in messages %}<|turn|>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}"
TEXTS = ["A merge of two models, with a signed record.", "for (size_t i = 0; i < n; i++) { rc = read(i); }",
         "Zahlen 1, 2, 3 — ünïcode ☃", "<|turn|>user\nHello<|end|>"]


def texts_of(pattern):
    out = []
    for path in sorted(glob.glob(os.path.join(ROOT, pattern)))[:40]:
        with open(path, encoding="utf-8") as f:
            out.append(f.read())
    return out


def train(kind, texts, size):
    """A tokenizer as families of models have them."""
    if kind == "bytes":
        t = Tokenizer(models.BPE())
        t.pre_tokenizer, t.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        specials = SPECIAL
    else:
        t = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
        t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        alphabet, specials = [], SPECIAL + [f"<0x{i:02X}>" for i in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=specials, initial_alphabet=alphabet, show_progress=False,
                                  limit_alphabet=60 if kind == "pieces" else 256)
    t.train_from_iterator([x[:20000] for x in texts], trainer)
    if kind == "pieces":      # bytes are words of the model, not added ones
        j = json.loads(t.to_str())
        j["added_tokens"] = [a for a in j["added_tokens"] if a["content"] in SPECIAL]
        t = Tokenizer.from_str(json.dumps(j))
    return t


def save_tokenizer(t, folder, template=None):
    fast = tf.PreTrainedTokenizerFast(tokenizer_object=t, pad_token="<pad>", bos_token="<s>", eos_token="</s>",
                                      unk_token="<unk>", model_max_length=128)
    fast.chat_template = template
    fast.save_pretrained(folder)


def config_of(folder):
    with open(os.path.join(folder, "config.json")) as f:
        return json.load(f)


def tables(tensors):
    return [n for n in tensors if re.search(r"embed_tokens|embed_in|embed_out|word_embeddings|wte|lm_head", n)]


def fine_tune(base, folder, seed, dtype):
    """Another model of the family: small changes of some elements, as training makes them."""
    shutil.copytree(base, folder)
    g = torch.Generator().manual_seed(seed)
    path = os.path.join(folder, "model.safetensors")
    tensors = load_file(path)
    for n in sorted(tensors):
        t = tensors[n]
        step = 0.02 * torch.randn(t.shape, generator=g) * (torch.rand(t.shape, generator=g) < 0.8)
        tensors[n] = (t.float() + step).to(dtype)
    save_file(tensors, path, metadata={"format": "pt"})


def other_words(base, folder, tokenizer, seed, template=None):
    """base with the words of tokenizer: rows that it has go along, others are drawn."""
    old = tokens_of(base)
    new = tokenizer.get_vocab()
    g = torch.Generator().manual_seed(seed)
    path = os.path.join(folder, "model.safetensors")
    tensors = load_file(path)
    for n in tables(tensors):
        t = tensors[n]
        drawn = (0.05 * torch.randn(len(new), t.shape[1], generator=g)).to(t.dtype)
        tensors[n] = torch.stack([t[old[w]] if w in old else drawn[i] for w, i in sorted(new.items(), key=lambda x: x[1])])
    save_file(tensors, path, metadata={"format": "pt"})
    for f in glob.glob(os.path.join(folder, "tokenizer*")) + glob.glob(os.path.join(folder, "chat_template*")):
        os.remove(f)
    save_tokenizer(tokenizer, folder, template)
    peers.edit_config(folder, vocab_size=len(new))


def make_family(name, work):
    maker, dtype, kind = FAMILIES[name]
    here = os.path.join(work, name)
    os.makedirs(here)
    families.CASES[name] = maker
    base = os.path.join(here, "base")
    os.rename(families.write(name, here, dtype), base)
    english, code = texts_of("docs/*.md"), texts_of("src/*/*.c")
    save_tokenizer(train(kind, english, WORDS), base)
    for i, x in enumerate(("chat", "code", "maths", "role", "tongue")):
        fine_tune(base, os.path.join(here, x), 100 + i, dtype)
    role = Tokenizer.from_file(os.path.join(base, "tokenizer.json"))
    role.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in TURNS])
    other_words(base, os.path.join(here, "role"), role, 5, TEMPLATE)
    other_words(base, os.path.join(here, "tongue"), train(kind, code, WORDS - 20), 6)
    if name == "llama":
        make_adapter(here)


def make_adapter(here):
    os.symlink("base", os.path.join(here, "x-base"))
    peers.make_adapter(here, "x")
    os.rename(os.path.join(here, "x-lora"), os.path.join(here, "lora"))
    os.remove(os.path.join(here, "x-base"))
    path = os.path.join(here, "lora", "adapter_config.json")
    with open(path) as f:
        config = json.load(f)
    with open(path, "w") as f:
        json.dump({**config, "base_model_name_or_path": "base"}, f)


def wide(text, dtype):
    """The recipe in float32, rounded once to what it would have been written in; None: it is that already."""
    last = text.split("---\n")[-1]
    found = {k: v for k, v in re.findall(r"^(dtype|out_dtype): *\"?(\w+)", last, re.M)}
    if found.get("dtype") == "float32" or (not found.get("dtype") and dtype == torch.float32):
        return None
    out = found.get("out_dtype") or found.get("dtype") or str(dtype).split(".")[1]
    return re.sub(r"^(dtype|out_dtype): .*\n", "", text, flags=re.M).rstrip("\n") + f"\ndtype: float32\nout_dtype: {out}\n"


class Case:
    def __init__(self, text):
        self.text = text


# What differs for a reason: of whom, what is said, why.
REFUSALS = [
    ("ours", r"gamma .* select none", "an empty selection"),
    ("ours", r"unknown key", "keys that mergekit passes over"),
    ("ours", r"layer_range belongs to the sources", "a key that mergekit passes over: all layers are merged"),
    ("ours", r"outside 0 to 1", "a density past the end"),
    ("peer", r"required but not present", "mergekit asks for buffers and norms that such models no longer have"),
    ("peer", r"equal to the number of `layer_types`", "mergekit leaves the list of kinds of layers as it was"),
]
DIFFERENCES = [
    (r"^file \+generation_config.json$", "goes along whatever the tokenizer; mergekit copies it with the tokenizer alone"),
    (r"^tokens chat template: peer .*<\|eot_id\|>\\n", "mergekit's llama3 ends lines behind turns; Llama 3's own does not"),
    (r"^dtypes: peer \{torch.float32\}", "arcee_fusion and ramplus_tl of mergekit write float32"),
]
# Elements that selections of mergekit take otherwise, at most, as a share of a tensor (a quarter of a vector): equal magnitudes of BF16
# models by an unstable sort, and arcee_fusion's small divergences in float32.
SHARES = {"ties": 0.05, "breadcrumbs": 0.05, "arcee_fusion": 0.02}
UNITS = {torch.bfloat16: 2 ** -7, torch.float16: 2 ** -10, torch.float32: 2e-7, torch.float64: 0}


def same_values(a, b, rows, share):
    """None, or what differs most."""
    worst = None
    for name, t in a.items():
        u = b[name]
        if rows and name in tables(a):
            t = t[torch.tensor(rows + list(range(len(rows), len(t))))]
        if t.dtype != u.dtype or t.shape != u.shape:
            return f"{name}: peer {t.dtype} {list(t.shape)}, here {u.dtype} {list(u.shape)}"
        x, y = t.double(), u.double()
        far = (x - y).abs() > 6e-6 * float(x.abs().max()) + UNITS[t.dtype] * x.abs()
        most = share * t.numel() if t.dim() > 1 else share and max(0.25 * t.numel(), 1)
        if int(far.sum()) > most or not bool(torch.isfinite(y).all()):
            off = float((x - y).abs().max())
            if not worst or off > worst[0]:
                worst = (off, f"{name}: {int(far.sum())} of {t.numel()} values, {off:.3g} apart")
    return worst and worst[1]


def configs(theirs, mine):
    out = []
    a, b = config_of(theirs), config_of(mine)
    for key in sorted(a.keys() | b.keys()):
        if key not in ("transformers_version", "torch_dtype") and a.get(key) != b.get(key):
            out.append(f"{key}: peer {a.get(key)!r}, here {b.get(key)!r}")
    return out


def files(theirs, mine):
    a, b = (set(os.listdir(x)) - {"attestations", "README.md", "mergekit_config.yml"} for x in (theirs, mine))
    return sorted(f"-{f}" for f in a - b) + sorted(f"+{f}" for f in b - a)


def ids(theirs, mine):
    """What AutoTokenizer makes of the texts in both, as words; then the ids."""
    a, b = (tf.AutoTokenizer.from_pretrained(x) for x in (theirs, mine))
    out = []
    for text in TEXTS:
        x, y = a(text)["input_ids"], b(text)["input_ids"]
        if a.convert_ids_to_tokens(x) != b.convert_ids_to_tokens(y):
            return f"words of {text!r}: {a.convert_ids_to_tokens(x)[:9]}, here {b.convert_ids_to_tokens(y)[:9]}", []
        out.append((x, y))
    for key in ("bos_token", "eos_token", "pad_token", "unk_token", "model_max_length"):
        if getattr(a, key) != getattr(b, key):
            return f"{key}: peer {getattr(a, key)!r}, here {getattr(b, key)!r}", out
    said = [talk(t) for t in (a, b)]
    return None if said[0] == said[1] else f"chat template: peer {said[0]!r}, here {said[1]!r}", out


def talk(tokenizer):
    """What the chat template makes of two turns; templates of equal meaning need not be one text."""
    if not tokenizer.chat_template:
        return None
    turns = [{"role": "user", "content": "Which layers?"}, {"role": "assistant", "content": "All."}]
    return [tokenizer.apply_chat_template(turns[:n], tokenize=False, add_generation_prompt=n == 1) for n in (1, 2)]


def logits(theirs, mine, pairs, rows):
    """How far logits are apart, of the largest."""
    nets = [tf.AutoModelForCausalLM.from_pretrained(x, dtype=torch.float32, attn_implementation="eager") for x in (theirs, mine)]
    worst = 0.0
    for pair in pairs:
        with torch.no_grad():
            a, b = (net(torch.tensor([x])).logits for net, x in zip(nets, pair))
        if rows:
            order = rows + list(range(len(rows), a.shape[-1]))
            a = a[..., torch.tensor(order)]
        worst = max(worst, float((a - b).abs().max() / a.abs().max()))
    return worst


def both(build, text, work, tag):
    theirs, mine = os.path.join(work, f"peer-{tag}"), os.path.join(work, f"ours-{tag}")
    said = peers.peer(Case(text), theirs)
    told = peers.ours(build, Case(text), mine)
    return theirs, mine, said, told


def rows_between(theirs, mine):
    x, y = tokens_of(theirs), tokens_of(mine)
    rows = peers.rows_of(x, y) if x and y and x.keys() == y.keys() else []
    return [] if rows == list(range(len(rows))) else rows


def judge_values(theirs, mine, rows, share=0):
    a, b = tensors_of(theirs), tensors_of(mine)
    if any("mlp.experts.gate_up_proj" in n for n in a) and not any("mlp.experts.gate_up_proj" in n for n in b):
        b = one_tensor(b)
    if a.keys() != b.keys():
        return f"names: peer's {sorted(a.keys() - b.keys())[:3]}, here {sorted(b.keys() - a.keys())[:3]}"
    return same_values(a, b, rows, share)


def one_tensor(tensors):
    if any("block_sparse_moe" in n for n in tensors):
        return peers.one_tensor_of_experts(tensors)
    out = {n: t for n, t in tensors.items() if ".experts." not in n}
    for stem in sorted({n.split(".experts.")[0] for n in tensors if ".experts." in n}):
        part = {k: [tensors[f"{stem}.experts.{i}.{k}_proj.weight"] for i in range(4)] for k in ("gate", "up", "down")}
        out[stem + ".experts.gate_up_proj"] = torch.stack([torch.cat(x) for x in zip(part["gate"], part["up"])])
        out[stem + ".experts.down_proj"] = torch.stack(part["down"])
    return out


def explained(note):
    return any(re.search(pattern, note) for pattern, _ in DIFFERENCES)


def judge(build, family, text, work):
    """(verdict, what differs or what both say)"""
    theirs, mine, said, told = both(build, text, work, "as")
    if said and told:
        return "both refuse", [said[:200], told[:300]]
    if said or told:
        side = "ours" if told else "peer"
        known = any(s == side and re.search(pattern, said or told) for s, pattern, _ in REFUSALS)
        return "explained" if known else "ONE REFUSES", [f"peer: {said or 'done'}", f"here: {told or 'done'}"]
    dtype = FAMILIES[family][1]
    other = wide(text, dtype)
    found = [f"config {x}" for x in configs(theirs, mine)] + [f"file {x}" for x in files(theirs, mine)]
    rows = rows_between(theirs, mine)
    dtypes = [{t.dtype for t in tensors_of(x).values()} for x in (theirs, mine)]
    found += [f"dtypes: peer {dtypes[0]}, here {dtypes[1]}"] if dtypes[0] != dtypes[1] else []
    wrong, pairs = ids(theirs, mine)
    found += [f"tokens {wrong}"] if wrong else []
    apart = logits(theirs, mine, pairs, rows)
    if other:
        theirs, mine, said, told = both(build, other, work, "wide")
        if said or told:
            return "DIFFER", found + [f"in float32: peer {said or 'done'}, here {told or 'done'}"]
    method = re.findall(r"^merge_method: *\W?(\w+)", text, re.M)[-1]
    share = SHARES.get(method, 0) if method == "arcee_fusion" or dtype == torch.bfloat16 else 0
    wrong = judge_values(theirs, mine, rows, share)
    found += [f"values {wrong}"] if wrong else []
    narrow = logits(theirs, mine, pairs, rows) if other else apart
    limit = 0.2 if share else 1e-4 if not other and dtypes[0] == {torch.float32} else 0.02
    found += [f"logits {narrow:.2g} apart"] if narrow > limit else []
    verdict = "DIFFER" if [x for x in found if not explained(x)] else "explained" if found or share else "equal"
    return verdict, found + [f"logits {apart:.1e}" + (f", with float32 {narrow:.1e}" if other else "")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build")
    parser.add_argument("--only", default="")
    parser.add_argument("--models", default="")
    args = parser.parse_args()
    build = os.path.abspath(args.build)
    logging.disable(logging.CRITICAL)
    tf.logging.set_verbosity_error()
    torch.set_num_threads(1)
    peer_masks.feed()
    begun = time.time()
    counts = {}
    with tempfile.TemporaryDirectory() as work:
        root = os.path.abspath(args.models) if args.models else os.path.join(work, "models")
        for name, family, text in RECIPES:
            if args.only not in f"{family}/{name}":
                continue
            if not os.path.exists(os.path.join(root, family)):
                make_family(family, root)
            os.chdir(os.path.join(root, family))
            there = os.path.join(work, "case")
            os.makedirs(there)
            verdict, notes = judge(build, family, text, there)
            shutil.rmtree(there)
            counts[verdict] = counts.get(verdict, 0) + 1
            print(f"{verdict:12} {family}: {name}: " + "; ".join(notes), flush=True)
    print(f"{sum(counts.values())} recipes in {time.time() - begun:.0f} s: "
          + ", ".join(f"{n} {v}" for v, n in sorted(counts.items())))
    return 1 if any(v.isupper() for v in counts) else 0


if __name__ == "__main__":
    sys.exit(main())
