# Everything here works in a fresh clone with python3 >= 3.11 and nothing else installed.
# `make help` prints the targets; each is described on its own line by the words after `##`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# cpu: the small build, enough for the demo, the tests and the shipped model. cuda: the default build for GPUs.
TORCH ?= cpu
TORCH_VERSION ?= 2.13.0
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

PROMPT ?= a red circle moving right on a white background
WEIGHTS ?= models/micro
PROMPTS ?= 400
EVALUATE_OPTIONS ?=
BENCH_OPTIONS ?=
QUEUE_OPTIONS ?=
DEMO_OPTIONS ?=
ABLATION_OPTIONS ?=
TRAIN_OPTIONS ?=
FAULTS ?=
CLIENTS ?=
SOAK_OPTIONS ?=
STRIKES ?= 20
JOBS ?= 2
TEST_OPTIONS ?=
BOARDS_OPTIONS ?=
GPU_OPTIONS ?=

# The images' locks, by a tool of its own environment and from the public index alone, uv's default, whatever this
# machine is set to: their hashes are those of public files. LOCK_OPTIONS=--upgrade takes what is newest within the ranges.
# A release may have files for some machines only, so each lock is then tried for Linux on both kinds (nothing is fetched).
# torch for CPUs (deploy/locks/torch-cpu.txt) comes from an index of its own and is pinned by hand.
UV_VERSION := 0.9.9
LOCK_OPTIONS ?=
ASK_PYPI := env -u UV_DEFAULT_INDEX -u UV_INDEX -u UV_INDEX_URL -u UV_EXTRA_INDEX_URL -u UV_FIND_LINKS
LOCK = printf 'setuptools>=77\n$(1)' | $(ASK_PYPI) $(VENV)/lock/bin/uv pip compile pyproject.toml - --universal --python-version 3.11 \
  --no-config --no-emit-index-url --generate-hashes --quiet \
  --custom-compile-command 'make lock' $(LOCK_OPTIONS)

# What tells of the images' packages, in an environment of its own.
SUPPLY := $(VENV)/supply/.cyclonedx-7.3.0-audit-2.9.0

SERVE := $(VENV)/.ready-to-serve-$(TORCH)
DEVELOP := $(VENV)/.ready-to-develop-$(TORCH)
OTHER_BUILD := $(filter-out $(SERVE),$(wildcard $(VENV)/.ready-to-serve-*))

.DEFAULT_GOAL := help
.PHONY: help setup setup-system demo up test check bench train-micro evaluate-micro ablations counts conformance conformance-models chaos soak fuzz boards stack-test gpu-check lock sbom audit

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# A stamp says what was installed; it is older than pyproject.toml as soon as that changes.
# torch goes first and alone: the CPU build comes from an index of its own, and where that index cannot be
# reached pip goes on with the default one, which may already offer it.
$(SERVE): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(if $(OTHER_BUILD),$(BIN)/pip uninstall --quiet --yes torch && rm -f $(VENV)/.ready-to-*)
ifeq ($(TORCH),cpu)
	$(BIN)/pip install --quiet --no-deps torch==$(TORCH_VERSION) --retries 1 --timeout 5 \
	  --extra-index-url $(TORCH_INDEX)
endif
	$(BIN)/pip install --quiet --editable '.[worker,embedded]'
	touch $@

$(DEVELOP): $(SERVE)
	$(BIN)/pip install --quiet --editable '.[worker,embedded,dev]'
	touch $@

setup: $(DEVELOP) ## Install everything into .venv (TORCH=cuda for GPUs)

setup-system: ## Install what pip cannot: chromium, prometheus, a C compiler, node (Debian, as root)
	@if ! command -v apt-get >/dev/null; then \
	  echo "No apt-get here: install chromium, prometheus, a C compiler and node your own way; tests that need them skip without."; \
	elif [ "$$(id -u)" != 0 ]; then \
	  echo "Not root: 'sudo make setup-system' installs chromium, prometheus, a C compiler and node; tests that need them skip without."; \
	else \
	  apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends chromium prometheus gcc libc6-dev nodejs >/dev/null && \
	  echo "chromium, prometheus, a C compiler and node are installed."; \
	fi

demo: $(SERVE) ## Make one video, all the way: make demo PROMPT="a green star rotating on a black background"
	@$(BIN)/microcinema demo --prompt "$$PROMPT" $(DEMO_OPTIONS)

up: $(SERVE) ## Run the service on http://127.0.0.1:8000 until Ctrl-C
	@$(BIN)/microcinema up


# One thread each: two processes whose threads spin for the same cores take longer than one.
# In the order of the folders, not the files of most tests first: the dear files hold few tests, and those of e2e
# came last, on one core. The worker's, which end it now, are many and short.
test: $(DEVELOP) ## Run the tests, a file at a time in each of JOBS=2 processes
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(TEST_OPTIONS)

conformance: $(DEVELOP) ## Unmodified clients against the service, each in its own venv (CLIENTS='"openai 2.54.0"')
	PYTHONPATH=.:tests $(BIN)/python -m conformance.run $(CLIENTS)

counts: $(DEVELOP) ## Every documented row of parameters, FLOPs and memory, counted again (minutes)
	MICROCINEMA_ALL_COUNTS=1 $(BIN)/pytest tests/golden/test_counts.py

conformance-models: $(DEVELOP) ## Every public model family through the whole service, in miniature (minutes)
	MICROCINEMA_ALL_FAMILIES=1 $(BIN)/pytest tests/e2e/test_foreign_models.py

chaos: $(DEVELOP) ## Kill, stop and starve every part under load, count what is lost (an hour or more; FAULTS="worker_killed")
	PYTHONPATH=.:tests $(BIN)/python -m chaos.run $(FAULTS) --strikes $(STRIKES) $(CHAOS_OPTIONS)

