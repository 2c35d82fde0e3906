# syntax=docker/dockerfile:1
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p tributary && cp target/release/tributary /usr/local/bin/tributary

FROM debian:12-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/tributary --create-home tributary
COPY --from=build /usr/local/bin/tributary /usr/local/bin/tributary
USER 10001
WORKDIR /var/lib/tributary
# Flight SQL, and HTTP with /health and /metrics.
EXPOSE 32010 8047
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["tributary", "health", "--http", "127.0.0.1:8047"]
ENTRYPOINT ["tributary"]
# Serving beyond the machine needs logins: mount /etc/tributary/users (name:password lines) and /etc/tributary/catalogs.
CMD ["server", "--catalogs", "/etc/tributary/catalogs", "--users", "/etc/tributary/users", "--listen", "0.0.0.0:32010", "--http", "0.0.0.0:8047"]
