# What a bare Debian 12 lacks: packages, the development database, the test clients. Each pinned in one place.

readonly PACKAGES=(
    build-essential ca-certificates cmake ninja-build pkg-config ccache git
    protobuf-compiler libprotobuf-dev protobuf-c-compiler libprotobuf-c-dev libgrpc-dev
    libmongoc-dev libhiredis-dev libcurl4-openssl-dev libssl-dev libargon2-dev
    libuv1-dev libyaml-dev libcmocka-dev
    redis-server python3 python3-venv curl openssl procps
)
readonly LINT_PACKAGES=(clang-14 clang-format clang-tidy)
readonly BUF_PACKAGE=@bufbuild/buf@1.75.0
# In Debian 13, Ubuntu 24.04 and later themselves; on Debian 12 they come alone from Debian 13's archive.
readonly NEWER_PACKAGES=(libyyjson-dev libllhttp-dev)
# The development stand-in for MongoDB (docs/operate.md); production is MongoDB 6 or newer.
readonly MONGO_PACKAGE=secantusdb==0.7.0b3
# Clients of other languages that the tests are made with, where the language is at hand.
readonly GO_TOOLS=(
    github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3
    google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.11
    google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.1
)
readonly GO_TOOLS_DIR=$TOP/build/tools
readonly NODE_PACKAGES=(
    openai@6.49.0 # 7 wants Node 22
    @anthropic-ai/sdk@1.14.0
)
readonly NODE_OLDEST=20
readonly NODE_DIR=$TOP/build/node

missing_packages() {
    local package
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || printf '%s\n' "$package"
    done
}

as_root() {
    if ((EUID == 0)); then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "installing packages needs root: run as root, or install sudo"
    fi
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# Debian 12 lacks two packages: they are taken from Debian 13's archive on the mirror in use, pinned below everything else.
allow_newer_packages() {
    apt-cache policy "${NEWER_PACKAGES[0]}" | grep -q 'Candidate: [0-9]' && return
    local uri
    uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
    printf 'Types: deb\nURIs: %s\nSuites: trixie\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' \
        "$uri" | as_root tee /etc/apt/sources.list.d/trixie.sources >/dev/null
    printf 'Package: *\nPin: release n=trixie\nPin-Priority: 100\n' |
        as_root tee /etc/apt/preferences.d/trixie >/dev/null
    as_root apt-get update -qq
}

install_packages() {
    local missing
    mapfile -t missing < <(missing_packages "$@")
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null ||
        die "this system has no apt-get; install the equivalents of: ${missing[*]}"
    say "installing ${#missing[@]} packages"
    as_root apt-get update -qq
    allow_newer_packages
    apt_install "${missing[@]}"
}

install_build_tools() { install_packages "${PACKAGES[@]}" "${NEWER_PACKAGES[@]}"; }

# make_venv DIR PIP-ARGUMENTS…: a virtual environment with exactly these, made again when they change.
make_venv() {
    local dir=$1 want files=()
    shift
    [[ $1 != -r ]] || files=("$2")
    want=$(printf '%s\n' "$@" | cat - "${files[@]}" | digest)
    stamp_matches "$dir/.stamp" "$want" && return
    say "preparing $(basename "$dir")"
    rm -rf "$dir"
    python3 -m venv "$dir"
    "$dir/bin/pip" install -q --disable-pip-version-check "$@"
    printf '%s' "$want" >"$dir/.stamp"
}

install_mongo() {
    [[ -n ${MONGO_URI:-} ]] || make_venv "$MONGO_VENV" "$MONGO_PACKAGE"
}

install_test_clients() { make_venv "$TESTS_VENV" -r "$TOP/tests/requirements.txt"; }
install_other_clients() {
    install_go_tools
    install_node_client
}

# These two leave out what cannot be had here, and say so; the tests that need it are skipped by name.
install_go_tools() {
    local want
    if ! command -v go >/dev/null; then
        say "skipped: grpcurl and the Go client of docs/grpc.md (go is not installed)"
        return
    fi
    want=$(printf '%s\n' "${GO_TOOLS[@]}" | digest)
    stamp_matches "$GO_TOOLS_DIR/.stamp" "$want" && return
    say "building ${#GO_TOOLS[@]} tools of Go"
    mkdir -p "$GO_TOOLS_DIR"
    local tool
    for tool in "${GO_TOOLS[@]}"; do
        GOBIN=$GO_TOOLS_DIR GOFLAGS=-buildvcs=false run_quietly go install "$tool" || {
            say "skipped: the tests that need ${tool##*/} (go install failed)"
            return
        }
    done
    printf '%s' "$want" >"$GO_TOOLS_DIR/.stamp"
}

install_node_client() {
    if ! command -v npm >/dev/null; then
        say "skipped: the SDKs for Node (npm is not installed)"
        return
    fi
    if ! node -e "process.exit(parseInt(process.versions.node) < $NODE_OLDEST ? 1 : 0)" 2>/dev/null; then
        say "skipped: the SDKs for Node (node is older than $NODE_OLDEST)"
        return
    fi
    stamp_matches "$NODE_DIR/.stamp" "${NODE_PACKAGES[*]}" && return
    say "installing ${NODE_PACKAGES[*]}"
    mkdir -p "$NODE_DIR"
    run_quietly npm install --no-save --no-audit --no-fund --prefix "$NODE_DIR" "${NODE_PACKAGES[@]}" || {
        say "skipped: the SDKs for Node (npm install failed)"
        return
    }
    printf '%s' "${NODE_PACKAGES[*]}" >"$NODE_DIR/.stamp"
}