soak: $(DEVELOP) ## 500 jobs, a worker killed every 50: says what grew per 100 jobs (SOAK_OPTIONS="--jobs 150")
	PYTHONPATH=.:tests $(BIN)/python -m chaos.soak $(SOAK_OPTIONS)

fuzz: $(DEVELOP) ## 500 broken pictures at a real gateway, by upload and by URL: no 5xx, memory flat
	MICROCINEMA_BROKEN_PICTURES=500 $(BIN)/pytest -q -s tests/e2e/test_broken_pictures.py

stack-test: $(DEVELOP) ## Every command of docker-compose.yml as a plain process, from POST to MP4; the images' install steps replayed
	@command -v prometheus >/dev/null || $(MAKE) --no-print-directory setup-system
	PYTHONPATH=.:tests $(BIN)/python -m rig.compose_stack
	PYTHONPATH=.:tests $(BIN)/python -m rig.image_packages

lock: ## Pin what the images install, with the hashes of PyPI's files: deploy/locks (LOCK_OPTIONS=--upgrade)
	test -x $(VENV)/lock/bin/uv || $(PYTHON) -m venv $(VENV)/lock
	$(VENV)/lock/bin/pip install --quiet uv==$(UV_VERSION)
	$(call LOCK,) --extra traces --output-file deploy/locks/gateway.txt
	$(call LOCK,torch==$(TORCH_VERSION)\n) --extra traces --extra worker --output-file deploy/locks/worker.txt
	sed -n 's/^\(\(torch\|triton\|nvidia-[a-z0-9-]*\|cuda-[a-z0-9-]*\)\)==.*/--no-emit-package \1/p' deploy/locks/worker.txt \
	  >$(VENV)/lock/cuda
	$(call LOCK,torch==$(TORCH_VERSION)\n) --extra traces --extra worker $$(cat $(VENV)/lock/cuda) \
	  --output-file deploy/locks/worker-cpu.txt
	for lock in gateway worker worker-cpu; do for machine in x86_64 aarch64; do \
	  $(ASK_PYPI) $(VENV)/lock/bin/uv pip install --dry-run --no-config --quiet --python $(VENV)/lock/bin/python --no-deps \
	    --require-hashes --only-binary :all: --python-version 3.11 --python-platform $$machine-manylinux_2_28 \
	    -r deploy/locks/$$lock.txt || exit 1; done; done

$(SUPPLY):
	test -x $(VENV)/supply/bin/python || $(PYTHON) -m venv $(VENV)/supply
	$(VENV)/supply/bin/pip install --quiet cyclonedx-bom==7.3.0 pip-audit==2.9.0
	touch $@

sbom: $(DEVELOP) $(SUPPLY) ## A bill of materials (CycloneDX) for each image, from deploy/locks into var/sbom
	PYTHONPATH=.:tests $(BIN)/python -m rig.supply sbom $(VENV)/supply/bin

audit: $(DEVELOP) $(SUPPLY) ## What is known against the images' packages (pip-audit): a report, never an error
	@PYTHONPATH=.:tests $(BIN)/python -m rig.supply audit $(VENV)/supply/bin

gpu-check: $(SERVE) ## Eleven gates on the GPU at hand, as a table and gpu-check.json; exit code 1 if one fails
	$(BIN)/python -m benchmarks.gpu_check $(GPU_OPTIONS)

boards: $(DEVELOP) ## Load a real service for three minutes and draw its boards, the scaling rule and the playground into docs/images
	PYTHONPATH=.:tests $(BIN)/python -m rig.draw_boards $(BOARDS_OPTIONS)
	PYTHONPATH=.:tests $(BIN)/python -m rig.draw_scaling
	PYTHONPATH=.:tests $(BIN)/python -m rig.draw_playground

check: $(DEVELOP) ## What CI runs: lint, format, types, import rules, tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory test

bench: $(SERVE) ## Count the networks (parameters, FLOPs, memory), then time the queue at depth and videos: some minutes
	$(BIN)/python -m benchmarks.count_network
	$(BIN)/python -m benchmarks.count_memory
	$(BIN)/python -m benchmarks.count_fleet
	$(BIN)/python -m benchmarks.record_size
	$(BIN)/python -m benchmarks.queue_depth $(QUEUE_OPTIONS)
	$(BIN)/python -m benchmarks.listeners
	$(BIN)/python -m benchmarks.fleet
	$(BIN)/python -m benchmarks.first_job
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.render $(BENCH_OPTIONS)

train-micro: $(SERVE) ## Train the shipped model again, from the first pixel (about 100 minutes of two cores)
	OMP_WAIT_POLICY=passive $(BIN)/python -m models.training.chain $(TRAIN_OPTIONS)

# The short form is for a look: only the whole one is written to docs/.
evaluate-micro: $(SERVE) ## Hold the shipped model against its bars: 400 prompts, half an hour (PROMPTS=4: a look)
	OMP_WAIT_POLICY=passive $(BIN)/python -m models.evaluation.acceptance --weights $(WEIGHTS) \
	  --prompts $(PROMPTS) $(if $(filter 400,$(PROMPTS)),--publish docs) $(EVALUATE_OPTIONS)

ablations: $(SERVE) ## Train and measure the ablations of docs/ablations.md: hours; goes on where it stopped
	OMP_WAIT_POLICY=passive $(BIN)/python -m models.evaluation.ablations.run $(ABLATION_OPTIONS)

# The prompt travels by the environment, as it was typed: its quotes and dollar signs are neither make's nor
# the shell's business.
override export PROMPT := $(value PROMPT)
