"""Reads the attendance of one placement many times through small flow-control windows, with grpcio.

Usage: read_attendance.py PROTO_FOLDER CERTIFICATES_FOLDER ADDRESS PLACEMENT MARKS READS WINDOW
Reads as Riverside, four calls at a time on one connection. WINDOW is in bytes; 0 leaves grpcio's defaults, which
measure the bandwidth and widen the window. Fails at the first call that is not answered with MARKS marks.
"""
import concurrent.futures
import pathlib
import sys

import grpc

protos, folder, address, placement = sys.argv[1:5]
marks, reads, window = map(int, sys.argv[5:])
sys.path.insert(0, protos)
messages, services = grpc.protos_and_services("apgateway/v1/returns.proto")


def contents(name):
    return (pathlib.Path(folder) / name).read_bytes()


credentials = grpc.ssl_channel_credentials(
    contents("ca.pem"), contents("certs/provider-a.key"), contents("certs/provider-a.pem")
)
options = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", window)] if window else []
channel = grpc.secure_channel(address, credentials, options)
service = services.ReturnsServiceStub(channel)
request = messages.GetAttendanceRequest(placement_id=placement, from_date="2026-11-01", to_date="2026-11-30")


def read(_):
    return len(service.GetAttendance(request, timeout=30).marks)


with concurrent.futures.ThreadPoolExecutor(4) as pool:
    found = list(pool.map(read, range(reads)))
assert found == [marks] * reads, found
channel.close()
print("ok")
