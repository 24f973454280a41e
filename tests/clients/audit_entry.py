"""Decodes entries of the log, the message AuditEntry of proto/apgateway/v1/types.proto, without a protobuf library.

Only the one encoding that the log writes is accepted: fields in the order of their numbers, each once, no default
values, shortest numbers. A field number that the table lacks is an error, because its meaning would go unread.
"""
import datetime
import uuid

from tlog import Invalid

EPOCH = datetime.datetime(1970, 1, 1)
VARINT, BYTES = 0, 2


def text(data):
    return data.decode()


def hexadecimal(data):
    return data.hex()


def identifier(data):
    return str(uuid.UUID(bytes=data))


def time(value):
    micros = value - (1 << 64) if value >> 63 else value
    shown = (EPOCH + datetime.timedelta(microseconds=micros)).isoformat(timespec="microseconds")
    return shown.rstrip("0").rstrip(".") + "Z"


def flag(value):
    return {1: True}[value]


def uint32(value):
    return value if value < 1 << 32 else {}[value]


def choice(prefix, names):
    """An enumeration; its numbers are those of the names, from 1."""
    return lambda value: f"{prefix}_{dict(enumerate(names.split(), 1))[value]}"


def message(fields):
    return lambda data, path: decode(data, fields, path)


class Field:
    """A field: its name in the readable form, how it is encoded and how it is shown."""

    def __init__(self, name, show, wire=BYTES, nested=False):
        self.name, self.show, self.wire, self.nested = name, show, wire, nested


LOG_REPLACED = {
    1: Field("last_checkpoint", text),
    2: Field("kept_checkpoint", text),
}

PURPOSE = choice("PURPOSE", "EDUCATION_PROVISION ATTENDANCE SAFEGUARDING OVERSIGHT")
OUTCOME = choice("OUTCOME", "OK REFUSED REPLAYED MALFORMED FAILED")
ENTRY = {
    1: Field("exchange_id", identifier),
    2: Field("time", time, VARINT),
    3: Field("organisation", text),
    4: Field("system", text),
    5: Field("certificate_sha256", hexadecimal),
    6: Field("processor", text),
    7: Field("practitioner", hexadecimal),
    8: Field("role", text),
    9: Field("method", text),
    10: Field("purpose", PURPOSE, VARINT),
    15: Field("outcome", OUTCOME, VARINT),
    16: Field("reason", text),
    19: Field("trace_id", text),
    20: Field("request_commitment", hexadecimal),
    21: Field("reply_commitment", hexadecimal),
    23: Field("child_root", hexadecimal),
    24: Field("previous_log", hexadecimal),
    25: Field("identity_claimed", flag, VARINT),
    26: Field("log_replaced", message(LOG_REPLACED), nested=True),
    27: Field("break_glass", flag, VARINT),
    29: Field("format", uint32, VARINT),
    30: Field("repeats", uint32, VARINT),
    31: Field("commitment_key", uint32, VARINT),
    32: Field("row_root", hexadecimal),
    33: Field("openings_commitment", hexadecimal),
    34: Field("tree_size", str, VARINT),
    35: Field("break_glass_over_limit", flag, VARINT),
}


def varint(data, at, path):
    """Decodes a number; returns it and the place behind it."""
    value = 0
    for count in range(10):
        if at + count >= len(data):
            raise Invalid(f"{path}: the bytes end within a number")
        byte = data[at + count]
        value |= (byte & 127) << 7 * count
        if byte < 128:
            if count and not byte or value >> 64:
                raise Invalid(f"{path}: a number is not encoded as the log encodes it")
            return value, at + count + 1
    raise Invalid(f"{path}: a number is too long")


def decode(data, fields=None, path="entry"):
    """Decodes a message; returns its fields that are set, by name."""
    fields = ENTRY if fields is None else fields
    found, last, at = {}, 0, 0
    while at < len(data):
        key, at = varint(data, at, path)
        number, wire = key >> 3, key & 7
        field = fields.get(number)
        if field is None:
            raise Invalid(f"{path}: field {number} is not known to this verifier")
        where = f"{path}.{field.name}"
        if wire != field.wire or number <= last:
            raise Invalid(f"{where}: not encoded as the log encodes it")
        value, at = varint(data, at, where)
        if wire == BYTES:
            value, size = data[at : at + value], value
            at += size
            if len(value) < size:
                raise Invalid(f"{where}: the bytes end within it")
        if not value and not field.nested:
            raise Invalid(f"{where}: a default value, which the log leaves out")
        try:
            shown = field.show(value, where) if field.nested else field.show(value)
        except (ValueError, KeyError, OverflowError):
            raise Invalid(f"{where}: has no readable form") from None
        found[field.name] = shown
        last = number
    return found
