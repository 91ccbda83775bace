"""
mongodump and mongorestore for machines without MongoDB's database tools (they are in no package registry of ours): the few
flags that docs/operate.md uses, the same files. `python3 mongo_tools.py mongodump|mongorestore FLAGS…`
"""

from __future__ import annotations

import argparse
import gzip
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bson
import pymongo
from bson import json_util
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

RAW: CodecOptions[Any] = CodecOptions(document_class=RawBSONDocument)
BATCH = 500


def dump(client: Any, database: str, out: Path) -> None:
    folder = out / database
    folder.mkdir(parents=True)
    for name in client[database].list_collection_names():
        collection = client[database][name]
        with gzip.open(folder / f"{name}.bson.gz", "wb", 1) as file:
            for document in client[database].get_collection(name, RAW).find():
                file.write(document.raw)
        about = {"indexes": list(collection.list_indexes()), "collectionName": name, "type": "collection"}
        with gzip.open(folder / f"{name}.metadata.json.gz", "wt") as text:
            text.write(json_util.dumps(about))


def documents(path: Path) -> Iterator[RawBSONDocument]:
    with gzip.open(path, "rb") as file:
        yield from bson.decode_file_iter(file, RAW)


def restore(client: Any, included: list[str], source: Path) -> None:
    for metadata in sorted(source.glob("*/*.metadata.json.gz")):
        database, name = metadata.parent.name, metadata.name.removesuffix(".metadata.json.gz")
        if f"{database}.{name}" not in included:
            continue
        client[database].drop_collection(name)
        batch: list[RawBSONDocument] = []
        collection = client[database].get_collection(name, RAW)
        for document in documents(metadata.with_name(f"{name}.bson.gz")):
            batch.append(document)
            if len(batch) == BATCH:
                collection.insert_many(batch)
                batch = []
        if batch:
            collection.insert_many(batch)
        about = json_util.loads(gzip.open(metadata, "rt").read())
        indexes = [{k: v for k, v in index.items() if k != "ns"} for index in about["indexes"] if index["name"] != "_id_"]
        if indexes:
            client[database].command("createIndexes", name, indexes=indexes)
        elif name not in client[database].list_collection_names():
            client[database].create_collection(name)


def main() -> None:
    verb, *flags = sys.argv[1:]
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--quiet", action="store_true", required=True)
    parser.add_argument("--uri", required=True)
    parser.add_argument("--gzip", action="store_true", required=True)
    if verb == "mongodump":
        parser.add_argument("--db", required=True)
        parser.add_argument("--out", type=Path, required=True)
    else:
        parser.add_argument("--drop", action="store_true", required=True)
        parser.add_argument("--nsInclude", action="append", required=True)
        parser.add_argument("folder", type=Path)
    arguments = parser.parse_args(flags)
    with pymongo.MongoClient(arguments.uri, serverSelectionTimeoutMS=5000) as client:
        if verb == "mongodump":
            dump(client, arguments.db, arguments.out)
        else:
            restore(client, arguments.nsInclude, arguments.folder)


if __name__ == "__main__":
    main()
