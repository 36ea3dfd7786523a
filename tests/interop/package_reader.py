# SPDX-License-Identifier: Apache-2.0
"""Packages read by an independent reader, from docs/formats/package.md and chunk.md and nothing else."""
import base64
import hashlib
import hmac
import json
import struct

import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

CHUNK = 2 << 20
PIECE = 256 << 10
CIPHERS = {"aes-256-gcm": AESGCM, "chacha20-poly1305": ChaCha20Poly1305}
# width, place of the exponent field, its mask
TYPES = {"BF16": (2, 7, 0xff), "F16": (2, 10, 0x1f), "F32": (4, 23, 0xff)}
WIDTHS = {"I16": 2, "U16": 2, "I32": 4, "U32": 4, "F64": 8, "I64": 8, "U64": 8, "C64": 8}


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Message:
    """Lanes that share their words: number i is of lane i % lanes."""

    def __init__(self, data, n):
        self.lanes = 32 if n >= 4096 else 4
        self.state = list(struct.unpack_from(f"<{self.lanes}I", data))
        rest = data[4 * self.lanes:]
        self.words = struct.unpack(f"<{len(rest) // 2}H", rest)
        self.at = 0

    def refill(self, lane, state):
        if state < 1 << 16:
            state = state << 16 | self.words[self.at]
            self.at += 1
        self.state[lane] = state

    def symbol(self, lane, table):
        state = self.state[lane]
        symbol, start, freq = table[state & 4095]
        self.refill(lane, freq * (state >> 12) + (state & 4095) - start)
        return symbol

    def raw(self, lane, n):
        state = self.state[lane]
        self.refill(lane, state >> n)
        return state & ((1 << n) - 1)

    def numbers(self, tables, lead):
        """One number for each table; lead: what a symbol begins with, and raw bits."""
        out = []
        for first in range(0, len(tables), self.lanes):
            group = tables[first:first + self.lanes]
            leads = [lead(self.symbol(lane, t)) for lane, t in enumerate(group)]
            values = [v for v, _ in leads]
            for take in (lambda n: max(n - 15, 0), lambda n: min(n, 15)):
                for lane, (_, n_raw) in enumerate(leads):
                    n = take(n_raw)
                    values[lane] = values[lane] << n | self.raw(lane, n)
            out += values
        assert set(self.state) == {1 << 16} and self.at == len(self.words), "it does not end"
        return out


