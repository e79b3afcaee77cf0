# The dependencies are built before the code is there, so that a change of the code builds the code alone.
FROM rust:1-bookworm AS build
WORKDIR /persona
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
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
RUN useradd --system --uid 10001 --home-dir /data persona && install -d -o persona -g persona /data
COPY --from=build /persona/target/release/persona /usr/local/bin/persona
USER persona
ENV PERSONA_LISTEN=0.0.0.0:8080 PERSONA_DATA_DIR=/data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["persona", "health"]
# In exec form, so that SIGTERM reaches the program, which heeds it as PID 1 as well.
ENTRYPOINT ["persona"]
