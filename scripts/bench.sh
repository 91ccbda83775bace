# The benchmarks of bench/, and the plain proxy they compare with.

# nginx from the distribution, unpacked beside the build: no web server is installed or started on this machine.
install_nginx() {
    local dir=$TOP/build/nginx
    [[ -x $dir/usr/sbin/nginx ]] && return
    mkdir -p "$dir"
    (cd "$dir" && run_quietly apt-get download nginx && dpkg -x nginx_*.deb .)
}

readonly BENCH_TARGETS=(auth relay usage admin-gw bench_tools)

install_bench() {
    install_build_tools
    install_packages util-linux
    install_nginx
    install_mongo
    install_test_clients
}

# bench_py PRESET ARGUMENTS…: with the binaries of that build.
bench_py() {
    local preset=$1
    shift
    "$TESTS_VENV/bin/python" "$TOP/bench/bench.py" --build "$TOP/build/$preset" --nginx "$TOP/build/nginx/usr/sbin/nginx" "$@"
}

# The release build, compiled once more with what it was seen to do: `training` counts where half a minute of load goes (bench/training.py),
# and by that the compiler lays `trained` out. It is made anew when the code has changed.
build_trained() {
    local from=$TOP/build/training to=$TOP/build/trained seen
    install_bench
    build_preset training "${BENCH_TARGETS[@]}"
    seen=$(cat "$from"/bin/{auth,relay,usage,admin-gw} | digest)
    stamp_matches "$to/.training" "$seen" && return
    say "training a build (half a minute of load)"
    find "$from" -name '*.gcda' -delete
    run_quietly bench_py training training
    rm -rf "$to"
    mkdir -p "$to"
    (cd "$from" && find . -name '*.gcda' -exec cp --parents {} "$to" \;)
    CCACHE_DISABLE=1 build_preset trained "${BENCH_TARGETS[@]}" # a cache of objects does not see what they were trained with
    printf '%s' "$seen" >"$to/.training"
}

run_bench() {
    install_build_tools
    python3 "$TOP/bench/options.py" "$@" || return # nothing is built for what cannot be measured
    case " $* " in
    *" --help "* | *" -h "*) return ;;
    *" --table"*) install_test_clients ;; # of an earlier run
    *)
        [[ " $* " != *" stages "* ]] || install_packages valgrind
        build_trained
        ;;
    esac
    bench_py trained "$@"
}

# Nothing is timed, so the build that is there anyway will do.
bench_smoke() {
    say "smoke test of the benchmarks"
    install_bench
    build_preset dev "${BENCH_TARGETS[@]}"
    bench_py dev --smoke
}
