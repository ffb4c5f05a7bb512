SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.NOTPARALLEL:
.DEFAULT_GOAL := build
.PHONY: help build test test-systemd chaos fuzz bench bench-systemd docs lint clean install check

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
GM_CACHE ?= $(HOME)/.cache/gm-test
SUITE    ?= bookworm
FUZZTIME ?= 30s

# The version is set by -X; asking git for it as well fails in a checkout that
# belongs to another user.
export GOFLAGS += -buildvcs=false
export PATH := $(PATH):/usr/local/go/bin

# What tests compare with: the directory whose node_modules holds PM2 and croner, and
# several versions of Node, and js-yaml's own. Not $(wildcard), which remembers that they were not there
# before install.
NPM = $(GM_CACHE)/npm
export GM_PM2    ?= $(shell [ -d $(NPM)/node_modules/pm2 ] && echo $(NPM))
export GM_CRONER ?= $(shell [ -d $(NPM)/node_modules/croner ] && echo $(NPM))
export GM_NODES  ?= $(shell [ -d $(NPM)/node_modules/node22 ] && echo $(NPM))
export GM_JSYAML ?= $(shell ls -d $(NPM)/node_modules/js-yaml 2>/dev/null)

# As another user than root, with sudo: build as that user, run the tests as root,
# whose home keeps root's files out of the user's caches.
AS_ROOT = $(shell [ "$$(id -u)" != 0 ] && sudo -n true 2>/dev/null && \
	echo "-exec 'sudo -n -E env PATH=$$PATH HOME=/root'")
RACE = $(shell command -v gcc >/dev/null && echo -race)
# -count=1: whether a test passes also depends on a systemd that Go cannot see change.
GO_TEST = CGO_ENABLED=$(if $(RACE),1,0) go test $(RACE) $(AS_ROOT) -count=1 -timeout 20m

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/gm
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X gm/cmd/gm/first.Version=$(VERSION)" -o bin/gm ./cmd/gm

test: install check ## install what is missing (Debian), then run every check and test
	$(GO_TEST) ./...

test-systemd: install ## run the tests on a booted SUITE=bullseye|bookworm|trixie|forky
	GM_SUITE=$(SUITE) GM_REQUIRE_SYSTEMD=1 $(GO_TEST) -run TestBooted . ./golden/... ./engine/...

fuzz: ## run each fuzz target for FUZZTIME (30s)
	go test -list '^Fuzz' ./... | awk '/^Fuzz/ {f[n++] = $$1} \
		/^ok/ {for (i = 0; i < n; i++) print $$2, f[i]; n = 0}' | while read -r package target; do \
		go test "$$package" -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) </dev/null; done

bench: ## run the benchmarks
	go test -run '^$$' -bench . -benchmem ./...

chaos: install ## kill, stop and starve 200 apps and their supervisor for 60 s
	GM_REQUIRE_SYSTEMD=1 GM_CHAOS=60s $(GO_TEST) -run 'TestChaos|TestSupervisorKilled' -v ./engine/enginetest

bench-systemd: install ## measure gm beside systemctl on a booted SUITE
	GM_SUITE=$(SUITE) GM_REQUIRE_SYSTEMD=1 CGO_ENABLED=0 go test $(AS_ROOT) -count=1 -timeout 20m -run '^$$' -bench Booted -benchtime 1x ./engine/...

docs: ## regenerate the generated documents
	go generate ./...

lint: ## gofmt and go vet
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "gofmt -w is due on: $$unformatted"; exit 1; }
	go vet ./...

clean: ## remove what make built; caches stay (~/.cache/gm-test, /tmp/gm-testbed)
	rm -rf bin

install:
	@.ci/install "$(GM_CACHE)"

# Everything compiles, without cgo, for every system and architecture there is
# something for.
check: lint
	CGO_ENABLED=0 go build ./...
	CGO_ENABLED=0 GOOS=darwin go build ./...
	CGO_ENABLED=0 GOARCH=arm64 go build ./...
