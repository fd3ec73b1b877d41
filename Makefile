# Penstock. `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

export GOTOOLCHAIN := local
# minicore_disabled leaves a native library out of gosnowflake, disable_grpc_modules gRPC's
# balancers out of Google's storage client: docs/decisions has the reasons.
export GOFLAGS := -buildvcs=false -tags=minicore_disabled,disable_grpc_modules

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
TOOLS := $(CURDIR)/.cache/bin
PLUGINS := localfs s3 gcs azure bigquery redshift snowflake

BUF := 1.75.0
PROTOC_GEN_GO := 1.36.12
PROTOC_GEN_GO_GRPC := 1.6.2
STATICCHECK := 0.8.2
VERSITYGW := 1.8.0
FAKE_GCS := 1.56.1
MINIO := 0.0.0-20260212201848-7aac2a2c5b7c

# SOME behind a go test -run fails when no test has the name.
SOME = | awk '{ print } /no tests to run/ { none = 1 } END { exit none }'

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: build
build: ## build bin/penstock and bin/plugins/*, and pin the plugins
	@mkdir -p bin/plugins && chmod 755 bin bin/plugins
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X github.com/penstock-io/penstock/host.version=$(VERSION)" -o bin/penstock ./cmd/penstock
	@for p in $(PLUGINS); do \
		echo "CGO_ENABLED=0 go build -o bin/plugins/penstock-destination-$$p"; \
		CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o bin/plugins/penstock-destination-$$p ./cmd/penstock-destination-$$p; \
	done
	@chmod 755 bin/plugins/penstock-destination-*
	@bin/penstock plugins trust --plugin-dir bin/plugins

.PHONY: demo
demo: build ## run the quickstart and list the files that it exported
	@examples/quickstart/run.sh

# A tool is installed again only when its version changes.
$(TOOLS)/.%:
	@mkdir -p $(TOOLS)
	GOBIN=$(TOOLS) CGO_ENABLED=0 go install $(INSTALL)
	@rm -f $(TOOLS)/.$(firstword $(subst @, ,$*))@* && touch $@

$(TOOLS)/.buf@$(BUF): INSTALL = github.com/bufbuild/buf/cmd/buf@v$(BUF)
$(TOOLS)/.protoc-gen-go@$(PROTOC_GEN_GO): INSTALL = google.golang.org/protobuf/cmd/protoc-gen-go@v$(PROTOC_GEN_GO)
$(TOOLS)/.protoc-gen-go-grpc@$(PROTOC_GEN_GO_GRPC): INSTALL = google.golang.org/grpc/cmd/protoc-gen-go-grpc@v$(PROTOC_GEN_GO_GRPC)
$(TOOLS)/.staticcheck@$(STATICCHECK): INSTALL = honnef.co/go/tools/cmd/staticcheck@v$(STATICCHECK)
$(TOOLS)/.versitygw@$(VERSITYGW): INSTALL = github.com/versity/versitygw/cmd/versitygw@v$(VERSITYGW)
$(TOOLS)/.fake-gcs-server@$(FAKE_GCS): INSTALL = github.com/fsouza/fake-gcs-server@v$(FAKE_GCS)

$(TOOLS)/.minio@$(MINIO): INSTALL = github.com/minio/minio@v$(MINIO)

GENERATORS := $(TOOLS)/.buf@$(BUF) $(TOOLS)/.protoc-gen-go@$(PROTOC_GEN_GO) $(TOOLS)/.protoc-gen-go-grpc@$(PROTOC_GEN_GO_GRPC)

.PHONY: tools
tools: $(GENERATORS) $(TOOLS)/.staticcheck@$(STATICCHECK) $(TOOLS)/.versitygw@$(VERSITYGW) $(TOOLS)/.fake-gcs-server@$(FAKE_GCS) bigquery-standin snowflake-standin clients ## install pinned tools, stand-ins and clients into .cache

