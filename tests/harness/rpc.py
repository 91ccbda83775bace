"""Calls any rpc of proto/ by its name, with messages as plain dicts: no generated code, only the compiled descriptors."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from grpc_tools import protoc

import grpc_tools

TOP = Path(__file__).resolve().parents[2]
PROTO = TOP / "proto"
ACCESS_FIELD = "apirelay.options.v1.access"
HTTP_FIELD = "google.api.http"
DEADLINE_S = 60


@dataclass(frozen=True)
class Schema:
    pool: descriptor_pool.DescriptorPool
    files: descriptor_pb2.FileDescriptorSet

    def methods(self) -> list[MethodDescriptor]:
        """Every rpc of ours, in the order of the files."""
        names = [
            f"{file.package}.{service.name}" for file in self.files.file if file.package.startswith("apirelay.") for service in file.service
        ]
        return [method for name in names for method in self.pool.FindServiceByName(name).methods]

    def method(self, full_name: str) -> MethodDescriptor:
        """`full_name` as "apirelay.auth.v1.ApiKeyService/GetApiKey"."""
        service, _, name = full_name.partition("/")
        return self.pool.FindServiceByName(service).methods_by_name[name]

    def message_class(self, descriptor: Any) -> type[Message]:
        return message_factory.GetMessageClass(descriptor)

    def option(self, method: MethodDescriptor, name: str) -> Message:
        """The value of an option; an empty message when the rpc has none."""
        extension = self.pool.FindExtensionByName(name)
        message_factory.GetMessageClass(extension.message_type)
        factory = message_factory.GetMessageClassesForFiles([extension.file.name], self.pool)
        assert factory is not None
        options_class = self.message_class(self.pool.FindMessageTypeByName("google.protobuf.MethodOptions"))
        options = options_class.FromString(method.GetOptions().SerializeToString())
        return options.Extensions[extension]


@functools.cache
def schema() -> Schema:
    """Compiled once a run, with google/api from third_party and google/protobuf from grpcio-tools."""
    wellknown = Path(grpc_tools.__file__).parent / "_proto"
    sources = sorted(str(path.relative_to(PROTO)) for path in (PROTO / "apirelay").rglob("*.proto"))
    sources += ["grpc/health/v1/health.proto", "grpc/reflection/v1/reflection.proto"]
    with tempfile.NamedTemporaryFile(suffix=".binpb") as out:
        command = ["protoc", f"-I{PROTO}", f"-I{PROTO / 'third_party'}", f"-I{wellknown}", "--include_imports"]
        status = protoc.main([*command, f"--descriptor_set_out={out.name}", *sources])
        assert status == 0, "the protos do not compile"
        files = descriptor_pb2.FileDescriptorSet.FromString(Path(out.name).read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file) if hasattr(pool, "Add") else pool.AddSerializedFile(file.SerializeToString())
    return Schema(pool, files)


class RpcClient:
    """A channel to one service. `credential` goes as `authorization: Bearer …`; `tls` makes it a channel over TLS."""

    def __init__(self, target: str, credential: str | None = None, tls: grpc.ChannelCredentials | None = None) -> None:
        # A channel of its own: gRPC shares connections between channels with equal arguments.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
        self._channel = grpc.secure_channel(target, tls, options=options) if tls else grpc.insecure_channel(target, options=options)
        self.credential = credential
        self.metadata: list[tuple[str, str]] = []  # sent with each call, beside the credential

    def __enter__(self) -> "RpcClient":
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def _prepare(self, full_name: str, fields: dict[str, Any] | None, credential: str | None) -> tuple[MethodDescriptor, Any, Any, Any]:
        method = schema().method(full_name)
        request_class = schema().message_class(method.input_type)
        request = json_format.ParseDict(fields or {}, request_class(), descriptor_pool=schema().pool)
        credential = self.credential if credential is None else credential
        metadata = [("authorization", f"Bearer {credential}")] if credential else []
        return method, request, schema().message_class(method.output_type), metadata + self.metadata

    def call(self, full_name: str, fields: dict[str, Any] | None = None, credential: str | None = None, timeout: float = DEADLINE_S) -> Any:
        """One unary call; the answer is a message. grpc.RpcError when it fails."""
        _, request, answer_class, metadata = self._prepare(full_name, fields, credential)
        rpc = self._channel.unary_unary(
            f"/{full_name}", request_serializer=lambda m: m.SerializeToString(), response_deserializer=answer_class.FromString
        )
        return rpc(request, metadata=metadata, timeout=timeout)

    def stream(self, full_name: str, fields: dict[str, Any] | None = None, credential: str | None = None, timeout: float = DEADLINE_S) -> Any:
        """A call that answers with a stream: iterate over it, or cancel() it."""
        _, request, answer_class, metadata = self._prepare(full_name, fields, credential)
        rpc = self._channel.unary_stream(
            f"/{full_name}", request_serializer=lambda m: m.SerializeToString(), response_deserializer=answer_class.FromString
        )
        return rpc(request, metadata=metadata, timeout=timeout)

    def send_all(self, full_name: str, requests: list[dict[str, Any]], credential: str | None = None, timeout: float = DEADLINE_S) -> Any:
        """A call with a stream of requests and one answer."""
        method, _, answer_class, metadata = self._prepare(full_name, None, credential)
        request_class = schema().message_class(method.input_type)
        rpc = self._channel.stream_unary(
            f"/{full_name}", request_serializer=lambda m: m.SerializeToString(), response_deserializer=answer_class.FromString
        )
        messages = (json_format.ParseDict(fields, request_class(), descriptor_pool=schema().pool) for fields in requests)
        return rpc(messages, metadata=metadata, timeout=timeout)

    def converse(self, full_name: str, requests: Iterator[Message], credential: str | None = None, timeout: float = DEADLINE_S) -> Any:
        """A call with streams both ways."""
        _, _, answer_class, metadata = self._prepare(full_name, None, credential)
        rpc = self._channel.stream_stream(
            f"/{full_name}", request_serializer=lambda m: m.SerializeToString(), response_deserializer=answer_class.FromString
        )
        return rpc(requests, metadata=metadata, timeout=timeout)

    def outcome(self, full_name: str, credential: str | None = None, timeout: float = DEADLINE_S) -> grpc.StatusCode:
        """The status of an empty request, whatever kind of rpc it is: who is let in at all."""
        method, request, _, metadata = self._prepare(full_name, None, credential)
        plain = {"request_serializer": lambda m: m.SerializeToString(), "response_deserializer": bytes}
        try:
            if method.client_streaming:
                call = self._channel.stream_stream(f"/{full_name}", **plain)(iter([request]), metadata=metadata, timeout=timeout)
                next(iter(call), None)
                call.cancel()
            elif method.server_streaming:
                call = self._channel.unary_stream(f"/{full_name}", **plain)(request, metadata=metadata, timeout=timeout)
                next(iter(call), None)
                call.cancel()
            else:
                self._channel.unary_unary(f"/{full_name}", **plain)(request, metadata=metadata, timeout=timeout)
        except grpc.RpcError as e:
            return e.code()
        return grpc.StatusCode.OK


def as_dict(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(message, descriptor_pool=schema().pool)
