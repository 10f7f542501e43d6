# shellcheck shell=bash disable=SC2154 # variables of run
# Sourced by run: dpkg in a bare root without systemd, and a daemon that only a person started.

# Runs a script in the root, with a network, processes and /proc of its own.
in_root() {
    systemd-nspawn --quiet --register=no --keep-unit --pipe --as-pid2 --private-network --machine=alice \
        --directory="$root" "$@"
}

# files_of_deb PACKAGE: mode, owner and name of every file of a package.
files_of_deb() {
    dpkg-deb --contents "$(deb_of "$version" "$1")" | awk '{ print $1, $2, $6 }' | LC_ALL=C sort -k 3
}

test_debian() {
    files_of_deb had >"$work/files"
    diff -u "$here/files" "$work/files" || fail "the files of the package are not those in $here/files"
    passed "every file has its mode and owner"

    fresh_root bare bare
    cp "$here/in-bare-root" "$(deb_of "$version")" "$(deb_of "$later")" "$root/root/"
    in_root /root/in-bare-root "$(basename "$(deb_of "$version")")" "$(basename "$(deb_of "$later")")" ||
        fail "in a bare root, see above"
}

# heartbeat was there before, and resource-agents stays.
test_heartbeat() {
    fresh_root heartbeat heartbeat
    cp "$here/in-heartbeat-root" "$(deb_of "$version")" "$root/root/"
    in_root /root/in-heartbeat-root "$(basename "$(deb_of "$version")")" || fail "in a root with heartbeat, see above"
}
