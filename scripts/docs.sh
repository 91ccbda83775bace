# docs/generated/: what the binaries say of their settings. tests/integration/test_docs.py holds it to that.

generate_docs() {
    local service
    build_preset dev "${SERVICES[@]}"
    mkdir -p "$TOP/docs/generated"
    for service in "${SERVICES[@]}"; do
        "$TOP/build/dev/bin/$service" --print-docs >"$TOP/docs/generated/$service.md.part"
        mv "$TOP/docs/generated/$service.md.part" "$TOP/docs/generated/$service.md"
    done
}
