"""Joins, says something and leaves, as a program that has never seen our code.

With «reflection» its messages come from the server's reflection service, with
a path from that proto file by way of grpcio-tools.
"""

import importlib
import os
import queue
import sys
import tempfile

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

address, source = sys.argv[1:]
DEADLINE = 60
CHAT = "/itu.chitchat.ChatService/Chat"


def from_reflection(channel):
    database = ProtoReflectionDescriptorDatabase(channel)
    assert sorted(database.get_services()) == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "itu.chitchat.ChatService",
    ], database.get_services()
    pool = DescriptorPool(database)
    service = pool.FindServiceByName("itu.chitchat.ChatService")
    assert {m.name for m in service.methods} == {"Chat", "History", "Who", "Rooms"}
    for other in database.get_services():
        pool.FindServiceByName(other)
    try:
        pool.FindMessageTypeByName("itu.chitchat.Nothing")
        raise AssertionError("what is not there is not found")
    except KeyError:
        pass
    method = service.FindMethodByName("Chat")
    return GetMessageClass(method.input_type), GetMessageClass(method.output_type)


def from_proto(path):
    from grpc_tools import protoc

    out = tempfile.mkdtemp()
    directory, file = os.path.split(path)
    assert protoc.main(["protoc", f"-I{directory}", f"--python_out={out}", file]) == 0
    sys.path.insert(0, out)
    generated = importlib.import_module(file.removesuffix(".proto") + "_pb2")
    return generated.JoinMsgLeave, generated.ServerMessage


with grpc.insecure_channel(address) as channel:
    if source == "reflection":
        Request, Response = from_reflection(channel)
    else:
        Request, Response = from_proto(source)
    JOIN, MESSAGE, LEAVE = 0, 1, 2
    requests = queue.SimpleQueue()
    call = channel.stream_stream(
        CHAT,
        request_serializer=Request.SerializeToString,
        response_deserializer=Response.FromString,
    )(iter(requests.get, None), timeout=DEADLINE)

    requests.put(Request(type=JOIN, client_name="Python", id=42, timestamp=1))
    joined = next(call)
    assert (joined.type, joined.sender_name, joined.timestamp) == (JOIN, "Python", 2), joined
    assert joined.msg_stream == "Participant Python joined Chit Chat at logical time L=2", joined

    requests.put(Request(type=MESSAGE, msg="Hej fra Python 🐍", timestamp=5))
    said = next(call)
    assert (said.type, said.sender_id, said.msg_stream) == (MESSAGE, 42, "Hej fra Python 🐍"), said
    assert said.timestamp == 6, said

    requests.put(Request(type=LEAVE, timestamp=8))
    requests.put(None)
    rest = list(call)
    assert rest == [], rest
    assert call.code() == grpc.StatusCode.OK, call
print("done")