def folded(symbol):
    return (symbol, 0) if symbol < 16 else (4 | symbol & 3, symbol // 4 - 2)


def unfold(u):
    return -(u >> 1) - 1 if u & 1 else u >> 1


def read_table(data, at):
    """Slots of a table, and where it ends; None for no table."""
    n, at = data[at], at + 1
    slots = []
    for symbol in range(n):
        freq, at = data[at], at + 1
        if freq > 127:
            freq, at = (freq & 127) | data[at] << 7, at + 1
        slots += [(symbol, len(slots), freq)] * freq
    assert n == 0 or len(slots) == 4096
    return (slots or None), at


class Bits:
    """A range coder's message: bits by probabilities that follow them."""

    def __init__(self, data):
        self.data, self.at, self.range = data, 4, (1 << 32) - 1
        self.code = int.from_bytes(data[:4], "big")
        self.models = {}

    def refill(self):
        while self.range < 1 << 24:
            self.range, self.code = self.range << 8, self.code << 8 | self.data[self.at]
            self.at += 1

    def bit(self, *name):
        chance, seen = self.models.get(name, (32768, 0))
        bound = (self.range >> 16) * chance
        value = self.code < bound
        if value:
            self.range, chance = bound, chance + 2 * (65536 - chance) // (2 * seen + 3)
        else:
            self.range, self.code = self.range - bound, self.code - bound
            chance -= 2 * chance // (2 * seen + 3)
        self.models[name] = min(max(chance, 32), 65504), min(seen + 1, 254)
        self.refill()
        return int(value)

    def raw(self, n):
        self.range >>= n
        value = self.code // self.range
        assert value >> n == 0
        self.code -= value * self.range
        self.refill()
        return value

    def number(self, name, moved):
        at = lambda size: min(max(size + moved, 0), 33)
        size = 0
        while self.bit(name, "more", at(size)):
            size += 1
        if size == 0:
            return 0
        negative, value, node = self.bit(name, "sign"), 1, 0
        for i in range(min(size - 1, 2)):
            bit = self.bit(name, "below", at(size), node)
            value, node = value << 1 | bit, 1 + bit
        left = max(size - 3, 0)
        while left:
            n = min(left, 8)
            value, left = value << n | self.raw(n), left - n
        return -value if negative else value

    def numbers(self, mode, contexts):
        """Signed; contexts: of each number, or its size."""
        out, energy = [], 0
        for c in contexts:
            if mode & 16:
                value = self.number(c & 1, 17 - (c >> 1))
            else:
                level = sum(energy >= edge for edge in (3, 10, 24)) if mode & 2 else 0
                value = self.number((c, level), 0)
            energy = (3 * energy + 16 * min(abs(value), 15)) // 4
            out.append(value)
        self.end()
        return out

    def text(self, n, again):
        out, kept, at, length = bytearray(), {}, None, 0
        for i in range(n):
            if again and i >= 4:
                four = int.from_bytes(out[-4:], "little") * 2654435761 % (1 << 32) >> 16
                last = kept.get(four)
                if at is None and last and out[last - 4:last] == out[-4:]:
                    at, length = last, 0
                kept[four] = i
            if at is not None and self.bit("again", min(length, 15)):
                out.append(out[at])
                at, length = at + 1, length + 1
                continue
            at, node = None, 1
            while node < 256:
                node = 2 * node + self.bit(out[-1] if out else 0, node)
            out.append(node - 256)
        self.end()
        return bytes(out)

    def end(self):
        assert self.code == 0 and self.at == len(self.data), "it does not end"


def coded_text(data):
    """The text of a manifest, or of a member's table."""
    if data[:1] != b"\0":
        return data
    assert data[5] == 16 and data[6] in (1, 33) and data[7] == 3
    return Bits(data[8:]).text(struct.unpack_from("<I", data, 1)[0], data[6] == 33)


def ordered(bits, width):
    sign = 1 << (8 * width - 1)
    return ~bits & (2 * sign - 1) if bits & sign else bits | sign


def unordered(value, width):
    sign = 1 << (8 * width - 1)
    return value & ~sign if value & sign else ~value & (2 * sign - 1)


def decode_order(data, kind, prediction, mode=0, hints=None):
    """mode: of form adaptive."""
    width, shift, mask = kind
    dtype = {2: "<u2", 4: "<u4"}[width]
    base = np.frombuffer(prediction, dtype)
    exponents = (base >> shift) & mask
    largest = int(exponents.max()) if len(base) else 0
    assert data[0] == largest
    contexts = np.minimum(largest - exponents.astype(int), 15)
    if mode & 8:
        edge = struct.unpack_from("<H", data, 1)[0]
        contexts = np.clip((hints >> 1).astype(int) + 14 - edge, 0, 15)
        turned = Bits(data[3:]).numbers(mode, contexts.tolist())
        values = [-v if flip else v for v, flip in zip(turned, (hints & 1).tolist())]
    elif mode:
        values = Bits(data[1:]).numbers(mode, (contexts * (0 if mode & 4 else 1)).tolist())
    else:
        tables, at = [], 1
        for _ in range(16):
            table, at = read_table(data, at)
            tables.append(table)
        message = Message(data[at:], len(base))
        values = [unfold(u) for u in message.numbers([tables[c] for c in contexts.tolist()],
                                                     folded)]
    out = [unordered((ordered(p, width) + d) % (1 << 8 * width), width)
           for p, d in zip(base.tolist(), values)]
    return np.array(out, dtype).tobytes()


def decode_split(data, width, n_bytes):
    n = n_bytes // width
    table, at = read_table(data, 0)
    low = np.frombuffer(data[at:at + n * (width - 1)], np.uint8).reshape(n, width - 1)
    message = Message(data[at + n * (width - 1):], n)
    rotated = np.zeros((n, 8), np.uint8)
    rotated[:, :width - 1] = low
    rotated[:, width - 1] = message.numbers([table] * n,
                                            lambda s: (s, 0) if s < 254 else (127, 1))
    bits = rotated.view("<u8").reshape(-1)
    bits = bits >> np.uint64(1) | (bits & np.uint64(1)) << np.uint64(8 * width - 1)
    return bits.view(np.uint8).reshape(n, 8)[:, :width].tobytes()


def decode_own(data, kind, n_bytes, near=None, mode=0):
    """near: the prediction of form klt."""
    width, shift, _ = kind
    n = n_bytes // width
    if mode:
        assert mode == 17
        axis, rank = struct.unpack_from("<BH", data)
        row, first, at = n // rank, 0, 3
    else:
        axis, rank, row, first = struct.unpack_from("<BIQQ", data)
        at = 21
    scales = np.frombuffer(data, "<f4", rank, at)
    classes = data[at + 4 * rank:at + 5 * rank]
    at, tables = at + 5 * rank, []
    place = first + np.arange(n)
    index = place % rank if axis else place // row
    of_each = [classes[k] for k in index.tolist()]
    if mode:
        integers = np.array(Bits(data[at:]).numbers(mode, of_each), np.float32)
    else:
        for _ in range(16):
            table, at = read_table(data, at)
            tables.append(table)
        values = Message(data[at:], n).numbers([tables[c] for c in of_each], folded)
        integers = np.array([unfold(u) for u in values], np.float32)
    product = integers * scales[index]          # one rounding, in fp32
    if near is not None:
        stored = np.frombuffer(near, {2: "<u2", 4: "<u4"}[width])
        product = widen(near, shift).astype(np.float32) + product
        moved = narrow(product.astype(float), shift)
        return np.where(integers == 0, stored, moved).astype(stored.dtype).tobytes()
    if shift == 23:
        return product.astype("<f4").tobytes()
    if shift == 10:
        return product.astype("<f2").tobytes()
    bits = product.view(np.uint32).astype(np.uint64)
    return ((bits + 0x7fff + (bits >> np.uint64(16) & np.uint64(1))) >> np.uint64(16)).astype(
        "<u2").tobytes()


def widen(data, shift):
    """Stored numbers as doubles, exactly."""
    if shift == 7:
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32).astype(float)
    return np.frombuffer(data, "<f2" if shift == 10 else "<f4").astype(float)


