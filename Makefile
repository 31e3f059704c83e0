# Everything goes through scripts/setup.sh: it installs what the machine lacks,
# then becomes the command, so that signals and the exit status are the command's.
SETUP := scripts/setup.sh

# NAME and SERVER count on make's own command line only: some systems have a
# NAME of their own in the environment.
ifneq ($(origin NAME),command line)
NAME :=
endif
ifneq ($(origin SERVER),command line)
SERVER :=
endif
# $(call quoted,VARIABLE): its value as one word of the shell.
quoted = '$(subst ','\'',$(value $1))'

# The first build shows how far it is; later ones say nothing but errors.
QUIET = $(if $(wildcard $(or $(CARGO_TARGET_DIR),target)/release/chitchat),--quiet)

.PHONY: help run-server run-client build tuned test lint fmt demo cluster bench fuzz audit clean

help: ## list the targets
	@echo 'usage: make TARGET'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' Makefile

run-server: ## run a server [ARGS='--listen 127.0.0.1:0']
	@$(SETUP) cargo run --release $(QUIET) -- server $(ARGS)

run-client: ## run a client [NAME=Alex] [SERVER=127.0.0.1:50052] [ARGS='...']
	@$(SETUP) cargo run --release $(QUIET) -- client $(if $(NAME),$(call quoted,NAME)) $(if $(SERVER),--server $(call quoted,SERVER)) $(ARGS)

build: ## build the program
	$(SETUP) cargo build --release

tuned: ## build it laid out by a profile, into target/tuned: up to a fifth cheaper
	$(SETUP) scripts/tuned.sh

test: lint ## lint, then run every test
	@$(SETUP) scripts/python-clients.sh
	$(SETUP) cargo test --release

lint: ## check the format, clippy's advice and that there is no async runtime
	$(SETUP) cargo fmt --check
	$(SETUP) cargo clippy --release --all-targets -- -D warnings
	$(SETUP) scripts/no-async-runtime.sh

fmt: ## format the sources
	$(SETUP) cargo fmt

demo: ## show what the chat does
	@$(SETUP) cargo build --release $(QUIET)
	@$(SETUP) scripts/demo.sh

cluster: ## show three servers that share their rooms, one of which is killed
	@$(SETUP) cargo build --release $(QUIET)
	@$(SETUP) scripts/cluster.sh

# The loads that take a few seconds each; BENCHMARKS.md says what they are.
LOADS := chat-10 chat-256 fan-64 fan-256 bulk-1 durable

bench: ## measure the server [ARGS='--json']
	@$(SETUP) cargo run --release $(QUIET) -- bench $(LOADS) $(ARGS)

fuzz: ## throw made-up input at the parsers [ARGS=SECONDS for each]
	@scripts/fuzz.sh $(ARGS)

audit: ## look the dependencies up: advisories, licences, sources
	@scripts/audit.sh

clean: ## remove what was built, gRPC's C core (7 to 8 minutes) too
	$(SETUP) cargo clean
