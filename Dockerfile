# The dependencies are built before the code is there, so that a change of the code builds the code alone.
FROM rust:1-bookworm AS build
WORKDIR /persona
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
RUN mkdir src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
    && cargo build --release --locked \
    && rm -r src
COPY migrations migrations
COPY web web
COPY src src
RUN touch src/main.rs src/lib.rs && cargo build --release --locked

FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="Persona Community" \
      org.opencontainers.image.description="A realtime chat-and-generation server: HTTP/2 in, Server-Sent Events out" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
RUN groupadd --gid 10001 persona \
    && useradd --uid 10001 --gid persona --no-create-home --home-dir /data --shell /usr/sbin/nologin persona \
    && install -d -o persona -g persona -m 0750 /data /data/media
# Whom to trust when an AI provider is called over TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /persona/target/release/persona /usr/local/bin/persona
# By number, so that an orchestrator can tell that it is not root.
USER 10001:10001
ENV PERSONA_LISTEN=0.0.0.0:8080 PERSONA_DATA_DIR=/data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["persona", "health"]
# In exec form, so that SIGTERM reaches the program, which heeds it as PID 1 as well.
ENTRYPOINT ["persona"]
