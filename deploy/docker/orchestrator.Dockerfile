# The client and the orchestrator: no torch. Build from the repository's root:
#   docker build -f deploy/docker/orchestrator.Dockerfile -t promptmill-orchestrator .
ARG PYTHON_VERSION=3.12

FROM python:${PYTHON_VERSION}-slim AS build
WORKDIR /src
COPY . .
RUN python -m venv /opt/promptmill \
    && /opt/promptmill/bin/pip install --no-cache-dir .

FROM python:${PYTHON_VERSION}-slim
RUN useradd --uid 10001 --create-home promptmill \
    && install -d -o promptmill -g promptmill /var/lib/promptmill
COPY --from=build /opt/promptmill /opt/promptmill
ENV PATH=/opt/promptmill/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PROMPTMILL_DATA_DIR=/var/lib/promptmill
USER 10001
WORKDIR /var/lib/promptmill
ENTRYPOINT ["promptmill"]
CMD ["orchestrator"]
