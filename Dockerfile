# The demonstration, where a container engine is at hand:
#
#   docker build -t dropline .
#   docker run --rm --name dropline --user "$(id -u):$(id -g)" -v "$PWD/inbox:/inbox" -v "$PWD/share:/share" dropline
#   docker exec dropline dropline status
#
# Make ./inbox and ./share first. --user: the agent should own the files it watches, for then the kernel tells it about
# open writers; otherwise the long quiet period counts. Mount a volume on /state to keep the ledger: without one, the next
# container compares everything with the share and adopts what is there.
#
# The status page listens on loopback inside the container: the HEALTHCHECK reaches it, and so does `docker exec`. To publish
# it: DROPLINE_AGENT__LISTEN=0.0.0.0:9469 and DROPLINE_AGENT__TOKEN_FILE (docs/SECURITY.md).
# For a configuration file of your own: -v "$PWD/dropline.toml:/etc/dropline/dropline.toml:ro", and `run` as the command.

# A digest pins the base, too: --build-arg BASE=python@sha256:... None stands here, since it would also pin what Debian has
# mended since, until somebody changes it; the tag gets security fixes by itself.
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
COPY pyproject.toml README.md requirements.lock ./
COPY agent agent
COPY rules rules
RUN python -m venv /opt/dropline \
    && sed '/^# test$/,$d' requirements.lock > /tmp/run.lock \
    && /opt/dropline/bin/pip install --no-cache-dir --disable-pip-version-check \
        --require-hashes --only-binary=:all: -r /tmp/run.lock \
    && /opt/dropline/bin/pip install --no-cache-dir --disable-pip-version-check \
        --no-index --no-deps --no-build-isolation .

FROM ${BASE}
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin dropline \
    && mkdir /state /inbox /share \
    && chown dropline:dropline /state /inbox /share \
    && chmod 1777 /state
# Whoever runs it, by --user, gets a state directory of their own there: one that everybody may write is refused.
COPY --from=build /opt/dropline /opt/dropline
ENV PATH="/opt/dropline/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    DROPLINE_AGENT__STATE_DIR=/state/dropline
USER dropline
WORKDIR /
VOLUME ["/state", "/inbox", "/share"]
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["/opt/dropline/bin/python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9469/healthz', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["dropline"]
CMD ["run", "--watch", "/inbox", "--to", "/share"]
