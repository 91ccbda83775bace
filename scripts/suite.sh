# The running suite: MongoDB-compatible server, Redis, scripted upstreams, the four services.
#
#   .run/env      what a user needs, NAME=value (0600)
#   .run/secrets  peppers, service tokens, bootstrap credentials (0700); tls/: an authority and its certificates
#   .run/config   the relay's providers and routes
#   .run/data     databases and the relay's spool
#   .run/log      one file a process; .run/pid likewise

readonly UPSTREAM_DEFAULT_MODELS='[gpt-4o, gpt-4o-mini, gpt-4.1, gpt-4.1-mini, gpt-5, gpt-5-mini, text-embedding-3-small]'

set_ports() {
    PORT_RELAY=${DEV_PORT_RELAY:-8080}
    PORT_ADMIN=${DEV_PORT_ADMIN:-8081}
    PORT_AUTH_GRPC=${DEV_PORT_AUTH_GRPC:-9101}
    PORT_RELAY_GRPC=${DEV_PORT_RELAY_GRPC:-9102}
    PORT_USAGE_GRPC=${DEV_PORT_USAGE_GRPC:-9103}
    PORT_OPS=${DEV_PORT_OPS:-9201}
    PORT_MONGO=${DEV_PORT_MONGO:-27117}
    PORT_REDIS=${DEV_PORT_REDIS:-6479}
    PORT_UPSTREAM=${DEV_PORT_UPSTREAM:-8090}
    PORT_LIBRECHAT=${DEV_PORT_LIBRECHAT:-8091}
}

# ---- processes ----

pid_file() { printf '%s/pid/%s' "$STATE" "$1"; }

# A pid file names the process and its start time, so that a number the kernel gave to another process is not ours.
start_time() { awk '{print $22}' "/proc/$1/stat" 2>/dev/null; }
is_running() {
    local pid started
    [[ -f $(pid_file "$1") ]] && read -r pid started <"$(pid_file "$1")" || return 1
    [[ -n $started && $(start_time "$pid") == "$started" ]]
}

port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

port_is_taken() { ! port_is_free "$1"; }

# start NAME PORT VARIABLE COMMAND…: in the background, with a pid file and a log; the port must be free.
start() {
    local name=$1 port=$2 variable=$3
    shift 3
    port_is_free "$port" || die "port $port, wanted by $name, is taken; set $variable to another"
    setsid "$@" >>"$STATE/log/$name.log" 2>&1 </dev/null &
    local pid=$!
    printf '%s %s\n' "$pid" "$(start_time "$pid")" >"$(pid_file "$name")"
    STARTED=1
}

stop() {
    local name=$1 pid
    if is_running "$name"; then
        read -r pid _ <"$(pid_file "$name")"
        kill "$pid" 2>/dev/null || true
        if ! wait_until 20 "$name" has_ended "$name"; then
            say "$name did not stop in 20 s: killed"
            kill -9 -- "-$pid" 2>/dev/null || kill -9 "$pid" 2>/dev/null || true
            wait_until 5 "$name" has_ended "$name" || true
        fi
    fi
    rm -f "$(pid_file "$name")"
}
has_ended() { ! is_running "$1"; }

await() {
    local name=$1
    shift
    wait_until "${DEV_START_TIMEOUT:-60}" "$name" "$@" && return
    tail -n 20 "$STATE/log/$name.log" >&2 || true
    die "$name is not ready after ${DEV_START_TIMEOUT:-60} s; its log: $STATE/log/$name.log"
}

# ---- secrets and settings ----

random_base62() { LC_ALL=C tr -dc 'A-Za-z0-9' </dev/urandom | head -c "$1" || true; }

make_secret() {
    local file=$STATE/secrets/$1
    shift
    [[ -s $file ]] || (umask 077 && "$@" >"$file")
}
pepper_line() { printf 'a %s\n' "$(openssl rand -base64 32)"; }
master_key_line() { printf 'k1 %s\n' "$(openssl rand -base64 32)"; }
service_token_lines() {
    local service
    for service in "${SERVICES[@]}"; do printf '%s lcsvc_%s\n' "$service" "$(random_base62 40)"; done
}
admin_key_text() { printf 'lcadm_%s' "$(random_base62 44)"; }

