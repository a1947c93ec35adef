# syntax=docker/dockerfile:1
# The farm itself: Prefect's server, the S3 agent, the converter, the RTX agent. They differ in what they do
# without (LEFT_OUT, from versions.toml). Built from the repository's root:
#     docker compose -f infra/compose.yaml build
ARG PYTHON_IMAGE
ARG UV_VERSION
FROM ghcr.io/astral-sh/uv:${UV_VERSION} AS uv

FROM ${PYTHON_IMAGE} AS build
COPY --from=uv /uv /usr/local/bin/uv
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
WORKDIR /opt/enginefarm
COPY pyproject.toml uv.lock README.md LICENSE ./
ARG LEFT_OUT=""
# The dependencies in a layer of their own: the farm's code changes more often.
RUN set -- --frozen --no-dev; \
    for name in ${LEFT_OUT}; do set -- "$@" --no-install-package "$name"; done; \
    uv sync "$@" --no-install-project
COPY flows ./flows
COPY tasks ./tasks
COPY agents ./agents
RUN set -- --frozen --no-dev; \
    for name in ${LEFT_OUT}; do set -- "$@" --no-install-package "$name"; done; \
    uv sync "$@"

FROM ${PYTHON_IMAGE}
# What closes children off from the host; `enginefarm doctor` says what of it holds in a container.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libseccomp2 util-linux \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin enginefarm \
    && install --directory --owner 10001 --group 10001 /work
COPY --from=build /opt/enginefarm /opt/enginefarm
COPY --chmod=755 infra/images/with_secrets.sh /usr/local/bin/with-secrets
ENV PATH=/opt/enginefarm/.venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    DO_NOT_TRACK=1 PREFECT_SERVER_ANALYTICS_ENABLED=false PREFECT_SERVER_EPHEMERAL_ENABLED=false \
    ENGINEFARM_WORK_DIR=/work
USER 10001:10001
WORKDIR /work
ENTRYPOINT ["with-secrets"]
CMD ["enginefarm", "doctor"]
