# Floe. `make help` lists what there is.
GO      ?= go
BIN     := bin/floe
FUZZ    ?= 100000x
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: all build vet staticcheck test test-race test-huge bench bench-go bench-peers fuzz demo demo-train interop deps clean help

all: build vet staticcheck test ## build, vet, staticcheck, test

build: ## build bin/floe
	$(GO) build -o $(BIN) ./cmd/floe

vet:
	$(GO) vet ./...

staticcheck: ## lint
	$(GO) run $(STATICCHECK) ./...

# What the tests run against: the field's own tools. As root they are
# installed; a missing one is a failure, not a skip.
DEPS := fuse3 erofs-utils sqlite3 rsync tar findutils python3 runc busybox-static attr git b3sum

deps: ## install the Debian packages the tests need (as root)
	@tests/deps.sh $(DEPS)

test: deps build ## all tests; mounts for real as root with /dev/fuse
	$(GO) test -timeout 20m ./...

test-race:
	$(GO) test -race -timeout 30m ./...

test-huge: ## put a file of 20 GiB within 512 MiB of memory; takes 50 GiB of disk
	FLOE_PUT_GIB=20 $(GO) test -timeout 60m -count=1 -v -run TestPutOfAHugeFile ./tests/crash

# The lines of a full run of everything are kept.
SCALE  ?= full
CHOICE := $(if $(ONLY),-only $(ONLY)) $(if $(CONTESTANTS),-contestants $(CONTESTANTS)) $(if $(STATES),-states $(STATES))
LINES  := $(if $(filter full,$(SCALE)$(ONLY)$(CONTESTANTS)$(STATES)),tests/bench/results/$(shell date +%F).jsonl,bin/bench.jsonl)

bench: build ## Floe beside a local directory and its peers, as root; SCALE=small ONLY= CONTESTANTS= STATES= SCRATCH=
	$(GO) build -o bin/bench ./tests/bench
	bin/bench -scale $(SCALE) $(CHOICE) -scratch "$(or $(SCRATCH),bin)" -out $(LINES)

bench-peers: ## install and build what make bench compares with, as root
	@tests/deps.sh fuse3 s3fs squashfuse squashfs-tools erofs-utils
	@GO="$(GO)" tests/bench/peers.sh bin/peers

bench-go: ## Go benchmarks of what is hot
	$(GO) test -run '^$$' -bench . -benchmem ./merkle ./engine/... ./cachestore ./tests/remote

measure: build ## the mount beside the local file system, by wall clock; SCRATCH= chooses the disk
	$(GO) run ./tests/measure $(BIN) "$(or $(SCRATCH),$(CURDIR)/bin)"

fuzz: ## every fuzz target, FUZZ executions each
	@tests/fuzz.sh $(FUZZ)

demo: build ## put, mount, compare, damage, compare again; DIR= chooses the tree
	$(GO) run ./tests/demo $(BIN) "$(or $(DIR),$(shell $(GO) env GOROOT)/src)"

demo-train: build ## train on the mount and on local files; installs torch and a dataset
	@$(GO) run ./tests/train $(BIN)

interop: build ## the official Walrus SDK against our nodes; needs node and npm
	$(GO) run ./tests/interop $(BIN)

clean:
	rm -rf bin

help:
	@grep -hE '^[a-z-]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 14