# An authority of this folder's own, and a certificate for each name; those that end within a day are made anew.
ends_soon() { ! openssl x509 -in "$1" -noout -checkend 86400 >/dev/null 2>&1; }
new_key_request() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "$@" 2>/dev/null; }

make_certificate() {
    local name=$1 dir=$STATE/secrets/tls
    ! ends_soon "$dir/$name.pem" && return
    new_key_request -subj "/CN=$name" -keyout "$dir/$name.key" -out "$dir/$name.csr"
    openssl x509 -req -in "$dir/$name.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -set_serial "0x$(openssl rand -hex 8)" \
        -days 397 -out "$dir/$name.part" -extfile <(printf 'subjectAltName=DNS:%s,DNS:localhost,IP:127.0.0.1,IP:::1\n' "$name") 2>/dev/null
    mv "$dir/$name.part" "$dir/$name.pem"
    rm -f "$dir/$name.csr"
}

make_certificates() {
    local name dir=$STATE/secrets/tls
    mkdir -p "$dir"
    if ends_soon "$dir/ca.pem"; then
        rm -f "$dir"/*.pem
        new_key_request -x509 -days 3650 -subj "/CN=API Relay development $(openssl rand -hex 4)" -keyout "$dir/ca.key" -out "$dir/ca.pem"
    fi
    make_secret cursor-key random_base62 40
    for name in "${SERVICES[@]}" mongo redis; do make_certificate "$name"; done
}

make_secrets() {
    make_secret peppers pepper_line
    make_secret master-keys master_key_line
    make_secret service-tokens service_token_lines
    make_secret owner-password random_base62 24
    make_secret admin-key admin_key_text
}
secret() { cat "$STATE/secrets/$1"; }
service_token() { awk -v name="$1" '$1 == name { print $2 }' "$STATE/secrets/service-tokens"; }

# allow_list URL: loopback, and the addresses of the URL's host.
allow_list() {
    local host address list=127.0.0.0/8,::1/128
    host=$(sed -E 's|^[a-z]+://(\[([^]]+)\]\|([^:/?]+)).*|\2\3|' <<<"$1")
    while read -r address _; do list+=,$address; done < <(getent ahosts "$host" 2>/dev/null | awk '!seen[$1]++')
    printf '%s' "$list"
}

provider_yaml() { printf '  - name: %s\n    kind: %s\n    baseUrl: "%s"\n    credential: "%s"\n' "$@"; }
route_yaml() { printf '  - model: "%s"\n    targets: [{ provider: %s }]\n' "$1" "$2"; }

# Which upstreams the relay gets: the one asked for, else what the environment has credentials for, else the scripted ones.
write_relay_config() {
    local upstream=$1 providers routes allow=127.0.0.0/8,::1/128 scripted=0
    local librechat_url=${LIBRECHAT_URL:-http://127.0.0.1:$PORT_LIBRECHAT}
    : >"$STATE/config/credentials.env"
    if [[ -n $upstream ]]; then
        providers=$(provider_yaml upstream openai "$upstream" env:RELAY_CREDENTIAL_UPSTREAM)
        printf 'RELAY_CREDENTIAL_UPSTREAM=%s\n' "${OPENAI_API_KEY:-dev-upstream}" >>"$STATE/config/credentials.env"
        routes=$(route_yaml '*' upstream && printf '    listedModels: %s\n' "$UPSTREAM_DEFAULT_MODELS")
        allow=$(allow_list "$upstream")
    else
        if [[ -n ${OPENAI_API_KEY:-} ]]; then
            providers=$(provider_yaml openai openai https://api.openai.com/v1 env:RELAY_CREDENTIAL_OPENAI)
            printf 'RELAY_CREDENTIAL_OPENAI=%s\n' "$OPENAI_API_KEY" >>"$STATE/config/credentials.env"
            routes=$(route_yaml '*' openai && printf '    listedModels: %s\n' "$UPSTREAM_DEFAULT_MODELS")
        else
            scripted=1
            providers=$(provider_yaml scripted openai "http://127.0.0.1:$PORT_UPSTREAM/v1" env:RELAY_CREDENTIAL_SCRIPTED)
            printf 'RELAY_CREDENTIAL_SCRIPTED=scripted\n' >>"$STATE/config/credentials.env"
            routes=$(route_yaml '*' scripted && printf '    listedModels: %s\n' "$UPSTREAM_DEFAULT_MODELS")
        fi
        providers+=$'\n'$(provider_yaml librechat librechat "$librechat_url" env:RELAY_CREDENTIAL_LIBRECHAT)
        printf 'RELAY_CREDENTIAL_LIBRECHAT=%s\n' "${LIBRECHAT_API_KEY:-sk-scripted}" >>"$STATE/config/credentials.env"
        routes+=$'\n'$(route_yaml 'agent_*' librechat && printf '    listedModels: [agent_echo]\n')
        [[ -z ${LIBRECHAT_URL:-} ]] || allow+=,$(allow_list "$librechat_url")
    fi
    chmod 600 "$STATE/config/credentials.env"
    printf 'providers:\n%s\nmodels:\n%s\n' "$providers" "$routes" >"$STATE/config/relay.yaml"
    printf 'UPSTREAM=%s\nALLOW=%s\nSCRIPTED=%s\n' "$upstream" "$allow" "$scripted" >"$STATE/config/choice"
}

# ---- up ----

# Stores of the user's, or our own. A shell that has .run/env exported names our own: they are started all the same.
choose_stores() {
    local own_mongo=mongodb://127.0.0.1:$PORT_MONGO/LibreChat own_redis=redis://127.0.0.1:$PORT_REDIS
    [[ ${MONGO_URI:-} != "$own_mongo"* ]] || unset MONGO_URI
    [[ ${REDIS_URL:-} != "$own_redis" && ${REDIS_URL:-} != "rediss${own_redis#redis}" ]] || unset REDIS_URL
    if [[ $TLS == 1 ]]; then
        own_mongo+="?tls=true&tlsCAFile=$CA_FILE"
        own_redis=rediss${own_redis#redis}
    fi
    MONGO=${MONGO_URI:-$own_mongo} REDIS=${REDIS_URL:-$own_redis}
    DATABASE=$(sed -E 's|^[^/]*//[^/]*/?([^?]*).*|\1|' <<<"$MONGO")
    DATABASE=${DATABASE:-LibreChat}
}