# The stand-in for BigQuery is a module of its own: DuckDB needs cgo. Its first build
# takes about a minute, and the download of DuckDB's module (31 MB). Without them its
# tests are skipped aloud, or fail when CI is set.
.PHONY: bigquery-standin
bigquery-standin:
	@mkdir -p $(TOOLS)
	@cd test/standin/bigqueryserver && if CGO_ENABLED=1 go list -deps . >/dev/null; then \
		CGO_ENABLED=1 go build -o $(TOOLS)/bigquery-standin .; \
	else echo "bigquery-standin: not built: DuckDB's module is not to be had: run this once where there is a network"; [ -z "$${CI:-}" ]; fi

# The stand-in for Snowflake is a module of its own too. The driver that tests it is in
# its go.mod, and is built by test-snowflake-standin only.
.PHONY: snowflake-standin
snowflake-standin:
	@mkdir -p $(TOOLS)
	@cd test/standin/snowflakeserver && if CGO_ENABLED=1 go list -deps . >/dev/null; then \
		CGO_ENABLED=1 go build -o $(TOOLS)/snowflake-standin .; \
	else echo "snowflake-standin: not built: DuckDB's module is not to be had: run this once where there is a network"; [ -z "$${CI:-}" ]; fi

# Mixpanel's own clients, for test/clients, and Debian's packages that run them,
# with the compiler that DuckDB and the race detector need, which only root can install. Tests of missing clients are skipped aloud, or
# fail when CI is set.
CLIENTS := $(CURDIR)/.cache/clients

.PHONY: clients
clients:
	@missing=; command -v node >/dev/null && command -v npm >/dev/null || missing="nodejs npm"; \
	command -v c++ >/dev/null || missing="$$missing g++"; command -v chromium >/dev/null || missing="$$missing chromium"; command -v curl >/dev/null || missing="$$missing curl"; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		{ apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing; } && missing= || true; \
	fi; \
	[ -z "$$missing" ] || echo "clients: not installed, and not tested with: $$missing"
	@! command -v npm >/dev/null || $(MAKE) --no-print-directory $(CLIENTS)/.installed $(AZURITE)/.installed $(IAMSIMULATE)/.installed

# Azure's storage in tests (360 MB, about a minute). It runs on node 20 and 22,
# although it asks for 22.
AZURITE := $(CURDIR)/.cache/azurite

# A simulator of IAM decisions (19 MB). It is AGPL: a process of the tests, and no part
# of what is built.
IAMSIMULATE := $(CURDIR)/.cache/iamsimulate

$(CLIENTS)/.installed: test/clients/package.json test/clients/package-lock.json
$(AZURITE)/.installed: test/standin/azurite/package.json test/standin/azurite/package-lock.json
$(IAMSIMULATE)/.installed: test/standin/iamsimulate/package.json test/standin/iamsimulate/package-lock.json
$(CLIENTS)/.installed $(AZURITE)/.installed $(IAMSIMULATE)/.installed:
	@mkdir -p $(@D)
	cp $^ $(@D)
	cd $(@D) && npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

.PHONY: generate
generate: $(GENERATORS) ## generate Go from proto
	PATH=$(TOOLS):$$PATH buf generate

.PHONY: verify
verify: generate ## generate and compare with the committed files
	git diff --exit-code -- proto

.PHONY: lint
lint: $(GENERATORS) $(TOOLS)/.staticcheck@$(STATICCHECK) ## gofmt, vet, staticcheck, buf lint and breaking
	@unformatted=$$(git ls-files '*.go' | xargs gofmt -l); [ -z "$$unformatted" ] || { echo "gofmt: $$unformatted"; exit 1; }
	go mod tidy -diff
	go vet ./...
	go vet -tags crashpoints ./host/... ./sdk/...
	$(TOOLS)/staticcheck ./...
	cd test/bench && go vet ./... && $(TOOLS)/staticcheck ./...
	cd test/queries && { go list -deps -test . >/dev/null 2>&1 || export CGO_ENABLED=0; } && go vet ./... && $(TOOLS)/staticcheck ./...
	cd test/standin/bigqueryserver && { CGO_ENABLED=1 go list -deps -test ./... >/dev/null 2>&1 || exit 0; } && export CGO_ENABLED=1 && go mod tidy -diff && go vet ./... && $(TOOLS)/staticcheck ./...
	cd test/standin/snowflakeserver && { CGO_ENABLED=1 go list -deps -test ./... >/dev/null 2>&1 || exit 0; } && export CGO_ENABLED=1 && go mod tidy -diff && go vet -tags minicore_disabled ./... && $(TOOLS)/staticcheck -tags minicore_disabled ./...
	$(TOOLS)/buf lint
	@if git rev-parse -q --verify HEAD~1:proto >/dev/null 2>&1; then \
		echo buf breaking; $(TOOLS)/buf breaking --against '.git#ref=HEAD~1'; \
	else echo "buf breaking: the commit before is not in this clone"; fi

