ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
# An index of PyTorch wheels, for another build than PyPI's: CPU alone (a much smaller image), or another CUDA.
ARG TORCH_INDEX=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/susy
COPY constraints.txt ./
# First, so that a change of the code does not fetch it again. Versions come from constraints.txt.
# hadolint ignore=DL3013,DL3042
RUN if [ -n "$TORCH_INDEX" ]; then \
      /opt/susy/bin/pip install --constraint constraints.txt --no-deps --index-url "$TORCH_INDEX" torch; \
    fi
COPY pyproject.toml README.md LICENSE ./
COPY migrations migrations
COPY schema schema
COPY susy_worker susy_worker
COPY tools tools
COPY worker worker
# hadolint ignore=DL3042
RUN /opt/susy/bin/pip wheel --no-deps --wheel-dir /dist . \
 && /opt/susy/bin/pip install --constraint constraints.txt "$(echo /dist/*.whl)[worker,serve,deliver,hub,heif,http,objects]"

FROM python:${PYTHON}-slim
RUN groupadd --gid 10001 susy \
 && useradd --uid 10001 --gid susy --no-create-home --home-dir /var/lib/susy --shell /usr/sbin/nologin susy \
 && install --directory --owner susy --group susy /var/lib/susy /images
COPY --from=build /opt/susy /opt/susy
# Weights are kept under XDG_DATA_HOME, a volume. All else that is written goes to /tmp, so that the rest can be read-only.
ENV PATH=/opt/susy/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    XDG_DATA_HOME=/var/lib/susy \
    XDG_CACHE_HOME=/tmp \
    HF_HOME=/tmp/huggingface \
    SUSY_IMAGE_ROOTS=/images \
    SUSY_LOG_FORMAT=json
USER 10001:10001
WORKDIR /var/lib/susy
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=20s --start-period=120s --retries=3 \
  CMD ["susy", "health", "worker"]
ENTRYPOINT ["susy"]
CMD ["worker"]
