"""A Python client: Riverside submits a mark; local authority A receives it on its stream and acknowledges it.

Usage: submit_and_watch.py PROTO_FOLDER SANDBOX_FOLDER. Exits with 0 if every step succeeds.
"""
import json
import pathlib
import sys
import tempfile
import tomllib
import uuid

import grpc
import grpc_tools
from grpc_tools import protoc

protos, sandbox = map(pathlib.Path, sys.argv[1:3])
generated = tempfile.TemporaryDirectory()
sources = sorted(str(p.relative_to(protos)) for p in protos.glob("apgateway/v1/*.proto"))
well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
arguments = ["protoc", f"-I{protos}", f"-I{well_known}", f"--python_out={generated.name}", f"--grpc_python_out={generated.name}"]
assert protoc.main(arguments + sources) == 0
sys.path.insert(0, generated.name)

from apgateway.v1 import delivery_pb2, delivery_pb2_grpc, returns_pb2, returns_pb2_grpc, types_pb2


def channel(name):
    folder = sandbox / "profiles"
    profile = tomllib.loads((folder / f"{name}.toml").read_text())
    read = lambda key: (folder / profile[key]).read_bytes()
    credentials = grpc.ssl_channel_credentials(read("ca"), read("key"), read("certificate"))
    return grpc.secure_channel(profile["endpoint"], credentials)


world = json.loads((sandbox / "world.json").read_text())
placement = next(p for p in world["placements"] if (p["commissioner"], p["provider"]) == ("la-a", "provider-a"))
mailbox = delivery_pb2_grpc.DeliveryServiceStub(channel("la-a"))
returns = returns_pb2_grpc.ReturnsServiceStub(channel("provider-a"))

cursor, more = None, True
while more:
    page = mailbox.ListDeliveries(delivery_pb2.ListDeliveriesRequest(cursor=cursor), timeout=10)
    cursor, more = page.next, page.more
stream = mailbox.WatchDeliveries(delivery_pb2.WatchDeliveriesRequest(cursor=cursor), timeout=30)
assert next(stream).receipt.index > 0

mark = returns_pb2.Mark(placement_id=placement["placement_id"], date="2026-09-07", session=types_pb2.SESSION_AM, code="/")
request = returns_pb2.SubmitAttendanceRequest(request_id=str(uuid.uuid4()), marks=[mark])
reply = returns.SubmitAttendance(request, timeout=10)
assert (reply.stored, reply.rejected) == (1, 0), reply
again = returns.SubmitAttendance(request, timeout=10)
assert again == reply, "the same request did not get the same answer"

delivery = next(message for message in stream if message.deliveries).deliveries[0]
assert delivery.sender == "provider/riverside" and delivery.object_id == reply.return_id
assert delivery.attendance.children[0].marks[0].mark.code == "/"
item = delivery_pb2.Acknowledged(cursor=delivery.cursor, content_sha256=delivery.content_sha256)
done = mailbox.AcknowledgeDelivery(
    delivery_pb2.AcknowledgeDeliveryRequest(
        request_id=str(uuid.uuid4()), deliveries=[item], stage=delivery_pb2.DELIVERY_STAGE_ACKNOWLEDGED
    ),
    timeout=10,
)
assert done.acknowledged == 1

try:
    returns.SubmitAttendance(returns_pb2.SubmitAttendanceRequest(request_id="x"), timeout=10)
    raise AssertionError("a malformed request was answered")
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error.code()
print("ok")
