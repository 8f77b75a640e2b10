# What Swell runs with, in ./bin. Every target is a file, so that a second run has nothing to do.

.PHONY: deps
deps: bin/containerd bin/containerd-shim-runc-v2 bin/runc bin/swell bin/swell-logger

# Every source below these may end in a binary, embedded files included.
SWELL_SOURCES := go.mod go.sum $(shell find api billing cgroups cmd controlplane internal nodelet \
	-type f -not -name '*_test.go' -not -path '*/testdata/*' 2>/dev/null)

# The stamps are of inputs: a newer Go, or another list of packages, is looked at again.
.cache/go: go.mod make/go
	@mkdir -p .cache
	@make/go
	@touch $@

.cache/debian-packages: make/debian-packages make/debian
	@mkdir -p .cache
	@make/debian
	@touch $@

bin/containerd bin/containerd-shim-runc-v2 &: make/provide make/tools/containerd/go.mod make/tools/containerd/go.sum .cache/go
	@make/provide containerd
	@touch bin/containerd bin/containerd-shim-runc-v2

bin/runc: make/provide make/tools/runc/go.mod make/tools/runc/go.sum .cache/go .cache/debian-packages
	@make/provide runc
	@touch $@

bin/swell: $(SWELL_SOURCES) .cache/go
	@CGO_ENABLED=0 go build -trimpath -ldflags '$(SWELL_LDFLAGS)' -o $@ ./cmd/swell

bin/swell-logger: $(SWELL_SOURCES) .cache/go
	@CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o $@ ./cmd/swell-logger
