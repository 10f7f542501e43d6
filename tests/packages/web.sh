# shellcheck shell=bash disable=SC2154 # variables of run
# Sourced by run: the package had-web, in a bare root, on a machine with systemd, and in a root for rpm.

web_files_are_right() {
    files_of_deb had-web >"$work/files-web"
    diff -u "$here/files-web" "$work/files-web" || fail "the files of had-web are not those in $here/files-web"
    passed "had-web: every file has its mode and owner"
}

# Without systemd: nothing runs, and nothing fails.
web_in_bare_root() {
    fresh_root bare web
    cp "$(deb_of "$version")" "$(deb_of "$version" had-web)" "$(deb_of "$later" had-web)" "$root/root/"
    in_root dpkg -i "/root/$(basename "$(deb_of "$version" had-web)")" >"$work/said" 2>&1 && fail "had-web without had"
    says "had-web needs had" "$work/said" 'had-web depends on had'
    in_root dpkg -i "/root/$(basename "$(deb_of "$version")")" >"$work/said" 2>&1 || fail "dpkg: $(cat "$work/said")"
    in_root dpkg --configure had-web >"$work/said" 2>&1 || fail "dpkg: $(cat "$work/said")"
    in_root had-web --version >"$work/said" || fail "had-web --version"
    in_root man -w 8 had-web >"$work/said" || fail "no man page had-web(8)"
    in_root dpkg -V had-web || fail "dpkg -V finds changes"
    in_root dpkg -i "/root/$(basename "$(deb_of "$later" had-web)")" >"$work/said" 2>&1 || fail "dpkg: $(cat "$work/said")"
    passed "had-web is upgraded without had"
    in_root dpkg -P had-web >"$work/said" 2>&1 || fail "dpkg -P: $(cat "$work/said")"
    find "$root/usr" "$root/etc" -name '*had-web*' >"$work/left"
    says_not "had-web is gone" "$work/left" .
}

web_answers() {
    on alice bash -c 'exec 3<>/dev/tcp/127.0.0.1/9694 && printf "GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n" >&3 && grep -q "^HTTP/1" <&3'
}

web_with_systemd() {
    local before
    start_network
    boot alice 10.9.7.11
    cp "$(deb_of "$version" had-web)" "$work/alice/root/web.deb"
    cp "$(deb_of "$later" had-web)" "$work/alice/root/web-later.deb"
    on alice dpkg -i "/root/$version.deb" /root/web.deb >"$work/said" 2>&1 || fail "dpkg: $(cat "$work/said")"
    ! on alice systemctl is-enabled --quiet had-web || fail "had-web was enabled"
    ! on alice systemctl is-active --quiet had-web || fail "had-web was started"
    passed "had-web is neither enabled nor started"
    on alice systemd-analyze verify had-web.service >"$work/said" 2>&1 || fail "the unit: $(cat "$work/said")"
    says_not "systemd understands the unit, and finds its manual" "$work/said" 'had-web'
    on alice dpkg -i /root/web-later.deb >"$work/said" 2>&1 || fail "dpkg: $(cat "$work/said")"
    ! on alice systemctl is-active --quiet had-web || fail "an upgrade started had-web"
    on alice systemctl enable --quiet --now had-web
    until_ok "had-web answers" web_answers
    before=$(daemon alice had-web)
    on alice dpkg -i /root/web.deb >"$work/said" 2>&1 || fail "dpkg: $(cat "$work/said")"
    until_ok "had-web answers after the other version was installed" web_answers
    [ "$(daemon alice had-web)" != "$before" ] || fail "had-web was not restarted"
    passed "had-web is restarted where it runs"
    on alice dpkg -r had-web >"$work/said" 2>&1 || fail "dpkg -r: $(cat "$work/said")"
    ! on alice pgrep -x had-web >/dev/null || fail "had-web still runs"
    [ ! -L "$work/alice/etc/systemd/system/multi-user.target.wants/had-web.service" ] || fail "had-web is still enabled"
    passed "had-web is stopped and disabled before it is removed"
    end_machines
    ip link delete "$lan"
    rm -rf --one-file-system "$work/alice"
}

web_as_rpm() {
    fresh_root bare web-rpm
    rpm -qp --requires "$(rpm_of "$version" had-web)" >"$work/requires"
    says "had-web needs had" "$work/requires" '^had$'
    in_rpm_root --nodeps -i "$(rpm_of "$version")" "$(rpm_of "$version" had-web)" >"$work/said" 2>&1 ||
        fail "rpm -i: $(cat "$work/said")"
    in_rpm_root --nodeps -V had-web || fail "rpm -V finds changes"
    in_rpm_root --nodeps -U "$(rpm_of "$later" had-web)" >"$work/said" 2>&1 || fail "rpm -U: $(cat "$work/said")"
    chroot "$root" had-web --version >/dev/null || fail "rpm: had-web --version"
    in_rpm_root -e had-web >"$work/said" 2>&1 || fail "rpm -e: $(cat "$work/said")"
    find "$root/usr" "$root/etc" -name '*had-web*' >"$work/left"
    says_not "rpm erased had-web" "$work/left" .
}

test_web() {
    web_files_are_right
    web_in_bare_root
    web_as_rpm
    web_with_systemd
}
