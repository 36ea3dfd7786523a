# SPDX-License-Identifier: Apache-2.0
"""Members of random pools: servers of made-up models on loopback, and what a reader of their answers should see.

A model is a table: the distribution behind a text is drawn from a hash of the model and of the text's end, with the
right next token of some items raised. Distributions have what real ones have at their edges: equal numbers, zeros in three
spellings, short lists, several tokens of one text, tokens that are part of a character.
"""
import asyncio
import hashlib
import json
import math
import threading

import numpy as np

END = "</s>"
FLOOR = -100.0


class Model:
    def __init__(self, rng, name, words, shape, right, know):
        self.name, self.words, self.shape = name, words, shape
        self.seed = int(rng.integers(1 << 30))
        self.right, self.know = right, know  # text -> next token; gain of the raised one by the text's first letter
        self.steps = float(rng.choice([0, 0, 0.5, 1]))  # logits are multiples of this: ties
        self.zeros = float(rng.choice([0, 0, 0.3]))  # share of tokens that are impossible
        self.spread = float(rng.choice([0.5, 2, 4]))
        self.cap = int(rng.choice([0, 0, 3, 7]))  # longest list; 0: as asked
        self.says_zero = float(rng.choice([-9999.0, -3.4028234663852886e38]))
        self.generates = bool(rng.integers(2))  # a generated token behind an echo
        self.memory = {}
        self.calls = 0
        self.faults = ()  # (name, share)
        self.delay = 0.0
        self.lot = np.random.default_rng(self.seed)

    def logprobs(self, text):
        """Of all words, then of the end."""
        known = self.memory.get(text)
        if known is None:
            digest = hashlib.sha256(f"{self.seed}:{text[-4:]}".encode()).digest()
            rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
            n = len(self.words) + 1
            x = rng.standard_normal(n) * self.spread
            gone = rng.random(n) < self.zeros
            gone[rng.integers(n)] = False
            want = self.right.get(text)
            for i, w in enumerate(self.words + [b""]):
                if want is not None and w == want:
                    x[i] += self.know.get(text[:1], 0)
            if self.steps:
                x = np.round(x / self.steps) * self.steps
            x[gone] = -np.inf
            x -= x.max()
            known = self.memory[text] = x - math.log(np.exp(x).sum())
        return known

    def top(self, text, k):
        """Numbers of the likeliest tokens."""
        k = min(k, self.cap or k)
        return np.argsort(-self.logprobs(text), kind="stable")[:k]

    def cut(self, text):
        """Longest words first, characters that are no word by themselves."""
        out, i = [], 0
        whole = sorted({w.decode() for w in self.words if is_text(w)}, key=len, reverse=True)
        while i < len(text):
            word = END if text.startswith(END, i) else next((w for w in whole if text.startswith(w, i)), text[i])
            out.append(word)
            i += len(word)
        return out

    def number(self, word):
        """The last of that text, as a map keeps it."""
        if word == END:
            return len(self.words)
        found = [i for i, w in enumerate(self.words) if w == word.encode()]
        return found[-1] if found else -1


def is_text(w):
    try:
        w.decode()
        return True
    except UnicodeDecodeError:
        return False


def printed(w):
    return w.decode(errors="replace")


def spelled(model, x):
    return float(x) if np.isfinite(x) else model.says_zero


def text_map(model, text, k, gold=None):
    x, out = model.logprobs(text), {}
    for i in model.top(text, k):
        out[END if i == len(model.words) else printed(model.words[i])] = spelled(model, x[i])
    if gold is not None and gold not in out:
        i = model.number(gold)
        out[gold] = spelled(model, x[i] if i >= 0 else -np.inf)
    return out