start_stores() {
    if [[ -z ${MONGO_URI:-} ]] && ! is_running mongo; then
        local mongo_tls=()
        [[ $TLS == 0 ]] || mongo_tls=(--tls-cert-file "$STATE/secrets/tls/mongo.pem" --tls-key-file "$STATE/secrets/tls/mongo.key")
        start mongo "$PORT_MONGO" DEV_PORT_MONGO "$MONGO_VENV/bin/secantusd-py" --host 127.0.0.1 \
            --port "$PORT_MONGO" --storage-path "$STATE/data/mongo" --sync-on-commit "${mongo_tls[@]}"
    fi
    if [[ -z ${REDIS_URL:-} ]] && ! is_running redis; then
        local redis_port=(--port "$PORT_REDIS")
        [[ $TLS == 0 ]] || redis_port=(--port 0 --tls-port "$PORT_REDIS" --tls-auth-clients no --tls-ca-cert-file "$CA_FILE"
            --tls-cert-file "$STATE/secrets/tls/redis.pem" --tls-key-file "$STATE/secrets/tls/redis.key")
        start redis "$PORT_REDIS" DEV_PORT_REDIS redis-server --bind 127.0.0.1 "${redis_port[@]}" \
            --dir "$STATE/data/redis" --appendonly yes --appendfsync everysec --daemonize no
    fi
    # The services would wait for their stores by themselves, but look again only every few seconds.
    [[ -n ${MONGO_URI:-} ]] || await mongo port_is_taken "$PORT_MONGO"
    [[ -n ${REDIS_URL:-} ]] || await redis port_is_taken "$PORT_REDIS"
}

