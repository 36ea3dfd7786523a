#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# oms_suite.sh BUILD SUITE [PYTEST-ARGUMENT...]: the public conformance suite of OpenSSF Model
# Signing against this program. SUITE is a clone of it (github.com/sampras343/
# model-signing-conformance, or conformance/ of ossf/model-signing-spec); PYTHON has pytest,
# pytest-json-report and the schemas package that the suite's requirements.txt names. Run by
# hand: the suite is fetched, not bundled. Its key files are open to others, which we refuse, so
# a copy is tested. Keyless cases are verified with the bundled root; keyless signing needs an
# identity from the network and is not offered.
set -eu
if [ "${1:-}" = --adapter ]; then    # what the suite calls: sign-model or verify-model
    program=$WW_SUITE_BUILD/weightward
    verb=$2
    shift 2
    method='' model='' left=$#
    while [ "$left" -gt 0 ]; do      # each option goes to the end under our name for it
        option=$1 && shift && left=$((left - 1))
        case $option in
        --ignore-unsigned-files) set -- "$@" "$option" && continue ;;
        --use-staging) continue ;;
        esac
        value=$1 && shift && left=$((left - 1))
        case $option in
        --method) method=$value ;;
        --model-path) model=$value ;;
        --bundle | --output-bundle) set -- "$@" --signature "$value" ;;
        --public-key | --private-key) set -- "$@" --key "$value" ;;
        --signing-cert) set -- "$@" --certificate "$value" ;;
        --cert-chain) set -- "$@" --certificate-chain "$value" ;;
        *) set -- "$@" "$option" "$value" ;;
        esac
    done
    [ "$verb.$method" != sign-model.sigstore ] || exit 6
    [ "$method" != sigstore ] || set -- "$@" --trusted-root "$WW_SUITE_ROOT"
    case $verb in
    sign-model) exec "$program" sign "$model" "$@" ;;
    verify-model) exec "$program" verify "$model" "$@" ;;
    esac
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
WW_SUITE_BUILD=$(cd "$1" && pwd)
WW_SUITE_ROOT=$here/../vectors/oms/cases-keyless/trusted_root.json
export WW_SUITE_BUILD WW_SUITE_ROOT
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$2/." "$work"
shift 2
find "$work" -name '*.pem' -exec chmod 600 {} +
printf '#!/bin/sh\nexec sh "%s" --adapter "$@"\n' "$here/$(basename "$0")" >"$work/adapter"
chmod +x "$work/adapter"
cd "$work"
# Any token: verification of keyless bundles is skipped without one.
SIGSTORE_ID_TOKEN=none "${PYTHON:-python3}" -m pytest -q test/ --entrypoint="$work/adapter" "$@"