def completions(model, q):
    text, k = q["prompt"], q["logprobs"]
    if not q.get("echo") or model.shape == "next":
        i = int(np.argmax(model.logprobs(text)))
        said = END if i == len(model.words) else printed(model.words[i])
        lp = {"tokens": [said], "token_logprobs": [spelled(model, model.logprobs(text)[i])],
              "top_logprobs": [text_map(model, text, k)], "text_offset": [len(text)]}
    else:
        lp = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        at = 0
        for n, word in enumerate(model.cut(text)):
            i = model.number(word)
            x = model.logprobs(text[:at])
            lp["tokens"].append(word)
            lp["token_logprobs"].append(None if n == 0 else spelled(model, x[i] if i >= 0 else -np.inf))
            lp["top_logprobs"].append(None if n == 0 else text_map(model, text[:at], k, word))
            lp["text_offset"].append(at)
            at += len(word)
        if model.generates:
            lp["tokens"].append("x")
            lp["token_logprobs"].append(-1.0)
            lp["top_logprobs"].append({"x": -1.0})
            lp["text_offset"].append(at)
    return {"model": model.name, "choices": [{"text": "", "logprobs": lp}], "usage": {"total_tokens": len(text) + 1}}


def llama_entry(model, x, i):
    end = i == len(model.words)
    w = b"" if end else model.words[i]
    return {"id": int(i), "token": printed(w), "bytes": list(w), "logprob": spelled(model, x[i])}


def llama(model, q):
    text, said = q["prompt"], []
    for _ in range(q["n_predict"]):
        x = model.logprobs(text)
        i = int(np.argmax(x))
        if q.get("logit_bias"):
            what = q["logit_bias"][0][0]
            i = what if isinstance(what, int) else max(0, model.number(what))
        said.append(dict(llama_entry(model, x, i),
                         top_logprobs=[llama_entry(model, x, j) for j in model.top(text, q["n_probs"])]))
        if i == len(model.words):
            break
        text += printed(model.words[i])
    return {"completion_probabilities": said, "truncated": False, "tokens_evaluated": len(q["prompt"]),
            "tokens_predicted": len(said)}


def answer(model, path, body):
    """Status and JSON."""
    if path == "/v1/models":
        return 200, {"data": [{"id": model.name}]}
    if model.shape == "llama":
        if path == "/props":
            return 200, {"default_generation_settings": {}}
        if path == "/tokenize":
            return 200, {"tokens": [len(model.words)] if body["content"] == END else [0, 1]}
        if path == "/completion":
            return 200, llama(model, body)
    elif path == "/v1/completions":
        return 200, completions(model, body)
    return 404, {"error": {"message": "nothing here"}}


class Servers:
    """All members of a round, by one thread."""

    def __init__(self, models):
        self.loop = asyncio.new_event_loop()
        self.models = models
        self.ports = []
        self.servers = []
        ready = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self.thread.start()
        ready.wait()

    def _run(self, ready):
        asyncio.set_event_loop(self.loop)
        for m in self.models:
            server = self.loop.run_until_complete(asyncio.start_server(lambda r, w, m=m: self._serve(m, r, w), "127.0.0.1", 0))
            self.servers.append(server)
            self.ports.append(server.sockets[0].getsockname()[1])
        ready.set()
        self.loop.run_forever()

    async def _serve(self, model, reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                method, path = head.split(b" ", 2)[:2]
                length = [int(h.split(b":")[1]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length:")]
                body = await reader.readexactly(length[0]) if length else b""
                if not await self._answer(model, method, path.decode(), body, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, model, method, path, body, writer):
        question = json.loads(body) if body else None
        counts = method == b"POST" and path != "/tokenize"
        fault = None
        if counts:
            model.calls += 1
            lot = model.lot.random()
            for name, share in model.faults:
                if fault is None and lot < share:
                    fault = name
                lot -= share
        if model.delay:
            await asyncio.sleep(model.delay * model.lot.random())
        status, said = answer(model, path, question)
        text = json.dumps(said).encode()
        more = b""
        if fault == "429":
            status, more, text = 429, b"Retry-After: 0\r\n", b"{}"
        elif fault == "503":
            status, more, text = 503, b"Retry-After: 0\r\n", b"busy"
        elif fault == "nan":
            text = b'{"choices": [{"logprobs": NaN}]}'
        elif fault == "drop":
            return False
        elif fault == "null" and model.shape == "echo":
            said["choices"][0]["logprobs"]["token_logprobs"] = [None] * len(said["choices"][0]["logprobs"]["tokens"])
            text = json.dumps(said).encode()
        writer.write(b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n" %
                     (status, more, len(text)) + (text[:len(text) // 2] if fault == "half" else text))
        await writer.drain()
        return fault != "half"

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        for s in self.servers:
            s.close()
