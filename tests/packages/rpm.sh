# shellcheck shell=bash disable=SC2154 # variables of run
# Sourced by run: rpm in a root that has nothing but a shell and its programs.

# The dependencies name packages of other distributions, so they are looked at and not resolved.
in_rpm_root() {
    rpm --root "$root" --dbpath /var/lib/rpm "$@"
}

check_requires() {
    rpm -qp --requires "$(rpm_of "$version")" >"$work/requires"
    says "rpm needs the C library" "$work/requires" '^libc\.so\.6\(GLIBC_'
    grep -Ev '^(lib(c|m|gcc_s)\.so\.|ld-linux|/bin/(ba)?sh$|config\(had\)|shadow-utils|rpmlib|rtld)' "$work/requires" >"$work/more" || true
    says_not "rpm needs nothing but libraries, a shell and groupadd" "$work/more" .
    rpm -qp --conflicts "$(rpm_of "$version")" >"$work/conflicts"
    says "rpm conflicts with heartbeat" "$work/conflicts" '^heartbeat'
}

test_rpm() {
    check_requires
    fresh_root bare rpm
    in_rpm_root --nodeps -i "$(rpm_of "$version")" >"$work/said" 2>&1 || fail "rpm -i: $(cat "$work/said")"
    says "rpm installed" "$work/said" 'no daemon was started, because there is no configuration'
    in_rpm_root --nodeps -V had || fail "rpm -V finds changes"
    chroot "$root" getent group haclient >/dev/null || fail "rpm: there is no group haclient"
    chroot "$root" had --version >/dev/null || fail "rpm: had --version"
    chroot "$root" hactl check /usr/share/doc/had/examples/web-pair --elsewhere >/dev/null || fail "rpm: hactl check"
    passed "rpm -V is clean, the programs run"

    printf 'node alice\n' >"$root/etc/ha.d/ha.cf"
    printf '# changed\n' >>"$root/etc/ha.d/resource.d/nginx"
    in_rpm_root --nodeps -U "$(rpm_of "$later")" >"$work/said" 2>&1 || fail "rpm -U: $(cat "$work/said")"
    [ "$(in_rpm_root -q had)" = "had-$later-1.$(uname -m)" ] || fail "rpm -U did not upgrade"
    grep -q '^# changed' "$root/etc/ha.d/resource.d/nginx" || fail "rpm -U overwrote a configuration file"
    passed "rpm upgraded, a changed file stays"

    in_rpm_root -e had >"$work/said" 2>&1 || fail "rpm -e: $(cat "$work/said")"
    [ -e "$root/etc/ha.d/ha.cf" ] || fail "rpm -e took ha.cf"
    find "$root/usr" "$root/etc" -newer "$work/requires" ! -type d -path '*had*' >"$work/left"
    find "$root/usr/share/doc/had" "$root/usr/libexec/had" "$root/usr/share/licenses/had" >>"$work/left" 2>/dev/null || true
    says_not "rpm erased all" "$work/left" 'usr/'
}
