# The backend without a window: docker compose up, then python3 launch.py app --connect http://127.0.0.1:8765 --token-file …
FROM python:3.11-slim-bookworm

# libportaudio2: without it sounddevice cannot be imported; sound itself goes to overlay or clients, not to a container.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libportaudio2 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 luma

WORKDIR /luma

# An index with CPU builds of torch makes the image 4 GB smaller: docs/deployment.md.
ARG TORCH_INDEX=""
COPY requirements.txt .
RUN if [ -n "$TORCH_INDEX" ]; then pip install --no-cache-dir torch==2.13.0 --index-url "$TORCH_INDEX"; fi \
    && pip install --no-cache-dir -r requirements.txt

COPY main.py config.py config_secrets.py config_store.py ./
COPY backend backend
COPY voice_trainer voice_trainer
RUN mkdir data models logs && chown luma:luma data models logs

USER luma
# Inside the container only: docker-compose.yml publishes the port to this machine's loopback alone.
ENV API_HOST=0.0.0.0 \
    API_ALLOW_REMOTE=true \
    API_PORT=8765 \
    AUDIO_SINK=none \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
EXPOSE 8765
VOLUME ["/luma/data", "/luma/models", "/luma/logs"]
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8765/api/health', timeout=4)"]
CMD ["python", "main.py", "--headless"]
