# Building and looking at the code.

build_preset() {
    local preset=$1 dir=$TOP/build/$1 presets
    shift
    install_build_tools
    presets=$(digest <"$TOP/CMakePresets.json") # a build folder does not notice by itself that its preset has changed
    if ! stamp_matches "$dir/.presets" "$presets"; then
        (cd "$TOP" && cmake --preset "$preset" >/dev/null)
        printf '%s' "$presets" >"$dir/.presets"
    fi
    run_quietly ninja -C "$dir" "$@"
}

c_files() { git -C "$TOP" ls-files -- '*.c' '*.h' | sed "s|^|$TOP/|"; }

format_code() {
    install_packages clang-format
    c_files | xargs clang-format -i
}

# The protos against proto/buf.yaml. npm alone serves buf; without npm this part is skipped, and says so.
lint_protos() {
    local dir=$TOP/build/buf
    if ! command -v npm >/dev/null; then
        say "skipped: proto lint (buf comes from npm, which is not installed)"
        return
    fi
    if ! stamp_matches "$dir/.stamp" "$BUF_PACKAGE"; then
        mkdir -p "$dir"
        npm install --silent --no-save --no-audit --no-fund --prefix "$dir" "$BUF_PACKAGE" >&2
        printf '%s' "$BUF_PACKAGE" >"$dir/.stamp"
    fi
    (cd "$TOP/proto" && "$dir/node_modules/.bin/buf" lint)
}

# Formatting, the protos, clang-tidy on every hand-written file: the quick parts first.
lint_code() {
    install_build_tools
    install_packages "${LINT_PACKAGES[@]}"
    c_files | xargs clang-format --dry-run --Werror
    lint_protos
    (cd "$TOP" && cmake --preset lint >/dev/null)
    ninja -C "$TOP/build/lint" --quiet gw_proto
    git -C "$TOP" ls-files -- '*.c' | sed "s|^|$TOP/|" |
        xargs -P "$(nproc)" -n 4 clang-tidy --quiet --warnings-as-errors='*' -p "$TOP/build/lint" \
            2> >(grep -v '^[0-9]* warnings* generated\.$' >&2) # counts of what is switched off
}
