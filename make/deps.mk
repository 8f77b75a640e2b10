# What Swell runs with, in ./bin. Every target is a file, so that a second run has nothing to do.

.PHONY: deps test-deps protoc-plugins
deps: bin/containerd bin/containerd-shim-runc-v2 bin/runc bin/swell bin/swell-logger bin/swell-hold
test-deps: bin/kubectl bin/httpserver .cache/debian-test
protoc-plugins: bin/protoc-gen-go bin/protoc-gen-go-grpc .cache/debian-test

# Every source below these may end in a binary, embedded files included.
SOURCE_FOLDERS := api billing cgroups cmd controlplane internal nodelet

SWELL_SOURCES := go.mod go.sum $(shell find $(SOURCE_FOLDERS) \
	-type f -not -name '*_test.go' -not -path '*/testdata/*' 2>/dev/null)

# The stamps are of inputs: a newer Go, or another list of packages, is looked at again.
.cache/go: go.mod make/go
	@mkdir -p .cache
	@make/go
	@touch $@

.cache/debian-build .cache/debian-test: .cache/debian-%: make/debian-packages make/debian
	@mkdir -p .cache
	@make/debian $*
	@touch $@

bin/containerd bin/containerd-shim-runc-v2 &: make/provide make/tools/containerd/go.mod make/tools/containerd/go.sum .cache/go
	@make/provide containerd
	@touch bin/containerd bin/containerd-shim-runc-v2

# What `make bench` compares starts with.
bin/ctr: make/provide make/tools/containerd/go.mod make/tools/containerd/go.sum .cache/go
	@make/provide ctr
	@touch $@

bin/runc: make/provide make/tools/runc/go.mod make/tools/runc/go.sum .cache/go .cache/debian-build
	@make/provide runc
	@touch $@

bin/swell: $(SWELL_SOURCES) .cache/go
	@echo "swell: building"
	@CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o $@ ./cmd/swell

bin/swell-logger bin/swell-hold: bin/%: $(SWELL_SOURCES) .cache/go
	@CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o $@ ./cmd/$*

bin/httpserver: $(wildcard examples/httpserver/*.go) .cache/go
	@CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o $@ ./examples/httpserver

# The real kubectl, which the end-to-end tests use.
bin/kubectl: make/tools/kubectl/main.go make/tools/kubectl/go.mod make/tools/kubectl/go.sum .cache/go
	@echo "kubectl: building"
	@version=v1.$$(go list -C make/tools/kubectl -m -f '{{.Version}}' k8s.io/kubectl | sed 's/^v0\.//'); \
		CGO_ENABLED=0 go build -C make/tools/kubectl -trimpath -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$$version" -o "$(CURDIR)/bin/kubectl" .

# What `make bench-peers` measures beside Swell, as its own releases are built.
bin/peers/etcd bin/peers/kube-apiserver bin/peers/kube-scheduler &: perf/peers/go.mod perf/peers/go.sum perf/peers/etcd/main.go .cache/go
	@echo "etcd, kube-apiserver, kube-scheduler: building, which takes some minutes"
	@mkdir -p bin/peers
	@version=$$(go list -C perf/peers -m -f '{{.Version}}' k8s.io/kubernetes); \
		CGO_ENABLED=0 nice -n 5 go build -C perf/peers -trimpath -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$$version" \
		-o "$(CURDIR)/bin/peers/" ./etcd k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kube-scheduler
	@touch bin/peers/etcd bin/peers/kube-apiserver bin/peers/kube-scheduler

bin/protoc-gen-go bin/protoc-gen-go-grpc &: make/tools/protoc/go.mod make/tools/protoc/go.sum .cache/go
	@GOBIN="$(CURDIR)/bin" go install -C make/tools/protoc -trimpath tool
	@touch bin/protoc-gen-go bin/protoc-gen-go-grpc
