# shellcheck shell=bash disable=SC2154 # variables of run
# Sourced by run: two machines with Debian's heartbeat change to had, while a client asks all the time, and nothing is stopped.

# hactl of the package that is unpacked beside heartbeat, before anything is installed.
unpacked=/root/had/usr/sbin/hactl

configure_heartbeat() {
    local name=$1
    put_file "$name" /etc/ha.d/ha.cf <<END
node alice bob
ucast host0 10.9.7.11
ucast host0 10.9.7.12
ping $client_address
keepalive 500ms
warntime 3
deadtime 10
initdead 15
auto_failback off
END
    # From left to right: a mount, MariaDB on it, an address, and a server of this test.
    printf 'alice Filesystem::/disk::/var/lib/mysql::none::bind database IPaddr2::%s/24/host0 server\n' "$shared" |
        put_file "$name" /etc/ha.d/haresources
    printf 'auth 1\n1 sha1 a-secret-of-this-test\n' | put_file "$name" /etc/ha.d/authkeys
    put_file "$name" /etc/ha.d/resource.d/server <"$here/server"
    put_file "$name" /etc/ha.d/resource.d/database <"$here/database"
    on "$name" sh -c 'chmod 600 /etc/ha.d/authkeys && chmod 755 /etc/ha.d/resource.d/server /etc/ha.d/resource.d/database'
    on "$name" sh -c 'systemctl disable --quiet --now mariadb && mv /var/lib/mysql /disk && mkdir /var/lib/mysql'
    on "$name" dpkg-deb -x "/root/$version.deb" /root/had
}

database() {
    on "$1" mariadb -N -e "$2"
}

# Whether heartbeat on alice has this word for bob.
sees_bob() {
    [ "$(on alice cl_status nodestatus bob)" = "$1" ]
}

# What runs of the group on a machine, so that a restart of any of it would be seen.
what_runs() {
    on "$1" sh -c 'cat /run/packages-server.pid; pidof mariadbd; findmnt -n -o ID /var/lib/mysql
        ip -o address show dev host0 to '"$shared"' | cut -d " " -f 7'
}

heartbeat_starts_the_group() {
    local name
    for name in alice bob; do
        configure_heartbeat "$name"
        on "$name" systemctl start heartbeat
    done
    until_ok "heartbeat runs the group on alice" is_on alice
    database alice 'create database d; create table d.t (n int); insert into d.t values (42)'
    passed "Debian's heartbeat runs the group on alice"
}

heartbeat_ends() {
    local name
    for name in alice bob; do
        on "$name" "$unpacked" adopt check >"$work/said" || fail "adopt check on $name: $(cat "$work/said")"
        says "$name: heartbeat is seen" "$work/said" '^heartbeat runs here: [0-9]+ processes'
        says "$name: nothing stands in the way" "$work/said" '^nothing stands in the way'
    done
    says "bob runs nothing" "$work/said" '^group Filesystem.*: does not run here$'
    ! on alice "$unpacked" adopt end-heartbeat >"$work/said" || fail "alice ends heartbeat before bob"
    says "alice waits for bob" "$work/said" '^error: .* runs here, and heartbeat on bob may live'
    on bob "$unpacked" adopt end-heartbeat >"$work/said" || fail "bob: $(cat "$work/said")"
    until_ok "heartbeat on alice takes bob for dead" sees_bob dead
    # It looks whether there is something to take over from bob.
    until_ok "heartbeat on alice is idle" on alice "$unpacked" adopt check
    on alice "$unpacked" adopt end-heartbeat >"$work/said" || fail "alice: $(cat "$work/said")"
    says "alice: the group runs on" "$work/said" '^group Filesystem.*: runs here$'
    for name in alice bob; do
        ! on "$name" pgrep -f /libexec/heartbeat/ >/dev/null || fail "a process of heartbeat still runs on $name"
    done
    passed "heartbeat has ended on both"
}

# From here there is a way back as long as had was not installed.
heartbeat_returns() {
    on alice systemctl start heartbeat
    on bob systemctl start heartbeat
    until_ok "heartbeat is back" sees_bob active
    passed "heartbeat was started again, and found what ran"
}

had_goes_on() {
    local name
    for name in alice bob; do
        on "$name" apt-get install -y "/root/$version.deb" </dev/null >"$work/said" 2>&1 || fail "apt-get on $name: $(cat "$work/said")"
        on "$name" hactl adopt prepare >"$work/said" || fail "adopt prepare on $name: $(cat "$work/said")"
        on "$name" systemctl enable --quiet --now had
    done
    # hactl status exits with 5 in a maintenance.
    until_ok "the nodes hear each other" on alice sh -c 'hactl status | grep -q "bob *active"'
    until_ok "the group is seen on alice" on bob sh -c 'hactl status --brief | grep -q alice'
    on alice hactl status >"$work/said" || true
    says "it is in maintenance" "$work/said" 'maintenance'
    for name in alice bob; do
        on "$name" hactl maintenance off >"$work/said" || fail "maintenance off on $name: $(cat "$work/said")"
    done
    until_ok "all is well" on alice hactl status --brief
    passed "had runs the group, and all is well"
}

test_adopt() {
    local before
    start_network
    boot alice 10.9.7.11 adopt
    boot bob 10.9.7.12 adopt
    heartbeat_starts_the_group
    before=$(what_runs alice)
    begin_to_ask
    heartbeat_ends
    heartbeat_returns
    heartbeat_ends
    had_goes_on
    end_asking
    says "no request was lost" "$work/answers" '^lost: 0$'
    [ "$(what_runs alice)" = "$before" ] || fail "something was stopped: before $before, now $(what_runs alice)"
    passed "the mount, the database, the address and the server are those that heartbeat had started"
    # It is in charge: the group moves in order.
    on alice hactl standby >"$work/said" || fail "hactl standby: $(cat "$work/said")"
    until_ok "bob has the group" is_on bob
    [ -z "$(on alice pidof mariadbd)" ] || fail "MariaDB still runs on alice"
    [ -n "$(on bob pidof mariadbd)" ] || fail "MariaDB does not run on bob"
    passed "a standby moved all of it to bob"
    end_machines
}
