# docker build .
#
# The exporter as one static binary in an image with nothing else: no shell, no libc, no package manager.
# For a binary that is built already, see deploy/docker/Dockerfile.
FROM docker.io/library/rust:1.94.1-bookworm AS build
WORKDIR /build
COPY . .
ARG REVISION=""
# The target is named, so that the flags are for the program alone and not for its build scripts.
ENV AWS_LC_SYS_USE_SYSTEM=0 \
    BUILD_REVISION=${REVISION} \
    RUSTFLAGS="-C target-feature=+crt-static"
RUN target="$(rustc --print host-tuple)" \
    && cargo build --release --locked --target "$target" \
    && deploy/docker/stage "target/$target/release/aws-iot-command-exporter" /image

FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=https://github.com/OWNER/aws-iot-command-exporter
LABEL org.opencontainers.image.title="aws-iot-command-exporter" \
      org.opencontainers.image.description="Prometheus exporter for AWS IoT Device Management command executions" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"
COPY --from=build /image/ /
USER 65532:65532
EXPOSE 10477
ENTRYPOINT ["/usr/bin/aws-iot-command-exporter"]
