# The delegate's image. From the repository's root:
#
#   docker build -f deploy/delegate.Dockerfile -t privyseal-delegate:0.1.0 .
#
# It holds neither the manager nor the client: each folder is copied by name, and delegate.Dockerfile.dockerignore keeps
# everything else out of the builder's reach too. Commands that `privyseal exec` shall run are not in it: build an
# image of your own from this one that has them.

# Python 3.11 or later with venv. Pin it by digest where you build for production: --build-arg BASE=...@sha256:...
ARG BASE=python:3.11-slim

FROM ${BASE} AS build

# A mirror of the package index, where there is one. Arguments stay in the builder's history: no password in them.
ARG PIP_INDEX_URL
ARG UV_DEFAULT_INDEX
ENV PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 UV_NO_CACHE=1 UV_LINK_MODE=copy

# 1. What installs everything else; it stays in this stage.
COPY deploy/locks/uv.txt /locks/uv.txt
RUN python3 -m venv /opt/build \
    && /opt/build/bin/python -m pip install --quiet --require-hashes --requirement /locks/uv.txt

# 2. What the delegate needs with every kind of secret manager, and nothing that isn't in its lock: not even pip.
COPY deploy/locks/delegate.txt /locks/delegate.txt
RUN python3 -m venv --without-pip /opt/privyseal \
    && VIRTUAL_ENV=/opt/privyseal /opt/build/bin/uv pip sync --require-hashes /locks/delegate.txt

# 3. The program.
COPY pyproject.toml README.md LICENSE /source/
COPY delegate /source/delegate
COPY shared /source/shared
WORKDIR /source
RUN /opt/build/bin/python -m hatchling build -t wheel -d /wheels \
    && VIRTUAL_ENV=/opt/privyseal /opt/build/bin/uv pip install --offline --no-deps /wheels/*.whl \
    && rm -f /opt/privyseal/bin/privyseal /opt/privyseal/bin/privyseal-manager /opt/privyseal/.lock \
    && /opt/privyseal/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/privyseal/lib


FROM ${BASE}

ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="privyseal-delegate" \
      org.opencontainers.image.description="Runs inside a private network and does what granted people signed" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# Programs that are run with secrets may ask for the user's name and home.
RUN echo 'privyseal:x:10001:10001::/home/privyseal:/usr/sbin/nologin' >> /etc/passwd \
    && mkdir -m 0700 /home/privyseal && chown 10001:10001 /home/privyseal
COPY --from=build /opt/privyseal /opt/privyseal
COPY deploy/healthcheck.py /opt/privyseal/healthcheck.py

# The keyring is never a part of an image: mount it, and name it by PRIVYSEAL_DELEGATE_KEYRING_FILE.
ENV PATH=/opt/privyseal/bin:$PATH \
    HOME=/home/privyseal \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PYTHONNOUSERSITE=1 PYTHONSAFEPATH=1

USER 10001:10001
WORKDIR /home/privyseal
# No EXPOSE: a delegate only dials out. Its health port is on the container's own loopback.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["/opt/privyseal/bin/python", "-I", "/opt/privyseal/healthcheck.py", "http://127.0.0.1:3460/healthz"]
ENTRYPOINT ["/opt/privyseal/bin/privyseal-delegate"]
