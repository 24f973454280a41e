"""Shared by the verifiers: RFC 9162 proofs with hashlib, C2SP signed notes with openssl. Everything is strict, so that
a text that means the same in another spelling is refused."""
import base64
import binascii
import functools
import hashlib
import pathlib
import subprocess
import sys
import tempfile

# What stands before a public key of Ed25519 in the form that openssl reads (RFC 8410).
SPKI = bytes.fromhex("302a300506032b6570032100")
ED25519 = b"\x01"
MAX_MESSAGE = 300


class Invalid(Exception):
    """What is wrong, in one line."""


def run(main):
    """Runs a verifier: exits with 0, or with 1 after one line that says what is wrong."""
    sys.stdout.reconfigure(encoding="utf-8")
    try:
        main()
    except (Invalid, OSError) as error:
        text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(error)[:MAX_MESSAGE])
        print(f"{pathlib.Path(sys.argv[0]).name}: {text}", file=sys.stderr)
        sys.exit(1)


def read_text(path):
    """Reads a text as it is, without a change of its line ends."""
    try:
        return pathlib.Path(path).read_bytes().decode()
    except UnicodeDecodeError:
        raise Invalid(f"{path}: not UTF-8 text") from None


def unbase64(text, what):
    """Decodes base64 in its one canonical spelling."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise Invalid(f"{what}: not base64") from None
    if base64.b64encode(data).decode() != text:
        raise Invalid(f"{what}: not base64 in its canonical form")
    return data


def sha256(data):
    return hashlib.sha256(data).digest()


def root_of(leaf, index, size, proof):
    """Computes the root from an inclusion proof (RFC 9162, section 2.1.3.2); None if it is not of this place."""
    if not 0 <= index < size:
        return None
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


def tree_root(hashes):
    """Computes the root of a tree from its leaf hashes (RFC 9162, section 2.1.1)."""
    if not hashes:
        return sha256(b"")
    if len(hashes) == 1:
        return hashes[0]
    half = 1 << (len(hashes) - 1).bit_length() - 1
    return sha256(b"\x01" + tree_root(hashes[:half]) + tree_root(hashes[half:]))


@functools.lru_cache(maxsize=16)
def signed(text, signature, public):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "key").write_bytes(SPKI + public)
        (folder / "text").write_bytes(text)
        (folder / "signature").write_bytes(signature)
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", folder / "key", "-rawin"]
        command += ["-in", folder / "text", "-sigfile", folder / "signature"]
        return subprocess.run(command, capture_output=True).returncode == 0


def parse_key(text):
    """Parses a verifier key `<name>+<key id>+<base64(algorithm, public key)>`; returns name, key id and public key."""
    name, _, rest = text.partition("+")
    key_id, _, key = rest.partition("+")
    key = unbase64(key, "--log-key")
    expected = sha256(name.encode() + b"\n" + key)[:4]
    if not name or len(key) != 33 or key[:1] != ED25519 or expected.hex() != key_id:
        raise Invalid("--log-key: not a log key")
    return name, expected, key[1:]


def parse_keys(text):
    """Parses the keys of a log, those of the logs that it replaced first: KEY, or KEY SIZE KEY, and so on. Returns each
    with the size of the tree up to which it signs; None for the last."""
    words = text.split()
    if len(words) % 2 == 0:
        raise Invalid("--log-key: not a log key")
    sizes = [decimal(word, "--log-key") for word in words[1::2]] + [None]
    keys = [(*parse_key(word), size) for word, size in zip(words[::2], sizes)]
    if sizes[:-1] != sorted(sizes[:-1]) or len({key[0] for key in keys}) < len(keys):
        raise Invalid("--log-key: not the keys of a log")
    return keys


def read_keys(argument):
    """Returns the keys that an argument is, or that are in the file that it names."""
    try:
        return parse_keys(argument)
    except Invalid:
        try:
            return parse_keys(read_text(argument))
        except (Invalid, OSError, ValueError):
            raise Invalid("--log-key: not a log key, nor a file of one") from None


def decimal(text, what):
    if not isinstance(text, str) or not text.isascii() or not text.isdigit() or len(text) > 20 or str(int(text)) != text:
        raise Invalid(f"{what}: not a whole number")
    return int(text)


def open_checkpoint(note, keys):
    """Verifies a checkpoint that the log signed, and nobody else; returns origin, size and root."""
    if any(ord(c) < 32 and c != "\n" or 127 <= ord(c) < 160 for c in note):
        raise Invalid("the checkpoint is not a signed note")
    text, blank, signatures = note.rpartition("\n\n")
    lines = text.split("\n")
    signature = signatures.split("\n")
    if not blank or len(lines) < 3 or not all(lines) or len(signature) != 2 or signature[1]:
        raise Invalid("the checkpoint is not a note with one signature")
    origin, size, root = lines[:3]
    named = [place for place, key in enumerate(keys) if key[0] == origin]
    if not named:
        raise Invalid(f"the checkpoint is of the log {origin}, the key of {keys[-1][0]}")
    name, key_id, public, end = keys[named[0]]
    dash, _, rest = signature[0].partition(" ")
    signer, _, line = rest.partition(" ")
    line = unbase64(line, "the checkpoint's signature")
    is_ours = dash == "\u2014" and signer == name and line[:4] == key_id and len(line) == 68
    if not is_ours or not signed(f"{text}\n".encode(), line[4:], public):
        raise Invalid("the checkpoint is not signed by the log's key")
    size, root = decimal(size, "the checkpoint's size"), unbase64(root, "the checkpoint's root")
    if len(root) != 32:
        raise Invalid("the checkpoint's root: not a hash")
    if end is not None and size > end:
        raise Invalid("the checkpoint is of a log that was replaced, and beyond the entries kept of it")
    if any(before[3] >= size for before in keys[: named[0]]):
        raise Invalid("the checkpoint is of another log")
    return origin, size, root
