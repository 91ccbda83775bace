#!/usr/bin/env python3
"""
Writes docs/generated/api-*.md from proto/: services, rpcs, their REST routes and who may call, messages and fields, with
the comments that stand there. `api_docs.py FOLDER`; run by ./dev docs, held by tests/integration/test_docs.py.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc_tools
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_tools import protoc

PROTO = Path(__file__).resolve().parents[1] / "proto"
AREAS = ("auth", "relay", "usage")
Field = descriptor_pb2.FieldDescriptorProto
# Field numbers of descriptor.proto, of which the paths of source info are made.
FILE_MESSAGE, FILE_ENUM, FILE_SERVICE, MESSAGE_FIELD, MESSAGE_NESTED, MESSAGE_ENUM, ENUM_VALUE, SERVICE_METHOD = 4, 5, 6, 2, 3, 4, 2, 2
Path_ = tuple[int, ...]

INTRODUCTION = """# gRPC of {area}

Generated from `proto/apirelay/{area}/v1/` by `./dev docs`. Over REST and in the settings files members are lowerCamelCase, 64-bit
integers and times are as [api.md](../api.md#shapes) says, and a route's `{{…}}` is the field of that name. viewer, admin and owner are
roles of admins, each includes those before it. A call takes at most 30 s where nothing else is said, a stream of answers as long
as its caller wants. [grpc.md](../grpc.md) shows how to call.
"""


def compiled() -> descriptor_pb2.FileDescriptorSet:
    wellknown = Path(grpc_tools.__file__).parent / "_proto"
    sources = sorted(str(path.relative_to(PROTO)) for path in (PROTO / "apirelay").rglob("*.proto"))
    with tempfile.NamedTemporaryFile(suffix=".binpb") as out:
        flags = [f"-I{PROTO}", f"-I{PROTO / 'third_party'}", f"-I{wellknown}", "--include_imports", "--include_source_info"]
        if protoc.main(["protoc", *flags, f"--descriptor_set_out={out.name}", *sources]) != 0:
            raise SystemExit("the protos do not compile")
        return descriptor_pb2.FileDescriptorSet.FromString(Path(out.name).read_bytes())


class Options:
    """Reads the options that google.protobuf does not know by itself."""

    def __init__(self, files: descriptor_pb2.FileDescriptorSet) -> None:
        self._pool = descriptor_pool.DescriptorPool()
        for file in files.file:
            self._pool.AddSerializedFile(file.SerializeToString())
        names = ("apirelay.options.v1.access", "apirelay.options.v1.deadline", "google.api.http")
        self._extensions = [self._pool.FindExtensionByName(name) for name in names]
        message_factory.GetMessageClassesForFiles([e.file.name for e in self._extensions], self._pool)
        self._class = message_factory.GetMessageClass(self._pool.FindMessageTypeByName("google.protobuf.MethodOptions"))

    def of(self, method: descriptor_pb2.MethodDescriptorProto) -> tuple[Any, ...]:
        """Access, deadline and HTTP rule; empty messages where there is none."""
        options: Any = self._class.FromString(method.options.SerializeToString())
        return tuple(options.Extensions[extension] for extension in self._extensions)


class Comments:
    def __init__(self, file: descriptor_pb2.FileDescriptorProto) -> None:
        self._by_path = {tuple(where.path): where.leading_comments for where in file.source_code_info.location}

    def paragraph(self, path: Path_) -> str:
        return " ".join(self._by_path.get(path, "").split()).replace("<", "&lt;")

    def cell(self, path: Path_) -> str:
        return self.paragraph(path).replace("|", "\\|")


class Names:
    """Where each message and enum is described: its name inside its package, by full name."""

    def __init__(self, files: descriptor_pb2.FileDescriptorSet) -> None:
        self.home: dict[str, tuple[str, str]] = {}
        for file in files.file:
            if file.package.startswith("apirelay."):
                area = file.package.split(".")[1]
                for name in self._declared("", file.message_type, file.enum_type):
                    self.home[f".{file.package}.{name}"] = (area, name)

    def _declared(self, prefix: str, messages: Any, enums: Any) -> Iterator[str]:
        for enum in enums:
            yield prefix + enum.name
        for message in messages:
            yield prefix + message.name
            yield from self._declared(f"{prefix}{message.name}.", message.nested_type, message.enum_type)

    def link(self, full_name: str, area: str) -> str:
        if full_name not in self.home:
            return f"`{full_name[1:]}`"
        home, name = self.home[full_name]
        page = "" if home == area else f"api-{home}.md"
        return f"[{name}]({page}#{name.lower().replace('.', '')})"


def who_may_call(access: Any) -> str:
    if access.anyone:
        return "anyone"
    kinds = [("", "viewer", "admin", "owner")[access.admin]] if access.admin else []
    kinds += ["API key"] if access.api_key else []
    kinds += [f"service {name}" for name in access.services]
    return ", ".join(kinds)


def routes(rule: Any) -> list[str]:
    kind = rule.WhichOneof("pattern")
    own = [f"`{kind.upper()} {getattr(rule, kind)}`"] if kind else []
    return own + [route for more in rule.additional_bindings for route in routes(more)]


def terms(method: descriptor_pb2.MethodDescriptorProto, deadline: Any) -> str:
    """What a call may take, and whether it may be made again."""
    said = []
    if deadline.max_ms:
        said.append(f"At most {deadline.max_ms / 1000:g} s.")
    if method.options.idempotency_level:
        said.append("May be repeated.")
    return " ".join(said)


class Page:
    def __init__(self, area: str, names: Names, options: Options) -> None:
        self.area, self.names, self.options = area, names, options
        self.services: list[str] = []
        self.messages: list[str] = []

    def text(self) -> str:
        return "\n".join([INTRODUCTION.format(area=self.area), *self.services, "## Messages\n", *self.messages])

    def add_file(self, file: descriptor_pb2.FileDescriptorProto) -> None:
        comments = Comments(file)
        for i, service in enumerate(file.service):
            self._service(file.package, service, comments, (FILE_SERVICE, i))
        for i, message in enumerate(file.message_type):
            self._message("", message, comments, (FILE_MESSAGE, i))
        for i, enum in enumerate(file.enum_type):
            self._enum("", enum, comments, (FILE_ENUM, i))

    def _service(self, package: str, service: Any, comments: Comments, path: Path_) -> None:
        rows = []
        for i, method in enumerate(service.method):
            access, deadline, rule = self.options.of(method)
            takes, answers = (
                ("stream of " if streams else "") + self.names.link(name, self.area)
                for name, streams in ((method.input_type, method.client_streaming), (method.output_type, method.server_streaming))
            )
            meaning = " ".join(filter(None, (comments.cell((*path, SERVICE_METHOD, i)), terms(method, deadline))))
            cells = (f"`{method.name}`", takes, answers, "<br>".join(routes(rule)), who_may_call(access), meaning)
            rows.append("| " + " | ".join(cells) + " |")
        head = "| rpc | takes | answers | REST | may call | meaning |\n|---|---|---|---|---|---|"
        self.services += [f"## {service.name}\n", f"`{package}.{service.name}`. {comments.paragraph(path)}\n", head, *rows, ""]

    def _message(self, prefix: str, message: Any, comments: Comments, path: Path_) -> None:
        name = prefix + message.name
        nested = {f".{n}": m for n, m in ((m.name, m) for m in message.nested_type) if m.options.map_entry}
        self.messages += [f"### {name}\n", f"{comments.paragraph(path)}\n"]
        if message.field:
            self.messages += ["| field | number | type | meaning |", "|---|---|---|---|"]
            for i, field in enumerate(message.field):
                kind = self._type(field, message, nested)
                self.messages.append(f"| `{field.name}` | {field.number} | {kind} | {comments.cell((*path, MESSAGE_FIELD, i))} |")
            self.messages.append("")
        for i, inner in enumerate(message.nested_type):
            if not inner.options.map_entry:
                self._message(f"{name}.", inner, comments, (*path, MESSAGE_NESTED, i))
        for i, enum in enumerate(message.enum_type):
            self._enum(f"{name}.", enum, comments, (*path, MESSAGE_ENUM, i))

    def _type(self, field: Any, message: Any, maps: dict[str, Any]) -> str:
        entry = maps.get("." + field.type_name.rpartition(".")[2])
        if entry is not None:
            key, value = (self._plain(part) for part in entry.field)
            return f"map of {key} to {value}"
        kind = self._plain(field)
        if field.label == Field.LABEL_REPEATED:
            return f"list of {kind}"
        if not field.HasField("oneof_index"):
            return kind
        oneof = message.oneof_decl[field.oneof_index].name
        return f"{kind}, optional" if oneof.endswith("_presence") else f"{kind}, one of `{oneof}`"

    def _plain(self, field: Any) -> str:
        if field.type in (Field.TYPE_MESSAGE, Field.TYPE_ENUM):
            return self.names.link(field.type_name, self.area)
        return Field.Type.Name(field.type).removeprefix("TYPE_").lower()

    def _enum(self, prefix: str, enum: Any, comments: Comments, path: Path_) -> None:
        self.messages += [f"### {prefix}{enum.name}\n", f"{comments.paragraph(path)}\n", "| value | number | meaning |", "|---|---|---|"]
        for i, value in enumerate(enum.value):
            self.messages.append(f"| `{value.name}` | {value.number} | {comments.cell((*path, ENUM_VALUE, i))} |")
        self.messages.append("")


def pages() -> dict[str, str]:
    """The text of each page by its file's name."""
    files = compiled()
    names, options = Names(files), Options(files)
    made = {area: Page(area, names, options) for area in AREAS}
    for file in files.file:
        if file.package.startswith("apirelay.") and not file.package.startswith("apirelay.options."):
            made[file.package.split(".")[1]].add_file(file)
    return {f"api-{area}.md": page.text().rstrip("\n") + "\n" for area, page in made.items()}


def main() -> None:
    folder = Path(sys.argv[1])
    for name, text in pages().items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main()