def narrow(values, shift):
    """Doubles rounded once, to nearest even."""
    if shift != 7:
        return values.astype("<f2" if shift == 10 else "<f4").view("<u2" if shift == 10 else "<u4")
    near = values.astype(np.float32)
    cut = np.where(np.abs(near.astype(float)) > np.abs(values), np.nextafter(near, np.float32(0)), near)
    bits = cut.astype(np.float32).view(np.uint32).astype(np.uint64)
    bits |= (cut.astype(float) != values).astype(np.uint64)     # below the bits that count
    return ((bits + 0x7fff + (bits >> np.uint64(16) & np.uint64(1))) >> np.uint64(16)).astype("<u2")


def decode_dense(data, kind, prediction, mode=0):
    width, shift, mask = kind
    stored = np.frombuffer(prediction, {2: "<u2", 4: "<u4"}[width])
    exponents = ((stored >> shift) & mask).astype(int)
    largest, one, k = data[0], data[1], data[2]
    assert largest == exponents.max() and one < 2
    levels = np.frombuffer(data, "<f4", k, 3).astype(float)
    step = float(np.frombuffer(data, "<f4", 1, 3 + 4 * k)[0])
    tables, at = [], 7 + 4 * k
    contexts = (exponents * 0 if one else np.minimum(largest - exponents, 15)).tolist()
    if mode:
        integers = np.array(Bits(data[at:]).numbers(mode, contexts), int)
    else:
        for _ in range(16):
            table, at = read_table(data, at)
            tables.append(table)
        values = Message(data[at:], len(stored)).numbers([tables[c] for c in contexts], folded)
        integers = np.array([unfold(u) for u in values], int)
    size = np.abs(integers)
    change = levels[np.clip(size, 1, k) - 1] + np.maximum(size - k, 0) * step
    moved = narrow(widen(prediction, shift) + np.sign(integers) * change, shift)
    return np.where(integers == 0, stored, moved).astype(stored.dtype).tobytes()


def decode_few(data, width, n_bytes):
    n, k = n_bytes // width, data[0]
    values = [data[1 + i * width:1 + (i + 1) * width] for i in range(k)]
    bits = 0 if k == 1 else 1 if k == 2 else 2 if k <= 4 else 4
    packed = data[1 + k * width:]
    assert len(packed) == (n * bits + 7) // 8
    places = np.unpackbits(np.frombuffer(packed, np.uint8), bitorder="little")
    places = places[:n * bits].reshape(n, bits) @ (1 << np.arange(bits))
    table = np.frombuffer(b"".join(values), np.uint8).reshape(k, width)
    assert sorted(set(places.tolist())) == list(range(k))
    return table[places].tobytes()