start_upstreams() {
    local upstreams=$TOP/tests/upstreams
    if [[ $SCRIPTED == 1 ]] && ! is_running upstream; then
        start upstream "$PORT_UPSTREAM" DEV_PORT_UPSTREAM python3 "$upstreams/openai.py" --port "$PORT_UPSTREAM"
    fi
    if [[ -z $UPSTREAM && -z ${LIBRECHAT_URL:-} ]] && ! is_running librechat; then
        start librechat "$PORT_LIBRECHAT" DEV_PORT_LIBRECHAT python3 "$upstreams/librechat.py" --port "$PORT_LIBRECHAT"
    fi
}

# How a service and the others know each other: certificates, or tokens. Settings, one a line.
trust_settings() {
    local name=$1 prefix=$2 dir=$STATE/secrets/tls
    if [[ $TLS == 0 ]]; then
        printf '%s\n' "${prefix}_SERVICE_TOKENS_FILE=$STATE/secrets/service-tokens"
        return
    fi
    printf '%s\n' "${prefix}_TLS_CERT_FILE=$dir/$name.pem" "${prefix}_TLS_KEY_FILE=$dir/$name.key" "${prefix}_TLS_CA_FILE=$CA_FILE"
    case $name in relay | admin-gw)
        printf '%s\n' "${prefix}_LISTEN_TLS_CERT_FILE=$dir/$name.pem" "${prefix}_LISTEN_TLS_KEY_FILE=$dir/$name.key"
        ;;
    esac
    case $name in relay | usage) printf '%s\n' "${prefix}_CURSOR_KEY_FILE=$STATE/secrets/cursor-key" ;; esac
    case $name in auth | usage | relay) [[ -n ${REDIS_URL:-} ]] || printf '%s\n' "${prefix}_REDIS_CA_FILE=$CA_FILE" ;; esac
}

