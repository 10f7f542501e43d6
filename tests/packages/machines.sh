# shellcheck shell=bash disable=SC2154 # variables of run
# Sourced by run: machines with systemd, in containers on one bridge, and a client on this side of it.

lan=had-lan
client_address=10.9.7.1

# The processes of the containers, by name.
declare -A container=()

start_network() {
    ip link add "$lan" type bridge
    ip address add "$client_address/24" dev "$lan"
    ip link set "$lan" up
}

# boot NAME ADDRESS [ARCHIVE]: a machine of an archive, with what the tests need on it.
boot() {
    local name=$1 address=$2
    fresh_root "${3-systemd}" "$name"
    printf '%s\n' "$name" >"$root/etc/hostname"
    printf '[Match]\nName=host0\n[Network]\nLinkLocalAddressing=no\nAddress=%s/24\n' "$address" >"$root/etc/systemd/network/10-lan.network"
    mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
    ln -s /usr/lib/systemd/system/systemd-networkd.service "$root/etc/systemd/system/multi-user.target.wants/"
    for v in "$version" "$later" "$latest"; do
        cp "$(deb_of "$v")" "$root/root/$v.deb"
    done
    # Where this machine has an older hierarchy of control groups, systemd finds the new one all the same.
    SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --register=no --keep-unit --machine="$name" \
        --directory="$root" --network-bridge="$lan" --kill-signal=SIGRTMIN+4 --console=read-only --boot \
        </dev/null >"$work/console-$name" 2>&1 &
    container[$name]=$!
    until_ok "$name has booted" on "$name" systemctl is-active --quiet multi-user.target
    until_ok "$name has its address" on "$name" sh -c "ip address show dev host0 | grep -qF '$address/'"
}

# on NAME COMMAND...: runs it in a machine.
on() {
    local name=$1 init
    shift
    init=$(pgrep --parent "${container[$name]}" | head -n 1)
    [ -n "$init" ] || return 1
    nsenter --target "$init" --mount --uts --ipc --net --pid --cgroup -- \
        env --chdir=/ -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"
}

# put_file NAME PATH: standard input becomes a file of a machine.
put_file() {
    on "$1" sh -c "mkdir -p '$(dirname "$2")' && cat >'$2'"
}

end_machines() {
    local name
    for name in "${!container[@]}"; do
        kill -TERM "${container[$name]}" 2>/dev/null || true
    done
    for name in "${!container[@]}"; do
        wait "${container[$name]}" 2>/dev/null || true
    done
    container=()
}
