"""Shared by the verifiers: RFC 9162 proofs with hashlib, C2SP signed notes with openssl."""
import base64
import hashlib
import pathlib
import subprocess
import sys
import tempfile

SPKI = bytes.fromhex("302a300506032b6570032100")


def sha256(data):
    return hashlib.sha256(data).digest()


def root_of(leaf, index, size, proof):
    """Computes the root from an inclusion proof (RFC 9162, section 2.1.3.2); None if its length is wrong."""
    node, fn, sn = leaf, index, size - 1
    for sibling in proof:
        if sn == 0:
            return None
        if fn & 1 or fn == sn:
            node = sha256(b"\x01" + sibling + node)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = sha256(b"\x01" + node + sibling)
        fn, sn = fn >> 1, sn >> 1
    return node if sn == 0 else None


def signed(text, signature, public):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "key").write_bytes(SPKI + public)
        (folder / "text").write_bytes(text)
        (folder / "signature").write_bytes(signature)
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", folder / "key", "-rawin"]
        command += ["-in", folder / "text", "-sigfile", folder / "signature"]
        return subprocess.run(command, capture_output=True).returncode == 0


def open_note(note, log_key):
    """Returns size and root of a checkpoint; exits with 1 if it is not signed by the log's key."""
    name, _, key = log_key.split("+", 2)
    text, signatures = note.split("\n\n", 1)
    origin, size, root = text.split("\n")[:3]
    signature = base64.b64decode(signatures.strip().rsplit(" ", 1)[1])[4:]
    if origin != name or not signed(f"{text}\n".encode(), signature, base64.b64decode(key)[1:]):
        sys.exit(1)
    return int(size), base64.b64decode(root)
