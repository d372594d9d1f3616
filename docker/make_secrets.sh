#!/bin/sh
# Passwords and the Ray token of the compose stack, made once, readable by their owner alone.
#   docker/make_secrets.sh
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
cd secrets
random() { openssl rand -hex 32; }

[ -e ray_auth_token ] || random >ray_auth_token
[ -e postgres_password ] || random >postgres_password
if [ ! -e mlflow_login.env ]; then
    login=$(random)
    printf 'MLFLOW_TRACKING_USERNAME=admin\nMLFLOW_TRACKING_PASSWORD=%s\n' "$login" >mlflow_login.env
    printf 'MLFLOW_AUTH_ADMIN_PASSWORD=%s\nMLFLOW_FLASK_SERVER_SECRET_KEY=%s\nPGPASSWORD=%s\n' \
        "$login" "$(random)" "$(cat postgres_password)" >mlflow_server.env
fi
echo "secrets are in $(pwd); the MLflow user is admin, its password is in mlflow_login.env"
