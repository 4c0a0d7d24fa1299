# The program with all it needs to run: docker build -t koppeling .

FROM swift:6.3-bookworm AS build
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends \
        libpq-dev libcurl4-openssl-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
# One build folder for both programs; the Swift runtime goes into the binaries, so that the image below needs none.
RUN --mount=type=cache,target=/build/.build \
    swift build -c release --static-swift-stdlib --product koppeling \
    && swift build -c release --static-swift-stdlib --product mailchimp-sandbox \
    && install -D -t /out "$(swift build -c release --show-bin-path)/koppeling" \
        "$(swift build -c release --show-bin-path)/mailchimp-sandbox"

FROM debian:bookworm-slim
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends \
        ca-certificates libpq5 libcurl4 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --no-create-home --uid 10001 koppeling
COPY --from=build /out/ /usr/local/bin/
COPY sql/ /usr/share/koppeling/sql/
ENV KOPPELING_SQL=/usr/share/koppeling/sql \
    KOPPELING_LISTEN=0.0.0.0:8080
USER koppeling
EXPOSE 8080
ENTRYPOINT ["koppeling"]
CMD ["serve"]
