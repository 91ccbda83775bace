"""What has to hold when all is quiet. Each check returns what it found, in words; nothing found is good."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from faults.chaos import Kill
from faults.client_log import ANSWERED, CUT, LEFT, UNSENT, Entry
from faults.sums import ALL_KEYS, DERIVED, OWNER_PARTS, Json, Sums, days_of, differences, hours_of, percentile, stored
from faults.traffic import KINDS

PARTS = {f"{ALL_KEYS}{n:02}" for n in range(OWNER_PARTS)}
ASCII_BYTES_PER_TOKEN = 4  # of the estimate that a cut answer is billed by
DRAINED_S = 15.0  # an answer goes on without its caller for less
UNCHECKED = "the API key cannot be checked at the moment"


@dataclass
class Tally:
    """Counts for the summary."""

    answered: int = 0
    interrupted: int = 0
    unread: int = 0  # complete, but the relay was killed before the client had read it all
    unrecognised: int = 0
    folded: int = 0
    by_end: Counter[str] = field(default_factory=Counter)


def is_recognised(entry: Entry) -> bool:
    """Whether the relay knew, as far as the client can tell, whose request it was."""
    return entry.end != UNSENT and entry.status != 401 and entry.message != UNCHECKED


class Requests:
    """The client's log beside the rows."""

    def __init__(self, entries: Sequence[Entry], rows: Sequence[Json], kills: Sequence[Kill]) -> None:
        self._entries = entries
        self._rows = rows
        self._rows_of: dict[str, list[Json]] = defaultdict(list)
        for row in rows:
            self._rows_of[row.get("clientRequestId", "")].append(row)
        self._kills = kills
        self._unrowed: Counter[str] = Counter()  # refusals by key
        self.tally = Tally()

    def findings(self) -> list[str]:
        found = list(self._of_ids())
        for entry in self._entries:
            self.tally.by_end[entry.end] += 1
            found += [f"{entry}: {what}; rows: {self._rows_of[entry.id]}" for what in self._of_entry(entry)]
        found += self._of_folds()
        return found

    def _of_ids(self) -> Iterable[str]:
        for name in ("clientRequestId", "requestId"):
            for value, count in Counter(row.get(name, "") for row in self._rows).items():
                if count > 1:
                    yield f"{count} rows with the {name} {value!r}"
        for client_id in self._rows_of.keys() - {entry.id for entry in self._entries}:
            yield f"a row of a request that nobody made: {client_id!r}"

    def _of_entry(self, entry: Entry) -> Iterable[str]:
        rows = self._rows_of[entry.id]
        if entry.error == "hung":
            yield "neither answered nor cut"
        if not is_recognised(entry):
            self.tally.unrecognised += entry.end == ANSWERED
            if rows:
                yield "a row of what cannot have one"
            if entry.end == ANSWERED and entry.status == 401 and entry.key_id:
                yield "a good key was refused"
        elif entry.end == ANSWERED:
            self.tally.answered += 1
            yield from self._of_answer(entry, rows)
        else:
            yield from self._of_cut(entry, rows)

    def _of_answer(self, entry: Entry, rows: Sequence[Json]) -> Iterable[str]:
        if entry.status not in KINDS[entry.kind].answers:
            yield f"an answer with status {entry.status}"
            return
        if entry.is_stream and entry.is_done == bool(entry.error):
            yield "a stream that ended neither with [DONE] nor with an error"
        outcomes = KINDS[entry.kind].answers[entry.status]
        if not rows and outcomes == ("refused",):
            self._unrowed[entry.key_id] += 1
            return
        if not rows:
            yield "answered, and no row"
            return
        yield from self._of_answered_row(entry, rows[0], outcomes)

    def _of_answered_row(self, entry: Entry, row: Json, outcomes: Sequence[str]) -> Iterable[str]:
        if row["outcome"] not in outcomes:
            yield f"the outcome is not of {outcomes}"
        said = {"requestId": entry.request_id, "keyId": entry.key_id, "status": entry.status, "error": entry.error}
        written = {
            "requestId": row["requestId"], "keyId": row["keyId"], "status": row["response"]["statusCode"],
            "error": row["response"]["error"] or "",
        }
        if said != written:
            yield f"the client read {said}, the row says {written}"
        if entry.usage:
            read = {name: entry.usage.get(f"{name}_tokens", 0) for name in ("prompt", "completion", "total")}
            if read != (kept := {name: row["usage"][f"{name}Tokens"] for name in read}):
                yield f"the client read a usage of {read}, the row says {kept}"

    def _of_cut(self, entry: Entry, rows: Sequence[Json]) -> Iterable[str]:
        """Sent, and not read to its end."""
        if entry.end == CUT and not self._was_killed(entry, entry.connected_s):
            yield "the connection broke, and nobody killed the relay"
        if not rows:
            if entry.status == 200:
                yield "an answer had begun, and no row"
            elif entry.status and entry.status != 503:
                self._unrowed[entry.key_id] += 1
            return
        row = rows[0]
        self.tally.interrupted += row["outcome"] == "interrupted"
        self.tally.unread += row["outcome"] == "complete" and entry.end == CUT
        if row["outcome"] == "interrupted" and not self._was_killed(entry, entry.started_s):
            yield "interrupted, and nobody killed the relay"
        # Models without a price have their figures reported as well, when the answer came whole.
        is_reported = row["billingBasis"] == "reported" or (row["billingBasis"] == "unpriced" and row["outcome"] == "complete")
        if row["usage"]["completionTokens"] * ASCII_BYTES_PER_TOKEN < entry.text_bytes and not is_reported:
            yield f"{entry.text_bytes} bytes of text were read, and fewer billed"

    def _was_killed(self, entry: Entry, since_s: float) -> bool:
        until_s = entry.ended_s + (DRAINED_S if entry.end == LEFT else 0)
        return any(kill.name == entry.relay and since_s <= kill.until_s and kill.at_s <= until_s for kill in self._kills)

    def _of_folds(self) -> Iterable[str]:
        """Refusals beyond what a key may have as rows are counted in the row of their second."""
        room: Counter[str] = Counter()
        for row in self._rows:
            room[row["keyId"]] += row.get("repeatCount", 1) - 1
        cut = Counter(entry.key_id for entry in self._entries if entry.end not in (ANSWERED, UNSENT))
        for key_id in room.keys() | self._unrowed.keys():
            self.tally.folded += room[key_id]
            if not self._unrowed[key_id] <= room[key_id] <= self._unrowed[key_id] + cut[key_id]:
                yield f"of {key_id} {self._unrowed[key_id]} refusals have no row, and {room[key_id]} are counted in others"


