# What the tests reach. The report of the last run is build/coverage/report/index.html, its figures report/summary.json.

readonly COVERAGE_BUILD=$TOP/build/coverage
readonly COVERAGE_VENV=$TOP/.venv-coverage
readonly COVERAGE_PACKAGE=gcovr==8.8
readonly COVERAGE_MINIMUM=85 # percent of the lines of libs, and of the domain files of services

# Counts are written when a process ends by itself; of one that a test kills -9 they are lost. Tests, fuzz targets and what
# only they use are not measured.
coverage_report() {
    local report=$COVERAGE_BUILD/report status=0
    rm -rf "$report"
    mkdir -p "$report"
    "$COVERAGE_VENV/bin/gcovr" --root "$TOP" --object-directory "$COVERAGE_BUILD" -j "$(nproc)" \
        --filter "$TOP/libs/" --filter "$TOP/services/" --exclude "$TOP/libs/testing/" \
        --exclude '.*_(test|fuzz)\.c$' --exclude '.*(_kit|_testing|_fixture|test_server)\.h$' --exclude '.*/fake_[a-z_]+\.h$' \
        --exclude-throw-branches --gcov-ignore-parse-errors all \
        --json-summary "$report/summary.json" --html-details "$report/index.html" "$COVERAGE_BUILD/libs" "$COVERAGE_BUILD/services"
    python3 "$TOP/scripts/coverage.py" "$report/summary.json" "$COVERAGE_MINIMUM" || status=1
    say "the report: $report/index.html"
    return "$status"
}

coverage_tests() {
    make_venv "$COVERAGE_VENV" "$COVERAGE_PACKAGE"
    build_preset coverage unit_tests auth relay usage admin-gw
    find "$COVERAGE_BUILD" -name '*.gcda' -delete
    unit_tests coverage
    pytest_suite coverage tests/integration tests/e2e
    coverage_report
}
