#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh BUILD: install, move the installation, and use it as other projects do.
set -eu
build=$1
here=$(cd "$(dirname "$0")" && pwd)
source=$(cd "$here/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
: "${CC:=cc}" "${CMAKE:=cmake}" "${CFLAGS:=}"
if [ -z "${CXX:-}" ]; then
    CXX=$(command -v c++ || command -v g++ || command -v clang++) || {
        echo "no C++ compiler: tools/dev/install-deps --peers"
        exit 1
    }
fi
strict="-Wall -Wextra -pedantic -Werror"
version=$(sed -n 's/^project(weightward VERSION \([0-9.]*\).*/\1/p' "$source/CMakeLists.txt")
step() {
    echo "-- $*"
}
die() {
    echo "$*"
    exit 1
}
same() {
    [ "$1" = "$2" ] || die "got '$1', want '$2'"
}

step "install into one folder, use it from another"
unset DESTDIR
"$CMAKE" --install "$build" --strip --prefix "$work/built" >"$work/log"
mv "$work/built" "$work/prefix"
prefix=$work/prefix
pc=$(find "$prefix" -name weightward.pc)
libdir=$(dirname "$(dirname "$pc")")
export PKG_CONFIG_PATH="${pc%/*}"
for file in bin/weightward bin/weightward-verify share/man/man3/libweightward.3 \
    share/bash-completion/completions/weightward; do
    [ -f "$prefix/$file" ] || die "'$file' was not installed"
done
for page in "$source"/docs/man/*.1; do
    cmp "$page" "$prefix/share/man/man1/${page##*/}"
done
diff -r "$source/include/weightward" "$prefix/include/weightward"
same "$(readlink "$libdir/libweightward.so")" "libweightward.so.${version%%.*}"
readelf -d "$libdir/libweightward.so" | grep -q "SONAME.*\[libweightward.so.${version%%.*}\]" ||
    die "wrong SONAME"
if grep -rl --exclude='*.a' -e "$source/" -e "$work/built" "$prefix"; then
    die "these files name folders of this machine"
fi

step "the programs"
for program in weightward weightward-verify; do
    same "$("$prefix/bin/$program" --version)" "$program $version"
done
# No place for code that is written, none for tables that are changed, and no library from elsewhere.
for file in bin/weightward bin/weightward-verify "${libdir#"$prefix"/}/libweightward.so"; do
    readelf -hldsW "$prefix/$file" >"$work/elf"
    for need in 'Type:  *DYN' 'GNU_STACK .* RW ' GNU_RELRO BIND_NOW __stack_chk_fail; do
        grep -q "$need" "$work/elf" || die "'$file' lacks $need"
    done
    ! grep -E 'RPATH|RUNPATH|TEXTREL' "$work/elf" || die "in '$file'"
done

# Joined by &&, since set -e does not reach into the left side of ||.
(
    umask 077 && cd "$work" && PATH=$prefix/bin:$PATH &&
        cp -r "$source/tests/vectors/amber/expert-rev" model &&
        weightward key new signing --out me --no-passphrase -q &&
        weightward key new lock --out team.lock --no-passphrase -q &&
        weightward lock model locked --key team.lock --sign me.key -q &&
        weightward-verify locked --key me.pub -q &&
        weightward unlock locked back --key team.lock -q &&
        diff -r model back
) >"$work/log" 2>&1 || die "$(cat "$work/log")"

# One F32 tensor of one element: 8 bytes of length, 64 of header, 4 of data.
mkdir "$work/tiny" "$work/empty"
printf '\100\0\0\0\0\0\0\0%-64s\0\0\200\077' \
    '{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}' >"$work/tiny/model.safetensors"
answer="$version: tiny has 1 tensors, the first is w F32"
"$prefix/bin/weightward" inspect --json "$work/tiny" >"$work/json" 2>/dev/null || true
grep -q '"schema": "weightward.inspect/1"' "$work/json" || die "inspect gave no answer"

