# Tor for compose.yaml: Debian's package and the settings beside it, as Debian's own user.
FROM debian:bookworm-20260918-slim
# Users with numbers that compose.yaml can rely on; the package takes the one that is there. Of Tor the series
# is pinned and not the version: Debian keeps none but the newest, which is the one without known holes.
RUN groupadd --system --gid 8082 debian-tor \
    && useradd --system --uid 8082 --gid 8082 --no-create-home --home-dir /var/lib/tor debian-tor \
    && apt-get update \
    && apt-get install -y --no-install-recommends "tor=0.4.9.*" \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 8081 tor-cookie \
    && usermod -aG tor-cookie debian-tor \
    && install -d -m 2750 -o debian-tor -g tor-cookie /run/tor-cookie \
    && install -d -m 700 -o debian-tor -g debian-tor /var/lib/tor
COPY deploy/torrc.compose /etc/tor/torrc
USER 8082:8082
VOLUME ["/var/lib/tor", "/run/tor-cookie"]
HEALTHCHECK --interval=30s --timeout=5s --start-period=2m CMD ["test", "-r", "/run/tor-cookie/control.authcookie"]
ENTRYPOINT ["tor", "--defaults-torrc", "/dev/null", "-f", "/etc/tor/torrc"]
