# What people type. Each target installs the Debian packages it lacks (scripts/install-packages).

CARGO ?= cargo
PROFILE ?= release
BIN := target/$(PROFILE)
CARGO_PROFILE := $(if $(filter release,$(PROFILE)),--release,)

.PHONY: demo test lint build scenarios fuzz bench packages soak bench-bfd coverage mutants

## A DPU of a SmartSwitch pair restarts: the 16 steps, ticked as they happen.
demo: build
	$(BIN)/halab run restart

## Every test. The lab's scenarios run as part of it.
test: packages
	$(CARGO) build --workspace --bins --locked
	$(CARGO) test --workspace --locked

## Formatting and clippy, warnings denied.
lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" $(CARGO) doc --workspace --no-deps --locked

build: packages
	$(CARGO) build $(CARGO_PROFILE) --workspace --bins --locked

## Every scenario of the lab, once; TIMES=20 for twenty times in a row.
TIMES ?= 1
scenarios: build
	scripts/run-scenarios $(BIN)/halab $(TIMES)

## What it costs, beside the bare cost of the same work: docs/benchmarks.md. BENCH_ROUNDS=20 is a fifth of the rounds.
bench: packages
	$(CARGO) bench --locked -p swss --bench bus
	$(CARGO) bench --locked -p swss --bench bus -- --memory

## One fuzz target for a while: make fuzz TARGET=rows SECONDS=600. Needs cargo-fuzz; stable Rust will do.
TARGET ?= rows
fuzz:
	@command -v cargo-fuzz >/dev/null || { echo "make fuzz needs cargo-fuzz: cargo install cargo-fuzz"; exit 2; }
	RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --fuzz-dir fuzz $(TARGET) -- -max_total_time=$(or $(SECONDS),60)

## What a BFD session costs, beside FRR's bfdd. Root only. OPTIONS="--seconds 600 --sessions 1000 --subjects ours --loaded" is the long run.
bench-bfd: packages
	$(CARGO) bench --locked -p bfd-net --bench sessions -- $(OPTIONS)

packages:
	scripts/install-packages redis-server python3-redis python3-zmq frr tshark iproute2 nftables

## Seeds of the pair, from a random one on, until SECONDS are over or one fails.
soak:
	$(CARGO) build --release --locked --package sim
	target/release/sim --soak $(or $(SECONDS),600)

## How many seeds it takes to catch each known mistake.
mutants:
	$(CARGO) build --release --locked --package sim
	for mutant in $$(target/release/sim --mutants | cut -d " " -f 1); do target/release/sim --mutant $$mutant | grep -v "^ "; done

## Which lines of the cores the simulator runs (scripts/coverage). Builds everything anew.
coverage:
	scripts/coverage
