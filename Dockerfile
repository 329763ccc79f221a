# The image of Octet: Debian 13, one binary, the libraries it needs, an example model.
#
#   docker build -t octet .            or: buildah build --format docker -t octet .
#   docker run --rm -p 8001:8001 -p 8002:8002 --read-only octet
#   docker run ... -v $PWD/models:/models -v $PWD/octet.yaml:/etc/octet/octet.yaml octet
#
# Without a configuration of yours it serves the example. What is inside is listed in
# /usr/share/doc/octet/sbom.spdx.json.

ARG BASE=debian:trixie-slim

# --- The binary ----------------------------------------------------------------------------------
FROM ${BASE} AS build
WORKDIR /src
COPY scripts/setup.sh scripts/
RUN scripts/setup.sh && rm -rf /var/lib/apt/lists/*
COPY . .
RUN scripts/build.sh release octet \
 && install -D --strip --strip-program=strip build/release/server/octet /out/usr/bin/octet \
 && install -D -m644 deploy/image/octet.yaml /out/etc/octet/octet.yaml \
 && install -D -m644 -t /out/usr/share/doc/octet LICENSE NOTICE \
 && mkdir -p /out/usr/share/octet && cp -r examples/models /out/usr/share/octet/models

# --- What it needs while it runs -----------------------------------------------------------------
FROM ${BASE} AS runtime
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      libabsl20240722 libcivetweb1 libdnnl3.6 libgrpc++1.51t64 libhwy1t64 \
      libjpeg62-turbo libonnx1t64 libpng16-16t64 libprometheus-cpp-core1.0 libspdlog1.15 \
      libyaml-cpp0.8 libzip5 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/apt /var/log/dpkg.log \
 && useradd --system --uid 10001 --user-group --no-create-home --home-dir /nonexistent \
      --shell /usr/sbin/nologin octet
COPY --from=build /out /
RUN octet version

# --- The list of what is inside ------------------------------------------------------------------
FROM runtime AS sbom
ARG VERSION=0.1.0
ARG CREATED=1970-01-01T00:00:00Z
COPY --from=build /src/deploy/image/sbom.sh /tmp/
RUN /tmp/sbom.sh "$VERSION" "$CREATED" > /tmp/sbom.spdx.json

# --- The image -----------------------------------------------------------------------------------
FROM runtime
ARG VERSION=0.1.0
ARG CREATED=1970-01-01T00:00:00Z
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Octet" \
      org.opencontainers.image.description="Inference server for ONNX models, quantized when it starts" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="docker.io/library/debian:trixie-slim" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY --from=sbom /tmp/sbom.spdx.json /usr/share/doc/octet/sbom.spdx.json
USER 10001:10001
EXPOSE 8001 8002
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s CMD ["octet", "probe"]
ENTRYPOINT ["octet"]
CMD ["serve", "--config", "/etc/octet/octet.yaml"]
