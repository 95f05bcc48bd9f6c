#!/bin/sh
# The command, with the settings of the service. As its user: sudo -u fidelity-tracker fidelity-tracker status
: "${FIDELITY_TRACKER_CONFIG=/etc/fidelity-tracker.toml}"
export FIDELITY_TRACKER_CONFIG
exec @PROGRAM@/bin/node @PROGRAM@/dist/main.js "$@"
