# The manager's image. From the repository's root:
#
#   docker build -f deploy/manager.Dockerfile -t privyseal-manager:0.1.0 .
#
# It holds neither shared/crypto nor the SDK of any cloud, for the manager moves what it cannot read: each folder is
# copied by name, and manager.Dockerfile.dockerignore keeps everything else out of the builder's reach too.

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

# 2. What the manager needs, and nothing that isn't in its lock: not even pip.
COPY deploy/locks/manager.txt /locks/manager.txt
RUN python3 -m venv --without-pip /opt/privyseal \
    && VIRTUAL_ENV=/opt/privyseal /opt/build/bin/uv pip sync --require-hashes /locks/manager.txt

# 3. The program.
COPY pyproject.toml README.md LICENSE /source/
COPY manager /source/manager
COPY shared/*.py /source/shared/
COPY shared/connectors /source/shared/connectors
COPY shared/documents /source/shared/documents
COPY shared/trust /source/shared/trust
COPY shared/wire /source/shared/wire
WORKDIR /source
RUN /opt/build/bin/python -m hatchling build -t wheel -d /wheels \
    && VIRTUAL_ENV=/opt/privyseal /opt/build/bin/uv pip install --offline --no-deps /wheels/*.whl \
    && rm -f /opt/privyseal/bin/privyseal /opt/privyseal/bin/privyseal-delegate /opt/privyseal/.lock \
    && /opt/privyseal/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/privyseal/lib


FROM ${BASE}

ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="privyseal-manager" \
      org.opencontainers.image.description="Moves what it cannot read and cannot order: sealed values, signed documents, tasks" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# libpq asks for the user's name; a new volume that is mounted here takes this owner and mode.
RUN echo 'privyseal:x:10001:10001::/var/lib/privyseal:/usr/sbin/nologin' >> /etc/passwd \
    && mkdir -m 0700 /var/lib/privyseal && chown 10001:10001 /var/lib/privyseal
COPY --from=build /opt/privyseal /opt/privyseal
COPY deploy/healthcheck.py /opt/privyseal/healthcheck.py

# Settings that a container needs; every other one can be given in the same way (deploy/examples/manager.toml). Outside of
# loopback the manager insists on TLS: also give PRIVYSEAL_MANAGER_TLS_CERTIFICATE and PRIVYSEAL_MANAGER_TLS_KEY.
ENV PRIVYSEAL_MANAGER_LISTEN=0.0.0.0:8470 \
    PRIVYSEAL_MANAGER_DELEGATE_LISTEN=0.0.0.0:8471 \
    PRIVYSEAL_MANAGER_DATABASE=sqlite:////var/lib/privyseal/manager.db \
    PATH=/opt/privyseal/bin:$PATH \
    HOME=/var/lib/privyseal \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PYTHONNOUSERSITE=1 PYTHONSAFEPATH=1

USER 10001:10001
WORKDIR /var/lib/privyseal
EXPOSE 8470 8471
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["/opt/privyseal/bin/python", "-I", "/opt/privyseal/healthcheck.py", "https://127.0.0.1:8470/healthz"]
ENTRYPOINT ["/opt/privyseal/bin/privyseal-manager"]
