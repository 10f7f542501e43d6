# shellcheck shell=bash disable=SC2154 # variables of run
# Sourced by run: what Debian and the rpm distributions say about the packages.

# Which units needrestart leaves alone, of some names: read as it reads the file.
left_alone_by_needrestart() {
    perl -e 'our %nrconf = (override_rc => {});
        eval do { local $/; open(my $file, "<", shift) or die; <$file> };
        die $@ if $@;
        my %rules = %{$nrconf{override_rc}};
        for my $unit (@ARGV) { print "$unit\n" if grep { $unit =~ /$_/ and $rules{$_} == 0 } keys %rules }
    ' packaging/had.needrestart "$@"
}

test_lint() {
    local deb rpm
    deb=$(deb_of "$version")
    rpm=$(rpm_of "$version")
    lintian --allow-root --fail-on error,warning "$deb" || fail "lintian, see above"
    passed lintian
    [ "$(left_alone_by_needrestart had.service had@other.service had-web.service haddock.service | xargs)" = \
        'had.service had@other.service' ] || fail "needrestart would restart the daemon, or leave others alone"
    passed "needrestart leaves the daemon alone"
    rpmlint --config packaging/rpm/rpmlint.toml "$rpm" >"$work/rpmlint" || {
        cat "$work/rpmlint"
        fail "rpmlint, see above"
    }
    says "rpmlint" "$work/rpmlint" '0 errors, 0 warnings'
}
