#!/bin/sh
# A resource script for tests. It records each start and stop in DIR/calls, and first does what the file DIR/NODE-ACTION says.
dir=DIR
node=$(uname -n)
note() { read -r up _ < /proc/uptime; echo "$up $node $1 $2 $3" >> "$dir/calls"; }
state=/run/svc-$1
[ "$2" = status ] || note "$1" "$2" begin
# shellcheck disable=SC1090 # written by the test
[ ! -e "$dir/$node-$2" ] || . "$dir/$node-$2"
case $2 in
    start) : > "$state" ;;
    stop) rm -f "$state" ;;
    status) if [ -e "$state" ]; then echo running; else echo stopped; fi ;;
esac
[ "$2" = status ] || note "$1" "$2" end
