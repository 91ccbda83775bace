# docs/generated/: what the binaries say of their settings, and the protos of the API. tests/integration/test_docs.py holds it to that.

# BUILD_DIR names a build that is there already, as it does for the tests.
generate_docs() {
    local build=${BUILD_DIR:-$TOP/build/dev} service page
    [[ -n ${BUILD_DIR:-} ]] || build_preset dev "${SERVICES[@]}"
    mkdir -p "$TOP/docs/generated"
    for service in "${SERVICES[@]}"; do
        page=$TOP/docs/generated/$service.md
        "$build/bin/$service" --print-docs >"$page.part"
        mv "$page.part" "$page"
    done
    install_test_clients
    "$TESTS_VENV/bin/python" "$TOP/scripts/api_docs.py" "$TOP/docs/generated"
}
