# The service in a container; see docs/operations.md. Docker and podman build and run it with the same two commands:
#   docker build -t sunaug .
#   docker run --rm -p 127.0.0.1:8000:8000 -v sunaug:/state sunaug
FROM python:3.11-slim

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1

WORKDIR /opt/sunaug
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY sunaug ./sunaug
COPY forecasting_adapters ./forecasting_adapters
COPY pipelines ./pipelines
RUN pip install --no-cache-dir --constraint constraints.txt \
        --extra-index-url https://download.pytorch.org/whl/cpu '.[service,cluster]' \
    && useradd --uid 1000 --home-dir /state sunaug \
    && install -d -o 1000 -g 1000 -m 750 /state

USER 1000
ENV SUNAUG_CACHE=/state/cache
VOLUME /state
EXPOSE 8000
HEALTHCHECK --interval=30s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/v1/health', timeout=5)"]
ENTRYPOINT ["sunaug"]
CMD ["serve", "--host", "0.0.0.0", "--state", "/state"]
