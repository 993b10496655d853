#!/usr/bin/env bash
# MLflow's server on the head machine of a cluster: on loopback, with a password, started again when it ends.
#
#     cluster/mlflow_server.sh install FOLDER   # once: the password, and the client's settings; FOLDER is a shared one
#     cluster/mlflow_server.sh install FOLDER postgresql://user@host/name    # the same, with runs in that database
#     cluster/mlflow_server.sh start            # nothing, where it runs already
#     cluster/mlflow_server.sh stop | status
#
# Runs are kept in FOLDER/mlflow.db, or in the database; artefacts in FOLDER/artifacts. The database's password stands in
# ~/.pgpass (host:5432:name:user:password, mode 0600), never in a command. Only the command on the head speaks to the
# server: workers need no password. From outside: ssh -L 5000:127.0.0.1:5000 the head; its own password is in
# ~/.mlflow/credentials.
set -euo pipefail
umask 077
home=${TRM_MLFLOW_HOME:-$HOME/.trm-mlflow} port=${TRM_MLFLOW_PORT:-5000}
address=http://127.0.0.1:$port

install_it() {
    local folder
    case "${2:-}" in
    '' | postgresql://*) ;;
    *) echo "$2: expected postgresql://user@host/name" >&2; exit 2 ;;
    esac
    case "${2:-}" in
    *://*:*@*) echo "a password in a command can be read by others; put it into ~/.pgpass, and give postgresql://user@host/name" >&2; exit 2 ;;
    esac
    mkdir -p "$home" "$HOME/.mlflow" "$1/artifacts"
    folder=$(cd "$1" && pwd)
    echo "$folder" > "$home/folder"
    [ -z "${2:-}" ] || echo "postgresql+psycopg://${2#*://}" > "$folder/database"  # by name: SQLAlchemy's default changed
    if [ ! -s "$home/auth.ini" ]; then
        local password
        password=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
        printf '%s\n' '[mlflow]' 'default_permission = READ' "database_uri = sqlite:///$folder/users.db" \
            'admin_username = admin' "admin_password = $password" > "$home/auth.ini"
        od -An -N32 -tx1 /dev/urandom | tr -d ' \n' > "$home/secret"
        printf '%s\n' '[mlflow]' 'mlflow_tracking_username = admin' "mlflow_tracking_password = $password" > "$HOME/.mlflow/credentials"
        rm -f "$folder/users.db"      # of a head that is gone; its password with it
    fi
    if ! grep -q MLFLOW_TRACKING_URI ~/.bashrc 2>/dev/null; then  # first: Ubuntu's .bashrc ends early without a terminal
        { echo "export MLFLOW_TRACKING_URI=$address"; [ ! -e ~/.bashrc ] || cat ~/.bashrc; } > ~/.bashrc.new
        mv ~/.bashrc.new ~/.bashrc
    fi
}

serve() {
    local folder
    folder=$(cat "$home/folder")
    MLFLOW_BACKEND_STORE_URI=sqlite:///$folder/mlflow.db
    [ ! -s "$folder/database" ] || MLFLOW_BACKEND_STORE_URI=$(cat "$folder/database")
    MLFLOW_FLASK_SERVER_SECRET_KEY=$(cat "$home/secret")
    export MLFLOW_BACKEND_STORE_URI MLFLOW_FLASK_SERVER_SECRET_KEY MLFLOW_AUTH_CONFIG_PATH="$home/auth.ini"
    export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
    trap 'kill -TERM -- "-$server" 2>/dev/null; exit 0' TERM
    while true; do
        setsid mlflow server --host 127.0.0.1 --port "$port" --workers 1 --app-name basic-auth \
            --allowed-hosts "127.0.0.1:$port,localhost:$port" --artifacts-destination "$folder/artifacts" 9>&- &
        server=$!
        wait "$server" || true
        kill -KILL -- "-$server" 2>/dev/null || true  # a worker that outlived it would keep the port
        echo "$(date -Is) the server ended; again in 5 s"
        sleep 5 9>&-
    done
}

case "${1:-}" in
install) install_it "${2:?the folder for runs and artefacts, on a shared one}" "${3:-}" ;;
start)
    exec 9> "$home/lock"
    flock -n 9 || { echo "MLflow's server runs already: $address"; exit 0; }
    PATH=$HOME/trm-venv/bin:$PATH setsid "$0" serve >> "$home/log" 2>&1 < /dev/null &
    echo $! > "$home/pid"
    echo "MLflow's server: $address, log $home/log" ;;
serve) serve ;;
stop) [ ! -s "$home/pid" ] || kill -TERM "$(cat "$home/pid")" 2>/dev/null || true; rm -f "$home/pid" ;;
status) curl -sf -o /dev/null "$address/health" && echo "MLflow's server answers at $address" || { echo "no server answers at $address; $0 start" >&2; exit 1; } ;;
*) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