.PHONY: test
test: tools build verify lint ## everything that must pass before a change lands
	go test -timeout 45m ./host/... ./sdk/... ./plugins/... ./cmd/... ./examples/... ./test/...
	$(MAKE) test-queries test-bigquery-standin test-snowflake-standin
	cd test/bench && go test ./...

# A few minutes, and the download of DuckDB's module (31 MB) once.
.PHONY: test-queries
test-queries: $(TOOLS)/.versitygw@$(VERSITYGW) ## run the documented queries, and compare object stores with localfs, in DuckDB (cgo)
	@cd test/queries && if go list -deps -test . >/dev/null; then go test -count=1 -timeout 20m ./...; \
	else echo "SKIPPED: DuckDB's module is not to be had: run this once where there is a network"; [ -z "$${CI:-}" ]; fi

# PENSTOCK_BIGQUERY_RECORDED names a directory of recorded answers of BigQuery, which
# the stand-in is compared with.
.PHONY: test-bigquery-standin
test-bigquery-standin: ## test the stand-in for BigQuery with the official client (cgo)
	@cd test/standin/bigqueryserver && if CGO_ENABLED=1 go list -deps -test ./... >/dev/null; then CGO_ENABLED=1 go test -count=1 -timeout 20m ./...; \
	else echo "SKIPPED: DuckDB's module is not to be had: run this once where there is a network"; [ -z "$${CI:-}" ]; fi

.PHONY: test-snowflake-standin
test-snowflake-standin: ## test the stand-in for Snowflake with the official driver (cgo)
	@cd test/standin/snowflakeserver && if CGO_ENABLED=1 go list -deps -test ./... >/dev/null; then CGO_ENABLED=1 go test -tags minicore_disabled -count=1 -timeout 20m ./...; \
	else echo "SKIPPED: DuckDB's module is not to be had: run this once where there is a network"; [ -z "$${CI:-}" ]; fi

# The analyzer's first build takes minutes and up to 7 GB of memory.
.PHONY: test-googlesql
test-googlesql: bigquery-standin ## judge the GoogleSQL of the BigQuery plugin and of the documentation
	@dir=$$(mktemp -d); trap 'rm -rf $$dir' EXIT; export PENSTOCK_BIGQUERY_STATEMENTS=$$dir; \
	go test -count=1 -timeout 45m ./plugins/bigquery; cd test/googlesql && go vet . && go test -count=1 -timeout 30m -v .

# The parser is an npm package of 24 MB.
SNOWFLAKE_JUDGE := $(CURDIR)/.cache/snowflake-judge

$(SNOWFLAKE_JUDGE)/.installed: test/standin/snowflakeserver/judge/package.json test/standin/snowflakeserver/judge/package-lock.json
	@mkdir -p $(@D)
	cp $^ $(@D)
	cd $(@D) && npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

.PHONY: test-snowflakesql
test-snowflakesql: snowflake-standin $(SNOWFLAKE_JUDGE)/.installed ## judge the SQL of the Snowflake plugin with a parser that others wrote
	@dir=$$(mktemp -d); trap 'rm -rf $$dir' EXIT; export PENSTOCK_SNOWFLAKE_STATEMENTS=$$dir; \
	go test -count=1 -timeout 45m ./plugins/snowflake; \
	(cd test/standin/snowflakeserver && CGO_ENABLED=1 go test -tags minicore_disabled -count=1 -timeout 20m .); \
	cp test/standin/snowflakeserver/judge/judge.mjs $(SNOWFLAKE_JUDGE) && node $(SNOWFLAKE_JUDGE)/judge.mjs $$dir

