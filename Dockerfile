# Built in one image; run in another that has the binary, the libraries it is linked to, CA certificates, and nothing else:
# no shell, no package manager, no way to become root.
FROM rust:1.95-bookworm AS build
# aws-lc-rs builds C.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends cmake \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY Cargo.toml Cargo.lock rust-toolchain.toml README.md ./
COPY src ./src
# Cargo.toml names files in these, and cargo wants to see them.
COPY benches ./benches
COPY tests ./tests
ARG PORTCULLIS_COMMIT=unknown
RUN cargo build --release --locked --bin portcullis

# The second image's whole content, laid out beneath /image. The libraries are those of the machine that the binary was
# linked on; what glibc looks names up with is part of it since 2.34.
FROM debian:bookworm-slim AS image
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /source/target/release/portcullis /image/usr/bin/portcullis
RUN ldd /image/usr/bin/portcullis | grep --only-matching '/[^ ]*' \
    | while read -r library; do install -D --mode=0755 "$(readlink --canonicalize "$library")" "/image$library"; done \
    && install -D --mode=0644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt \
    && printf 'hosts: files dns\n' > /image/etc/nsswitch.conf \
    && printf 'portcullis:x:10001:10001::/nonexistent:/nonexistent\n' > /image/etc/passwd \
    && printf 'portcullis:x:10001:\n' > /image/etc/group \
    && install --directory --mode=0755 /image/etc/portcullis \
    && install --directory --owner=10001 --group=10001 --mode=0700 /image/var/lib/portcullis

FROM scratch
COPY --from=image /image /
# Where revocations and the last good keys are kept: mount a volume here, and they outlive the container. All else may be read-only.
ENV STATE_DIRECTORY=/var/lib/portcullis
VOLUME /var/lib/portcullis
# By number: Kubernetes' runAsNonRoot cannot look names up.
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
    CMD ["/usr/bin/portcullis", "healthcheck", "--config", "/etc/portcullis/portcullis.toml"]
ENTRYPOINT ["/usr/bin/portcullis"]
CMD ["--config", "/etc/portcullis/portcullis.toml"]
