# Thin: what a target does stands in the packages.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/memorialstream
export CARGO_TARGET_DIR ?= $(CACHE)/target
LAB := $(CARGO_TARGET_DIR)/debug/memorialstream-lab
DEMO := $(CARGO_TARGET_DIR)/debug/memorialstream-demo
CARGO_DENY_VERSION := 0.19.8
CARGO_DENY := $(CACHE)/parts/cargo-deny-$(CARGO_DENY_VERSION)

# Without a rule of its own, `make` says what there is.
.DEFAULT_GOAL := help
.PHONY: help demo demo-down test bench lint crds check-crds prepare

help:
	@echo 'make demo       a memorial service goes live on this machine; DEMO_ONCE=1 runs to the end'
	@echo 'make demo-down  ends what the demo left running'
	@echo 'make test       every test, on real parts'
	@echo 'make bench      figures, as they stand in docs/benchmarks.md'
	@echo 'make lint       format, clippy, licences'
	@echo 'make crds       the generated files: CRD and API reference'

# A service on real parts, step by step, up to a TAKE. It stays up until demo-down.
demo: prepare
	cargo build -p memorialstream-operator -p memorialstream-compositor
	$(DEMO) up

demo-down:
	cargo build --quiet -p memorialstream-lab
	$(DEMO) down

# Everything that the tests need, from nothing; then all tests in one lab, and the one that kills labs.
test: prepare
	cargo test --workspace --no-run
	$(LAB) exec -- cargo test --workspace
	cargo test -p memorialstream-lab --test killed_lab -- --ignored

# Figures, in a lab of their own. A measurement is a test of the cluster that the others' run leaves out.
bench: prepare
	cargo test -p memorialstream-operator -p memorialstream-compositor --no-run
	$(LAB) exec -- cargo test -p memorialstream-operator --test cluster -- --ignored --nocapture bench::

prepare:
	cargo build -p memorialstream-lab
	$(LAB) prepare

lint: prepare $(CARGO_DENY)/bin/cargo-deny
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	$(CARGO_DENY)/bin/cargo-deny check bans licenses sources

$(CARGO_DENY)/bin/cargo-deny:
	cargo install --locked --quiet cargo-deny --version $(CARGO_DENY_VERSION) --root $(CARGO_DENY)

# Generated files; check-crds fails when they are not what the types say.
crds:
	cargo run --quiet -- crd > crds/memorialstreams.yaml
	cargo run --quiet -- crd --reference > docs/api-reference.md

check-crds:
	cargo run --quiet -- crd | diff -u crds/memorialstreams.yaml -
	cargo run --quiet -- crd --reference | diff -u docs/api-reference.md -
