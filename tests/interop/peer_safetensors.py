#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our verdict on safetensors files against the reference library's.

usage: peer_safetensors.py BUILD

Writes good and bad files, asks both, and fails when they differ in any case that is not
marked as a documented difference (docs/formats/safetensors.md), or when a marked case
does not differ: then the document is wrong.
"""

import json
import os
import struct
import subprocess
import sys
import tempfile

import safetensors
from safetensors import safe_open
from safetensors.numpy import save_file
import numpy

DTYPES = {"BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8,
          "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16,
          "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "C64": 64,
          "F64": 64, "I64": 64, "U64": 64}


def t(name, dtype, shape, begin, end):
    return '"%s":{"dtype":"%s","shape":%s,"data_offsets":[%s,%s]}' % (
        name, dtype, shape, begin, end)


def obj(*members):
    return "{" + ",".join(members) + "}"


def image(header, data_bytes=0, length=None):
    raw = header if isinstance(header, bytes) else header.encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + bytes(data_bytes)


ONE = t("a", "F32", "[2]", 0, 8)

# name -> (file, who alone accepts it: None, "peer")
CASES = {
    "empty_object": (image("{}"), None),
    "padded": (image("{}      "), None),
    "padded_other_white_space": (image("{}\t\r\n "), None),
    "white_space_before": (image("  \n{}"), None),
    "one": (image(obj(ONE), 8), None),
    "white_space_inside": (image('{ "a" : { "dtype" :\t"F32" , "shape" : [ 2 ] ,\n'
                                 '"data_offsets" : [ 0 , 8 ] } }', 8), None),
    "scalar": (image(obj(t("a", "F32", "[]", 0, 4)), 4), None),
    "zero_dimension": (image(obj(t("a", "F32", "[0,3]", 0, 0))), None),
    "zero_size_shares_offset": (image(obj(t("a", "U8", "[3]", 0, 3),
                                          t("z", "U8", "[0]", 3, 3),
                                          t("b", "F32", "[1]", 3, 7)), 7), None),
    "zero_size_inside_another": (image(obj(t("a", "U8", "[2]", 0, 2),
                                           t("z", "U8", "[0]", 1, 1)), 2), None),
    "header_order_differs": (image(obj(t("b", "U8", "[1]", 1, 2),
                                       t("a", "U8", "[1]", 0, 1)), 2), None),
    "rank_8": (image(obj(t("a", "U8", "[1,1,1,1,1,1,1,1]", 0, 1)), 1), None),
    "rank_9": (image(obj(t("a", "U8", "[1,1,1,1,1,1,1,1,1]", 0, 1)), 1), "peer"),
    "metadata": (image(obj('"__metadata__":{"format":"pt"}', ONE), 8), None),
    "metadata_null": (image(obj('"__metadata__":null', ONE), 8), None),
    "metadata_empty": (image(obj('"__metadata__":{}')), None),
    "metadata_number": (image(obj('"__metadata__":{"a":1}')), None),
    "metadata_nested": (image(obj('"__metadata__":{"a":{}}')), None),
    "metadata_null_value": (image(obj('"__metadata__":{"a":null}')), None),
    "metadata_array": (image(obj('"__metadata__":[]')), None),
    "metadata_twice": (image(obj('"__metadata__":{}', '"__metadata__":{}')), None),
    "metadata_key_twice": (image(obj('"__metadata__":{"a":"1","a":"2"}')), "peer"),
    "duplicate_name": (image(obj(t("a", "U8", "[4]", 0, 4), t("a", "F32", "[1]", 0, 4)), 4),
                       "peer"),
    "duplicate_by_escape": (image(obj(t("a", "U8", "[4]", 0, 4),
                                      t("\\u0061", "F32", "[1]", 0, 4)), 4), "peer"),
    "duplicate_member": (image('{"a":{"dtype":"F32","dtype":"F32","shape":[2],'
                               '"data_offsets":[0,8]}}', 8), None),
    "unknown_member": (image('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],'
                             '"x":[{}]}}', 8), "peer"),
    "array_as_tensor": (image('{"a":["F32",[2],[0,8]]}', 8), "peer"),
    "null_as_tensor": (image('{"a":null}'), None),
    "member_missing": (image('{"a":{"dtype":"F32","shape":[2]}}', 8), None),
    "unaligned": (image(obj(t("a", "U8", "[1]", 0, 1), t("b", "F32", "[1]", 1, 5)), 5), None),
    "name_empty": (image(obj(t("", "F32", "[2]", 0, 8)), 8), None),
    "name_utf8": (image(obj(t("h\u00e9\U0001f600", "F32", "[2]", 0, 8)), 8), None),
    "name_surrogate_pair": (image(obj(t("\\ud83d\\ude00", "F32", "[2]", 0, 8)), 8), None),
    "name_lone_surrogate": (image(obj(t("\\ud83d", "F32", "[2]", 0, 8)), 8), None),
    "name_control": (image(obj(t("a\\nb", "F32", "[2]", 0, 8)), 8), "peer"),
    "name_nul": (image(obj(t("a\\u0000b", "F32", "[2]", 0, 8)), 8), "peer"),
    "name_raw_control": (image(obj(t("a\nb", "F32", "[2]", 0, 8)), 8), None),
    "name_1024": (image(obj(t("n" * 1024, "F32", "[2]", 0, 8)), 8), None),
    "name_1025": (image(obj(t("n" * 1025, "F32", "[2]", 0, 8)), 8), "peer"),
    "bad_utf8": (image(b'{"\xff":1}'), None),
    "bad_escape": (image(obj(t("\\x", "F32", "[2]", 0, 8)), 8), None),
    "byte_order_mark": (image(b"\xef\xbb\xbf{}"), None),
    "no_object": (image("[]"), None),
    "trailing_junk": (image("{}x"), None),
    "two_objects": (image("{}{}"), None),
    "trailing_comma": (image("{%s,}" % ONE, 8), None),
    "unclosed": (image("{%s" % ONE, 8), None),
    "brackets": (image('{"a":' + "[" * 100000), None),
    "unknown_dtype": (image(obj(t("a", "F33", "[2]", 0, 8)), 8), None),
    "lower_case_dtype": (image(obj(t("a", "f32", "[2]", 0, 8)), 8), None),
    "negative_dimension": (image(obj(t("a", "F32", "[-2]", 0, 8)), 8), None),
    "fractional_dimension": (image(obj(t("a", "F32", "[2.5]", 0, 8)), 8), None),
    "float_dimension": (image(obj(t("a", "F32", "[2.0]", 0, 8)), 8), None),
    "exponent_dimension": (image(obj(t("a", "F32", "[2e0]", 0, 8)), 8), None),
    "leading_zero": (image(obj(t("a", "F32", "[02]", 0, 8)), 8), None),
    "string_dimension": (image(obj(t("a", "F32", '["2"]', 0, 8)), 8), None),
    "dimension_2_to_64": (image(obj(t("a", "F32", "[18446744073709551616]", 0, 8)), 8), None),
    "dimension_2_to_64_less_1": (image(obj(t("a", "U8", "[18446744073709551615,0]", 0, 0))),
                                 None),
    "product_overflows": (image(obj(t("a", "U8", "[4294967296,4294967296]", 0, 0))), None),
    "product_overflows_before_0": (image(obj(t("a", "U8", "[4294967296,4294967296,0]", 0, 0))),
                                   None),
    "bits_overflow": (image(obj(t("a", "U8", "[2305843009213693952]", 0, 0))), None),
    "three_half_bytes": (image(obj(t("a", "F4", "[3]", 0, 2)), 2), None),
    "one_offset": (image('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}}', 8), None),
    "three_offsets": (image('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}}', 8),
                      None),
    "end_before_begin": (image(obj(t("a", "F32", "[2]", 8, 0)), 8), None),
    "too_small_for_shape": (image(obj(t("a", "F32", "[2]", 0, 7)), 7), None),
    "starts_late": (image(obj(t("a", "F32", "[2]", 1, 9)), 9), None),
    "hole": (image(obj(t("a", "U8", "[1]", 0, 1), t("b", "U8", "[1]", 2, 3)), 3), None),
    "overlap": (image(obj(t("a", "U8", "[2]", 0, 2), t("b", "U8", "[2]", 1, 3)), 3), None),
    "same_bytes_twice": (image(obj(t("a", "U8", "[2]", 0, 2), t("b", "U8", "[2]", 0, 2)), 2),
                         None),
    "bytes_behind": (image(obj(ONE), 9), None),
    "cut_data": (image(obj(ONE), 7), None),
    "empty_file": (b"", None),
    "seven_bytes": (b"\0" * 7, None),
    "header_length_0": (image(""), None),
    "header_longer_than_file": (image("{}", 0, 3), None),
    "header_length_max": (image("{}", 0, 2 ** 64 - 1), None),
    "not_safetensors": (b"PK\3\4 this is a zip archive, so to speak", None),
}


def add_dtypes():
    for name, bits in DTYPES.items():
        header = obj(t("a", name, "[8]", 0, bits))
        CASES["dtype_" + name] = (image(header, bits), None)
        CASES["dtype_%s_short" % name] = (image(header, bits - 1), None)


def peer_accepts(path):
    try:
        with safe_open(path, framework="np") as f:
            f.keys()
        return True, ""
    except Exception as error:  # the bindings raise several types, panics among them
        return False, str(error)


def ours(probe, paths):
    lines = subprocess.run([probe] + paths, check=True, capture_output=True,
                           text=True).stdout.splitlines()
    assert len(lines) == len(paths), "one line per path"
    return [(line == "OK", line) for line in lines]


def add_written_by_peer(folder):
    """Files of the reference writer, as people have them."""
    rng = numpy.random.default_rng(7)
    tensors = {"layers.%d.w" % i: rng.standard_normal((3, i)).astype(kind)
               for i, kind in enumerate(["f4", "f2", "f8", "i4", "u1", "i8"])}
    path = os.path.join(folder, "written_by_peer")
    save_file(tensors, path, metadata={"format": "pt", "b": "\u00e9\n"})
    with open(path, "rb") as f:
        CASES["written_by_peer"] = (f.read(), None)


def main():
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        add_dtypes()
        add_written_by_peer(folder)
        names = sorted(CASES)
        paths = []
        for name in names:
            paths.append(os.path.join(folder, name + ".safetensors"))
            with open(paths[-1], "wb") as f:
                f.write(CASES[name][0])
        verdicts = ours(os.path.join(sys.argv[1], "st_probe"), paths)
        differences = []
        for name, path, (we, text) in zip(names, paths, verdicts):
            they, their_text = peer_accepts(path)
            documented = CASES[name][1] == "peer"
            if documented:
                differences.append(name)
            if (they, we) != ((True, False) if documented else (we, we)):
                failures += 1
                print("FAIL %s: peer %s %s; ours: %s" % (
                    name, "accepts" if they else "refuses", their_text, text))
    print(json.dumps({"safetensors": safetensors.__version__, "cases": len(names),
                      "documented_differences": differences, "failures": failures}))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
