# megastyle in a container, for the CPU unless TORCH says otherwise:
#
#   docker build -t megastyle .
#   docker build -t megastyle:cuda --build-arg TORCH=cu130 .
#   docker run --rm -v "$PWD:/work" megastyle transfer --style a.jpg --content b.jpg -o c.png
#   docker run --rm --gpus all -v "$PWD:/work" megastyle:cuda transfer --style a.jpg b/ -o c/
#
# TORCH   the build of torch, as uv's --torch-backend names it: cpu, cu126, cu128, cu130, rocm6.4, ...
# EXTRAS  extras to install, such as [nsfw,parquet]
#
# It runs as a user without rights, with a read-only root (--read-only --tmpfs /tmp) and without HOME.
# What dedup and pair compile is compiled here; /cache keeps it, and may be a volume of yours.
FROM python:3.12-slim AS build
ARG TORCH=cpu
ARG EXTRAS=
WORKDIR /source
COPY . .
RUN pip install --no-cache-dir uv==0.13.9 \
    && uv venv /opt/megastyle \
    && uv pip install --no-cache --compile-bytecode --python /opt/megastyle/bin/python \
        --torch-backend "$TORCH" --constraint constraints.txt ".$EXTRAS"

FROM python:3.12-slim
COPY --from=build /opt/megastyle /opt/megastyle
ENV PATH=/opt/megastyle/bin:$PATH \
    HF_HOME=/cache/huggingface \
    NUMBA_CACHE_DIR=/cache/compiled \
    PYTHONDONTWRITEBYTECODE=1
# 1777: with --user any user may write there
RUN mkdir -m 1777 /cache /work \
    && megastyle doctor --prepare \
    && chmod -R a+rwX /cache \
    && useradd --uid 1000 --no-create-home --home-dir /nonexistent megastyle
USER 1000
VOLUME /cache
WORKDIR /work
ENTRYPOINT ["megastyle"]
CMD ["--help"]
