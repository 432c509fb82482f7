# The server and the command line client on Debian 12.
#   docker build -t portolan .
#   docker run -p 7443:7443 -v ./atlases:/atlases:ro -v portolan-data:/data portolan
# Flags after the image's name are added to the server's.

FROM debian:bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends make \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# The packages first: they change less often than the sources.
COPY scripts/dependencies.sh scripts/
RUN scripts/dependencies.sh build test && rm -rf /var/lib/apt/lists/*
COPY . .
RUN make build PROGRAMS="portolan portolan-server" CMAKE_ARGS=-DPORTOLAN_TESTS=OFF \
 && strip build/bin/portolan build/bin/portolan-server

FROM debian:bookworm-slim
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates \
      libabsl20220623 \
      libgrpc++1.51 \
      libhdf5-103-1 \
      libhwy1 \
      libopenblas0-pthread \
      libprometheus-cpp-core1.0 \
      libprometheus-cpp-pull1.0 \
      libprotobuf32 \
      libssl3 \
      libtorch1.13 \
      zlib1g \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /data --no-create-home portolan \
 && install -d -o portolan -g portolan /atlases /data
COPY --from=build /src/build/bin/portolan /src/build/bin/portolan-server /usr/local/bin/
USER 10001
VOLUME /data
EXPOSE 7443
ENTRYPOINT ["portolan-server", "serve", "--atlases", "/atlases", "--data", "/data", "--listen", "0.0.0.0:7443"]
