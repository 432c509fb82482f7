#!/bin/sh
# dependencies.sh GROUP...: makes sure that the Debian 12 packages of the groups are installed.
# Root on Debian or Ubuntu installs what is missing; anybody else is told what to install.
# SKIP_DEPS=1 leaves the check out, for libraries that do not come from packages.
# shellcheck disable=SC2086 # Lists of packages are meant to split into words.
set -eu

# What the programs are built from. OpenBLAS gives libblas, which LibTorch calls for its products.
build="g++ cmake ninja-build pkg-config
  libtorch-dev libopenblas-pthread-dev
  libgrpc++-dev protobuf-compiler protobuf-compiler-grpc libprotobuf-dev
  libabsl-dev libre2-dev libc-ares-dev libhwy-dev
  libhdf5-dev prometheus-cpp-dev libcurl4-openssl-dev
  libcli11-dev nlohmann-json3-dev zlib1g-dev libssl-dev"
test="libgtest-dev libgmock-dev"
bench="libbenchmark-dev"
format="clang-format-14"
tidy="clang-tidy-14"
fuzz="clang-14 libclang-rt-14-dev"

packages=""
for group in "$@"; do
  case "$group" in
    build) packages="$packages $build" ;;
    test) packages="$packages $test" ;;
    bench) packages="$packages $bench" ;;
    format) packages="$packages $format" ;;
    tidy) packages="$packages $tidy" ;;
    fuzz) packages="$packages $fuzz" ;;
    *)
      echo "dependencies.sh: unknown group '$group': use build, test, bench, format, tidy or fuzz" >&2
      exit 2
      ;;
  esac
done

if [ "${SKIP_DEPS:-0}" = 1 ]; then
  exit 0
fi

if ! command -v dpkg-query >/dev/null; then
  echo "This is not a Debian system, so the packages cannot be checked. Portolan needs these, by" >&2
  echo "their names in Debian 12 (set SKIP_DEPS=1 once they are there):" >&2
  echo $packages >&2
  exit 1
fi

# dpkg-query fails when one package is unknown, which is no error here.
installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $packages 2>/dev/null || true)
missing=""
for package in $packages; do
  if ! printf '%s\n' "$installed" | grep -qxF "installed $package"; then
    missing="$missing $package"
  fi
done
if [ -z "$missing" ]; then
  exit 0
fi

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "Missing packages. Install them with" >&2
  echo "  sudo apt-get install --no-install-recommends$missing" >&2
  echo "or set SKIP_DEPS=1 if these libraries come from elsewhere." >&2
  exit 1
fi

echo "Installing:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get -q -o Acquire::Retries=3 update
apt-get -q -o Acquire::Retries=3 install -y --no-install-recommends $missing
