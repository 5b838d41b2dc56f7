# The worker, the simulator and the `spillway` program. TORCH_INDEX chooses PyTorch's build: the CPU's unless you say
# otherwise, e.g. --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 for an encoder on an NVIDIA card.
FROM python:3.11-slim

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 HF_HUB_OFFLINE=1
WORKDIR /app

# torch on its own, before our code: this layer is the large one and changes least.
COPY constraints.txt ./
RUN pip install --index-url "$TORCH_INDEX" --extra-index-url https://pypi.org/simple "$(grep '^torch==' constraints.txt)"

COPY pyproject.toml README.md LICENSE ./
COPY data/tiktoken data/tiktoken
COPY data/instructions/weights.npz data/instructions/
COPY pipelines pipelines
COPY producer producer
COPY worker worker
RUN pip install -c constraints.txt '.[minilm]' \
    && useradd --create-home --uid 10001 spillway \
    && mkdir /data \
    && chown spillway:spillway /data

USER spillway
ENV SPILLWAY_DATA=/data
VOLUME /data
HEALTHCHECK NONE
STOPSIGNAL SIGTERM
ENTRYPOINT ["spillway"]
CMD ["worker"]
