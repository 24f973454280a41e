"""Verifies a proof bundle of `audit prove` with hashlib and openssl only, without code of the gateway.

Usage: check_bundle.py BUNDLE [--flip entry|proof|root|signature|origin]. --flip changes one bit first, so that
verification must fail. Exits with 0 if the bundle proves that its entry is in the log, with 1 otherwise.
"""
import base64
import json
import pathlib
import sys

from tlog import root_of, sha256, signed


def flipped(data):
    return bytes([data[0] ^ 1]) + data[1:]


def check(bundle, flip=None):
    receipt = bundle["receipt"]
    name, _, key = bundle["log_key"].split("+", 2)
    public = base64.b64decode(key)[1:]
    entry = base64.b64decode(receipt["entry"])
    proof = [base64.b64decode(each) for each in receipt.get("inclusion_proof", [])]
    text, signatures = receipt["checkpoint"].split("\n\n", 1)
    origin, size, root = text.split("\n")[:3]
    signature = base64.b64decode(signatures.strip().rsplit(" ", 1)[1])[4:]
    root = base64.b64decode(root)
    if flip == "entry":
        entry = flipped(entry)
    if flip == "proof":
        proof[0] = flipped(proof[0])
    if flip == "signature":
        signature = flipped(signature)
    if flip == "origin":
        origin = flipped(origin.encode()).decode()
    if flip == "root":
        root = flipped(root)
    text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"
    leaf = sha256(b"\x00" + entry)
    found = root_of(leaf, int(receipt["index"]), int(size), proof)
    return origin == name and found == root and signed(text.encode(), signature, public)


bundle = json.loads(pathlib.Path(sys.argv[1]).read_text())
sys.exit(0 if check(bundle, *sys.argv[3:4]) else 1)
