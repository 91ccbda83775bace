# Running the tests. Everything uses free ports and folders of its own, so a running suite is not disturbed.

unset_provider_keys() { unset OPENAI_API_KEY ANTHROPIC_API_KEY GOOGLE_API_KEY LIBRECHAT_API_KEY; }

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# with_mongo COMMAND…: with MONGO_URI naming a server that lives as long as the command, unless one is given already.
with_mongo() {
    if [[ -n ${MONGO_URI:-} ]]; then
        "$@"
        return
    fi
    local dir port pid status=0
    install_mongo
    dir=$(mktemp -d) port=$(free_port)
    "$MONGO_VENV/bin/secantusd-py" --host 127.0.0.1 --port "$port" --storage-path "$dir" >"$dir/log" 2>&1 </dev/null &
    pid=$!
    wait_until 30 mongo bash -c "exec 3<>/dev/tcp/127.0.0.1/$port" || die "the test database did not start: $(<"$dir/log")"
    MONGO_URI=mongodb://127.0.0.1:$port MONGO_SERVER_BIN=$MONGO_VENV/bin/secantusd-py "$@" || status=$?
    kill "$pid"
    wait "$pid" 2>/dev/null || true
    rm -rf "$dir"
    return "$status"
}

# Read by the sanitizers' run time; a report makes a test program, or a service at its end, exit with an error.
# Libraries that are not built with -fsanitize=thread (gRPC, libmongoc, libuv, libcmocka) order their memory with atomics
# that the sanitizer cannot see: what they do inside is not judged, what our code does with its own memory is.
set_sanitizer_options() {
    export TSAN_OPTIONS="ignore_noninstrumented_modules=1 die_after_fork=0"
    export UBSAN_OPTIONS=print_stacktrace=1
}

# What a release does in a second may take a sanitizer's build some: multiplies the tests' time limits.
patience_of() {
    case $1 in
    asan | tsan) echo 4 ;;
    coverage) echo 2 ;;
    *) echo 1 ;;
    esac
}

unit_tests() {
    local preset=$1
    build_preset "$preset" unit_tests
    say "unit tests ($preset)"
    with_mongo ctest --test-dir "$TOP/build/$preset" -L unit --output-on-failure --no-tests=error -j "$(nproc)"
}

# pytest_suite PRESET PYTEST-ARGUMENTS…: tests that run the real binaries of that build with real stores. They mostly wait for
# events, so several files run at a time (TEST_WORKERS, or two a processor, for whose ports there is room up to eight), each worker
# with a suite of its own.
pytest_suite() {
    local preset=$1 workers=$((2 * $(nproc)))
    shift
    build_preset "$preset" auth relay usage admin-gw
    install_mongo
    install_test_clients
    install_other_clients
    say "tests with real servers ($preset): $*"
    (cd "$TOP" && BUILD_DIR="$TOP/build/$preset" TEST_PATIENCE="${TEST_PATIENCE:-$(patience_of "$preset")}" "$TESTS_VENV/bin/pytest" -q --color=no -p no:cacheprovider -n "${TEST_WORKERS:-$((workers < 8 ? workers : 8))}" --dist loadfile \
        -c tests/pytest.ini --rootdir tests "$@")
}

upstream_tests() {
    say "tests of the scripted upstreams"
    (cd "$TOP/tests" && python3 -m unittest discover -q -s upstreams -t .)
}

# fault_tests [SECONDS [SEED]]: mixed traffic while everything is killed at random; the seed is printed. A run of ten minutes or more also
# stops a replica of usage for a minute in each step of a batch.
fault_tests() {
    local seconds=${1:-600} seed=${2:-}
    [[ $seconds =~ ^[1-9][0-9]*$ && $seed =~ ^[0-9]*$ ]] || die "test faults [seconds] [seed]: not '$*'"
    TEST_WORKERS=0 FAULTS_SECONDS=$seconds FAULTS_SEED=$seed pytest_suite dev tests/faults
    ((seconds < 600)) || TEST_WORKERS=0 STALL_SECONDS=60 pytest_suite dev tests/integration/test_usage_faults.py -k stops_in_a_batch
}

run_tests() {
    local what=${1:-all}
    [[ $what == live ]] || unset_provider_keys # those a live run is for
    set_sanitizer_options
    install_build_tools
    case $what in
    unit)
        unit_tests dev
        ;;
    integration) pytest_suite dev tests/integration ;;
    e2e)
        [[ -z ${2:-} || $2 == --tls ]] || die "test e2e: unknown argument '$2'"
        SUITE_TLS=$([[ ${2:-} != --tls ]] || echo 1) pytest_suite dev tests/e2e
        ;;
    smoke) pytest_suite dev -m smoke tests ;;
    live) TEST_WORKERS=0 pytest_suite dev -rs tests/live ;;
    faults) fault_tests "${@:2}" ;;
    --sanitizers)
        unit_tests asan
        unit_tests tsan
        pytest_suite asan tests/e2e
        pytest_suite tsan tests/e2e
        ;;
    --coverage) coverage_tests ;;
    all)
        unit_tests dev
        upstream_tests
        pytest_suite dev tests/integration tests/e2e tests/faults/test_verdict.py
        SUITE_TLS=1 pytest_suite dev tests/e2e
        bench_smoke
        ;;
    *) die "test: no part called '$what' (unit, integration, e2e, smoke, live, faults, --sanitizers, --coverage)" ;;
    esac
}
