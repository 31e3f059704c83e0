"""Asks a server for its health and watches it until it stops.

Prints «watching» when the first state has come, and checks that the server
tells of its stop before it ends the stream.
"""

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
DEADLINE = 60


def ask(service):
    return health_pb2.HealthCheckRequest(service=service)


with grpc.insecure_channel(sys.argv[1]) as channel:
    health = health_pb2_grpc.HealthStub(channel)
    for service in ["", "itu.chitchat.ChatService"]:
        assert health.Check(ask(service), timeout=DEADLINE).status == SERVING, service
    try:
        health.Check(ask("no.such.Service"), timeout=DEADLINE)
        raise AssertionError("an unknown service is an error")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND, error
    unknown = health.Watch(ask("no.such.Service"), timeout=DEADLINE)
    assert next(unknown).status == UNKNOWN
    unknown.cancel()

    watch = health.Watch(ask("itu.chitchat.ChatService"), timeout=DEADLINE)
    assert next(watch).status == SERVING
    print("watching", flush=True)
    assert next(watch).status == NOT_SERVING
    try:
        extra = next(watch)
        raise AssertionError(f"after its stop the server says {extra}")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNAVAILABLE, error
print("done")
