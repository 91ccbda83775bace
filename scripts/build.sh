# Building and looking at the code.

build_preset() {
    local preset=$1
    shift
    install_build_tools
    [[ -f $TOP/build/$preset/build.ninja ]] || (cd "$TOP" && cmake --preset "$preset" >/dev/null)
    ninja -C "$TOP/build/$preset" --quiet "$@"
}

c_files() { git -C "$TOP" ls-files -- '*.c' '*.h' | sed "s|^|$TOP/|"; }

format_code() {
    install_packages clang-format
    c_files | xargs clang-format -i
}

# Formatting, clang-tidy on every hand-written file, the protos' own checks.
lint_code() {
    install_build_tools
    install_packages "${LINT_PACKAGES[@]}"
    c_files | xargs clang-format --dry-run --Werror
    (cd "$TOP" && cmake --preset lint >/dev/null)
    ninja -C "$TOP/build/lint" --quiet gw_proto
    git -C "$TOP" ls-files -- '*.c' | sed "s|^|$TOP/|" |
        xargs -P "$(nproc)" -n 4 clang-tidy --quiet --warnings-as-errors='*' -p "$TOP/build/lint"
}