# Exit status 2 without credentials or without agreement; YES=1 agrees.
.PHONY: smoke-s3 smoke-gcs smoke-azure smoke-bigquery smoke-snowflake smoke-redshift
smoke-s3 smoke-gcs smoke-azure smoke-bigquery smoke-snowflake smoke-redshift: ## compare an export to a real account: says what it creates, and asks
	@go build -o $(TOOLS)/smoke ./test/smoke
	@$(TOOLS)/smoke $(@:smoke-%=%)

# About three minutes.
.PHONY: test-upkeep
test-upkeep: ## simulate seals, runs, retention, compaction and crashes of 100 journals
	go test -count=1 -timeout 30m -run TestPipelinesSeeTheSameJournal ./host/internal/upkeep -upkeep.seeds=100 $(SOME)

# About four minutes on two quiet cores. make test runs five of the seeds.
.PHONY: test-simulation
test-simulation: ## let 200 hosts live through half a year, with faults and kills
	go test -count=1 -timeout 60m -run TestHalfAYear ./host/internal/simulation -simulation.seeds=200 $(SOME)

# The packages in which goroutines share the most; test-all has time for them whatever the
# machine, and for the others as far as it reaches.
.PHONY: test-race
test-race: ## run the tests of the busiest packages with the race detector
	CGO_ENABLED=1 go test -race -timeout 45m ./host/internal/ingest ./host/internal/export ./host/internal/api ./host/internal/journal

# Time limits of test-all, in seconds; .ci/run sets them.
RACE_SECONDS ?= 3600
FUZZ_SECONDS ?= 600

# MinIO is a server of its own, never linked into anything (AGPL). Its build takes
# minutes and 150 MB.
.PHONY: test-minio
test-minio: $(TOOLS)/.minio@$(MINIO) ## test server-side encryption of s3 against MinIO
	MINIO=1 go test -count=1 -run MinIO ./plugins/internal/s3bucket $(SOME)

.PHONY: test-all
test-all: tools build test-minio test-googlesql test-snowflakesql test-upkeep test-simulation test-race ## test, with the race detector everywhere and every fuzz target for a while
	test/race.sh $(RACE_SECONDS)
	test/fuzz.sh $(FUZZ_SECONDS)

# BASE is a commit, whose binaries make bench measures in turns with these.
BASE ?=
BASE_DIR = $(CURDIR)/.cache/base/$(shell git rev-parse --short "$(BASE)^{commit}")

.PHONY: base
base:
	@mkdir -p $(BASE_DIR)
	git archive "$(BASE)" | tar -x -C $(BASE_DIR)
	$(MAKE) -C $(BASE_DIR) build VERSION=$(notdir $(BASE_DIR))

# Other compressors are yardsticks too. Only root can install Debian's packages; the
# bench names the ones that are not there.
.PHONY: yardsticks
yardsticks:
	@missing=; command -v pigz >/dev/null || missing=pigz; command -v igzip >/dev/null || missing="$$missing isal"; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		{ apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing; } || true; \
	fi

# DuckDB is a yardstick where cgo and its module are to be had.
.PHONY: bench
bench: build yardsticks $(TOOLS)/.versitygw@$(VERSITYGW) $(if $(BASE),base) ## measure speed and memory in ratios to yardsticks (about 40 minutes, 20 GB of disk); BASE=COMMIT compares with that commit
	cd test/bench && { CGO_ENABLED=1 go build -tags duckdb -o ../../.cache/bin/bench . || go build -o ../../.cache/bin/bench .; }
	$(TOOLS)/bench -root $(CURDIR) $(if $(BASE),-base $(BASE_DIR)) $(BENCHFLAGS)

.PHONY: clean
clean: ## remove binaries and the files of the demo
	rm -rf bin examples/*/data examples/*/out examples/quickstart/events
