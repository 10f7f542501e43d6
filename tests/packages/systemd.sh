# shellcheck shell=bash disable=SC2154 # variables of run
# Sourced by run: install, upgrade and removal on two machines with systemd, while a client asks all the time.

shared=10.9.7.100
# alice also belongs to a cluster of its own, as had@other.
other_socket=/run/had-other/had.sock

configure() {
    local name=$1
    put_file "$name" /etc/ha.d/ha.cf <<END
node alice bob
ucast host0 10.9.7.11
ucast host0 10.9.7.12
ping $client_address
keepalive 500ms
warntime 3
deadtime 10
initdead 20
auto_failback off
END
    printf 'alice %s/24/host0 server\n' "$shared" | put_file "$name" /etc/ha.d/haresources
    printf 'auth 1\n1 sha256 a-secret-of-this-test\n' | put_file "$name" /etc/ha.d/authkeys
    put_file "$name" /etc/ha.d/resource.d/server <"$here/server"
    on "$name" sh -c 'chmod 600 /etc/ha.d/authkeys && chmod 755 /etc/ha.d/resource.d/server'
    on "$name" hactl check >"$work/said" || fail "hactl check on $name: $(cat "$work/said")"
}

configure_other() {
    printf 'udpport 695\nnode alice\nucast host0 10.9.7.11\ndeadtime 10\ninitdead 10\n' | put_file alice /etc/ha.d-other/ha.cf
    printf 'alice 10.9.7.200/24/host0\n' | put_file alice /etc/ha.d-other/haresources
    printf 'auth 1\n1 sha256 another-secret-of-this-test\n' | put_file alice /etc/ha.d-other/authkeys
    on alice chmod 600 /etc/ha.d-other/authkeys
}

# The process of a daemon.
daemon() {
    on "$1" systemctl show -P MainPID "$2"
}

# Whether the program of a daemon was replaced since it was started.
runs_an_old_program() {
    on "$1" readlink "/proc/$(daemon "$1" "$2")/exe" | grep -q deleted
}

is_on() {
    [ "$(perl -MIO::Socket::INET -e '
        my $s = IO::Socket::INET->new(PeerAddr => $ARGV[0], PeerPort => 8080, Timeout => 1) or exit 1; print <$s>' "$shared" |
        cut -d ' ' -f 1)" = "$1" ]
}

# Both are there: no group moves, and no node waits for another.
all_is_well() {
    on alice hactl status | grep -q 'bob *active' && on bob hactl status | grep -q 'alice *active'
}

begin_to_ask() {
    "$here/client" "$shared" >"$work/answers" &
    client=$!
}

end_asking() {
    kill -TERM "$client"
    wait "$client" || true
    sed 's/^/      /' "$work/answers"
}

install_on() {
    on "$1" dpkg -i "/root/$2.deb" >"$work/said" 2>&1 || fail "dpkg on $1: $(cat "$work/said")"
}

# --- Steps

first_installation() {
    local name
    for name in alice bob; do
        install_on "$name" "$version"
        says "$name: nothing is started" "$work/said" 'no daemon was started, because there is no configuration'
        ! on "$name" systemctl is-enabled --quiet had || fail "the package enabled the daemon"
        configure "$name"
    done
    configure_other
    for name in alice bob; do
        on "$name" systemctl enable --quiet --now had
    done
    on alice systemctl enable --quiet --now had@other
    until_ok "alice has the group" is_on alice
    until_ok "the nodes hear each other" all_is_well
    until_ok "the other cluster runs" on alice hactl --socket "$other_socket" status --brief
    passed "both machines run, alice has the group"
}

upgrade_under_load() {
    local name before
    begin_to_ask
    for name in alice bob; do
        before=$(daemon "$name" had)
        install_on "$name" "$later"
        says "$name: restarted" "$work/said" 'had.service was restarted with the new version; nothing moved'
        [ "$(daemon "$name" had)" != "$before" ] || fail "the daemon of $name is the old one"
        ! runs_an_old_program "$name" had || fail "$name runs the old program"
        [ "$name" = bob ] || says "$name: the other cluster too" "$work/said" 'had@other.service was restarted'
        until_ok "the nodes hear each other" all_is_well
    done
    end_asking
    says "no request was lost" "$work/answers" '^lost: 0$'
    [ "$(grep -c '^answered: ' "$work/answers")" = 1 ] || fail "the group was stopped or moved"
    passed "one process on alice answered all the time"
}

upgrade_with_an_error() {
    local before
    before=$(daemon alice had)
    on alice sh -c 'echo deadtiem 10 >>/etc/ha.d/ha.cf'
    begin_to_ask
    install_on alice "$latest"
    says "the error is named" "$work/said" 'error: /etc/ha.d/ha.cf:[0-9]+'
    says "the way out is named" "$work/said" 'Correct the files .* then: hactl restart'
    says "the other cluster is not concerned" "$work/said" 'had@other.service was restarted'
    [ "$(daemon alice had)" = "$before" ] || fail "the daemon was restarted although its files have an error"
    runs_an_old_program alice had || fail "the daemon does not run the program of before"
    on alice sed -i /deadtiem/d /etc/ha.d/ha.cf
    on alice hactl restart >"$work/said" || fail "hactl restart: $(cat "$work/said")"
    ! runs_an_old_program alice had || fail "alice runs the old program"
    until_ok "the nodes hear each other" all_is_well
    end_asking
    says "no request was lost" "$work/answers" '^lost: 0$'
}

upgrade_without_restarts() {
    local before
    before=$(daemon bob had)
    printf '#!/bin/sh\nexit 101\n' | put_file bob /usr/sbin/policy-rc.d
    on bob chmod 755 /usr/sbin/policy-rc.d
    install_on bob "$latest"
    says "restarts are forbidden" "$work/said" 'had.service was not restarted, because /usr/sbin/policy-rc.d forbids it'
    [ "$(daemon bob had)" = "$before" ] || fail "the daemon was restarted although that is forbidden"
    on bob rm /usr/sbin/policy-rc.d
}

removal() {
    begin_to_ask
    on alice dpkg -r had >"$work/said" 2>&1 || fail "dpkg -r: $(cat "$work/said")"
    says "the daemon is stopped" "$work/said" 'stopping had.service'
    until_ok "bob has the group" is_on bob
    end_asking
    ! on alice sh -c 'ip address show dev host0 | grep -qE "10.9.7.(100|200)/"' || fail "alice kept an address"
    ! on alice pgrep -x had >/dev/null || fail "a daemon still runs on alice"
    [ -z "$(on alice find /etc/systemd/system -name 'had*')" ] || fail "a unit is still enabled on alice"
    passed "the group moved in order, no unit is enabled"
    on alice dpkg -P had >"$work/said" 2>&1 || fail "dpkg -P: $(cat "$work/said")"
    [ -z "$(on alice find /var/lib -maxdepth 1 -name 'had*')" ] || fail "a purge left state"
    on alice test -s /etc/ha.d/ha.cf || fail "a purge took ha.cf"
    passed "purged: state is gone, ha.cf stays"
    is_on bob || fail "bob lost the group"
}

test_systemd() {
    start_network
    boot alice 10.9.7.11
    boot bob 10.9.7.12
    first_installation
    upgrade_under_load
    upgrade_with_an_error
    upgrade_without_restarts
    removal
    end_machines
}
