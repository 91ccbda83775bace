# The benchmarks of bench/, and the plain proxy they compare with.

# nginx from the distribution, unpacked beside the build: no web server is installed or started on this machine.
install_nginx() {
    local dir=$TOP/build/nginx
    [[ -x $dir/usr/sbin/nginx ]] && return
    mkdir -p "$dir"
    (cd "$dir" && run_quietly apt-get download nginx && dpkg -x nginx_*.deb .)
}

# bench_with PRESET ARGUMENTS…: with the binaries of that build.
bench_with() {
    local preset=$1
    shift
    install_build_tools
    install_packages util-linux
    [[ " $* " != *" stages "* ]] || install_packages valgrind
    install_nginx
    build_preset "$preset" auth relay usage admin-gw bench_tools
    install_mongo
    install_test_clients
    "$TESTS_VENV/bin/python" "$TOP/bench/bench.py" --build "$TOP/build/$preset" --nginx "$TOP/build/nginx/usr/sbin/nginx" "$@"
}

run_bench() { bench_with release "$@"; }

# Nothing is timed, so the build that is there anyway will do.
bench_smoke() {
    say "smoke test of the benchmarks"
    bench_with dev --smoke
}