# uses LIBRARY|nothing PROGRAM: which libweightward it needs, and what it answers.
uses() {
    needs=$(readelf -d "$2" | sed -n 's/.*NEEDED.*\[\(libweightward[^]]*\)\]/\1/p')
    same "${needs:-nothing}" "$1"
    same "$(LD_LIBRARY_PATH=$libdir "$2" "$work/tiny")" "$answer"
    status=0
    LD_LIBRARY_PATH=$libdir "$2" "$work/empty" >"$work/out" || status=$?
    same "$status $(cut -d: -f1 "$work/out")" "4 WW_E_NOTFOUND"
}
soname=libweightward.so.${version%%.*}

step "pkg-config, C99"
pkg-config --validate weightward
same "$(pkg-config --modversion weightward)" "$version"
same "$(pkg-config --print-requires weightward)" ""
# shellcheck disable=SC2046,SC2086
"$CC" $CFLAGS -std=c99 $strict $(pkg-config --cflags weightward) "$here/user.c" \
    -o "$work/user_c" $(pkg-config --libs weightward)
uses "$soname" "$work/user_c"

step "pkg-config, C99, static"
others=$(pkg-config --static --libs weightward | sed 's/-lweightward\>//')
# shellcheck disable=SC2046,SC2086
"$CC" $CFLAGS -std=c99 $strict $(pkg-config --cflags weightward) "$here/user.c" \
    -o "$work/user_a" "$libdir/libweightward.a" $others
uses nothing "$work/user_a"

step "pkg-config, C++17"
# shellcheck disable=SC2046,SC2086
"$CXX" $CFLAGS -std=c++17 $strict $(pkg-config --cflags weightward) "$here/user.cpp" \
    -o "$work/user_cpp" $(pkg-config --libs weightward)
uses "$soname" "$work/user_cpp"

step "find_package"
"$CMAKE" -S "$here/find_package" -B "$work/fp" -DCMAKE_C_COMPILER="$CC" \
    -DCMAKE_C_FLAGS="$CFLAGS -std=c99 $strict" -DPREFIX="$prefix" -DUSER_C="$here/user.c" \
    -DWANT="${version%.*}" >"$work/log" 2>&1 || die "$(cat "$work/log")"
"$CMAKE" --build "$work/fp" >"$work/log" 2>&1 || die "$(cat "$work/log")"
uses "$soname" "$work/fp/user_shared"
uses nothing "$work/fp/user_static"
if "$CMAKE" -S "$here/find_package" -B "$work/fp9" -DPREFIX="$prefix" \
    -DUSER_C="$here/user.c" -DWANT=9.0 >"$work/log" 2>&1; then
    die "find_package took $version for 9.0"
fi
grep -q "compatible with requested" "$work/log" || die "$(cat "$work/log")"

step "each header alone"
for header in "$prefix"/include/weightward/*.h; do
    name=weightward/${header##*/}
    echo "#include <$name>" >"$work/alone.c"
    echo "int alone; /* a file may not be empty */" >>"$work/alone.c"
    cp "$work/alone.c" "$work/alone.cpp"
    # shellcheck disable=SC2086
    "$CC" -std=c99 $strict -Wundef -Wstrict-prototypes -I"$prefix/include" \
        -fsyntax-only "$work/alone.c" || die "'$name' does not compile alone as C99"
    # shellcheck disable=SC2086
    "$CXX" -std=c++17 $strict -Wundef -I"$prefix/include" \
        -fsyntax-only "$work/alone.cpp" || die "'$name' does not compile alone as C++17"
done

step "the example of libweightward(3)"
sed -n '/^\.Bd -literal/,/^\.Ed/{/^\.[BE]d/d;s/\\e/\\/g;p;}' \
    "$prefix/share/man/man3/libweightward.3" >"$work/example.c"
# shellcheck disable=SC2046,SC2086
"$CC" $CFLAGS -std=c99 $strict $(pkg-config --cflags weightward) "$work/example.c" \
    -o "$work/example" $(pkg-config --libs weightward)
same "$(LD_LIBRARY_PATH=$libdir "$work/example" "$work/tiny")" w
echo "installed and used"
