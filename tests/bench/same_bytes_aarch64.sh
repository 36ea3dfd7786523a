#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# same_bytes_aarch64.sh FOLDER: builds the program for aarch64 and compares what it writes with
# tests/vectors/same-bytes.sha256, under qemu. FOLDER keeps the build and the libraries (of Debian's
# arm64 packages, unpacked and not installed), 300 MB. Needs gcc-aarch64-linux-gnu and qemu-user.
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1/deb" "$1/lists/partial" "$1/run"
folder=$(cd "$1" && pwd)
root=$folder/root
libs=$root/usr/lib/aarch64-linux-gnu
blas=$libs/openblas-pthread

if [ ! -d "$root" ]; then
    apt="-oAPT::Architecture=arm64 -oAPT::Architectures=arm64 -oDir::State::Lists=$folder/lists
        -oDir::State::status=/dev/null -oAPT::Sandbox::User=root"
    apt-get $apt update
    (cd "$folder/deb" && apt-get $apt download libssl-dev libssl3 libsodium-dev libsodium23 libcjson-dev libcjson1 \
        libyaml-dev libyaml-0-2 libsqlite3-dev libsqlite3-0 libpopt-dev libpopt0 libopenblas-pthread-dev \
        libopenblas0-pthread libgfortran5 libgcc-s1 libcurl4-openssl-dev libcurl4 libmicrohttpd-dev libmicrohttpd12 \
        libpq-dev libpq5 libp11-kit-dev)
    for package in "$folder"/deb/*.deb; do
        dpkg -x "$package" "$root.making"
    done
    # What libraries need for themselves is not linked here.
    sed -i '/^Requires.private/d' "$root.making"/usr/lib/aarch64-linux-gnu/pkgconfig/*.pc
    mv "$root.making" "$root"
fi
cat >"$folder/toolchain.cmake" <<CMAKE
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH $root)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_C_FLAGS_INIT "-isystem $root/usr/include -isystem $root/usr/include/aarch64-linux-gnu")
set(CMAKE_EXE_LINKER_FLAGS_INIT "-Wl,-rpath-link,$libs")
CMAKE
export PKG_CONFIG_LIBDIR="$libs/pkgconfig:$root/usr/share/pkgconfig:$blas/pkgconfig"
export PKG_CONFIG_SYSROOT_DIR="$root"
cmake -S "$here" -B "$folder/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DWW_TESTS=OFF \
    -DCMAKE_TOOLCHAIN_FILE="$folder/toolchain.cmake" >/dev/null
cmake --build "$folder/build" --target weightward

cat >"$folder/weightward" <<SH
#!/bin/sh
exec qemu-aarch64 -L /usr/aarch64-linux-gnu -E LD_LIBRARY_PATH=$libs:$root/lib/aarch64-linux-gnu:$blas \\
    "$folder/build/weightward" "\$@"
SH
chmod +x "$folder/weightward"
rm -rf "$folder/run"
mkdir "$folder/run"
cd "$folder/run"
sh "$here/tests/cli/same_bytes.sh" "$folder/weightward" "$here/tests/vectors" 2 |
    diff "$here/tests/vectors/same-bytes.sha256" -
echo "the same bytes on aarch64"