def recode(data, source, target):
    """Numbers of one of the dtypes as another's."""
    if source == target:
        return data
    shift, to = TYPES[source][1], TYPES[target][1]
    bits = np.frombuffer(data, "<u4" if shift == 23 else "<u2").astype(np.uint64)
    top = np.uint64(8 * TYPES[source][0] - 1)
    sign = bits >> top
    body = bits & ((np.uint64(1) << top) - np.uint64(1))
    mask = np.uint64(TYPES[source][2]) << np.uint64(shift)
    with np.errstate(all="ignore"):
        out = narrow(np.nan_to_num(widen(data, shift), nan=0, posinf=np.inf, neginf=-np.inf), to)
    ends = np.uint64(TYPES[target][2]) << np.uint64(to)
    payload = body & ((np.uint64(1) << np.uint64(shift)) - np.uint64(1))
    quiet = payload << np.uint64(to - shift) if to == 23 else np.uint64(1) << np.uint64(to - 1)
    nan = sign << np.uint64(8 * TYPES[target][0] - 1) | ends | quiet
    return np.where(body > mask, nan, out).astype("<u4" if to == 23 else "<u2").tobytes()


def decode_chunk(data, dtype, n_bytes, prediction, hints=None):
    if data[0] == 17:
        half = {"F32": ("BF16", "F16"), "F16": ("BF16",)}[dtype][data[1]]
        assert data[2] != 17
        prediction = prediction if prediction is None else recode(prediction, dtype, half)
        n_half = n_bytes // TYPES[dtype][0] * 2
        return recode(decode_chunk(data[2:], half, n_half, prediction, hints), half, dtype)
    kind = TYPES.get(dtype)
    width = kind[0] if kind else WIDTHS.get(dtype, 1)
    form, data, mode = data[0], data[1:], 0
    if form == 16:
        mode, form, data = data[0], data[1], data[2:]
        assert mode & 1 and n_bytes // width <= 65536
    if mode and form == 3:
        assert width == 1 and mode in (1, 33)
        out = Bits(data).text(n_bytes, mode == 33)
    elif form == 0:
        out = data
    elif form == 1:
        assert not data
        out = prediction
    elif form == 2:
        out = decode_order(data, kind, prediction, mode, hints)
    elif form == 3:
        out = decode_split(data, width, n_bytes)
    elif form == 4:
        out = decode_own(data, kind, n_bytes, None, mode)
    elif form == 5:
        out = decode_few(data, width, n_bytes)
    elif form == 7:
        out = decode_own(data, kind, n_bytes, prediction, mode)
    else:
        assert form == 6
        out = decode_dense(data, kind, prediction, mode)
    assert len(out) == n_bytes
    return out


def rounded_bf16(x):
    """To nearest even, as bits; what is no number becomes 0."""
    bits = x.view(np.uint32).astype(np.uint64)
    bits = (bits + 0x7fff + (bits >> np.uint64(16) & np.uint64(1))) >> np.uint64(16)
    return np.where(np.isnan(x), 0, bits).astype(np.uint16)


