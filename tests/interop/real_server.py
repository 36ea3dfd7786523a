# SPDX-License-Identifier: Apache-2.0
"""llama.cpp's own server, from the xllamacpp wheel, with models of a family of this repository.

Folders become GGUF files (F32, float32 cache, one thread, no flash attention: as near to the
models' own numbers as this server comes) and each is served by a process of its own on
loopback. As a program: real_server.py MODEL.gguf NAME PORT_FILE [LORA.gguf ...].
"""

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
TOPS = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
PARTS = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
         "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
         "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
END = "<eos>"
# A chat of one message is its text, and an answer that was begun goes on.
CHAT = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
START_SECONDS = 60


def _half_turns(v, heads):
    """Rows in the order of neighbours, as llama.cpp turns them."""
    return v.reshape(heads, 2, v.shape[0] // heads // 2, *v.shape[1:]).swapaxes(1, 2).reshape(v.shape)


def _letters():
    """Characters that stand for bytes in byte-level vocabularies."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    out = {b: chr(b) for b in plain}
    more = 0
    for b in range(256):
        if b not in out:
            out[b] = chr(256 + more)
            more += 1
    return out


def _vocabulary(writer, folder):
    import gguf
    letters = _letters()
    with open(os.path.join(folder, "tokenizer.json"), encoding="utf-8") as f:
        spec = json.load(f)
    special = {t["content"] for t in spec["added_tokens"]}
    ids = dict(spec["model"]["vocab"], **{t["content"]: t["id"] for t in spec["added_tokens"]})
    tokens = [text for text, _ in sorted(ids.items(), key=lambda x: x[1])]
    assert [ids[t] for t in tokens] == list(range(len(tokens)))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([t if t in special else "".join(letters[b] for b in t.encode()) for t in tokens])
    writer.add_token_types([gguf.TokenType.CONTROL if t in special else gguf.TokenType.NORMAL for t in tokens])
    # There are no merges, and the loader wants some: of characters that no token has.
    writer.add_token_merges(["\u0100 \u0100"])
    writer.add_bos_token_id(ids["<bos>"])
    writer.add_eos_token_id(ids[END])
    writer.add_pad_token_id(ids["<pad>"])
    writer.add_add_bos_token(True)
    writer.add_chat_template(CHAT)
    return len(tokens)


def tensors(folder):
    """{name: float32 array} of a folder with one bf16 or float32 file."""
    import numpy as np
    with open(os.path.join(folder, "model.safetensors"), "rb") as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        data = f.read()
    out = {}
    for name, t in header.items():
        if name != "__metadata__":
            raw = data[t["data_offsets"][0]:t["data_offsets"][1]]
            wide = np.frombuffer(raw, np.uint16).astype(np.uint32) << 16 if t["dtype"] == "BF16" else np.frombuffer(raw, np.uint32)
            out[name] = wide.view(np.float32).reshape(t["shape"])
    return out


def write_gguf(folder, path, kind=None):
    """kind: a type of the gguf package that matrices are quantised to."""
    import gguf
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config.get("rope_parameters", config).get("rope_theta", 10000.0))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(_vocabulary(writer, folder))
    for name, v in tensors(folder).items():
        stem, end = name.rsplit(".", 1)
        if stem in TOPS:
            stem = TOPS[stem]
        else:
            layer, part = stem.removeprefix("model.layers.").split(".", 1)
            v = _half_turns(v, heads) if part.endswith("q_proj") else v
            v = _half_turns(v, kv_heads) if part.endswith("k_proj") else v
            stem = f"blk.{layer}.{PARTS[part]}"
        if kind is None or v.ndim < 2:
            writer.add_tensor(f"{stem}.{end}", v)
        else:
            writer.add_tensor(f"{stem}.{end}", gguf.quants.quantize(v, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_lora(path, factors, alpha):
    """An adapter of {tensor in GGUF's names: (A [rank, in], B [out, rank])}."""
    import gguf
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    for name, (a, b) in factors.items():
        writer.add_tensor(name + ".lora_a", a)
        writer.add_tensor(name + ".lora_b", b)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def serve(model, name, port_file, loras):
    import xllamacpp
    p = xllamacpp.CommonParams()
    p.model.path = model
    p.model_alias = {name}
    p.hostnames = ["127.0.0.1"]
    p.port = 0
    p.n_ctx = 256
    p.n_parallel = 4
    p.n_batch = 64
    p.warmup = False
    p.cpuparams.n_threads = 1
    p.cpuparams_batch.n_threads = 1
    p.cache_type_k = xllamacpp.ggml_type.GGML_TYPE_F32
    p.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    p.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    p.ui = False
    p.verbosity = -1
    p.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path, 0.0) for path in loras]
    server = xllamacpp.Server(p)
    with open(port_file + ".partial", "w", encoding="ascii") as f:
        f.write(server.listening_address.rsplit(":", 1)[1].strip("/"))
    os.rename(port_file + ".partial", port_file)
    while True:
        time.sleep(3600)


