# Thin: what a target does stands in the packages.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/memorialstream
export CARGO_TARGET_DIR ?= $(CACHE)/target
# What is measured is a release build, images included; tests and the demo are ready much sooner without. Both ways for
# the demo: `make demo PROFILE=release`.
PROFILE = dev
bench: PROFILE = release
BIN = $(CARGO_TARGET_DIR)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
# For the whole workspace even where one program is wanted: else cargo chooses other features of the same crates, and
# builds a hundred of them once more.
BUILD = cargo build --workspace --profile $(PROFILE)
CARGO_DENY_VERSION := 0.19.8
CARGO_DENY := $(CACHE)/parts/cargo-deny-$(CARGO_DENY_VERSION)
CARGO_MUTANTS_VERSION := 27.1.0
CARGO_MUTANTS := $(CACHE)/parts/cargo-mutants-$(CARGO_MUTANTS_VERSION)

# Without a rule of its own, `make` says what there is.
.DEFAULT_GOAL := help
.PHONY: help demo demo-down test planted mutants soak bench lint crds check-crds prepare lab operator

help:
	@echo 'make demo       a memorial service goes live on this machine; DEMO_ONCE=1 runs to the end'
	@echo 'make demo-down  ends what the demo left running'
	@echo 'make test       every test, on real parts'
	@echo 'make planted    plants bugs and wants each of them caught; part of make test'
	@echo 'make mutants    small changes of what decides, of which each must be noticed; takes six minutes'
	@echo 'make soak       all pairs of faults and a million random days in the simulation: takes days'
	@echo 'make bench      figures, as they stand in docs/benchmarks.md'
	@echo 'make lint       format, clippy, licences'
	@echo 'make crds       the generated files: CRD and API reference'

# A service on real parts, step by step, up to a TAKE. It stays up until demo-down.
demo: lab
	$(BIN)/memorialstream-lab prepare -- $(BUILD) --bins
	$(BIN)/memorialstream-demo up

demo-down: lab
	$(BIN)/memorialstream-demo down

# Everything that the tests need, from nothing; then all tests in one lab, and the one that kills labs. Each test of the
# cluster waits for its turn by itself (tests/cluster/support/turn.rs), so all of them are started at once; the other tests
# are as many at once as there are cores. The pattern stands for all of these: no other target's name begins with a c.
test: lab
	$(BIN)/memorialstream-lab prepare -- cargo test --workspace --no-run
	$(BIN)/memorialstream-lab exec -- sh -ec '\
		SIMULATION_SECONDS=360 SIMULATION_SCHEDULES=7000 cargo test --workspace --lib --bins --test "[!c]*"; \
		cargo test --workspace --test cluster -- --test-threads=100'
	cargo test --workspace --test killed_lab -- --ignored
	$(PLANTED)

# Bugs that are planted into a copy of the operator, each of which a test must catch. BUG=word: those alone that say so.
PLANTED = cargo test --workspace --test planted -- --ignored --nocapture every_planted_bug
planted: prepare
	$(PLANTED)

# Small changes of what decides, planted in the same way: .cargo/mutants.toml says where, docs/mutants.md what came of them.
# cargo-mutants lists them. MUTANTS=word: those alone that say so; MUTANTS=survived: those that no test saw last time.
mutants: prepare $(CARGO_MUTANTS)/bin/cargo-mutants
	PATH=$(CARGO_MUTANTS)/bin:$$PATH cargo test --workspace --test planted -- --ignored --nocapture every_mutant

# The simulation alone, on every core, until something breaks. It says how to play that back, and how to go on after it was
# stopped: SEED and SOAK_PAIR. SOAK_SECONDS bounds each of its two parts.
soak:
	cargo test --workspace --profile soak --test simulation -- --ignored --nocapture soak::

# Figures, in a lab of their own. A measurement is a test of the cluster that the others' run leaves out.
bench: lab
	$(BIN)/memorialstream-lab prepare -- $(BUILD) --bins --test cluster
	$(BIN)/memorialstream-lab exec -- \
		cargo test --workspace --profile $(PROFILE) --test cluster -- --ignored --nocapture bench::

# Third-party parts, and beside them what the tests are built to.
prepare: lab
	$(BIN)/memorialstream-lab prepare -- cargo test --workspace --no-run

# What prepares and starts a lab: built first, and by itself.
lab:
	$(BUILD) --bin memorialstream-lab --bin memorialstream-demo

operator:
	$(BUILD) --quiet --bin memorialstream-operator

lint: prepare $(CARGO_DENY)/bin/cargo-deny
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	$(CARGO_DENY)/bin/cargo-deny check bans licenses sources

$(CARGO_MUTANTS)/bin/cargo-mutants:
	cargo install --locked --quiet --debug cargo-mutants --version $(CARGO_MUTANTS_VERSION) --root $(CARGO_MUTANTS)

$(CARGO_DENY)/bin/cargo-deny:
	cargo install --locked --quiet --debug cargo-deny --version $(CARGO_DENY_VERSION) --root $(CARGO_DENY)

# Generated files; check-crds fails when they are not what the types say.
crds: operator
	$(BIN)/memorialstream-operator crd > crds/memorialstreams.yaml
	$(BIN)/memorialstream-operator crd --reference > docs/api-reference.md

check-crds: operator
	$(BIN)/memorialstream-operator crd | diff -u crds/memorialstreams.yaml -
	$(BIN)/memorialstream-operator crd --reference | diff -u docs/api-reference.md -
