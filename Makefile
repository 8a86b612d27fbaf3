# Thin: what a target does stands in the packages.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/memorialstream
export CARGO_TARGET_DIR ?= $(CACHE)/target
LAB := $(CARGO_TARGET_DIR)/debug/memorialstream-lab
CARGO_DENY_VERSION := 0.19.8
CARGO_DENY := $(CACHE)/parts/cargo-deny-$(CARGO_DENY_VERSION)

.PHONY: test lint crds check-crds prepare

# Everything that the tests need, from nothing; then all tests in one lab.
test: prepare
	cargo test --workspace --no-run
	$(LAB) exec -- cargo test --workspace

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
