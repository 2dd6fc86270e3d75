#!/usr/bin/env bash
# Gives Kibana's user its password, and makes the users of Tasques and the APM server.
# May be repeated.
set -euo pipefail

put() { # put PATH JSON
  curl --silent --show-error --fail-with-body --output /dev/null --user "elastic:$ELASTIC_PASSWORD" \
    --header 'Content-Type: application/json' --data "$2" "http://elasticsearch:9200/_security/$1"
}

text() { # text WORDS: as a JSON string
  local escaped=${1//\\/\\\\}
  printf '"%s"' "${escaped//\"/\\\"}"
}

put user/kibana_system/_password "{\"password\": $(text "$KIBANA_PASSWORD")}"
put user/tasques "{\"password\": $(text "$TASQUES_PASSWORD"), \"roles\": [\"tasques_server\"]}"
put user/tasques-setup "{\"password\": $(text "$TASQUES_PASSWORD"), \"roles\": [\"tasques_setup\"]}"
put user/tasques-kibana "{\"password\": $(text "$TASQUES_PASSWORD"), \"roles\": [\"tasques_kibana\"]}"
put role/apm_writer '{"cluster": ["monitor"], "indices": [
  {"names": ["traces-apm*", "logs-apm*", "metrics-apm*"], "privileges": ["auto_configure", "create_doc"]},
  {"names": [".apm-agent-configuration", ".apm-source-map"], "privileges": ["read"],
   "allow_restricted_indices": true}]}'
put user/apm "{\"password\": $(text "$APM_PASSWORD"), \"roles\": [\"apm_writer\"]}"
echo 'The users are ready.'
