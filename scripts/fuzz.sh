# Fuzzing with libFuzzer: every x_fuzz.c is a target, with its corpus in tests/fuzz/<target>.
#
# What a run learns is kept, reduced to the inputs that add coverage, in build/fuzz/corpus/<target>. An input that breaks a
# target is written into tests/fuzz/<target>/, so `git status` shows it and `./dev test unit` plays it until it is fixed.

readonly FUZZ_BUILD=$TOP/build/fuzz
readonly FUZZ_PACKAGES=(clang-14 libclang-rt-14-dev)
# An input that takes 10 s or half a GiB is a finding too.
readonly FUZZ_LIMITS=(-timeout=10 -rss_limit_mb=512 -max_len=4096)

fuzz_names() {
    local dir
    for dir in "$TOP"/tests/fuzz/*/; do basename "$dir"; done
}

fuzz_program() { printf '%s/bin/%s_fuzz' "$FUZZ_BUILD" "$1"; }

# Replaces the working corpus by its smallest part with the same coverage.
fuzz_minimise() {
    local target=$1 work=$FUZZ_BUILD/corpus/$1
    rm -rf "$work.less"
    mkdir "$work.less"
    "$(fuzz_program "$target")" -merge=1 "${FUZZ_LIMITS[@]}" "$work.less" "$TOP/tests/fuzz/$target" "$work" >"$work.log" 2>&1 ||
        die "fuzz: the corpus of $target does not merge: $(tail -n 20 "$work.log")"
    rm -rf "$work"
    mv "$work.less" "$work"
}

# fuzz_one TARGET SECONDS: false when something was found.
fuzz_one() {
    local target=$1 seconds=$2 work=$FUZZ_BUILD/corpus/$1 seeds=$TOP/tests/fuzz/$1 status=0 dictionary=()
    mkdir -p "$work"
    [[ ! -f $TOP/tests/fuzz/$target.dict ]] || dictionary=(-dict="$TOP/tests/fuzz/$target.dict")
    nice "$(fuzz_program "$target")" "${FUZZ_LIMITS[@]}" "${dictionary[@]}" -max_total_time="$seconds" -print_final_stats=1 \
        -artifact_prefix="$seeds/found-" "$work" "$seeds" >"$work.log" 2>&1 || status=$?
    if ((status)); then
        say "fuzz: $target found something (the whole log: $work.log):"
        grep -v '^#' "$work.log" | tail -n 40 >&2
        return 1
    fi
    say "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$work.log") runs, $(grep -o 'cov: [0-9]*' "$work.log" | tail -n 1)"
    fuzz_minimise "$target"
}

fuzz() {
    local seconds=60 found=0 targets=() target
    [[ ${1:-} != list ]] || {
        fuzz_names
        return
    }
    [[ ! ${1:-} =~ ^[a-z] ]] || {
        targets=("$1")
        shift
    }
    [[ -z ${1:-} ]] || seconds=$1
    [[ $seconds =~ ^[1-9][0-9]*$ ]] || die "fuzz: '$seconds' is no number of seconds"
    ((${#targets[@]})) || mapfile -t targets < <(fuzz_names)
    for target in "${targets[@]}"; do
        [[ -d $TOP/tests/fuzz/$target ]] || die "fuzz: no target called '$target' (./dev fuzz list)"
    done
    install_build_tools
    install_packages "${FUZZ_PACKAGES[@]}"
    build_preset fuzz "${targets[@]/%/_fuzz}"
    set_sanitizer_options
    for target in "${targets[@]}"; do fuzz_one "$target" "$seconds" || found=1; done
    return "$found"
}