# start_service NAME PORT VARIABLE SETTING=VALUE…: with these settings and nothing else of our environment.
start_service() {
    local name=$1 port=$2 variable=$3 prefix=$1 number=0 service trust
    shift 3
    is_running "$name" && return
    prefix=${prefix^^}
    prefix=${prefix//-/_}
    for service in "${SERVICES[@]}"; do
        [[ $service == "$name" ]] && break
        number=$((number + 1))
    done
    mapfile -t trust < <(trust_settings "$name" "$prefix")
    start "$name" "$port" "$variable" env -i PATH="$PATH" LANG=C.UTF-8 \
        "${prefix}_OPS_LISTEN=127.0.0.1:$((PORT_OPS + number))" \
        "${trust[@]}" \
        "$@" "$BIN/$name"
}

start_services() {
    local auth=127.0.0.1:$PORT_AUTH_GRPC usage=127.0.0.1:$PORT_USAGE_GRPC relay=127.0.0.1:$PORT_RELAY_GRPC
    local credentials
    mapfile -t credentials <"$STATE/config/credentials.env"
    start_service auth "$PORT_AUTH_GRPC" DEV_PORT_AUTH_GRPC \
        "AUTH_GRPC_LISTEN=$auth" "AUTH_MONGO_URI=$MONGO" "AUTH_MONGO_DATABASE=$DATABASE" "AUTH_REDIS_URL=$REDIS" \
        "AUTH_PEPPERS_FILE=$STATE/secrets/peppers" "AUTH_MASTER_KEYS_FILE=$STATE/secrets/master-keys" \
        "AUTH_OWNER_USERNAME=admin" "AUTH_OWNER_PASSWORD_FILE=$STATE/secrets/owner-password" \
        "AUTH_BOOTSTRAP_ADMIN_KEY_FILE=$STATE/secrets/admin-key"
    start_service usage "$PORT_USAGE_GRPC" DEV_PORT_USAGE_GRPC \
        "USAGE_GRPC_LISTEN=$usage" "USAGE_MONGO_URI=$MONGO" "USAGE_MONGO_DATABASE=$DATABASE" \
        "USAGE_REDIS_URL=$REDIS" "USAGE_AUTH_TARGET=$auth"
    start_service relay "$PORT_RELAY" DEV_PORT_RELAY \
        "RELAY_LISTEN=127.0.0.1:$PORT_RELAY" "RELAY_GRPC_LISTEN=$relay" \
        "RELAY_MONGO_URI=$MONGO" "RELAY_MONGO_DATABASE=$DATABASE" "RELAY_REDIS_URL=$REDIS" "RELAY_AUTH_TARGET=$auth" "RELAY_USAGE_TARGET=$usage" \
        "RELAY_CONFIG_FILE=$STATE/config/relay.yaml" "RELAY_PRICE_BOOK_FILE=$TOP/deploy/config/prices.yaml" \
        "RELAY_MASTER_KEYS_FILE=$STATE/secrets/master-keys" \
        "RELAY_UPSTREAM_ALLOW_CIDRS=$ALLOW" "RELAY_SPOOL_DIR=$STATE/data/spool" "RELAY_STATE_DIR=$STATE/data/relay" \
        "${credentials[@]}"
    start_service admin-gw "$PORT_ADMIN" DEV_PORT_ADMIN \
        "ADMIN_GW_LISTEN=127.0.0.1:$PORT_ADMIN" "ADMIN_GW_AUTH_TARGET=$auth" "ADMIN_GW_RELAY_TARGET=$relay" \
        "ADMIN_GW_USAGE_TARGET=$usage"
}

answers_or_ended() { http_ok "$2" || has_ended "$1"; }

# A service that was told to stop a moment ago still looked as if it ran when the others started: it is started once more.
await_services() {
    local number=0 service url
    for service in "${SERVICES[@]}"; do
        url=http://127.0.0.1:$((PORT_OPS + number))/readyz
        await "$service" answers_or_ended "$service" "$url"
        ! has_ended "$service" || start_services 9>&-
        await "$service" answers_or_ended "$service" "$url"
        if has_ended "$service"; then
            tail -n 20 "$STATE/log/$service.log" >&2
            die "$service ended by itself; its log: $STATE/log/$service.log"
        fi
        number=$((number + 1))
    done
}

# The key survives: it is made once and kept in .run/secrets until the data are wiped.
make_api_key() {
    [[ -s $STATE/secrets/api-key ]] && return
    local answer key
    answer=$(curl -fsS --max-time 10 "${CURL_CA[@]}" -H "Authorization: Bearer $(secret admin-key)" -H 'Content-Type: application/json' \
        -d '{"name": "first key", "clientId": "dev"}' "$SCHEME://127.0.0.1:$PORT_ADMIN/admin/api-keys") ||
        die "the first key could not be made; see $STATE/log/admin-gw.log"
    key=$(grep -o '"key" *: *"lc_[A-Za-z0-9_]*"' <<<"$answer" | grep -o 'lc_[A-Za-z0-9_]*')
    (umask 077 && printf '%s' "$key" >"$STATE/secrets/api-key")
}

write_env() {
    (umask 077 && cat >"$STATE/env.part" <<TEXT
RELAY_URL=$SCHEME://127.0.0.1:$PORT_RELAY
ADMIN_URL=$SCHEME://127.0.0.1:$PORT_ADMIN
ADMIN_KEY=$(secret admin-key)
ADMIN_USER=admin
ADMIN_PASSWORD=$(secret owner-password)
API_KEY=$(secret api-key)
AUTH_GRPC=127.0.0.1:$PORT_AUTH_GRPC
RELAY_GRPC=127.0.0.1:$PORT_RELAY_GRPC
USAGE_GRPC=127.0.0.1:$PORT_USAGE_GRPC
MONGO_URI=$([[ $MONGO != *'&'* ]] && printf '%s' "$MONGO" || printf "'%s'" "$MONGO")
REDIS_URL=$REDIS
TEXT
        if [[ $TLS == 1 ]]; then
            printf 'CA_FILE=%s\n' "$CA_FILE"
        else
            printf 'SERVICE_TOKEN=%s\n' "$(service_token relay)"
        fi >>"$STATE/env.part"
    )
    mv "$STATE/env.part" "$STATE/env"
}

print_welcome() {
    cat <<TEXT

API Relay is up.
  OpenAI-compatible API   $SCHEME://127.0.0.1:$PORT_RELAY/v1
  Admin REST              $SCHEME://127.0.0.1:$PORT_ADMIN/admin/…   (OpenAPI: /openapi.json)
  gRPC                    auth 127.0.0.1:$PORT_AUTH_GRPC · relay 127.0.0.1:$PORT_RELAY_GRPC · usage 127.0.0.1:$PORT_USAGE_GRPC
  Admin sign-in           admin / $(secret owner-password)
  Admin key               $(secret admin-key)
  API key                 $(secret api-key)$([[ $TLS == 0 ]] || printf '\n  Authority to trust      %s' "$CA_FILE")
  All of it               $STATE/env

Try it:
  curl -s${CURL_CA[*]:+ ${CURL_CA[*]}} $SCHEME://127.0.0.1:$PORT_RELAY/v1/chat/completions -H 'Authorization: Bearer $(secret api-key)' -H 'Content-Type: application/json' -d '{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say hello"}]}'
TEXT
}

suite_up() {
    local upstream= upstream_given=0
    TLS=0
    while (($#)); do
        case $1 in
        --upstream)
            [[ ${2:-} =~ ^https?://[^/]+(/.*)?/v1/?$ ]] || die "--upstream wants a base URL that ends in /v1, not '${2:-}'"
            upstream=${2%/} upstream_given=1
            shift 2
            ;;
        --tls)
            TLS=1
            shift
            ;;
        *) die "up: unknown argument '$1'" ;;
        esac
    done
    set_ports
    CA_FILE=$STATE/secrets/tls/ca.pem SCHEME=http CURL_CA=()
    [[ $TLS == 0 ]] || SCHEME=https CURL_CA=(--cacert "$CA_FILE")
    choose_stores
    (umask 077 && mkdir -p "$STATE"/{secrets,config,data/{mongo,redis,spool,relay},log,pid})
    exec 9>"$STATE/lock"
    flock -w 300 9 || die "another ./dev is at work"
    install_build_tools
    install_mongo &
    build_preset release auth relay usage admin-gw
    wait $!
    BIN=$TOP/build/release/bin STARTED=0

    make_secrets
    [[ $TLS == 0 ]] || (umask 077 && make_certificates)
    choose_tls
    choose_upstream "$upstream_given" "$upstream"
    source "$STATE/config/choice"
    start_stores 9>&-
    start_upstreams 9>&-
    start_services 9>&-
    await_services
    make_api_key
    write_env
    print_welcome
}

# A suite that runs keeps its upstreams unless others are asked for; then only the relay starts again.
choose_upstream() {
    local given=$1 upstream=$2 current=
    if is_running relay && [[ -f $STATE/config/choice ]]; then
        current=$(sed -n 's/^UPSTREAM=//p' "$STATE/config/choice")
        [[ $given == 0 || $current == "$upstream" ]] && return
        stop relay
    fi
    write_relay_config "$upstream"
}

# A suite that runs the other way stops first: nobody speaks both.
choose_tls() {
    local current
    current=$(cat "$STATE/config/tls" 2>/dev/null || echo 0)
    [[ $current == "$TLS" ]] || stop_suite
    printf '%s\n' "$TLS" >"$STATE/config/tls"
}

# ---- down, logs ----

stop_all() {
    local name
    for name in "$@"; do stop "$name" & done
    wait
}

# What hands over comes before what takes over: the relay's last events still find usage, and usage its store.
stop_suite() {
    stop_all admin-gw relay
    stop_all usage
    stop_all auth upstream librechat
    stop_all redis mongo
}

suite_down() {
    stop_suite
    if [[ ${1:-} == --wipe ]]; then
        rm -rf "$STATE"
    elif [[ -n ${1:-} ]]; then
        die "down: unknown argument '$1'"
    fi
}

suite_logs() {
    local logs=("$STATE"/log/*.log)
    [[ -z ${1:-} ]] || logs=("$STATE/log/$1.log")
    [[ -f ${logs[0]} ]] || die "no log of '${1:-the suite}'; is it up?"
    exec tail -n 100 -F "${logs[@]}"
}