def hours_are_sums_of_rows(rows: Iterable[Json], hours: Sequence[Json], of_owners: Sequence[Json]) -> list[str]:
    parts = ("metrics", "hist", "minutes", "ledger")
    found = [f"an hour in the wrong collection: {hour['_id']}" for hour in hours if hour["apiKeyId"] in PARTS]
    found += [f"an hour in the wrong collection: {hour['_id']}" for hour in of_owners if hour["apiKeyId"] not in PARTS]
    return found + _compared("hour", hours_of(rows), {hour["_id"]: stored(hour, *parts) for hour in (*hours, *of_owners)})


def days_are_sums_of_hours(hours: Iterable[Json], days: Sequence[Json], totals: Sequence[Json], owners: Sequence[Json]) -> list[str]:
    found = [f"a day in the wrong collection: {day['_id']}" for day in days if isinstance(day["apiKeyId"], str)]
    found += [f"a day in the wrong collection: {day['_id']}" for day in totals if day["apiKeyId"] != ALL_KEYS]
    found += [f"a day in the wrong collection: {day['_id']}" for day in owners if day["apiKeyId"] not in PARTS]
    sums = {day["_id"]: stored(day, "metrics", "hist", "hours") for day in (*days, *totals, *owners)}
    for day in (*days, *totals):
        if day["apiKeyId"] in PARTS:
            continue
        figures = sums[day["_id"]]
        derived = {path: figures.pop(path, 0) for path in DERIVED}
        found += differences(f"day {day['_id']}", derived_of(figures), derived)
    return found + _compared("day", days_of({hour["_id"]: stored(hour, "metrics", "hist") for hour in hours}), sums)


def derived_of(day: Sums) -> dict[str, float]:
    return dict(zip(DERIVED, (
        day["metrics.cost.estimatedNanoUsd"] / 1e9,
        day["metrics.cost.billedNanoUsd"] / 1e9,
        day["metrics.performance.sumDuration"] / day["metrics.requests.total"],
        percentile(day, 0.95),
        percentile(day, 0.99),
    )))


def _compared(kind: str, computed: Mapping[str, Sums], found: Mapping[str, Sums]) -> list[str]:
    ids = sorted(computed.keys() | found.keys())
    return [line for id_ in ids for line in differences(f"{kind} {id_}", computed.get(id_, {}), found.get(id_, {}))]


def spools_are_taken(spools: Sequence[Json], relays: int, rows: int, rejects: Sequence[Json], losses: Sequence[Json]) -> list[str]:
    checks: list[tuple[bool, Callable[[], str]]] = [
        (len(spools) == relays, lambda: f"{len(spools)} spools of {relays} relays: {spools}"),
        (not rejects, lambda: f"set aside: {rejects}"),
        (not losses, lambda: f"taken for lost: {losses}"),
        (sum(spool["n"] for spool in spools) == rows + len(rejects), lambda: f"{rows} rows of what was claimed: {spools}"),
    ]
    found = [say() for holds, say in checks if not holds]
    for spool in spools:
        if "p" in spool or not spool["n"] == spool["done"] == spool["tail"]:
            found.append(f"a spool that is not applied: { {name: spool.get(name) for name in ('_id', 'n', 'done', 'tail', 'claimedAt')} }")
    return found


def disk_agrees(disks: Mapping[str, Sequence[Json]], spools: Sequence[Json]) -> list[str]:
    """`disks`: by relay, what `relay spool inspect` printed after its end."""
    claimed = {spool["_id"]: spool["n"] for spool in spools}
    found = []
    for relay, documents in disks.items():
        for document in documents:
            if document["name"] == "flight":
                if document["open"] or document["done"]:
                    found.append(f"{relay} has requests in its flight table: {document}")
            elif not document["acked"] == document["tail"] == claimed.get(document["spool"]):
                found.append(f"{relay} has {document}, claimed are {claimed}")
    return found