def widened_bf16(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def predict(part, base, content, at):
    """The base's tensor with the product of its factors, and where those end."""
    entry, bits = part["rank"], np.frombuffer(base, "<u2")
    rank, rows = entry["rank"], entry["rows"]
    columns, chunks, sides = len(bits) // rows, iter(entry["chunks"]), []
    for n in (rows * rank, rank * columns):
        out = b""
        while len(out) < 4 * n:
            length, digest = next(chunks)
            coded = content[at:at + length]
            assert sha256(coded) == digest
            out += decode_chunk(coded, "F32", min(CHUNK, 4 * n - len(out)), None)
            at += length
        sides.append(np.frombuffer(out, "<f4"))
    assert next(chunks, None) is None and part["dtype"] == "BF16"
    b, a = sides[0].reshape(rows, rank), sides[1].reshape(rank, columns)
    delta = np.zeros((rows, columns), np.float32)
    for k in range(rank):
        delta += b[:, k:k + 1] * a[k]
    stored, product = widened_bf16(bits).reshape(rows, columns), entry["rounding"] == "product"
    assert product or entry["rounding"] == "sum"
    rounded = widened_bf16(rounded_bf16(delta)) if product else delta
    p = rounded_bf16(stored + rounded)
    return p.tobytes(), hints_of(stored, delta, p, product), at


def hints_of(base, delta, p, product):
    """How near each product is to where p would be another number, and to which."""
    order = np.where(p & 0x8000, ~p, p | 0x8000).astype(np.uint16)
    edges = []
    for step in (1, -1):
        other = (order + np.uint16(step % 65536)).astype(np.uint16)
        bits = np.where(other & 0x8000, other & 0x7fff, ~other).astype(np.uint16)
        edge = (widened_bf16(p) + widened_bf16(bits)) * np.float32(0.5) - base
        if product:
            at = edge.view(np.uint32).astype(np.int64)
            above = (step == 1) == (p % 2 == 0)
            beside = np.where(above == (at >> 31 == 0), at | 0x8000,
                              np.where(at & 0x7fffffff, at - 0x8000, at ^ 0x80008000))
            at = np.where(at & 0xffff, (at & 0xffff0000) | 0x8000, beside)
            edge = at.astype(np.uint32).view(np.float32)
        edges.append(np.abs(edge - delta))
    down = edges[1] < edges[0]
    near = np.where(down, edges[1], edges[0])
    hints = (near.view(np.uint32) >> 22 << 1) | down
    return np.where(near >= 0, hints, 1022).astype(np.uint16).reshape(-1)


def share(part, basis, content, at):
    """A factor as its basis and numbers of its own make it, and where those end."""
    entry, (width, shift, _) = part["shared"], TYPES[part["dtype"]]
    places, p, n = entry["places"], entry["directions"], part["bytes"] // width
    rows, of_b, own = entry["codec"] == "rows", entry["side"] == "b", b""
    each = n // places
    wanted = 2 * p * (places if rows else each)
    for length, digest in entry["chunks"]:
        coded = content[at:at + length]
        assert sha256(coded) == digest
        own += decode_chunk(coded, "BF16", min(CHUNK, wanted - len(own)), None)
        at += length
    assert len(own) == wanted and len(basis) == 2 * ((1 + p) * n if rows else places * p)
    own, basis = widen(own, 7), widen(basis, 7)
    if rows:
        planes, place = basis.reshape(1 + p, n), np.arange(n)
        numbers = own.reshape(places, p)[place // each if of_b else place % places]
        out = planes[0].copy()
        for j in range(p):
            out += numbers[:, j] * planes[1 + j]
    else:
        assert entry["codec"] == "core"
        left = (basis if of_b else own).astype(np.float32).reshape(-1, p)
        right = (own if of_b else basis).astype(np.float32).reshape(p, -1)
        out = np.zeros((len(left), right.shape[1]), np.float32)
        for j in range(p):
            out += left[:, j:j + 1] * right[j]
        out = (out + np.float32(0)).astype(float).reshape(-1)
    return narrow(np.where(np.isnan(out), 0, out), shift).tobytes(), at


def expand(prk, label, extra):
    return HKDFExpand(algorithm=hashes.SHA256(), length=32, info=label + b"\0" + extra).derive(prk)


class Package:
    def __init__(self, path):
        self.data = open(path, "rb").read()
        fields = struct.unpack_from("<16sIIQQQQ32s32s8s", self.data)
        magic, version, flags, at, n, bundle, keys, digest, tail, check = fields
        assert magic == b"weightward-pack\n" and version in (2, 3) and flags == 0
        assert hashlib.sha256(self.data[:120]).digest()[:8] == check
        text = self.data[at:at + n]
        assert hashlib.sha256(text).digest() == digest
        assert hashlib.sha256(self.data[at + n:]).digest() == tail
        assert at + n + bundle + keys == len(self.data)
        self.text = text
        self.manifest = json.loads(coded_text(text) if version > 2 else text)
        self.bundle = self.data[at + n:at + n + bundle]
        self.keys = self.data[at + n + bundle:]
        end, step = 128, 4096 if version == 2 else 16
        for member in self.manifest["members"]:
            assert member["offset"] == -(-end // step) * step
            assert not any(self.data[end:member["offset"]])
            end = member["offset"] + member["bytes"]
            assert sha256(self.data[member["offset"]:end]) == member["sha256"]
        assert not any(self.data[end:at])

    def check_signature(self, pem):
        """DSSE: the statement's subject is the manifest."""
        envelope = json.loads(self.bundle)["dsseEnvelope"]
        payload = base64.b64decode(envelope["payload"])
        kind = envelope["payloadType"].encode()
        signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
        key = serialization.load_pem_public_key(pem)
        key.verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed,
                   ec.ECDSA(hashes.SHA256()))
        statement = json.loads(payload)
        assert statement["predicateType"] == "urn:weightward:predicate:package:1"
        assert statement["subject"][0]["digest"]["sha256"] == sha256(self.text)
        assert statement["predicate"] == {"version": self.manifest["version"]}

    def records(self):
        at, out = 0, {}
        for member in self.manifest["members"]:
            if "key_id" in member:
                n = struct.unpack_from("<I", self.keys, at)[0]
                out[member["name"]] = self.keys[at + 4:at + 4 + n]
                at += 4 + n
        assert at == len(self.keys)
        return out

    def content(self, name, content_key=None):
        """A section's content: decrypted when it is sealed."""
        member = next(m for m in self.manifest["members"] if m["name"] == name)
        section = self.data[member["offset"]:member["offset"] + member["bytes"]]
        if "key_id" not in member:
            return member, section
        root = hmac.new(b"weightward/package/v1\0", content_key, hashlib.sha256).digest()
        key = expand(root, b"weightward/package/section/v1", bytes.fromhex(member["key_id"]))
        cipher = CIPHERS[member["cipher"]](key)
        pieces = [section[i:i + PIECE + 16] for i in range(0, len(section), PIECE + 16)]
        out = b""
        for i, piece in enumerate(pieces):
            nonce = struct.pack("<Q", i) + bytes(3) + bytes([i + 1 == len(pieces)])
            out += cipher.decrypt(nonce, piece, None)
        return member, out

    def parts_of(self, name, base):
        """Parts of a parent by what a version finds them by; none of its parts is sealed."""
        found = {}
        for _ in self.member(name, base, parts=found):
            pass
        return found

    def member(self, name, base, content_key=None, keep=lambda path: True, parts=None):
        """(path, bytes) of files that `keep` wants. base(tensor or None, path): bytes. parts: a
        dictionary that gets the bytes of every part."""
        entry, content = self.content(name, content_key)
        n = struct.unpack("<Q", content[-8:])[0]
        table = json.loads(coded_text(content[-8 - n:-8]))
        salt = bytes.fromhex(table["salt"])
        listed = b"".join(struct.pack("<I", len(f["path"].encode())) + f["path"].encode() +
                          struct.pack("<Q", f["size"]) + bytes.fromhex(f["sha256"])
                          for f in table["files"])
        assert sha256(b"weightward/package/commitment/v1\0" + salt + listed) == \
            entry["commitment"]
        if "key_id" not in entry:
            assert sha256(b"weightward/package/salt/v1\0" + listed) == table["salt"]
        parents = self.parts_of(entry["parent"], base) if "parent" in entry else {}
        basis = parents and next(m for m in self.manifest["members"]
                                 if m["name"] == entry["parent"])["kind"] == "basis"
        assert entry.get("leak") == ("shared" if basis else "parent" if parents else None)
        at = 0
        for file in table["files"]:
            out, wanted = b"", keep(file["path"])
            if file.get("same"):
                out = base(None, file["path"])
            for part in file.get("parts", []):
                key = (part["tensor"], None) if "tensor" in part else (None, file["path"])
                whole = base(part["tensor"], None) if part.get("base") else None
                if "base_dtype" in part:
                    assert table["schema"].endswith("/3") and part["base_dtype"] != part["dtype"]
                    whole = recode(whole, part["base_dtype"], part["dtype"])
                if part.get("parent"):
                    kind, whole = parents[key]
                    if "shared" in part:
                        assert basis and kind == "BF16"
                        whole, at = share(part, whole, content, at)
                    assert ("shared" in part) == bool(basis)
                    assert "shared" in part or kind == part["dtype"]
                    assert len(whole) == part["bytes"]
                begin, hints = len(out), None
                if "rank" in part:
                    whole, hints, at = predict(part, whole, content, at)
                for c, (length, digest) in enumerate(part["chunks"]):
                    coded = content[at:at + length]
                    assert sha256(coded) == digest
                    at += length
                    size = min(CHUNK, part["bytes"] - c * CHUNK)
                    if wanted:
                        out += decode_chunk(coded, part["dtype"], size,
                                            whole and whole[c * CHUNK:c * CHUNK + size],
                                            hints)
                if parts is not None:
                    parts.setdefault(key, (part["dtype"], out[begin:]))
            if wanted:
                assert len(out) == file["size"] and sha256(out) == file["sha256"], file["path"]
                yield file["path"], out
        assert at == len(content) - 8 - n


__all__ = ["Package", "InvalidSignature", "coded_text"]
