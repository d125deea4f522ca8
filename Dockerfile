# Built in one image, run in another that holds the binary, CA certificates and little else.
FROM rust:1.95-bookworm AS build
# aws-lc-rs builds C.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends cmake \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY Cargo.toml Cargo.lock rust-toolchain.toml README.md ./
COPY src ./src
COPY benches ./benches
ARG PORTCULLIS_COMMIT=unknown
RUN cargo build --release --locked --bin portcullis

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin portcullis \
    && install --directory --owner=portcullis --group=portcullis --mode=0700 /var/lib/portcullis
COPY --from=build /source/target/release/portcullis /usr/local/bin/portcullis
# Where the last good keys are kept: mount a volume here, and they outlive the container.
ENV STATE_DIRECTORY=/var/lib/portcullis
VOLUME /var/lib/portcullis
USER portcullis
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
    CMD ["portcullis", "healthcheck", "--config", "/etc/portcullis/portcullis.toml"]
ENTRYPOINT ["portcullis"]
CMD ["--config", "/etc/portcullis/portcullis.toml"]
