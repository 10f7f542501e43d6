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

lint_package() {
    local package=$1
    lintian --allow-root --fail-on error,warning "$(deb_of "$version" "$package")" || fail "lintian of $package, see above"
    passed "lintian: $package"
    rpmlint --config packaging/rpm/rpmlint.toml "$(rpm_of "$version" "$package")" >"$work/rpmlint" || {
        cat "$work/rpmlint"
        fail "rpmlint of $package, see above"
    }
    says "rpmlint: $package" "$work/rpmlint" '0 errors, 0 warnings'
}

test_lint() {
    local package
    for package in had had-web; do
        lint_package "$package"
    done
    [ "$(left_alone_by_needrestart had.service had@other.service had-web.service haddock.service | xargs)" = \
        'had.service had@other.service' ] || fail "needrestart would restart the daemon, or leave others alone"
    passed "needrestart leaves the daemon alone"
}
