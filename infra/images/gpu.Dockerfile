# syntax=docker/dockerfile:1
# The GPU agent of one TensorRT major version (versions.toml): the farm's own environment, and a toolchain
# beside it in an interpreter of its own. Built from the repository's root:
#     docker compose -f infra/compose.yaml --profile gpu build
ARG CUDA
ARG SYSTEM
ARG UV_VERSION
FROM ghcr.io/astral-sh/uv:${UV_VERSION} AS uv

FROM nvidia/cuda:${CUDA}-devel-${SYSTEM} AS build
COPY --from=uv /uv /usr/local/bin/uv
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_INSTALL_DIR=/opt/python UV_PYTHON_PREFERENCE=only-managed
ARG TOOLCHAIN_PYTHON
ARG TOOLCHAIN_PACKAGES
# pycuda is compiled against this CUDA. TensorRT's libraries from version 10 on come from NVIDIA's own index.
RUN uv venv --python "${TOOLCHAIN_PYTHON}" /opt/toolchain \
    && uv pip install --python /opt/toolchain/bin/python --extra-index-url https://pypi.nvidia.com \
       ${TOOLCHAIN_PACKAGES}
WORKDIR /opt/enginefarm
COPY pyproject.toml uv.lock README.md LICENSE ./
ARG LEFT_OUT=""
RUN set -- --frozen --no-dev --python 3.12; \
    for name in ${LEFT_OUT}; do set -- "$@" --no-install-package "$name"; done; \
    uv sync "$@" --no-install-project
COPY flows ./flows
COPY tasks ./tasks
COPY agents ./agents
RUN set -- --frozen --no-dev --python 3.12; \
    for name in ${LEFT_OUT}; do set -- "$@" --no-install-package "$name"; done; \
    uv sync "$@"

FROM nvidia/cuda:${CUDA}-base-${SYSTEM}
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libseccomp2 util-linux \
    && rm -rf /var/lib/apt/lists/*
# The locks of GPUs are files: containers that share a GPU share this folder.
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin enginefarm \
    && install --directory --owner 10001 --group 10001 /work /locks
COPY --from=build /opt/python /opt/python
COPY --from=build /opt/toolchain /opt/toolchain
COPY --from=build /opt/enginefarm /opt/enginefarm
COPY --chmod=755 infra/images/with_secrets.sh /usr/local/bin/with-secrets
ENV PATH=/opt/enginefarm/.venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    DO_NOT_TRACK=1 PREFECT_SERVER_EPHEMERAL_ENABLED=false \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    ENGINEFARM_TOOLCHAINS=/opt/toolchain/bin/python ENGINEFARM_WORK_DIR=/work TMPDIR=/locks
USER 10001:10001
WORKDIR /work
ENTRYPOINT ["with-secrets"]
CMD ["enginefarm", "agent", "gpu"]
