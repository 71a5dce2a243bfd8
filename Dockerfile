# cl-analyze with torch's CPU build, for an unprivileged user.  Its pip commands and its entry point were
# run by hand; Docker has not built it yet.
#
#   docker build -t cl-analyze .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" cl-analyze report emb.npz
#
# More readers of formats: docker build --build-arg EXTRAS=formats,faiss -t cl-analyze .
FROM python:3.11-slim-bookworm AS build
# the kernels' compiler; Debian keeps only the newest version of a package, so none is named
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/* \
    && python -m venv /opt/cl-analyze
# the dependencies first: they change less often than the package
COPY constraints.txt /source/
RUN /opt/cl-analyze/bin/pip install --no-cache-dir -c /source/constraints.txt \
    --extra-index-url https://download.pytorch.org/whl/cpu torch
COPY pyproject.toml hatch_build.py README.md LICENSE /source/
COPY cl_analyze /source/cl_analyze
ARG EXTRAS=formats
RUN /opt/cl-analyze/bin/pip install --no-cache-dir -c /source/constraints.txt \
    --extra-index-url https://download.pytorch.org/whl/cpu "/source[$EXTRAS]"

FROM python:3.11-slim-bookworm
COPY --from=build /opt/cl-analyze /opt/cl-analyze
# a home that every user can write to, for matplotlib's cache
ENV PATH=/opt/cl-analyze/bin:$PATH HOME=/tmp
USER 1000:1000
WORKDIR /data
ENTRYPOINT ["cl-analyze"]
CMD ["--help"]
