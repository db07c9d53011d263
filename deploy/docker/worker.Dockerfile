# A worker: torch, diffusers, transformers. Build from the repository's root:
#   docker build -f deploy/docker/worker.Dockerfile -t promptmill-worker:cpu .
#   docker build -f deploy/docker/worker.Dockerfile -t promptmill-worker:cuda \
#     --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 .
# The CUDA wheels bring CUDA's libraries along; the driver comes from the NVIDIA Container Toolkit.
ARG PYTHON_VERSION=3.12

FROM python:${PYTHON_VERSION}-slim AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN python -m venv /opt/promptmill
# A layer of its own: gigabytes with CUDA, and the same for every change of our code.
RUN /opt/promptmill/bin/pip install --no-cache-dir --index-url "${TORCH_INDEX}" "torch>=2.6"
WORKDIR /src
COPY . .
RUN /opt/promptmill/bin/pip install --no-cache-dir ".[worker]"

FROM python:${PYTHON_VERSION}-slim
RUN useradd --uid 10001 --create-home promptmill \
    && install -d -o promptmill -g promptmill /var/lib/promptmill
COPY --from=build /opt/promptmill /opt/promptmill
ENV PATH=/opt/promptmill/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PROMPTMILL_DATA_DIR=/var/lib/promptmill \
    HF_HOME=/var/lib/promptmill/huggingface
USER 10001
WORKDIR /var/lib/promptmill
# Models are kept here; a named volume takes over the folder's owner.
VOLUME /var/lib/promptmill
ENTRYPOINT ["promptmill"]
CMD ["worker"]
