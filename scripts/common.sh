# Shared by every command of ./dev: where things are, how to say things, how to wait.
# Sourced, never run.

readonly TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly STATE=${DEV_STATE:-$TOP/.run}
readonly MONGO_VENV=$TOP/.venv-mongo
readonly TESTS_VENV=$TOP/.venv-tests
readonly SERVICES=(auth usage relay admin-gw)

say() { printf '%s\n' "$*" >&2; }
die() {
    say "dev: $*"
    exit 1
}

# wait_until SECONDS WHAT COMMAND…: polls a readiness probe; nothing else tells when a server can take calls.
wait_until() {
    local limit=$1 what=$2 deadline
    shift 2
    deadline=$((SECONDS + limit))
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

# Shows what a command printed only when it fails.
run_quietly() {
    local output
    output=$("$@" 2>&1) || {
        printf '%s\n' "$output" >&2
        return 1
    }
}

http_ok() { curl -fsS -o /dev/null --max-time 2 "$1"; }

# A stamp file holds the digest of what an expensive step was made from; the step runs again when that changes.
stamp_matches() { [[ -f $1 && $(<"$1") == "$2" ]]; }
digest() { sha256sum | cut -c1-16; }
