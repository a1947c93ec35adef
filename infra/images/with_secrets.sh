#!/bin/sh
# Run a command with each secret of this container as a variable: Prefect and boto3 read variables only.
# Secrets are files in /run/secrets named like the variable, so they stand in no image and no compose file.
set -eu
for file in "${SECRETS_FOLDER:-/run/secrets}"/*; do
    if [ -f "$file" ]; then
        name=$(basename "$file")
        value=$(cat "$file")
        export "$name=$value"
    fi
done
exec "$@"