def start(model, name, work, loras=()):
    """(process, port) of a server; returns before it is ready."""
    port_file = os.path.join(work, name + ".port")
    with contextlib.suppress(FileNotFoundError):
        os.remove(port_file)
    with open(os.path.join(work, name + ".log"), "w", encoding="utf-8") as log:
        process = subprocess.Popen([sys.executable, os.path.join(HERE, "real_server.py"), model, name, port_file,
                                    *loras], stdout=log, stderr=log)
    return process, port_file


def port_of(process, port_file):
    until = time.monotonic() + START_SECONDS
    while not os.path.exists(port_file):
        if process.poll() is not None or time.monotonic() > until:
            with open(port_file.replace(".port", ".log"), encoding="utf-8") as log:
                raise RuntimeError("the server did not start: " + log.read()[-2000:])
        time.sleep(0.05)
    with open(port_file, encoding="ascii") as f:
        return int(f.read())


@contextlib.contextmanager
def servers(folders, work, loras=None):
    """{name: port} of servers of model folders {name: folder}, with {name: [adapter]}."""
    running = {}
    try:
        for name, folder in folders.items():
            model = write_gguf(folder, os.path.join(work, name + ".gguf"))
            running[name] = start(model, name, work, (loras or {}).get(name, ()))
        yield {name: port_of(*one) for name, one in running.items()}
    finally:
        for process, _ in running.values():
            process.kill()
            process.wait()


def write_pool(path, ports, more=""):
    with open(path, "w", encoding="ascii") as f:
        f.write("members:\n")
        for name, port in ports.items():
            f.write(f'  - {{name: {name}, url: "http://127.0.0.1:{port}", model: {name}, end: "{END}"{more}}}\n')


def write_tasks(path, family, tasks, split, first, rows):
    with open(path, "w", encoding="utf-8") as f:
        for task in tasks:
            with open(os.path.join(family, "tasks", f"{task}.{split}.jsonl"), encoding="utf-8") as lines:
                f.writelines(lines.readlines()[first:first + rows])


def rows(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def run(ww, *args):
    """JSON answer of a command; its exit status must be 0."""
    done = subprocess.run([ww, *args, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(args)}: {done.returncode} {done.stdout} {done.stderr}")
    return json.loads(done.stdout)


@contextlib.contextmanager
def served(ww, recipe, key, *options):
    """Port of a recipe that is served."""
    server = subprocess.Popen([ww, "evo", "serve", recipe, "--key", key, "--listen", "127.0.0.1:0", *options],
                              stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        line = server.stderr.readline()
        if "listening at" not in line:
            raise RuntimeError(line)
        yield int(line.rsplit(":", 1)[1].split("/")[0])
    finally:
        server.terminate()
        server.wait()


def post(port, path, body):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
